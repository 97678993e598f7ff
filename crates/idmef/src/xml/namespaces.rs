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
    namespace: Namespace,
}

/// Equality that is cheap for what is compared most: no prefix with no prefix.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && (left.is_empty() || left == right)
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
            let uri = attribute.value;
            let namespace = match uri {
                NAMESPACE => Namespace::Idmef,
                "" => Namespace::None,
                _ => Namespace::Foreign,
            };
            self.bindings.push(Binding { depth, prefix, uri, namespace });
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
        let binding = self.bindings.iter().rev().find(|binding| same(binding.prefix, prefix));
        binding.map_or(Namespace::None, |binding| binding.namespace)
    }

    /// Prefixes in scope with their URIs as written, innermost declaration only; not the default namespace.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let shadowed = |index: usize, prefix: &str| self.bindings[index + 1..].iter().any(|b| b.prefix == prefix);
        let all = self.bindings.iter().enumerate();
        all.filter(move |(index, b)| !b.prefix.is_empty() && !shadowed(*index, b.prefix))
            .map(|(_, b)| (b.prefix, b.uri))
    }
}
