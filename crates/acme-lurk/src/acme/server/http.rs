//! As much of HTTP as the server sees. The HTTP itself is the driver's.

use crate::acme::Problem;

/// A request that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "drivers make it")]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole URL, as the client asked for it: what the signature is compared with.
    pub url: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// The content. No longer than the driver likes to keep; [`Limits::body`](crate::Limits::body) is looked at here.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A GET.
    pub const fn get(url: &'a str) -> Self {
        Self { method: "GET", url, content_type: None, if_none_match: None, body: b"" }
    }

    /// A POST of a JWS.
    pub const fn post(url: &'a str, body: &'a [u8]) -> Self {
        Self { method: "POST", url, content_type: Some("application/jose+json"), if_none_match: None, body }
    }
}

/// A response to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Header fields, names in lower case. `Content-Length` and `Date` are the driver's.
    pub headers: Vec<(&'static str, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header field of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// How the server makes responses.
pub(crate) trait ResponseExt: Sized {
    fn new(status: u16) -> Self;
    fn with_header(self, name: &'static str, value: impl Into<String>) -> Self;
    fn json(status: u16, body: Vec<u8>) -> Self;
    fn problem(problem: &Problem) -> Self;
}

impl ResponseExt for Response {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn json(status: u16, body: Vec<u8>) -> Self {
        let response = Self { body, ..Self::new(status) };
        response.with_header("content-type", "application/json").with_header("cache-control", "no-store")
    }

    fn problem(problem: &Problem) -> Self {
        let response = Self { body: problem.encode(), ..Self::new(problem.http_status()) };
        let response = response.with_header("content-type", "application/problem+json");
        let response = response.with_header("cache-control", "no-store");
        match problem.http_status() {
            405 => response.with_header("allow", "GET, HEAD, POST"),
            _ => response,
        }
    }
}
