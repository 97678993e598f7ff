//! The file of a name owner: who may have certificates for what.
//!
//! ```toml
//! [[delegation]]
//! name = "cdn"                          # the last part of its URL
//! template = "cdn.json"                 # a CSR template, relative to this file
//! accounts = ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]
//! names = ["*.cdn.ido.example"]         # where the template leaves names open
//! upstream = "https://.."               # passed on to the delegation of another name owner
//! [delegation.cname-map]
//! "abc.ido.example" = "abc.ndc.example"
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use acme_lurk::Limits;
use acme_lurk::acme::Delegation;
use acme_lurk::base64url;
use acme_lurk::delegation::DelegationRule;
use acme_lurk::template::Template;
use serde::Deserialize;
use toml::Spanned;

use crate::exit::{Failure, file_failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    delegation: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    template: Spanned<String>,
    #[serde(default)]
    accounts: Vec<Spanned<String>>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    upstream: Option<Spanned<String>>,
    #[serde(default, rename = "cname-map")]
    cname_map: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// Reads a file, and the templates that it names.
///
/// # Errors
/// Files that cannot be read, and whatever is wrong in them, with its line.
pub fn read(path: &Path) -> Result<Vec<DelegationRule>, Failure> {
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the delegations", path, &error))?;
    let text = String::from_utf8(octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    let at = |span: Range<usize>| {
        let line = text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
        format!("{}:{line}", path.display())
    };
    let whole: Whole = toml::from_str(&text).map_err(|error| {
        let failure = Failure::usage(error.message().replace('\n', " "));
        let failure = failure.at(at(error.span().unwrap_or_default()));
        failure.remedy("write [[delegation]] tables of name, template, accounts, names and cname-map")
    })?;
    if whole.delegation.is_empty() {
        tracing::warn!(file = %path.display(), "no delegation: no account may order anything");
    }
    let mut rules: Vec<DelegationRule> = Vec::new();
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for table in &whole.delegation {
        let wrong = |what: String, span: Range<usize>| Failure::usage(what).at(at(span));
        let name = table.name.as_ref();
        if let Some(other) = taken.insert(name.clone(), at(table.name.span())) {
            let failure = wrong(format!("delegation `{name}`: the name is taken at {other}"), table.name.span());
            return Err(failure.remedy("give each delegation its own"));
        }
        let template = template(path, table.template.as_ref())
            .map_err(|failure| failure.within(&format!("{}: delegation `{name}`", at(table.template.span()))))?;
        let mut delegation = Delegation::new(template);
        for (owner, delegate) in &table.cname_map {
            let (from, to) = (owner.as_ref().trim_end_matches('.'), delegate.as_ref().trim_end_matches('.'));
            delegation = delegation.with_cname(from, to).ok_or_else(|| {
                wrong(format!("delegation `{name}`: cname-map: `{from}` or `{to}` is no DNS name"), owner.span())
            })?;
        }
        let mut rule = DelegationRule::new(name.clone(), delegation).ok_or_else(|| {
            let failure = wrong(format!("`{name}` cannot be part of a URL"), table.name.span());
            failure.remedy("write 1 to 128 letters, digits, `-`, `_` and `.`")
        })?;
        for account in &table.accounts {
            let thumbprint = account.as_ref();
            if base64url::decode(thumbprint).is_none_or(|octets| octets.len() != 32) {
                let failure =
                    wrong(format!("delegation `{name}`: accounts: `{thumbprint}` is no thumbprint"), account.span());
                return Err(failure.remedy("write RFC 7638's, 43 characters of base64url, as `lurk ndc` logs it"));
            }
            rule = rule.with_account(thumbprint.clone());
        }
        for one in &table.names {
            let failure =
                || wrong(format!("delegation `{name}`: names: `{}` is no DNS name", one.as_ref()), one.span());
            rule = rule.with_name(one.as_ref()).ok_or_else(failure)?;
        }
        if let Some(upstream) = &table.upstream {
            rule = rule.with_upstream(upstream.as_ref().clone());
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn template(file: &Path, name: &str) -> Result<Template, Failure> {
    let path = file.parent().unwrap_or_else(|| Path::new("")).join(name);
    let octets = crate::pki::read_bounded(&path).map_err(|error| file_failure("read the template", &path, &error))?;
    let template = Template::decode(&octets, &Limits::DEFAULT);
    template.map_err(|error| {
        let failure = Failure::usage(format!("not a CSR template: {error}")).at(path.display());
        failure.remedy("look at it with `watchfire lurk template lint`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    const TEMPLATE: &str = r#"{"keyTypes":[{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}],
        "extensions":{"subjectAltName":{"DNS":["abc.ido.example"]}}}"#;

    #[test]
    fn delegations_are_read_and_mistakes_are_named_by_line() {
        let dir = TempDir::new("lurk-delegations");
        let path = dir.path().join("d.toml");
        std::fs::write(dir.path().join("t.json"), TEMPLATE).unwrap();
        std::fs::write(dir.path().join("bad.json"), "{}").unwrap();
        let thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map(|rules| rules.len()).map_err(|failure| failure.to_string())
        };
        let good = format!(
            "[[delegation]]\nname = \"cdn\"\ntemplate = \"t.json\"\naccounts = [\"{thumbprint}\"]\nnames = [\"*.ido.example\"]\n\
             [delegation.cname-map]\n\"abc.ido.example.\" = \"abc.ndc.example\"\n"
        );
        assert_eq!(read(&good), Ok(1));
        assert_eq!(read(""), Ok(0));
        for (bad, why) in [
            ("x = 1\n".to_owned(), "d.toml:1: unknown field `x`"),
            ("[[delegation]]\nname = \"a\"\n".to_owned(), "missing field `template`"),
            (good.replace("cdn", "a/b"), "d.toml:2: `a/b` cannot be part of a URL"),
            (good.replace("t.json", "none.json"), "d.toml:3: delegation `cdn`:"),
            (good.replace("t.json", "bad.json"), "not a CSR template"),
            (good.replace(thumbprint, "abc"), "d.toml:4: delegation `cdn`: accounts: `abc` is no thumbprint"),
            (good.replace("*.ido", "*.*"), "d.toml:5: delegation `cdn`: names:"),
            (good.replace("abc.ndc.example", "a b"), "d.toml:7: delegation `cdn`: cname-map:"),
            (format!("{good}{good}"), "d.toml:9: delegation `cdn`: the name is taken at"),
        ] {
            let failure = read(&bad).unwrap_err();
            assert!(failure.contains(why) && !failure.contains('\n'), "{failure}");
        }
    }
}
