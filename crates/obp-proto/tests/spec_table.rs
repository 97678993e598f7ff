//! SPEC.md has a row for every requirement and every ambiguity, and each names tests that exist.

use watchfire_testkit::spec::{Requirements, SpecTable, numbered, tests};

/// One row stands for these: they are jsonbcd's.
const ELSEWHERE: &str = "OBP-070 to OBP-096";

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let mut ids = numbered("OBP-", 3, [1..=18, 20..=39, 50..=58, 110..=128, 140..=157, 170..=186]);
    ids.push(ELSEWHERE.to_owned());
    table().requirements(&Requirements::new("OBP-", &["deviation", "elsewhere", "not applicable"]), ids);
    let elsewhere = table().rows("OBP-").into_iter().filter(|row| row.iter().any(|cell| cell == "elsewhere"));
    assert_eq!(elsewhere.filter_map(|row| row.into_iter().next()).collect::<Vec<_>>(), [ELSEWHERE]);
}

#[test]
fn every_ambiguity_has_one_row_and_tests_that_exist() {
    for row in table().open_points("A-", 4, &[3], numbered("A-", 2, [1..=34])) {
        let [number, what, here, shown] = &row[..] else { panic!("{row:?}") };
        assert!(!what.is_empty() && !here.is_empty(), "{number}");
        let without = here.contains("SPEC.md") || here.contains("out of scope");
        assert!(!tests(shown).is_empty() || without, "{number}: no test");
    }
}
