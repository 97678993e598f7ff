//! Brokers that share accounts, PINs, keys and ended bindings in PostgreSQL.

use std::path::Path;
use std::process::Output;

use watchfire_testkit::servers::Postgres;
use watchfire_tests::{Service, Site, run, skip, succeed, wait_for};

use crate::authority::Authority;

/// Brokers of one service, with the authority that they ask.
pub(crate) struct Brokers {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    pub(crate) accounts: String,
}

impl Brokers {
    /// None, loudly, where NSD is not installed.
    pub(crate) fn new(test: &str, postgres: &Postgres) -> Option<Self> {
        let site = Site::new();
        let Some(authority) = Authority::start(Path::new(&site.file(""))) else {
            skip(test, "the packages nsd and ldnsutils are not installed");
            return None;
        };
        let dir = site.file("");
        let words = ["pki", "issue", "--profile", "tls-server", "--name", "broker.test", "--san", "DNS:localhost"];
        succeed(&[&words[..], &["--dir", &dir]].concat());
        Some(Self { site, authority, accounts: postgres.url() })
    }

    /// One more broker, and where it listens.
    pub(crate) fn start(&self, flags: &[&str]) -> (Service, String) {
        self.start_at("127.0.0.1:0", flags)
    }

    pub(crate) fn start_at(&self, listen: &str, flags: &[&str]) -> (Service, String) {
        let (cert, key) = (self.site.file("broker.test.pem"), self.site.file("broker.test.key"));
        let words = ["obp", "broker", "--json", "--listen", listen, "--cert", &cert, "--key", &key];
        let more = ["--accounts", &self.accounts, "--resolver", self.authority.address()];
        let broker = Service::start(&[&words[..], &more, flags].concat());
        let address = broker.address();
        (broker, address)
    }

    /// A new PIN, in a file.
    pub(crate) fn pin(&self, account: &str) -> String {
        let pin = succeed(&["obp", "account", "add", "--accounts", &self.accounts, account, "--pin"]);
        self.site.write(&format!("pin-{}", pin.trim()), pin)
    }

    pub(crate) fn bind(&self, port: &str, account: &str, pin: &str, out: &str) -> Output {
        let url = format!("https://localhost:{port}");
        let (ca, out) = (self.site.file("ca.pem"), self.site.file(out));
        let words = [
            "obp",
            "bind",
            "--broker",
            &url,
            "--account",
            account,
            "--pin-file",
            pin,
            "--out",
            &out,
            "--timeout",
            "60s",
        ];
        run(&[&words[..], &["--ca", &ca]].concat())
    }

    /// Asks by a binding.
    pub(crate) fn ask(&self, binding: &str) -> Output {
        let words = ["obp", "connect", "--json", "--binding", &self.site.file(binding), "--timeout", "60s"];
        run(&[&words[..], &["www.plain.test", "ssh"]].concat())
    }

    /// The same binding, for another broker.
    pub(crate) fn moved(&self, binding: &str, from: &str, to: &str, out: &str) {
        let text = std::fs::read_to_string(self.site.file(binding)).unwrap();
        let moved = text.replace(&format!("\"Port\":{from}"), &format!("\"Port\":{to}"));
        let moved = moved.replace(&format!("\"Port\": {from}"), &format!("\"Port\": {to}"));
        let moved = moved.replace(&format!("localhost:{from}"), &format!("localhost:{to}"));
        assert_ne!(text, moved);
        self.site.write(out, moved);
    }
}

pub(crate) fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

pub(crate) fn good(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Asks until that is refused. Who gets no answer in time was not refused.
fn until_refused(brokers: &Brokers, binding: &str) {
    let look = || match brokers.ask(binding) {
        output if matches!(output.status.code(), Some(0 | 3)) => None,
        output => Some(output),
    };
    let refused = wait_for(|| format!("{binding} is refused"), look);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn what_one_broker_gives_is_good_at_the_other_and_what_one_ends_is_over_at_both() {
    const TEST: &str = "what_one_broker_gives_is_good_at_the_other_and_what_one_ends_is_over_at_both";
    let Some(postgres) = Postgres::start() else { return };
    let Some(at) = Brokers::new(TEST, &postgres) else { return };
    let ((_one, first), (_two, second)) = (at.start(&[]), at.start(&[]));
    let (first, second) = (port(&first), port(&second));
    // Twenty devices with one PIN, at both brokers at once: one of them is bound.
    let pin = at.pin("alice@localhost");
    let bound: Vec<Output> = std::thread::scope(|scope| {
        let device = |n: usize| {
            let (at, pin) = (&at, pin.as_str());
            let port = if n.is_multiple_of(2) { first } else { second };
            scope.spawn(move || at.bind(port, "alice@localhost", pin, &format!("binding-{n}.json")))
        };
        let devices: Vec<_> = (0..20).map(device).collect();
        devices.into_iter().map(|device| device.join().unwrap()).collect()
    });
    let winners: Vec<usize> = (0..20).filter(|n| bound[*n].status.success()).collect();
    assert_eq!(winners.len(), 1, "{bound:?}");
    let (own, other) = if winners[0].is_multiple_of(2) { (first, second) } else { (second, first) };
    let binding = format!("binding-{}.json", winners[0]);
    good(&at.ask(&binding));
    at.moved(&binding, own, other, "moved.json");
    good(&at.ask("moved.json"));

    // Ended at one of them.
    let words = ["obp", "unbind", "--timeout", "60s", "--binding", &at.site.file(&binding)];
    good(&run(&words));
    until_refused(&at, "moved.json");

    // An account that is removed is no account anywhere.
    good(&at.bind(first, "bob@localhost", &at.pin("bob@localhost"), "bob.json"));
    at.moved("bob.json", first, second, "bob-moved.json");
    good(&at.ask("bob-moved.json"));
    succeed(&["obp", "account", "remove", "--accounts", &at.accounts, "bob@localhost"]);
    let listed = succeed(&["obp", "account", "list", "--json", "--accounts", &at.accounts]);
    assert_eq!(listed.trim(), "{\"account\":\"alice@localhost\",\"pins\":0}");
    for binding in ["bob.json", "bob-moved.json"] {
        until_refused(&at, binding);
    }
}

#[test]
fn questions_are_answered_while_the_database_is_away() {
    const TEST: &str = "questions_are_answered_while_the_database_is_away";
    let Some(mut postgres) = Postgres::start() else { return };
    let Some(at) = Brokers::new(TEST, &postgres) else { return };
    let (broker, address) = at.start(&[]);
    let pin = at.pin("alice@localhost");
    good(&at.bind(port(&address), "alice@localhost", &pin, "binding.json"));
    let pin = at.pin("alice@localhost");
    postgres.stop();
    broker.wait_for_log("what other brokers do is not seen");
    good(&at.ask("binding.json"));
    let refused = at.bind(port(&address), "alice@localhost", &pin, "again.json");
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    let unbind = || run(&["obp", "unbind", "--timeout", "60s", "--binding", &at.site.file("binding.json")]);
    let refused = unbind();
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    good(&at.ask("binding.json"));
    let down = run(&["obp", "account", "list", "--accounts", &at.accounts]);
    assert_eq!(down.status.code(), Some(3), "{}", String::from_utf8_lossy(&down.stderr));
    postgres.restart();
    broker.wait_for_log("answers again");
    // The PIN was not used up.
    good(&at.bind(port(&address), "alice@localhost", &pin, "again.json"));
    good(&at.ask("again.json"));
    // Now it can be written that a binding has ended, and another broker knows it at once.
    let (_other, other) = at.start(&[]);
    at.moved("binding.json", port(&address), port(&other), "moved.json");
    good(&at.ask("moved.json"));
    good(&unbind());
    until_refused(&at, "moved.json");

    let keys = at.site.file("keys");
    let words = ["obp", "broker", "--listen", "127.0.0.1:0", "--accounts", &at.accounts, "--ticket-keys", &keys];
    let output = run(&[&words[..], &["--resolver", at.authority.address()]].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("--ticket-keys"), "{error}");
}
