//! The query of a target: `name=value` pairs.

use std::borrow::Cow;

use crate::template::decode_percent;

/// A parameter's decoded name and value.
pub(super) type Pair = (String, String);

/// Reads the pairs; `None` when one is no UTF-8.
pub(super) fn pairs(query: &str) -> Option<Vec<Pair>> {
    let decode = |text: &str| decode_percent(&text.replace('+', " ")).map(Cow::into_owned);
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

/// The first value of a parameter, its name in any case.
pub(super) fn first<'p>(pairs: &'p [Pair], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
