//! Expansion. [RFC 6570 section 3](https://www.rfc-editor.org/rfc/rfc6570#section-3)

use super::{Modifier, Operator, Part, Template, TemplateError, TemplateErrorKind, Value, VarSpec, Variables};
use crate::error::Limit;
use crate::limits::Limits;

/// How an operator writes: RFC 6570 appendix A.
struct Style {
    first: &'static str,
    separator: &'static str,
    named: bool,
    if_empty: &'static str,
    reserved: bool,
}

impl Operator {
    const fn style(self) -> Style {
        let (first, separator, named, if_empty, reserved) = match self {
            Self::Simple => ("", ",", false, "", false),
            Self::Reserved => ("", ",", false, "", true),
            Self::Fragment => ("#", ",", false, "", true),
            Self::Label => (".", ".", false, "", false),
            Self::Path => ("/", "/", false, "", false),
            Self::Parameter => (";", ";", true, "", false),
            Self::Query => ("?", "&", true, "=", false),
            Self::Continuation => ("&", "&", true, "=", false),
        };
        Style { first, separator, named, if_empty, reserved }
    }
}

/// Where an expansion is written, up to a length.
struct Out {
    text: String,
    most: usize,
}

impl Out {
    fn is_over(&self) -> bool {
        self.text.len() > self.most
    }

    /// Writes a value, its reserved characters as they are or encoded.
    fn encoded(&mut self, value: &str, reserved: bool) {
        let mut rest = value.as_bytes();
        while let Some((octet, behind)) = rest.split_first() {
            if self.is_over() {
                return;
            }
            rest = behind;
            match octet {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    self.text.push(char::from(*octet));
                }
                b'%' if reserved && behind.iter().take(2).filter(|digit| digit.is_ascii_hexdigit()).count() == 2 => {
                    self.text.push('%');
                }
                octet if reserved && is_reserved(*octet) => self.text.push(char::from(*octet)),
                octet => encode_octet(*octet, &mut self.text),
            }
        }
    }
}

/// RFC 3986 section 2.2
fn is_reserved(octet: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&octet)
}

pub(super) fn encode_octet(octet: u8, out: &mut String) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
    out.extend(['%', digit(octet >> 4), digit(octet & 0xf)]);
}

/// Whether the expression at this index, alone with this variable, is written with its reserved characters.
pub(super) type Exception<'e> = dyn Fn(usize, &str) -> bool + 'e;

pub(super) fn expand(
    template: &Template,
    variables: &Variables,
    limits: &Limits,
    exception: &Exception<'_>,
) -> Result<String, TemplateError> {
    let mut out = Out { text: String::with_capacity(template.text.len().saturating_mul(2)), most: limits.uri };
    for (index, part) in template.parts.iter().enumerate() {
        match part {
            Part::Literal(literal) => out.text.push_str(literal),
            Part::Expression { operator, variables: specs } => {
                let mut style = operator.style();
                if let [spec] = &specs[..] {
                    style.reserved |= exception(index, &spec.name);
                }
                expression(&style, specs, variables, &mut out).map_err(|kind| kind.at(0))?;
            }
        }
        if out.is_over() {
            return Err(TemplateErrorKind::LimitExceeded(Limit::Uri).at(template.text.len()));
        }
    }
    Ok(out.text)
}

fn expression(style: &Style, specs: &[VarSpec], variables: &Variables, out: &mut Out) -> Result<(), TemplateErrorKind> {
    let mut is_first = true;
    for spec in specs {
        let Some(value) = variables.defined(&spec.name) else { continue };
        out.text.push_str(if is_first { style.first } else { style.separator });
        is_first = false;
        match (value, spec.modifier) {
            (Value::Text(text), Modifier::Prefix(most)) => {
                let end = text.char_indices().nth(most).map_or(text.len(), |(end, _)| end);
                named(style, &spec.name, text.get(..end).unwrap_or(text), out);
            }
            (Value::Text(text), _) => named(style, &spec.name, text, out),
            (_, Modifier::Prefix(_)) => return Err(TemplateErrorKind::PrefixOfComposite),
            (Value::List(items), Modifier::Explode) => {
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.text.push_str(style.separator);
                    }
                    named(style, &spec.name, item, out);
                }
            }
            (Value::Map(pairs), Modifier::Explode) => {
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        out.text.push_str(style.separator);
                    }
                    out.encoded(key, style.reserved);
                    // A named operator writes no equals sign before nothing unless it does for strings.
                    if style.named && value.is_empty() {
                        out.text.push_str(style.if_empty);
                    } else {
                        out.text.push('=');
                        out.encoded(value, style.reserved);
                    }
                }
            }
            (Value::List(items), Modifier::None) => {
                name(style, &spec.name, out);
                separated(items.iter(), style, out);
            }
            (Value::Map(pairs), Modifier::None) => {
                name(style, &spec.name, out);
                separated(pairs.iter().flat_map(|(key, value)| [key, value]), style, out);
            }
        }
    }
    Ok(())
}

fn name(style: &Style, name: &str, out: &mut Out) {
    if style.named {
        out.text.push_str(name);
        out.text.push('=');
    }
}

fn named(style: &Style, name: &str, value: &str, out: &mut Out) {
    if style.named {
        out.text.push_str(name);
        out.text.push_str(if value.is_empty() { style.if_empty } else { "=" });
    }
    out.encoded(value, style.reserved);
}

fn separated<'v>(items: impl Iterator<Item = &'v String>, style: &Style, out: &mut Out) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.text.push(',');
        }
        out.encoded(item, style.reserved);
    }
}
