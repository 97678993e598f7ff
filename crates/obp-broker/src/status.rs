//! How an answer went.

/// The outcomes a broker has, with the numbers of the protocol (the draft names them and numbers only 200).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// 200: an answer; for a validation, nothing speaks against the credential.
    Success,
    /// 400: the question makes no sense.
    Syntax,
    /// 403: the policy says no.
    Refused,
    /// 403: none of the policies that the client accepts holds.
    PolicyViolation,
    /// 404: no such name, or no such service there.
    NonExistentDomain,
    /// 410: the credential was revoked.
    Revoked,
    /// 412: the credential must not be used.
    Danger,
    /// 500: nothing is known about what was asked.
    Unknown,
    /// 500: the sources failed.
    ServerFailure,
    /// 501: not something this broker does.
    NotImplemented,
    /// 504: the sources were silent.
    TimeOut,
}

impl Status {
    /// The number in the Status member.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::Syntax => 400,
            Self::Refused | Self::PolicyViolation => 403,
            Self::NonExistentDomain => 404,
            Self::Revoked => 410,
            Self::Danger => 412,
            Self::Unknown | Self::ServerFailure => 500,
            Self::NotImplemented => 501,
            Self::TimeOut => 504,
        }
    }
}
