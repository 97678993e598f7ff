//! Asking raters: several at once, many questions, and peers that do not answer as they should.

use std::net::{TcpListener, UdpSocket};

use watchfire_tests::{Service, Site};

use crate::site::{canned, entry, failure, fed, query, rater, told};

#[test]
fn several_raters_are_combined_and_explained() {
    let site = Site::new();
    let one = rater(&site.write("1.ndjson", entry("example.org", "0.9")), &[]);
    let two = rater(&site.write("2.ndjson", entry("example.org", "0.3")), &[]);
    let silent = rater(&site.write("3.ndjson", entry("other.example", "0.3")), &[]);
    let gone = format!("{}:9", watchfire_testkit::own_loopback());
    let services = ["--service", &one.1, "--service", &two.1, "--service", &silent.1, "--service", &gone];
    let subject = ["--subject", "example.org", "--assertion", "spam"];
    let (code, lines, error) = query(&[&services[..], &subject, &["--explain"]].concat());
    assert_eq!(code, 0, "{error}");
    let combined = &lines[0];
    assert_eq!((combined["assertion"].as_str(), combined["opinions"].as_u64()), (Some("spam"), Some(2)));
    assert_eq!((combined["rating"].as_f64(), combined["spread"].as_f64()), (Some(0.6), Some(0.6)));
    let standing = |address: &str| {
        let said = lines.iter().find(|line| line["service"].as_str().is_some_and(|service| service.ends_with(address)));
        said.unwrap()["standing"].as_str().unwrap().to_owned()
    };
    let all = [&one.1, &two.1, &silent.1, &gone].map(|address| standing(address));
    assert_eq!(all, ["counted", "counted", "no-data", "failed"]);
    let trust = format!("{}=0", two.1);
    let (_, lines, _) = query(&[&services[..], &subject, &["--trust", &trust]].concat());
    assert_eq!((lines.len(), lines[0]["rating"].as_f64()), (1, Some(0.9)), "nobody trusts the other");
    let deny = site.write("deny", "example.org\n");
    let (code, lines, _) = query(&[&services[..], &["--subject", "www.example.org", "--deny-list", &deny]].concat());
    assert_eq!((code, lines[0]["list"].as_str()), (0, Some("denied")));
}

#[test]
fn many_questions_are_answered_in_their_order() {
    let site = Site::new();
    let data: String = (0..200).map(|number| entry(&format!("n{number}.example"), "0.5")).collect();
    let (_rater, address) = rater(&site.write("d.ndjson", data), &[]);
    let subjects: String = (0..300).map(|number| format!("n{number}.example\n")).collect();
    let words =
        ["repute", "query", "--json", "--service", &address, "--assertion", "spam", "--timeout", "60", "--input", "-"];
    let (code, lines, error) = told(&fed(&words, &subjects));
    assert_eq!((code, lines.len()), (0, 300), "{error}");
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["rated"], format!("n{number}.example"));
        assert_eq!(line["rating"].is_number(), number < 200, "{line}");
    }
    let (code, lines, _) = told(&fed(&words, "n1.example\na b\nn2.example\n"));
    assert_eq!((code, lines.len(), lines[1]["event"].as_str()), (2, 3, Some("none")), "the others are answered");
}

#[test]
fn who_does_not_answer_is_left_in_time() {
    let site = Site::new();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute_dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    let list = format!("dnsbl:bl.example@{}", mute_dns.local_addr().unwrap());
    for service in [mute.local_addr().unwrap().to_string(), list] {
        let words = ["repute", "query", "--service", &service, "--subject", "example.org", "--timeout", "1"];
        let (code, error) = failure(&words);
        assert_eq!(code, 3, "{error}");
    }
    let gone = format!("{}:9", watchfire_testkit::own_loopback());
    assert_eq!(failure(&["repute", "query", "--service", &gone, "--subject", "example.org"]).0, 3);
    drop(site);
}

#[test]
fn who_answers_nonsense_is_not_believed() {
    const TEMPLATE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
        http://{service}/{application}/{subject}/{assertion}\r\n";
    for (responses, code) in [
        (&["HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>{"][..], 4),
        (&["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], 1),
        (
            &[
                TEMPLATE,
                "HTTP/1.1 200 OK\r\nContent-Type: application/reputon+json\r\nConnection: close\r\n\r\n{\"appl",
            ],
            4,
        ),
        (&[TEMPLATE, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>listed!"], 4),
        (&[TEMPLATE, "HTTP/1.1 429 Too Many\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], 3),
        (&["nonsense\r\n\r\n"], 3),
    ] {
        let address = canned(responses);
        let words = [
            "repute",
            "query",
            "--service",
            &address,
            "--subject",
            "example.org",
            "--assertion",
            "spam",
            "--timeout",
            "60",
        ];
        let (found, error) = failure(&words);
        assert_eq!(found, code, "{responses:?}: {error}");
    }
}

#[test]
fn questions_that_are_none_are_named() {
    for (words, why) in [
        (&["--service", "h", "--subject", "a b"][..], "neither a DNS name nor an IP address"),
        (&["--service", "h", "--subject", "192.0.2.1", "--identity", "dkim"], "not what dkim identifies"),
        (&["--service", "h:x", "--subject", "a.example"], "HOST"),
        (&["--service", "dnsbl:a..b", "--subject", "a.example"], "dnsbl:a..b"),
        (&["--service", "h", "--subject", "a.example", "--assertion", "a b"], "a b"),
        (&["--service", "h"], "--subject"),
    ] {
        let (code, error) = failure(&[&["repute", "query"], words].concat());
        assert!(code == 2 && error.contains(why), "{code} {error}");
    }
    let (code, error) = failure(&["repute", "query", "--service", "ftp://u:s3cret@h", "--subject", "a.example"]);
    assert!(code == 2 && !error.contains("s3cret"), "{error}");
}

#[test]
fn a_dnsbl_is_a_rater_like_others() {
    let site = Site::new();
    let data = site.write("d.ndjson", entry("example.org", "0.9") + &entry("192.0.2.99", "0.9"));
    let words = ["repute", "dnsbl", "--json", "--listen", "127.0.0.1:0", "--store", &data, "--zone", "bl.example"];
    let list = Service::start(&words);
    let service = format!("dnsbl:bl.example@{}", list.address());
    let ask = |subject: &str, more: &[&str]| query(&[&["--service", &service, "--subject", subject], more].concat());
    for subject in ["example.org", "192.0.2.99"] {
        let (code, lines, error) = ask(subject, &[]);
        assert_eq!((code, lines.len()), (0, 1), "{error}");
        assert_eq!((lines[0]["rating"].as_f64(), lines[0]["dnsbl-code"].as_str()), (Some(1.0), Some("127.0.0.2")));
        assert_eq!((lines[0]["rated"].as_str(), lines[0]["rater"].as_str()), (Some(subject), Some("bl.example")));
    }
    assert_eq!(ask("other.example", &[]).0, 1);
    assert_eq!(ask("example.org", &["--assertion", "malware"]).0, 1, "it says something else");
    assert_eq!(ask("example.org", &["--code", "malware=127.0.0.2"]).1[0]["assertion"], "malware");
    let (_rater, address) = rater(&site.write("r.ndjson", entry("example.org", "0.2")), &[]);
    let (code, lines, _) = ask("example.org", &["--service", &address, "--explain"]);
    assert_eq!((code, lines.len(), lines[0]["opinions"].as_u64()), (0, 3, Some(2)));
    let rating = lines[0]["rating"].as_f64().unwrap();
    assert!(rating > 0.2 && rating < 1.0, "{rating}");
    let text = lines[2]["reputon"]["dnsbl-text"].as_str().unwrap();
    assert_eq!(text, "example.org: spam 0.9");
}

/// A DNS server that gives the same answer to everything.
fn constant(code: u8, address: Option<[u8; 4]>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let name = buffer[12..len].iter().position(|octet| *octet == 0).unwrap();
            let mut response = buffer[..12 + name + 5].to_vec();
            response[2] |= 0x80;
            response[3] = code;
            response[7] = u8::from(address.is_some());
            response[11] = 0;
            if let Some(address) = address {
                response.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                response.extend_from_slice(&address);
            }
            let _ = socket.send_to(&response, from);
        }
    });
    format!("dnsbl:bl.example@{server}")
}

#[test]
fn what_is_wrong_with_a_list_is_never_a_verdict() {
    for (code, address, exit) in [
        (0, Some([127, 255, 255, 254]), 1),
        (0, Some([127, 0, 0, 1]), 4),
        (0, Some([198, 51, 100, 1]), 4),
        // It lists what no list has: everything.
        (0, Some([127, 0, 0, 2]), 4),
        (2, None, 1),
        (5, None, 1),
    ] {
        let service = constant(code, address);
        let (found, lines, error) = query(&["--service", &service, "--subject", "192.0.2.1"]);
        assert_eq!((found, lines.len()), (exit, 0), "{code} {address:?}: {error}");
    }
    let (code, _, error) = query(&["--service", &constant(3, None), "--subject", "192.0.2.1"]);
    assert!(code == 1 && error.contains("no rater has data"), "{error}");
}
