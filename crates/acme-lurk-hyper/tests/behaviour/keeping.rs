//! What is kept before it is said.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use acme_lurk_hyper::Going;
use acme_lurk_hyper::acme_lurk::Record;
use acme_lurk_hyper::keep::{KeepError, Keeper};
use acme_lurk_hyper::validate::ValidatorConfig;

use crate::laboratory::{Laboratory, obtain, wanted};

/// A disk that can be full.
#[derive(Clone, Default)]
struct Disk {
    full: Arc<AtomicBool>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Keeper for Disk {
    fn keep(&self, records: Vec<Record>) -> Going<'static, Result<(), KeepError>> {
        self.records.lock().unwrap().extend(records);
        let full = self.full.load(Ordering::Relaxed);
        Box::pin(async move { if full { Err(KeepError("no room".into())) } else { Ok(()) } })
    }
}

#[tokio::test]
async fn nothing_is_promised_that_was_not_kept() {
    let disk = Disk::default();
    let keeper = disk.clone();
    let laboratory =
        Laboratory::with(ValidatorConfig::default(), true, |ca| ca.with_keeper(keeper), |server| server).await;
    disk.full.store(true, Ordering::Relaxed);
    let client = laboratory.bare_client(None);
    let attempt = client.account(Default::default(), None);
    let early = tokio::time::timeout(std::time::Duration::from_secs(2), attempt).await;
    assert!(!matches!(early, Ok(Ok(_))), "the account was not kept: {early:?}");
    assert!(laboratory.server.counters().refused.load(Ordering::Relaxed) >= 1);

    // There is room again: the same client finds the account that was half made.
    disk.full.store(false, Ordering::Relaxed);
    client.account(Default::default(), None).await.unwrap();
    obtain(&client, wanted("kept.example", true)).await.unwrap();
    let names: Vec<String> = disk.records.lock().unwrap().iter().map(|record| record.name.clone()).collect();
    for kind in ["acct/", "order/", "cert/"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}: {names:?}");
    }
}
