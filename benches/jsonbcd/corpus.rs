//! What is written and read: the QueryConnectResponse of omnibroker-08's example, and a ValidateRequest with one
//! credential of 4 KiB, in each format from the same types.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The envelope: one member that names the message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    QueryConnectResponse(QueryConnectResponse),
    ValidateRequest(ValidateRequest),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct QueryConnectResponse {
    status: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    connection: Vec<Connection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policy: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Connection {
    #[serde(rename = "IPAddress", default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    #[serde(rename = "IPPort", default, skip_serializing_if = "Option::is_none")]
    ip_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transport: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transport_policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol_policy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ValidateRequest {
    service: Service,
    credential: Vec<Credential>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Service {
    identifier: Vec<Identifier>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Identifier {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Credential {
    #[serde(rename = "Type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    data: Octets,
}

/// The same message, borrowed from what is read.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) enum Borrowed<'a> {
    #[serde(borrow)]
    ValidateRequest(BorrowedRequest<'a>),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BorrowedRequest<'a> {
    #[serde(borrow)]
    service: BorrowedService<'a>,
    #[serde(borrow)]
    credential: Vec<BorrowedCredential<'a>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BorrowedService<'a> {
    #[serde(borrow)]
    identifier: Vec<BorrowedIdentifier<'a>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BorrowedIdentifier<'a> {
    name: &'a str,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BorrowedCredential<'a> {
    #[serde(rename = "Type", default)]
    kind: Option<&'a str>,
    data: &'a [u8],
}

/// Octets: as such in binary formats, as base64url in JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&jsonbcd::base64url::encode(&self.0));
        }
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OctetsVisitor;
        impl Visitor<'_> for OctetsVisitor {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("octets")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Octets, E> {
                jsonbcd::base64url::decode(text, false).map(Octets).map_err(E::custom)
            }

            fn visit_bytes<E>(self, octets: &[u8]) -> Result<Octets, E> {
                Ok(Octets(octets.to_vec()))
            }

            fn visit_byte_buf<E>(self, octets: Vec<u8>) -> Result<Octets, E> {
                Ok(Octets(octets))
            }
        }
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(OctetsVisitor);
        }
        deserializer.deserialize_byte_buf(OctetsVisitor)
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The example of omnibroker-08 section 5.1.1.1.
pub(crate) fn response() -> Message {
    let address = some("10.3.2.1");
    let policy = some("Strict");
    Message::QueryConnectResponse(QueryConnectResponse {
        status: 200,
        status_description: some("Success"),
        index: None,
        count: None,
        connection: vec![
            Connection {
                ip_address: address.clone(),
                ip_port: Some(443),
                transport: some("TLS"),
                transport_policy: some("TLS=Optional"),
                protocol_policy: policy.clone(),
            },
            Connection {
                ip_address: address,
                ip_port: Some(80),
                transport: None,
                transport_policy: None,
                protocol_policy: policy,
            },
        ],
        policy: Vec::new(),
    })
}

/// A credential of 4096 octets that nothing compresses.
pub(crate) fn request() -> Message {
    let mut state = 1u32;
    let data = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    Message::ValidateRequest(ValidateRequest {
        service: Service { identifier: vec![Identifier { name: "example.com".to_owned(), port: None }] },
        credential: vec![Credential { kind: some("application/pkix-cert"), data: Octets(data.take(4096).collect()) }],
    })
}

/// A format: how a message is appended, and how it is read.
#[derive(Clone, Copy)]
pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) encode: fn(&Message, &mut Vec<u8>),
    pub(crate) decode: fn(&[u8]) -> Message,
}

pub(crate) const JSONBCD: Codec = Codec {
    name: "**jsonbcd**, JSON-B",
    encode: |message, out| jsonbcd::to_writer(out, message).expect("it can be written"),
    decode: |octets| jsonbcd::from_slice(octets).expect("it can be read"),
};

pub(crate) const RMP: Codec = Codec {
    name: "rmp-serde, named",
    encode: |message, out| rmp_serde::encode::write_named(out, message).expect("it can be written"),
    decode: |octets| rmp_serde::from_slice(octets).expect("it can be read"),
};

pub(crate) const MINICBOR: Codec = Codec {
    name: "minicbor-serde",
    encode: |message, out| {
        message.serialize(&mut minicbor_serde::Serializer::new(out)).expect("it can be written");
    },
    decode: |octets| minicbor_serde::from_slice(octets).expect("it can be read"),
};

pub(crate) const CIBORIUM: Codec = Codec {
    name: "ciborium",
    encode: |message, out| ciborium::into_writer(message, out).expect("it can be written"),
    decode: |octets| ciborium::from_reader(octets).expect("it can be read"),
};

pub(crate) const SERDE_JSON: Codec = Codec {
    name: "serde_json",
    encode: |message, out| serde_json::to_writer(out, message).expect("it can be written"),
    decode: |octets| serde_json::from_slice(octets).expect("it can be read"),
};

pub(crate) const TEXT: Codec = Codec {
    name: "jsonbcd, text",
    encode: |message, out| jsonbcd::text::to_writer(out, message).expect("it can be written"),
    decode: |octets| jsonbcd::text::from_slice(octets).expect("it can be read"),
};

#[allow(dead_code, reason = "one of the two programs names them one by one")]
pub(crate) const CODECS: [Codec; 6] = [JSONBCD, RMP, MINICBOR, CIBORIUM, TEXT, SERDE_JSON];

impl Codec {
    /// What the message is in this format; it is read again to see that it is.
    pub(crate) fn octets(&self, message: &Message) -> Vec<u8> {
        let mut octets = Vec::new();
        (self.encode)(message, &mut octets);
        assert_eq!(&(self.decode)(&octets), message, "{}", self.name);
        octets
    }
}

/// What is borrowed from the octets, so that no copy of the credential is made.
pub(crate) fn borrowed(octets: &[u8]) -> Borrowed<'_> {
    jsonbcd::from_slice(octets).expect("it can be read")
}

/// The same by a peer that can do so.
pub(crate) fn rmp_borrowed(octets: &[u8]) -> Borrowed<'_> {
    rmp_serde::from_slice(octets).expect("it can be read")
}
