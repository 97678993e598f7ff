//! `lurk relay`, `put` and `get`: octets from one to another who cannot reach each other.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;
use watchfire_tests::{PATIENCE, Service, Site, exchange, get, run, wait_for};

use crate::lab::Folder;

struct Relay {
    service: Service,
    url: String,
    address: String,
}

impl Relay {
    fn start(flags: &[&str]) -> Self {
        let service = Service::start(&[&["lurk", "relay", "--json", "--listen", "127.0.0.1:0"], flags].concat());
        let line = service.event();
        assert_eq!((&line["event"], &line["service"]), (&"listening".into(), &"lurk-relay".into()), "{line}");
        let address = line["addr"].as_str().unwrap().to_owned();
        Self { service, url: format!("http://{address}/"), address }
    }

    /// One request over a connection of its own, and all that comes back.
    fn raw(&self, request: &str) -> String {
        String::from_utf8_lossy(&exchange(&self.address, request).unwrap()).into_owned()
    }
}

/// Puts a file there, and gives the notification.
fn put(relay: &Relay, file: &str, flags: &[&str]) -> String {
    let output = run(&[&["lurk", "put", "--relay", &relay.url], flags, &[file]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

fn got(notification: &str) -> Vec<u8> {
    let output = run(&["lurk", "get", notification]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The exit code, and the one line that says why; nothing is on standard output.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn a_file_goes_through_open_and_sealed() {
    let folder = Folder::new();
    let relay = Relay::start(&[]);
    let octets: Vec<u8> = (0..=255).cycle().take(60_000).collect();
    let file = folder.write("file", &octets);
    let open = put(&relay, &file, &[]);
    let object: Value = serde_json::from_str(&open).unwrap();
    assert!(object["url"].as_str().unwrap().starts_with(&format!("{}?chid=", relay.url)), "{open}");
    assert!(object.get("key").is_none() && object["seq"] == 0 && object["expires"].is_string(), "{open}");
    // It stays there: any number of times.
    assert_eq!(got(&open), octets);
    assert_eq!(got(&folder.write("open.json", &open)), octets);
    assert_eq!(got(object["url"].as_str().unwrap()), octets);

    let sealed = put(&relay, &file, &["--seal", "--json"]);
    let object: Value = serde_json::from_str(&sealed).unwrap();
    assert_eq!((object["alg"].as_str(), object["key"].as_str().unwrap().len()), (Some("A256GCM"), 43));
    assert_eq!(object["sha256"].as_str().unwrap().len(), 43);
    assert_eq!(got(&sealed), octets);
    let at_relay = got(object["url"].as_str().unwrap());
    assert_eq!(at_relay.len(), octets.len() + 28);
    assert!(!at_relay.windows(16).any(|window| window == &octets[..16]), "the relay cannot read it");
    let link = put(&relay, &file, &["--seal", "--link"]);
    assert!(link.contains("#seq=0") && link.contains("&key="), "{link}");
    assert_eq!(got(&link), octets);

    let json = run(&["lurk", "get", "--json", &sealed]);
    let line: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&line["octets"], &line["event"]), (&60_000.into(), &"got".into()));
    let piped = std::process::Command::new("sh")
        .args(["-c", r#"printf 'by a pipe' | "$0" lurk put --relay "$1" - | "$0" lurk get -"#])
        .args([watchfire_tests::program().to_str().unwrap(), &relay.url])
        .output();
    assert_eq!(piped.unwrap().stdout, b"by a pipe");
    drop(relay.service);
}

#[test]
fn the_figures_of_the_draft_are_answered_as_they_show() {
    let relay = Relay::start(&[]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/acme-lurk/stupid");
    let figure = |name: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{name}.http"))).unwrap().replace("\r\n", "\n");
        // The draft's script has a name of its own, and keeps connections.
        let text = text.replace("/stupid.php", "/").replace("Keep-Alive", "close");
        let (head, body) = text.split_once("\n\n").unwrap();
        format!("{}\r\n\r\n{}", head.replace('\n', "\r\n"), body.trim_end_matches('\n'))
    };
    let discovered = relay.raw(&figure("fig2-discover"));
    let body = discovered.split_once("\r\n\r\n").unwrap().1;
    assert!(body.parse::<std::net::SocketAddr>().unwrap().ip().is_loopback(), "{discovered}");
    let same = |answer: &str, name: &str| {
        let known = figure(name);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let (known_head, known_body) = known.split_once("\r\n\r\n").unwrap();
        assert_eq!((head.split(' ').nth(1), body), (known_head.split(' ').nth(1), known_body));
        for field in ["cache-control", "expires", "content-length", "content-type"] {
            let value = |head: &str| {
                head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case(field).then(|| value.to_owned())
                })
            };
            assert_eq!(value(head), value(known_head), "{field}: {head}");
        }
    };
    same(&relay.raw(&figure("fig3-store")), "fig3-store-response");
    same(&relay.raw(&figure("fig4-retrieve")), "fig4-retrieve-response");
    assert!(relay.raw(&figure("fig3-store")).contains(" 403 "), "never overwritten");
}

#[test]
fn what_is_not_what_was_put_there_is_not_written_anywhere() {
    let folder = Folder::new();
    let relay = Relay::start(&[]);
    let (one, two) = (folder.write("one", "the first secret"), folder.write("two", "another secret"));
    let (first, second) = (put(&relay, &one, &["--seal"]), put(&relay, &two, &["--seal"]));
    let object = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let mut wrong_key = object(&first);
    wrong_key["key"] = object(&second)["key"].clone();
    let (code, said) = refused(&["lurk", "get", &wrong_key.to_string()]);
    assert!(code == 4 && said.contains("does not open with the key"), "{said}");
    assert!(!said.contains(wrong_key["key"].as_str().unwrap()), "keys are not shown: {said}");
    // Another chunk in the place of this one.
    let mut other = object(&first);
    other["url"] = object(&second)["url"].clone();
    let (code, said) = refused(&["lurk", "get", &other.to_string()]);
    assert!(code == 4 && said.contains("its digest is another"), "{said}");
    // A relay that changes one octet, of what is sealed and of what is not.
    for sealed in [&["--seal"][..], &[]] {
        let told = object(&put(&relay, &one, sealed));
        let mut octets = got(told["url"].as_str().unwrap());
        *octets.last_mut().unwrap() ^= 1;
        let liar = answers(move || {
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", octets.len()).as_bytes(), &octets].concat()
        });
        let mut told = told;
        told["url"] = format!("{liar}?chid=a").into();
        let (code, said) = refused(&["lurk", "get", &told.to_string()]);
        assert!(code == 4 && said.contains("its digest is another"), "{said}");
    }
    for (bad, why) in [
        ("{}", "url: is missing"),
        ("{\"url\":\"http://r/?chid=a\",\"key\":\"x\"}", "alg: is missing"),
        ("http://r/", "?chid="),
        ("ftp://r/?chid=a", "cannot read"),
        (&folder.write("nonsense", "nonsense"), "http or https URL"),
    ] {
        let (code, said) = refused(&["lurk", "get", bad]);
        assert!(code == 2 && said.contains(why), "{bad}: {said}");
    }
}

/// What the protocol wants relays to take goes there sealed too, and files that are larger.
#[test]
fn a_relay_takes_a_mebibyte_unless_it_is_told_otherwise() {
    let folder = Folder::new();
    let relay = Relay::start(&[]);
    for (octets, seal) in [(65_536, true), (65_537, false), (1 << 20, false), ((1 << 20) - 28, true)] {
        let file = folder.write("large", vec![7; octets]);
        let told = put(&relay, &file, if seal { &["--seal"] } else { &[] });
        assert_eq!(got(&told).len(), octets);
    }
    let (code, said) = refused(&["lurk", "put", "--relay", &relay.url, &folder.write("more", vec![7; (1 << 20) + 1])]);
    assert!(code == 1 && said.contains("too large"), "{said}");
}

#[test]
fn chunks_that_are_gone_or_too_large_are_said() {
    let folder = Folder::new();
    let relay = Relay::start(&["--keep", "1s", "--max-chunk", "100", "--max-client", "1K"]);
    let small = folder.write("small", "x");
    let told = put(&relay, &small, &[]);
    let refusal = || Some(run(&["lurk", "get", &told])).filter(|output| !output.status.success());
    let output = wait_for(|| "it is still there".to_owned(), refusal);
    let (code, said) = (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(code == 1 && said.contains("not any more"), "{said}");
    let large = folder.write("large", [0; 101]);
    let (code, said) = refused(&["lurk", "put", "--relay", &relay.url, &large]);
    assert!(code == 1 && said.contains("too large"), "{said}");
    let exact = folder.write("exact", [0; 100]);
    put(&relay, &exact, &[]);
    assert_eq!(refused(&["lurk", "put", "--relay", &relay.url, "--seal", &exact]).0, 1, "28 octets more");
    for (flags, why) in [
        (&["--relay", "r"][..], "--relay: must be an http"),
        (&["--relay", "http://u:p@r/"], "user or a password"),
        (&["--relay", &relay.url, "--post-auth", "/nonexistent"], "cannot read"),
    ] {
        let (code, said) = refused(&[&["lurk", "put"], flags, &[&small]].concat());
        assert!(code == 2 && said.contains(why), "{said}");
    }
    let (code, said) = refused(&["lurk", "put", "--relay", &relay.url, &folder.write("empty", "")]);
    assert!(code == 2 && said.contains("is empty"), "{said}");
}

#[test]
fn who_has_no_password_cannot_put_anything_there() {
    let folder = Folder::new();
    let users = folder.write("users", "alice:s3cret\n");
    let relay = Relay::start(&["--post-auth", &users, "--metrics", "127.0.0.1:0"]);
    let metrics = relay.service.address();
    let file = folder.write("file", "x");
    let told = put(&relay, &file, &["--post-auth", &users]);
    assert_eq!(got(&told), b"x", "everybody may get it");
    for flags in [&[][..], &["--post-auth", &folder.write("wrong", "alice:s3cre\n")]] {
        let (code, said) = refused(&[&["lurk", "put", "--relay", &relay.url], flags, &[&file]].concat());
        assert!(code == 1 && said.contains("does not take chunks from us (status 401)"), "{said}");
    }
    let (code, said) =
        refused(&["lurk", "put", "--relay", "http://192.0.2.1/", "--post-auth", &users, "--timeout", "2", &file]);
    assert!(code == 2 && said.contains("in clear text"), "{said}");
    let bad = folder.write("bad", "no colon\n");
    let (code, said) = refused(&["lurk", "relay", "--listen", "127.0.0.1:0", "--post-auth", &bad]);
    assert!(code == 2 && said.contains("bad:1: not USER:PASSWORD"), "{said}");
    let text = get(&metrics, "/metrics").unwrap();
    for line in [
        "watchfire_lurk_relay_stored_total 1",
        "watchfire_lurk_relay_fetched_total 1",
        "watchfire_lurk_relay_unauthorized_total 2",
        "watchfire_lurk_relay_chunks 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
}

#[test]
fn relays_speak_https_and_end_politely() {
    let site = Site::new();
    let dir = site.file("");
    watchfire_tests::succeed(&[
        "pki",
        "issue",
        "--dir",
        &dir,
        "--profile",
        "tls-server",
        "--name",
        "relay.localhost",
        "--san",
        "IP:127.0.0.1",
    ]);
    let (cert, key, ca) = (site.file("relay.localhost.pem"), site.file("relay.localhost.key"), site.file("ca.pem"));
    let mut relay = Relay::start(&["--cert", &cert, "--key", &key]);
    let url = relay.url.replace("http://", "https://");
    let file = site.write("file", "over TLS");
    let output = run(&["lurk", "put", "--relay", &url, "--ca", &ca, "--seal", &file]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = site.write("told.json", &output.stdout);
    let got = run(&["lurk", "get", "--ca", &ca, &told]);
    assert_eq!(got.stdout, b"over TLS", "{}", String::from_utf8_lossy(&got.stderr));
    // Somebody else's authority does not vouch for it.
    let other = Site::new();
    let (code, said) = refused(&["lurk", "get", "--ca", &other.file("ca.pem"), &told]);
    assert!(code == 3 && said.contains("certificate"), "{said}");
    relay.service.signal("TERM");
    assert_eq!(relay.service.wait(), 0, "{}", relay.service.log());
    let config = site
        .write("c.toml", format!("[[lurk.relay]]\nlisten = [\"127.0.0.1:0\"]\ncert = \"{cert}\"\nkey = \"{key}\"\n"));
    watchfire_tests::succeed(&["config", "check", &config]);
    let mut service = Service::start(&["run", "--json", "--config", &config]);
    assert!(service.event()["service"] == "lurk-relay");
    service.signal("INT");
    assert_eq!(service.wait(), 0);
    let wrong = site.write("w.toml", "[[lurk.relay]]\nlisten = [\"127.0.0.1:0\"]\npost-auth = \"nobody\"\n");
    let output = run(&["config", "check", &wrong]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("nobody"), "{said}");
}

/// A server that answers everything in the same way.
fn answers(answer: impl Fn() -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer());
        }
    });
    url
}

#[test]
fn relays_that_are_dead_or_hostile_get_no_time_and_no_memory() {
    let folder = Folder::new();
    let file = folder.write("file", "x");
    let dead = format!("http://{}:9/", watchfire_testkit::own_loopback());
    for arguments in [&["lurk", "put", "--relay", &dead, &file][..], &["lurk", "get", &format!("{dead}?chid=a")]] {
        let (code, said) = refused(arguments);
        assert!(code == 3 && said.contains("there is no connection to it"), "{said}");
    }
    let huge = answers(|| b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nxxx".to_vec());
    let (code, said) = refused(&["lurk", "get", &format!("{huge}?chid=a")]);
    assert!(code == 4 && said.contains("too large") && said.contains("--max-octets"), "{said}");
    let endless = answers(|| [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; 3 << 20]].concat());
    let (code, said) = refused(&["lurk", "get", "--max-octets", "1M", &format!("{endless}?chid=a")]);
    assert!(code == 4 && said.contains("too large"), "{said}");
    let nonsense = answers(|| b"what?\r\n\r\n".to_vec());
    assert_eq!(refused(&["lurk", "get", &format!("{nonsense}?chid=a")]).0, 4);
    // Octet by octet, and for ever.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("http://{}/?chid=a", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    let (code, said) = refused(&["lurk", "get", "--timeout", "5s", &slow]);
    assert!(code == 3 && said.contains("not done within 5s"), "{said}");
    let elsewhere =
        answers(|| b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n".to_vec());
    let (code, said) = refused(&["lurk", "get", &format!("{elsewhere}?chid=a")]);
    assert!(code == 1 && said.contains("302"), "{said}");
}

#[test]
fn a_chunk_that_comes_slowly_is_not_waited_for() {
    let relay = Relay::start(&["--max-connections", "8"]);
    let put = |chid: &str, length: u32| {
        format!("POST /?chid={chid} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    assert!(relay.raw(&put("a", 1_048_577)).starts_with("HTTP/1.1 413 "), "an announced length is believed");
    // All connections but one wait for the rest of a chunk.
    let slow: Vec<TcpStream> = (0..7)
        .map(|number| {
            let mut stream = TcpStream::connect(&relay.address).unwrap();
            stream.write_all(format!("{}x", put(&format!("slow-{number}"), 100)).as_bytes()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    let other = run(&["lurk", "get", "--timeout", "120s", &format!("{}?chid=b", relay.url)]);
    assert_eq!(other.status.code(), Some(1), "others are answered: {}", String::from_utf8_lossy(&other.stderr));
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it is given up");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
}
