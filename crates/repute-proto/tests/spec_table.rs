//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.

use watchfire_testkit::spec::{Requirements, SpecTable, numbered};

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let rule = Requirements::new("REP-", &["deviation", "not applicable"]);
    table().requirements(&rule, numbered("REP-", 3, [1..=78]));
}

#[test]
fn every_ambiguity_has_one_row_and_tests_that_exist() {
    table().open_points("A", 4, &[3], numbered("A", 1, [1..=27]));
}
