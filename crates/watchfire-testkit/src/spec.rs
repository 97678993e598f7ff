//! SPEC.md of a crate: whether its tables have every row that is due, and whether the tests that they name exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The tables of one crate's SPEC.md. Everything here panics when a row is not as it must be.
#[derive(Debug)]
pub struct SpecTable {
    root: PathBuf,
    text: String,
}

/// What the rows of the requirements must be.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Requirements<'a> {
    /// How identifiers begin: `IAP-`.
    pub prefix: &'a str,
    /// Cells of a row. The last four are the requirement, the state, the tests and the reason.
    pub cells: usize,
    /// The states that there are beside `done`. Each of them wants a reason.
    pub states: &'a [&'a str],
    /// Those of them that need not name a test.
    pub untested: &'a [&'a str],
}

impl<'a> Requirements<'a> {
    /// Rows of six cells, which are `done` or, with a reason, in one of these states. What is not `done` or a
    /// `deviation` need not name a test.
    pub const fn new(prefix: &'a str, states: &'a [&'a str]) -> Self {
        Self { prefix, cells: 6, states, untested: &["elsewhere", "not applicable", "pending"] }
    }

    /// The same with so many cells in a row.
    #[must_use]
    pub const fn with_cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }
}

impl SpecTable {
    /// The tables of the crate in this folder, which is `env!("CARGO_MANIFEST_DIR")` of a crate in `crates`.
    ///
    /// # Panics
    /// When there is no SPEC.md.
    pub fn of(manifest_dir: &str) -> Self {
        let folder = Path::new(manifest_dir);
        let root = folder.ancestors().nth(2).expect("crates are two folders below the root").to_path_buf();
        let text = std::fs::read_to_string(folder.join("SPEC.md"));
        Self { root, text: text.unwrap_or_else(|error| panic!("{manifest_dir}/SPEC.md: {error}")) }
    }

    /// The cells of each row whose first cell begins so.
    pub fn rows(&self, prefix: &str) -> Vec<Vec<String>> {
        let start = format!("| {prefix}");
        let rows = self.text.lines().filter(|line| line.starts_with(&start));
        let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        rows.map(cells).collect()
    }

    /// Checks the requirements: there is one row for each of `ids` and for nothing else, in a state that there is, and
    /// what it names exists.
    ///
    /// # Panics
    /// When a row is not as it must be.
    pub fn requirements(&self, rule: &Requirements<'_>, ids: impl IntoIterator<Item = String>) {
        let mut found = BTreeMap::new();
        for row in self.rows(rule.prefix) {
            assert_eq!(row.len(), rule.cells, "{row:?}");
            let (Some(id), Some([requirement, state, shown, reason])) = (row.first(), row.last_chunk()) else {
                panic!("{row:?}");
            };
            assert!(!requirement.is_empty(), "{id}");
            assert_eq!(found.insert(id.clone(), ()), None, "{id} twice");
            if state != "done" {
                assert!(rule.states.contains(&state.as_str()), "{id}: {state:?} is no state");
                assert!(!reason.is_empty(), "{id}: {state}, and why?");
            }
            let named = tests(shown);
            assert!(!named.is_empty() || rule.untested.contains(&state.as_str()), "{id} names no test");
            self.exist(id, &named);
        }
        let mut due: Vec<String> = ids.into_iter().collect();
        due.sort_unstable();
        assert_eq!(found.into_keys().collect::<Vec<_>>(), due);
    }

    /// Checks what the documents leave open: one row of so many cells for each of `ids`, in their order, with tests that
    /// exist in these of its cells. Gives the rows, for what else the crate has to look at.
    ///
    /// # Panics
    /// When a row is not as it must be.
    pub fn open_points(
        &self,
        prefix: &str,
        cells: usize,
        shown: &[usize],
        ids: impl IntoIterator<Item = String>,
    ) -> Vec<Vec<String>> {
        let rows = self.rows(prefix);
        for row in &rows {
            assert_eq!(row.len(), cells, "{row:?}");
            for cell in shown.iter().filter_map(|at| row.get(*at)) {
                self.exist(row.first().map_or("", String::as_str), &tests(cell));
            }
        }
        let found: Vec<&String> = rows.iter().filter_map(|row| row.first()).collect();
        assert_eq!(found, ids.into_iter().collect::<Vec<_>>().iter().collect::<Vec<_>>());
        rows
    }

    fn exist(&self, id: &str, named: &[(String, String)]) {
        for (path, name) in named {
            assert!(self.exists(path, name), "{id}: there is no test {name} in {path}");
        }
    }

    /// Whether a file of the workspace has a test of this name: a function with an attribute above it that says so.
    pub fn exists(&self, path: &str, name: &str) -> bool {
        let Ok(source) = std::fs::read_to_string(self.root.join(path)) else { return false };
        has_test(&source, name)
    }
}

/// The tests that a cell names: `path::name`, separated by commas, each in backticks; none for a dash.
///
/// # Panics
/// When it holds something else.
pub fn tests(cell: &str) -> Vec<(String, String)> {
    if cell == "\u{2014}" {
        return Vec::new();
    }
    let test = |test: &str| {
        let named = test.trim().strip_prefix('`').and_then(|test| test.strip_suffix('`')?.split_once("::"));
        let (path, name) = named.unwrap_or_else(|| panic!("{test:?} is no `path::name`"));
        (path.to_owned(), name.to_owned())
    };
    cell.split(',').map(test).collect()
}

/// Identifiers of numbers with so many digits at least: `numbered("IAP-", 3, [1..=10])` begins with `IAP-001`.
pub fn numbered(
    prefix: &str,
    digits: usize,
    blocks: impl IntoIterator<Item = std::ops::RangeInclusive<u32>>,
) -> Vec<String> {
    blocks.into_iter().flatten().map(|number| format!("{prefix}{number:0digits$}")).collect()
}

fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let above = lines.iter().position(is_it).and_then(|at| lines.get(..at)).unwrap_or_default();
    let mut above = above.iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| X-001 | M | does | done | `crates/a/src/spec.rs::one` |  |\n\
                         | X-002 | M | does not | pending | \u{2014} | later |\n\
                         | A1 | what | here | `crates/a/src/spec.rs::one`, `crates/a/src/spec.rs::two` |\n";

    fn table(text: &str) -> SpecTable {
        // A folder with a file that has two tests in it.
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("watchfire-testkit-{}-{number}", std::process::id()));
        std::fs::create_dir_all(root.join("crates/a/src")).unwrap();
        let source = "#[test]\nfn one() {}\n#[tokio::test(x)]\n// why\n#[ignore]\nasync fn two() {}\nfn three() {}\n";
        std::fs::write(root.join("crates/a/src/spec.rs"), source).unwrap();
        std::fs::write(root.join("crates/a/SPEC.md"), text).unwrap();
        let table = SpecTable::of(root.join("crates/a").to_str().unwrap());
        std::fs::remove_file(root.join("crates/a/SPEC.md")).unwrap();
        table
    }

    fn requirements(text: &str) -> bool {
        let rule = Requirements::new("X-", &["pending"]);
        let table = table(text);
        let outcome = std::panic::catch_unwind(|| table.requirements(&rule, numbered("X-", 3, [1..=2])));
        std::fs::remove_dir_all(&table.root).unwrap();
        outcome.is_ok()
    }

    #[test]
    fn tables_that_are_as_they_must_be_pass_and_others_do_not() {
        assert!(requirements(TABLE));
        for (from, to) in [
            ("| X-002", "| X-003"),
            ("| X-002", "| X-001"),
            ("pending", "someday"),
            ("pending", "done"),
            ("| later |", "|  |"),
            ("::one` |", "::three` |"),
            ("::one` |", "::on` |"),
            ("spec.rs::one` |", "none.rs::one` |"),
            ("`crates/a/src/spec.rs::one` |  |", "\u{2014} |  |"),
            ("| does |", "|  |"),
            ("| X-001 | M |", "| X-001 |"),
        ] {
            let other = TABLE.replacen(from, to, 1);
            assert_ne!(other, TABLE);
            assert!(!requirements(&other), "{from} -> {to}");
        }
    }

    #[test]
    fn open_points_have_their_rows_and_tests() {
        let check = |text: &str, ids: std::ops::RangeInclusive<u32>| {
            let table = table(text);
            let found = std::panic::catch_unwind(|| table.open_points("A", 4, &[3], numbered("A", 1, [ids])).len());
            std::fs::remove_dir_all(&table.root).unwrap();
            found.ok()
        };
        assert_eq!(check(TABLE, 1..=1), Some(1));
        assert_eq!(check(TABLE, 1..=2), None);
        assert_eq!(check(&TABLE.replace("::two", "::three"), 1..=1), None);
        assert_eq!(check(&TABLE.replace(", `", ", "), 1..=1), None);
    }
}
