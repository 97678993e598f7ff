//! Answers and failures as JSON.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use super::Answer;
use crate::exit::{Blame, Failure};

/// A JSON value and a line feed.
pub(super) fn said(status: StatusCode, value: &Value) -> Answer {
    answer(status, Full::new(Bytes::from(format!("{value}\n"))).boxed_unsync(), "application/json")
}

/// A line for each value that comes, until none comes any more.
pub(super) fn lines(values: Receiver<Value>) -> Answer {
    let frames = futures_util::stream::unfold(values, |mut values| async move {
        let value = values.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{value}\n")))), values))
    });
    answer(StatusCode::OK, StreamBody::new(frames).boxed_unsync(), "application/x-ndjson")
}

/// Why not.
pub(super) fn failed(failure: &Failure) -> Answer {
    let (status, blame) = match failure.blame() {
        Blame::PeerRefused => (StatusCode::CONFLICT, "refused"),
        Blame::Unreachable => (StatusCode::GATEWAY_TIMEOUT, "unreachable"),
        Blame::PeerMisbehaved => (StatusCode::BAD_GATEWAY, "misbehaved"),
        _ => (StatusCode::BAD_REQUEST, "usage"),
    };
    said(status, &json!({ "error": failure.to_string(), "blame": blame }))
}

/// Why not, before anything was looked at.
pub(super) fn refused(status: StatusCode, what: &str) -> Answer {
    let blame = if status == StatusCode::UNAUTHORIZED { "refused" } else { "usage" };
    let mut answer = said(status, &json!({ "error": what, "blame": blame }));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, PUT, POST, DELETE"));
    }
    answer
}

fn answer(
    status: StatusCode,
    body: http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>,
    kind: &'static str,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // One question a connection: those who follow keep theirs, and the others leave their place.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
