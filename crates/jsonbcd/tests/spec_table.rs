//! SPEC.md has a row for every requirement that is this crate's, and each names tests that exist.

use watchfire_testkit::spec::{Requirements, SpecTable, numbered};

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

/// Those of the text that this crate shows, and those of the codec.
#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let rule = Requirements::new("OBP-", &["deviation"]);
    table().requirements(&rule, numbered("OBP-", 3, [5..=9, 12..=18, 70..=96]));
}

#[test]
fn everything_that_the_drafts_leave_open_has_a_row_and_tests_that_exist() {
    let open = ["A-03", "A-04", "A-17", "A-29", "A-30"];
    table().open_points("A-", 4, &[3], open.map(str::to_owned));
}
