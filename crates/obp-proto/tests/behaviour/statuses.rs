//! Every error has a status.

use obp_proto::Status;
use obp_proto::error::{ApiMisuse, Error, ExchangeFailure, Limit, PeerIncompatible, PeerMisbehaved};
use obp_proto::message::InvalidRequest;

use crate::support::decode;

#[test]
fn every_error_has_its_status() {
    let syntax = Status::SYNTAX;
    for (error, status) in [
        (Error::from(decode("{").unwrap_err()), syntax),
        (Error::from(decode(r#"{"X": {}}"#).unwrap_err()), Status::NOT_IMPLEMENTED),
        (PeerMisbehaved::UnexpectedMessage { expected: "A", got: "B" }.into(), syntax),
        (InvalidRequest::NoIdentifier.into(), syntax),
        (InvalidRequest::NoServiceNorPort.into(), syntax),
        (InvalidRequest::NothingToValidate.into(), syntax),
        (InvalidRequest::IndexOutOfRange.into(), syntax),
        (PeerMisbehaved::MissingField("Challenge").into(), syntax),
        (PeerMisbehaved::UnexpectedStatus(Status::PASSCODE).into(), syntax),
        (PeerMisbehaved::WrongProof.into(), Status::AUTHENTICATION),
        (PeerMisbehaved::ChallengeLength(3).into(), syntax),
        (PeerMisbehaved::NotOffered.into(), syntax),
        (PeerMisbehaved::KeyLength(3).into(), syntax),
        (PeerMisbehaved::NotAuthenticated.into(), Status::AUTHENTICATION),
        (PeerIncompatible::NoCommonAlgorithm.into(), Status::REFUSED),
        (PeerIncompatible::NoUsableInstance.into(), Status::REFUSED),
        (PeerIncompatible::MediaType.into(), syntax),
        (Error::Refused(Status::REVOKED), Status::REVOKED),
        (Limit::Message.into(), syntax),
        (Limit::Depth.into(), syntax),
        (Limit::Items.into(), syntax),
        (Limit::Values.into(), syntax),
        (Limit::String.into(), syntax),
        (Limit::UnknownFields.into(), syntax),
        (Limit::Codes.into(), syntax),
        (Limit::Transactions.into(), Status::TOO_MANY),
        (Limit::PinAttempts.into(), Status::TOO_MANY),
        (Limit::Unanswered.into(), Status::TOO_MANY),
        (Error::TimedOut("x"), Status::TIME_OUT),
        (Error::Unreachable(ExchangeFailure::Tls), Status::SERVER_FAILURE),
        (ApiMisuse::NotNow.into(), Status::UNKNOWN),
    ] {
        assert_eq!(error.status(), status, "{error}");
        let text = error.to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
        assert!((400..=599).contains(&error.status().refusal_http_status()), "{error}");
    }
}
