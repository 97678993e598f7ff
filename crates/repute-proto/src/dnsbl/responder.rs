//! From a query and what is listed to an answer.
//! [RFC 5782 sections 2 and 5](https://www.rfc-editor.org/rfc/rfc5782#section-2),
//! [RFC 2308 section 2](https://www.rfc-editor.org/rfc/rfc2308#section-2)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::question::{Key, Question, Unanswerable};
use super::zone::Zone;

/// What the list has about a name or an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// What A records say, by convention within 127.0.0.0/8. Empty when it is not listed.
    pub codes: Vec<Ipv4Addr>,
    /// What TXT records say; at most 255 octets of each are sent.
    pub texts: Vec<String>,
    /// Whether longer names are listed: then the name is there, and has nothing.
    pub is_above: bool,
}

impl Listing {
    fn clear(&mut self) {
        self.codes.clear();
        self.texts.clear();
        self.is_above = false;
    }
}

/// What a query came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the program counts all of them")]
pub enum Transport {
    /// A response has as many octets as the client can take, and as the responder sends at most.
    Udp,
    /// A response has up to 65 535 octets.
    Tcp,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was no query: there is no response.
    Dropped,
    /// The name is listed.
    Listed,
    /// The name is not listed.
    NotListed,
    /// The question was about the zone, or about a type that the name does not have.
    Other,
    /// It is none of our zones, or nothing that lists answer.
    Refused,
    /// It could not be read.
    Malformed,
    /// The answer did not fit: the client asks again over TCP.
    Truncated,
}

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const TXT: u16 = 16;
const ANY: u16 = 255;
/// IXFR, AXFR and the two obsolete ones: transfers, which nobody gets.
const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=254;

const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const NAME_ERROR: u8 = 3;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;
/// The upper bits of BADVERS, which is 16.
const BAD_VERSION: u8 = 1;

/// Octets of a response over UDP: what passes everywhere in one piece.
const MOST_UDP: u16 = 1_232;

/// Answers for lists.
#[derive(Debug, Clone)]
pub struct Responder {
    zones: Vec<Zone>,
}

impl Responder {
    /// One for these zones; where one is below another, the deeper one answers.
    pub fn new(mut zones: Vec<Zone>) -> Self {
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.apex.len()));
        Self { zones }
    }

    /// The zones, the deepest first.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// Answers a packet: the response is put in place of what is in `out`, which stays empty when there is none.
    /// `look_up` puts into the listing what it knows about a name or an address; it is told the zone by its index in
    /// [`Self::zones`], and whether texts are wanted.
    pub fn respond(
        &self,
        packet: &[u8],
        transport: Transport,
        listing: &mut Listing,
        out: &mut Vec<u8>,
        look_up: impl FnOnce(usize, Key<'_>, bool, &mut Listing),
    ) -> Outcome {
        out.clear();
        let question = match Question::read(packet) {
            Ok(question) => question,
            Err(error) => return unanswerable(packet, error, out),
        };
        let mut response = Response::begin(&question, packet, out);
        if question.edns.is_some_and(|edns| edns.version != 0) {
            response.extended = BAD_VERSION;
            response.end(NO_ERROR);
            return Outcome::Malformed;
        }
        let zone = self.zones.iter().enumerate().find_map(|(index, zone)| {
            let (labels, at) = question.name.below(&zone.apex)?;
            Some((index, zone, labels, at))
        });
        let Some((index, zone, labels, apex_at)) = zone else {
            response.end(REFUSED);
            return Outcome::Refused;
        };
        if !matches!(question.class, 1 | 255) || TRANSFERS.contains(&question.kind) || question.kind == 41 {
            response.end(REFUSED);
            return Outcome::Refused;
        }
        response.authoritative = true;
        // The apex stands in the question, which begins behind the header.
        let apex = u16::try_from(apex_at.saturating_add(12)).unwrap_or(12) | 0xc000;
        let mut buffer = [0; 255];
        let key = question.key(labels, &mut buffer);
        listing.clear();
        match key {
            Key::Apex => return about_zone(response, &question, zone, apex),
            Key::Partial => listing.is_above = true,
            Key::Other => {}
            Key::Address(_) | Key::Name(_) => match zone.test_entries.then(|| test_entry(key)).flatten() {
                Some(true) => {
                    listing.codes.push(Ipv4Addr::new(127, 0, 0, 2));
                    listing.texts.push("test entry of RFC 5782".to_owned());
                }
                Some(false) => {}
                None => look_up(index, key, matches!(question.kind, TXT), listing),
            },
        }
        if listing.codes.is_empty() {
            response.authority(apex, zone);
            response.end(if listing.is_above { NO_ERROR } else { NAME_ERROR });
            return if listing.is_above { Outcome::Other } else { Outcome::NotListed };
        }
        match question.kind {
            // RFC 8482 section 4.1: whoever asks for anything gets something.
            A | ANY => {
                for code in &listing.codes {
                    response.answer(A, zone.ttl, &code.octets());
                }
            }
            TXT => {
                for text in &listing.texts {
                    let text = cut(text, 255);
                    let mut data = Vec::with_capacity(text.len().saturating_add(1));
                    data.push(u8::try_from(text.len()).unwrap_or(255));
                    data.extend_from_slice(text.as_bytes());
                    response.answer(TXT, zone.ttl, &data);
                }
            }
            _ => {}
        }
        if response.answers == 0 {
            response.authority(apex, zone);
        }
        let size = question.edns.map_or(512, |edns| edns.size.clamp(512, MOST_UDP));
        let most = if transport == Transport::Udp { usize::from(size) } else { 65_535 };
        if response.end_within(most) { Outcome::Listed } else { Outcome::Truncated }
    }

    /// The response that says nothing but that the client may ask again over TCP: what one gets who asks too often,
    /// and is no more than what was sent.
    pub fn truncated(packet: &[u8], out: &mut Vec<u8>) -> Outcome {
        out.clear();
        match Question::read(packet) {
            Ok(question) => {
                let mut response = Response::begin(&question, packet, out);
                response.truncated = true;
                response.end(NO_ERROR);
                Outcome::Truncated
            }
            Err(error) => unanswerable(packet, error, out),
        }
    }
}

/// Entries by which clients see that a list is alive, and does not list everything.
/// [RFC 5782 section 5](https://www.rfc-editor.org/rfc/rfc5782#section-5)
fn test_entry(key: Key<'_>) -> Option<bool> {
    const LISTED_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 2);
    const ABSENT_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1);
    match key {
        Key::Address(IpAddr::V4(address)) => match address.octets() {
            [127, 0, 0, 2] => Some(true),
            [127, 0, 0, 1] => Some(false),
            _ => None,
        },
        Key::Address(IpAddr::V6(LISTED_V6)) | Key::Name("test") => Some(true),
        Key::Address(IpAddr::V6(ABSENT_V6)) | Key::Name("invalid") => Some(false),
        _ => None,
    }
}

fn about_zone(mut response: Response<'_>, question: &Question, zone: &Zone, apex: u16) -> Outcome {
    match question.kind {
        SOA | ANY => response.answer(SOA, zone.negative_ttl, &zone.soa),
        NS => {
            for server in &zone.servers {
                response.answer(NS, zone.ttl, server);
            }
        }
        _ => {}
    }
    if response.answers == 0 {
        response.authority(apex, zone);
    }
    response.end(NO_ERROR);
    Outcome::Other
}

/// The response to what has no question that could be repeated.
fn unanswerable(packet: &[u8], error: Unanswerable, out: &mut Vec<u8>) -> Outcome {
    let (code, outcome) = match error {
        Unanswerable::NoQuery => return Outcome::Dropped,
        Unanswerable::Malformed => (FORMAT_ERROR, Outcome::Malformed),
        Unanswerable::Operation => (NOT_IMPLEMENTED, Outcome::Refused),
    };
    let Some([id_high, id_low, flags, _]) = packet.first_chunk::<4>() else { return Outcome::Dropped };
    out.extend_from_slice(&[*id_high, *id_low, 0x80 | flags & 0x79, code, 0, 0, 0, 0, 0, 0, 0, 0]);
    outcome
}

/// As much of a text as fits, in whole characters.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

/// A response in the making.
struct Response<'o> {
    out: &'o mut Vec<u8>,
    flags: [u8; 2],
    question_end: usize,
    answers: u16,
    authorities: u16,
    has_edns: bool,
    dnssec_ok: bool,
    extended: u8,
    authoritative: bool,
    truncated: bool,
}

impl<'o> Response<'o> {
    /// Header and question; the question has the case in which it was asked, which some clients compare.
    fn begin(question: &Question, packet: &[u8], out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(&question.id);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        let asked = packet.get(12..question.len.saturating_add(12)).unwrap_or(&[]);
        out.extend_from_slice(asked);
        let question_end = out.len();
        Self {
            out,
            flags: question.flags,
            question_end,
            answers: 0,
            authorities: 0,
            has_edns: question.edns.is_some(),
            dnssec_ok: question.edns.is_some_and(|edns| edns.dnssec_ok),
            extended: 0,
            authoritative: false,
            truncated: false,
        }
    }

    fn record(&mut self, owner: u16, kind: u16, ttl: u32, data: &[u8]) {
        let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let [owner, kind, len] = [owner, kind, len].map(u16::to_be_bytes);
        self.out.extend_from_slice(&owner);
        self.out.extend_from_slice(&kind);
        self.out.extend_from_slice(&[0, 1]);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&len);
        self.out.extend_from_slice(data.get(..65_535).unwrap_or(data));
    }

    /// A record of the name that was asked for.
    fn answer(&mut self, kind: u16, ttl: u32, data: &[u8]) {
        self.record(0xc00c, kind, ttl, data);
        self.answers = self.answers.saturating_add(1);
    }

    /// How long it may be remembered that there is nothing.
    fn authority(&mut self, apex: u16, zone: &Zone) {
        self.record(apex, SOA, zone.negative_ttl, &zone.soa);
        self.authorities = self.authorities.saturating_add(1);
    }

    /// Ends the response; whether all of it fits.
    fn end_within(mut self, most: usize) -> bool {
        let with_edns = self.out.len().saturating_add(if self.has_edns { 11 } else { 0 });
        if with_edns > most {
            self.out.truncate(self.question_end);
            (self.answers, self.authorities, self.truncated) = (0, 0, true);
        }
        let fits = !self.truncated;
        self.end(NO_ERROR);
        fits
    }

    /// Ends the response with this code.
    fn end(self, code: u8) {
        if self.has_edns {
            let [high, low] = MOST_UDP.to_be_bytes();
            let flags = if self.dnssec_ok { 0x80 } else { 0 };
            self.out.extend_from_slice(&[0, 0, 41, high, low, self.extended, 0, flags, 0, 0, 0]);
        }
        let [asked, _] = self.flags;
        // QR, the operation (a query), AA, TC, and RD as it was asked.
        let first =
            0x80 | (asked & 0x01) | if self.authoritative { 0x04 } else { 0 } | if self.truncated { 0x02 } else { 0 };
        let [answers_high, answers_low] = self.answers.to_be_bytes();
        let [authorities_high, authorities_low] = self.authorities.to_be_bytes();
        let counts = [0, 1, answers_high, answers_low, authorities_high, authorities_low, 0, u8::from(self.has_edns)];
        if let Some(place) = self.out.get_mut(2..4) {
            place.copy_from_slice(&[first, code]);
        }
        if let Some(place) = self.out.get_mut(4..12) {
            place.copy_from_slice(&counts);
        }
    }
}
