//! Setup messages and responses in the 0.3 form: each line starts with the version.
//! draft-ietf-idwg-iap-01 sections 4.3.1 to 4.3.4.

use bytes::BufMut;

use super::cursor::Cursor;
use super::head::{Line, complete, lines};
use super::{DecodeError, DecodeErrorKind, Syntax, http_like};
use crate::error::Limit;
use crate::message::{ChannelSetup, Connect, DataRole, Dialect, Form, Host, Response, SetupRequest, Upgrade, Version};

impl SetupRequest {
    /// Reads a setup request from the front of `input`, and says how long it is.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Incomplete`] when its end is not in; otherwise what is wrong, and where.
    pub fn decode(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        Self::decode_with(input, &Syntax::default())
    }

    /// As [`decode`](Self::decode), by other rules than the default ones.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with(input: &[u8], syntax: &Syntax) -> Result<(Self, usize), DecodeError> {
        let len = complete(input, false, syntax)?;
        let mut lines = lines(input.get(..len).unwrap_or_default());
        let first = lines.next().ok_or(DecodeError::new(DecodeErrorKind::NotIap, 0))?;
        let mut cursor = Cursor::new(first, syntax);
        let request = match cursor.version() {
            Some(version) => prefixed(version, cursor, lines, syntax)?,
            None => http_like::request(cursor, lines, syntax)?,
        };
        Ok((request, len))
    }

    /// Writes it, in the form of its dialect.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Upgrade(upgrade) => upgrade.encode(out),
            Self::ChannelSetup(channel) => channel.encode(out),
        }
    }

    /// For errors and logs: `connect`, `upgrade` or `channel setup`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Upgrade(_) => "upgrade",
            Self::ChannelSetup(_) => "channel setup",
        }
    }
}

fn prefixed<'a>(
    version: Version,
    mut first: Cursor<'a>,
    mut rest: impl Iterator<Item = Line<'a>>,
    syntax: &'a Syntax,
) -> Result<SetupRequest, DecodeError> {
    let dialect = Dialect::new(Form::Prefixed, version);
    first.space()?;
    if first.keyword("CONNECT") {
        first.space()?;
        let (host, port) = if syntax.compat.port_in_connect { first.host_and_port()? } else { (first.host()?, None) };
        first.end(DecodeErrorKind::UnexpectedText)?;
        let mut connect = Connect { port, ..Connect::new(dialect, host) };
        for line in rest {
            connect.via.push(via(line, version, connect.via.len(), syntax)?);
        }
        return Ok(SetupRequest::Connect(connect));
    }
    if first.header("Upgrade")? {
        let tls_minor = tls_token(&mut first, syntax)?;
        first.end(DecodeErrorKind::UnexpectedText)?;
        no_more(rest)?;
        return Ok(SetupRequest::Upgrade(Upgrade { dialect, tls_minor }));
    }
    if first.header("IAP-Version")? {
        let stated = first.dotted()?;
        first.end(DecodeErrorKind::Version)?;
        let line = rest.next().ok_or_else(|| first.error(DecodeErrorKind::MissingRole))?;
        let mut cursor = Cursor::new(line, syntax);
        if syntax.compat.prefix_on_every_line && same_version(&mut cursor, version)? {
            cursor.space()?;
        }
        if !cursor.header("IAP-Role")? {
            return Err(cursor.error(DecodeErrorKind::MissingRole));
        }
        let role = role(&mut cursor)?;
        no_more(rest)?;
        return Ok(SetupRequest::ChannelSetup(ChannelSetup { dialect, version: stated, role }));
    }
    Err(first.error(DecodeErrorKind::UnknownRequest))
}

/// `TLS/1.0`, or a later one if allowed; gives the minor number.
pub(super) fn tls_token(cursor: &mut Cursor<'_>, syntax: &Syntax) -> Result<u8, DecodeError> {
    let newest = if syntax.compat.newer_tls_token { 3 } else { 0 };
    ["TLS/1.0", "TLS/1.1", "TLS/1.2", "TLS/1.3"]
        .into_iter()
        .zip(0..=newest)
        .find_map(|(token, minor)| cursor.keyword(token).then_some(minor))
        .ok_or_else(|| cursor.error(DecodeErrorKind::TlsToken))
}

/// `Sender` or `Receiver`, and nothing behind it.
pub(super) fn role(cursor: &mut Cursor<'_>) -> Result<DataRole, DecodeError> {
    let at = *cursor;
    std::str::from_utf8(cursor.rest())
        .ok()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| at.error(DecodeErrorKind::Role))
}

/// Whether the line goes on with a version. If so it must be that of the message: its lines cannot be of two minds.
fn same_version(cursor: &mut Cursor<'_>, version: Version) -> Result<bool, DecodeError> {
    let at = *cursor;
    match cursor.version() {
        Some(other) if other != version => Err(at.error(DecodeErrorKind::Version)),
        stated => Ok(stated.is_some()),
    }
}

fn via(line: Line<'_>, version: Version, seen: usize, syntax: &Syntax) -> Result<Host, DecodeError> {
    let mut cursor = Cursor::new(line, syntax);
    if !same_version(&mut cursor, version)? {
        return Err(cursor.error(DecodeErrorKind::UnexpectedLine));
    }
    cursor.space()?;
    if !cursor.header("Via")? {
        if !(syntax.compat.via_without_colon && cursor.keyword("VIA")) {
            return Err(cursor.error(DecodeErrorKind::UnexpectedLine));
        }
        cursor.space()?;
    }
    if seen >= syntax.limits.via {
        return Err(cursor.error(DecodeErrorKind::Limit(Limit::Via)));
    }
    let host = cursor.host()?;
    cursor.end(DecodeErrorKind::UnexpectedText)?;
    Ok(host)
}

fn no_more<'a>(mut rest: impl Iterator<Item = Line<'a>>) -> Result<(), DecodeError> {
    match rest.next() {
        None => Ok(()),
        Some(line) => Err(DecodeError::new(DecodeErrorKind::UnexpectedLine, line.offset)),
    }
}

impl Response {
    /// Reads a response from the front of `input`, and says how long it is.
    ///
    /// # Errors
    /// [`DecodeErrorKind::Incomplete`] when its end is not in; otherwise what is wrong, and where.
    pub fn decode(input: &[u8]) -> Result<(Self, usize), DecodeError> {
        Self::decode_with(input, &Syntax::default())
    }

    /// As [`decode`](Self::decode), by other rules than the default ones.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with(input: &[u8], syntax: &Syntax) -> Result<(Self, usize), DecodeError> {
        let len = complete(input, false, syntax)?;
        let mut lines = lines(input.get(..len).unwrap_or_default());
        let first = lines.next().ok_or(DecodeError::new(DecodeErrorKind::NotIap, 0))?;
        let mut cursor = Cursor::new(first, syntax);
        let version = cursor.version().ok_or_else(|| cursor.error(DecodeErrorKind::NotIap))?;
        cursor.space()?;
        let status = cursor.status()?;
        if !cursor.is_at_end() {
            if !syntax.compat.reason_phrase {
                return Err(cursor.error(DecodeErrorKind::UnexpectedText));
            }
            cursor.space()?;
        }
        // The first line looks alike in both forms. A Via line tells them apart; without one the version does, since
        // only the drafts after 0.3 write like HTTP. A later version may still use the 0.3 form: proxies that do not
        // know it write it back as they got it.
        let mut lines = lines.peekable();
        let later = version > Dialect::V0_3.version;
        let prefixed = lines.peek().is_some_and(|line| Cursor::new(*line, syntax).version().is_some());
        let form = if later && !prefixed { Form::HttpLike } else { Form::Prefixed };
        let mut response = Self::new(Dialect::new(form, version), status);
        for line in lines {
            let seen = response.via.len();
            if form == Form::Prefixed {
                response.via.push(via(line, version, seen, syntax)?);
            } else if let Some(host) = http_like::via(line, seen, syntax)? {
                response.via.push(host);
            }
        }
        Ok((response, len))
    }

    /// Writes it, in the form of its dialect.
    pub fn encode(&self, out: &mut impl BufMut) {
        prefix(self.dialect, out);
        let code = self.status.code();
        for digit in [code / 100, code / 10 % 10, code % 10] {
            // A status has three digits, so each is below ten.
            out.put_u8(b'0'.saturating_add(u8::try_from(digit).unwrap_or_default()));
        }
        out.put_slice(b"\r\n");
        put_via(self.dialect, &self.via, out);
        out.put_slice(b"\r\n");
    }
}

impl Connect {
    /// Writes it, in the form of its dialect.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self.dialect.form {
            Form::Prefixed => {
                prefix(self.dialect, out);
                put(out, &["CONNECT ", self.host.as_str(), "\r\n"]);
                put_via(self.dialect, &self.via, out);
                out.put_slice(b"\r\n");
            }
            Form::HttpLike => http_like::put_connect(self, out),
        }
    }
}

impl Upgrade {
    /// Writes it, in the form of its dialect.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self.dialect.form {
            Form::Prefixed => prefix(self.dialect, out),
            Form::HttpLike => http_like::put_configuration_line(self.dialect, out),
        }
        let token = match self.tls_minor {
            0 => "TLS/1.0",
            1 => "TLS/1.1",
            2 => "TLS/1.2",
            _ => "TLS/1.3",
        };
        put(out, &["Upgrade: ", token, "\r\n\r\n"]);
    }
}

impl ChannelSetup {
    /// Writes it, in the form of its dialect.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self.dialect.form {
            Form::Prefixed => prefix(self.dialect, out),
            Form::HttpLike => http_like::put_configuration_line(self.dialect, out),
        }
        put(out, &["IAP-Version: "]);
        put_version(self.version, out);
        put(out, &["\r\nIAP-Role: ", if self.role == DataRole::Sender { "Sender" } else { "Receiver" }, "\r\n\r\n"]);
    }
}

/// `IAP/0.3 `, with its space.
fn prefix(dialect: Dialect, out: &mut impl BufMut) {
    put_iap_version(dialect, out);
    out.put_u8(b' ');
}

/// `IAP/0.3`.
pub(super) fn put_iap_version(dialect: Dialect, out: &mut impl BufMut) {
    if dialect.version == Dialect::V0_3.version {
        out.put_slice(b"IAP/0.3");
    } else {
        out.put_slice(b"IAP/");
        put_version(dialect.version, out);
    }
}

fn put_version(version: Version, out: &mut impl BufMut) {
    out.put_slice(version.to_string().as_bytes());
}

fn put_via(dialect: Dialect, via: &[Host], out: &mut impl BufMut) {
    for host in via {
        if dialect.form == Form::Prefixed {
            prefix(dialect, out);
        }
        put(out, &["Via: ", host.as_str(), "\r\n"]);
    }
}

pub(super) fn put(out: &mut impl BufMut, texts: &[&str]) {
    for text in texts {
        out.put_slice(text.as_bytes());
    }
}
