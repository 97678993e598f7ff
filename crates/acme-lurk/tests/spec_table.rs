//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "as above")]

use std::collections::BTreeMap;
use std::path::Path;

/// Whether rows may still wait: for parts of this crate that are not there yet, and for tests of other packages.
const PENDING_ALLOWED: bool = true;

const REQUIREMENTS: u32 = 177;
const AMBIGUITIES: u32 = 41;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The cells of each row whose first cell begins so.
fn rows(prefix: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(root().join("crates/acme-lurk/SPEC.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with(&format!("| {prefix}")));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// The tests that a cell names: `path::name`, separated by commas, each in backticks.
fn tests(cell: &str) -> Vec<(String, String)> {
    if cell == "—" {
        return Vec::new();
    }
    let test = |test: &str| {
        let named = test.trim().strip_prefix('`').and_then(|test| test.strip_suffix('`')?.split_once("::"));
        let (path, name) = named.unwrap_or_else(|| panic!("{test:?} is no `path::name`"));
        (path.to_owned(), name.to_owned())
    };
    cell.split(',').map(test).collect()
}

fn exists(path: &str, name: &str) -> bool {
    let Ok(source) = std::fs::read_to_string(root().join(path)) else { return false };
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let found = lines.iter().position(|line| {
        line.strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")
            .is_some_and(|rest| rest.starts_with(&format!("{name}(")))
    });
    // And it is a test: an attribute that says so stands above it.
    found.is_some_and(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let mut states = BTreeMap::new();
    for row in rows("LURK-") {
        let [id, _level, requirement, state, test, reason] = &row[..] else { panic!("{row:?}") };
        assert!(!requirement.is_empty(), "{id}");
        assert_eq!(states.insert(id.clone(), state.clone()), None, "{id} twice");
        match state.as_str() {
            "done" => {}
            "pending" if PENDING_ALLOWED => assert!(!reason.is_empty(), "{id}: what for?"),
            "deviation" | "not applicable" => assert!(!reason.is_empty(), "{id}: why?"),
            other => panic!("{id}: {other:?} is no state"),
        }
        let named = tests(test);
        assert!(!named.is_empty() || matches!(state.as_str(), "not applicable" | "pending"), "{id} names no test");
        for (path, name) in named {
            assert!(exists(&path, &name), "{id}: there is no test {name} in {path}");
        }
    }
    let listed: Vec<String> = (1..=REQUIREMENTS).map(|number| format!("LURK-{number:03}")).collect();
    assert_eq!(states.into_keys().collect::<Vec<_>>(), listed);
}

#[test]
fn every_ambiguity_has_one_row_and_tests_that_exist() {
    let mut numbers = Vec::new();
    for row in rows("A") {
        let [number, _what, _resolution, test] = &row[..] else { panic!("{row:?}") };
        numbers.push(number.clone());
        for (path, name) in tests(test) {
            assert!(exists(&path, &name), "{number}: there is no test {name} in {path}");
        }
    }
    assert_eq!(numbers, (1..=AMBIGUITIES).map(|number| format!("A{number}")).collect::<Vec<_>>());
}
