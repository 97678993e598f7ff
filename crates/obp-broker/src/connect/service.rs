//! What is known about services by name: their ports, and how TLS comes to them.

use crate::name::DomainName;

/// How a service meets TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// It begins with TLS.
    Implied,
    /// The same service with TLS from the start lives at this port.
    Sibling(u16),
    /// It can change to TLS on the connection itself (STARTTLS and its kin).
    InBand,
    /// Nothing is known.
    Unknown,
}

/// What is to be asked, and what to fall back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Labels before the name for SRV: `_http._tcp`.
    pub(super) srv: Option<String>,
    /// Labels before the name for HTTPS records; empty for the name itself.
    pub(super) https: Option<String>,
    /// Labels before the name for SVCB records: `_dns`.
    pub(super) svcb: Option<String>,
    /// The port when no record names one.
    pub(super) port: Option<u16>,
    /// How it meets TLS.
    pub(super) tls: Tls,
    /// The port of HTTPS records that name none.
    pub(super) https_port: u16,
}

use Tls::{Implied, InBand, Sibling, Unknown};

/// Services, their ports and their way to TLS (IANA's registry of service names).
const KNOWN: &[(&str, u16, Tls)] = &[
    ("dns", 53, Unknown),
    ("domain", 53, Unknown),
    ("ftp", 21, InBand),
    ("ftps", 990, Implied),
    ("http", 80, Sibling(443)),
    ("https", 443, Implied),
    ("imap", 143, Sibling(993)),
    ("imaps", 993, Implied),
    ("kerberos", 88, Unknown),
    ("ldap", 389, Sibling(636)),
    ("ldaps", 636, Implied),
    ("mqtt", 1883, Sibling(8883)),
    ("nntp", 119, Sibling(563)),
    ("omni-query", 443, Implied),
    ("pop3", 110, Sibling(995)),
    ("pop3s", 995, Implied),
    ("secure-mqtt", 8883, Implied),
    ("sip", 5060, Sibling(5061)),
    ("sips", 5061, Implied),
    ("smtp", 25, InBand),
    ("ssh", 22, Unknown),
    ("submission", 587, Sibling(465)),
    ("submissions", 465, Implied),
    ("sxs-connect", 443, Implied),
    ("xmpp-client", 5222, InBand),
    ("xmpp-server", 5269, InBand),
    ("xmpps-client", 5223, Implied),
];

/// The port at which a service of this name (`http`, without underscore) usually lives.
pub fn usual_port(name: &str) -> Option<u16> {
    KNOWN.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name)).map(|(_, port, _)| *port)
}

/// Why a question names no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoService(pub(super) &'static str);

/// From the Identifier's service and port, of which one must be there (OBP-021). `_http`, `_http._tcp`, `http` and a
/// final dot are the same service (OBP-025); without a transport label it is TCP.
pub(super) fn plan(service: Option<&str>, port: Option<u16>) -> Result<Plan, NoService> {
    if port == Some(0) {
        return Err(NoService("the port is 0"));
    }
    let Some(service) = service else {
        let port = port.ok_or(NoService("neither service nor port: name one"))?;
        // A port alone is a place; what lives there is known for few, and only the web has records at the name.
        let known = KNOWN.iter().find(|(_, usual, _)| *usual == port);
        let web = matches!(port, 80 | 443);
        return Ok(Plan {
            srv: None,
            https: web.then(String::new),
            svcb: None,
            port: Some(port),
            tls: known.map_or(Unknown, |(_, _, tls)| *tls),
            https_port: 443,
        });
    };
    let service = service.strip_suffix('.').unwrap_or(service).to_ascii_lowercase();
    let mut labels = service.split('.');
    let name = labels.next().unwrap_or_default();
    let name = name.strip_prefix('_').unwrap_or(name);
    let transport = labels.next();
    let transport = transport.map(|label| label.strip_prefix('_').unwrap_or(label));
    let well_formed = |label: &str| DomainName::parse(label).is_ok() && !label.contains('.');
    if labels.next().is_some() || !well_formed(name) || !transport.is_none_or(well_formed) {
        return Err(NoService("the service is no prefix such as _http._tcp"));
    }
    let transport = transport.unwrap_or("tcp");
    let known = if transport == "tcp" { KNOWN.iter().find(|(known, ..)| *known == name) } else { None };
    let usual = KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, port, _)| *port);
    let web = transport == "tcp" && matches!(name, "http" | "https");
    let https = web.then(|| match (name, port) {
        (_, None) | ("http", Some(80)) | (_, Some(443)) => String::new(),
        (_, Some(port)) => format!("_{port}._https"),
    });
    let https_port = match (name, port) {
        (_, None) | ("http", Some(80)) => 443,
        (_, Some(port)) => port,
    };
    let svcb = (!web && transport == "tcp").then(|| match port {
        Some(port) if Some(port) != usual => format!("_{port}._{name}"),
        _ => format!("_{name}"),
    });
    Ok(Plan {
        srv: Some(format!("_{name}._{transport}")),
        https,
        svcb,
        port: port.or(usual),
        tls: known.map_or(Unknown, |(_, _, tls)| *tls),
        https_port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_written_in_many_ways() {
        let http = plan(Some("_http._tcp"), None).unwrap();
        assert_eq!(http.srv.as_deref(), Some("_http._tcp"));
        assert_eq!(
            (http.https.as_deref(), http.port, http.tls, http.https_port),
            (Some(""), Some(80), Sibling(443), 443)
        );
        for same in ["_http", "http", "_HTTP._tcp.", "http.tcp"] {
            assert_eq!(plan(Some(same), None).unwrap(), http, "{same}");
        }
        assert_eq!(plan(Some("_http"), Some(80)).unwrap(), http);
        let alt = plan(Some("https"), Some(8443)).unwrap();
        assert_eq!((alt.https.as_deref(), alt.port, alt.https_port), (Some("_8443._https"), Some(8443), 8443));
        let odd = plan(Some("_make_coffee._wks."), None).unwrap();
        assert_eq!((odd.srv.as_deref(), odd.port, odd.svcb), (Some("_make_coffee._wks"), None, None));
        assert_eq!(plan(Some("_dns"), None).unwrap().svcb.as_deref(), Some("_dns"));
        assert_eq!(plan(Some("_dns"), Some(5353)).unwrap().svcb.as_deref(), Some("_5353._dns"));
        assert_eq!(plan(Some("_sip._udp"), None).unwrap().tls, Unknown);
        let port = plan(None, Some(443)).unwrap();
        assert_eq!((port.srv, port.https.as_deref(), port.tls), (None, Some(""), Implied));
        assert_eq!(plan(None, Some(12345)).unwrap().https, None);
    }

    #[test]
    fn what_is_no_service_is_refused() {
        for bad in ["", "_", ".", "_http._tcp.example", "_ht tp", "..", "_http..", "ü"] {
            assert!(plan(Some(bad), Some(80)).is_err(), "{bad}");
        }
        assert!(plan(None, None).is_err());
        assert!(plan(Some("http"), Some(0)).is_err());
    }
}
