//! What an NDC may ask for. [RFC 9115 section 2.3.1](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.1)

use std::collections::BTreeMap;

use jsonbcd::{Object, Value};

use crate::error::{DecodeError, DecodeErrorKind};
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::names;
use crate::template::Template;

/// A delegation object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegation {
    /// What requests for certificates must be like.
    pub csr_template: Template,
    /// Names of the owner, each with the name of the delegate that it is to be an alias of. In the form in which names
    /// are compared; messages have a dot at the end of each.
    pub cname_map: BTreeMap<String, String>,
}

impl Delegation {
    /// A delegation with this template.
    pub const fn new(csr_template: Template) -> Self {
        Self { csr_template, cname_map: BTreeMap::new() }
    }

    /// The same with an alias; none if one of the two is no DNS name.
    #[must_use]
    pub fn with_cname(mut self, owner: &str, delegate: &str) -> Option<Self> {
        self.cname_map.insert(name(owner)?, name(delegate)?);
        Some(self)
    }

    /// Reads a delegation object.
    ///
    /// # Errors
    /// When there is no template, it is none, or `cname-map` has names that are not written to the end, dot included.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "delegation", limits)?;
        let template = members.take("csr-template").ok_or_else(|| members.missing("csr-template"))?;
        let csr_template = Template::from_value(template, limits)?;
        let mut cname_map = BTreeMap::new();
        if let Some(map) = members.members("cname-map")? {
            let place = members.place("cname-map");
            let expected = || DecodeErrorKind::Expected("DNS names with a dot at the end").at(place.as_str());
            let full = |text: &str| text.strip_suffix('.').and_then(name);
            for (owner, delegate) in map.rest().iter() {
                let delegate = delegate.as_str().and_then(full).ok_or_else(expected)?;
                cname_map.insert(full(owner).ok_or_else(expected)?, delegate);
            }
        }
        Ok(Self { csr_template, cname_map })
    }

    /// The object as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("csr-template", Value::Object(self.csr_template.to_object()));
        let mut map = Object::new();
        for (owner, delegate) in &self.cname_map {
            map.insert(format!("{owner}."), format!("{delegate}."));
        }
        put(&mut object, "cname-map", (!map.is_empty()).then_some(map));
        json::encode(&object)
    }

    /// The CNAME records that the owner has to make, as lines of a zone file.
    /// [RFC 9115 section 2.3.2.1](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.2.1)
    pub fn cname_records(&self) -> Vec<String> {
        self.cname_map.iter().map(|(owner, delegate)| format!("{owner}. IN CNAME {delegate}.")).collect()
    }
}

/// A name in the form in which names are compared. No star: it is the name of a record.
fn name(text: &str) -> Option<String> {
    names::normalize(text).filter(|name| !name.starts_with("*."))
}

/// Reads a list of delegations: their URLs.
///
/// # Errors
/// When it is none.
pub fn decode_delegations(body: &[u8], limits: &Limits) -> Result<Vec<String>, DecodeError> {
    let mut members = Members::decode(body, "delegations", limits)?;
    members.urls("delegations", limits)?.ok_or_else(|| members.missing("delegations"))
}

/// A list of delegations, by their URLs.
pub fn encode_delegations(urls: &[String]) -> Vec<u8> {
    let mut object = Object::new();
    object.insert("delegations", json::texts(urls));
    json::encode(&object)
}
