//! A proxy as a program has it: the machine, and the pipe it becomes.

use std::sync::Arc;

use iap_proto::{Config, Proxy, ProxyEvent, Side, Status};
use watchfire_core::{Eof, Instant, Machine as _, Output};

use super::network::{LEFT, RIGHT, Said};

pub(super) struct Relay {
    proxy: Proxy,
    /// Says no, whoever asks.
    refuses: bool,
    piped: bool,
    over: bool,
    /// Which sides have ended.
    ended: [bool; 2],
    wake: Option<Instant>,
    said: Vec<Said>,
}

impl Relay {
    pub(super) fn new(number: u8, refuses: bool) -> Self {
        let name = format!("P{number}.example").parse().expect("a host");
        Self {
            proxy: Proxy::new(Arc::new(Config::manager()), Arc::from([name]), Instant::ZERO),
            refuses,
            piped: false,
            over: false,
            ended: [false; 2],
            wake: None,
            said: Vec::new(),
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Vec<Said> {
        while !self.piped && !self.over {
            match self.proxy.poll_output(now) {
                Output::Transmit(transmit) => {
                    let side = if transmit.to == Side::Initiator { LEFT } else { RIGHT };
                    self.said.push(Said::Octets(side, transmit.octets.to_vec()));
                }
                Output::Event(ProxyEvent::Connect(_)) if self.refuses => {
                    self.proxy.refuse(now, Status::FORBIDDEN).expect("a request waits");
                }
                Output::Event(ProxyEvent::Connect(_)) => self.proxy.accept(now).expect("a request waits"),
                Output::Event(ProxyEvent::Dial) => self.proxy.dialled(now).expect("dialling was asked for"),
                Output::Event(ProxyEvent::Pipe { .. }) => self.piped = true,
                Output::Event(ProxyEvent::Closed { .. }) => {
                    self.over = true;
                    self.said.extend([Said::Shut(LEFT), Said::Shut(RIGHT)]);
                }
                Output::Event(_) => {}
                Output::Timeout(wake) => {
                    self.wake = wake;
                    break;
                }
            }
        }
        std::mem::take(&mut self.said)
    }

    pub(super) fn input(&mut self, now: Instant, side: usize, octets: &[u8]) {
        if self.piped {
            self.said.push(Said::Octets(1 - side, octets.to_vec()));
        } else {
            // Errors are told by the last event as well.
            let _ = self.proxy.handle_input(now, from(side), octets);
        }
    }

    pub(super) fn eof(&mut self, now: Instant, side: usize, eof: Eof) {
        if !self.piped {
            let _ = self.proxy.handle_eof(now, from(side), eof);
            return;
        }
        self.ended[side] = true;
        self.said.push(if eof == Eof::Closed { Said::Shut(1 - side) } else { Said::Break(1 - side) });
        self.over = eof == Eof::Truncated || self.ended == [true; 2];
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        if self.piped { None } else { self.wake }
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        let _ = self.proxy.handle_timeout(now);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over && self.said.is_empty()
    }
}

fn from(side: usize) -> Side {
    if side == LEFT { Side::Initiator } else { Side::Responder }
}
