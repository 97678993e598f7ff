//! SPEC.md has a row for every requirement that is this crate's, and each names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

/// The requirements there are: those of the text that this crate shows, and those of the codec.
const TEXT: [u32; 12] = [5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18];
const CODEC: core::ops::RangeInclusive<u32> = 70..=96;
const OPEN: [&str; 5] = ["A-03", "A-04", "A-17", "A-29", "A-30"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The cells of each row whose first cell begins so.
fn rows(prefix: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(root().join("crates/jsonbcd/SPEC.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with(&format!("| {prefix}")));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// The tests that a cell names: `path::name`, separated by commas, each in backticks.
fn tests(cell: &str) -> Vec<(String, String)> {
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
    let found = lines
        .iter()
        .position(|line| line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}("))));
    // And it is a test: an attribute that says so stands above it.
    found.is_some_and(|at| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.into_iter().any(|line| line.starts_with("#[test]"))
    })
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let mut states = BTreeMap::new();
    for row in rows("OBP-") {
        let [id, _level, requirement, state, test, reason] = &row[..] else { panic!("{row:?}") };
        assert!(!requirement.is_empty(), "{id}");
        assert_eq!(states.insert(id.clone(), state.clone()), None, "{id} twice");
        match state.as_str() {
            "done" => {}
            "deviation" => assert!(!reason.is_empty(), "{id}: why?"),
            other => panic!("{id}: {other:?} is no state"),
        }
        for (path, name) in tests(test) {
            assert!(exists(&path, &name), "{id}: there is no test {name} in {path}");
        }
    }
    let listed: Vec<String> = TEXT.into_iter().chain(CODEC).map(|number| format!("OBP-{number:03}")).collect();
    assert_eq!(states.into_keys().collect::<Vec<_>>(), listed);
}

#[test]
fn everything_that_the_drafts_leave_open_has_a_row_and_tests_that_exist() {
    let mut numbers = Vec::new();
    for row in rows("A-") {
        let [number, _what, _resolution, test] = &row[..] else { panic!("{row:?}") };
        numbers.push(number.clone());
        for (path, name) in tests(test) {
            assert!(exists(&path, &name), "{number}: there is no test {name} in {path}");
        }
    }
    assert_eq!(numbers, OPEN);
}
