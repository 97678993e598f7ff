//! SPEC.md has a row for every requirement and every contradiction, and each names tests that exist.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use watchfire_testkit::spec::{Requirements, SpecTable, numbered, tests};

fn table() -> SpecTable {
    SpecTable::of(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_requirement_has_one_row_and_tests_that_exist() {
    let blocks = [1..=10, 20..=29, 40..=45, 50..=61, 70..=81, 82..=87, 90..=100, 110..=116, 120..=124];
    table().requirements(&Requirements::new("IAP-", &["deviation", "not applicable"]), numbered("IAP-", 3, blocks));
}

#[test]
fn every_contradiction_has_one_row_and_tests_that_exist() {
    for row in table().open_points("5.", 6, &[4, 5], numbered("5.", 1, [1..=37])) {
        let [number, _what, _resolution, switch, accepts, rejects] = &row[..] else { panic!("{row:?}") };
        // Whatever can be switched is shown both ways.
        if switch.contains('`') {
            assert!(!tests(accepts).is_empty() && !tests(rejects).is_empty(), "{number}: {switch}");
        }
    }
}

#[test]
fn every_switch_of_compat_is_shown_both_ways() {
    let switches = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/compat.rs")).unwrap();
    let shown = "crates/iap-proto/tests/behaviour/compat.rs";
    let mut count = 0;
    for line in switches.lines() {
        let Some(name) = line.trim().strip_prefix("pub ").and_then(|line| line.strip_suffix(": bool,")) else {
            continue;
        };
        count += 1;
        assert!(table().exists(shown, &format!("{name}_accepts")), "{name}");
        assert!(table().exists(shown, &format!("{name}_rejects")), "{name}");
    }
    assert_eq!(count, 12);
}
