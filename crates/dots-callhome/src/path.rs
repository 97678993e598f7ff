//! Resources: what a request is about. RFC 9132 section 4.2 and the paths of sections 4.4 to 4.7, RFC 9066 5.2.2.

use crate::wire::{Message, MessageBuf, OptionNumber};

/// A resource below `/.well-known/dots/`. It borrows from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource<'a> {
    /// `mitigate/[cdid=…/]cuid=…[/mid=…]`.
    Mitigate(MitigatePath<'a>),
    /// `config[/sid=…]`.
    Config {
        /// The configuration's number.
        sid: Option<u32>,
    },
    /// `hb`.
    Heartbeat,
    /// `redirect[/cuid=…[/mid=…]]`.
    Redirect {
        /// Who sends the peer away.
        cuid: Option<&'a str>,
        /// The number of the redirection.
        mid: Option<u32>,
    },
}

/// The identifiers in the path of a mitigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MitigatePath<'a> {
    /// Which domain, as a gateway says; never by clients.
    pub cdid: Option<&'a str>,
    /// Which client.
    pub cuid: &'a str,
    /// Which mitigation.
    pub mid: Option<u32>,
}

/// Why a path is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPath {
    /// 4.04.
    #[error("no such resource")]
    Unknown,
    /// An identifier that must be there.
    #[error("{0} is missing in the path")]
    Missing(&'static str),
    /// Empty, no number, or in the wrong place.
    #[error("{0} is invalid or misplaced in the path")]
    Invalid(&'static str),
}

const LONGEST_ID: usize = 128;

/// Reads the path of a request.
///
/// # Errors
/// When it is no resource of DOTS, or lacks an identifier.
#[inline]
pub fn resource<'a>(message: &Message<'a>) -> Result<Resource<'a>, InvalidPath> {
    let mut segments =
        message.options.filter(|option| option.number == OptionNumber::URI_PATH).map(|option| option.value);
    if segments.next() != Some(b".well-known") || segments.next() != Some(b"dots") {
        return Err(InvalidPath::Unknown);
    }
    match segments.next() {
        Some(b"hb") if segments.next().is_none() => Ok(Resource::Heartbeat),
        Some(b"mitigate") => mitigate(segments),
        Some(b"config") => match segments.next() {
            None => Ok(Resource::Config { sid: None }),
            Some(segment) => {
                let sid = number(segment, "sid=", "sid")?;
                if segments.next().is_some() {
                    Err(InvalidPath::Unknown)
                } else {
                    Ok(Resource::Config { sid: Some(sid) })
                }
            }
        },
        Some(b"redirect") => {
            let cuid = segments.next().map(|segment| text(segment, "cuid=", "cuid")).transpose()?;
            let mid = segments.next().map(|segment| number(segment, "mid=", "mid")).transpose()?;
            if segments.next().is_some() { Err(InvalidPath::Unknown) } else { Ok(Resource::Redirect { cuid, mid }) }
        }
        _ => Err(InvalidPath::Unknown),
    }
}

fn mitigate<'a>(mut segments: impl Iterator<Item = &'a [u8]>) -> Result<Resource<'a>, InvalidPath> {
    let mut segment = segments.next().ok_or(InvalidPath::Missing("cuid"))?;
    let mut cdid = None;
    if segment.starts_with(b"cdid=") {
        cdid = Some(text(segment, "cdid=", "cdid")?);
        segment = segments.next().ok_or(InvalidPath::Missing("cuid"))?;
    }
    let cuid = text(segment, "cuid=", "cuid")?;
    let mid = segments.next().map(|segment| number(segment, "mid=", "mid")).transpose()?;
    if segments.next().is_some() {
        return Err(InvalidPath::Invalid("a segment behind mid"));
    }
    Ok(Resource::Mitigate(MitigatePath { cdid, cuid, mid }))
}

fn text<'a>(segment: &'a [u8], prefix: &str, name: &'static str) -> Result<&'a str, InvalidPath> {
    let value = segment.strip_prefix(prefix.as_bytes()).ok_or(InvalidPath::Missing(name))?;
    let value = core::str::from_utf8(value).map_err(|_| InvalidPath::Invalid(name))?;
    if value.is_empty() || value.len() > LONGEST_ID { Err(InvalidPath::Invalid(name)) } else { Ok(value) }
}

fn number(segment: &[u8], prefix: &str, name: &'static str) -> Result<u32, InvalidPath> {
    let digits = text(segment, prefix, name)?;
    // `parse` alone would take a sign.
    digits.parse().ok().filter(|_| digits.bytes().all(|d| d.is_ascii_digit())).ok_or(InvalidPath::Invalid(name))
}

impl Resource<'_> {
    /// Adds its path to a request.
    pub fn push_to(&self, message: &mut MessageBuf) {
        let mut push = |segment: &str| message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        push(".well-known");
        push("dots");
        match self {
            Self::Heartbeat => push("hb"),
            Self::Config { sid } => {
                push("config");
                sid.iter().for_each(|sid| push(&format!("sid={sid}")));
            }
            Self::Mitigate(path) => {
                push("mitigate");
                path.cdid.iter().for_each(|cdid| push(&format!("cdid={cdid}")));
                push(&format!("cuid={}", path.cuid));
                path.mid.iter().for_each(|mid| push(&format!("mid={mid}")));
            }
            Self::Redirect { cuid, mid } => {
                push("redirect");
                cuid.iter().for_each(|cuid| push(&format!("cuid={cuid}")));
                mid.iter().for_each(|mid| push(&format!("mid={mid}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Code, Token};

    fn read(segments: &[&str]) -> Result<String, InvalidPath> {
        let mut message = MessageBuf::new(Code::GET, Token::default());
        for segment in [".well-known", "dots"].iter().chain(segments) {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        let message = message.as_message();
        let resource = resource(&message)?;
        let mut again = MessageBuf::new(Code::GET, Token::default());
        resource.push_to(&mut again);
        assert_eq!(again.as_message(), message);
        Ok(format!("{resource:?}"))
    }

    #[test]
    fn paths_are_read_and_written() {
        for path in [
            &["hb"][..],
            &["config"],
            &["config", "sid=7"],
            &["mitigate", "cuid=a"],
            &["mitigate", "cuid=a", "mid=0"],
            &["mitigate", "cdid=x", "cuid=a", "mid=4294967295"],
            &["redirect"],
            &["redirect", "cuid=a", "mid=1"],
        ] {
            read(path).unwrap();
        }
    }

    #[test]
    fn order_emptiness_and_numbers_are_checked() {
        for (path, error) in [
            (&["tm"][..], InvalidPath::Unknown),
            (&[], InvalidPath::Unknown),
            (&["hb", "cuid=a"], InvalidPath::Unknown),
            (&["mitigate"], InvalidPath::Missing("cuid")),
            (&["mitigate", "mid=1"], InvalidPath::Missing("cuid")),
            (&["mitigate", "mid=1", "cuid=a"], InvalidPath::Missing("cuid")),
            (&["mitigate", "cuid=a", "cdid=x"], InvalidPath::Missing("mid")),
            (&["mitigate", "cuid="], InvalidPath::Invalid("cuid")),
            (&["mitigate", "cuid=a", "mid="], InvalidPath::Invalid("mid")),
            (&["mitigate", "cuid=a", "mid=+1"], InvalidPath::Invalid("mid")),
            (&["mitigate", "cuid=a", "mid=4294967296"], InvalidPath::Invalid("mid")),
            (&["config", "cuid=a"], InvalidPath::Missing("sid")),
        ] {
            assert_eq!(read(path), Err(error), "{path:?}");
        }
    }
}
