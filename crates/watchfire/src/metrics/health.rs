//! Whether the parts of the process can do their work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{lock, next_scope};

/// Whether the parts of the process can do their work. Clones share it; what a service says of its parts is forgotten
/// with the [`service`](Self::service).
#[derive(Debug, Clone, Default)]
pub struct Health {
    scopes: Arc<Mutex<BTreeMap<u64, Scope>>>,
    scope: u64,
}

/// What belongs together and is forgotten together.
#[derive(Debug, Default)]
struct Scope {
    label: String,
    parts: BTreeMap<String, Result<(), String>>,
}

/// The part that is a whole service: it is shown under the label.
const WHOLE: &str = "";

impl Health {
    /// A handle for a service that may end before the others; `label` is what it is called. Until
    /// [`forget`](Self::forget).
    #[must_use]
    pub fn service(&self, label: impl Into<String>) -> Self {
        let this = Self { scopes: Arc::clone(&self.scopes), scope: next_scope() };
        lock(&this.scopes).insert(this.scope, Scope { label: label.into(), parts: BTreeMap::new() });
        this
    }

    /// Calls the service something else from now on.
    pub fn relabel(&self, label: impl Into<String>) {
        if let Some(scope) = lock(&self.scopes).get_mut(&self.scope) {
            scope.label = label.into();
        }
    }

    /// What the service is called.
    pub fn label(&self) -> String {
        lock(&self.scopes).get(&self.scope).map(|scope| scope.label.clone()).unwrap_or_default()
    }

    /// Says how the service as a whole is.
    pub fn set_whole(&self, state: Result<(), String>) {
        self.set(WHOLE, state);
    }

    /// Says how a part is: well, or why not.
    pub fn set(&self, part: impl Into<String>, state: Result<(), String>) {
        let mut scopes = lock(&self.scopes);
        if self.scope == 0 {
            scopes.entry(0).or_default();
        }
        // What is left of a service that was forgotten has nothing more to say.
        if let Some(scope) = scopes.get_mut(&self.scope) {
            scope.parts.insert(part.into(), state);
        }
    }

    /// Forgets all that the service has said.
    pub fn forget(&self) {
        lock(&self.scopes).remove(&self.scope);
    }

    /// Whether a part of the service is well, as far as is known.
    pub fn is_well(&self, part: &str) -> bool {
        lock(&self.scopes).get(&self.scope).and_then(|scope| scope.parts.get(part)).is_none_or(Result::is_ok)
    }

    /// Whether all parts of the process are well.
    ///
    /// # Errors
    /// What is wrong with the others, one line each.
    pub fn ready(&self) -> Result<(), String> {
        let scopes = lock(&self.scopes);
        let mut wrong = String::new();
        for scope in scopes.values() {
            for (part, state) in &scope.parts {
                if let Err(reason) = state {
                    let name = if part == WHOLE { &scope.label } else { part };
                    wrong.push_str(&format!("{name}: {reason}\n"));
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_says_what_is_wrong() {
        let health = Health::default();
        assert_eq!(health.ready(), Ok(()));
        health.set("store", Err("disk full".into()));
        health.set("listener", Ok(()));
        assert_eq!(health.ready(), Err("store: disk full\n".into()));
        assert!(!health.is_well("store") && health.is_well("listener") && health.is_well("what nobody spoke of"));
        health.set("store", Ok(()));
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_service_speaks_for_itself_and_is_forgotten() {
        let health = Health::default();
        let (one, two) = (health.service("one (c:1)"), health.service("two (c:9)"));
        one.set("channel", Err("down".into()));
        two.set("channel", Ok(()));
        assert!(!one.is_well("channel") && two.is_well("channel"));
        two.set_whole(Err("is starting".into()));
        two.relabel("two (c:3)");
        assert_eq!(health.ready(), Err("channel: down\ntwo (c:3): is starting\n".into()));
        assert_eq!((one.ready(), two.label()), (health.ready(), "two (c:3)".to_owned()));
        two.forget();
        two.set_whole(Err("late".into()));
        assert_eq!(health.ready(), Err("channel: down\n".into()));
        one.set("channel", Ok(()));
        assert_eq!(health.ready(), Ok(()));
    }
}
