//! The header against the examples, as text, as a MAC, and against replay.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;
use watchfire_core::{Duration, Instant, UnixTime};

use super::*;
use crate::crypto::{Authentication, RustCrypto};

/// The ticket of the example in draft-hallambaker-omnibroker-08 section 7.2, folded as it is printed there.
const EXAMPLE: &str = "Value=5_AlS4yMTeE82T6ZP9qAZN7TOhXtvqZ__zsLOmCxNrQ;\n   Id=o7znkpTHfrqcwsI1eHkPghCj7YsGUCp0KV2DcV1qXGlCt9wzmr2T6UcO_0YI\n   AcEqVdTsqRsYBtVNGs9SJyTCnMvjIlU1xQ9ZzoUtqtJsT4A";
const CONNECT: &[u8] = b"{\n  \"QueryConnectRequest\": {\n    \"Identifier\": {\n      \"Name\": \"Example.com\",\n      \"Service\": \"_http\",\n      \"Port\": 80}}}";

/// The secret that draft-hallambaker-wsconnect-08 section 3.1 issues with that ticket: 2tFPA7RVgbcAv7WZC0hl0w.
const SECRET: [u8; 16] =
    [0xda, 0xd1, 0x4f, 0x03, 0xb4, 0x55, 0x81, 0xb7, 0x00, 0xbf, 0xb5, 0x99, 0x0b, 0x48, 0x65, 0xd3];

fn key() -> SessionKey {
    SessionKey::new(&RustCrypto, &SECRET, &Authentication::Hs256T128).unwrap()
}

#[test]
fn the_examples_verify_and_are_rebuilt() {
    let header = SessionHeader::parse(EXAMPLE).unwrap();
    assert_eq!((header.id().len(), header.value().len(), header.profile()), (80, 32, Profile::Seed));
    assert!(key().verify(&header, CONNECT));
    assert!(!key().verify(&header, &CONNECT[1..]));
    let signed = key().sign(SessionHeader::new(header.id()), CONNECT);
    let printed = signed.to_string();
    assert_eq!(printed, EXAMPLE.replace(";\n   ", "; ").replace("\n   ", ""));
    assert_eq!(SessionHeader::parse(&printed).unwrap(), header);
    // An UnbindRequest of draft-hallambaker-wsconnect-08, under another secret.
    let secret = b"\xa7\xc7\x95\x59\x83\xd2\xd1\x8a\xce\x56\xbd\x1d\x20\xba\xdc\x4e";
    let unbind = SessionKey::new(&RustCrypto, secret, &Authentication::Hs256).unwrap();
    let header = SessionHeader::parse("Value=RplcOyyQc_E4PcbNmL1vpt9xLOIdAXHNxqeBD_RHaJY; Id=AAAA").unwrap();
    assert!(unbind.verify(&header, b"{\n  \"UnbindRequest\": {}}"));
}

#[test]
fn the_mac_of_a_validate_request_verifies() {
    let certificate = std::fs::read(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/obp/seed-certificate.der"),
    )
    .unwrap();
    use base64::Engine as _;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(certificate);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("\n{}", std::str::from_utf8(line).unwrap())).collect();
    let body = format!(
        "{{\n  \"ValidateRequest\": {{\n    \"Service\": {{\n      \"Identifier\": [{{\n          \"Name\": \
         \"example.com\"}}]}},\n    \"Credential\": [{{\n        \"Data\": \"{lines}\"}}]}}}}"
    );
    assert_eq!(body.len(), 1126);
    let id = EXAMPLE.split_once("Id=").unwrap().1;
    let header = SessionHeader::parse(&format!("Id={id}; Value=ebgTLvWjZFeTMnowmomslUu9rPvzAPAciO11QK26NQg")).unwrap();
    assert!(key().verify(&header, body.as_bytes()));
}

#[test]
fn attributes_come_in_any_order_and_with_any_separator() {
    let plain = SessionHeader::parse("Value=AQ; Id=Ag; Nonce=Aw; Time=17; Count=5; Stream=2").unwrap();
    assert_eq!((plain.nonce(), plain.time()), (Some(&[3][..]), Some(17)));
    assert_eq!((plain.count(), plain.stream()), (Some(5), Some(2)));
    for text in [
        "Id=Ag;Value=AQ;Stream=2;Count=5;Nonce=Aw;Time=17",
        "  Value=AQ Id=Ag\tNonce=Aw\r\n Time=17 Count=5 Stream=2  ",
        "Value=AQ== ; Id=Ag== ; Nonce=Aw==; Now=17;; Count=5; Stream=2;",
        "Value=A Q; Id=A\n g; Nonce=Aw =\r\n =; Time=1 7; Count=5; Stream=2; Deleted; tlsu=AAAA; Max-Age=60",
    ] {
        let header = SessionHeader::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((header.value(), header.id(), header.nonce()), (&[1][..], &[2][..], Some(&[3][..])), "{text}");
        assert_eq!((header.time(), header.count(), header.stream()), (Some(17), Some(5), Some(2)), "{text}");
        assert_eq!(SessionHeader::parse(&header.to_string()).as_ref(), Ok(&header), "{text}");
    }
    let mail = SessionHeader::parse("Value=+/+/; Id=-_-_").unwrap();
    assert_eq!(mail.value(), mail.id(), "both alphabets are read");
    let header = SessionHeader::parse("Value=AQ Deleted Id=Ag Max-Age=60").unwrap();
    assert_eq!((header.attribute("Deleted"), header.attribute("Max-Age")), (Some(""), Some("60")));
    assert_eq!(header.attribute("deleted"), None, "case matters");
}

#[test]
fn what_is_no_header_is_refused_with_the_place() {
    use HeaderError::{Duplicate, IdTooLong, Missing, Syntax, TooLong, Value};
    let long = |octets: usize| format!("Value=AQ; Id={}", "A".repeat(octets.div_ceil(3) * 4));
    for (text, error) in [
        ("", Missing("Value")),
        ("Value=AQ", Missing("Id")),
        ("Id=AQ", Missing("Value")),
        ("Value=; Id=AQ", Missing("Value")),
        ("Value=AQ; Id", Value("Id")),
        ("Value=AQ; Id=Ag; Id=Ag", Duplicate("Id".into())),
        ("Value=AQ Value=AQ Id=Ag", Duplicate("Value".into())),
        ("Value=AQ; Id=Ag; Time=1; Now=1", Duplicate("Now".into())),
        ("Value=AQ; Id=Ag; =x", Syntax(17)),
        ("Value=AQ; Id=Ag; \"x\"", Syntax(17)),
        ("Value=AQ; Id=Ag; x=\"y\"", Syntax(19)),
        ("Value=+-==; Id=Ag", Value("Value")),
        ("Value=AQ; Id=A", Value("Id")),
        ("Value=AQ; Id=Ag; Count=-1", Value("Count")),
        ("Value=AQ; Id=Ag; Count=+1", Value("Count")),
        ("Value=AQ; Id=Ag; Time=18446744073709551616", Value("Time")),
        ("Value=AQ; Id=Ag; Nonce=", Value("Nonce")),
        (&format!("Value=AQ; Id=Ag; Nonce={}", "A".repeat(88)), Value("Nonce")),
        (&long(4098), IdTooLong(4098)),
        (&"x".repeat(SessionHeader::MAX_LEN + 1), TooLong),
        (&(0..33).map(|n| format!("a{n};")).collect::<String>(), TooLong),
    ] {
        assert_eq!(SessionHeader::parse(text), Err(error), "{text}");
    }
    assert!(SessionHeader::parse(&long(4095)).is_ok());
}

#[test]
fn truncated_macs_are_taken_down_to_what_the_label_says() {
    for (label, least, whole) in
        [(Authentication::Hs256T128, 16, 32), (Authentication::Hs256, 32, 32), (Authentication::Hs512, 64, 64)]
    {
        let key = SessionKey::new(&RustCrypto, &SECRET, &label).unwrap();
        let signed = key.sign(SessionHeader::new(b"ticket"), b"body");
        assert_eq!(signed.value().len(), whole);
        for len in 1..=whole {
            let short = signed.clone().with_value(&signed.value()[..len]);
            assert_eq!(key.verify(&short, b"body"), len >= least, "{label}: {len} octets");
        }
        let longer = signed.clone().with_value(&[signed.value(), &[0]].concat());
        assert!(!key.verify(&longer, b"body"));
        assert_eq!(key.sign_truncated(SessionHeader::new(b"ticket"), b"body").value().len(), least);
        assert!(!key.verify(&SessionHeader::new(b"ticket"), b"body"), "unsigned");
    }
    assert!(SessionKey::new(&RustCrypto, &SECRET, &"none".parse().unwrap()).is_none());
}

#[test]
fn the_strict_mac_covers_the_header() {
    let header = SessionHeader::new(&[2]).with_nonce(&[3]).with_time(17).with_count(1, 5);
    let signed = key().sign(header, b"body");
    assert_eq!(signed.profile(), Profile::Strict);
    // Computed here by the words of the profile.
    let canonical = b"Session:Count=5; Id=Ag; Nonce=Aw; Stream=1; Time=17\r\nbody";
    let mac = crate::crypto::Provider::hmac(&RustCrypto, crate::crypto::HashAlgorithm::Sha256, &SECRET, &[canonical]);
    assert_eq!(signed.value(), mac.as_bytes());
    let text = signed.to_string();
    assert!(key().verify(&SessionHeader::parse(&text).unwrap(), b"body"));
    // Any attribute that is changed, added or taken away breaks it; the order does not matter.
    for (from, to) in [("Nonce=Aw", "Nonce=BA"), ("Time=17", "Time=18"), ("Count=5", "Count=6"), ("Id=Ag", "Id=AQ")] {
        assert!(!key().verify(&SessionHeader::parse(&text.replace(from, to)).unwrap(), b"body"), "{to}");
    }
    assert!(!key().verify(&SessionHeader::parse(&format!("{text}; Deleted")).unwrap(), b"body"));
    let bare =
        text.split("; ").filter(|attribute| ["Va", "Id"].contains(&&attribute[..2])).collect::<Vec<_>>().join("; ");
    let bare = SessionHeader::parse(&bare).unwrap();
    assert_eq!(bare.profile(), Profile::Seed);
    assert!(!key().verify(&bare, b"body"), "a strict message does not become one of the other profile");
    let reversed: Vec<&str> = text.split("; ").collect::<Vec<_>>().into_iter().rev().collect();
    assert!(key().verify(&SessionHeader::parse(&reversed.join("; ")).unwrap(), b"body"));
    // And a seed message does not become strict.
    let seed = key().sign(SessionHeader::new(&[2]), b"body");
    assert!(!key().verify(&SessionHeader::parse(&format!("{seed}; Nonce=Aw; Time=17")).unwrap(), b"body"));
}

#[test]
fn several_headers_verify_as_configured() {
    for (required, expected) in [
        (Required::Any, [false, true, true, true]),
        (Required::AtLeast(0), [false, true, true, true]),
        (Required::AtLeast(2), [false, false, true, true]),
        (Required::All, [false, false, false, true]),
    ] {
        assert_eq!([0, 1, 2, 3].map(|verified| required.is_satisfied(verified, 3)), expected, "{required:?}");
        assert!(!required.is_satisfied(0, 0), "no header is never enough");
    }
}

const NOW: u64 = 1_400_000_000;

fn guard(limits: ReplayLimits) -> ReplayGuard {
    ReplayGuard::new(limits, &RustCrypto, &[1; 32])
}

fn timed(nonce: u8, time: u64) -> SessionHeader {
    SessionHeader::new(b"t").with_nonce(&[nonce]).with_time(time)
}

fn counted(stream: u64, count: u64) -> SessionHeader {
    SessionHeader::new(b"t").with_count(stream, count)
}

const EXPIRES: UnixTime = UnixTime::from_secs(NOW as i64 + 1000);

#[test]
fn nonces_are_taken_once_within_the_window() {
    let mut guard = guard(ReplayLimits::default());
    let mut admit = |secs: u64, ticket: u8, header: &SessionHeader| {
        guard.admit(Instant::from_secs(secs), NOW + secs, &[ticket; 16], EXPIRES, header)
    };
    assert_eq!(admit(0, 1, &timed(1, NOW)), Ok(()));
    assert_eq!(admit(0, 1, &timed(1, NOW)), Err(ReplayError::Replayed));
    assert_eq!(admit(0, 1, &timed(1, NOW + 5)), Err(ReplayError::Replayed), "whatever the time");
    assert_eq!(admit(0, 2, &timed(1, NOW)), Ok(()), "each ticket has nonces of its own");
    assert_eq!(admit(0, 1, &timed(2, NOW - 300)), Ok(()));
    assert_eq!(admit(0, 1, &timed(3, NOW - 301)), Err(ReplayError::Stale));
    assert_eq!(admit(0, 1, &timed(4, NOW + 300)), Ok(()));
    assert_eq!(admit(0, 1, &timed(5, NOW + 301)), Err(ReplayError::Stale));
    // However long a time stays in the window, so long is its nonce known.
    for secs in (0..=600).step_by(7) {
        assert_eq!(admit(secs, 1, &timed(4, NOW + 300)), Err(ReplayError::Replayed), "after {secs} s");
    }
    assert_eq!(admit(601, 1, &timed(4, NOW + 300)), Err(ReplayError::Stale));
    assert_eq!(admit(10_000, 1, &timed(4, NOW + 10_000)), Ok(()), "forgotten at last");
    let bare = SessionHeader::new(b"t").with_nonce(&[9]);
    assert_eq!(admit(10_000, 1, &bare), Err(ReplayError::Nothing));
    let bare = SessionHeader::new(b"t").with_time(NOW + 10_000);
    assert_eq!(admit(10_000, 1, &bare), Err(ReplayError::Nothing));
}

#[test]
fn nonces_are_known_as_long_as_they_can_come_again_whatever_came_in_between() {
    // Whenever one comes, and however often others made room in between, it is refused until its time is over.
    for came in (0..1300).step_by(97) {
        let mut guard = guard(ReplayLimits::default());
        assert!(guard.is_empty());
        let header = timed(200, NOW + came + 300);
        let mut admit = |secs: u64, header: &SessionHeader| {
            guard.admit(Instant::from_secs(secs), NOW + secs, &[1; 16], EXPIRES, header)
        };
        for (nonce, secs) in (0..came).step_by(150).enumerate() {
            assert_eq!(admit(secs, &timed(nonce as u8, NOW + secs)), Ok(()));
        }
        assert_eq!(admit(came, &header), Ok(()));
        for (nonce, secs) in (came..=came + 600).step_by(50).enumerate() {
            assert_eq!(admit(secs, &timed(100 + nonce as u8, NOW + secs)), Ok(()));
            assert_eq!(admit(secs, &header), Err(ReplayError::Replayed), "came after {came} s, again after {secs} s");
        }
        assert!(!guard.is_empty());
    }
}

#[test]
fn counters_of_tickets_that_live_are_not_forgotten_for_others() {
    let mut guard = guard(ReplayLimits { counters: 2, ..ReplayLimits::default() });
    let mut admit = |secs: u64, ticket: u8, lifetime: i64, count: u64| {
        let expires = UnixTime::from_secs(NOW as i64 + lifetime);
        guard.admit(Instant::from_secs(secs), NOW + secs, &[ticket; 16], expires, &counted(0, count))
    };
    assert_eq!(admit(0, 1, 100, 7), Ok(()));
    assert_eq!(admit(0, 2, 1000, 7), Ok(()));
    assert_eq!(admit(99, 3, 1000, 7), Err(ReplayError::Full), "both live");
    assert_eq!(admit(100, 3, 1000, 7), Ok(()), "the first has expired");
    assert_eq!(admit(100, 2, 1000, 7), Err(ReplayError::Replayed), "the second has not");
    assert_eq!(admit(100, 3, 1000, 7), Err(ReplayError::Replayed));
}

#[test]
fn counts_increase_within_each_stream() {
    let mut guard = guard(ReplayLimits { streams: 3, ..ReplayLimits::default() });
    let mut admit = |ticket: u8, stream: u64, count: u64| {
        guard.admit(Instant::ZERO, NOW, &[ticket; 16], EXPIRES, &counted(stream, count))
    };
    assert_eq!(admit(1, 0, 5), Ok(()));
    assert_eq!(admit(1, 0, 5), Err(ReplayError::Replayed));
    assert_eq!(admit(1, 0, 4), Err(ReplayError::Replayed));
    assert_eq!(admit(1, 0, 900), Ok(()));
    assert_eq!(admit(1, 0, 6), Err(ReplayError::Replayed), "greater than all before");
    assert_eq!(admit(1, 2, 0), Ok(()));
    assert_eq!(admit(1, 2, 0), Err(ReplayError::Replayed));
    assert_eq!(admit(2, 0, 1), Ok(()));
    assert_eq!(admit(1, 3, 1), Err(ReplayError::Stream(3)));
    assert_eq!(admit(1, u64::MAX, 1), Err(ReplayError::Stream(u64::MAX)));
}

#[test]
fn what_is_remembered_is_bounded_and_refuses_rather_than_forgets() {
    let limits = ReplayLimits { nonces: 5, nonces_per_ticket: 3, counters: 2, ..ReplayLimits::default() };
    let mut guard = guard(limits);
    let mut admit =
        |ticket: u8, header: &SessionHeader| guard.admit(Instant::ZERO, NOW, &[ticket; 16], EXPIRES, header);
    (0..3).for_each(|n| assert_eq!(admit(1, &timed(n, NOW)), Ok(())));
    assert_eq!(admit(1, &timed(3, NOW)), Err(ReplayError::Full), "one ticket does not use up all");
    (0..2).for_each(|n| assert_eq!(admit(2, &timed(n, NOW)), Ok(())));
    assert_eq!(admit(3, &timed(0, NOW)), Err(ReplayError::Full));
    assert_eq!(admit(1, &timed(0, NOW)), Err(ReplayError::Replayed));
    assert_eq!(admit(1, &counted(0, 1)), Ok(()));
    assert_eq!(admit(2, &counted(0, 1)), Ok(()));
    assert_eq!(admit(3, &counted(0, 1)), Err(ReplayError::Full));
    assert_eq!(admit(2, &counted(0, 2)), Ok(()));
    // When the tickets have expired, there is room.
    let later = guard.admit(Instant::from_secs(1001), NOW + 1001, &[3; 16], EXPIRES, &counted(0, 1));
    assert_eq!((later, guard.len()), (Ok(()), 5));
}

#[test]
fn the_clock_is_corrected_and_never_goes_back() {
    let mut clock = Clock::new(Instant::from_secs(10), UnixTime::from_secs(1000));
    assert_eq!(clock.now(Instant::from_secs(12)), 1002);
    clock.correct(Instant::from_secs(12), UnixTime::from_secs(2000));
    assert_eq!(clock.now(Instant::from_secs(13)), 2001);
    clock.correct(Instant::from_secs(13), UnixTime::from_secs(1990));
    for secs in 13..24 {
        assert_eq!(clock.now(Instant::from_secs(secs)), 2001, "stands still");
    }
    assert_eq!(clock.now(Instant::from_secs(25)), 2002);
    assert_eq!(clock.now(Instant::from_secs(1)), 2002, "even if the driver's clock goes back");
    assert_eq!(Clock::new(Instant::FAR_FUTURE, UnixTime::from_secs(-5)).now(Instant::ZERO), 0);
    assert_eq!(clock.unix(Instant::from_secs(26)), UnixTime::from_secs(2003));
    let _ = clock.now(Instant::FAR_FUTURE + Duration::MAX);
}

proptest! {
    #[test]
    fn parsing_never_panics_and_prints_what_it_read(text in "([A-Za-z0-9=_+/; \t-]|Value=|Id=|Nonce=|Time=|Deleted){0,60}") {
        if let Ok(header) = SessionHeader::parse(&text) {
            let printed = header.to_string();
            prop_assert_eq!(SessionHeader::parse(&printed), Ok(header), "{}", printed);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
        let _ = SessionHeader::parse(&text);
    }
}
