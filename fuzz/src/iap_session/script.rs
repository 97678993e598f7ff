//! What a fuzzer's octets mean: a configuration, and what a driver and a peer do, in order.
//!
//! One octet says what is done and the next ones with what, so that a mutation stays local and a seed can be written
//! by hand. Octets that are not there are zero.

use std::num::NonZeroUsize;

use arbitrary::{Arbitrary, Result, Unstructured};
use iap_proto::message::{ChannelSetup, Connect, Response, Upgrade};
use iap_proto::{Limits, Timeouts, Compat, Config, DataRole, Dialect, Host, MediaType, Party, Status};

/// Which machine begins, or which stream is read whole and in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Initiator,
    Responder,
    Proxy,
    Sender,
    Receiver,
    PiecesForSender,
    PiecesForReceiver,
}

impl Start {
    pub(crate) const ALL: [Self; 7] = [
        Self::Initiator,
        Self::Responder,
        Self::Proxy,
        Self::Sender,
        Self::Receiver,
        Self::PiecesForSender,
        Self::PiecesForReceiver,
    ];
}

/// A whole run.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) start: Start,
    pub(crate) config: Config,
    /// The one that the peer's well-formed messages are in.
    pub(crate) dialect: Dialect,
    pub(crate) role: DataRole,
    /// Run twice, and compare.
    pub(crate) twice: bool,
    pub(crate) operations: Vec<Operation>,
}

/// One thing that a driver, its application or the peer does.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Any octets from the peer.
    Input(Vec<u8>),
    /// A message of the catalogue with one octet changed, perhaps, in pieces.
    Message {
        which: u8,
        at: u8,
        change: u8,
        piece: u8,
    },
    /// The clock goes on, or back, by tenths of a second.
    Clock {
        tenths: i16,
    },
    /// The time-out comes.
    Timeout,
    Eof {
        truncated: bool,
    },
    Drain,
    /// An answer to an event of the setup.
    Decide {
        which: u8,
        status: Status,
    },
    Send {
        len: usize,
        other_type: bool,
    },
    Respond {
        which: u8,
        status: Status,
    },
    Finish,
    Close,
    Urgent,
}

fn octet(u: &mut Unstructured<'_>) -> u8 {
    u.arbitrary().unwrap_or(0)
}

fn status(octet: u8) -> Status {
    let code =
        [200, 200, 200, 403, 503, 413, 101, 302, 202, 599, 100, 500, 429, 400, 250, 408][usize::from(octet % 16)];
    Status::new(code).expect("all of these are status codes")
}

impl<'a> Arbitrary<'a> for Operation {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match octet(u) % 16 {
            0 => {
                let len = usize::from(octet(u)).min(u.len());
                Self::Input(u.bytes(len)?.to_vec())
            }
            1 | 12 | 13 => Self::Message { which: octet(u), at: octet(u), change: octet(u), piece: octet(u) },
            2 => Self::Clock { tenths: i16::from_be_bytes([octet(u), octet(u)]) },
            3 => Self::Timeout,
            4 => Self::Eof { truncated: octet(u) % 2 == 1 },
            5 | 14 => Self::Drain,
            6 | 15 => Self::Decide { which: octet(u), status: status(octet(u)) },
            7 => Self::Send { len: usize::from(octet(u)) * 7, other_type: octet(u) % 4 == 3 },
            8 => Self::Respond { which: octet(u), status: status(octet(u)) },
            9 => Self::Finish,
            10 => Self::Close,
            _ => Self::Urgent,
        })
    }
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (start, flags, form, limits) = (octet(u), octet(u), octet(u), octet(u));
        let party = if flags & 1 == 0 { Party::Analyzer } else { Party::Manager };
        let role = if flags & 2 == 0 { DataRole::Sender } else { DataRole::Receiver };
        let dialect = [Dialect::V0_3, Dialect::V0_3, Dialect::V0_5, Dialect::V0_4][usize::from(form % 4)];
        let mut config = Config::builder(party)
            .with_commands(true)
            .with_tls(flags & 4 == 0)
            .with_dialects(if flags & 8 == 0 { vec![dialect] } else { vec![dialect, Dialect::V0_3, Dialect::V0_5] })
            .with_window(NonZeroUsize::new(1 + usize::from(limits % 5)).expect("at least one"))
            .with_accept(if flags & 16 == 0 { vec![MediaType::IDEF_ALERT, MediaType::JSON] } else { Vec::new() })
            .with_compat(compat(form));
        if flags & 32 != 0 {
            config = config.with_served_names(vec![host("M.DOM.ORG")]);
        }
        if flags & 64 != 0 {
            let sizes = Limits::default().with_line(64).with_lines(4).with_via(1).with_body(300).with_max_buffered(200);
            let unanswered = usize::from(limits / 5 % 4);
            config = config.with_limits(sizes.with_unanswered(unanswered).with_unanswered_octets(400));
        }
        if flags & 128 != 0 {
            config = config.with_timeouts(Timeouts::default().with_idle(watchfire_core::Duration::from_secs(20)));
        }
        let mut operations = Vec::new();
        while !u.is_empty() && operations.len() < 200 {
            operations.push(u.arbitrary()?);
        }
        let start = Start::ALL[usize::from(start) % Start::ALL.len()];
        let config = config.build().expect("every script has a configuration that can be");
        Ok(Self { start, config, dialect, role, twice: limits >= 192, operations })
    }
}

/// A preset, or a preset with one switch turned.
fn compat(form: u8) -> Compat {
    let mut compat = [Compat::tolerant(), Compat::strict(), Compat::liberal()][usize::from(form / 4 % 3)];
    match form / 12 {
        13 => compat.early_client_hello = true,
        14 => compat.any_trailer ^= true,
        15 => compat.missing_blank_line ^= true,
        16 => compat.higher_minor ^= true,
        17 => compat.any_header_order ^= true,
        18 => compat.reason_phrase ^= true,
        _ => {}
    }
    compat
}

pub(crate) fn host(name: &str) -> Host {
    name.parse().expect("a host")
}

/// How many messages the catalogue has.
pub(crate) const CATALOGUE: u8 = 20;

/// Messages that a peer may send, well-formed or nearly so.
pub(crate) fn message(which: u8, dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    let answer = |code, out: &mut Vec<u8>| {
        Response::new(dialect, Status::new(code).expect("a status code")).encode(out);
    };
    match which % CATALOGUE {
        0 => Connect::new(dialect, host("M.DOM.ORG")).encode(&mut out),
        1 => Upgrade::new(dialect).encode(&mut out),
        2 => ChannelSetup::new(dialect, DataRole::Sender).encode(&mut out),
        3 => ChannelSetup::new(dialect, DataRole::Receiver).encode(&mut out),
        4 => answer(200, &mut out),
        5 => answer(101, &mut out),
        6 => answer(403, &mut out),
        7 => {
            answer(200, &mut out);
            answer(503, &mut out);
            answer(413, &mut out);
        }
        8 => out = content(dialect, "application/x-idef-alert", b"<a/>"),
        9 => out = content(dialect, "text/plain; x=y", b"ab"),
        10 => out = content(dialect, "application/json", b""),
        11 => out = content(dialect, "application/x-idef-alert", &[b'x'; 299]),
        12 => out = b"Content-Type: application/x-idef-alert\r\nContent-Length: 3\r\n<a>\r\n\r\n\r\n".to_vec(),
        13 => out = b"Content-Length: 2\r\nX: y\r\nContent-Type:  application/x-idef-alert\r\n\r\nab\r\n".to_vec(),
        14 => {
            let mut connect = Connect::new(dialect, host("m.dom.org."));
            connect.via = vec![host("P.DOM.ORG"), host("Q")];
            connect.encode(&mut out);
        }
        15 => {
            let mut response = Response::new(dialect, Status::OK);
            response.via = vec![host("P.DOM.ORG")];
            response.encode(&mut out);
        }
        16 => out = b"IAP/0.3 200 OK\r\n\r\n".to_vec(),
        17 => {
            for _ in 0..4 {
                out.extend(content(dialect, "application/x-idef-alert", b"\r\n\r\n"));
            }
        }
        18 => out = content(dialect, "application/octet-stream", &[b'y'; 500]),
        _ => out = b"\r\n".to_vec(),
    }
    out
}

/// A content as it stands on the wire.
fn content(dialect: Dialect, media: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let media = media.parse().expect("a media type");
    iap_proto::message::ContentHeader::new(media, body.len() as u64).encode(dialect, &mut out);
    out.extend_from_slice(body);
    if dialect == Dialect::V0_3 {
        out.extend_from_slice(b"\r\n\r\n");
    }
    out
}

impl Operation {
    /// The octets that come from the peer, in their pieces, if this is a matter of the peer's octets.
    pub(crate) fn octets(&self, dialect: Dialect) -> Option<Vec<Vec<u8>>> {
        match self {
            Self::Input(octets) => Some(vec![octets.clone()]),
            Self::Message { which, at, change, piece } => {
                let mut octets = message(*which, dialect);
                let at = usize::from(*at) % octets.len();
                match change % 8 {
                    5 => octets[at] = *at_octet(*change),
                    6 => octets.insert(at, *at_octet(*change)),
                    7 => drop(octets.remove(at)),
                    _ => {}
                }
                let piece = if *piece == 0 { octets.len().max(1) } else { usize::from(*piece) };
                Some(octets.chunks(piece).map(<[u8]>::to_vec).collect())
            }
            _ => None,
        }
    }
}

/// An octet that matters somewhere in the grammar.
fn at_octet(change: u8) -> &'static u8 {
    const OCTETS: &[u8] = b"\r\n \t:;/.,0123459ITPVxX[]\0\x7f\xff";
    &OCTETS[usize::from(change / 8) % OCTETS.len()]
}
