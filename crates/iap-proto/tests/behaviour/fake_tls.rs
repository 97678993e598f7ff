//! Something with the shape of TLS: a handshake that the client begins, sealed records, a close_notify. It keeps the
//! boundary honest: clear text that reaches it, and sealed octets that reach a machine, end the test.

use iap_proto::TlsRole;

const CLIENT_HELLO: u8 = 22;
const SERVER_HELLO: u8 = 23;
const SEALED: u8 = 24;
const CLOSE_NOTIFY: u8 = 25;

#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The handshake is done.
    Started,
    /// Opened octets.
    Octets(Vec<u8>),
    /// The peer's close_notify.
    Goodbye,
}

#[derive(Debug)]
pub struct FakeTls {
    role: TlsRole,
    pending: Vec<u8>,
    started: bool,
}

impl FakeTls {
    /// Begins a handshake; gives what to send.
    pub fn start(role: TlsRole) -> (Self, Vec<u8>) {
        let hello = if role == TlsRole::Client { record(CLIENT_HELLO, b"hello\r\n\r\n") } else { Vec::new() };
        (Self { role, pending: Vec::new(), started: false }, hello)
    }

    pub fn is_started(&self) -> bool {
        self.started
    }

    pub fn seal(&self, octets: &[u8]) -> Vec<u8> {
        assert!(self.started, "sealed before the handshake was done");
        let sealed: Vec<u8> = octets.iter().map(|octet| octet ^ 0xa5).collect();
        sealed.chunks(16_000).flat_map(|piece| record(SEALED, piece)).collect()
    }

    pub fn goodbye(&self) -> Vec<u8> {
        record(CLOSE_NOTIFY, b"")
    }

    /// Takes octets from the wire; gives the next thing heard and what to send for it.
    pub fn push(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
    }

    pub fn next(&mut self) -> Option<(Heard, Vec<u8>)> {
        let (&[kind, high, low], rest) = self.pending.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let body = rest.get(..len)?.to_vec();
        self.pending.drain(..3 + len);
        Some(match (kind, self.role, self.started) {
            (CLIENT_HELLO, TlsRole::Server, false) => {
                self.started = true;
                (Heard::Started, record(SERVER_HELLO, b"hello"))
            }
            (SERVER_HELLO, TlsRole::Client, false) => {
                self.started = true;
                (Heard::Started, Vec::new())
            }
            (SEALED, _, true) => (Heard::Octets(body.iter().map(|octet| octet ^ 0xa5).collect()), Vec::new()),
            (CLOSE_NOTIFY, _, true) => (Heard::Goodbye, Vec::new()),
            other => panic!("this is no tls: {other:?} {body:?}"),
        })
    }
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, high, low], body].concat()
}
