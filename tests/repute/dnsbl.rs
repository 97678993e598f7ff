//! The DNSBL, asked by `dig`.

use std::process::Command;

use watchfire_tests::{Service, Site, get, skip, succeed, until};

use crate::site::{entry, failure};

fn dig(address: &str, words: &[&str]) -> String {
    let port = address.rsplit(':').next().unwrap();
    let output =
        Command::new("dig").args(["@127.0.0.1", "+time=30", "-p", port, "+norec"]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn dig_is_answered_as_by_any_list() {
    let test = "dig_is_answered_as_by_any_list";
    if Command::new("dig").arg("-v").output().is_err() {
        return skip(test, "the package bind9-dnsutils is not installed");
    }
    let site = Site::new();
    let zone = site.write(
        "zone",
        ":127.0.0.3:Listed, see https://bl.example/?$\n192.0.2.99\n198.51.100.0/24 :4:\n!198.51.100.7\n2001:db8::/32\n\
         bad.example\n.worse.example\n",
    );
    let store = format!("sqlite:{}", site.file("s.db"));
    let import = ["repute", "import", "--store", &store, "--rater", "z", "--replace", "--dnsbl-zone", &zone];
    succeed(&[&import[..], &["--code", "malware=127.0.0.4"]].concat());
    let words = ["repute", "dnsbl", "--json", "--listen", "127.0.0.1:0", "--store", &store, "--zone", "bl.example"];
    let more = ["--ns", "ns.bl.example", "--negative-ttl", "77s", "--metrics", "127.0.0.1:0", "--threads", "2"];
    let mut list = Service::start(&[&words[..], &more].concat());
    let (address, metrics) = (list.address(), list.address());
    let v6 = |last: &str| format!("{last}.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example");
    for transport in ["+notcp", "+tcp"] {
        let short = |name: &str, kind: &str| dig(&address, &[name, kind, "+short", transport]).trim().to_owned();
        for (name, code) in [
            ("99.2.0.192.bl.example", "127.0.0.3"),
            ("9.100.51.198.bl.example", "127.0.0.4"),
            ("7.100.51.198.bl.example", ""),
            (&v6("1"), "127.0.0.3"),
            ("bad.example.bl.example", "127.0.0.3"),
            ("BAD.Example.BL.example", "127.0.0.3"),
            ("www.bad.example.bl.example", ""),
            ("a.b.worse.example.bl.example", "127.0.0.3"),
            // Entries of RFC 5782.
            ("2.0.0.127.bl.example", "127.0.0.2"),
            ("1.0.0.127.bl.example", ""),
            ("test.bl.example", "127.0.0.2"),
            ("invalid.bl.example", ""),
        ] {
            assert_eq!(short(name, "A"), code, "{name} {transport}");
        }
        assert_eq!(short("99.2.0.192.bl.example", "TXT"), "\"Listed, see https://bl.example/?192.0.2.99\"");
        assert_eq!(short("9.100.51.198.bl.example", "TXT"), "\"198.51.100.9: malware 1.0\"");
        assert_eq!(short("bl.example", "NS"), "ns.bl.example.");
        assert!(short("bl.example", "SOA").starts_with("ns.bl.example. hostmaster.bl.example. "));
    }
    let absent = dig(&address, &["1.2.0.192.bl.example", "A"]);
    assert!(absent.contains("status: NXDOMAIN") && absent.contains("flags: qr aa;"), "{absent}");
    assert!(absent.lines().any(|line| line.contains("SOA") && line.contains("\t77\t")), "{absent}");
    for name in ["2.0.192.bl.example", "example.bl.example", "bad.example.bl.example"] {
        let there = dig(&address, &[name, "MX"]);
        assert!(there.contains("status: NOERROR") && there.contains("ANSWER: 0"), "{name}: {there}");
    }
    for name in ["www.example.org", "example"] {
        assert!(dig(&address, &[name, "A"]).contains("status: REFUSED"));
    }
    assert!(dig(&address, &["bl.example", "AXFR"]).contains("Transfer failed"));
    assert!(dig(&address, &["test.bl.example", "A", "+edns=1", "+noednsnegotiation"]).contains("BADVERS"));
    // What is no longer in the zone goes, without a restart.
    site.write("zone", "203.0.113.1\n");
    succeed(&import);
    until("the change is seen", || dig(&address, &["99.2.0.192.bl.example", "A", "+short"]).is_empty());
    assert_eq!(dig(&address, &["1.113.0.203.bl.example", "A", "+short"]).trim(), "127.0.0.2");
    until("it is counted", || {
        let page = get(&metrics, "/metrics").unwrap();
        page.contains("watchfire_repute_dnsbl_queries_total{outcome=\"refused\"}")
            && page.contains("watchfire_repute_entries 1\n")
    });
    list.signal("TERM");
    assert_eq!(list.wait(), 0);
}

#[test]
fn ratings_become_codes_as_configured() {
    let test = "ratings_become_codes_as_configured";
    if Command::new("dig").arg("-v").output().is_err() {
        return skip(test, "the package bind9-dnsutils is not installed");
    }
    let site = Site::new();
    let data = site.write(
        "d.ndjson",
        ["0.3", "0.6", "0.95"].map(|rating| entry(&format!("r{}.example", &rating[2..]), rating)).concat(),
    );
    let words = ["repute", "dnsbl", "--json", "--listen", "127.0.0.1:0", "--store", &data, "--zone", "bl.example"];
    let more = ["--code", "spam:0.5=127.0.0.5", "--code", "spam:0.9=127.0.0.9", "--text", "{rating} for {assertion}"];
    let list = Service::start(&[&words[..], &more, &["--no-test-entries"]].concat());
    let address = list.address();
    let short = |name: &str, kind: &str| dig(&address, &[name, kind, "+short"]).trim().to_owned();
    assert_eq!(
        ["r3", "r6", "r95"].map(|name| short(&format!("{name}.example.bl.example"), "A")),
        ["", "127.0.0.5", "127.0.0.9"]
    );
    assert_eq!(short("r95.example.bl.example", "TXT"), "\"0.95 for spam\"");
    assert_eq!(short("2.0.0.127.bl.example", "A"), "", "it was told to have none");
}

#[test]
fn a_list_that_cannot_be_is_named() {
    let site = Site::new();
    let data = site.write("d.ndjson", entry("example.org", "0.5"));
    for (words, why) in [
        (&["--store", &data, "--zone", "a..b"][..], "a..b"),
        (&["--store", &data, "--zone", "bl.example", "--ns", "a b"], "--ns"),
        (&["--store", &site.file("none"), "--zone", "bl.example"], "cannot read the entries"),
        (&["--store", &data, "--zone", "bl.example", "--code", "spam=192.0.2.1"], "127.0.0.0/8"),
    ] {
        let (code, error) = failure(&[&["repute", "dnsbl", "--listen", "127.0.0.1:0"], words].concat());
        assert!(code == 2 && error.contains(why), "{code} {error}");
    }
}
