//! What a machine says, for hyper.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// A response of these parts.
pub(crate) fn written(
    status: u16,
    headers: impl IntoIterator<Item = (&'static str, String)>,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        // What a machine says has no control characters; a field that had is left out rather than sent.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    response
}
