//! Keys of TSIG, as files have them. [RFC 8945](https://www.rfc-editor.org/rfc/rfc8945)

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, TSigner};

/// Seconds that the clocks of both sides may differ.
const FUDGE: u16 = 300;

/// A key that a DNS server knows too: a name, an algorithm, a secret.
///
/// Read from the form of BIND's configuration, which `tsig-keygen` writes, or from the line that `nsupdate -y` takes:
///
/// ```
/// use acme_lurk_hyper::respond::TsigKey;
///
/// let statement = r#"key "ido." { algorithm hmac-sha256; secret "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="; };"#;
/// let line = "hmac-sha256:ido:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// assert_eq!(statement.parse::<TsigKey>()?.name(), line.parse::<TsigKey>()?.name());
/// # Ok::<(), acme_lurk_hyper::respond::TsigKeyError>(())
/// ```
#[derive(Clone)]
pub struct TsigKey(pub(super) TSigner);

/// Why a text is no key. It never has the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TsigKeyError(String);

impl TsigKey {
    /// Its name, as both sides spell it.
    pub fn name(&self) -> String {
        self.0.signer_name().to_string()
    }

    fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, TsigKeyError> {
        let name = Name::from_ascii(name).map_err(|_| wrong("the name of the key is no DNS name"))?;
        let algorithm = match algorithm.to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => return Err(wrong("the algorithm is not one of hmac-sha256, hmac-sha384 and hmac-sha512")),
        };
        let secret = STANDARD.decode(secret).map_err(|_| wrong("the secret is not base64"))?;
        if secret.len() < 16 {
            return Err(wrong("the secret is shorter than 16 octets"));
        }
        let signer = TSigner::new(secret, algorithm, name, FUDGE);
        signer.map(Self).map_err(|error| TsigKeyError(error.to_string()))
    }
}

fn wrong(what: &str) -> TsigKeyError {
    TsigKeyError(what.to_owned())
}

impl FromStr for TsigKey {
    type Err = TsigKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains('{') {
            let mut parts = text.trim().splitn(3, ':');
            let (Some(algorithm), Some(name), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(wrong("neither a key of BIND (`key \"..\" { .. };`) nor algorithm:name:secret"));
            };
            return Self::new(name, algorithm, secret);
        }
        let (mut name, mut algorithm, mut secret) = (None, None, None);
        let words = words(text);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let slot = match word {
                "key" => &mut name,
                "algorithm" => &mut algorithm,
                "secret" => &mut secret,
                "{" | "}" | ";" => continue,
                _ => return Err(wrong("a key has an algorithm and a secret, and nothing else")),
            };
            if slot.replace(words.next().unwrap_or_default()).is_some() {
                return Err(wrong("there is more than one key in the file"));
            }
        }
        let missing = |what: &str| TsigKeyError(format!("the key has no {what}"));
        Self::new(
            name.ok_or_else(|| missing("name"))?,
            algorithm.ok_or_else(|| missing("algorithm"))?,
            secret.ok_or_else(|| missing("secret"))?,
        )
    }
}

/// The words of a configuration: braces and semicolons are some, quotes hold what is between them, comments are none.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            if first == '#' || rest.starts_with("//") {
                break;
            }
            let (word, after) = match first {
                '{' | '}' | ';' => rest.split_at(1),
                '"' => {
                    let inside = rest.get(1..).unwrap_or_default();
                    inside.split_once('"').unwrap_or((inside, ""))
                }
                _ => {
                    let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '{' | '}' | ';' | '"');
                    rest.split_at(rest.find(ends).unwrap_or(rest.len()))
                }
            };
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    words
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    #[test]
    fn keys_are_read_in_both_forms() {
        let bind = format!(
            "# made by tsig-keygen\nkey \"ido.example\" {{ // one\n\talgorithm HMAC-SHA384;\n\tsecret \"{SECRET}\";\n}};\n"
        );
        let key: TsigKey = bind.parse().unwrap();
        assert_eq!((key.name(), key.0.algorithm()), ("ido.example.".to_owned(), &TsigAlgorithm::HmacSha384));
        assert_eq!(key.0.key(), b"0123456789abcdef0123456789abcdef");
        let bare = format!("key k {{algorithm hmac-sha512;secret {SECRET};}};");
        assert_eq!(bare.parse::<TsigKey>().unwrap().0.algorithm(), &TsigAlgorithm::HmacSha512);
        let line = format!("hmac-sha256:k:{SECRET}\n");
        assert_eq!(line.parse::<TsigKey>().unwrap().name(), "k.");
        assert!(!format!("{key:?}").contains("0123"), "{key:?}");
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        for (text, why) in [
            ("", "neither a key"),
            ("k:SECRET", "neither a key"),
            ("hmac-md5:k:SECRET", "the algorithm is not one of"),
            ("hmac-sha256:a b:SECRET", "the name of the key"),
            ("hmac-sha256:k:S%CRET", "the secret is not base64"),
            ("hmac-sha256:k:c2hvcnQ=", "shorter than 16 octets"),
            ("key k { secret \"SECRET\"; };", "the key has no algorithm"),
            ("key k { algorithm hmac-sha256; };", "the key has no secret"),
            ("{ algorithm hmac-sha256; secret \"SECRET\"; };", "the key has no name"),
            ("key k { algorithm hmac-sha256; secret \"SECRET\"; }; key l {};", "more than one key"),
            ("zone k { type master; };", "nothing else"),
        ] {
            let error = text.replace("SECRET", SECRET).parse::<TsigKey>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(&SECRET[..8]), "{text}: {error}");
        }
    }
}
