//! A rater: what it answers, and that it goes on while its entries change.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use watchfire_tests::{Site, run, succeed, until};

use crate::site::{entry, failure, get, query, rater};

fn rating(address: &str) -> Option<f64> {
    let (code, lines, _) = query(&["--service", address, "--subject", "example.org", "--assertion", "spam"]);
    (code == 0).then(|| lines[0]["rating"].as_f64().unwrap())
}

#[test]
fn both_dialects_are_served_and_asked() {
    let site = Site::new();
    let data = site.write("d.ndjson", entry("example.org", "0.012") + &entry("192.0.2.0/24", "0.9"));
    for served in ["auto", "rfc7072", "draft2012"] {
        let (_rater, address) = rater(&data, &["--dialect", served]);
        for asked in ["auto", "rfc7072", "draft2012"] {
            let words = ["--service", &address, "--application", "email-id", "--dialect", asked];
            let (code, lines, error) =
                query(&[&words[..], &["--subject", "Example.ORG", "--assertion", "spam"]].concat());
            // Who wants the letter of the RFC does not read the XML of the draft.
            if (served, asked) == ("draft2012", "rfc7072") && code != 0 {
                assert_eq!(code, 4, "{error}");
                continue;
            }
            assert_eq!((code, lines.len()), (0, 1), "{served} {asked}: {error}");
            let reputon = &lines[0];
            assert_eq!((reputon["rated"].as_str(), reputon["assertion"].as_str()), (Some("example.org"), Some("spam")));
            assert_eq!((reputon["rating"].as_f64(), reputon["sample-size"].as_u64()), (Some(0.012), Some(16_938_213)));
        }
        let words = ["--service", &address, "--subject", "192.0.2.77", "--assertion", "spam"];
        assert_eq!(query(&words).1[0]["rating"], 0.9, "its network has an entry");
        let (code, lines, error) =
            query(&["--service", &address, "--subject", "nobody.example", "--assertion", "spam"]);
        assert_eq!((code, lines.len()), (1, 0), "{error}");
    }
    let (_rater, address) = rater(&data, &["--rater", "rep.example.net", "--metrics", "127.0.0.1:0"]);
    let xml = get(&address, "/email-id/example.org/spam", "Accept: application/reputon\r\n");
    assert!(xml.contains("application/reputon; app=") && xml.contains("<rating>0.012</rating>"), "{xml}");
    // What OpenDKIM reads without looking whether it is there.
    let json = get(&address, "/email-id/example.org/spam", "Accept: */*\r\n");
    for member in ["\"identity\":\"dkim\"", "\"email-id-identity\":\"dkim\"", "\"rate\":", "\"generated\":1317795852"] {
        assert!(json.contains(member), "{member} in {json}");
    }
    let query_form =
        get(&address, "/repute.php?subject=example.org&application=email-id&assertion=spam&reporter=1", "");
    assert!(query_form.contains("\"rater\":\"rep.example.net\""), "{query_form}");
    let template = get(&address, "/.well-known/repute-template", "");
    assert!(template.trim_end().ends_with("\r\nhttp://{service}/{application}/{subject}/{assertion}"), "{template}");
    assert!(get(&address, "/baseball/example.org", "").starts_with("HTTP/1.1 404"));
    let metrics = _rater.address();
    assert!(get(&metrics, "/readyz", "").starts_with("HTTP/1.1 200"));
    let text = get(&metrics, "/metrics", "");
    assert!(text.contains("watchfire_repute_entries 2\n") && text.contains("watchfire_repute_lookups_total"), "{text}");
}

#[test]
fn entries_change_while_questions_are_asked() {
    let site = Site::new();
    let data = site.write("d.ndjson", entry("example.org", "0.1"));
    let (service, address) = rater(&data, &[]);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = std::thread::spawn({
        let (stop, asked, address) = (Arc::clone(&stop), Arc::clone(&asked), address.clone());
        move || {
            while !stop.load(Ordering::Relaxed) {
                let page = get(&address, "/email-id/example.org/spam", "");
                assert!(page.starts_with("HTTP/1.1 200") && page.contains("\"rating\":0."), "{page}");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // The name stays, what is behind it is another file.
    for (number, rating) in ["0.2", "0.3"].into_iter().enumerate() {
        let many: String = (0..20_000).map(|number| entry(&format!("n{number}.example"), "0.5")).collect();
        let next = site.write(&format!("next-{number}"), many + &entry("example.org", rating));
        std::fs::rename(next, &data).unwrap();
        service.signal("HUP");
        let wanted = format!("\"rating\":{rating}");
        until("the new entries are served", || get(&address, "/email-id/example.org/spam", "").contains(&wanted));
    }
    // Without a signal too; and what is wrong is not taken.
    std::fs::write(&data, entry("example.org", "0.4") + "nonsense\n").unwrap();
    service.wait_for_log("d.ndjson:2: column 1");
    service.wait_for_log("the old entries stay");
    assert_eq!(rating(&address), Some(0.3));
    std::fs::write(&data, entry("example.org", "0.5")).unwrap();
    until("the mended file is served", || rating(&address) == Some(0.5));
    until("they are asked", || asked.load(Ordering::Relaxed) > 10 || asking.is_finished());
    stop.store(true, Ordering::Relaxed);
    asking.join().unwrap();
}

#[test]
fn a_database_is_served_and_its_changes_are_seen() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("s.db"));
    let import = |rating: &str| {
        let file = site.write("e.ndjson", entry("example.org", rating));
        succeed(&["repute", "import", "--store", &store, "--ndjson", &file]);
    };
    import("0.25");
    let (mut service, address) = rater(&store, &[]);
    assert_eq!(rating(&address), Some(0.25));
    import("0.75");
    until("the change is seen", || rating(&address) == Some(0.75));
    service.signal("TERM");
    assert_eq!(service.wait(), 0);
}

#[test]
fn keys_and_tls_are_asked_for() {
    let site = Site::new();
    let dir = site.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", "localhost"]);
    let data = site.write("d.ndjson", entry("example.org", "0.5"));
    let keys = site.write("keys", "# those who pay\ngateway 0123456789abcdef\nalice:s3cret\n");
    let (cert, key, ca) = (site.file("localhost.pem"), site.file("localhost.key"), site.file("ca.pem"));
    let (_service, address) = rater(&data, &["--keys", &keys, "--cert", &cert, "--key", &key]);
    let at = format!("localhost:{}", address.rsplit(':').next().unwrap());
    let ask = |service: &str, more: &[&str]| {
        let words = ["--service", service, "--scheme", "https", "--ca", &ca, "--subject", "example.org"];
        query(&[&words[..], more].concat())
    };
    let (code, lines, error) = ask(&at, &[]);
    assert!(code == 1 && lines.is_empty() && error.contains("401"), "{code} {error}");
    let good = site.write("key", "0123456789abcdef\n");
    assert_eq!(ask(&at, &["--key-file", &good]).1[0]["rating"], 0.5);
    assert_eq!(ask(&format!("https://alice:s3cret@{at}"), &[]).1[0]["rating"], 0.5);
    let (code, _, error) = ask(&format!("https://alice:wr0ng@{at}"), &[]);
    assert!(code == 1 && !error.contains("wr0ng"), "{error}");
    // Somebody else's authority.
    let words = ["--service", &at, "--scheme", "https", "--subject", "example.org"];
    let other = Site::new();
    let (code, _, error) = query(&[&words[..], &["--ca", &other.file("ca.pem")]].concat());
    assert_eq!(code, 3, "{error}");
}

#[test]
fn mistakes_at_the_start_are_named() {
    let site = Site::new();
    let good = site.write("d.ndjson", entry("example.org", "0.5"));
    let bad = site.write("bad.ndjson", entry("example.org", "0.5") + &entry("a b", "0.5"));
    let missing = site.file("none.ndjson");
    let serve = |words: &[&str]| failure(&[&["repute", "serve", "--listen", "127.0.0.1:0"], words].concat());
    for (words, why) in [
        (&["--data", &bad][..], "bad.ndjson:2: rated: "),
        (&["--data", &missing], "none.ndjson: cannot read the entries"),
        (&["--data", &format!("sqlite:{missing}")], "cannot read the entries"),
        (&["--data", &good, "--template", "http://{"], "--template"),
        (&["--data", &good, "--keys", &missing], "cannot read the keys"),
        (&["--data", &good, "--cert", &missing, "--key", &missing], "none.ndjson"),
        (&["--data", "ftp://x"], "sqlite:PATH"),
        (&["--data", &good, "--dialect", "klingon"], "not a dialect"),
    ] {
        let (code, error) = serve(words);
        assert!(code == 2 && error.contains(why), "{code} {error}");
    }
    let config = |text: &str| {
        let file = site.write("c.toml", text);
        let output = run(&["config", "check", &file]);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = config(
        "[repute.serve]\nlisten = [\"127.0.0.1:0\"]\ndata = \"d.ndjson\"\n[repute.dnsbl]\n\
        listen = [\"127.0.0.1:0\"]\nstore = \"d.ndjson\"\nzone = [\"bl.example\"]\n",
    );
    assert_eq!(code, 0, "{error}");
    let (code, error) = config("[repute.serve]\nlisten = [\"127.0.0.1:0\"]\ndata = \"none.ndjson\"\n");
    assert!(code == 2 && error.contains("none.ndjson"), "{error}");
    assert!(Path::new(&good).exists());
}
