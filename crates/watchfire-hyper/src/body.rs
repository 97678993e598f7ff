//! Bodies, as far as they may go and in the time that they have.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is larger than it may be, or says that it will be.
    #[error("the body is too large")]
    TooLarge,
    /// It broke off, or was no HTTP.
    #[error("the body broke off: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was not there in time.
    #[error("the body came too slowly")]
    TooSlow,
}

impl BodyError {
    /// What a server answers.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

/// Reads all of a body, of up to `most` octets, within `patience`. An announced length is only believed where it is too
/// much.
///
/// # Errors
/// When it is too large, breaks off, or is not there in time.
pub async fn read_body(body: Incoming, most: usize, patience: Duration) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > most as u64 {
        return Err(BodyError::TooLarge);
    }
    let whole = Limited::new(body, most).collect();
    match tokio::time::timeout(patience, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
        Err(_) => Err(BodyError::TooSlow),
    }
}
