//! Peers that do not play by the rules, against the running program: each gets the status of the table or a clean
//! close, and the program goes on serving others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use watchfire_tests::{Service, Site, exchange};

/// What comes back for these octets, until the other side closes.
fn answer(address: &str, octets: &[u8]) -> String {
    String::from_utf8_lossy(&exchange(address, octets).unwrap()).into_owned()
}

fn vector(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/vectors/iap/{name}.bin", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn still_serves(site: &Site, manager: &Service, address: &str) {
    let input = site.write("good", "good\n");
    let mut sensor = site.sensor(&["--connect", address, "--input", &input, "--exit-when-drained"]);
    assert_eq!(sensor.wait(), 0, "{}\n{}", sensor.log(), manager.log());
}

#[test]
fn bad_first_requests_are_answered_and_closed() {
    let site = Site::new();
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--setup-timeout", "6s", "--output", "-"]);
    let address = manager.address();
    for (name, status) in [
        ("N01", "400"),
        ("N02", "505"),
        ("N03", "400"),
        ("N04", "400"),
        ("N05", "400"),
        ("N15", "400"),
        ("N18", "400"),
        ("N19", "400"),
    ] {
        let answer = answer(&address, &vector(name));
        assert_eq!(answer, format!("IAP/0.3 {status}\r\n\r\n"), "{name}");
    }
    // An initiator that does not wait, and one that never goes on.
    assert_eq!(answer(&address, b"IAP/0.3 CONNECT m\r\n\r\nIAP/0.3 Upgrade: TLS/1.0\r\n\r\n"), "IAP/0.3 400\r\n\r\n");
    assert_eq!(answer(&address, &vector("V01")), "IAP/0.3 200\r\n\r\nIAP/0.3 408\r\n\r\n");
    assert_eq!(answer(&address, b""), "IAP/0.3 408\r\n\r\n");
    still_serves(&site, &manager, &address);
}

#[test]
fn what_is_not_tls_after_101_ends_the_connection() {
    let site = Site::new();
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--output", "-"]);
    let address = manager.address();
    let mut stream = TcpStream::connect(&address).unwrap();
    let read = |stream: &mut TcpStream, len: usize| {
        let mut octets = vec![0; len];
        stream.read_exact(&mut octets).unwrap();
        String::from_utf8(octets).unwrap()
    };
    stream.write_all(&vector("V01")).unwrap();
    assert_eq!(read(&mut stream, 15), "IAP/0.3 200\r\n\r\n");
    stream.write_all(&vector("V05")).unwrap();
    assert_eq!(read(&mut stream, 15), "IAP/0.3 101\r\n\r\n");
    // Content in clear text: never taken.
    stream.write_all(&vector("V09a")).unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("IAP/0.3"), "{rest:?}");
    still_serves(&site, &manager, &address);
    // The only line of output is the good one.
    assert!(manager.line().contains("Z29vZA=="));
}

#[test]
fn a_proxy_in_a_circle_says_502() {
    let site = Site::new();
    let first = site.proxy("p1.test", "127.0.0.1:1", &["--listen", "127.0.0.1:0"]);
    let address = first.address();
    let looped = b"IAP/0.3 CONNECT m.test\r\nIAP/0.3 Via: P1.TEST.\r\n\r\n";
    assert_eq!(answer(&address, looped), "IAP/0.3 502\r\n\r\n");
    // Nobody at the next hop.
    assert_eq!(answer(&address, &vector("V01")), "IAP/0.3 502\r\n\r\n");
    drop(site);
}
