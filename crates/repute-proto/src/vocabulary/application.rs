//! Applications and the names they define. [RFC 7071 section 7.2](https://www.rfc-editor.org/rfc/rfc7071#section-7.2)

use std::borrow::Cow;
use std::sync::Arc;

use super::{SubjectSyntax, email_id, is_token};

/// A vocabulary: what is rated, what can be said, and what else a reputon may have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Application {
    /// The registered name, a token.
    pub name: Cow<'static, str>,
    /// Names it had in drafts.
    pub aliases: Vec<Cow<'static, str>>,
    /// What subjects look like.
    pub subject: SubjectSyntax,
    /// What can be said.
    pub assertions: Vec<Assertion>,
    /// Keys of extensions that it defines, current ones and those of drafts.
    pub extensions: Vec<Cow<'static, str>>,
    /// Query parameters that it defines.
    pub parameters: Vec<Cow<'static, str>>,
}

/// One thing that can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assertion {
    /// The name, in small letters.
    pub name: Cow<'static, str>,
    /// What a rating of 1.0 says.
    pub meaning: Cow<'static, str>,
    /// Names it had in drafts.
    pub aliases: Vec<Cow<'static, str>>,
}

impl Assertion {
    /// An assertion of this name.
    pub fn new(name: impl Into<Cow<'static, str>>, meaning: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), meaning: meaning.into(), aliases: Vec::new() }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

/// What makes an application none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApplication {
    /// A name is no token.
    #[error("{0:?} is no token of RFC 2045")]
    NotAToken(String),
    /// A name is taken.
    #[error("{0:?} is another application already")]
    Taken(String),
}

impl Application {
    /// Whose scale is linear: twice the rating, twice as strong. [RFC 7073 section 3.1](https://www.rfc-editor.org/rfc/rfc7073#section-3.1)
    pub fn email_id() -> Self {
        email_id::email_id()
    }

    /// A private or experimental application.
    ///
    /// # Errors
    /// When a name is no token.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        subject: SubjectSyntax,
        assertions: Vec<Assertion>,
    ) -> Result<Self, InvalidApplication> {
        let name = name.into();
        let names = assertions.iter().flat_map(|assertion| assertion.aliases.iter().chain([&assertion.name]));
        let bad = { names }.find(|name| !is_token(name)).cloned();
        match bad {
            Some(bad) => Err(InvalidApplication::NotAToken(bad.into_owned())),
            None if !is_token(&name) => Err(InvalidApplication::NotAToken(name.into_owned())),
            None => Ok(Self {
                name,
                aliases: Vec::new(),
                subject,
                assertions,
                extensions: Vec::new(),
                parameters: Vec::new(),
            }),
        }
    }

    /// Whether it has this name, ASCII case ignored.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// The assertion of this name or alias, ASCII case ignored. An application without assertions of its own has
    /// `is-good`, which RFC 7072 section 3.3 takes for granted.
    pub fn assertion(&self, name: &str) -> Option<&str> {
        match self.assertions.iter().find(|assertion| assertion.is(name)) {
            Some(assertion) => Some(&assertion.name),
            None if self.assertions.is_empty() && name.eq_ignore_ascii_case("is-good") => Some("is-good"),
            None => None,
        }
    }

    /// The name by which assertions compare: that of the vocabulary, or the small letters of one that it does not have.
    pub fn canonical_assertion(&self, name: &str) -> String {
        self.assertion(name).map_or_else(|| name.to_ascii_lowercase(), str::to_owned)
    }

    /// Whether two names are those of one assertion.
    pub fn is_same_assertion(&self, one: &str, other: &str) -> bool {
        // Names that do not differ are the rule.
        one.eq_ignore_ascii_case(other) || self.assertion(one).is_some_and(|name| self.assertion(other) == Some(name))
    }

    /// Whether an extension's key follows the advice of RFC 7071 section 7.2: the application's name stands before it.
    pub fn is_prefixed(&self, key: &str) -> bool {
        key.get(..self.name.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(&self.name))
            && key.get(self.name.len()..).is_some_and(|rest| rest.len() > 1 && rest.starts_with('-'))
    }
}

/// The applications that a client or server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applications(Vec<Arc<Application>>);

impl Default for Applications {
    /// Those that are registered: `email-id`.
    fn default() -> Self {
        Self(vec![Arc::new(Application::email_id())])
    }
}

impl Applications {
    /// None at all.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    ///
    /// # Errors
    /// When its name is taken.
    pub fn add(&mut self, application: Application) -> Result<(), InvalidApplication> {
        if self.find(&application.name).is_some() {
            return Err(InvalidApplication::Taken(application.name.into_owned()));
        }
        self.0.push(Arc::new(application));
        Ok(())
    }

    /// The one of this name or alias, ASCII case ignored.
    pub fn find(&self, name: &str) -> Option<&Arc<Application>> {
        self.0.iter().find(|application| application.is(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_match_in_any_case() {
        let applications = Applications::default();
        let email = applications.find("EMAIL").unwrap();
        assert_eq!(email.name, "email-id");
        for (asked, name) in [
            ("SPAM", "spam"),
            ("sends-spam", "spam"),
            ("Perpetrates-Fraud", "fraud"),
            ("SENDS-MALWARE", "malware"),
            ("sends-to-invalid-recipients", "invalid-recipients"),
            ("abusive", "abusive"),
        ] {
            assert_eq!(email.assertion(asked), Some(name));
        }
        assert_eq!(email.assertion("is-good"), None);
        assert_eq!(email.canonical_assertion("New-Thing"), "new-thing");
        for (one, other, is_same) in [
            ("SPAM", "sends-spam", true),
            ("spam", "fraud", false),
            ("New-Thing", "new-thing", true),
            ("new-thing", "old-thing", false),
        ] {
            assert_eq!(email.is_same_assertion(one, other), is_same, "{one}, {other}");
        }
    }

    #[test]
    fn an_application_without_assertions_has_is_good() {
        let baseball = Application::new("baseball", SubjectSyntax::Free, Vec::new()).unwrap();
        assert_eq!(baseball.assertion("IS-GOOD"), Some("is-good"));
        assert_eq!(baseball.assertion("spam"), None);
    }

    #[test]
    fn names_are_tokens_and_taken_once() {
        for bad in ["", "a b", "a/b", "é", "a=b"] {
            assert!(Application::new(bad, SubjectSyntax::Free, Vec::new()).is_err(), "{bad}");
        }
        let mut applications = Applications::default();
        let again = Application::new("Email", SubjectSyntax::Free, Vec::new()).unwrap();
        assert_eq!(applications.add(again), Err(InvalidApplication::Taken("Email".to_owned())));
        assert!(Applications::none().find("email-id").is_none());
    }

    #[test]
    fn registered_keys_have_the_prefix() {
        let email = Application::email_id();
        assert!(email.is_prefixed("email-id-identity"));
        for other in ["identity", "email-id", "email-id-", "email-idx"] {
            assert!(!email.is_prefixed(other), "{other}");
        }
    }
}
