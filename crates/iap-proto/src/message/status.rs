//! Status codes, borrowed from HTTP/1.1. draft-ietf-idwg-iap-01 sections 2, 3 and 4.

use std::fmt;

/// A status code between 100 and 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// 101: the upgrade is accepted; the next octets are TLS (section 3.2).
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// 200: accepted. For content: the receiver has taken responsibility for it.
    pub const OK: Self = Self(200);
    /// 400: not understood. For content: the body is not what its type says, do not send it again.
    pub const BAD_REQUEST: Self = Self(400);
    /// 401: the channel is refused, the peer is not who it must be.
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403: refused by policy (section 3.1).
    pub const FORBIDDEN: Self = Self(403);
    /// 404: CONNECT named a host that is not served here.
    pub const NOT_FOUND: Self = Self(404);
    /// 408: the setup took too long.
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 411: content without Content-Length.
    pub const LENGTH_REQUIRED: Self = Self(411);
    /// 413: a body above the limit.
    pub const CONTENT_TOO_LARGE: Self = Self(413);
    /// 415: a media type the receiver does not take (section 3.4).
    pub const UNSUPPORTED_MEDIA_TYPE: Self = Self(415);
    /// 429: too much at once.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// 500: configuration error at the responder, for one no certificate (section 3.2).
    pub const INTERNAL_ERROR: Self = Self(500);
    /// 501: a role or a transfer coding that is known but not implemented.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 502: a proxy saw its own name in Via, or got no sense from the next hop (section 3.1).
    pub const BAD_GATEWAY: Self = Self(502);
    /// 503: overloaded, draining, or the disk is full. Keep the alert and come back later.
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 504: the proxy's next hop did not answer in time.
    pub const GATEWAY_TIMEOUT: Self = Self(504);
    /// 505: a version that is not spoken, or not the one of CONNECT.
    pub const VERSION_NOT_SUPPORTED: Self = Self(505);

    /// The status with this code, if it is between 100 and 599.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The code.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 200 to 299.
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// 400 to 599.
    pub const fn is_refusal(self) -> bool {
        self.0 / 100 >= 4
    }

    /// What the answer to content means for its sender.
    ///
    /// | status | verdict |
    /// | --- | --- |
    /// | 2xx | [`Delivered`](Verdict::Delivered) |
    /// | 413 | [`TooLarge`](Verdict::TooLarge) |
    /// | 408, 429, 5xx | [`Retry`](Verdict::Retry) |
    /// | other 3xx and 4xx | [`Rejected`](Verdict::Rejected) |
    /// | 1xx | none: not an answer, the peer misbehaves |
    pub const fn verdict(self) -> Option<Verdict> {
        match self.0 {
            200..=299 => Some(Verdict::Delivered),
            413 => Some(Verdict::TooLarge),
            408 | 429 | 500..=599 => Some(Verdict::Retry),
            300..=499 => Some(Verdict::Rejected),
            _ => None,
        }
    }
}

/// What an answer to content means for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)]
pub enum Verdict {
    /// The receiver has it; forget it.
    Delivered,
    /// Not this message, not ever: put it aside and go on.
    Rejected,
    /// Above this receiver's limit; the receiver closes. Another manager may take it.
    TooLarge,
    /// Not now: keep it and come back later.
    Retry,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_digit_codes_from_100_to_599_exist() {
        for bad in [0, 20, 99, 600, 999, u16::MAX] {
            assert_eq!(Status::new(bad), None);
        }
        assert_eq!(Status::new(100).map(Status::code), Some(100));
        assert_eq!(Status::new(599).map(Status::code), Some(599));
    }

    #[test]
    fn verdict_of_every_class() {
        let verdict = |code| Status::new(code).unwrap().verdict();
        assert_eq!(verdict(200), Some(Verdict::Delivered));
        assert_eq!(verdict(202), Some(Verdict::Delivered));
        assert_eq!(verdict(302), Some(Verdict::Rejected));
        for permanent in [400, 403, 411, 415, 422] {
            assert_eq!(verdict(permanent), Some(Verdict::Rejected));
        }
        assert_eq!(verdict(413), Some(Verdict::TooLarge));
        for later in [408, 429, 500, 503, 505] {
            assert_eq!(verdict(later), Some(Verdict::Retry));
        }
        assert_eq!(verdict(101), None);
    }
}
