//! Templates and requests: the corpus, the cases, and what plans make of templates.

use acme_lurk::crypto::{Curve, Ring, RingSigner, Signer as _};
use acme_lurk::csr::{Csr, CsrPlan, ExtendedKeyUsage, KeyUsage, SubjectField};
use acme_lurk::template::{Answers, Checker, KeyType, Lint, Pattern, PlanError, Report, Template, ViolationKind};
use acme_lurk::{DecodeErrorKind, Limits};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{self, file, octets, signer};

const LIMITS: Limits = Limits::DEFAULT;

fn template(value: &Value) -> Template {
    Template::decode(&octets(value), &LIMITS).unwrap()
}

/// Where a request is wrong: the place of the error, or those of the violations.
fn places(template: &Template, checker: &Checker<'_>, der: &[u8]) -> Vec<String> {
    match Csr::decode(der, &LIMITS) {
        Err(error) => vec![error.path().to_owned()],
        Ok(csr) => match checker.check(template, &csr, &Ring::new()) {
            Ok(()) => Vec::new(),
            Err(report) => report.violations.into_iter().map(|violation| violation.place).collect(),
        },
    }
}

fn by_policy(name: &str) -> bool {
    name.ends_with(".cdn.ido.example")
}

#[test]
fn requests_of_the_corpus_get_their_verdicts() {
    // The first part of the corpus came without places.
    let known = [
        ("t1-missing-mandatory-ST", "subject.stateOrProvince"),
        ("t1-extra-O", "subject.organization"),
        ("t1-dup-ST", "subject.stateOrProvince"),
        ("t1-empty-subject", "subject.country"),
        ("t1-san-extra-name", "extensions.subjectAltName.DNS"),
        ("t1-san-missing", "extensions.subjectAltName"),
        ("t1-san-email", "extensions.subjectAltName.Email."),
        ("t1-key-p384", "key"),
        ("t1-key-ed25519", "key"),
        ("t1-ku-extra-bit", "extensions.keyUsage."),
        ("t1-ku-other", "extensions.keyUsage.digitalSignature"),
        ("t1-eku-missing", "extensions.extendedKeyUsage.serverAuth"),
        ("t1-ext-mustStaple", "extensions.1.3.6.1.5.5.7.1.24"),
        ("t1-bad-signature", "signature"),
        ("t1-trailing", "csr"),
    ];
    let manifest = support::json("csr/manifest.json");
    let cases = manifest["cases"].as_array().unwrap();
    assert!(cases.len() >= 55, "{}", cases.len());
    for case in cases {
        let name = case["file"].as_str().unwrap();
        let kind = case["template"].as_str().unwrap();
        let template = template(&manifest["templates"][kind]);
        let ordered: Vec<String> = serde_json::from_value(manifest["order_identifiers"][kind].clone()).unwrap();
        let checker = Checker::new().with_identifiers(&ordered).with_name_policy(&by_policy);
        let found = places(&template, &checker, &file(&format!("csr/{name}")));
        if case["expect"] == "accept" {
            assert_eq!(found, Vec::<String>::new(), "{name}");
            continue;
        }
        let place = case["place"].as_str().or_else(|| {
            known.iter().find(|(known, _)| name.strip_suffix(".der") == Some(known)).map(|(_, place)| *place)
        });
        let place = place.unwrap_or_else(|| panic!("{name}: where?"));
        assert!(
            found.iter().any(|found| found == place || (place.ends_with('.') && found.starts_with(place))),
            "{name}: {place} is not in {found:?}"
        );
    }
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let manifest = support::json("csr/manifest.json");
    let template = template(&manifest["templates"]["T1"]);
    let der = file("csr/t2-name-of-others.der");
    let ordered = ["abc.ido.example".to_owned()];
    let checker = Checker::new().with_identifiers(&ordered);
    let csr = Csr::decode(&der, &LIMITS).unwrap();
    let Err(report) = checker.check(&template, &csr, &Ring::new()) else { panic!() };
    let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "subject.country is missing",
            "subject.stateOrProvince is missing",
            "subject.locality is missing",
            "extensions.subjectAltName.DNS \"abc.ido.example\" is missing",
            "extensions.subjectAltName.DNS \"www.other.example\" is not in the template",
            "extensions.keyUsage.digitalSignature is missing",
            "extensions.extendedKeyUsage.serverAuth is missing",
            "order \"abc.ido.example\" is missing",
            "order \"www.other.example\" is not in the order",
        ]
    );
    assert!(!report.is_about_identifiers());
    assert!(report.to_string().starts_with("subject.country is missing; "));
}

#[test]
fn names_left_open_need_a_policy() {
    let manifest = support::json("csr/manifest.json");
    let template = template(&manifest["templates"]["T2"]);
    let der = file("csr/t2-good-ec.der");
    let csr = Csr::decode(&der, &LIMITS).unwrap();
    let kinds = |checker: Checker<'_>| match checker.check(&template, &csr, &Ring::new()) {
        Ok(()) => vec![],
        Err(Report { violations, .. }) => violations.into_iter().map(|violation| violation.kind).collect(),
    };
    assert_eq!(kinds(Checker::new()), [ViolationKind::NoPolicy], "no default says yes");
    assert_eq!(kinds(Checker::new().with_name_policy(&|_| false)), [ViolationKind::Policy]);
    assert_eq!(kinds(Checker::new().with_name_policy(&by_policy)), []);
}

#[test]
fn the_signature_type_of_a_key_can_be_left_alone() {
    let manifest = support::json("csr/manifest.json");
    let template = template(&manifest["templates"]["T2"]);
    let checker = Checker::new().with_name_policy(&by_policy);
    for (name, kind) in [("t2-sig-pss", "signatureAlgorithm"), ("t2-sig-rsa-sha512", "signatureAlgorithm")] {
        let der = file(&format!("csr/{name}.der"));
        assert_eq!(places(&template, &checker, &der), [kind], "{name}");
        assert_eq!(places(&template, &checker.with_signature_type(false), &der), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn templates_are_what_appendix_a_says() {
    let example = support::json("csr-template/example-template.json");
    let cases = support::json("csr-template/cases.json");
    assert!(cases.as_array().unwrap().len() > 55);
    for case in cases.as_array().unwrap() {
        let mut changed = example.clone();
        if let Some([path, value]) = case["set"].as_array().map(Vec::as_slice) {
            set(&mut changed, path.as_str().unwrap(), value);
        }
        let read = Template::decode(&octets(&changed), &LIMITS);
        let found = read.as_ref().err().map(|error| error.path().to_owned());
        assert_eq!(found.as_deref(), case["place"].as_str(), "{case}: {read:?}");
        if let Ok(template) = read {
            assert_eq!(Template::decode(&template.encode(), &LIMITS), Ok(template));
        }
    }
    let text = String::from_utf8(octets(&example)).unwrap();
    for (from, to) in [("\"country\"", "\"locality\":\"a\",\"country\""), ("{", "{\"subject\":{},")] {
        let twice = text.replacen(from, to, 1);
        assert_ne!(twice, text);
        let error = Template::decode(twice.as_bytes(), &LIMITS).unwrap_err();
        assert!(matches!(error.kind(), DecodeErrorKind::Json(_)), "a name twice: {error}");
    }
    let many: Vec<String> = (0..=LIMITS.identifiers).map(|at| format!("a{at}.example")).collect();
    let mut large = example;
    set(&mut large, "extensions.subjectAltName.DNS", &json!(many));
    assert!(matches!(Template::decode(&octets(&large), &LIMITS).unwrap_err().kind(), DecodeErrorKind::Limit(_)));
}

/// Sets a member by its path; null takes it out.
fn set(value: &mut Value, path: &str, to: &Value) {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut place = value;
    for name in parents.into_iter().flat_map(|parents| parents.split('.')) {
        place = match name.parse::<usize>() {
            Ok(at) => &mut place[at],
            Err(_) => &mut place[name],
        };
    }
    match (last.parse::<usize>(), to.is_null()) {
        (Ok(at), _) => place[at] = to.clone(),
        (_, true) => drop(place.as_object_mut().unwrap().remove(last)),
        (_, false) => place[last] = to.clone(),
    }
}

#[test]
fn lints_say_what_is_unwise() {
    let mut value = support::json("csr-template/example-template.json");
    assert_eq!(template(&value).lint(), []);
    set(&mut value, "extensions.subjectAltName.DNS", &json!(["*.a.example", "_b.example", "_B.example", "*", "**"]));
    set(&mut value, "extensions.keyUsage", &json!(["cRLSign"]));
    set(&mut value, "extensions.extendedKeyUsage", &json!(["clientAuth"]));
    set(&mut value, "subject.commonName", &json!("*"));
    let lints = template(&value).lint();
    assert_eq!(
        lints,
        [
            Lint::DnsWildcard,
            Lint::RedundantWildcard,
            Lint::WildcardName,
            Lint::Underscore,
            Lint::Repeated,
            Lint::NoServerAuth,
            Lint::CaUsage,
            Lint::OpenCommonName
        ]
    );
    assert!(lints.iter().all(|lint| !lint.to_string().is_empty()));
}

#[test]
fn plans_ask_for_what_the_template_leaves_open() {
    let template = template(&support::json("csr-template/example-template.json"));
    let answers = Answers::new().with_field(SubjectField::StateOrProvince, "Ontario");
    assert_eq!(template.plan(&answers), Err(PlanError::FieldWanted(SubjectField::Locality)));
    let answers = answers.with_field(SubjectField::Locality, "Ottawa").with_field(SubjectField::Country, "US");
    let plan = template.plan(&answers).unwrap();
    assert_eq!(plan.subject[0], (SubjectField::Country, "CA".into()), "literals are not asked for");
    let stranger = answers.clone().with_name("other.example");
    assert_eq!(template.plan(&stranger), Err(PlanError::NameNotAllowed("other.example".into())));
    assert_eq!(template.plan(&answers.clone().with_name("a b")), Err(PlanError::Name("a b".into())));
    assert!(template.plan(&answers.with_name("ABC.ido.example")).is_ok(), "a name that it has is no further name");
    assert!(template.accepts_key(signer().public_key()));
}

#[test]
fn requests_are_as_large_as_the_limits_say() {
    let signer = signer();
    let der = CsrPlan::for_names(["a.example", "b.example"]).build(&signer).unwrap();
    let csr = Csr::decode(&der, &LIMITS).unwrap();
    assert_eq!(csr.verify(&Ring::new()), Ok(()));
    assert_eq!(csr.dns_names().collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(csr.key().unwrap(), signer.public_key());
    for limits in [LIMITS.with_csr(der.len() - 1), LIMITS.with_identifiers(1)] {
        assert!(matches!(Csr::decode(&der, &limits).unwrap_err().kind(), DecodeErrorKind::Limit(_)));
    }
    for end in 0..der.len() {
        assert!(Csr::decode(&der[..end], &LIMITS).is_err(), "{end}");
    }
    for plan in [CsrPlan::default(), CsrPlan::for_names(["a b"]), CsrPlan::for_names(["bücher.example"])] {
        assert!(plan.build(&signer).is_err(), "{plan:?}");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9]{0,8}[a-z0-9])?\\.(a|b-c)\\.example"
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![name().prop_map(Pattern::Literal), Just(Pattern::Mandatory), Just(Pattern::Optional)]
}

prop_compose! {
    /// A template, as JSON.
    fn templates()(
        dns in proptest::collection::vec(pattern(), 1..4),
        uri in proptest::collection::vec("https://[a-z]{1,8}\\.example/", 0..2),
        usages in proptest::sample::subsequence(KeyUsage::ALL.to_vec(), 0..=9),
        extended in proptest::sample::subsequence(vec!["serverAuth", "clientAuth", "OCSPSigning", "1.3.6.1.5.5.7.3.17", "2.999.1"], 0..=5),
        subject in proptest::collection::btree_map(0_usize..7, (0..3_u8, "[A-Za-z ]{0,20}[A-Za-z]"), 0..7),
        rsa in any::<bool>(),
    ) -> Value {
        let mut key_types = vec![json!({"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1", "SignatureType": "ecdsa-with-SHA256"})];
        if rsa {
            key_types.insert(0, json!({"PublicKeyType": "rsaEncryption", "PublicKeyLength": 3072, "SignatureType": "sha256WithRSAEncryption"}));
        }
        let mut value = json!({"keyTypes": key_types, "extensions": {"subjectAltName": {"DNS": dns.iter().map(Pattern::as_str).collect::<Vec<_>>()}}});
        if !uri.is_empty() { value["extensions"]["subjectAltName"]["URI"] = json!(uri); }
        if !usages.is_empty() { value["extensions"]["keyUsage"] = json!(usages.iter().map(|usage| usage.name()).collect::<Vec<_>>()); }
        if !extended.is_empty() { value["extensions"]["extendedKeyUsage"] = json!(extended); }
        for (field, (kind, text)) in subject {
            let field = SubjectField::ALL[field];
            let text = if field == SubjectField::Country { "CA".to_owned() } else { text };
            value["subject"][field.name()] = json!(["*", "**", &text][usize::from(kind)]);
        }
        value
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_planned_request_fits_its_template(
        value in templates(),
        names in proptest::collection::vec(name(), 0..3),
        locality in proptest::option::of("[A-Za-zé]{1,20}"),
    ) {
        let template = template(&value);
        prop_assert_eq!(Template::decode(&template.encode(), &LIMITS), Ok(template.clone()), "serialised and read again");
        let mut answers = names.iter().fold(Answers::new(), |answers, name| answers.with_name(name.as_str()));
        for (field, value) in [
            (SubjectField::Country, "CA"), (SubjectField::StateOrProvince, "Ontario"),
            (SubjectField::Locality, locality.as_deref().unwrap_or("Ottawa")), (SubjectField::Organization, "IdO"),
            (SubjectField::OrganizationalUnit, "Edge"), (SubjectField::EmailAddress, "a@ido.example"),
        ] {
            answers = answers.with_field(field, value);
        }
        let first = template.dns().iter().find_map(|pattern| match pattern { Pattern::Literal(name) => Some(name.clone()), _ => None });
        if let Some(name) = first.or_else(|| names.first().cloned()) {
            answers = answers.with_field(SubjectField::CommonName, name);
        }
        let planned = template.plan(&answers);
        let has_literal = template.dns().iter().any(|pattern| matches!(pattern, Pattern::Literal(_)));
        let wants_more = template.dns().contains(&Pattern::Mandatory) || (!has_literal && template.uri().is_empty());
        let Ok(plan) = planned else {
            // It says no only for a reason.
            let further = names.iter().any(|name| !template.dns().contains(&Pattern::Literal(name.clone())));
            prop_assert!((wants_more && !further) || (further && !template.has_dns_wildcard())
                || matches!(planned, Err(PlanError::FieldWanted(SubjectField::CommonName) | PlanError::CommonName(_))), "{:?}", planned);
            return Ok(());
        };
        let signer = signer();
        let der = plan.build(&signer).unwrap();
        let csr = Csr::decode(&der, &LIMITS).unwrap();
        let ordered: Vec<String> = csr.dns_names().map(str::to_ascii_uppercase).rev_if(names.len() == 2);
        let allow = |_: &str| true;
        let checker = Checker::new().with_identifiers(&ordered).with_name_policy(&allow);
        prop_assert_eq!(checker.check(&template, &csr, &Ring::new()), Ok(()));
        // And with one octet changed it does not verify, or is no request at all.
        let mut altered = der.clone();
        let at = usize::from(der[10]) * 7 % der.len();
        altered[at] ^= 4;
        if let Ok(csr) = Csr::decode(&altered, &LIMITS) {
            prop_assert!(checker.check(&template, &csr, &Ring::new()).is_err());
        }
    }
}

trait ReverseIf: Iterator<Item = String> + Sized {
    fn rev_if(self, reverse: bool) -> Vec<String> {
        let mut all: Vec<String> = self.collect();
        if reverse {
            all.reverse();
        }
        all
    }
}

impl<T: Iterator<Item = String>> ReverseIf for T {}

#[test]
fn what_openssl_and_others_call_purposes_is_understood() {
    assert_eq!(ExtendedKeyUsage::from_name("1.3.6.1.5.5.7.3.1").unwrap().name(), "serverAuth");
    assert_eq!(ExtendedKeyUsage::from_name("serverauth"), None);
    let template = template(&support::json("csr-template/example-template.json"));
    assert_eq!(template.key_types()[1], KeyType::Ec(Curve::P256));
    assert_eq!(template.key_types()[1].signature().to_string(), "ecdsa-with-SHA256");
    assert!(RingSigner::from_pkcs8(&[0x30, 0]).is_err());
}
