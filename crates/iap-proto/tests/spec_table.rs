//! SPEC.md has a row for every requirement and every contradiction, and each names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

/// Whether rows may still wait for tests of other packages. Their tests need not exist yet.
const PENDING_ALLOWED: bool = false;

/// The requirements there are: first and last number of each block.
const BLOCKS: [(u32, u32); 9] =
    [(1, 10), (20, 29), (40, 45), (50, 61), (70, 81), (82, 87), (90, 100), (110, 116), (120, 124)];

const CONTRADICTIONS: u32 = 37;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The cells of each row whose first cell begins so.
fn rows(prefix: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(root().join("crates/iap-proto/SPEC.md")).unwrap();
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
    for row in rows("IAP-") {
        let [id, _level, requirement, state, test, reason] = &row[..] else { panic!("{row:?}") };
        assert!(!requirement.is_empty(), "{id}");
        assert_eq!(states.insert(id.clone(), state.clone()), None, "{id} twice");
        match state.as_str() {
            "done" => {}
            "pending" if PENDING_ALLOWED => {}
            "deviation" | "not applicable" => assert!(!reason.is_empty(), "{id}: why?"),
            other => panic!("{id}: {other:?} is no state"),
        }
        let named = tests(test);
        assert!(!named.is_empty() || state == "not applicable", "{id} names no test");
        for (path, name) in named {
            assert!(exists(&path, &name) || state == "pending", "{id}: there is no test {name} in {path}");
        }
    }
    let listed: Vec<String> =
        BLOCKS.into_iter().flat_map(|(first, last)| first..=last).map(|number| format!("IAP-{number:03}")).collect();
    assert_eq!(states.into_keys().collect::<Vec<_>>(), listed);
}

#[test]
fn every_contradiction_has_one_row_and_tests_that_exist() {
    let mut numbers = Vec::new();
    for row in rows("5.") {
        let [number, _what, _resolution, switch, accepts, rejects] = &row[..] else { panic!("{row:?}") };
        numbers.push(number.clone());
        for (path, name) in [tests(accepts), tests(rejects)].concat() {
            assert!(exists(&path, &name), "{number}: there is no test {name} in {path}");
        }
        // Whatever can be switched is shown both ways.
        if switch.contains('`') {
            assert!(!tests(accepts).is_empty() && !tests(rejects).is_empty(), "{number}: {switch}");
        }
    }
    assert_eq!(numbers, (1..=CONTRADICTIONS).map(|number| format!("5.{number}")).collect::<Vec<_>>());
}

#[test]
fn every_switch_of_compat_is_shown_both_ways() {
    let switches = std::fs::read_to_string(root().join("crates/iap-proto/src/compat.rs")).unwrap();
    let tests = "crates/iap-proto/tests/behaviour/compat.rs";
    let mut count = 0;
    for line in switches.lines() {
        let Some(name) = line.trim().strip_prefix("pub ").and_then(|line| line.strip_suffix(": bool,")) else {
            continue;
        };
        count += 1;
        assert!(exists(tests, &format!("{name}_accepts")), "{name}");
        assert!(exists(tests, &format!("{name}_rejects")), "{name}");
    }
    assert_eq!(count, 12);
}
