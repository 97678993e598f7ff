//! What is kept before it is said.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use acme_lurk_hyper::Going;
use acme_lurk_hyper::acme_lurk::Record;
use acme_lurk_hyper::acme_lurk::crypto::RingSigner;
use acme_lurk_hyper::keep::{KeepError, Keeper};
use acme_lurk_hyper::validate::ValidatorConfig;
use tokio::sync::watch;

use crate::laboratory::{Answered, Laboratory, Watched, obtain, until, wanted};

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    Full,
    /// It does not come back.
    Stuck,
}

/// A disk.
#[derive(Clone)]
pub(crate) struct Disk {
    room: Arc<watch::Sender<Room>>,
    /// What it was given, in the order of the calls.
    records: Arc<Mutex<Vec<Record>>>,
    /// From the record on whose value has this text it is stuck.
    stuck_at: Option<&'static str>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { room: Arc::new(watch::Sender::new(Room::Enough)), records: Arc::default(), stuck_at: None }
    }

    pub(crate) fn stuck_at(text: &'static str) -> Self {
        Self { stuck_at: Some(text), ..Self::new() }
    }

    /// One that has this already.
    pub(crate) fn of(known: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::new();
        let record = |(name, value)| Record { name, value: Some(value) };
        disk.records.lock().unwrap().extend(known.into_iter().map(record));
        disk
    }

    /// What is there: of each name the last.
    pub(crate) fn known(&self) -> BTreeMap<String, Vec<u8>> {
        let mut known = BTreeMap::new();
        for record in self.records.lock().unwrap().iter().cloned() {
            match record.value {
                Some(value) => known.insert(record.name, value),
                None => known.remove(&record.name),
            };
        }
        known
    }

    /// How many have it, this one too.
    pub(crate) fn users(&self) -> usize {
        Arc::strong_count(&self.records)
    }

    pub(crate) fn be(&self, room: Room) {
        self.room.send_replace(room);
    }

    pub(crate) fn is(&self) -> Room {
        *self.room.borrow()
    }
}

impl Keeper for Disk {
    fn keep(&self, records: Vec<Record>) -> Going<'static, Result<(), KeepError>> {
        let is_it = |record: &Record, text: &str| {
            record.value.as_ref().is_some_and(|value| String::from_utf8_lossy(value).contains(text))
        };
        if self.stuck_at.is_some_and(|text| records.iter().any(|record| is_it(record, text))) {
            self.be(Room::Stuck);
        }
        self.records.lock().unwrap().extend(records);
        let mut room = self.room.subscribe();
        Box::pin(async move {
            let room = *room.wait_for(|room| *room != Room::Stuck).await.unwrap();
            if room == Room::Full { Err(KeepError("no room".into())) } else { Ok(()) }
        })
    }
}

/// Whoever asks second is promised no more than who asked first.
#[tokio::test]
async fn nothing_is_promised_that_was_not_kept() {
    for room in [Room::Full, Room::Stuck] {
        let (disk, answers) = (Disk::new(), Arc::<Mutex<Vec<Answered>>>::default());
        let keeper = disk.clone();
        let laboratory = Laboratory::behind(
            ValidatorConfig::default(),
            true,
            |ca| ca.with_keeper(keeper),
            |server| server,
            |site| Watched::new(site, &answers),
        )
        .await;
        disk.be(room);
        let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
        let key = Arc::new(key);
        for number in 1..=3 {
            let client = laboratory.client_of(&key, None);
            let attempt = tokio::spawn(async move { client.account(Default::default(), None).await });
            until("it is answered, or waits", || answers.lock().unwrap().len() >= number).await;
            attempt.abort();
        }
        let expected = if room == Room::Full { Some(500) } else { None };
        for Answered { path, at_once } in answers.lock().unwrap().iter() {
            let status = at_once.as_ref().map(|(status, _)| *status);
            assert_eq!((path.as_str(), status), ("new-account", expected), "{room:?}");
        }

        // There is room again: the same client finds the account that was half made.
        disk.be(Room::Enough);
        let client = laboratory.client_of(&key, None);
        client.account(Default::default(), None).await.unwrap();
        obtain(&client, wanted("kept.example", false)).await.unwrap();
        let names: Vec<String> = disk.records.lock().unwrap().iter().map(|record| record.name.clone()).collect();
        for kind in ["acct/", "order/", "cert/"] {
            assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}: {names:?}");
        }
        // All of that is kept: who only asks after it waits for nothing.
        disk.be(Room::Stuck);
        answers.lock().unwrap().clear();
        client.call(|machine, now| machine.find_account(now)).await.unwrap();
        let answers = answers.lock().unwrap();
        assert!(matches!(&**answers, [Answered { at_once: Some((200, _)), .. }]), "{answers:?}");
    }
}
