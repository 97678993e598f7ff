//! An entry as a database has it: one column for each member.

use repute_proto::{Application, ExtensionValue, Identity, Reputon, Score, SubjectSyntax};
use serde_json::value::RawValue;

use super::place::Place;
use super::snapshot::{CODE, Loaded, Loader};

/// An entry, as it is imported and stored.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_structs)]
pub struct Row {
    /// The application's name.
    pub application: String,
    /// The assertion, in small letters.
    pub assertion: String,
    /// What it is about, normalised; see [`Place`].
    pub rated: String,
    /// The rater; empty when none is named.
    pub rater: String,
    /// The identity; empty when none is named.
    pub identity: String,
    /// What a DNSBL answers; empty when the data does not say.
    pub code: String,
    /// How far the assertion holds.
    pub rating: f64,
    /// How sure the rater is.
    pub confidence: Option<f64>,
    /// What would be nothing out of the ordinary.
    pub normal_rating: Option<f64>,
    /// How many data points.
    pub sample_size: Option<i64>,
    /// When it was made, in seconds since 1970.
    pub generated: Option<i64>,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// All other extensions: a JSON object.
    pub extensions: Option<String>,
}

impl Row {
    /// The columns of a reputon.
    ///
    /// # Errors
    /// When it is about nothing that can be looked up.
    pub fn of(application: &str, reputon: &Reputon<'_>) -> Result<Self, String> {
        let email = Application::email_id();
        let is_email = email.is(application);
        let syntax = if is_email { SubjectSyntax::NameOrAddress } else { SubjectSyntax::Free };
        let rated = Place::parse(syntax, &reputon.rated).map_err(|error| format!("rated: {error}"))?.text();
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut code = String::new();
        let mut extensions = String::new();
        for extension in &reputon.extensions {
            let name = extension.name.as_ref();
            if name == CODE {
                code = extension.value.as_text().unwrap_or_default().to_owned();
                code.parse::<std::net::Ipv4Addr>()
                    .map_err(|_| format!("{CODE} must be an IPv4 address in a string"))?;
            } else if reputon.identity().is_none() || ![Identity::EXTENSION, Identity::ALIAS].contains(&name) {
                extensions.push(if extensions.is_empty() { '{' } else { ',' });
                extensions.push_str(&serde_json::Value::from(name).to_string());
                extensions.push(':');
                extensions.push_str(&extension.value.to_json());
            }
        }
        if !extensions.is_empty() {
            extensions.push('}');
        }
        Ok(Self {
            application: if is_email { "email-id".to_owned() } else { application.to_ascii_lowercase() },
            assertion: if is_email {
                email.canonical_assertion(&reputon.assertion)
            } else {
                reputon.assertion.to_ascii_lowercase()
            },
            rated,
            rater: reputon.rater.clone().into_owned(),
            identity: reputon.identity().map_or("", Identity::name).to_owned(),
            code,
            rating: reputon.rating.value(),
            confidence: reputon.effective_confidence().map(Score::value),
            normal_rating: reputon.normal_rating.as_ref().map(Score::value),
            sample_size: reputon.sample_size.map(count),
            generated: reputon.generated.map(count),
            expires: reputon.expires.map(count),
            extensions: Some(extensions).filter(|object| !object.is_empty()),
        })
    }

    /// The reputon of these columns.
    ///
    /// # Errors
    /// When a column holds what it cannot: databases are written to by others too.
    pub fn reputon(&self) -> Result<Reputon<'_>, String> {
        let score = |name: &str, value: f64| Score::new(value).map_err(|error| format!("{name}: {error}"));
        let optional = |name: &str, value: Option<f64>| value.map(|value| score(name, value)).transpose();
        let count = |name: &str, value: Option<i64>| {
            value.map(|value| u64::try_from(value).map_err(|_| format!("{name}: below 0"))).transpose()
        };
        let (rater, assertion, rated) = (self.rater.as_str(), self.assertion.as_str(), self.rated.as_str());
        let mut reputon = Reputon::new(rater, assertion, rated, score("rating", self.rating)?);
        reputon.confidence = optional("confidence", self.confidence)?;
        reputon.normal_rating = optional("normal_rating", self.normal_rating)?;
        reputon.sample_size = count("sample_size", self.sample_size)?;
        reputon.generated = count("generated", self.generated)?;
        reputon.expires = count("expires", self.expires)?;
        if !self.identity.is_empty() {
            let identity: Identity = self.identity.parse().map_err(|error| format!("identity: {error}"))?;
            reputon.set_extension(Identity::EXTENSION, ExtensionValue::text(identity.name()));
        }
        if !self.code.is_empty() {
            reputon.set_extension(CODE, ExtensionValue::text(self.code.as_str()));
        }
        if let Some(object) = &self.extensions {
            let members: std::collections::BTreeMap<String, &RawValue> =
                serde_json::from_str(object).map_err(|error| format!("extensions: {error}"))?;
            for (name, value) in members {
                let value =
                    ExtensionValue::json(value.get()).map_err(|error| format!("extensions: {name}: {error}"))?;
                reputon.set_extension(name, value);
            }
        }
        Ok(reputon)
    }

    /// Gives it to a loader.
    pub(super) fn load(&self, loader: &mut Loader, loaded: &mut Loaded) -> Result<(), String> {
        let named =
            |what| format!("the entry of {} {} about {:?}: {what}", self.application, self.assertion, self.rated);
        let reputon = self.reputon().map_err(named)?;
        loader.add(&self.application, &reputon, loaded).map_err(named)
    }

    /// What makes two rows the same statement.
    pub(super) fn key(&self) -> [&str; 6] {
        [&self.application, &self.rated, &self.assertion, &self.rater, &self.identity, &self.code]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repute_proto::Decoder;

    #[test]
    fn columns_hold_all_that_a_line_says() {
        let line = br#"{"rater":"r","assertion":"SENDS-SPAM","rated":"Example.ORG","rating":0.25,"confidence":0.5,"sample-size":7,"generated":1,"expires":2,"application":"email","identity":"DKIM","dnsbl-code":"127.0.0.9","a":"\"","b":[1]}"#;
        let document = Decoder::new().decode_line(line, "").unwrap();
        let row = Row::of("email", &document.reputons[0]).unwrap();
        assert_eq!(row.key(), ["email-id", "example.org", "spam", "r", "dkim", "127.0.0.9"]);
        assert_eq!(row.extensions.as_deref(), Some(r#"{"a":"\"","b":[1]}"#));
        let back = row.reputon().unwrap();
        assert_eq!(Row::of("email-id", &back).unwrap(), row, "and back");
        for bad in [
            Row { rating: 1.5, ..row.clone() },
            Row { sample_size: Some(-1), ..row.clone() },
            Row { identity: "arc".into(), ..row.clone() },
            Row { extensions: Some("[]".into()), ..row },
        ] {
            assert!(bad.reputon().is_err());
        }
    }
}
