//! The peers of the rendezvous with the relay between them, and what they tell each other.

use std::net::SocketAddr;
use std::time::Duration;

use acme_lurk::Limits;
use acme_lurk::rendezvous::xmpp::{Content, Iq, StanzaKind};
use acme_lurk::rendezvous::{
    ExchangeFailure, FetchError, FetchRequest, NotTaken, NotWritten, Notification, Relay, RelayLimits, RelayRequest,
    RelayUrl, SEAL_OVERHEAD, Sink, SinkConfig, SinkEvent, Source, SourceConfig, SourceConfigBuilder, SourceEvent,
    StoreError, StoreRequest, chid,
};
use proptest::prelude::*;
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

use crate::support::file;

const NOW: Instant = Instant::ZERO;

fn config(sealed: bool) -> SourceConfigBuilder {
    SourceConfig::builder(RelayUrl::parse("https://r.example/", 2048).unwrap()).with_sealed(sealed)
}

fn source(sealed: bool) -> Source {
    Source::new(config(sealed).build().unwrap(), [7; 32])
}

fn sink() -> Sink {
    Sink::new(SinkConfig::default(), [9; 32])
}

fn poll(source: &mut Source, now: Instant) -> SourceEvent {
    match source.poll_output(now) {
        Output::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

fn request(source: &mut Source, now: Instant) -> StoreRequest {
    match poll(source, now) {
        SourceEvent::Exchange(request) => request,
        other => panic!("{other:?}"),
    }
}

fn notification(source: &mut Source, now: Instant) -> Notification {
    match poll(source, now) {
        SourceEvent::Notify(notification) => notification,
        other => panic!("{other:?}"),
    }
}

fn wake(source: &mut Source, now: Instant) -> Instant {
    match source.poll_output(now) {
        Output::Timeout(Some(due)) => due,
        other => panic!("{other:?}"),
    }
}

/// Writes one chunk and brings it to the relay.
fn stored(source: &mut Source, octets: &[u8]) -> (StoreRequest, Notification) {
    source.write(NOW, octets).unwrap();
    let request = request(source, NOW);
    source.handle_response(NOW, request.id, 200).unwrap();
    let notification = notification(source, NOW);
    assert!(source.notified(NOW, notification.seq()));
    (request, notification)
}

fn asked(sink: &mut Sink, now: Instant) -> FetchRequest {
    match sink.poll_output(now) {
        Output::Event(SinkEvent::Exchange(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn ended(sink: &mut Sink, now: Instant) -> FetchError {
    match sink.poll_output(now) {
        Output::Event(SinkEvent::Failed { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

fn ask(relay: &mut Relay, method: &str, url: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let from: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let response = relay.handle_request(NOW, &RelayRequest { method, query, from, owner: Some("a"), body });
    (response.status, response.body)
}

#[test]
fn what_a_puts_b_gets_sealed_or_not() {
    for sealed in [false, true] {
        let mut relay = Relay::new(RelayLimits::default());
        let (mut source, mut sink) = (source(sealed), sink());
        for (seq, octets) in [(0..=255).collect::<Vec<u8>>(), b"second".to_vec()].into_iter().enumerate() {
            source.write(NOW, &octets).unwrap();
            let request = request(&mut source, NOW);
            if sealed {
                assert_eq!(request.body.len(), octets.len() + SEAL_OVERHEAD);
                assert!(!request.body.windows(6).any(|window| octets.windows(6).any(|plain| plain == window)));
            } else {
                assert_eq!(request.body[..], octets, "the data itself, in no other form");
            }
            // B is told only when the relay has it.
            assert!(matches!(source.poll_output(NOW), Output::Timeout(Some(_))));
            let (status, _) = ask(&mut relay, "POST", &request.url, &request.body);
            source.handle_response(NOW, request.id, status).unwrap();
            let told = notification(&mut source, NOW);
            assert_eq!((told.url(), told.seq(), told.key().is_some()), (&request.url[..], seq as u64, sealed));
            assert!(!told.url().contains('#'), "the key does not go to the relay");
            sink.notify(NOW, Notification::decode(&told.encode(), &Limits::DEFAULT).unwrap()).unwrap();
            assert!(source.notified(NOW, told.seq()));
            let request = asked(&mut sink, NOW);
            let response = ask(&mut relay, "GET", &request.url, b"");
            sink.handle_response(NOW, request.id, response).unwrap();
            let delivered = SinkEvent::Deliver { seq: seq as u64, octets };
            assert_eq!(sink.poll_output(NOW), Output::Event(delivered));
        }
        source.finish(NOW);
        assert_eq!(poll(&mut source, NOW), SourceEvent::Closed);
        assert!(source.is_finished() && sink.is_idle());
        assert_eq!(source.write(NOW, b"x"), Err(NotWritten::Ended));
    }
}

#[test]
fn names_are_of_base64url_and_cannot_be_guessed() {
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut source = Source::new(config(seed % 2 == 0).build().unwrap(), [seed; 32]);
        for _ in 0..50 {
            let (_, told) = stored(&mut source, b"x");
            let name = chid(told.url().split_once('?').unwrap().1).unwrap();
            // 192 bits: more than the 128 that nobody guesses.
            assert_eq!(name.len(), 32);
            assert!(acme_lurk::base64url::is_alphabet(&name));
            // Who knows one knows nothing of the next: not even a prefix is the same.
            assert!(names.insert(name[..8].to_owned()));
        }
    }
    let mut sealed = source(true);
    let keys = (0..50).map(|_| stored(&mut sealed, b"x").1.key().unwrap().to_base64url().to_string());
    let keys: std::collections::BTreeSet<String> = keys.collect();
    assert_eq!(keys.len(), 50, "a key for each chunk");
    let (first, second) = (stored(&mut source(true), b"x"), stored(&mut source(true), b"x"));
    assert_eq!(first.0.body, second.0.body, "the same seed gives the same");
}

#[test]
fn octets_that_come_meanwhile_go_together() {
    let config = config(true).with_chunk(SEAL_OVERHEAD + 10).with_waiting(100);
    let mut source = Source::new(config.build().unwrap(), [1; 32]);
    source.write(NOW, b"a").unwrap();
    let first = request(&mut source, NOW);
    for piece in ["bcd", "efg", "hijkl", "mn"] {
        source.write(NOW, piece.as_bytes()).unwrap();
    }
    assert_eq!(source.write(NOW, &[0; 88]), Err(NotWritten::Full(100)));
    assert_eq!(source.waiting_octets(), 13, "of what is too much, nothing is taken");
    source.handle_response(NOW, first.id, 204).unwrap();
    source.finish(NOW);
    let mut read = Vec::new();
    let mut request = first;
    loop {
        let told = notification(&mut source, NOW);
        let opened = told.key().unwrap().open(&request.body).unwrap();
        assert!(request.body.len() <= SEAL_OVERHEAD + 10);
        read.push(String::from_utf8(opened).unwrap());
        assert!(!source.notified(NOW, told.seq() + 1), "another number");
        assert!(source.notified(NOW, told.seq()));
        match poll(&mut source, NOW) {
            SourceEvent::Exchange(next) => request = next,
            SourceEvent::Closed => break,
            other => panic!("{other:?}"),
        }
        source.handle_response(NOW, request.id, 200).unwrap();
    }
    assert_eq!(read, ["a", "bcdefghijk", "lmn"]);
}

#[test]
fn a_name_that_is_taken_is_replaced_and_one_that_may_be_ours_is_not() {
    let mut source = source(false);
    source.write(NOW, b"x").unwrap();
    let first = request(&mut source, NOW);
    source.handle_response(NOW, first.id, 403).unwrap();
    let second = request(&mut source, NOW);
    assert_ne!(first.url, second.url);
    // No answer: the relay may have it.
    source.handle_failure(NOW, second.id, ExchangeFailure::Broken).unwrap();
    let due = wake(&mut source, NOW);
    assert!(due > NOW);
    source.handle_timeout(NOW).unwrap();
    assert!(matches!(source.poll_output(NOW), Output::Timeout(_)), "not before its time");
    source.handle_timeout(due).unwrap();
    let third = request(&mut source, due);
    assert_eq!((&third.url, &third.body), (&second.url, &second.body));
    source.handle_response(due, second.id, 500).unwrap();
    source.handle_response(due, third.id, 403).unwrap();
    assert_eq!(notification(&mut source, due).url(), second.url);
}

#[test]
fn what_cannot_be_stored_is_said_and_ends_the_source() {
    for (status, error) in [
        (401, StoreError::NotAuthorized(401)),
        (413, StoreError::TooLarge),
        (404, StoreError::Status(404)),
        (301, StoreError::Status(301)),
    ] {
        let mut source = source(false);
        source.write(NOW, b"x").unwrap();
        let request = request(&mut source, NOW);
        source.handle_response(NOW, request.id, status).unwrap();
        assert_eq!(poll(&mut source, NOW), SourceEvent::Failed { seq: 0, error });
        assert!(source.is_finished());
        assert_eq!(source.write(NOW, b"y"), Err(NotWritten::Ended));
    }
    let mut full = source(false);
    full.write(NOW, b"x").unwrap();
    for _ in 0..3 {
        let request = request(&mut full, NOW);
        full.handle_response(NOW, request.id, 403).unwrap();
    }
    assert_eq!(poll(&mut full, NOW), SourceEvent::Failed { seq: 0, error: StoreError::Names(3) });
}

#[test]
fn a_relay_that_is_silent_is_tried_again_and_given_up() {
    let mut source = source(false);
    source.write(NOW, b"x").unwrap();
    let mut now = NOW;
    for attempt in 1..=3 {
        let request = request(&mut source, now);
        assert_eq!(source.timeout_reason(), "relay silent");
        now = wake(&mut source, now);
        source.handle_timeout(now).unwrap();
        assert_eq!(poll(&mut source, now), SourceEvent::Abandon(request.id));
        if attempt < 3 {
            assert_eq!(source.timeout_reason(), "store again");
            now = wake(&mut source, now);
            source.handle_timeout(now).unwrap();
        }
    }
    let error = StoreError::Exchange(ExchangeFailure::TimedOut);
    assert_eq!(poll(&mut source, now), SourceEvent::Failed { seq: 0, error });
    assert!(now - NOW >= Duration::from_secs(90) && now - NOW < Duration::from_secs(120), "{now:?}");

    let mut sink = sink();
    sink.notify(NOW, told("x", 0)).unwrap();
    let mut now = NOW;
    for attempt in 1..=3 {
        let request = asked(&mut sink, now);
        let Output::Timeout(Some(due)) = sink.poll_output(now) else { panic!() };
        now = due;
        sink.handle_timeout(now).unwrap();
        assert_eq!(sink.poll_output(now), Output::Event(SinkEvent::Abandon(request.id)));
        if attempt < 3 {
            let Output::Timeout(Some(due)) = sink.poll_output(now) else { panic!() };
            now = due;
            sink.handle_timeout(now).unwrap();
        }
    }
    assert_eq!(ended(&mut sink, now), FetchError::Exchange(ExchangeFailure::TimedOut));
}

fn told(name: &str, seq: u64) -> Notification {
    Notification::new(format!("https://r.example/?chid={name}"), seq, &Limits::DEFAULT).unwrap()
}

#[test]
fn notifications_out_of_sequence_end_the_session() {
    for numbers in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 0]] {
        let mut sink = sink();
        for (at, seq) in numbers.iter().enumerate() {
            assert!(!sink.is_finished(), "{numbers:?}");
            assert_eq!(sink.expected(), at as u64);
            sink.notify(NOW, told("x", *seq)).unwrap();
        }
        let mut events = Vec::new();
        while let Output::Event(event) = sink.poll_output(NOW) {
            events.push(event);
        }
        let expected = numbers.len() as u64 - 1;
        let found = numbers[numbers.len() - 1];
        let error = FetchError::OutOfSequence { expected, found };
        assert_eq!(events.pop(), Some(SinkEvent::Failed { seq: expected, error }));
        // What was under way is given up, and what came later is not looked at.
        assert!(
            events.is_empty() || matches!(events[..], [SinkEvent::Exchange(_), SinkEvent::Abandon(_)]),
            "{events:?}"
        );
        assert!(sink.is_finished() && sink.is_idle());
        assert_eq!(sink.notify(NOW, told("x", expected)), Err(NotTaken::Ended));
    }
}

#[test]
fn chunks_are_got_one_after_the_other_in_their_order() {
    let mut sink = sink();
    for seq in 0..65 {
        sink.notify(NOW, told(&format!("n{seq}"), seq)).unwrap();
    }
    assert_eq!(sink.notify(NOW, told("n65", 65)), Err(NotTaken::Full(64)));
    for seq in 0..65 {
        let request = asked(&mut sink, NOW);
        assert!(request.url.ends_with(&format!("chid=n{seq}")));
        assert!(matches!(sink.poll_output(NOW), Output::Timeout(Some(_))), "one at a time");
        sink.handle_response(NOW, request.id, (200, vec![1])).unwrap();
        assert_eq!(sink.poll_output(NOW), Output::Event(SinkEvent::Deliver { seq, octets: vec![1] }));
    }
    assert_eq!(sink.notify(NOW, told("n65", 65)), Ok(()));
    let mut later = Sink::new(SinkConfig::default(), [1; 32]).starting_at(17);
    assert_eq!(later.notify(NOW, told("x", 17)), Ok(()));
}

#[test]
fn what_was_altered_or_has_another_key_is_not_given_out() {
    let (request, told) = stored(&mut source(true), b"secret");
    let (_, other) = stored(&mut Source::new(config(true).build().unwrap(), [8; 32]), b"secret");
    let json = String::from_utf8(told.encode().to_vec()).unwrap();
    let wrong_key = json.replace(&*told.key().unwrap().to_base64url(), &other.key().unwrap().to_base64url());
    let wrong_key = Notification::decode(wrong_key.as_bytes(), &Limits::DEFAULT).unwrap();
    let mut changed = request.body.to_vec();
    changed[20] ^= 1;
    for (told, response, error) in [
        (&told, (200, changed), FetchError::Altered),
        (&told, (200, Vec::new()), FetchError::Altered),
        (&wrong_key, (200, request.body.to_vec()), FetchError::Sealed),
        (&told, (404, Vec::new()), FetchError::Lost),
        (&told, (206, request.body.to_vec()), FetchError::Status(206)),
        (&told, (302, request.body.to_vec()), FetchError::Status(302)),
    ] {
        let mut sink = sink();
        sink.notify(NOW, told.clone()).unwrap();
        let request = asked(&mut sink, NOW);
        sink.handle_response(NOW, request.id, response).unwrap();
        assert_eq!(ended(&mut sink, NOW), error);
        assert!(sink.is_finished());
    }
    // Without sealing, what A says of the octets holds too.
    let (_, told) = stored(&mut source(false), b"open");
    let mut sink = sink();
    sink.notify(NOW, told).unwrap();
    let request = asked(&mut sink, NOW);
    sink.handle_response(NOW, request.id, (200, b"0pen".to_vec())).unwrap();
    assert_eq!(ended(&mut sink, NOW), FetchError::Altered);
}

#[test]
fn chunks_of_b_are_limited() {
    let config = SinkConfig::builder().with_chunk(10).build().unwrap();
    for (octets, error) in [(10, None), (11, Some(FetchError::Exchange(ExchangeFailure::TooLarge)))] {
        let (stored, told) = stored(&mut source(true), &vec![1; octets]);
        let mut sink = Sink::new(config, [1; 32]);
        sink.notify(NOW, told).unwrap();
        let request = asked(&mut sink, NOW);
        assert_eq!(request.max_body, 10 + SEAL_OVERHEAD);
        sink.handle_response(NOW, request.id, (200, stored.body.to_vec())).unwrap();
        match error {
            Some(error) => assert_eq!(ended(&mut sink, NOW), error),
            None => assert!(matches!(sink.poll_output(NOW), Output::Event(SinkEvent::Deliver { .. }))),
        }
    }
    let mut sink = Sink::new(config, [1; 32]);
    sink.notify(NOW, told("x", 0)).unwrap();
    let request = asked(&mut sink, NOW);
    assert_eq!(request.max_body, 10);
    sink.handle_failure(NOW, request.id, ExchangeFailure::TooLarge).unwrap();
    assert_eq!(ended(&mut sink, NOW), FetchError::Exchange(ExchangeFailure::TooLarge), "and not tried again");
}

#[test]
fn what_passes_is_tried_again() {
    let mut sink = sink();
    sink.notify(NOW, told("x", 0)).unwrap();
    let first = asked(&mut sink, NOW);
    sink.handle_response(NOW, first.id, (503, Vec::new())).unwrap();
    let Output::Timeout(Some(due)) = sink.poll_output(NOW) else { panic!() };
    sink.handle_timeout(due).unwrap();
    let second = asked(&mut sink, due);
    // What comes too late is not taken.
    sink.handle_response(due, first.id, (200, b"late".to_vec())).unwrap();
    assert!(matches!(sink.poll_output(due), Output::Timeout(Some(_))));
    sink.handle_response(due, second.id, (200, b"x".to_vec())).unwrap();
    assert!(matches!(sink.poll_output(due), Output::Event(SinkEvent::Deliver { seq: 0, .. })));
}

#[test]
fn the_stanzas_of_the_draft_are_read_and_written() {
    let limits = Limits::DEFAULT;
    let read = |name: &str| Iq::decode(&file(&format!("stupid/{name}.xml")), &limits).unwrap();
    let open = read("fig6-open");
    let sid = "i781hf64".to_owned();
    assert_eq!(open.content, Content::Open { block_size: 65_536, sid: sid.clone(), stanza: StanzaKind::Iq });
    assert_eq!((open.id.as_str(), open.from.as_deref()), ("jn3h8g65", Some("romeo@montague.net/orchard")));
    let notify = read("fig8-notify");
    let url = "http://example.org/stupid.php?chid=i781hf64-0";
    assert_eq!(notify.content, Content::Data { seq: 0, sid: sid.clone(), url: url.into() });
    let told = notify.content.notification(0, &limits).unwrap().unwrap();
    assert_eq!((told.url(), told.seq()), (url, 0));
    assert_eq!(Iq::notify("kr91n475", sid.clone(), &told).content, notify.content);
    let close = read("fig10-close");
    assert_eq!(close.content, Content::Close { sid });
    for iq in [open, notify, close] {
        assert_eq!(Iq::decode(iq.encode().as_bytes(), &limits).as_ref(), Ok(&iq));
        let taken = iq.acknowledge();
        assert_eq!((&taken.id, &taken.to, &taken.from), (&iq.id, &iq.from, &iq.to));
        assert_eq!(Iq::decode(taken.encode().as_bytes(), &limits), Ok(taken));
    }
}

#[test]
fn a_sealed_chunk_is_told_as_a_link_and_numbers_begin_anew() {
    let limits = Limits::DEFAULT;
    let (_, told) = stored(&mut source(true), b"x");
    let told = told.with_expires(UnixTime::from_secs(1_618_876_800));
    let iq = Iq::decode(Iq::notify("1", "s", &told.clone().with_seq(65_537)).encode().as_bytes(), &limits).unwrap();
    let Content::Data { seq: 1, url, .. } = &iq.content else { panic!("{iq:?}") };
    assert!(url.starts_with(told.url()) && url.contains("#") && url.contains("&key="));
    assert!(!format!("{iq:?}").contains(url), "not shown");
    let read = |due| iq.content.notification(due, &limits).unwrap().unwrap();
    assert_eq!(read(65_537), told.clone().with_seq(65_537));
    assert_eq!(read(65_538).seq(), 65_537, "out of sequence stays so");
    assert!(Content::Result.notification(0, &limits).is_none());
}

#[test]
fn stanzas_that_are_none_are_refused() {
    let good =
        "<iq type='set' id='1'><data xmlns='urn:xmpp:tmp:stupid' seq='0' sid='s' url='http://r/?chid=a&amp;b'/></iq>";
    let read = |xml: &str| Iq::decode(xml.as_bytes(), &Limits::DEFAULT).map_err(|error| error.to_string());
    assert!(read(good).is_ok());
    assert!(read(&format!("\n {} ", good.replace("<data", "\n<data"))).is_ok());
    let prefixed = good.replace("xmlns=", "xmlns:s=").replace("<data", "<s:data");
    assert_eq!(read(&prefixed), read(good));
    for (from, to) in [
        ("urn:xmpp:tmp:stupid", "http://jabber.org/protocol/ibb"),
        (" xmlns='urn:xmpp:tmp:stupid'", ""),
        ("seq='0'", "seq='65536'"),
        ("seq='0'", "seq='-1'"),
        ("seq='0'", "seq='+1'"),
        ("seq='0'", ""),
        ("seq='0'", "seq='0' seq='0'"),
        ("sid='s'", "sid=''"),
        (" id='1'", ""),
        ("type='set'", "type='get'"),
        ("type='set'", "type='result'"),
        ("&amp;", "&other;"),
        ("&amp;", "&"),
        ("<data", "<data2"),
        ("/></iq>", "/>"),
        ("/></iq>", "/></iq><iq/>"),
        ("/></iq>", "><x/></data></iq>"),
        ("/></iq>", "/>text</iq>"),
        ("<iq ", "<!DOCTYPE iq [<!ENTITY other 'x'>]><iq "),
        ("<iq ", "<message "),
        ("<data", "<!-- x --><data"),
    ] {
        let xml = good.replacen(from, to, 1);
        assert_ne!(xml, good);
        assert!(read(&xml).is_err(), "{xml}");
    }
    assert!(read("<iq type='set' id='1'/>").is_err());
    assert!(read("<iq type='result' id='1'/>").is_ok());
    let long = good.replace("chid=a", &format!("chid={}", "a".repeat(2400)));
    assert!(read(&long).unwrap_err().contains("limit of 2048 octets in a URL"));
    let limits = Limits::default().with_body(100);
    assert!(Iq::decode(good.as_bytes(), &limits).unwrap_err().to_string().contains("limit of 100 octets"));
}

proptest! {
    /// Whatever the relay says and whenever: each octet is delivered once and in order, or the end is said.
    #[test]
    fn nothing_is_lost_or_doubled_between_a_and_b(
        sealed: bool,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..20),
        fates in proptest::collection::vec(0..7_u8, 0..60),
    ) {
        let mut source = Source::new(config(sealed).with_chunk(64).build().unwrap(), [3; 32]);
        let mut sink = sink();
        let mut relay = Relay::new(RelayLimits::default());
        let mut fates = fates.into_iter();
        let (mut now, mut steps, mut closed, mut failed) = (NOW, 0, false, false);
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        let mut pieces = pieces.into_iter();
        while !closed && !failed {
            steps += 1;
            prop_assert!(steps < 10_000, "it comes to no end");
            match pieces.next() {
                Some(piece) => if source.write(now, &piece).is_ok() { sent.extend(piece) },
                None => source.finish(now),
            }
            match source.poll_output(now) {
                Output::Event(SourceEvent::Exchange(request)) => match fates.next().unwrap_or(0) {
                    1 => source.handle_failure(now, request.id, ExchangeFailure::Connect).unwrap(),
                    2 => {
                        // The relay has it, and the answer is lost.
                        ask(&mut relay, "POST", &request.url, &request.body);
                        source.handle_failure(now, request.id, ExchangeFailure::Broken).unwrap();
                    }
                    3 => source.handle_response(now, request.id, 503).unwrap(),
                    4 => {}
                    _ => {
                        let (status, _) = ask(&mut relay, "POST", &request.url, &request.body);
                        source.handle_response(now, request.id, status).unwrap();
                    }
                },
                Output::Event(SourceEvent::Notify(told)) => {
                    prop_assert!(source.notified(now, told.seq()));
                    prop_assert_eq!(sink.notify(now, told), Ok(()));
                }
                Output::Event(SourceEvent::Closed) => closed = true,
                Output::Event(SourceEvent::Failed { .. }) => failed = true,
                Output::Event(_) => {}
                Output::Timeout(Some(due)) => {
                    now = now.max(due);
                    source.handle_timeout(now).unwrap();
                }
                Output::Timeout(None) => {}
            }
            while let Output::Event(event) = sink.poll_output(now) {
                match event {
                    SinkEvent::Exchange(request) => {
                        let response = ask(&mut relay, "GET", &request.url, b"");
                        sink.handle_response(now, request.id, response).unwrap();
                    }
                    SinkEvent::Deliver { octets, .. } => got.extend(octets),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        prop_assert!(sent.starts_with(&got));
        prop_assert!(failed || got == sent);
    }
}
