//! The relay of the rendezvous.

use std::net::SocketAddr;

use acme_lurk::rendezvous::{PutError, Relay, RelayLimits, RelayRequest, RelayResponse, chid};
use proptest::prelude::*;
use watchfire_core::Instant;

use crate::support::file;

fn from() -> SocketAddr {
    "192.0.2.239:36654".parse().unwrap()
}

/// A request out of a file: the method, the query, and the content behind the head.
fn figure(relay: &mut Relay, name: &str) -> RelayResponse {
    let text = String::from_utf8(file(&format!("stupid/{name}.http"))).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let (method, rest) = head.split_once(' ').unwrap();
    let target = rest.split(' ').next().unwrap();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let body = body.as_bytes();
    relay.handle_request(Instant::ZERO, &RelayRequest { method, query, from: from(), owner: Some("a"), body })
}

/// The status and the content of a response in a file, and whether ours says the same in the header fields that count.
fn is_figure(response: &RelayResponse, name: &str) {
    let text = String::from_utf8(file(&format!("stupid/{name}.http"))).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", response.status)));
    assert_eq!(response.body, body.trim_end_matches('\n').as_bytes(), "{name}");
    for (name, value) in &response.headers {
        let line =
            head.lines().find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)));
        assert!(line.is_none_or(|(_, known)| known == value), "{name}");
    }
}

#[test]
fn the_figures_of_the_draft_are_answered_as_they_show() {
    let mut relay = Relay::new(RelayLimits::default());
    is_figure(&figure(&mut relay, "fig2-discover"), "fig2-discover-response");
    is_figure(&figure(&mut relay, "fig3-store"), "fig3-store-response");
    let response = figure(&mut relay, "fig4-retrieve");
    is_figure(&response, "fig4-retrieve-response");
    let header =
        |name: &str| response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("content-type"), Some("application/octet-stream"));
    assert_eq!(header("cache-control"), Some("no-cache, must-revalidate"));
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    assert_eq!(figure(&mut relay, "fig3-store").status, 403, "never overwritten");
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let mut relay = Relay::new(RelayLimits::default().with_chunk(65_536));
    let mut ask = |method: &str, query: &str, owner: Option<&str>, body: &[u8]| {
        relay.handle_request(Instant::ZERO, &RelayRequest { method, query, from: from(), owner, body })
    };
    for (method, query, status) in [
        ("POST", "", 404),
        ("POST", "chid=", 404),
        ("POST", "chid=a&chid=b", 404),
        ("POST", "chid=%zz", 404),
        ("GET", "chid=a", 404),
        ("HEAD", "chid=a", 404),
        ("GET", "x=y", 404),
        ("PUT", "chid=a", 405),
        ("DELETE", "chid=a", 405),
    ] {
        let response = ask(method, query, Some("a"), b"x");
        assert_eq!(response.status, status, "{method} {query}");
        assert_eq!(
            response.headers.iter().any(|(name, value)| *name == "allow" && value == "GET, HEAD, POST"),
            status == 405
        );
    }
    let stranger = ask("POST", "chid=a", None, b"x");
    assert_eq!((stranger.status, stranger.headers.iter().any(|(name, _)| *name == "www-authenticate")), (401, true));
    let all: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    assert_eq!(ask("POST", "x=1&chid=a%2Db", Some("a"), &all).status, 200);
    assert_eq!((ask("GET", "chid=a-b", None, b"").body, ask("HEAD", "chid=a-b", None, b"").status), (all.clone(), 200));
    assert_eq!(ask("POST", "chid=c", Some("a"), &[all, vec![0]].concat()).status, 413);
    assert_eq!(ask("POST", &format!("chid={}", "c".repeat(129)), Some("a"), b"").status, 414);
}

#[test]
fn chunks_stay_for_five_minutes_and_no_longer() {
    let mut relay = Relay::new(RelayLimits::default());
    let at = Instant::from_secs;
    assert_eq!(relay.put(at(100), "a", "one", b"1"), Ok(()));
    assert_eq!(relay.put(at(200), "a", "two", b"2"), Ok(()));
    assert_eq!(relay.wake(), Some(at(400)));
    assert_eq!(relay.get(at(399), "one"), Some(&b"1"[..]));
    assert_eq!(relay.get(at(50), "one"), Some(&b"1"[..]), "a clock that goes back stands still");
    assert_eq!(relay.get(at(400), "one"), None);
    assert_eq!(relay.get(at(400), "two"), Some(&b"2"[..]));
    assert_eq!(relay.put(at(401), "b", "one", b"3"), Ok(()), "the name is free again");
    relay.forget(at(9999));
    assert_eq!((relay.usage(), relay.wake()), ((0, 0), None));
}

#[test]
fn one_owner_cannot_take_all_the_room() {
    let mut relay = Relay::new(RelayLimits::default().with_totals(1000, 2500));
    let at = Instant::ZERO;
    assert_eq!(relay.put(at, "a", "1", &[0; 800]), Ok(()));
    assert_eq!(relay.put(at, "a", "2", &[0; 800]), Err(PutError::Full));
    assert_eq!(relay.put(at, "b", "2", &[0; 800]), Ok(()));
    assert_eq!(relay.put(at, "c", "3", &[0; 800]), Err(PutError::Full), "all together");
    assert_eq!(relay.put(at, "c", "1", b""), Err(PutError::Duplicate));
    assert_eq!(relay.usage().0, 2);
}

#[test]
fn names_are_read_in_one_way() {
    for (query, name) in [
        ("chid=i781hf64-0", Some("i781hf64-0")),
        ("a=b&chid=x&c", Some("x")),
        ("chid=a%2Fb+c", Some("a/b+c")),
        ("chid", None),
        ("chid=", None),
        ("CHID=a", None),
        ("chid=a&chid=a", None),
        ("chid=%", None),
        ("chid=%ff", None),
        ("xchid=a", None),
    ] {
        assert_eq!(chid(query).as_deref(), name, "{query}");
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_bounded_and_never_changes(
        puts in proptest::collection::vec((0..200_u64, 0..3_u8, "[ab]{1,2}", 0..900_usize), 0..60),
    ) {
        let mut relay = Relay::new(RelayLimits::default().with_totals(2000, 5000));
        let mut now = 0;
        let mut kept = std::collections::BTreeMap::new();
        for (number, (step, owner, name, len)) in puts.into_iter().enumerate() {
            now += step;
            let octets = vec![u8::try_from(number).unwrap(); len];
            let at = Instant::from_secs(now);
            kept.retain(|_, (stored, _)| *stored + 300 > now);
            let result = relay.put(at, &owner.to_string(), &name, &octets);
            prop_assert_eq!(result == Err(PutError::Duplicate), kept.contains_key(&name));
            if result.is_ok() {
                kept.insert(name, (now, octets));
            }
            prop_assert!(relay.usage().1 <= 5000 && relay.usage().0 == kept.len());
            for (name, (_, octets)) in &kept {
                prop_assert_eq!(relay.get(at, name), Some(&octets[..]));
            }
        }
    }
}
