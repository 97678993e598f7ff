//! From a remote template to a request that may be made: the rules that keep a template on its own host.
//!
//! A template is a URL builder in the hands of whoever runs the service, fed with names out of mail. So an expansion is
//! asked for only when it is an http or https URI whose authority is the service's own (or listed), without user
//! information, dot segments or fragment, and when no value could have changed its shape.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::expand;
use super::{Operator, Part, Template, TemplateError, Value, Variables};
use crate::limits::Limits;

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port in the absence of one.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host and a port to ask, and how: where the template comes from.
///
/// ```
/// use repute_proto::{Scheme, Service};
/// let service = Service::new(Scheme::Https, "Rep.Example.net:8443")?;
/// assert_eq!(service.to_string(), "https://rep.example.net:8443");
/// # Ok::<(), repute_proto::ServiceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    scheme: Scheme,
    /// In small letters and ASCII; an IPv6 address in brackets.
    host: String,
    port: u16,
}

/// A text that is no host, or no host and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("not HOST or HOST:PORT, where HOST is a DNS name, an IPv4 address or an IPv6 address in brackets")]
pub struct ServiceError;

impl Service {
    /// The service at `HOST` or `HOST:PORT`.
    ///
    /// # Errors
    /// When that is something else.
    pub fn new(scheme: Scheme, authority: &str) -> Result<Self, ServiceError> {
        let (host, port) = split_port(authority).ok_or(ServiceError)?;
        let host = canonical_host(host).ok_or(ServiceError)?;
        Ok(Self { scheme, host, port: port.unwrap_or_else(|| scheme.default_port()) })
    }

    /// A host that no name resolves to.
    pub(crate) fn nobody() -> Self {
        Self { scheme: Scheme::Https, host: "invalid".to_owned(), port: 443 }
    }

    /// How it is reached.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// With the scheme in front; http without one.
impl FromStr for Service {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, ServiceError> {
        match text.split_once("://") {
            Some(("http", authority)) => Self::new(Scheme::Http, authority),
            Some(("https", authority)) => Self::new(Scheme::Https, authority),
            Some(_) => Err(ServiceError),
            None => Self::new(Scheme::Http, text),
        }
    }
}

/// A host, and the port behind it.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.split_at_checked(colon)?,
        _ => return Some((authority, None)),
    };
    let digits = port.strip_prefix(':')?;
    let is_number = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit());
    let port: u16 = is_number.then(|| digits.parse().ok()).flatten()?;
    (port != 0).then_some((host, Some(port)))
}

/// The host in one spelling; `None` when it is none.
fn canonical_host(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    if let Ok(IpAddr::V4(address)) = host.parse() {
        return Some(address.to_string());
    }
    let ascii = idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    // What ends in a number is an address to WHATWG and to inet_aton, in spellings that hide which.
    let last = name.rsplit('.').next().unwrap_or("");
    let looks_numeric = last.bytes().all(|octet| octet.is_ascii_digit())
        || last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    (name.len() <= 253 && name.split('.').all(is_label) && !looks_numeric).then(|| name.to_ascii_lowercase())
}

/// What remote templates may lead to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Policy {
    /// Services, beside the template's own, that templates may lead to.
    pub allowed: Vec<Service>,
    /// Whether a template that came over https may lead to http.
    pub downgrade: bool,
    /// Whether credentials may go over http.
    pub clear_text_credentials: bool,
    /// Whether http may be used at all: when not, services and targets must be https.
    pub https_only: bool,
}

/// A user and a password, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Zeroizing<String>,
    passwd: Zeroizing<String>,
}

impl Credentials {
    /// Of this user.
    pub fn new(user: impl Into<String>, passwd: impl Into<String>) -> Self {
        Self { user: Zeroizing::new(user.into()), passwd: Zeroizing::new(passwd.into()) }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn passwd(&self) -> &str {
        &self.passwd
    }

    /// The value of an Authorization field. [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)
    pub fn basic(&self) -> Zeroizing<String> {
        use base64::Engine as _;
        let pair = Zeroizing::new(format!("{}:{}", *self.user, *self.passwd));
        let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
        Zeroizing::new(format!("Basic {}", *encoded))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// A URI that may be asked for.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// Whom to connect to.
    pub service: Service,
    /// Path and query, beginning with a slash.
    pub path_and_query: String,
    /// What stood as user information in the template, for an Authorization field.
    pub credentials: Option<Credentials>,
    /// Whether the query has credentials, so that it must not be logged.
    pub is_secret: bool,
}

impl Target {
    /// The absolute URI, without user information.
    pub fn uri(&self) -> String {
        format!("{}{}", self.service, self.path_and_query)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.is_secret { "/..." } else { &self.path_and_query };
        write!(f, "Target({}{path})", self.service)
    }
}

/// Why an expansion must not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The authority cannot be read.
    #[error("no host in the expanded URI")]
    Authority,
    /// Credentials would go where they can be read.
    #[error("credentials would be sent in clear text or logged")]
    Credentials,
    /// A path segment would climb.
    #[error("the path has dot segments")]
    DotSegment,
    /// https would lead to http.
    #[error("a template that came over https leads to http")]
    Downgrade,
    /// It could not be expanded.
    #[error(transparent)]
    Expansion(#[from] TemplateError),
    /// A fragment.
    #[error("the URI has a fragment, which is never sent")]
    Fragment,
    /// A host that is not the service's.
    #[error("the template leads to {0}, which is not where it came from")]
    OtherHost(String),
    /// Only https is allowed.
    #[error("http is not allowed")]
    HttpsOnly,
    /// A scheme that this client does not have.
    #[error("scheme {0:?} is not supported")]
    Scheme(String),
    /// A value would change the shape of the URI.
    #[error("the value of {0} would change the meaning of the URI")]
    Shape(String),
}

impl Template {
    /// Expands a template that came from `service` and checks where it leads.
    ///
    /// `scheme` and `service` are added to the variables. A `{service}` that stands alone in the authority is
    /// written with its colons and brackets, which RFC 6570 would encode.
    ///
    /// # Errors
    /// When the expansion must not be asked for.
    pub fn target(
        &self,
        service: &Service,
        variables: &Variables,
        policy: &Policy,
        limits: &Limits,
    ) -> Result<Target, Refusal> {
        let mut variables = variables.clone();
        variables.set("service", service.authority());
        variables.set("scheme", service.scheme.name());
        self.check_shape(&variables)?;
        let authority = self.authority_expressions();
        let exception = |index: usize, name: &str| name == "service" && authority.contains(&index);
        let uri = Zeroizing::new(expand::expand(self, &variables, limits, &exception)?);
        let mut target = check(&uri, service, policy)?;
        if self.specs().any(|spec| ["user", "passwd"].contains(&spec.name.as_str())) {
            self.check_credentials(&variables, &authority, policy, &mut target)?;
        }
        Ok(target)
    }

    /// The indexes of the parts that stand in the authority.
    fn authority_expressions(&self) -> Vec<usize> {
        let mut indexes = Vec::new();
        let mut seen = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(text) => {
                    seen.push_str(text);
                    if seen.split_once("://").is_some_and(|(_, behind)| behind.contains(['/', '?', '#'])) {
                        break;
                    }
                }
                Part::Expression { operator, .. } => match operator {
                    Operator::Simple | Operator::Reserved if seen.contains("://") => indexes.push(index),
                    Operator::Simple | Operator::Reserved | Operator::Label => {}
                    _ => break,
                },
            }
        }
        indexes
    }

    /// Refuses values that `+` or `#` would let write more than a value.
    fn check_shape(&self, variables: &Variables) -> Result<(), Refusal> {
        for part in &self.parts {
            let Part::Expression { operator: Operator::Reserved | Operator::Fragment, variables: specs } = part else {
                continue;
            };
            for spec in specs.iter().filter(|spec| spec.name != "service" && spec.name != "scheme") {
                let is_bad = |text: &String| text.contains(|c: char| "/?#[]&=+;!$'()*%".contains(c));
                let is_bad = match variables.defined(&spec.name) {
                    None => false,
                    Some(Value::Text(text)) => is_bad(text),
                    Some(Value::List(items)) => items.iter().any(is_bad),
                    Some(Value::Map(pairs)) => pairs.iter().any(|(key, value)| is_bad(key) || is_bad(value)),
                };
                if is_bad {
                    return Err(Refusal::Shape(spec.name.clone()));
                }
            }
        }
        Ok(())
    }

    /// Credentials go into user information, and over https into a query; elsewhere they would be logged.
    fn check_credentials(
        &self,
        variables: &Variables,
        authority: &[usize],
        policy: &Policy,
        target: &mut Target,
    ) -> Result<(), Refusal> {
        let is_clear = target.service.scheme == Scheme::Http && !policy.clear_text_credentials;
        for (index, part) in self.parts.iter().enumerate() {
            let Part::Expression { operator, variables: specs } = part else { continue };
            let is_used = specs.iter().any(|spec| {
                ["user", "passwd"].contains(&spec.name.as_str()) && variables.defined(&spec.name).is_some()
            });
            if !is_used || authority.contains(&index) {
                continue;
            }
            if is_clear || !matches!(operator, Operator::Query | Operator::Continuation) {
                return Err(Refusal::Credentials);
            }
            target.is_secret = true;
        }
        if target.credentials.is_some() && is_clear {
            return Err(Refusal::Credentials);
        }
        Ok(())
    }
}

/// Takes an absolute URI apart and holds it against the rules.
pub(crate) fn check(uri: &str, service: &Service, policy: &Policy) -> Result<Target, Refusal> {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(Refusal::Scheme(scheme.chars().take(32).collect())),
    };
    if scheme == Scheme::Http && policy.https_only {
        return Err(Refusal::HttpsOnly);
    }
    let rest = rest.strip_prefix("//").ok_or(Refusal::Authority)?;
    if rest.contains('#') {
        return Err(Refusal::Fragment);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at_checked(end).ok_or(Refusal::Authority)?;
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let found = Service::new(scheme, host).map_err(|_| Refusal::Authority)?;
    let is_default = |service: &Service| service.port == service.scheme.default_port();
    let is_own =
        found.host == service.host && (found.port == service.port || (is_default(&found) && is_default(service)));
    if !is_own && !policy.allowed.contains(&found) {
        return Err(Refusal::OtherHost(found.to_string()));
    }
    if service.scheme == Scheme::Https && scheme == Scheme::Http && !policy.downgrade {
        return Err(Refusal::Downgrade);
    }
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    if path.split('/').any(is_dot_segment) || path.contains('\\') {
        return Err(Refusal::DotSegment);
    }
    let slash = if path.is_empty() { "/" } else { "" };
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let credentials = userinfo.map(credentials).transpose()?.flatten();
    Ok(Target { service: found, path_and_query: format!("{slash}{path}{query}"), credentials, is_secret: false })
}

/// What a server may take for `.` or `..`: the percent form too.
fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    // Parameters behind a dot segment are cut off by some servers before they look.
    let plain = plain.split(';').next().unwrap_or("");
    matches!(plain, "." | "..")
}

/// What stands before the at sign; what cannot be read for certain, such as a second at sign, is no authority.
fn credentials(userinfo: &str) -> Result<Option<Credentials>, Refusal> {
    let (user, passwd) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    if user.is_empty() && passwd.is_empty() {
        return Ok(None);
    }
    let decode = |text| {
        let is_certain = |text: &str| !text.contains(['@', '[', ']']);
        decode_percent(text).filter(|_| is_certain(text)).ok_or(Refusal::Authority)
    };
    Ok(Some(Credentials::new(decode(user)?, decode(passwd)?)))
}

/// The text behind percent triplets; `None` when it is no UTF-8.
pub(crate) fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((octet, behind)) = rest.split_first() {
        let decoded = match (octet, behind) {
            (b'%', [high, low, ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(high).zip(digit(low)).map(|(high, low)| (high << 4) | low)
            }
            _ => None,
        };
        octets.push(decoded.unwrap_or(*octet));
        rest = if decoded.is_some() { behind.get(2..).unwrap_or(&[]) } else { behind };
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}
