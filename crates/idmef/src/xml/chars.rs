//! Which characters XML 1.0 allows, and which of them in names.

/// The Char production: all but most control characters and the two non-characters at the end of the first plane.
pub(crate) fn is_char(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    }
}

/// The offset of the first character that XML does not allow.
pub(crate) fn find_forbidden(text: &str) -> Option<usize> {
    // Almost always nothing is wrong: one pass over the octets that the compiler can vectorise.
    let suspect = |b: u8| (b < 0x20 && b != b'\t' && b != b'\n' && b != b'\r') || b == 0xef;
    if !text.bytes().fold(false, |found, b| found | suspect(b)) {
        return None;
    }
    text.char_indices().find(|&(_, c)| !is_char(c)).map(|(offset, _)| offset)
}

/// The Name production.
pub(crate) fn is_name(name: &str) -> bool {
    let simple = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    if name.as_bytes().iter().all(simple) {
        return name.as_bytes().first().is_some_and(|b| !matches!(b, b'0'..=b'9' | b'-' | b'.'));
    }
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

fn is_name_start(c: char) -> bool {
    match c {
        'A'..='Z' | 'a'..='z' | '_' | ':' => true,
        '\0'..='\x7f' => false,
        _ => matches!(c,
            '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
            | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
            | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}'),
    }
}

fn is_name_char(c: char) -> bool {
    matches!(c, 'a'..='z' | '-' | '0'..='9' | '.' | 'A'..='Z')
        || is_name_start(c)
        || matches!(c, '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// The character of a reference, without `&` and `;`; `None` when it is an entity that only a DTD could define.
pub(crate) enum Reference {
    /// A character, and one that XML allows.
    Char(char),
    /// A named entity other than the five of XML.
    Entity,
    /// Not a reference, or one to a character that XML does not allow.
    Invalid,
}

/// Resolves `name` of `&name;`.
pub(crate) fn resolve(name: &str) -> Reference {
    match name {
        "lt" => return Reference::Char('<'),
        "gt" => return Reference::Char('>'),
        "amp" => return Reference::Char('&'),
        "apos" => return Reference::Char('\''),
        "quot" => return Reference::Char('"'),
        _ => {}
    }
    let Some(number) = name.strip_prefix('#') else {
        return if is_name(name) { Reference::Entity } else { Reference::Invalid };
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    // `from_str_radix` would take a sign.
    let code = digits.starts_with(|c: char| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok());
    match code.flatten().and_then(char::from_u32) {
        Some(c) if is_char(c) => Reference::Char(c),
        _ => Reference::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_characters_are_found() {
        assert_eq!(find_forbidden("a\tb\r\n\u{fffd}é€😀\u{85}"), None);
        for bad in ['\0', '\x08', '\x0b', '\x1f', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(find_forbidden(&format!("a€{bad}")), Some(4));
        }
    }

    #[test]
    fn references() {
        let char_of = |name| match resolve(name) {
            Reference::Char(c) => Some(c),
            _ => None,
        };
        assert_eq!(char_of("#65"), Some('A'));
        assert_eq!(char_of("#x1F600"), Some('😀'));
        assert_eq!(char_of("apos"), Some('\''));
        for bad in ["", "#", "#x", "#+5", "#0", "#xD800", "#x110000", "#99999999999", "#1", "#xFFFF", "lt ", "LT"] {
            assert_eq!(char_of(bad), None, "{bad}");
        }
        assert!(matches!(resolve("LT"), Reference::Entity));
        assert!(matches!(resolve("nbsp"), Reference::Entity));
    }

    #[test]
    fn names() {
        assert!(is_name("a") && is_name("vendorco:Node-1.x") && is_name("é_"));
        assert!(!is_name("") && !is_name("1a") && !is_name("a b") && !is_name("-a") && !is_name("a/"));
    }
}
