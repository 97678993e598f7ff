//! DNS names, in the one form in which they are compared: A-labels, lower case, no dot at the end.
//! [RFC 5280 section 4.2.1.6](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6),
//! [RFC 8555 section 7.1.4](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.4)

/// The form in which names are compared; none if it is no DNS name in ASCII, or has a label `xn--` that stands for
/// nothing. A first label `*` may be there, and underscores, which some names of services have.
pub fn normalize(name: &str) -> Option<String> {
    if name.len() > 253 {
        return None;
    }
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let mut has_a_label = false;
    for label in labels.split('.') {
        let is_ldh = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        let fits = (1..=63).contains(&label.len()) && label.bytes().all(is_ldh);
        if !fits || label.starts_with('-') || label.ends_with('-') {
            return None;
        }
        let is_a_label = label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
        if !is_a_label && label.get(2..4) == Some("--") {
            return None;
        }
        has_a_label |= is_a_label;
    }
    // A last label of digits makes it an IP address, or something that looks like one.
    if labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|octet| octet.is_ascii_digit())) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    if has_a_label {
        let ascii = lower.strip_prefix("*.").unwrap_or(&lower);
        let (unicode, result) = idna::domain_to_unicode(ascii);
        if result.is_err() || idna::domain_to_ascii(&unicode).ok().as_deref() != Some(ascii) {
            return None;
        }
    }
    Some(lower)
}

/// Whether two texts are the same DNS name. Neither may have a dot at the end.
pub fn are_equal(one: &str, other: &str) -> bool {
    match (normalize(one), normalize(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_one_form() {
        assert_eq!(normalize("ABC.ido.Example").as_deref(), Some("abc.ido.example"));
        assert_eq!(normalize("*.ido.example").as_deref(), Some("*.ido.example"));
        assert_eq!(normalize("XN--BCHER-KVA.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(normalize("_svc.example").as_deref(), Some("_svc.example"));
        assert!(are_equal("A.example", "a.EXAMPLE") && !are_equal("a.example", "a.example."));
        let long = [&"a.".repeat(126)[..], "example"].concat();
        for bad in [
            "",
            ".",
            "a..b",
            "a.example.",
            ".a.example",
            "*",
            "a.*.example",
            "*a.example",
            "**.example",
            "-a.example",
            "a-.example",
            "a b.example",
            "bücher.example",
            "ab--c.example",
            "xn--a.example",
            "xn--.example",
            "xn--99999999.example",
            "192.0.2.1",
            "a.1",
            "a/b.example",
            &"a".repeat(64),
            &long,
        ] {
            assert_eq!(normalize(bad), None, "{bad}");
        }
    }
}
