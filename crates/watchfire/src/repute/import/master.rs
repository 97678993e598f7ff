//! Master files (RFC 1035 section 5.1), as BIND and most name servers read them, of zones that are lists (RFC 5782).

use std::net::Ipv4Addr;

use super::records::{Records, forwards};
use super::{Broken, Defaults, Sink, wrong};

/// Fields of one record; the SOA has eleven.
const FIELDS: usize = 256;

/// A master file that is being read.
#[derive(Debug, Default)]
pub(super) struct Master {
    /// The name that relative names are below, without its last dot.
    origin: String,
    /// The zone's own name: the owner of its SOA.
    apex: Option<String>,
    owner: Option<String>,
    record: Open,
    records: Records,
}

/// A record whose lines are still coming.
#[derive(Debug, Default)]
struct Open {
    place: String,
    fields: Vec<String>,
    /// Whether it begins with white space, and so is about the name before.
    continues: bool,
    /// Parentheses that are open.
    depth: usize,
}

/// Whether this line shows that a file is a master file: what other lists do not have.
pub(super) fn is_sign(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|first| {
        let is_origin = first.eq_ignore_ascii_case("$ORIGIN");
        is_origin || words.find(|word| !is_before_type(word)).is_some_and(|word| word.eq_ignore_ascii_case("SOA"))
    })
}

/// Whether it is a time to live or a class, which stand before the type of a record.
fn is_before_type(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit())
        || ["IN", "CH", "HS"].iter().any(|class| word.eq_ignore_ascii_case(class))
}

impl Master {
    /// Takes a line.
    pub(super) fn line(&mut self, line: &str, place: &str, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
        let open = &mut self.record;
        if open.depth == 0 {
            open.continues = line.starts_with([' ', '\t']);
            place.clone_into(&mut open.place);
            open.fields.clear();
        }
        open.take(line)?;
        if open.depth > 0 || open.fields.is_empty() {
            return Ok(());
        }
        let open = std::mem::take(&mut self.record);
        self.record(&open, defaults, sink)
    }

    /// The file is at its end.
    pub(super) fn end(&mut self, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
        if self.record.depth > 0 {
            return Err(wrong(format!("the parenthesis opened in {} is not closed", self.record.place)));
        }
        self.records.settle(defaults, sink)
    }

    fn record(&mut self, open: &Open, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
        let mut fields = open.fields.iter();
        if !open.continues {
            let first = fields.next().map_or("", String::as_str);
            if let Some(directive) = first.strip_prefix('$') {
                return self.directive(directive, fields.next());
            }
            self.owner = Some(self.absolute(first));
        }
        let mut fields = fields.skip_while(|field| is_before_type(field));
        let (Some(owner), Some(kind)) = (&self.owner, fields.next()) else {
            return Err(wrong("no record: write NAME [TTL] [IN] TYPE DATA"));
        };
        let kind = kind.to_ascii_uppercase();
        if kind == "SOA" {
            self.apex = Some(owner.clone());
        }
        let apex = self.apex.as_ref().unwrap_or(&self.origin);
        let below = match owner.strip_suffix(apex.as_str()) {
            Some(below) if apex.is_empty() => Some(below),
            Some("") => Some(""),
            Some(below) => below.strip_suffix('.'),
            None => None,
        };
        let below = below.ok_or_else(|| wrong(format!("{owner} is not below the zone {apex}: look at $ORIGIN")))?;
        let data: Vec<&str> = fields.map(String::as_str).collect();
        match (kind.as_str(), data.as_slice()) {
            // About the zone itself, and its name servers.
            _ if below.is_empty() => sink.skipped += 1,
            ("A", [address]) => {
                let code: Ipv4Addr = address.parse().map_err(|_| wrong(format!("{address:?} is no IPv4 address")))?;
                if code.is_loopback() {
                    self.records.code(forwards(below), code, &open.place, defaults, sink)?;
                } else {
                    // A host, such as a name server of the zone.
                    sink.skipped += 1;
                }
            }
            ("A", _) => return Err(wrong("A has one address")),
            ("TXT", texts @ [_, ..]) => {
                self.records.text(forwards(below), &texts.concat(), &open.place, defaults, sink)?;
            }
            _ => sink.skipped += 1,
        }
        Ok(())
    }

    fn directive(&mut self, directive: &str, argument: Option<&String>) -> Result<(), Broken> {
        match (directive.to_ascii_uppercase().as_str(), argument) {
            ("ORIGIN", Some(name)) => {
                self.origin = self.absolute(name);
                Ok(())
            }
            ("TTL", Some(_)) => Ok(()),
            _ => Err(wrong(format!("${directive}: only $ORIGIN and $TTL are read; write the records out"))),
        }
    }

    /// A name in small letters, without its last dot.
    fn absolute(&self, name: &str) -> String {
        let name = name.to_ascii_lowercase();
        match name.strip_suffix('.') {
            Some(name) => name.to_owned(),
            None if name == "@" => self.origin.clone(),
            None if self.origin.is_empty() => name,
            None => format!("{name}.{}", self.origin),
        }
    }
}

impl Open {
    /// Adds the fields of a line, up to its comment.
    fn take(&mut self, line: &str) -> Result<(), Broken> {
        let mut characters = line.chars().peekable();
        while let Some(first) = characters.next() {
            match first {
                ';' => return Ok(()),
                '(' => self.depth += 1,
                ')' => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(|| wrong("a closing parenthesis too many"))?;
                }
                _ if first.is_whitespace() => {}
                _ => {
                    let is_quoted = first == '"';
                    let mut text = String::new();
                    let mut next = if is_quoted { characters.next() } else { Some(first) };
                    loop {
                        match next {
                            Some('"') if is_quoted => break,
                            Some('\\') => text.push(escaped(&mut characters)?),
                            Some(character) => text.push(character),
                            None if is_quoted => return Err(wrong("a quote that is not closed")),
                            None => break,
                        }
                        let is_end = |next: &char| next.is_whitespace() || matches!(next, ';' | '(' | ')' | '"');
                        next = if is_quoted { characters.next() } else { characters.next_if(|next| !is_end(next)) };
                    }
                    if self.fields.len() >= FIELDS {
                        return Err(wrong(format!("a record of more than {FIELDS} fields")));
                    }
                    self.fields.push(text);
                }
            }
        }
        Ok(())
    }
}

/// What follows a backslash: three digits are an octet, all else stands for itself.
fn escaped(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, Broken> {
    let bad = || wrong("a backslash wants a character or three digits from 000 to 255");
    let first = characters.next().ok_or_else(bad)?;
    let Some(mut octet) = first.to_digit(10) else { return Ok(first) };
    for _ in 0..2 {
        let digit = characters.next().and_then(|digit| digit.to_digit(10)).ok_or_else(bad)?;
        octet = octet * 10 + digit;
    }
    u8::try_from(octet).map(char::from).map_err(|_| bad())
}
