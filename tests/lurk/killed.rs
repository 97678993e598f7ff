//! kill -9 of the owner, wherever an order stands: each order goes on or ends, none is made twice, nothing stays behind.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use watchfire_tests::{Service, succeed as watchfire, until};

use crate::delegation::until_canceled;
use crate::lab::{Ca, Folder, NAME, Owner, Zone, next, succeed, thumbprint};

/// Where an order stands when the owner is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// A line of the audit log has just been written.
    Said(&'static str),
    /// The hook is at work, and the CA has not been told to look.
    Presenting,
    /// The CA looks, and gets no answer.
    Looking,
    /// The hook takes the record away.
    CleaningUp,
}

const MOMENTS: [Moment; 8] = [
    // ready
    Moment::Said("ordered"),
    // processing, nothing at the CA
    Moment::Said("requested"),
    // processing, the order of the CA is pending
    Moment::Said("placed"),
    Moment::Presenting,
    Moment::Looking,
    Moment::CleaningUp,
    // valid, with a certificate that was fetched here
    Moment::Said("issued"),
    Moment::Said("valid"),
];

/// An owner whose hook and whose zone wait while a file is there.
struct Stage {
    folder: Folder,
    ca: Ca,
    owner: Owner,
    flags: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let folder = Folder::new();
        let zone = Zone::start(&folder);
        let flags = ["--resolver", &zone.address, "--min-lifetime", "8", "--metrics", "127.0.0.1:0"];
        let ca = Ca::start(&folder, &flags);
        let hook = zone.slow_hook(&folder, &folder.file("slow"));
        let flags: Vec<String> = ["--dns-hook", &hook, "--serve-certificates"].map(str::to_owned).to_vec();
        let words: Vec<&str> = flags.iter().map(String::as_str).collect();
        let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &words);
        Self { folder, ca, owner, flags }
    }

    fn kill(&mut self) {
        self.owner.service.kill();
    }

    fn start_again(&mut self) {
        let words: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let address = self.owner.address.clone();
        self.owner = Owner::again(&self.folder, &address, &self.ca, &words);
    }

    fn delegate(&self, number: usize, flags: &[&str]) -> Service {
        let (key, out) = (self.folder.file("account.key"), self.folder.file(&format!("ndc-{number}")));
        let (directory, anchor) = (&self.owner.directory, &self.owner.anchor);
        let words = ["lurk", "ndc", "--json", "--ido", directory, "--ca", anchor, "--account-key", &key];
        let more = ["--name", NAME, "--out", &out, "--subject", "organization=Example"];
        Service::start(&[&words[..], &more, flags].concat())
    }

    fn calls(&self, verb: &str) -> usize {
        let calls = std::fs::read_to_string(self.folder.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.starts_with(verb)).count()
    }

    fn is_empty(&self, folder: &str) -> bool {
        std::fs::read_dir(self.folder.path(folder)).unwrap().next().is_none()
    }

    /// Lets an order go to this moment, kills the owner there, starts it again.
    fn kill_at(&mut self, moment: Moment, number: usize) {
        let (slow, silent) = (self.folder.path("slow"), self.folder.path("silent"));
        let (presents, cleanups) = (self.calls("present"), self.calls("cleanup"));
        // Of how many orders it is said: certificates of earlier ones are issued again and again.
        let of = |owner: &Owner, event| by_order(owner.audit(event), "").len();
        let said = if let Moment::Said(event) = moment { of(&self.owner, event) } else { 0 };
        match moment {
            Moment::Presenting => std::fs::write(&slow, "").unwrap(),
            Moment::Looking => std::fs::write(&silent, "").unwrap(),
            _ => {}
        }
        let mut ndc = self.delegate(number, &["--once"]);
        match moment {
            Moment::Said(event) => until(event, || of(&self.owner, event) > said),
            Moment::Presenting => until("the hook is called", || self.calls("present") > presents),
            Moment::Looking => until("the CA looks", || self.folder.path("asked").exists()),
            Moment::CleaningUp => until("the hook is called again", || self.calls("cleanup") > cleanups),
        }
        self.kill();
        if moment == Moment::Presenting {
            // The hook has nobody any more, and ends before its successor begins.
            std::fs::remove_file(&slow).unwrap();
            until("the hook has ended", || !self.is_empty("dns"));
        }
        self.start_again();
        if moment == Moment::Looking {
            std::fs::remove_file(&silent).unwrap();
        }
        next(&ndc, "ordered");
        next(&ndc, "installed");
        assert_eq!(ndc.wait(), 0, "{moment:?}: {}", ndc.log());
    }
}

/// The orders of these lines, with something that is said of each.
fn by_order(lines: Vec<Value>, what: &str) -> BTreeSet<(String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| (text(line, "order"), text(line, what))).collect()
}

#[test]
fn an_owner_that_is_killed_at_any_moment_goes_on_with_every_order() {
    let mut stage = Stage::new();
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        stage.kill_at(moment, number);
    }
    // None was placed twice, and of each it is said, also of those whose owner was killed before it could be written.
    for event in ["ordered", "requested", "placed", "valid"] {
        until(event, || stage.owner.audit(event).len() >= MOMENTS.len());
        let lines = stage.owner.audit(event);
        assert_eq!((lines.len(), by_order(lines.clone(), "").len()), (MOMENTS.len(), MOMENTS.len()), "{lines:?}");
    }
    let upstream: BTreeSet<_> =
        by_order(stage.owner.audit("placed"), "upstream").into_iter().map(|(_, url)| url).collect();
    assert_eq!(upstream.len(), MOMENTS.len(), "{upstream:?}");
    until("all have certificates", || by_order(stage.owner.audit("issued"), "").len() == MOMENTS.len());
    assert!(stage.owner.audit("invalid").is_empty(), "{:?}", stage.owner.audit("invalid"));
    until("no record of a challenge is left", || stage.is_empty("dns"));
    // Whoever is killed while the CA takes an order does not know of it, and makes another; the first one never gets a
    // request, and lapses. There is one at most for each kill before that.
    stage.ca.service.signal("TERM");
    assert_eq!(stage.ca.service.wait(), 0);
    let script = "import json, sqlite3, sys\n\
        rows = sqlite3.connect(sys.argv[1]).execute(\"SELECT value FROM record WHERE name LIKE 'order/%'\")\n\
        print(*sorted(json.loads(row[0])['status'] for row in rows))";
    let states = succeed(Command::new("python3").args(["-c", script, &stage.folder.file("ca/state.db")]));
    let (valid, others): (Vec<&str>, Vec<&str>) = states.split_whitespace().partition(|state| *state == "valid");
    assert_eq!(valid.len(), MOMENTS.len(), "{states}");
    assert!(others.len() <= 2 && others.iter().all(|state| *state == "pending"), "{states}");
}

#[test]
fn an_owner_that_is_killed_when_its_order_is_stopped_says_so() {
    let mut stage = Stage::new();
    let mut ndc = stage.delegate(0, &[]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    let upstream = stage.owner.audit("placed")[0]["upstream"].as_str().unwrap().to_owned();
    let (key, anchor) = (stage.folder.file("ido/account.key"), stage.ca.anchor.clone());
    let directory = stage.ca.directory.clone();
    let cancel = ["lurk", "cancel", "--order", &upstream, "--directory", &directory, "--account-key", &key];
    watchfire(&[&cancel[..], &["--ca", &anchor]].concat());
    // The owner finds that out when it fetches the next certificate.
    until("it is known", || !stage.owner.audit("canceled").is_empty());
    stage.kill();
    stage.start_again();
    until_canceled(&ndc);
    assert_eq!(ndc.wait(), 1, "{}", ndc.log());
    assert_eq!(stage.owner.audit("placed").len(), 1);
}
