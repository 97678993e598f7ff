//! Where to call, as the DNS says.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex};

use watchfire_tests::{Service, run};

use crate::site::{HOME, OPERATOR, Operator, site};

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn naptr(flags: &str, service: &str, replacement: &str) -> (u16, Vec<u8>) {
    let mut data = vec![0, 10, 0, 10];
    for text in [flags, service, ""] {
        data.push(u8::try_from(text.len()).unwrap());
        data.extend_from_slice(text.as_bytes());
    }
    (35, [data, name(replacement)].concat())
}

fn srv(port: u16, target: &str) -> (u16, Vec<u8>) {
    (33, [&[0, 0, 0, 0][..], &port.to_be_bytes(), &name(target)].concat())
}

type Zone = Vec<(&'static str, (u16, Vec<u8>))>;

/// A DNS server of these records; NXDOMAIN for the rest.
fn server(zone: Zone) -> String {
    changing(Arc::new(Mutex::new(zone)))
}

/// The same of what the records are when it is asked.
fn changing(zone: Arc<Mutex<Zone>>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let zone = zone.lock().unwrap().clone();
            let end = 12 + buffer[12..length].iter().position(|octet| *octet == 0).unwrap() + 1;
            let (asked, kind) =
                (buffer[12..end].to_ascii_lowercase(), u16::from_be_bytes([buffer[end], buffer[end + 1]]));
            let found: Vec<_> =
                zone.iter().filter(|(of, (of_kind, _))| name(of) == asked && *of_kind == kind).collect();
            let mut response = buffer[..end + 4].to_vec();
            response[2] |= 0x84;
            response[3] = if zone.iter().any(|(of, _)| name(of) == asked) { 0 } else { 3 };
            response[6..8].copy_from_slice(&u16::try_from(found.len()).unwrap().to_be_bytes());
            response[8..12].fill(0);
            for (_, (kind, data)) in found {
                response.extend_from_slice(&[0xc0, 12]);
                response.extend_from_slice(&kind.to_be_bytes());
                response.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
                response.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
                response.extend_from_slice(data);
            }
            let _ = socket.send_to(&response, from);
        }
    });
    address
}

fn discover(site: &watchfire_tests::Site, resolver: &str, place: &[&str]) -> Service {
    let credentials = site.tls(HOME);
    let mut words = vec!["dots", "call-home-server", "--json", "--peer-name", OPERATOR, "--resolver", resolver];
    words.extend(["--reconnect-min", "1"]);
    words.extend(credentials.iter().map(String::as_str));
    words.extend(place);
    Service::start(&words)
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn by_naptr_through_another_name_to_srv() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let dns = server(vec![
        ("isp.example", naptr("", "DOTS-CALL-HOME:signal.udp", "dots.isp.example")),
        ("isp.example", naptr("", "SIP+D2U", "sip.isp.example")),
        // Around in a circle, too.
        ("dots.isp.example", naptr("", "DOTS-CALL-HOME:signal.udp", "isp.example")),
        ("dots.isp.example", naptr("s", "dots-call-home:signal.udp", "_x._udp.isp.example")),
        ("_x._udp.isp.example", srv(port(&operator.dtls), "localhost")),
    ]);
    let _home = discover(&site, &dns, &["--discover", "isp.example"]);
    let (code, _, error) = operator.mitigate("1", &[]);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn by_srv_alone() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let dns = server(vec![
        ("isp.example", (16, b"\x01x".to_vec())),
        ("_dots-call-home._tcp.isp.example", srv(port(&operator.tls), "localhost")),
        ("_dots-call-home._udp.isp.example", srv(9, ".")),
    ]);
    let _home = discover(&site, &dns, &["--connect", "srv:isp.example"]);
    let (code, _, error) = operator.mitigate("1", &[]);
    assert_eq!(code, 0, "{error}");
}

#[test]
fn the_dns_is_asked_again_when_the_operator_is_somewhere_else() {
    let site = site();
    let at = |operator: &Operator| -> Zone {
        vec![
            ("_dots-call-home._udp.isp.example", srv(port(&operator.dtls), "localhost")),
            // Each transport has its own port.
            ("_dots-call-home._tcp.isp.example", srv(port(&operator.tls), "localhost")),
        ]
    };
    let mut first = Operator::start(&site, &[]);
    let zone = Arc::new(Mutex::new(at(&first)));
    let home = discover(&site, &changing(Arc::clone(&zone)), &["--discover", "isp.example"]);
    assert_eq!(first.mitigate("1", &[]).0, 0);
    let second = Operator::start(&site, &[]);
    *zone.lock().unwrap() = at(&second);
    first.service.signal("TERM");
    first.service.wait();
    let (code, _, error) = second.mitigate("2", &[]);
    assert_eq!(code, 0, "{error}\n{}", home.log());
}

#[test]
fn what_the_dns_does_not_say_is_said() {
    let site = site();
    let dns = server(vec![("isp.example", (16, b"\x01x".to_vec()))]);
    let tls = site.tls(HOME);
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let words = ["dots", "call-home-server", "--peer-name", OPERATOR, "--resolver", &dns, "--discover", "isp.example"];
    let output = run(&[&words[..], &tls].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("does not say where to call"), "{error}");
    // A server that is silent may speak later.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut home = discover(&site, &silent.local_addr().unwrap().to_string(), &["--discover", "isp.example"]);
    home.wait_for_log("asked again");
    home.signal("TERM");
    assert_eq!(home.wait(), 0);
}
