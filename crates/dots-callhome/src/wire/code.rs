//! Request methods, response codes and signalling codes. RFC 7252 section 12.1, RFC 8132, RFC 8323 section 5,
//! RFC 8768 section 4.

use core::fmt;

/// A code: three bits of class, five of detail. Unknown codes keep their value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $class:literal . $detail:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self::new($class, $detail);)*
        }
    };
}

codes! {
    /// No code: an empty message.
    EMPTY = 0 . 0;
    /// Read.
    GET = 0 . 1;
    /// Not used by DOTS.
    POST = 0 . 2;
    /// Ask, refresh, report.
    PUT = 0 . 3;
    /// Withdraw, reset.
    DELETE = 0 . 4;
    /// New mitigation, new configuration, redirect accepted.
    CREATED = 2 . 1;
    /// Withdrawn, reset.
    DELETED = 2 . 2;
    /// Refreshed; heartbeat heard.
    CHANGED = 2 . 4;
    /// Here it is.
    CONTENT = 2 . 5;
    /// The request is wrong.
    BAD_REQUEST = 4 . 0;
    /// Not allowed.
    UNAUTHORIZED = 4 . 1;
    /// A critical option that is not understood.
    BAD_OPTION = 4 . 2;
    /// Nothing there.
    NOT_FOUND = 4 . 4;
    /// Not this method.
    METHOD_NOT_ALLOWED = 4 . 5;
    /// None of the formats that are accepted.
    NOT_ACCEPTABLE = 4 . 6;
    /// A block is missing (RFC 7959).
    REQUEST_ENTITY_INCOMPLETE = 4 . 8;
    /// In conflict with another request (RFC 8132).
    CONFLICT = 4 . 9;
    /// Too large.
    REQUEST_ENTITY_TOO_LARGE = 4 . 13;
    /// Not application/dots+cbor.
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15;
    /// A value out of range (RFC 8132).
    UNPROCESSABLE_ENTITY = 4 . 22;
    /// Too many requests (RFC 8516).
    TOO_MANY_REQUESTS = 4 . 29;
    /// Our fault.
    INTERNAL_SERVER_ERROR = 5 . 0;
    /// Not done here.
    NOT_IMPLEMENTED = 5 . 1;
    /// Not now; Max-Age says when.
    SERVICE_UNAVAILABLE = 5 . 3;
    /// Hop limit reached (RFC 8768).
    HOP_LIMIT_REACHED = 5 . 8;
    /// Capabilities and settings.
    CSM = 7 . 1;
    /// Are you there?
    PING = 7 . 2;
    /// I am.
    PONG = 7 . 3;
    /// Please leave.
    RELEASE = 7 . 4;
    /// I am leaving.
    ABORT = 7 . 5;
}

impl Code {
    /// The code `class.detail`; only the lowest three and five bits count.
    pub const fn new(class: u8, detail: u8) -> Self {
        Self((class & 7) << 5 | detail & 31)
    }

    /// The code as an octet.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The code of an octet.
    pub const fn from_code(code: u8) -> Self {
        Self(code)
    }

    /// 0 for requests, 2 to 5 for responses, 7 for signalling.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The part behind the dot.
    pub const fn detail(self) -> u8 {
        self.0 & 31
    }

    /// Whether it asks for something.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether it answers something.
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2..=5)
    }

    /// Whether it answers yes.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }

    /// Whether it speaks about the connection (RFC 8323 section 5).
    pub const fn is_signal(self) -> bool {
        self.class() == 7
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_a_class_and_a_detail() {
        for octet in 0..=u8::MAX {
            let code = Code::from_code(octet);
            let (class, detail) = (octet / 32, octet % 32);
            assert_eq!((code.code(), code.class(), code.detail()), (octet, class, detail));
            assert_eq!(Code::new(class, detail), code);
            assert_eq!(Code::new(class + 8, detail + 32), code, "only the lowest bits count");
            let expected = (class == 0 && detail > 0, (2..=5).contains(&class), class == 2, class == 7);
            assert_eq!(
                (code.is_request(), code.is_response(), code.is_success(), code.is_signal()),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn codes_are_written_with_a_dot() {
        assert_eq!(Code::PUT.to_string(), "0.03");
        assert_eq!(format!("{:?}", Code::TOO_MANY_REQUESTS), "4.29");
    }
}
