//! Every error has its status, and every status its meaning. draft-ietf-idwg-iap-01 sections 2, 3 and 4.

use iap_proto::message::Version;
use iap_proto::wire::DecodeErrorKind as Kind;
use iap_proto::{
    ApiMisuse, Error, Limit, Limits, PeerIncompatible, PeerMisbehaved, Receiver, ReceiverEvent, Status, Verdict,
};

use crate::support::*;

#[test]
fn every_error_has_its_status() {
    let version = Version::new(0, 2);
    let mismatch = PeerMisbehaved::VersionMismatch { outside: version, inside: version };
    let rows: [(Error, Option<u16>); 28] = [
        (PeerMisbehaved::UnexpectedRequest { expected: "a", got: "b" }.into(), Some(400)),
        (PeerMisbehaved::Impatient.into(), Some(400)),
        (PeerMisbehaved::InjectedPlaintext.into(), Some(400)),
        (PeerMisbehaved::UnsolicitedResponse.into(), Some(400)),
        (PeerMisbehaved::UnexpectedStatus(Status::OK).into(), Some(400)),
        (mismatch.into(), Some(505)),
        (PeerMisbehaved::EarlyEof.into(), None),
        (PeerMisbehaved::UrgentData.into(), None),
        (PeerMisbehaved::ViaLoop.into(), Some(502)),
        (PeerIncompatible::Version(version).into(), Some(505)),
        (PeerIncompatible::Role.into(), Some(501)),
        (PeerIncompatible::Host.into(), Some(404)),
        (PeerIncompatible::NoCertificate.into(), Some(500)),
        (Error::LimitExceeded(Limit::Line), Some(400)),
        (Error::LimitExceeded(Limit::Lines), Some(400)),
        (Error::LimitExceeded(Limit::Via), Some(502)),
        (Error::LimitExceeded(Limit::Body), Some(413)),
        (Error::LimitExceeded(Limit::Unanswered), Some(503)),
        (Error::TimedOut("x"), Some(408)),
        (ApiMisuse::Finished.into(), Some(500)),
        (ApiMisuse::NotNow.into(), Some(500)),
        (ApiMisuse::WindowFull.into(), Some(500)),
        (ApiMisuse::OutputFull.into(), Some(500)),
        (ApiMisuse::BodyTooLarge.into(), Some(500)),
        (ApiMisuse::UnknownMessage.into(), Some(500)),
        (ApiMisuse::NotAnAnswer.into(), Some(500)),
        (error_of(b"Content-Type: a/b\r\n\r\n"), Some(411)),
        (error_of(b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(501)),
    ];
    for (error, code) in rows {
        assert_eq!(error.status().map(Status::code), code, "{error:?}");
        assert!(!error.to_string().is_empty() && !error.to_string().ends_with('.'), "{error}");
    }
}

fn error_of(octets: &[u8]) -> Error {
    let read = iap_proto::message::ContentHeader::decode_with(octets, iap_proto::Dialect::V0_3, &Default::default());
    read.unwrap_err().into()
}

#[test]
fn every_defect_of_octets_has_its_status() {
    let bad_request = [
        Kind::Incomplete,
        Kind::BareLineFeed,
        Kind::BareCarriageReturn,
        Kind::ControlCharacter,
        Kind::FoldedLine,
        Kind::WhiteSpace,
        Kind::NotIap,
        Kind::Version,
        Kind::UnknownRequest,
        Kind::UnexpectedText,
        Kind::UnexpectedLine,
        Kind::Host,
        Kind::Port,
        Kind::Status,
        Kind::TlsToken,
        Kind::Role,
        Kind::MissingRole,
        Kind::Header,
        Kind::RepeatedHeader,
        Kind::HeaderOrder,
        Kind::MissingType,
        Kind::MediaType,
        Kind::Length,
        Kind::Target,
        Kind::Trailer,
        Kind::Limit(Limit::Line),
        Kind::Limit(Limit::Lines),
    ];
    for kind in bad_request {
        assert_eq!(kind.status().code(), 400, "{kind:?}");
    }
    for (kind, code) in [
        (Kind::MissingLength, 411),
        (Kind::TransferEncoding, 501),
        (Kind::Limit(Limit::Body), 413),
        (Kind::Limit(Limit::Via), 502),
    ] {
        assert_eq!(kind.status().code(), code, "{kind:?}");
    }
}

#[test]
fn every_status_but_1xx_settles_a_message_in_one_way() {
    for code in 100..=599 {
        let verdict = match code {
            100..=199 => None,
            200..=299 => Some(Verdict::Delivered),
            413 => Some(Verdict::TooLarge),
            408 | 429 | 500.. => Some(Verdict::Retry),
            _ => Some(Verdict::Rejected),
        };
        assert_eq!(status(code).verdict(), verdict, "{code}");
        assert_eq!(status(code).is_refusal(), code >= 400);
        assert_eq!(status(code).is_success(), code / 100 == 2);
    }
}

/// What this receiver answers to these octets, and whether the connection goes on.
fn answered(mut receiver: Receiver, octets: &[u8]) -> (String, bool) {
    use watchfire_core::{Machine as _, StreamMachine as _};
    let _ = receiver.handle_input(T0, octets);
    let mut said = drain(&mut receiver, T0);
    for event in &said.events {
        if let ReceiverEvent::Content { id, body, .. } = event {
            // An application that cannot make sense of bodies that start with a question mark.
            let code = if body.starts_with(b"?") { 400 } else { 200 };
            receiver.respond(T0, *id, status(code)).unwrap();
        }
    }
    said.octets.extend(drain(&mut receiver, T0).octets);
    (text(&said.octets), !receiver.is_finished())
}

#[test]
fn content_is_answered_as_the_table_says_and_only_some_statuses_close() {
    let config = || {
        iap_proto::Config::builder(iap_proto::Party::Manager)
            .with_accept(vec![iap_proto::MediaType::IDEF_ALERT])
            .with_limits(Limits::default().with_body(8))
            .build()
            .unwrap()
    };
    for (octets, code, keeps) in [
        (alert(b"ok"), 200, true),
        (alert(b"?"), 400, true),
        (content("text/plain", b"x"), 415, true),
        (alert(b"far too long"), 413, false),
        (b"Content-Type: application/x-idef-alert\r\n\r\n".to_vec(), 411, false),
        (b"Content-Type: a/b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), 501, false),
        (b"Nonsense\r\n\r\n".to_vec(), 400, false),
        (AS_SENDER.to_vec(), 400, false),
        (OK.to_vec(), 400, false),
    ] {
        assert_eq!(answered(receiver(config()), &octets), (text(&answer(code)), keeps), "{}", text(&octets));
    }
}
