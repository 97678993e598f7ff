//! A DNSBL as a rater: what it lists becomes a reputon, and what goes wrong never does.
//! [RFC 5782](https://www.rfc-editor.org/rfc/rfc5782)

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as DnsQuery, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use repute_proto::dnsbl::{Zone, query_name};
use repute_proto::{ExtensionValue, Query, Reputon, Score};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::codes::Codes;
use super::import::TEXT;
use super::snapshot::CODE;
use crate::exit::Failure;

/// After this long a question is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// A list: `ZONE` or `ZONE@SERVER[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocklist {
    /// The zone.
    pub zone: String,
    /// Who is asked; the system's first resolver where nobody is named.
    pub server: Option<SocketAddr>,
}

impl FromStr for Blocklist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (zone, server) = match text.split_once('@') {
            Some((zone, server)) => {
                let bare = server.trim_start_matches('[').trim_end_matches(']');
                let with_port = server.parse().or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, 53)));
                let server = with_port.map_err(|_| "behind the @ write an address, as in 192.0.2.53:53")?;
                (zone, Some(server))
            }
            None => (text, None),
        };
        let zone = Zone::new(zone).map_err(|error| error.to_string())?;
        Ok(Self { zone: zone.name().to_owned(), server })
    }
}

impl fmt::Display for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dnsbl:{}", self.zone)?;
        self.server.map_or(Ok(()), |server| write!(f, "@{server}"))
    }
}

impl Blocklist {
    /// Asks about the subject of a query. Nothing is no entry; everything but a listing is an error.
    ///
    /// # Errors
    /// When there is no answer, or one that is no listing: of other networks, of the provider to those who ask too
    /// much, or of a list that lists everything.
    pub(super) async fn ask(
        &self,
        query: &Query,
        codes: &Codes,
        budget: Duration,
        with_text: bool,
    ) -> Result<Vec<Reputon<'static>>, Failure> {
        let late = || Failure::unreachable("no answer in time").at(self);
        tokio::time::timeout(budget, self.listed(query, codes, with_text)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn listed(&self, query: &Query, codes: &Codes, with_text: bool) -> Result<Vec<Reputon<'static>>, Failure> {
        let server = match self.server {
            Some(server) => server,
            None => system_resolver()?,
        };
        let subject = query.subject().as_str();
        let found = self.addresses(server, subject).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        for code in &found {
            self.is_listing(*code)?;
        }
        // Lists that ended have been known to list the whole world: this one is never listed.
        let absent = match subject.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => "127.0.0.1",
            Ok(IpAddr::V6(_)) => "::ffff:7f00:1",
            Err(_) => "invalid",
        };
        if !self.addresses(server, absent).await?.is_empty() {
            let failure = Failure::misbehaved(format!("the list has {absent}, which no list has")).at(self);
            return Err(failure.remedy("it may have ended and list everything: do not ask it any more"));
        }
        let text = if with_text { self.text(server, subject).await.unwrap_or_default() } else { String::new() };
        let mut reputons: Vec<Reputon<'static>> = Vec::new();
        for code in found {
            let assertion = codes.assertion(code).unwrap_or("spam").to_owned();
            let asked = |asked: &String| query.application().canonical_assertion(asked) == assertion;
            let is_asked = query.assertions().is_empty() || query.assertions().iter().any(asked);
            if is_asked && !reputons.iter().any(|reputon| reputon.assertion == assertion) {
                let rating = Score::new(1.0).unwrap_or(Score::ZERO);
                let mut reputon = Reputon::new(self.zone.clone(), assertion, subject.to_owned(), rating);
                reputon.set_extension(CODE, ExtensionValue::text(code.to_string()));
                if !text.is_empty() {
                    reputon.set_extension(TEXT, ExtensionValue::text(text.clone()));
                }
                reputons.push(reputon);
            }
        }
        Ok(reputons)
    }

    /// Whether a code is one of a listing.
    fn is_listing(&self, code: Ipv4Addr) -> Result<(), Failure> {
        match code.octets() {
            // What providers answer instead of an entry: through a public resolver, too much, a mistyped zone.
            [127, 255, ..] => {
                let failure = Failure::refused(format!("the provider refuses to answer: {code}")).at(self);
                Err(failure.remedy("see what its operator says about this code"))
            }
            [127, 0, 0, 1] | [0..=126 | 128.., ..] => {
                let failure = Failure::misbehaved(format!("{code} is no code of a list")).at(self);
                Err(failure.remedy("the resolver may make up answers, or the zone has ended"))
            }
            _ => Ok(()),
        }
    }

    async fn addresses(&self, server: SocketAddr, subject: &str) -> Result<Vec<Ipv4Addr>, Failure> {
        let message = self.resolve(server, subject, RecordType::A).await?;
        let address = |record: &hickory_proto::rr::Record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        };
        Ok(message.answers.iter().filter_map(address).collect())
    }

    async fn text(&self, server: SocketAddr, subject: &str) -> Result<String, Failure> {
        let message = self.resolve(server, subject, RecordType::TXT).await?;
        let text = |record: &hickory_proto::rr::Record| match &record.data {
            RData::TXT(text) => {
                let octets: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
                Some(String::from_utf8_lossy(&octets).replace(char::is_control, " "))
            }
            _ => None,
        };
        Ok(message.answers.iter().find_map(text).unwrap_or_default())
    }

    /// The response, which is one to this question and says whether there are records.
    async fn resolve(&self, server: SocketAddr, subject: &str, kind: RecordType) -> Result<Message, Failure> {
        let wrong = |error: &dyn fmt::Display| Failure::misbehaved(format!("{server}: {error}")).at(self);
        let name: Name = format!("{}.", query_name(subject, &self.zone))
            .parse()
            .map_err(|error| Failure::usage(format!("{subject} cannot be asked about: {error}")).at(self))?;
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(|error| Failure::usage(error.to_string()))?;
        let mut message = Message::new(u16::from_be_bytes(id), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(DnsQuery::query(name, kind));
        let mut edns = Edns::new();
        edns.set_max_payload(1_232).set_version(0);
        message.edns = Some(edns);
        let octets = message.to_vec().map_err(|error| wrong(&error))?;
        let failed = |error: std::io::Error| Failure::unreachable(format!("{server}: {error}")).at(self);
        let mut response = loop {
            // A port of its own each time, so that nobody can guess where an answer is waited for.
            match tokio::time::timeout(AGAIN, over_udp(server, &octets, &message)).await {
                Ok(response) => break response.map_err(failed)?,
                Err(_) => continue,
            }
        };
        if response.metadata.truncation {
            response = over_tcp(server, &octets).await.map_err(failed)?;
            if !is_answer(&response, &message) {
                return Err(wrong(&"an answer to another question"));
            }
        }
        match response.metadata.response_code {
            ResponseCode::NoError => Ok(response),
            ResponseCode::NXDomain => {
                response.answers.clear();
                Ok(response)
            }
            code => Err(Failure::refused(format!("{server} answers {code}")).at(self)),
        }
    }
}

fn is_answer(response: &Message, message: &Message) -> bool {
    response.metadata.id == message.metadata.id
        && response.metadata.message_type == MessageType::Response
        && response.queries == message.queries
}

/// The first datagram that answers; others are passed over.
async fn over_udp(server: SocketAddr, octets: &[u8], message: &Message) -> std::io::Result<Message> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(octets).await?;
    let mut buffer = [0; 1_500];
    loop {
        let len = socket.recv(&mut buffer).await?;
        if let Ok(response) = Message::from_vec(buffer.get(..len).unwrap_or(&[]))
            && is_answer(&response, message)
        {
            return Ok(response);
        }
    }
}

async fn over_tcp(server: SocketAddr, octets: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(octets.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), octets].concat()).await?;
    let len = stream.read_u16().await?;
    let mut buffer = Vec::new();
    (&mut stream).take(len.into()).read_to_end(&mut buffer).await?;
    Message::from_vec(&buffer).map_err(std::io::Error::other)
}

/// The first resolver of the system.
fn system_resolver() -> Result<SocketAddr, Failure> {
    let path = std::path::Path::new("/etc/resolv.conf");
    let octets =
        crate::pki::read_bounded(path).map_err(|error| crate::exit::file_failure("find a resolver", path, &error))?;
    let text = String::from_utf8_lossy(&octets);
    let mut servers =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    let server = servers.next().ok_or_else(|| Failure::usage("names no resolver").at(path.display()))?;
    Ok(SocketAddr::new(server, 53))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_back() {
        for (text, shown) in [
            ("bl.example", "dnsbl:bl.example"),
            ("BL.example.@192.0.2.53", "dnsbl:bl.example@192.0.2.53:53"),
            ("bl.example@[::1]:5353", "dnsbl:bl.example@[::1]:5353"),
            ("bl.example@::1", "dnsbl:bl.example@[::1]:53"),
        ] {
            assert_eq!(text.parse::<Blocklist>().unwrap().to_string(), shown);
        }
        for bad in ["", "a..b", "bl.example@", "bl.example@host", "@192.0.2.1"] {
            assert!(bad.parse::<Blocklist>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_providers_say_instead_of_an_entry_is_no_listing() {
        let list: Blocklist = "bl.example".parse().unwrap();
        let blame = |code: [u8; 4]| list.is_listing(code.into()).map_err(|failure| failure.blame().code());
        for (code, verdict) in [
            ([127, 0, 0, 2], Ok(())),
            ([127, 0, 1, 255], Ok(())),
            ([127, 255, 255, 254], Err(1)),
            ([127, 0, 0, 1], Err(4)),
            ([192, 0, 2, 1], Err(4)),
        ] {
            assert_eq!(blame(code), verdict, "{code:?}");
        }
    }
}
