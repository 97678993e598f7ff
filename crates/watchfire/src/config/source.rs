//! The text of a configuration file: from offsets to lines, and guesses what a mistyped key was meant to be.

use std::path::Path;

use super::Problem;

/// A file's text with its name.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    pub(super) fn path(&self) -> &'a Path {
        self.path
    }

    /// Where relative paths start.
    pub(super) fn folder(&self) -> &'a Path {
        self.path.parent().unwrap_or_else(|| Path::new(""))
    }

    /// Line and column (in characters), from 1.
    pub(super) fn line_column(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    pub(super) fn problem(&self, at: usize, key: &str, what: &str, remedy: &str) -> Problem {
        let (line, column) = self.line_column(at);
        Problem {
            file: self.path.to_owned(),
            line,
            column,
            key: key.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// The known word that is closest to `word`, when one is close enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    known
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Number of single-character edits from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let substitution = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_guesses_only_close_words() {
        let known = ["listen", "cert", "max-connections"];
        assert_eq!(nearest("listne", &known), Some("listen"));
        assert_eq!(nearest("max_connections", &known), Some("max-connections"));
        assert_eq!(nearest("certificate", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn columns_count_characters() {
        let source = Source::new(Path::new("f"), "a\nüü b");
        assert_eq!(source.line_column(7), (2, 4));
        assert_eq!(source.line_column(99), (2, 5));
    }
}
