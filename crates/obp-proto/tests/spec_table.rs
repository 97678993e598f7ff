//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

/// Whether rows may still wait for tests of other packages.
const PENDING_ALLOWED: bool = false;

/// The requirements there are: first and last number of each block.
const BLOCKS: [(u32, u32); 6] = [(1, 18), (20, 39), (50, 58), (110, 128), (140, 157), (170, 186)];

/// One row stands for these: they are jsonbcd's.
const ELSEWHERE: &str = "OBP-070 to OBP-096";

const AMBIGUITIES: u32 = 34;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The cells of each row whose first cell begins so.
fn rows(prefix: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(root().join("crates/obp-proto/SPEC.md")).unwrap();
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
    for row in rows("OBP-") {
        let [id, _level, requirement, state, test, reason] = &row[..] else { panic!("{row:?}") };
        assert!(!requirement.is_empty(), "{id}");
        assert_eq!(states.insert(id.clone(), state.clone()), None, "{id} twice");
        match state.as_str() {
            "done" => {}
            "pending" if PENDING_ALLOWED => assert!(!reason.is_empty(), "{id}: what for?"),
            "elsewhere" => assert!(id == ELSEWHERE && !reason.is_empty(), "{id}: where?"),
            "deviation" | "not applicable" => assert!(!reason.is_empty(), "{id}: why?"),
            other => panic!("{id}: {other:?} is no state"),
        }
        let named = tests(test);
        assert!(
            !named.is_empty() || matches!(state.as_str(), "pending" | "elsewhere" | "not applicable"),
            "{id}: no test"
        );
        for (path, name) in named {
            assert!(exists(&path, &name), "{id}: there is no test {name} in {path}");
        }
    }
    assert!(states.remove(ELSEWHERE).is_some());
    let listed: Vec<String> =
        BLOCKS.into_iter().flat_map(|(first, last)| first..=last).map(|number| format!("OBP-{number:03}")).collect();
    assert_eq!(states.into_keys().collect::<Vec<_>>(), listed);
}

#[test]
fn every_ambiguity_has_one_row_and_tests_that_exist() {
    let mut numbers = Vec::new();
    for row in rows("A-") {
        let [number, what, here, shown] = &row[..] else { panic!("{row:?}") };
        assert!(!what.is_empty() && !here.is_empty(), "{number}");
        numbers.push(number.clone());
        let named = tests(shown);
        let without = here.contains("SPEC.md") || here.contains("out of scope");
        assert!(!named.is_empty() || without, "{number}: no test");
        for (path, name) in named {
            assert!(exists(&path, &name), "{number}: there is no test {name} in {path}");
        }
    }
    assert_eq!(numbers, (1..=AMBIGUITIES).map(|number| format!("A-{number:02}")).collect::<Vec<_>>());
}
