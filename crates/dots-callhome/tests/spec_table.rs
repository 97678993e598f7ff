//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.

use watchfire_testkit::spec::{Requirements, SpecTable, numbered};

const STATES: [&str; 2] = ["deviation", "not applicable"];

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let rule = Requirements::new("DOTS-", &STATES).with_cells(7);
    table().requirements(&rule, numbered("DOTS-", 3, [1..=155]));
}

#[test]
fn every_ambiguity_has_one_row() {
    let found: Vec<String> = table().rows("A").into_iter().filter_map(|row| row.into_iter().next()).collect();
    assert_eq!(found, numbered("A", 1, [1..=30]));
}
