//! From what was found to a response. [RFC 7072 section 3.4](https://www.rfc-editor.org/rfc/rfc7072#section-3.4),
//! [RFC 9110 section 12](https://www.rfc-editor.org/rfc/rfc9110#section-12)

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use watchfire_core::UnixTime;

use super::dispatch::{Batch, Lookup, Server, problem};
use crate::lifetime::http_date;
use crate::panel::Weighing;
use crate::reputon::{ExtensionValue, Reputation, Reputon, Score};
use crate::vocabulary::Identity;
use crate::wire::{Dialect, Digits, Format};

/// The format to answer in; `None` when none will do.
pub(super) fn negotiate<'h>(
    accepts: impl Iterator<Item = &'h str>,
    format: Option<&str>,
    dialect: Dialect,
) -> Option<Format> {
    match format.map(str::to_ascii_lowercase).as_deref() {
        Some("xml") => return Some(Format::Xml),
        // Who says so speaks OpenDKIM of 2013, or means the RFC: the Accept field cannot tell either.
        Some("json") if dialect == Dialect::Draft2012 => return Some(Format::FlatJson),
        Some("json") => return Some(Format::Json),
        _ => {}
    }
    let default = if dialect == Dialect::Draft2012 { Format::Xml } else { Format::Json };
    let (mut json, mut xml, mut any, mut has_accept) = (None, None, None, false);
    for range in accepts.flat_map(|accept| accept.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        if name.is_empty() {
            continue;
        }
        has_accept = true;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(1000, thousandths);
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is(&["application/reputon+json"]) {
            json = json.max(Some(quality));
        } else if is(&["application/reputon"]) {
            xml = xml.max(Some(quality));
        } else if is(&["*/*", "application/*"]) {
            any = any.max(Some(quality));
        }
    }
    if !has_accept {
        return Some(default);
    }
    let json = json.or(any).unwrap_or(0);
    let xml = xml.or(any).unwrap_or(0);
    match json.cmp(&xml) {
        _ if json == 0 && xml == 0 => None,
        std::cmp::Ordering::Greater => Some(Format::Json),
        std::cmp::Ordering::Less => Some(Format::Xml),
        std::cmp::Ordering::Equal => Some(default),
    }
}

/// Whether a client says that it knows a media type of reputons, as those of RFC 7072 do and OpenDKIM does not.
pub(super) fn names_reputons<'h>(accepts: impl Iterator<Item = &'h str>) -> bool {
    let mut names = accepts.flat_map(|accept| accept.split(',')).filter_map(|range| range.split(';').next());
    names.any(|name| {
        let name = name.trim();
        name.eq_ignore_ascii_case("application/reputon+json") || name.eq_ignore_ascii_case("application/reputon")
    })
}

/// A quality value in thousandths; what is none is 0.
fn thousandths(quality: &str) -> u32 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let digits = format!("{whole}{:0<3}", fraction.get(..3).unwrap_or(fraction));
    if digits.len() == 4 { digits.parse().unwrap_or(0).min(1000) } else { 0 }
}

/// What names a body: the same body, the same name.
pub(super) struct Etag(Line);

impl Etag {
    /// A hash and the length: names tell versions of one resource apart, and hide nothing.
    pub(super) fn of(body: &[u8]) -> Self {
        let mix = |hash: u64, word: [u8; 8]| {
            (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let (words, rest) = body.as_chunks();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, octet)| *to = *octet);
        let hash = mix(words.iter().fold(0, |hash, word| mix(hash, *word)), last);
        Self(Line::of(format_args!("\"{:x}-{:016x}\"", body.len(), hash ^ (hash >> 32))))
    }

    fn is_in(&self, if_none_match: &HeaderValue) -> bool {
        let list = if_none_match.to_str().unwrap_or("");
        list.trim() == "*"
            || list.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == self.0.as_bytes())
    }
}

/// A short text, made without asking for memory.
struct Line {
    octets: [u8; 64],
    len: usize,
}

impl Line {
    /// The text, or what of it has room: more than enough for what is written here.
    fn of(text: fmt::Arguments<'_>) -> Self {
        let mut line = Self { octets: [0; 64], len: 0 };
        let _ = fmt::Write::write_fmt(&mut line, text);
        line
    }

    fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len.saturating_add(text.len());
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Sets a field to a short text.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: fmt::Arguments<'_>) {
    if let Ok(value) = HeaderValue::from_bytes(Line::of(value).as_bytes()) {
        headers.insert(name, value);
    }
}

/// Sets what says how long a response is good for.
pub(super) fn put_lifetime(headers: &mut HeaderMap, expires: UnixTime, seconds: u64) {
    put(headers, EXPIRES, format_args!("{}", http_date(expires)));
    put(headers, CACHE_CONTROL, format_args!("max-age={seconds}"));
}

/// The response with its body, or without where HEAD or If-None-Match say so.
pub(super) fn finish(
    mut response: Response<Bytes>,
    body: Bytes,
    etag: Etag,
    if_none_match: Option<&HeaderValue>,
    is_head: bool,
) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_bytes(etag.0.as_bytes()) {
        response.headers_mut().insert(ETAG, value);
    }
    if if_none_match.is_some_and(|list| etag.is_in(list)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
    } else if is_head {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, body.len().into());
    } else {
        *response.body_mut() = body;
    }
    response
}

impl Server {
    /// Answers a look-up with what the store has: reputons that [`Lookup::wants`] does not want are left out, as are
    /// expired ones. Nothing at all is said in the way that clients understand.
    pub fn respond(&self, now: UnixTime, lookup: &Lookup, found: Vec<Reputon<'_>>) -> Response<Bytes> {
        let reputons = self.prepare(now, lookup, found);
        self.write(now, lookup, reputons)
    }

    /// Answers a batch with what the store has for each of its look-ups, in their order.
    pub fn respond_batch(&self, now: UnixTime, batch: &Batch, found: Vec<Vec<Reputon<'_>>>) -> Response<Bytes> {
        let Some(first) = batch.lookups.first() else {
            return *problem(StatusCode::BAD_REQUEST, "an empty batch");
        };
        let mut found = found.into_iter();
        let each = batch.lookups.iter().map(|lookup| self.prepare(now, lookup, found.next().unwrap_or_default()));
        let reputons = each.collect::<Vec<_>>().concat();
        self.write(now, first, reputons)
    }

    fn prepare<'r>(&self, now: UnixTime, lookup: &Lookup, found: Vec<Reputon<'r>>) -> Vec<Reputon<'r>> {
        let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
        // What does not say when it was made is said to be of one time as long as an answer is good for: the same
        // answer has the same tag then.
        let lifetime = self.config.answer_lifetime.as_secs();
        let said_now = seconds.saturating_sub(seconds.checked_rem(lifetime).unwrap_or(0));
        let is_good =
            |reputon: &Reputon<'_>| lookup.wants(reputon) && reputon.expires.is_none_or(|expires| expires > seconds);
        let mut reputons = found;
        reputons.retain(is_good);
        for reputon in &mut reputons {
            // The name that was asked for is echoed, be it an old one.
            let is_asked = |asked: &&String| lookup.application.is_same_assertion(asked, &reputon.assertion);
            let asked = lookup.assertions.iter().find(is_asked).map(|asked| asked.to_ascii_lowercase());
            if let Some(asked) = asked.filter(|asked| *asked != reputon.assertion) {
                reputon.assertion = asked.into();
            }
        }
        let missing: Vec<&String> = lookup
            .assertions
            .iter()
            .filter(|asked| !reputons.iter().any(|reputon| reputon.assertion.eq_ignore_ascii_case(asked)))
            .collect();
        for asked in missing {
            // What no receiver mistakes for data: nothing counted, nothing sure.
            let reputon = Reputon::new(
                self.config.rater.clone(),
                asked.to_ascii_lowercase(),
                lookup.subject.as_str().to_owned(),
                Score::ZERO,
            );
            reputons.push(reputon.with_confidence(Score::ZERO).with_sample_size(0).with_generated(said_now));
        }
        if lookup.application.is("email-id") {
            for reputon in &mut reputons {
                self.complete(reputon, lookup, said_now);
            }
            if self.config.opendkim {
                // It takes what comes last, and DKIM is what it asks about.
                reputons.sort_by_key(|reputon| reputon.identity() == Some(Identity::Dkim));
            }
        }
        reputons
    }

    /// Both names of the identity; and what OpenDKIM reads without looking whether it is there. What is filled in is what
    /// a receiver takes for granted where nothing is said, so that it weighs the same with and without.
    fn complete(&self, reputon: &mut Reputon<'_>, lookup: &Lookup, now: u64) {
        // OpenDKIM asks about names, and wants to hear of DKIM; an address is not what DKIM identifies.
        let default = || match lookup.subject.as_str().parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Identity::Ipv4,
            Ok(IpAddr::V6(_)) => Identity::Ipv6,
            Err(_) => Identity::Dkim,
        };
        // What the data does not say is only said for OpenDKIM's sake.
        let assumed = lookup.is_opendkim.then(|| lookup.identity.unwrap_or_else(default));
        if let Some(identity) = reputon.identity().or(assumed) {
            reputon.set_extension(Identity::EXTENSION, ExtensionValue::text(identity.name()));
            reputon.set_extension(Identity::ALIAS, ExtensionValue::text(identity.name()));
        }
        if lookup.is_opendkim {
            let assumed = Weighing::default();
            if reputon.confidence.is_none() {
                let confidence = Score::new(assumed.confidence()).unwrap_or(Score::ZERO);
                let said = reputon.rater_authenticity.clone();
                reputon.confidence = Some(said.unwrap_or(confidence));
            }
            reputon.sample_size.get_or_insert(assumed.assumed_samples);
            reputon.generated.get_or_insert(now);
            if reputon.rate().is_none() {
                reputon.set_extension("rate", ExtensionValue::number(self.config.opendkim_rate));
            }
        }
    }

    fn write(&self, now: UnixTime, lookup: &Lookup, reputons: Vec<Reputon<'_>>) -> Response<Bytes> {
        let application = lookup.application.name.clone();
        // The earliest end of what is said; the configured time where nobody says.
        let seconds = u64::try_from(now.as_secs()).unwrap_or(0);
        let default = seconds.saturating_add(self.config.answer_lifetime.as_secs());
        let expires = reputons.iter().filter_map(|reputon| reputon.expires).min().unwrap_or(default);
        let mut document = Reputation::new(application.clone(), reputons);
        let mut body = Vec::with_capacity(document.reputons.len().min(64).saturating_mul(320).saturating_add(64));
        let mut written = lookup.format.encode(&document, Digits::Three, &mut body);
        if written.is_err() && lookup.format == Format::FlatJson {
            // A form for one reputon: the last, which is the one that matters most.
            document.reputons.drain(..document.reputons.len().saturating_sub(1));
            body.clear();
            written = lookup.format.encode(&document, Digits::Three, &mut body);
        }
        if written.is_err() {
            return *problem(StatusCode::NOT_ACCEPTABLE, "what is known cannot be written in this format");
        }
        let etag = Etag::of(&body);
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        let media_type = match lookup.format.media_type(Some(&application)) {
            Cow::Borrowed(name) => Some(HeaderValue::from_static(name)),
            // A private application's name may be long; a token fits into a field in any case.
            Cow::Owned(name) => HeaderValue::try_from(name).ok(),
        };
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, media_type);
        }
        put_lifetime(
            headers,
            UnixTime::from_secs(i64::try_from(expires).unwrap_or(i64::MAX)),
            expires.saturating_sub(seconds),
        );
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        finish(response, body.into(), etag, lookup.if_none_match.as_ref(), lookup.is_head)
    }
}
