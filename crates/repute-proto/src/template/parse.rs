//! The grammar. [RFC 6570 section 2](https://www.rfc-editor.org/rfc/rfc6570#section-2)

use super::expand::encode_octet;
use super::{Modifier, Operator, Part, TemplateError, TemplateErrorKind, VarSpec};
use crate::error::Limit;
use crate::limits::Limits;

pub(super) fn parts(text: &str, limits: &Limits) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut count = 0_usize;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let at = text.len().saturating_sub(rest.len());
        match character {
            '{' => {
                let inside = rest.get(1..).unwrap_or("");
                let end = inside.find(['{', '}']);
                let (expression, behind) = match end.and_then(|end| inside.split_at_checked(end)) {
                    None => return Err(TemplateErrorKind::Unclosed.at(at)),
                    Some((expression, behind)) if behind.starts_with('{') => {
                        return Err(TemplateErrorKind::Brace.at(at.saturating_add(1).saturating_add(expression.len())));
                    }
                    Some((expression, behind)) => (expression, behind.get(1..).unwrap_or("")),
                };
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                let (operator, variables) = self::expression(expression, at.saturating_add(1))?;
                count = count.saturating_add(variables.len());
                Limits::check(Limit::Variables, count, limits.variables)
                    .map_err(|limit| TemplateErrorKind::LimitExceeded(limit).at(at))?;
                parts.push(Part::Expression { operator, variables });
                rest = behind;
                continue;
            }
            '}' => return Err(TemplateErrorKind::Brace.at(at)),
            '%' => {
                let triplet = rest.get(..3).filter(|triplet| is_triplet(triplet));
                literal.push_str(triplet.ok_or_else(|| TemplateErrorKind::Percent.at(at))?);
                rest = rest.get(3..).unwrap_or("");
                continue;
            }
            _ if is_literal(character) => literal.push(character),
            _ if is_unicode_literal(character) => {
                let mut octets = [0; 4];
                for octet in character.encode_utf8(&mut octets).bytes() {
                    encode_octet(octet, &mut literal);
                }
            }
            _ => return Err(TemplateErrorKind::Character.at(at)),
        }
        rest = rest.get(character.len_utf8()..).unwrap_or("");
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn is_triplet(text: &str) -> bool {
    let hex = text.strip_prefix('%').unwrap_or("");
    hex.len() == 2 && hex.bytes().all(|octet| octet.is_ascii_hexdigit())
}

/// The ASCII characters of literals but the percent sign; the apostrophe by erratum 6937.
fn is_literal(character: char) -> bool {
    matches!(character, '!' | '#' | '$' | '&' | '\''..=';' | '=' | '?'..='[' | ']' | '_' | 'a'..='z' | '~')
}

/// What RFC 3987 calls ucschar and iprivate.
fn is_unicode_literal(character: char) -> bool {
    let code = u32::from(character);
    match code {
        0xa0..=0xd7ff | 0xe000..=0xfdcf | 0xfdf0..=0xffef => true,
        0x1_0000..=0x10_fffd => code & 0xffff <= 0xfffd && !(0xe_0000..=0xe_0fff).contains(&code),
        _ => false,
    }
}

fn expression(text: &str, at: usize) -> Result<(Operator, Vec<VarSpec>), TemplateError> {
    let operator = match text.chars().next() {
        None => return Err(TemplateErrorKind::Empty.at(at)),
        Some('+') => Operator::Reserved,
        Some('#') => Operator::Fragment,
        Some('.') => Operator::Label,
        Some('/') => Operator::Path,
        Some(';') => Operator::Parameter,
        Some('?') => Operator::Query,
        Some('&') => Operator::Continuation,
        Some('=' | ',' | '!' | '@' | '|') => return Err(TemplateErrorKind::ReservedOperator.at(at)),
        Some(_) => Operator::Simple,
    };
    let skipped = usize::from(operator != Operator::Simple);
    let mut at = at.saturating_add(skipped);
    let mut variables = Vec::new();
    for spec in text.get(skipped..).unwrap_or("").split(',') {
        variables.push(self::spec(spec, at)?);
        at = at.saturating_add(spec.len()).saturating_add(1);
    }
    Ok((operator, variables))
}

fn spec(text: &str, at: usize) -> Result<VarSpec, TemplateError> {
    if text.is_empty() {
        return Err(TemplateErrorKind::Empty.at(at));
    }
    let (name, modifier) = if let Some(name) = text.strip_suffix('*') {
        (name, Modifier::Explode)
    } else if let Some((name, length)) = text.split_once(':') {
        let is_number = (1..=4).contains(&length.len())
            && length.bytes().all(|octet| octet.is_ascii_digit())
            && !length.starts_with('0');
        let number = is_number.then(|| length.parse().ok()).flatten();
        let number = number.ok_or_else(|| TemplateErrorKind::Prefix.at(at.saturating_add(name.len())))?;
        (name, Modifier::Prefix(number))
    } else {
        (text, Modifier::None)
    };
    if !is_name(name) {
        return Err(TemplateErrorKind::Name.at(at));
    }
    Ok(VarSpec { name: name.to_owned(), modifier })
}

/// Letters, digits, underscores and percent triplets, with single dots between them.
pub(super) fn is_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let len = match first {
                '%' if rest.get(..3).is_some_and(is_triplet) => 3,
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => 1,
                _ => return false,
            };
            rest = rest.get(len..).unwrap_or("");
        }
        !part.is_empty()
    })
}
