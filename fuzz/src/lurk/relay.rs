//! The rendezvous: the name of a chunk in a query, URLs, notifications in their three forms, the relay, and both peers
//! with it between them. The first octet says which.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use acme_lurk::Limits;
use acme_lurk::rendezvous::xmpp::Iq;
use acme_lurk::rendezvous::{
    ExchangeFailure, Notification, Relay, RelayLimits, RelayRequest, RelayUrl, Sink, SinkConfig, SinkEvent, Source,
    SourceConfig, SourceEvent, chid,
};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output};

const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 6 {
        0 => query(rest),
        1 => url(rest),
        2 => notification(rest),
        3 => stanza(rest),
        4 => relay(rest),
        _ => peers(rest),
    }
}

fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(name) = chid(text) else { return };
    assert!(!name.is_empty());
    // However a name was written, this is another way to write it, with or without company.
    let escaped: String = name.bytes().map(|octet| format!("%{octet:02X}")).collect();
    assert_eq!(chid(&format!("chid={escaped}")).as_ref(), Some(&name));
    assert_eq!(chid(&format!("a=b&chid={escaped}&c")).as_ref(), Some(&name));
    assert_eq!(chid(&format!("{text}&chid=x")), None, "two names are none");
}

fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(relay) = RelayUrl::parse(text, 512) else { return };
    let of = relay.of("i781hf64-0");
    let told = Notification::new(of.as_str(), 0, &Limits::DEFAULT).expect("a relay's URL with a name is that of a chunk");
    assert_eq!(told.url(), of);
    let (before, query) = of.split_once('?').expect("there is a query");
    assert_eq!(chid(query).as_deref(), Some("i781hf64-0"));
    assert!(text.starts_with(before) && !of.contains('#'));
    assert!(RelayUrl::parse(text, text.len()).is_ok() && RelayUrl::parse(text, text.len() - 1).is_err());
}

fn notification(data: &[u8]) {
    let limits = Limits::DEFAULT;
    let link = std::str::from_utf8(data).ok().and_then(|text| Notification::from_link(text, &limits).ok());
    for read in Notification::decode(data, &limits).ok().into_iter().chain(link) {
        assert_eq!(Notification::decode(&read.encode(), &limits).as_ref(), Ok(&read));
        assert_eq!(Notification::from_link(&read.to_link(), &limits).as_ref(), Ok(&read));
        // What is asked for never has the key in it.
        assert!(!read.url().contains('#'));
        assert!(read.key().is_none() || read.digest().is_some());
        let shown = format!("{read:?}");
        assert!(read.key().is_none_or(|key| !shown.contains(&**key.to_base64url())));
    }
}

fn stanza(data: &[u8]) {
    let limits = Limits::DEFAULT;
    let Ok(iq) = Iq::decode(data, &limits) else { return };
    assert_eq!(Iq::decode(iq.encode().as_bytes(), &limits).as_ref(), Ok(&iq));
    let taken = iq.acknowledge();
    assert_eq!(Iq::decode(taken.encode().as_bytes(), &limits), Ok(taken));
    if let Some(Ok(told)) = iq.content.notification(70_000, &limits) {
        assert_eq!(told.seq() >> 16, 1);
    }
}

/// Each step is a method and owner, a name, a length, and how much time passes.
fn relay(data: &[u8]) {
    let limits = RelayLimits::default().with_chunk(40).with_totals(400, 700);
    let mut relay = Relay::new(limits);
    let mut kept: BTreeMap<u8, (u64, Vec<u8>)> = BTreeMap::new();
    let mut now = 0_u64;
    for (number, step) in data.chunks_exact(4).take(500).enumerate() {
        let [what, name, len, time] = *step else { return };
        now += u64::from(time);
        kept.retain(|_, (stored, _)| *stored + 300 > now);
        let method = ["GET", "POST", "HEAD", "PUT"][usize::from(what & 3)];
        let owner = ["a", "b", "c"].get(usize::from(what >> 2 & 3)).copied();
        let name = name & 15;
        let query = format!("chid=n{name}");
        let body = vec![number.to_le_bytes()[0]; usize::from(len & 63)];
        let request = RelayRequest { method, query: &query, from: FROM, owner, body: &body };
        let answer = relay.handle_request(Instant::from_secs(now), &request);
        match (method, answer.status) {
            ("GET" | "HEAD", 200) => assert_eq!(answer.body, kept[&name].1),
            ("GET" | "HEAD", 404) => assert!(!kept.contains_key(&name)),
            ("POST", 200) => {
                assert!(owner.is_some() && body.len() <= 40 && !kept.contains_key(&name));
                kept.insert(name, (now, body));
            }
            ("POST", 401) => assert!(owner.is_none()),
            ("POST", 403) => assert!(kept.contains_key(&name)),
            ("POST", 413) => assert!(body.len() > 40),
            ("POST", 503) => assert!(!kept.is_empty()),
            ("PUT", 405) => {}
            (method, status) => panic!("{method}: {status}"),
        }
        // Who is turned away does not make the relay look at its clock.
        relay.forget(Instant::from_secs(now));
        let (chunks, octets) = relay.usage();
        assert_eq!(chunks, kept.len());
        assert!(octets <= 700);
    }
}

/// The first octet says whether chunks are sealed; each of the others is a piece that is written, and what becomes of
/// the next exchanges.
fn peers(data: &[u8]) {
    let Some((sealed, script)) = data.split_first() else { return };
    let config = SourceConfig::builder(RelayUrl::parse("http://r/", 64).expect("this is one"))
        .with_sealed(sealed & 1 == 1)
        .with_chunk(48)
        .with_waiting(200)
        .build()
        .expect("a configuration");
    let mut source = Source::new(config, [*sealed; 32]);
    let mut sink = Sink::new(SinkConfig::default(), [1; 32]);
    let mut relay = Relay::new(RelayLimits::default());
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    let (mut now, mut has_ended, mut steps) = (Instant::ZERO, false, 0_u32);
    let mut script = script.iter().copied().take(300);
    let ask = |relay: &mut Relay, now, method, url: &str, body: &[u8]| {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let answer = relay.handle_request(now, &RelayRequest { method, query, from: FROM, owner: Some("a"), body });
        (answer.status, answer.body)
    };
    while !has_ended {
        steps += 1;
        assert!(steps < 20_000, "it comes to no end");
        let octet = script.next();
        match octet {
            Some(octet) => {
                let piece = vec![octet; usize::from(octet & 31)];
                if source.write(now, &piece).is_ok() {
                    sent.extend(piece);
                }
            }
            None => source.finish(now),
        }
        let fate = octet.map_or(7, |octet| octet >> 5);
        match source.poll_output(now) {
            Output::Event(SourceEvent::Exchange(request)) => {
                if fate >= 3 {
                    let (status, _) = ask(&mut relay, now, "POST", &request.url, &request.body);
                    if fate >= 4 {
                        let Ok(()) = source.handle_response(now, request.id, status);
                    } else {
                        // The relay has it; the answer is lost.
                        let Ok(()) = source.handle_failure(now, request.id, ExchangeFailure::Broken);
                    }
                } else if fate == 2 {
                    let Ok(()) = source.handle_response(now, request.id, 500);
                } else if fate == 1 {
                    let Ok(()) = source.handle_failure(now, request.id, ExchangeFailure::Connect);
                }
            }
            Output::Event(SourceEvent::Notify(told)) => {
                assert_eq!(told.seq(), sink.expected());
                assert!(source.notified(now, told.seq()));
                assert_eq!(sink.notify(now, told), Ok(()));
            }
            Output::Event(SourceEvent::Failed { .. }) => has_ended = true,
            Output::Event(SourceEvent::Closed) => {
                has_ended = true;
                assert_eq!(got, sent);
            }
            Output::Event(_) => {}
            Output::Timeout(Some(due)) => {
                assert!(!source.timeout_reason().is_empty());
                now = now.max(due);
                let Ok(()) = source.handle_timeout(now);
            }
            Output::Timeout(None) => assert!(source.timeout_reason().is_empty()),
        }
        while let Output::Event(event) = sink.poll_output(now) {
            match event {
                SinkEvent::Exchange(request) => {
                    let answer = ask(&mut relay, now, "GET", &request.url, b"");
                    let Ok(()) = sink.handle_response(now, request.id, answer);
                }
                SinkEvent::Deliver { octets, .. } => got.extend(octets),
                other => panic!("{other:?}"),
            }
        }
        assert!(sent.starts_with(&got));
    }
}
