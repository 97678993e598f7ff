//! Counts the users of a spool: the last one to go closes it.

use std::sync::Arc;

use super::state::Shared;

/// Held by every [`Spool`](super::Spool) and [`Reader`](super::Reader).
#[derive(Debug)]
pub(super) struct Handle(Arc<Shared>);

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self(shared))
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        self.0.wake(&state);
    }
}
