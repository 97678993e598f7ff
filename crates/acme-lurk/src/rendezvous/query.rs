//! The name of a chunk in the query of a URL.

/// The value of `chid` in a query; none if it is not there or empty. Percent escapes are decoded, `+` is a plus.
///
/// A query with two of them, or with escapes that are none, has no name: what one program takes for the name another
/// might not.
pub fn chid(query: &str) -> Option<String> {
    let mut found = None;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "chid" {
            if found.is_some() {
                return None;
            }
            found = Some(decode_percent(value)?);
        }
    }
    found.filter(|chid| !chid.is_empty())
}

fn decode_percent(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(octets).ok()
}
