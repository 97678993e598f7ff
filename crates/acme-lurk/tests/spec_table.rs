//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.

use watchfire_testkit::spec::{Requirements, SpecTable, numbered};

const STATES: [&str; 2] = ["deviation", "not applicable"];

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    table().requirements(&Requirements::new("LURK-", &STATES), numbered("LURK-", 3, [1..=177]));
}

#[test]
fn every_ambiguity_has_one_row_and_tests_that_exist() {
    table().open_points("A", 4, &[3], numbered("A", 1, [1..=45]));
}
