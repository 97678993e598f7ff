//! The DNS stub, asked by `dig`.

use std::process::Command;

use watchfire_tests::{Service, skip};

use crate::site::{Brokered, port};

#[test]
fn dig_is_answered_through_the_broker() {
    let test = "dig_is_answered_through_the_broker";
    if Command::new("dig").arg("-v").output().is_err() {
        return skip(test, "the package bind9-dnsutils is not installed");
    }
    let Some(at) = Brokered::start(test, &[]) else { return };
    let stub = Service::start(&["obp", "dns", "--json", "--binding", &at.binding, "--listen", "127.0.0.1:0"]);
    let address = stub.address();
    let dig = |words: &[&str]| {
        let output =
            Command::new("dig").args(["@127.0.0.1", "+time=30", "-p", port(&address)]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(dig(&["www.plain.test", "A", "+short", transport]).trim(), "192.0.2.1");
        assert_eq!(dig(&["deep.plain.test", "AAAA", "+short", transport]).trim(), "2001:db8::1");
    }
    assert!(dig(&["no.plain.test", "A"]).contains("status: NXDOMAIN"));
    assert!(dig(&["www.plain.test", "MX"]).contains("status: NOTIMP"));
    let srv = dig(&["_xmpp-client._tcp.plain.test", "SRV", "+short"]);
    assert!(srv.lines().next().unwrap().starts_with("0 0 5222 "), "{srv}");
    let host = srv.lines().next().unwrap().rsplit(' ').next().unwrap();
    let found = dig(&[host, "AAAA", "+short"]) + &dig(&[host, "A", "+short"]);
    assert_eq!(found.trim(), "2001:db8::1", "the names it makes lead somewhere");
    let https = dig(&["web.plain.test", "HTTPS", "+short"]);
    assert!(https.contains("alpn=\"h2,h3\"") && https.contains("port=8443"), "{https}");
}
