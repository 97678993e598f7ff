//! SPEC.md names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_row_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("SPEC.md")).unwrap();
    let mut seen = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| IDMEF-")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _level, _statement, state, test, ..] = cells[..] else { panic!("{row}") };
        assert!(seen.insert(id.to_owned()), "{id} twice");
        assert!(matches!(state, "done" | "deviation" | "not applicable"), "{id}: {state}");
        if state == "not applicable" {
            continue;
        }
        let (path, name) = test.split_once("::").unwrap_or_else(|| panic!("{id} names no test"));
        let source = std::fs::read_to_string(root.join(path)).unwrap_or_else(|_| panic!("{id}: no {path}"));
        assert!(source.contains(&format!("fn {name}(")), "{id}: no {name} in {path}");
    }
    for letter in 'a'..='j' {
        assert!(seen.contains(&format!("IDMEF-080{letter}")), "contradiction {letter} has no row");
    }
    assert!(seen.len() > 60);
}
