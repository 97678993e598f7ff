//! Status codes of responses, and what HTTP says with them. The drafts name them without numbers, but for four; the
//! numbers here are HTTP's for the same situation.

use std::fmt;

use crate::message::structure::plain;

/// The status of a response. Any integer is one; those with a meaning are constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(i64);

impl Status {
    /// Success; of a validation, that the broker has no objection; of a binding, that it is complete, or has ended.
    pub const SUCCESS: Self = Self(200);
    /// The credentials are not objected to.
    pub const VALID: Self = Self::SUCCESS;
    /// A PIN is needed, in JCX-05.
    pub const PASSCODE: Self = Self(203);
    /// A PIN is needed.
    pub const PIN_REQUIRED: Self = Self(281);
    /// The binding waits for its confirmation.
    pub const PENDING: Self = Self(282);
    /// The same, by the text of SXS-08 section 4.3.1.
    pub const INCOMPLETE: Self = Self(350);
    /// The message cannot be understood or makes no sense.
    pub const SYNTAX: Self = Self(400);
    /// The message is not authenticated as it must be.
    pub const AUTHENTICATION: Self = Self(401);
    /// The ticket is unknown, expired or for something else: bind again.
    pub const TICKET_NOT_RECOGNIZED: Self = Self(401);
    /// The broker will not, by its policy.
    pub const REFUSED: Self = Self(403);
    /// Nothing satisfies the policies that the client accepts.
    pub const POLICY_VIOLATION: Self = Self(403);
    /// There is no such name.
    pub const NON_EXISTENT_DOMAIN: Self = Self(404);
    /// The certificate is revoked.
    pub const REVOKED: Self = Self(410);
    /// The credentials must not be relied on: untrusted, expired, for another name, or worse.
    pub const DANGER: Self = Self(412);
    /// Too many requests, or too many PINs.
    pub const TOO_MANY: Self = Self(429);
    /// The broker cannot tell why it failed.
    pub const UNKNOWN: Self = Self(500);
    /// What the broker relies on failed.
    pub const SERVER_FAILURE: Self = Self(500);
    /// No such message, or a peer that the broker cannot find.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// What the broker relies on did not answer in time.
    pub const TIME_OUT: Self = Self(504);

    /// The status of this number.
    pub const fn new(code: i64) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn code(self) -> i64 {
        self.0
    }

    /// Whether it is one of 200 to 299: that what was asked for is done, or goes on.
    pub const fn is_success(self) -> bool {
        matches!(self.0, 200..=299)
    }

    /// Whether a PIN is asked for: 281, or 203 of the older draft.
    pub const fn needs_pin(self) -> bool {
        matches!(self, Self::PIN_REQUIRED | Self::PASSCODE)
    }

    /// Whether a binding waits for its confirmation: 282, or the 350 of the text.
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::PENDING | Self::INCOMPLETE)
    }

    /// The usual words; none for a status that this crate does not know.
    pub const fn description(self) -> Option<&'static str> {
        Some(match self.0 {
            200 => "Success",
            203 => "Passcode",
            281 => "Pin code required",
            282 | 350 => "Transaction Incomplete",
            400 => "Syntax",
            401 => "Authentication",
            403 => "Refused",
            404 => "NonExistentDomain",
            410 => "Revoked",
            412 => "Danger",
            429 => "Too many requests",
            500 => "ServerFailure",
            501 => "NotImplemented",
            504 => "TimeOut",
            _ => return None,
        })
    }

    /// The HTTP status of a response that carries a message with this status.
    pub const fn http_status(self, mapping: HttpMapping) -> u16 {
        match mapping {
            HttpMapping::Reference => self.as_final(),
            HttpMapping::Body => match self.0 {
                203 => 203,
                282 => 202,
                400 => 400,
                401 => 401,
                429 => 429,
                501 => 501,
                // 403, 404, 410, 412, 500 and 504 tell of the name or the credential that was asked about, and 281
                // asks for the next step: the exchange itself went well, and no proxy is to think otherwise.
                _ => 200,
            },
        }
    }

    /// The HTTP status that refuses a request with this status, where no message is carried.
    pub const fn refusal_http_status(self) -> u16 {
        match self.as_final() {
            refusal @ 400..=599 => refusal,
            _ => 500,
        }
    }

    /// The number, where HTTP has room for it; 500 where it has not.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is looked at")]
    const fn as_final(self) -> u16 {
        match self.0 {
            200..=599 => self.0 as u16,
            _ => 500,
        }
    }
}

/// How the status of a message becomes that of the HTTP response around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum HttpMapping {
    /// What concerns the exchange is said by HTTP as well; what concerns the name or the credential that was asked
    /// about is said by the message alone, inside of a 200.
    #[default]
    Body,
    /// As the reference code of 2014 did it: the same number, whatever it means to proxies.
    Reference,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.description() {
            Some(words) => write!(f, "{} {words}", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl serde::Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Status {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

plain!(Status);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_http_codes() {
        for (status, body, reference) in [
            (Status::SUCCESS, 200, 200),
            (Status::PASSCODE, 203, 203),
            (Status::PIN_REQUIRED, 200, 281),
            (Status::PENDING, 202, 282),
            (Status::INCOMPLETE, 200, 350),
            (Status::SYNTAX, 400, 400),
            (Status::TICKET_NOT_RECOGNIZED, 401, 401),
            (Status::POLICY_VIOLATION, 200, 403),
            (Status::NON_EXISTENT_DOMAIN, 200, 404),
            (Status::REVOKED, 200, 410),
            (Status::DANGER, 200, 412),
            (Status::TOO_MANY, 429, 429),
            (Status::SERVER_FAILURE, 200, 500),
            (Status::NOT_IMPLEMENTED, 501, 501),
            (Status::TIME_OUT, 200, 504),
            (Status::new(299), 200, 299),
            (Status::new(999), 200, 500),
            (Status::new(0), 200, 500),
            (Status::new(100), 200, 500),
            (Status::new(-1), 200, 500),
            (Status::new(i64::MAX), 200, 500),
        ] {
            assert_eq!(status.http_status(HttpMapping::Body), body, "{status}");
            assert_eq!(status.http_status(HttpMapping::Reference), reference, "{status}");
        }
    }

    #[test]
    fn refusals_are_never_successes() {
        for code in -10..1000 {
            assert!((400..=599).contains(&Status::new(code).refusal_http_status()));
            assert!((200..=599).contains(&Status::new(code).http_status(HttpMapping::Body)));
            assert!((200..=599).contains(&Status::new(code).http_status(HttpMapping::Reference)));
        }
        assert_eq!(Status::TIME_OUT.refusal_http_status(), 504);
    }

    #[test]
    fn old_and_new_numbers_mean_the_same() {
        assert!(Status::PASSCODE.needs_pin() && Status::PIN_REQUIRED.needs_pin() && !Status::SUCCESS.needs_pin());
        assert!(Status::PENDING.is_pending() && Status::INCOMPLETE.is_pending() && !Status::SUCCESS.is_pending());
        assert_eq!(Status::PENDING.to_string(), "282 Transaction Incomplete");
        assert_eq!(Status::new(777).to_string(), "777");
    }
}
