//! `lurk template`: what a CSR template is worth, and whether a request fits it.

use std::path::Path;

use acme_lurk::crypto::Ring;
use acme_lurk::csr::Csr;
use acme_lurk::template::{Checker, Template, Violation, ViolationKind};
use acme_lurk::{DecodeError, Limits};

use crate::cli::{CsrTemplateCommand, TemplateCheckArgs, TemplateLintArgs};
use crate::exit::Failure;
use crate::{input, out};

/// Octets of the largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Runs a command.
///
/// # Errors
/// What is no template, or unwise; a request that does not fit (exit 1); a file that cannot be read (2).
pub(super) fn run(command: &CsrTemplateCommand, json: bool) -> Result<(), Failure> {
    match command {
        CsrTemplateCommand::Lint(args) => lint(args, json),
        CsrTemplateCommand::Check(args) => check(args, json),
    }
}

fn lint(args: &TemplateLintArgs, json: bool) -> Result<(), Failure> {
    let octets = input::read(&args.file, LARGEST, "read the template")?;
    let template = match Template::decode(&octets, &limits()) {
        Ok(template) => template,
        Err(error) => {
            if json {
                let object = serde_json::json!({ "event": "error", "member": member(error.path()), "message": error.to_string() });
                out::line(&object.to_string())?;
            }
            return Err(no_template(&error, &args.file, Failure::refused));
        }
    };
    let lints = template.lint();
    for lint in &lints {
        let line = if json { serde_json::json!({ "lint": lint.to_string() }).to_string() } else { lint.to_string() };
        out::line(&line)?;
    }
    match lints.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} thing(s) to look at")).at(args.file.display())),
    }
}

fn check(args: &TemplateCheckArgs, json: bool) -> Result<(), Failure> {
    let octets = input::read(&args.template, LARGEST, "read the template")?;
    let template = Template::decode(&octets, &limits());
    let template = template.map_err(|error| no_template(&error, &args.template, Failure::usage))?;
    let der = der(input::read(&args.csr, LARGEST, "read the request")?, &args.csr)?;
    // What wildcards of the template may stand for is the owner's to say, by --name; here they stand for any name.
    let any = |_: &str| true;
    let mut checker = Checker::new().with_name_policy(&any).with_signature_type(!args.any_signature_type);
    if !args.name.is_empty() {
        checker = checker.with_identifiers(&args.name);
    }
    let limits = limits();
    let violations = match Csr::decode(&der, &limits) {
        Ok(csr) => match checker.check(&template, &csr, &Ring::new()) {
            Ok(()) => Vec::new(),
            Err(report) => report.violations.iter().map(row).collect(),
        },
        // What cannot be read fits nothing.
        Err(error) => vec![Row::new(error.path(), None, "malformed", &error.kind().to_string())],
    };
    for violation in &violations {
        out::line(&if json { violation.to_json() } else { violation.to_text() })?;
    }
    match violations.len() {
        0 if json => out::line(&serde_json::json!({ "event": "checked", "fits": true }).to_string()),
        0 => out::line(&format!("{}: fits", args.csr.display())),
        count => {
            let failure = Failure::refused(format!("does not fit {}: {count} violation(s)", args.template.display()));
            Err(failure.at(args.csr.display()))
        }
    }
}

/// One thing that is wrong with a request, as it is printed.
struct Row {
    member: String,
    identifier: Option<String>,
    kind: &'static str,
    what: String,
}

impl Row {
    fn new(place: &str, identifier: Option<&str>, kind: &'static str, what: &str) -> Self {
        Self { member: member(place), identifier: identifier.map(str::to_owned), kind, what: what.to_owned() }
    }

    fn to_json(&self) -> String {
        let mut object = serde_json::json!({
            "event": "violation", "member": self.member, "kind": self.kind, "message": self.to_text(),
        });
        if let Some(identifier) = &self.identifier {
            object["identifier"] = identifier.as_str().into();
        }
        object.to_string()
    }

    /// Values come from the request: what a terminal would obey is written otherwise.
    fn to_text(&self) -> String {
        let name = self.identifier.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
        let text = format!("{}{name} {}", self.member, self.what);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

fn row(violation: &Violation) -> Row {
    let kind = match &violation.kind {
        ViolationKind::Missing => "missing",
        ViolationKind::NotInTemplate => "not-in-template",
        ViolationKind::Differs { .. } => "differs",
        ViolationKind::Repeated => "repeated",
        ViolationKind::MultiValued => "multi-valued",
        ViolationKind::NotAName => "not-a-name",
        ViolationKind::NotInOrder => "not-in-order",
        ViolationKind::NotInAltNames => "not-in-alt-names",
        ViolationKind::NoPolicy | ViolationKind::Policy => "policy",
        ViolationKind::Key(_) => "key",
        ViolationKind::Signature(_) => "signature",
        _ => "other",
    };
    Row::new(&violation.place, violation.identifier.as_deref(), kind, &violation.kind.to_string())
}

/// Places of requests by the names that templates have for them.
fn member(place: &str) -> String {
    match place {
        "key" => "keyTypes".into(),
        "signatureAlgorithm" => "keyTypes.SignatureType".into(),
        other => other.strip_prefix("template.").unwrap_or(other).into(),
    }
}

fn limits() -> Limits {
    Limits::DEFAULT
}

fn no_template(error: &DecodeError, path: &Path, blame: fn(String) -> Failure) -> Failure {
    let failure = blame(format!("no CSR template: {} {}", member(error.path()), error.kind()));
    failure.at(path.display()).remedy("see RFC 9115, appendix A")
}

/// The request itself, out of whichever form it is in.
fn der(octets: Vec<u8>, path: &Path) -> Result<Vec<u8>, Failure> {
    if !octets.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(octets);
    }
    let wrong = |what: String| Failure::refused(what).at(path.display()).remedy("write the request as PEM or DER");
    let pem = x509_parser::pem::Pem::iter_from_buffer(&octets).next();
    let pem = pem.ok_or_else(|| wrong("holds no PEM block".into()))?;
    let pem = pem.map_err(|error| wrong(format!("not PEM: {error}")))?;
    if !matches!(pem.label.as_str(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        return Err(wrong(format!("holds a {}, which is no certification request", pem.label)));
    }
    Ok(pem.contents)
}
