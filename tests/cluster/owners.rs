//! Two servers of a name owner with one database: one serves, the other stands by and goes on when the first is killed.

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::Value;
use watchfire_testkit::servers::Postgres;
use watchfire_tests::{Service, run, succeed};

use crate::balancer::Balancer;
use crate::lab::{Ca, Folder, NAME, TEMPLATE, next, thumbprint, verify_short};

struct Owners {
    folder: Folder,
    ca: Ca,
    store: String,
    url: String,
}

impl Owners {
    /// One more, with a folder of its own. It says where it listens when it leads.
    fn start(&self, dir: &str, flags: &[&str]) -> Service {
        let file = |name: &str| self.folder.file(name);
        let (rules, dir, cert, key) =
            (file("delegations.toml"), file(dir), file("pki/owner.pem"), file("pki/owner.key"));
        let own = format!("{}:0", watchfire_testkit::own_loopback());
        let words = ["lurk", "ido", "--json", "--listen", &own, "--url", &self.url, "--delegations", &rules];
        let more = ["--dir", &dir, "--cert", &cert, "--key", &key, "--store", &self.store, "--serve-certificates"];
        let ca = ["--upstream", &self.ca.directory, "--upstream-ca", &self.ca.anchor];
        Service::start(&[&words[..], &more, &ca, flags].concat())
    }

    /// Where orders are at the CA, as the audit logs of these say: a line may be in both.
    fn placed(&self, dirs: &[&str]) -> BTreeSet<String> {
        let lines = |dir: &&str| {
            let text = std::fs::read_to_string(self.folder.path(&format!("{dir}/audit.ndjson"))).unwrap_or_default();
            let lines = text.lines().filter(|line| line.contains("\"placed\""));
            lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["upstream"].to_string()).collect::<Vec<_>>()
        };
        dirs.iter().flat_map(lines).collect()
    }
}

#[test]
fn who_stands_by_goes_on_with_every_order() {
    let Some(postgres) = Postgres::start() else { return };
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--min-lifetime", "6", "--trust-identifiers"]);
    let pki = folder.file("pki");
    succeed(&["pki", "init", "--dir", &pki]);
    let issue = ["pki", "issue", "--profile", "tls-server", "--name", "owner", "--san", "DNS:localhost"];
    succeed(&[&issue[..], &["--dir", &pki]].concat());
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    let anchor = folder.write("anchors.pem", read(&folder.file("pki/ca.pem")) + &read(&ca.anchor));
    folder.write("template.json", TEMPLATE);
    let rule = "[[delegation]]\nname = \"cdn\"\ntemplate = \"template.json\"\naccounts = ";
    folder.write("delegations.toml", format!("{rule}[\"{}\"]\n", thumbprint(&folder)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let owners = Owners { folder, ca, store: postgres.url(), url };

    let mut one = owners.start("one", &[]);
    let first = one.address();
    let balancer = Balancer::serve(listener, &[&first]);
    // Another key is another account at the CA: its orders are not these.
    let mut stranger = owners.start("stranger", &[]);
    stranger.wait_for_log("stands by");
    stranger.signal("TERM");
    assert_eq!(stranger.wait(), 0, "{}", stranger.log());
    std::fs::create_dir(owners.folder.path("two")).unwrap();
    std::fs::copy(owners.folder.path("one/account.key"), owners.folder.path("two/account.key")).unwrap();
    let two = owners.start("two", &[]);
    two.wait_for_log("stands by");

    let file = |name: &str| owners.folder.file(name);
    let (directory, key, out) = (format!("{}/directory", owners.url), file("account.key"), file("ndc"));
    let words = ["lurk", "ndc", "--json", "--ido", &directory, "--ca", &anchor, "--account-key", &key];
    let more = ["--name", NAME, "--out", &out, "--subject", "organization=Example"];
    let ndc = Service::start(&[&words[..], &more].concat());
    next(&ndc, "ordered");
    let before = next(&ndc, "installed")["not_after"].as_str().unwrap().to_owned();
    one.kill();
    balancer.add(&two.address());
    let mut ends = vec![before];
    for _ in 0..2 {
        ends.push(next(&ndc, "installed")["not_after"].as_str().unwrap().to_owned());
    }
    assert!(ends.is_sorted() && ends[0] < ends[2], "{ends:?}");
    verify_short(&owners.ca.anchor, &file("ndc/chain.pem"), NAME);
    assert_eq!(owners.placed(&["one", "two"]).len(), 1, "ordered at the CA once");

    // One without the account's key says so when its turn has come.
    drop(two);
    let mut stranger = owners.start("stranger", &[]);
    assert_eq!(stranger.wait(), 2, "{}", stranger.log());
    stranger.wait_for_log("account.key");
    let store = format!("sqlite:{}", file("x.db"));
    let output = run(&["lurk", "ido", "--listen", "127.0.0.1:0", "--upstream", &directory, "--store", &store]);
    assert_eq!(output.status.code(), Some(2));
}
