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

#[test]
fn the_sections_of_rfc_5782_have_tests_that_exist() {
    let sections = ["1", "2.1", "2.2", "2.3", "2.4", "3", "4", "5", "6"].map(|section| format!("5782-{section}"));
    table().open_points("5782-", 4, &[3], sections);
}
