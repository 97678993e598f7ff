//! The three machines of the setup, and the way past them.

use std::sync::Arc;

use iap_proto::message::{ChannelSetup, Connect, Upgrade};
use iap_proto::{
    Channel, DataRole, Error, Initiator, InitiatorEvent, Proxy, ProxyEvent, Responder, ResponderEvent, Side,
};
use watchfire_core::{Eof, Instant, Machine as _, Output, StreamMachine as _};

use super::Watch;
use super::script::{Operation, Script, host};

/// More than any setup says: three requests, or three answers.
const MAX_SAID: usize = 1000;

pub(super) struct Dialling {
    machine: Initiator,
    pub(super) watch: Watch,
    said: usize,
}

impl Dialling {
    pub(super) fn new(script: &Script, now: Instant) -> Self {
        let machine = Initiator::new(Arc::new(script.config.clone()), host("M.DOM.ORG"), script.role, now);
        Self { machine, watch: Watch::new(script), said: 0 }
    }

    pub(super) fn apply(&mut self, operation: &Operation, now: Instant, script: &Script) -> Option<Channel> {
        self.watch.stream(&mut self.machine, now, operation, script);
        match operation {
            Operation::Decide { which, .. } => {
                let _ = self.watch.call(&mut self.machine, now, |it| match which % 4 {
                    3 => it.tls_failed(),
                    _ => it.tls_started(now),
                });
            }
            Operation::Close => self.machine.close(),
            Operation::Urgent => assert!(self.machine.handle_urgent_data().is_err() && self.machine.is_finished()),
            Operation::Drain => return self.drain(now),
            _ => return None,
        }
        self.watch.drained = false;
        None
    }

    fn drain(&mut self, now: Instant) -> Option<Channel> {
        let last = |event: &InitiatorEvent| matches!(event, InitiatorEvent::Ready(_) | InitiatorEvent::Closed { .. });
        let (transmits, events) = self.watch.drain(&mut self.machine, now, last);
        self.said += transmits.iter().map(|octets| octets.len()).sum::<usize>();
        assert!(self.said < MAX_SAID);
        let channel = events.into_iter().find_map(|event| match event {
            InitiatorEvent::Ready(channel) => Some(channel),
            _ => None,
        });
        if channel.is_some() {
            assert!(self.machine.handle_input(now, b"x").is_err(), "it is over");
            assert!(matches!(self.machine.poll_output(now), Output::Timeout(None)));
        }
        channel
    }
}

pub(super) struct Dialled {
    machine: Responder,
    pub(super) watch: Watch,
    said: usize,
}

impl Dialled {
    pub(super) fn new(script: &Script, now: Instant) -> Self {
        Self { machine: Responder::new(Arc::new(script.config.clone()), now), watch: Watch::new(script), said: 0 }
    }

    pub(super) fn apply(&mut self, operation: &Operation, now: Instant, script: &Script) -> Option<Channel> {
        self.watch.stream(&mut self.machine, now, operation, script);
        match operation {
            Operation::Decide { which, status } => {
                let _ = self.watch.call(&mut self.machine, now, |it| match which % 6 {
                    0 => it.accept_connect(now),
                    1 => it.refuse_connect(now, *status),
                    2 => it.tls_started(now),
                    3 => it.tls_failed(),
                    4 => it.accept_channel(now),
                    _ => it.refuse_channel(now, *status),
                });
            }
            Operation::Close => self.machine.close(),
            Operation::Urgent => assert!(self.machine.handle_urgent_data().is_err() && self.machine.is_finished()),
            Operation::Drain => return self.drain(now),
            _ => return None,
        }
        self.watch.drained = false;
        None
    }

    fn drain(&mut self, now: Instant) -> Option<Channel> {
        let last = |event: &ResponderEvent| matches!(event, ResponderEvent::Ready(_) | ResponderEvent::Closed { .. });
        let (transmits, events) = self.watch.drain(&mut self.machine, now, last);
        self.said += transmits.iter().map(|octets| octets.len()).sum::<usize>();
        assert!(self.said < 100, "three answers");
        let channel = events.into_iter().find_map(|event| match event {
            ResponderEvent::Ready(channel) => Some(channel),
            _ => None,
        });
        if channel.is_some() {
            assert!(self.machine.handle_input(now, b"x").is_err(), "it is over");
            assert!(matches!(self.machine.poll_output(now), Output::Timeout(None)));
        }
        channel
    }
}

pub(super) struct Relaying {
    machine: Proxy,
    pub(super) watch: Watch,
    heard: usize,
    said: usize,
    /// The next hop was dialled, by the events.
    dialled: bool,
}

impl Relaying {
    pub(super) fn new(script: &Script, now: Instant) -> Self {
        let machine = Proxy::new(Arc::new(script.config.clone()), Arc::from([host("P.example"), host("Q")]), now);
        Self { machine, watch: Watch::new(script), heard: 0, said: 0, dialled: false }
    }

    pub(super) fn apply(&mut self, operation: &Operation, now: Instant, script: &Script) -> Option<Channel> {
        if let Some(pieces) = operation.octets(script.dialect) {
            // The upper half of the catalogue comes from the next hop.
            let side = match operation {
                Operation::Message { which, .. } if *which < 128 => Side::Initiator,
                Operation::Input(octets) if octets.len().is_multiple_of(2) => Side::Initiator,
                _ => Side::Responder,
            };
            for piece in pieces {
                self.heard += piece.len();
                let result = self.machine.handle_input(now, side, &piece);
                self.watch.fatal(&self.machine, &result);
            }
        }
        match operation {
            Operation::Eof { truncated } => {
                let side = if *truncated { Side::Responder } else { Side::Initiator };
                let result = self.machine.handle_eof(now, side, Eof::Closed);
                self.watch.fatal(&self.machine, &result);
            }
            Operation::Clock { .. } | Operation::Timeout => {
                let result = self.machine.handle_timeout(self.watch.wake.unwrap_or(now).max(now));
                self.watch.fatal(&self.machine, &result);
            }
            Operation::Decide { which, status } => {
                let _ = self.watch.call(&mut self.machine, now, |it| match which % 4 {
                    0 => it.accept(now),
                    1 => it.refuse(now, *status),
                    2 => it.dialled(now),
                    _ => it.dial_failed(now),
                });
                self.watch.drained = false;
            }
            Operation::Close => {
                self.machine.close();
                self.watch.drained = false;
            }
            Operation::Drain => self.drain(now),
            _ => {}
        }
        None
    }

    fn drain(&mut self, now: Instant) {
        let last = |event: &ProxyEvent| matches!(event, ProxyEvent::Pipe { .. } | ProxyEvent::Closed { .. });
        let (transmits, events) = self.watch.drain(&mut self.machine, now, last);
        self.dialled |= events.contains(&ProxyEvent::Dial);
        for transmit in transmits {
            assert!(transmit.to == Side::Initiator || self.dialled, "octets for a next hop that was not dialled");
            self.said += transmit.octets.len();
        }
        // A request and an answer with all their Via lines and one more, in the longer of the forms.
        assert!(self.said <= 2 * self.heard + 2000, "{} octets said, {} heard", self.said, self.heard);
    }
}

/// A channel in the data phase, by a setup that nothing disturbs.
pub(super) fn channel(script: &Script, role: DataRole, now: Instant) -> Channel {
    fn tell(machine: &mut Responder, now: Instant, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let mut octets = Vec::new();
        encode(&mut octets);
        machine.handle_input(now, &octets)
    }
    let dialect = script.dialect;
    let config = script.config.clone().into_builder().with_tls(true).with_served_names(vec![]).build().expect("a configuration");
    let mut machine = Responder::new(Arc::new(config), now);
    let channel = (|| {
        tell(&mut machine, now, |out| Connect::new(dialect, host("M.DOM.ORG")).encode(out))?;
        machine.accept_connect(now)?;
        tell(&mut machine, now, |out| Upgrade::new(dialect).encode(out))?;
        machine.tls_started(now)?;
        tell(&mut machine, now, |out| ChannelSetup::new(dialect, role.opposite()).encode(out))?;
        machine.accept_channel(now)?;
        loop {
            match machine.poll_output(now) {
                Output::Event(ResponderEvent::Ready(channel)) => return Ok::<_, Error>(channel),
                Output::Timeout(_) => panic!("no channel"),
                _ => {}
            }
        }
    })();
    channel.expect("an undisturbed setup")
}
