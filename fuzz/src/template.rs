//! Templates and template files of hostile services, fed with hostile values: nothing leads anywhere else.

use repute_proto::{Limits, Policy, Scheme, Service, Template, TemplateFile, Value, Variables};

/// The first line is the subject, the others are a template file.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|octet| *octet == b'\n').unwrap_or(0);
    let (subject, file) = data.split_at(end);
    let subject = String::from_utf8_lossy(subject);
    let limits = Limits::default();
    let Ok(file) = TemplateFile::decode(file, &limits) else { return };
    let variables = Variables::new()
        .with("application", "email-id")
        .with("subject", subject.as_ref())
        .with("assertion", ["spam", "fraud"])
        .with("a", Value::Map(vec![(subject.to_string(), subject.to_string())]))
        .with("user", "alice")
        .with("passwd", "s3cret");
    for template in &file.templates {
        let _ = template.lint();
        assert_eq!(template.as_str().parse::<Template>().as_ref(), Ok(template), "what is shown is what was read");
        if let Ok(uri) = template.expand(&variables) {
            assert!(uri.len() <= limits.uri);
            let is_uri = |octet: u8| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet);
            assert!(uri.bytes().all(is_uri), "{uri:?}");
        }
        for scheme in [Scheme::Http, Scheme::Https] {
            let service = Service::new(scheme, "rep.example.net").expect("a host");
            let Ok(target) = template.target(&service, &variables, &Policy::default(), &limits) else { continue };
            let uri = target.uri();
            let rest = uri.strip_prefix("https://rep.example.net/");
            let rest = rest.or_else(|| uri.strip_prefix("http://rep.example.net/").filter(|_| scheme == Scheme::Http));
            let rest = rest.unwrap_or_else(|| panic!("{uri} by {template}"));
            let path = rest.split('?').next().unwrap_or("");
            assert!(
                !path
                    .split('/')
                    .any(|segment| matches!(segment.to_lowercase().replace("%2e", ".").as_str(), "." | "..")),
                "{uri}"
            );
            assert!(!uri.contains('#') && !path.contains('\\'), "{uri}");
            // Credentials are in clear text nowhere, and in a path never.
            let has_credentials = template.variables().iter().any(|name| ["user", "passwd"].contains(name));
            assert!(!has_credentials || target.service.scheme() == Scheme::Https, "{uri} by {template}");
        }
    }
}
