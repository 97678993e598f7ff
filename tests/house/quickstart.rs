//! Quickstart that does not come to its end, or is ended after it: what it says, and what it leaves behind.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use watchfire_tests::{Site, wait_for, watchfire};

/// A quickstart whose temporary folder is the test's.
struct Quickstart {
    child: Child,
    out: BufReader<ChildStdout>,
    temporary: PathBuf,
}

impl Quickstart {
    fn start(site: &Site, flags: &[&str]) -> Self {
        let temporary = PathBuf::from(site.file("temporary"));
        std::fs::create_dir(&temporary).unwrap();
        let mut command = watchfire(&["quickstart", "--json"]);
        command.args(flags).env("TMPDIR", &temporary).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out, temporary }
    }

    fn event(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// The exit code, and what is left in the temporary folder.
    fn end(mut self) -> (Option<i32>, usize) {
        drop(self.out);
        let ended = wait_for(|| "it goes on".to_owned(), || self.child.try_wait().unwrap());
        (ended.code(), std::fs::read_dir(&self.temporary).unwrap().count())
    }
}

#[test]
fn a_reader_that_goes_away_is_not_told_that_every_step_succeeded() {
    let site = Site::new();
    let mut quickstart = Quickstart::start(&site, &["--exit"]);
    assert_eq!(quickstart.event()["name"], "pki");
    assert_eq!(quickstart.end(), (Some(2), 0));
}

#[test]
fn a_signal_before_the_last_step_is_no_success_and_nothing_is_left() {
    let site = Site::new();
    let mut quickstart = Quickstart::start(&site, &[]);
    assert_eq!(quickstart.event()["name"], "pki");
    quickstart.terminate();
    let summary = std::iter::repeat_with(|| quickstart.event()).find(|event| event["event"] == "summary").unwrap();
    assert_eq!(summary["ok"], false);
    assert_eq!(quickstart.end(), (Some(2), 0));
}

#[test]
fn a_signal_after_the_last_step_ends_all_and_nothing_is_left() {
    let site = Site::new();
    let mut quickstart = Quickstart::start(&site, &[]);
    while quickstart.event()["name"] != "console" {}
    quickstart.terminate();
    let summary = quickstart.event();
    assert_eq!((summary["event"].as_str(), summary["ok"].as_bool()), (Some("summary"), Some(true)));
    assert_eq!(quickstart.end(), (Some(0), 0));
}
