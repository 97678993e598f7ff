//! The form of the later drafts (IAP/0.4 and 0.5): request lines and headers as in HTTP. draft-ietf-idwg-iap-03
//! to -05. Targets are read as any of those drafts shows them, and written as -05 does.

use bytes::BufMut;

use super::cursor::Cursor;
use super::head::Line;
use super::setup::{put, put_iap_version, role, tls_token};
use super::{DecodeError, DecodeErrorKind, Syntax};
use crate::error::Limit;
use crate::message::{ChannelSetup, Connect, Dialect, Form, Host, SetupRequest, Upgrade};

/// Reads a setup request whose first line did not start with a version.
pub(super) fn request<'a>(
    mut first: Cursor<'a>,
    lines: impl Iterator<Item = Line<'a>>,
    syntax: &'a Syntax,
) -> Result<SetupRequest, DecodeError> {
    if first.keyword("CONNECT") {
        first.space()?;
        let (host, port) = first.host_and_port()?;
        let dialect = version_at_end(&mut first)?;
        let mut connect = Connect { port, ..Connect::new(dialect, host) };
        for line in lines {
            let mut cursor = Cursor::new(line, syntax);
            let name = cursor.any_header()?;
            if name.eq_ignore_ascii_case(b"Via") {
                connect.via.push(via_value(cursor, connect.via.len(), syntax)?);
            } else if name.eq_ignore_ascii_case(b"Source") {
                let at = cursor;
                if connect.source.replace(cursor.host_and_port()?.0).is_some() {
                    return Err(at.error(DecodeErrorKind::RepeatedHeader));
                }
                cursor.end(DecodeErrorKind::UnexpectedText)?;
            }
        }
        return Ok(SetupRequest::Connect(connect));
    }
    let dialect = put_line(&mut first, &CONFIGURATION_TARGETS)?;
    configuration(dialect, first, lines, syntax)
}

/// Upgrade and channel setup share their request line; a header tells which it is.
fn configuration<'a>(
    dialect: Dialect,
    first: Cursor<'a>,
    lines: impl Iterator<Item = Line<'a>>,
    syntax: &'a Syntax,
) -> Result<SetupRequest, DecodeError> {
    let (mut tls_minor, mut version, mut data_role) = (None, None, None);
    for line in lines {
        let mut cursor = Cursor::new(line, syntax);
        let name = cursor.any_header()?;
        let at = cursor;
        let repeated = if name.eq_ignore_ascii_case(b"Upgrade") {
            let minor = tls_token(&mut cursor, syntax)?;
            cursor.end(DecodeErrorKind::UnexpectedText)?;
            tls_minor.replace(minor).is_some()
        } else if name.eq_ignore_ascii_case(b"IAP-Version") {
            let stated = cursor.dotted()?;
            cursor.end(DecodeErrorKind::Version)?;
            version.replace(stated).is_some()
        } else if name.eq_ignore_ascii_case(b"IAP-Role") {
            data_role.replace(role(&mut cursor)?).is_some()
        } else {
            false
        };
        if repeated {
            return Err(at.error(DecodeErrorKind::RepeatedHeader));
        }
    }
    match (tls_minor, version, data_role) {
        (Some(tls_minor), None, None) => Ok(SetupRequest::Upgrade(Upgrade { dialect, tls_minor })),
        (None, Some(version), Some(role)) => Ok(SetupRequest::ChannelSetup(ChannelSetup { dialect, version, role })),
        (None, Some(_), None) => Err(first.error(DecodeErrorKind::MissingRole)),
        _ => Err(first.error(DecodeErrorKind::UnknownRequest)),
    }
}

/// Where setup requests go: the grammar of -03 says /idmef/config/, its example and all later drafts /iap/config/.
const CONFIGURATION_TARGETS: [&str; 2] = ["/iap/config", "/idmef/config"];
/// Where alerts go: /iap/alert in the grammars, /iap/event in the example of -03.
pub(super) const ALERT_TARGETS: [&str; 3] = ["/iap/alert", "/iap/event", "/idmef/alert"];

/// `PUT target IAP/0.5`, to one of these targets, with or without a slash at its end.
pub(super) fn put_line(cursor: &mut Cursor<'_>, targets: &[&str]) -> Result<Dialect, DecodeError> {
    if !cursor.keyword("PUT") {
        return Err(cursor.error(DecodeErrorKind::NotIap));
    }
    cursor.space()?;
    let at = *cursor;
    let word = cursor.word();
    let target = word.strip_suffix(b"/").unwrap_or(word);
    if !targets.iter().any(|known| known.as_bytes() == target) {
        return Err(at.error(DecodeErrorKind::Target));
    }
    version_at_end(cursor)
}

fn version_at_end(cursor: &mut Cursor<'_>) -> Result<Dialect, DecodeError> {
    if cursor.is_at_end() {
        return Err(cursor.error(DecodeErrorKind::Version));
    }
    cursor.space()?;
    let version = cursor.version().ok_or_else(|| cursor.error(DecodeErrorKind::Version))?;
    cursor.end(DecodeErrorKind::UnexpectedText)?;
    Ok(Dialect::new(Form::HttpLike, version))
}

/// The host of a response's Via header; nothing for any other header.
pub(super) fn via(line: Line<'_>, seen: usize, syntax: &Syntax) -> Result<Option<Host>, DecodeError> {
    let mut cursor = Cursor::new(line, syntax);
    let name = cursor.any_header()?;
    if name.eq_ignore_ascii_case(b"Via") { via_value(cursor, seen, syntax).map(Some) } else { Ok(None) }
}

fn via_value(mut cursor: Cursor<'_>, seen: usize, syntax: &Syntax) -> Result<Host, DecodeError> {
    if seen >= syntax.limits.via {
        return Err(cursor.error(DecodeErrorKind::Limit(Limit::Via)));
    }
    let host = cursor.host()?;
    cursor.end(DecodeErrorKind::UnexpectedText)?;
    Ok(host)
}

pub(super) fn put_connect(connect: &Connect, out: &mut impl BufMut) {
    put(out, &["CONNECT "]);
    put_host(connect, out);
    out.put_u8(b' ');
    put_iap_version(connect.dialect, out);
    put(out, &["\r\nHost: "]);
    put_host(connect, out);
    put(out, &["\r\n"]);
    if let Some(source) = &connect.source {
        put(out, &["Source: ", source.as_str(), "\r\n"]);
    }
    for host in &connect.via {
        put(out, &["Via: ", host.as_str(), "\r\n"]);
    }
    put(out, &["\r\n"]);
}

fn put_host(connect: &Connect, out: &mut impl BufMut) {
    put(out, &[connect.host.as_str()]);
    if let Some(port) = connect.port {
        put(out, &[":", &port.to_string()]);
    }
}

pub(super) fn put_configuration_line(dialect: Dialect, out: &mut impl BufMut) {
    put(out, &["PUT /iap/config/ "]);
    put_iap_version(dialect, out);
    put(out, &["\r\n"]);
}

pub(super) fn put_alert_line(dialect: Dialect, out: &mut impl BufMut) {
    put(out, &["PUT /iap/alert "]);
    put_iap_version(dialect, out);
    put(out, &["\r\n"]);
}
