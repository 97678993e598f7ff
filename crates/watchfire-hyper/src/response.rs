//! What clients look at in what came, or in why nothing came.

use std::error::Error;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Whether a body is coded. Nobody here asks for a coding, and none is undone: what is small on the wire cannot become
/// large.
pub fn is_coded(headers: &HeaderMap) -> bool {
    let is_identity = |value: &http::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    !headers.get_all(CONTENT_ENCODING).iter().all(is_identity)
}

/// What is behind an error of a client, in one line: what the system, TLS or HTTP said. The error itself when there is
/// nothing behind it.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some repeat what is behind them.
        if !words.last().is_some_and(|last| last.contains(&text)) {
            words.push(text);
        }
        source = error.source();
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Chain(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn what_is_behind_an_error_is_said_once() {
        let inner = |text, source: Option<Chain>| Chain(text, source.map(Box::new));
        let error = inner("top", Some(inner("no connection: refused", Some(inner("refused", None)))));
        assert_eq!(causes(&error), "no connection: refused");
        assert_eq!(causes(&inner("alone", None)), "alone");
        assert_eq!(causes(&inner("top", Some(inner("a", Some(inner("b", None)))))), "a: b");
    }

    #[test]
    fn only_identity_is_no_coding() {
        let mut headers = HeaderMap::new();
        assert!(!is_coded(&headers));
        headers.append(CONTENT_ENCODING, " Identity ".parse().unwrap());
        assert!(!is_coded(&headers));
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(is_coded(&headers));
    }
}
