//! Drives the machine of a delegate ([`acme_lurk::delegation::Ndc`]): its exchanges, its time, its certificates.

use std::collections::BTreeMap;

use acme_lurk::Now;
use acme_lurk::acme::client::{ExchangeFailure, ExchangeId, Received};
use acme_lurk::delegation::{Installation, Ndc, NdcEnd, NdcEvent};
use tokio::task::{AbortHandle, JoinSet};
use watchfire_core::{Output, UnixTime};
use watchfire_hyper::Clock;

use crate::Going;
use crate::client::Pool;
use crate::keep::KeepError;

/// Where a delegate lives.
pub trait Host: Send {
    /// Keeps what the machine must know after a restart. It comes before what the machine says is done.
    fn keep<'a>(&'a mut self, snapshot: Vec<u8>) -> Going<'a, Result<(), KeepError>>;

    /// Installs a certificate, so that servers show it from now on.
    fn install<'a>(&'a mut self, installation: &'a Installation) -> Going<'a, Result<(), String>>;

    /// Something happened. It must not wait.
    fn tell(&mut self, notice: DelegateNotice<'_>);
}

/// Something that an operator may want to know of.
#[derive(Debug)]
#[non_exhaustive]
pub enum DelegateNotice<'a> {
    /// The machine has said something other than what is done here.
    Event(&'a NdcEvent),
    /// A certificate is installed.
    Installed(&'a Installation),
    /// A certificate could not be installed. It is tried again.
    InstallFailed(&'a str),
    /// What the machine knows could not be kept. It goes on.
    NotKept(&'a KeepError),
    /// After what was told: until when the certificate that is installed is good.
    Until(Option<UnixTime>),
}

/// A delegate at work.
#[derive(Debug)]
pub struct Delegate {
    machine: Ndc,
    pool: Pool,
    clock: Clock,
    under_way: JoinSet<(ExchangeId, Result<Received, ExchangeFailure>)>,
    handles: BTreeMap<ExchangeId, AbortHandle>,
}

impl Delegate {
    /// Makes the machine with the time that it begins at, and drives it.
    ///
    /// # Errors
    /// Whatever `make` says.
    pub fn new<E>(pool: Pool, make: impl FnOnce(Now) -> Result<Ndc, E>) -> Result<Self, E> {
        let clock = Clock::start();
        let machine = make(Now::new(clock.now(), Clock::wall()))?;
        Ok(Self { machine, pool, clock, under_way: JoinSet::new(), handles: BTreeMap::new() })
    }

    /// The machine.
    pub fn machine(&self) -> &Ndc {
        &self.machine
    }

    /// Works until the machine ends. Dropping the future stops it; a machine that is made from what was kept goes on.
    pub async fn run(&mut self, host: &mut dyn Host) -> NdcEnd {
        loop {
            if let Some(snapshot) = self.machine.take_snapshot()
                && let Err(error) = host.keep(snapshot).await
            {
                host.tell(DelegateNotice::NotKept(&error));
            }
            match self.machine.poll_output(self.now()) {
                Output::Event(event) => {
                    if let Some(end) = self.attend(event, host).await {
                        return end;
                    }
                }
                Output::Timeout(at) => {
                    tokio::select! {
                        Some(made) = self.under_way.join_next() => {
                            // One that was given up brings nothing.
                            let Ok((id, made)) = made else { continue };
                            self.handles.remove(&id);
                            let now = self.now();
                            match made {
                                Ok(received) => self.machine.handle_response(now, id, received),
                                Err(failure) => self.machine.handle_failure(now, id, failure),
                            }
                        }
                        () = self.clock.until(at) => {
                            let now = self.now();
                            self.machine.handle_timeout(now);
                        }
                    }
                }
                Output::Transmit(never) => match never {},
            }
        }
    }

    async fn attend(&mut self, event: NdcEvent, host: &mut dyn Host) -> Option<NdcEnd> {
        match event {
            NdcEvent::Exchange(exchange) => {
                let (pool, id) = (self.pool.clone(), exchange.id);
                let task = self.under_way.spawn(async move { (id, pool.exchange(&exchange).await) });
                self.handles.insert(id, task);
            }
            NdcEvent::Abandon(id) => {
                if let Some(task) = self.handles.remove(&id) {
                    task.abort();
                }
            }
            NdcEvent::Install(installation) => {
                let done = host.install(&installation).await;
                let now = self.now();
                match done {
                    Ok(()) => {
                        self.machine.installed(now);
                        host.tell(DelegateNotice::Installed(&installation));
                        host.tell(DelegateNotice::Until(self.machine.installed_until()));
                    }
                    Err(detail) => {
                        host.tell(DelegateNotice::InstallFailed(&detail));
                        self.machine.install_failed(now, detail);
                    }
                }
            }
            NdcEvent::Ended(end) => {
                // What the end has changed is kept too.
                if let Some(snapshot) = self.machine.take_snapshot() {
                    let _ = host.keep(snapshot).await;
                }
                return Some(end);
            }
            event => host.tell(DelegateNotice::Event(&event)),
        }
        None
    }

    fn now(&self) -> Now {
        Now::new(self.clock.now(), Clock::wall())
    }
}
