//! What the operator knows better than any rater.

use std::collections::BTreeMap;

use crate::client::Query;
use crate::vocabulary::{Application, InvalidSubject, Subject, SubjectSyntax};

/// Which of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum List {
    /// Nothing is said against it.
    Allow,
    /// Nobody needs to be asked.
    Deny,
}

/// Subjects that are allowed or denied whatever raters say.
///
/// An entry holds for its subject and, if that is a DNS name, for all names below it; the longest one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalLists(BTreeMap<(String, String), List>);

impl LocalLists {
    /// Empty lists.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Puts a subject on a list, in place of its other entry.
    ///
    /// # Errors
    /// When it is no subject of the application.
    pub fn add(&mut self, application: &Application, subject: &str, list: List) -> Result<(), InvalidSubject> {
        let subject = Subject::new(application.subject, subject, None)?;
        self.0.insert((application.name.clone().into_owned(), subject.as_str().to_owned()), list);
        Ok(())
    }

    /// The list that the subject of this query is on, and the entry.
    pub fn find<'q>(&self, query: &'q Query) -> Option<(List, &'q str)> {
        let application = query.application();
        let mut name = query.subject().as_str();
        let is_name = application.subject == SubjectSyntax::NameOrAddress && name.parse::<std::net::IpAddr>().is_err();
        loop {
            // A look-up in a tree of owned pairs takes an owned pair.
            if let Some(list) = self.0.get(&(application.name.clone().into_owned(), name.to_owned())) {
                return Some((*list, name));
            }
            name = name.split_once('.').filter(|_| is_name)?.1;
        }
    }
}
