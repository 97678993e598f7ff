//! What is allowed but unwise. [RFC 4765 sections 3.1.3 and 4.2.4.1](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.4.1)

use crate::model::{Item, Message, Source, Target};
use crate::types::Ident;
use std::fmt;

/// Something about a message that its DTD allows and its prose does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The root has no xml:lang.
    NoLanguage,
    /// Item number `.0` has identifiers, but its analyzer has no analyzerid that would make them unique.
    NoAnalyzerid(usize),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLanguage => f.write_str("IDMEF-Message has no xml:lang"),
            Self::NoAnalyzerid(index) => write!(f, "item {index} has identifiers but no analyzerid"),
        }
    }
}

/// Looks for what the DTD cannot tell.
///
/// ```
/// let message = idmef::Message { lang: Some("en".into()), items: vec![] };
/// assert!(idmef::lint(&message).is_empty());
/// ```
pub fn lint(message: &Message) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if message.lang.is_none() {
        warnings.push(Warning::NoLanguage);
    }
    for (index, item) in message.items.iter().enumerate() {
        if item.analyzer().analyzerid.is_unset() && has_identifiers(item) {
            warnings.push(Warning::NoAnalyzerid(index));
        }
    }
    warnings
}

fn has_identifiers(item: &Item) -> bool {
    if !item.messageid().is_unset() {
        return true;
    }
    let Item::Alert(alert) = item else { return false };
    let source = |it: &Source| {
        [Some(&it.ident), it.node.as_ref().map(|it| &it.ident), it.user.as_ref().map(|it| &it.ident)]
            .into_iter()
            .chain([it.process.as_ref().map(|it| &it.ident), it.service.as_ref().map(|it| &it.ident)])
            .flatten()
            .any(is_set)
    };
    let target = |it: &Target| {
        [Some(&it.ident), it.node.as_ref().map(|it| &it.ident), it.user.as_ref().map(|it| &it.ident)]
            .into_iter()
            .chain([it.process.as_ref().map(|it| &it.ident), it.service.as_ref().map(|it| &it.ident)])
            .chain(it.file.iter().map(|it| Some(&it.ident)))
            .flatten()
            .any(is_set)
    };
    alert.source.iter().any(source) || alert.target.iter().any(target)
}

fn is_set(ident: &Ident) -> bool {
    !ident.is_unset()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alert, Analyzer, DateTime, Node};

    #[test]
    fn identifiers_want_an_analyzerid() {
        let time: DateTime = "2000-03-09T14:07:58Z".parse().unwrap();
        let mut alert = Alert::new(Analyzer::default(), time, "x".into());
        assert_eq!(lint(&alert.clone().into()), [Warning::NoLanguage]);
        let node = Node { ident: "n".into(), ..Default::default() };
        alert.target.push(Target { node: Some(node), ..Default::default() });
        assert_eq!(lint(&alert.clone().into()), [Warning::NoLanguage, Warning::NoAnalyzerid(0)]);
        alert.analyzer.analyzerid = "a".into();
        let message = Message { lang: Some("en".into()), ..alert.into() };
        assert_eq!(lint(&message), []);
    }
}
