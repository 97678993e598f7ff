//! IAP octets: every decoder of `iap_proto::wire`, under every preset of [`Compat`] and in both forms.

use iap_proto::message::{ContentHeader, Form, Response, SetupRequest};
use iap_proto::wire::{DecodeError, DecodeErrorKind, HeadFramer, Syntax};
use iap_proto::{Compat, Dialect, Limits};

const DIALECTS: [Dialect; 3] = [Dialect::V0_3, Dialect::V0_4, Dialect::V0_5];

/// Decodes `data` as each message there is.
pub fn run(data: &[u8]) {
    for compat in [Compat::strict(), Compat::tolerant(), Compat::liberal()] {
        let syntax = Syntax::new(compat, Limits::default());
        setup_request(data, &syntax);
        response(data, &syntax);
        for dialect in DIALECTS {
            content_header(data, dialect, &syntax);
        }
        the_short_way_agrees_with_the_long_one(data, compat);
        for content in [false, true] {
            framing(data, content, &syntax);
        }
        tight_limits(data, compat);
    }
}

/// What is written is strict, but for the one switch that says what the upgrade token may be.
fn written() -> Syntax {
    let mut compat = Compat::strict();
    compat.newer_tls_token = true;
    Syntax::new(compat, Limits::default())
}

fn setup_request(data: &[u8], syntax: &Syntax) {
    let Some((mut request, len)) = checked(data, |octets| SetupRequest::decode_with(octets, syntax)) else { return };
    let mut octets = Vec::new();
    request.encode(&mut octets);
    // The 0.3 form reads a port when told to be liberal, and never writes it.
    if let SetupRequest::Connect(connect) = &mut request
        && connect.dialect.form == Form::Prefixed
    {
        connect.port = None;
    }
    assert_eq!(SetupRequest::decode_with(&octets, &written()), Ok((request, octets.len())), "read from {len} octets");
}

fn response(data: &[u8], syntax: &Syntax) {
    let Some((response, len)) = checked(data, |octets| Response::decode_with(octets, syntax)) else { return };
    let mut octets = Vec::new();
    response.encode(&mut octets);
    assert_eq!(Response::decode_with(&octets, &written()), Ok((response, octets.len())), "read from {len} octets");
}

fn content_header(data: &[u8], dialect: Dialect, syntax: &Syntax) {
    let read = |octets: &[u8]| ContentHeader::decode_with(octets, dialect, syntax);
    let Some((header, len)) = checked(data, read) else { return };
    let mut octets = Vec::new();
    header.encode(dialect, &mut octets);
    let again = ContentHeader::decode_with(&octets, dialect, &written());
    assert_eq!(again, Ok((header, octets.len())), "read from {len} octets");
}

/// Decodes, and checks what is true of every decoder: errors point into the input; a message says its own length, and
/// is neither complete before its end nor another one when more follows.
fn checked<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<(T, usize), DecodeError>,
) -> Option<(T, usize)> {
    let (message, len) = match decode(data) {
        Ok(read) => read,
        Err(error) => {
            assert!(error.offset <= data.len(), "{error} is behind the end, {}", data.len());
            let _ = error.to_string();
            return None;
        }
    };
    assert!((1..=data.len()).contains(&len), "{len} octets of {}", data.len());
    for cut in [len - 1, len / 2, 0] {
        let kind = decode(&data[..cut]).map_err(|error| error.kind);
        assert_eq!(kind, Err(DecodeErrorKind::Incomplete), "{cut} octets of {len}");
    }
    // One octet behind the header may be needed to see that its empty line is missing.
    let shown = data.len().min(len + 1);
    assert_eq!(decode(&data[..shown]), Ok((message, len)));
    decode(data).ok()
}

/// A line limit below the length of the whole header, but not of any line in it, leads the decoder the long way.
fn the_short_way_agrees_with_the_long_one(data: &[u8], compat: Compat) {
    let end = data.windows(4).position(|octets| octets == b"\r\n\r\n").map_or(data.len(), |at| at + 4);
    let longest = data[..end].split(|octet| *octet == b'\n').map(|line| line.len() + 2).max().unwrap_or(2);
    if longest > Limits::default().line {
        return;
    }
    let mut limits = Limits::default();
    limits.line = longest;
    let read = |limits| ContentHeader::decode_with(&data[..end], Dialect::V0_3, &Syntax::new(compat, limits));
    assert_eq!(read(Limits::default()), read(limits), "the general path on the right");
}

/// The framer says the same however the octets come.
fn framing(data: &[u8], content: bool, syntax: &Syntax) {
    let whole = HeadFramer::default().find_end(data, content, syntax);
    let seed = data.iter().fold(data.len(), |sum, octet| sum.wrapping_mul(31).wrapping_add(usize::from(*octet)));
    for step in [1, 2 + seed % 13] {
        let mut framer = HeadFramer::default();
        let mut ends = (0..data.len()).step_by(step).chain([data.len()]);
        let piecewise = ends.find_map(|end| match framer.find_end(&data[..end], content, syntax) {
            Ok(None) => None,
            found => Some(found),
        });
        assert_eq!(piecewise.unwrap_or(Ok(None)), whole, "in pieces of {step}");
    }
}

/// Under smaller limits the same is read, or nothing.
fn tight_limits(data: &[u8], compat: Compat) {
    let mut limits = Limits::default();
    (limits.line, limits.lines, limits.via) = (40, 3, 1);
    let (tight, loose) = (Syntax::new(compat, limits), Syntax::new(compat, Limits::default()));
    if let Ok(read) = SetupRequest::decode_with(data, &tight) {
        assert_eq!(SetupRequest::decode_with(data, &loose), Ok(read));
    }
    if let Ok(read) = Response::decode_with(data, &tight) {
        assert!(read.0.via.len() <= 1);
        assert_eq!(Response::decode_with(data, &loose), Ok(read));
    }
    for dialect in DIALECTS {
        if let Ok(read) = ContentHeader::decode_with(data, dialect, &tight) {
            assert_eq!(ContentHeader::decode_with(data, dialect, &loose), Ok(read));
        }
    }
}
