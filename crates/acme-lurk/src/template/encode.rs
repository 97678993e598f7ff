//! From a template to JSON.

use jsonbcd::{Object, Value};

use super::{KeyType, Pattern, Template};
use crate::json;

impl Template {
    /// The template as JSON.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(&self.to_object())
    }

    /// The template as it stands in another document.
    pub fn to_object(&self) -> Object {
        let mut object = Object::new();
        object.insert("keyTypes", Value::Array(self.key_types.iter().map(key_type).collect()));
        if !self.subject.is_empty() {
            let mut subject = Object::new();
            for (field, pattern) in &self.subject {
                subject.insert(field.name(), pattern.as_str());
            }
            object.insert("subject", subject);
        }
        let mut extensions = Object::new();
        let mut alt = Object::new();
        let patterns = self.dns.iter().map(Pattern::as_str);
        list(&mut alt, "DNS", patterns);
        list(&mut alt, "Email", self.email.iter().map(String::as_str));
        list(&mut alt, "URI", self.uri.iter().map(String::as_str));
        extensions.insert("subjectAltName", alt);
        if let Some(usages) = &self.key_usages {
            list(&mut extensions, "keyUsage", usages.iter().map(|usage| usage.name()));
        }
        if let Some(usages) = &self.extended_key_usages {
            list(&mut extensions, "extendedKeyUsage", usages.iter().map(|usage| usage.name()));
        }
        object.insert("extensions", extensions);
        object
    }
}

fn list<'a>(object: &mut Object, name: &str, texts: impl Iterator<Item = &'a str>) {
    let texts: Vec<Value> = texts.map(Value::from).collect();
    if !texts.is_empty() {
        object.insert(name, Value::Array(texts));
    }
}

fn key_type(key_type: &KeyType) -> Value {
    let mut object = Object::new();
    match key_type {
        KeyType::Ec(curve) => {
            object.insert("PublicKeyType", "id-ecPublicKey");
            object.insert("namedCurve", KeyType::curve_name(*curve));
        }
        KeyType::Rsa { bits, .. } => {
            object.insert("PublicKeyType", "rsaEncryption");
            object.insert("PublicKeyLength", *bits);
        }
    }
    object.insert("SignatureType", key_type.signature().to_string());
    Value::Object(object)
}
