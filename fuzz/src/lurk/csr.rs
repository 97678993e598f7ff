//! Templates, requests, certificates.

use acme_lurk::Limits;
use acme_lurk::certificate::{Certificate, decode_chain, encode_chain};
use acme_lurk::csr::{Csr, SubjectField};
use acme_lurk::names::normalize;
use acme_lurk::template::{Answers, Checker, KeyType, Pattern, Template};

use super::Anyone;

/// The octets are a template.
pub fn template(data: &[u8]) {
    let limits = Limits::DEFAULT;
    let Ok(template) = Template::decode(data, &limits) else { return };
    assert_eq!(Template::decode(&template.encode(), &limits).as_ref(), Ok(&template), "what is written is read");
    assert!(template.lint().iter().all(|lint| !lint.to_string().is_empty()));
    let mut answers = SubjectField::ALL.into_iter().fold(Answers::new(), |answers, field| {
        answers.with_field(field, if field == SubjectField::Country { "CA" } else { "a.example" })
    });
    if template.has_dns_wildcard() {
        answers = answers.with_name("a.example");
    }
    let Ok(plan) = template.plan(&answers) else { return };
    let anyone = Anyone::new(1);
    // E-mail addresses of a template can be longer than a subject has room for.
    let Ok(request) = plan.build(&anyone) else { return };
    let Ok(csr) = Csr::decode(&request, &limits) else {
        assert!(request.len() > limits.csr, "what is made is read, unless it is too long");
        return;
    };
    let is_p256 = |key_type: &KeyType| key_type.takes(&anyone.0);
    if template.key_types().iter().any(is_p256) {
        let allow = |_: &str| true;
        assert_eq!(Checker::new().with_name_policy(&allow).check(&template, &csr, &anyone), Ok(()), "it fits");
    }
}

const TEMPLATES: [&str; 3] = [
    r#"{"keyTypes":[{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}],"subject":{"country":"CA","stateOrProvince":"**","locality":"**"},"extensions":{"subjectAltName":{"DNS":["abc.ido.example"]},"keyUsage":["digitalSignature"],"extendedKeyUsage":["serverAuth"]}}"#,
    r#"{"keyTypes":[{"PublicKeyType":"rsaEncryption","PublicKeyLength":2048,"SignatureType":"sha256WithRSAEncryption"},{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}],"extensions":{"subjectAltName":{"DNS":["**"]}}}"#,
    r#"{"keyTypes":[{"PublicKeyType":"id-ecPublicKey","namedCurve":"secp256r1","SignatureType":"ecdsa-with-SHA256"}],"subject":{"commonName":"*"},"extensions":{"subjectAltName":{"DNS":["abc.ido.example"]},"extendedKeyUsage":["serverAuth","1.3.6.1.4.1.311.44.3.4"]}}"#,
];

/// The octets are a request, a certificate, or a chain of them.
pub fn check(data: &[u8]) {
    let limits = Limits::DEFAULT;
    if let Ok(csr) = Csr::decode(data, &limits) {
        for template in TEMPLATES {
            let template = Template::decode(template.as_bytes(), &limits).expect("these are templates");
            let allow = |_: &str| true;
            let ordered = vec!["abc.ido.example".to_owned()];
            let strict = Checker::new().with_identifiers(&ordered).with_name_policy(&allow);
            let result = strict.check_content(&template, &csr);
            let looser = Checker::new().with_name_policy(&allow).with_signature_type(false);
            assert!(result.is_err() || looser.check_content(&template, &csr).is_ok(), "less is asked");
            match result {
                Ok(()) => {
                    // No name gets in that was not ordered, and none is missing.
                    let names: Vec<_> = csr.dns_names().map(normalize).collect();
                    assert!(!names.is_empty() && names.iter().all(|name| name.as_deref() == Some("abc.ido.example")));
                    assert!(csr.other_extensions().is_empty() && csr.other_attributes().is_empty());
                    assert!(
                        template.dns().iter().all(|pattern| !matches!(pattern, Pattern::Mandatory)) || names.len() == 1
                    );
                }
                Err(report) => assert!(!report.violations.is_empty() && !report.to_string().is_empty()),
            }
        }
        let _ = csr.verify(&Anyone::new(1));
    }
    if let Ok(certificate) = Certificate::decode(data, &limits) {
        let names: Vec<String> = vec!["a.example".into()];
        let _ = (certificate.is_for_names(&names), certificate.is_for_key(&Anyone::new(1).0));
        let _ = acme_lurk::acme::renewal::certificate_id(&certificate);
        let _ = acme_lurk::acme::challenge::tls_alpn01_is_met(&certificate, "a.example", "x.y");
    }
    if let Ok(chain) = decode_chain(data, &limits) {
        let written = encode_chain(chain.iter().map(Vec::as_slice));
        assert_eq!(decode_chain(&written, &limits.with_body(usize::MAX)), Ok(chain));
    }
}
