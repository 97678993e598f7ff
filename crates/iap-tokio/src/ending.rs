//! How what runs ends: politely, or at once when its handle is dropped.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is cut off is gone as soon as it is looked at. That is at once, unless a thread waits for a disk that is slow.
const LAST: Duration = Duration::from_secs(1);

/// The tasks of a manager, a sensor or a proxy. Dropping it cuts them off.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) tracker: TaskTracker,
    /// Cancelled when nothing new is begun any more.
    pub(crate) stop: CancellationToken,
    /// Ends what outlives the grace of a shutdown.
    pub(crate) cut: CancellationToken,
}

impl Tasks {
    /// Begins nothing new, waits up to `grace` for what there is to end by itself, and cuts off the rest.
    pub(crate) async fn shutdown(&self, grace: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            self.cut.cancel();
            let _ = tokio::time::timeout(LAST, self.tracker.wait()).await;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}
