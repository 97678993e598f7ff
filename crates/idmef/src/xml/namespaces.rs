//! Namespace prefixes in scope.

use super::NAMESPACE;
use super::attributes::RawAttribute;

/// What an element's prefix stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// The namespace of IDMEF.
    Idmef,
    /// No namespace, or a prefix that was never declared.
    None,
    /// Somebody else's.
    Foreign,
}

struct Binding<'a> {
    depth: usize,
    prefix: &'a str,
    uri: &'a str,
}

/// The declarations of the elements that are open.
#[derive(Default)]
pub(crate) struct Scope<'a> {
    bindings: Vec<Binding<'a>>,
}

impl<'a> Scope<'a> {
    /// Takes up the attribute if it declares a prefix or the default namespace.
    pub(crate) fn declare(&mut self, depth: usize, attribute: &RawAttribute<'a>) {
        let Some(rest) = attribute.name.strip_prefix("xmlns") else { return };
        if let Some(prefix) = if rest.is_empty() { Some("") } else { rest.strip_prefix(':') } {
            self.bindings.push(Binding { depth, prefix, uri: attribute.value });
        }
    }

    /// Forgets what elements deeper than `depth` declared.
    pub(crate) fn close(&mut self, depth: usize) {
        while self.bindings.last().is_some_and(|binding| binding.depth > depth) {
            self.bindings.pop();
        }
    }

    /// What `prefix` (empty: none) stands for.
    pub(crate) fn resolve(&self, prefix: &str) -> Namespace {
        match self.bindings.iter().rev().find(|binding| binding.prefix == prefix) {
            Some(binding) if binding.uri == NAMESPACE => Namespace::Idmef,
            Some(binding) if !binding.uri.is_empty() => Namespace::Foreign,
            _ => Namespace::None,
        }
    }

    /// Prefixes in scope with their URIs as written, innermost declaration only; not the default namespace.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let shadowed = |index: usize, prefix: &str| self.bindings[index + 1..].iter().any(|b| b.prefix == prefix);
        let all = self.bindings.iter().enumerate();
        all.filter(move |(index, b)| !b.prefix.is_empty() && !shadowed(*index, b.prefix))
            .map(|(_, b)| (b.prefix, b.uri))
    }
}
