//! Templates from hostile services, fed with hostile subjects: none leads anywhere else.

use proptest::prelude::*;
use repute_proto::{Limits, Policy, Refusal, Scheme, Service, Target, Template, TemplateErrorKind, Variables};

fn service(scheme: Scheme) -> Service {
    Service::new(scheme, "rep.example.net").unwrap()
}

fn variables() -> Variables {
    Variables::new().with("application", "email-id").with("subject", "example.org").with("assertion", "spam")
}

fn target_with(template: &str, from: Scheme, policy: &Policy, variables: &Variables) -> Result<Target, Refusal> {
    template.parse::<Template>().unwrap().target(&service(from), variables, policy, &Limits::default())
}

fn target(template: &str) -> Result<Target, Refusal> {
    target_with(template, Scheme::Http, &Policy::default(), &variables())
}

#[test]
fn templates_lead_to_their_own_host_only() {
    for template in [
        "http://evil.example/{subject}",
        "http://{service}.evil.example/{subject}",
        "http://{service}@evil.example/{subject}",
        "http://{service}:x@evil.example/",
        "http://evil.example?{service}",
        "http://127.0.0.1/{subject}",
        "http://[::1]/{subject}",
        "http://localhost/{subject}",
        "http://169.254.169.254/latest",
        "http://{service}:22/{subject}",
        "http://{service}:8080/{subject}",
        "http://{subject}/{service}",
        "http://{assertion}{service}/",
        "http://{application}.{service}/",
        "https://{service}:8443/",
    ] {
        assert!(matches!(target(template), Err(Refusal::OtherHost(_))), "{template}: {:?}", target(template));
    }
    // Nor to one that cannot be read, which another reader may read otherwise.
    for template in [
        "http:///{subject}",
        "http:{service}/x",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://evil@{service}%2f/",
        "http://a@b@{service}/",
        "http://%cc:x@{service}/",
        "http://{service}:0/",
        "http://{service}:99999/",
        "http://{service}:/",
        "http://rep.example.net%00.evil/",
        "http://[::1/",
    ] {
        assert_eq!(target(template), Err(Refusal::Authority), "{template}");
    }
    for (template, uri) in [
        ("http://{service}/{subject}", "http://rep.example.net/example.org"),
        ("https://{service}/{subject}", "https://rep.example.net/example.org"),
        ("HTTP://REP.example.NET.:80/{subject}", "http://rep.example.net/example.org"),
        ("{scheme}://{service}", "http://rep.example.net/"),
        ("http://{service}{?subject}", "http://rep.example.net/?subject=example.org"),
    ] {
        assert_eq!(target(template).unwrap().uri(), uri);
    }
}

#[test]
fn other_hosts_can_be_allowed_one_by_one() {
    let mut policy = Policy::default();
    policy.allowed.push("https://cdn.example.net:8443".parse().unwrap());
    let ask = |template| target_with(template, Scheme::Http, &policy, &variables());
    assert_eq!(ask("https://cdn.example.net:8443/x").unwrap().uri(), "https://cdn.example.net:8443/x");
    for other in ["https://cdn.example.net/x", "http://cdn.example.net:8443/x", "https://x.example.net:8443/"] {
        assert!(matches!(ask(other), Err(Refusal::OtherHost(_))), "{other}");
    }
}

#[test]
fn only_http_and_https_are_followed_and_https_stays() {
    for template in ["file:///etc/passwd", "gopher://{service}/", "ftp://{service}/", "javascript:x", "{subject}", "/x"]
    {
        assert!(matches!(target(template), Err(Refusal::Scheme(_))), "{template}");
    }
    let clear = "http://{service}/{subject}";
    let ask = |policy: &Policy| target_with(clear, Scheme::Https, policy, &variables());
    assert_eq!(ask(&Policy::default()), Err(Refusal::Downgrade));
    let mut policy = Policy::default();
    policy.downgrade = true;
    assert!(ask(&policy).is_ok());
    policy.https_only = true;
    assert_eq!(ask(&policy), Err(Refusal::HttpsOnly));
    assert_eq!(
        target_with("{scheme}://{service}/", Scheme::Https, &policy, &variables()).unwrap().uri(),
        "https://rep.example.net/"
    );
}

#[test]
fn paths_never_climb() {
    for template in [
        "http://{service}/../x",
        "http://{service}/a/..",
        "http://{service}/./x",
        "http://{service}/%2e%2E/x",
        "http://{service}/.%2e/x",
        "http://{service}/..;a=b/x",
        "http://{service}/{application:0}".replace(":0", ":1").as_str(),
        "http://{service}/.{undefined}./x",
    ] {
        let result = target(template);
        if template.contains(":1") {
            assert!(result.is_ok());
        } else {
            assert_eq!(result, Err(Refusal::DotSegment), "{template}");
        }
    }
    let dots = variables().with("subject", "..example.org");
    let cut = target_with("http://{service}/{subject:2}/x", Scheme::Http, &Policy::default(), &dots);
    assert_eq!(cut, Err(Refusal::DotSegment));
}

#[test]
fn values_do_not_change_the_shape() {
    for subject in ["../admin?x=1#f", "a/b", "a?b", "a#b", "a&b=c", "%2e%2e", "x;y"] {
        let variables = variables().with("subject", subject);
        for template in
            ["http://{service}/{+subject}", "http://{service}/x{#subject}", "http://{service}/?q={+subject}"]
        {
            let result = target_with(template, Scheme::Http, &Policy::default(), &variables);
            assert_eq!(result, Err(Refusal::Shape("subject".to_owned())), "{template} {subject}");
        }
        let encoded = target_with("http://{service}/{subject}", Scheme::Http, &Policy::default(), &variables).unwrap();
        assert_eq!(encoded.path_and_query.matches(['/', '?', '#', '&', ';']).count(), 1, "{subject}");
    }
    assert!(target("http://{service}/{+subject}").is_ok());
    assert_eq!(target("http://{service}/x#y"), Err(Refusal::Fragment));
}

#[test]
fn credentials_leave_the_uri_and_are_never_shown() {
    let secret = variables().with("user", "alice").with("passwd", "p@ss:w/rd");
    let ask = |template: &str, scheme, policy: &Policy| target_with(template, scheme, policy, &secret);
    let template = "{scheme}://{user}:{passwd}@{service}/{subject}";
    let target = ask(template, Scheme::Https, &Policy::default()).unwrap();
    assert_eq!(target.uri(), "https://rep.example.net/example.org");
    let credentials = target.credentials.as_ref().unwrap();
    assert_eq!((credentials.user(), credentials.passwd()), ("alice", "p@ss:w/rd"));
    assert_eq!(credentials.basic().as_str(), "Basic YWxpY2U6cEBzczp3L3Jk");
    assert!(!format!("{target:?}{credentials:?}").contains("alice"));
    // In clear text only when that is configured; elsewhere in the URI never, but in a query over TLS.
    assert_eq!(ask(template, Scheme::Http, &Policy::default()), Err(Refusal::Credentials));
    let mut clear = Policy::default();
    clear.clear_text_credentials = true;
    assert!(ask(template, Scheme::Http, &clear).is_ok());
    for bad in ["https://{service}/{user}/{passwd}", "http://{service}/{?user,passwd}", "https://{service}/{;passwd}"] {
        assert_eq!(ask(bad, Scheme::Http, &Policy::default()), Err(Refusal::Credentials), "{bad}");
    }
    let query = ask("https://{service}/{?user,passwd}", Scheme::Https, &Policy::default()).unwrap();
    assert!(query.is_secret && !format!("{query:?}").contains("alice"), "{query:?}");
    assert!(matches!(ask("https://evil.example/{user}/{passwd}", Scheme::Https, &clear), Err(Refusal::OtherHost(_))));
    // Who has none sends none.
    let nobody = target_with(template, Scheme::Http, &Policy::default(), &variables()).unwrap();
    assert_eq!((nobody.credentials, nobody.path_and_query.as_str()), (None, "/example.org"));
}

#[test]
fn expansions_are_bounded() {
    let template: Template = "http://{service}/{?list*}".parse().unwrap();
    let variables = variables().with("list", vec!["x".repeat(100); 100]);
    let refused = template.target(&service(Scheme::Http), &variables, &Policy::default(), &Limits::default());
    assert!(
        matches!(refused, Err(Refusal::Expansion(error)) if matches!(error.kind, TemplateErrorKind::LimitExceeded(_)))
    );
}

#[test]
fn services_are_hosts_with_ports() {
    for (text, service) in [
        ("example.com", "http://example.com"),
        ("example.com:80", "http://example.com"),
        ("https://Example.COM:443", "https://example.com"),
        ("[2001:DB8::53]:8080", "http://[2001:db8::53]:8080"),
        ("192.0.2.1:1", "http://192.0.2.1:1"),
        ("bücher.example", "http://xn--bcher-kva.example"),
    ] {
        assert_eq!(text.parse::<Service>().unwrap().to_string(), service);
    }
    for bad in [
        "",
        ":80",
        "a:b",
        "a:",
        "a:0",
        "a:65536",
        "a/b",
        "a@b",
        "a b",
        "ftp://a",
        "[::1",
        "::1",
        "a..b",
        "127.1",
        "0x7f000001",
        "a\r\nb",
    ] {
        assert!(bad.parse::<Service>().is_err(), "{bad}");
    }
}

proptest! {
    /// What browsers and most clients make of a URI agrees with what was checked.
    #[test]
    fn another_parser_sees_the_same_host_and_path(
        template in "http://(\\{service\\}|rep\\.example\\.net|[a-z@:.\\[\\]%0-9]{1,12})[/?a-z.%2eE\\{\\}@:;]{0,20}(\\{subject\\}|\\{\\+subject\\}|\\{/subject\\}|\\{\\?subject\\})?",
        subject in "\\PC{1,20}|[./?#@:%a-c\\\\]{1,12}",
    ) {
        let Ok(template) = template.parse::<Template>() else { return Ok(()) };
        let variables = variables().with("subject", subject);
        let Ok(target) = template.target(&service(Scheme::Http), &variables, &Policy::default(), &Limits::default()) else {
            return Ok(());
        };
        let url = url::Url::parse(&target.uri()).unwrap();
        prop_assert_eq!(url.host_str(), Some("rep.example.net"));
        prop_assert_eq!(url.port_or_known_default(), Some(80));
        prop_assert_eq!(url.username(), "");
        let path = target.path_and_query.split('?').next().unwrap();
        prop_assert_eq!(url.path().split('/').count(), path.split('/').count(), "{}", target.uri());
    }
}
