//! As much of HTTP as the machines see: the parts of a request and of a response that mean something to OBP
//! (draft-hallambaker-omnibroker-08 section 7.2). The HTTP itself is the driver's.

use bytes::Bytes;

/// The path of queries, for POST.
pub const QUERY_PATH: &str = "/.well-known/omni-query/";

/// What protects an exchange below OBP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Security {
    /// TLS.
    Tls,
    /// It never leaves the machine.
    Loopback,
    /// Nothing.
    Clear,
}

impl Security {
    /// Whether nobody in between can read, change or play back.
    pub const fn is_protected(self) -> bool {
        matches!(self, Self::Tls | Self::Loopback)
    }
}

/// The head of a request that came. Give it every header there is: it keeps those that it knows.
///
/// ```
/// use obp_proto::http::RequestHead;
///
/// let headers = [("content-type", "application/json"), ("session", "Value=AQ; Id=Ag"), ("host", "example.com")];
/// let head = headers.iter().fold(RequestHead::new("POST", "/.well-known/omni-query/"), |head, (name, value)| {
///     head.with_header(name, value)
/// });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
    pub(crate) sessions: Vec<&'a str>,
    pub(crate) conflicting: bool,
}

impl<'a> RequestHead<'a> {
    /// The most `Session` headers that are kept; one more makes the request refused.
    pub const MAX_SESSIONS: usize = 8;

    /// A request for `path`, without its query.
    pub const fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, content_type: None, accept: None, sessions: Vec::new(), conflicting: false }
    }

    /// Adds a header. The name may be in any case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &'a str) -> Self {
        if name.eq_ignore_ascii_case("session") {
            if self.sessions.len() < Self::MAX_SESSIONS {
                self.sessions.push(value);
            } else {
                self.conflicting = true;
            }
        } else if name.eq_ignore_ascii_case("content-type") {
            self.conflicting |= self.content_type.replace(value).is_some();
        } else if name.eq_ignore_ascii_case("accept") {
            self.accept.get_or_insert(value);
        }
        self
    }
}

/// A request to make, by POST.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Where to on the host.
    pub path: &'static str,
    /// Headers, names in lower case. `Host` and `Content-Length` are the driver's.
    pub headers: Vec<(&'static str, String)>,
    /// The content. Not an octet of it may change: it is signed.
    pub body: Bytes,
}

/// A response, made or received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code of HTTP.
    pub status: u16,
    /// Headers; of those received, only the ones that mean something here.
    pub headers: Vec<(&'static str, String)>,
    /// The content. Not an octet of it may change: it is signed.
    pub body: Bytes,
}

impl Response {
    /// A response without headers.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header that was received, if it means something here. The name may be in any case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let known = ["session", "content-type"].into_iter().find(|known| name.eq_ignore_ascii_case(known));
        if let Some(known) = known.filter(|_| self.headers.len() < 2 * RequestHead::MAX_SESSIONS) {
            self.headers.push((known, value.to_owned()));
        }
        self
    }

    /// All headers of this name, which is in lower case.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}
