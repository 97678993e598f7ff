//! The server: routes, negotiation, what it says when it knows nothing, and how long that holds.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use repute_proto::panel::combine;
use repute_proto::server::{Batch, RateLimit, RateLimiter};
use repute_proto::{
    Decoder, Dialect, Dispatch, ExtensionValue, Identity, Lookup, Reputon, Score, Server, ServerConfig, Weighing,
};
use watchfire_core::{Instant, UnixTime};

use crate::support::EPOCH;

const NOW: UnixTime = UnixTime::from_secs(EPOCH);

fn server(change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = ServerConfig::builder("rep.example.net").build().unwrap();
    change(&mut config);
    Server::new(Arc::new(config))
}

fn request(method: Method, target: &str, fields: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let request = Request::builder().method(method).uri(target);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn get(server: &Server, target: &str, fields: &[(&str, &str)]) -> Dispatch {
    server.handle_request(NOW, &request(Method::GET, target, fields, ""))
}

fn lookup(server: &Server, target: &str, fields: &[(&str, &str)]) -> Lookup {
    match get(server, target, fields) {
        Dispatch::Lookup(lookup) => lookup,
        other => panic!("{target}: {other:?}"),
    }
}

fn refused(dispatch: Dispatch) -> Response<Bytes> {
    match dispatch {
        Dispatch::Respond(response) => response,
        other => panic!("{other:?}"),
    }
}

fn reputon(assertion: &'static str) -> Reputon<'static> {
    Reputon::new("rep.example.net", assertion, "example.org", Score::new(0.25).unwrap())
}

#[test]
fn targets_in_every_spelling_are_understood() {
    let server = server(|_| {});
    for (target, assertions) in [
        ("/email-id/example.org/spam", &["spam"][..]),
        ("http://rep.example.net/email-id/example.org/spam", &["spam"]),
        ("/EMAIL/Example.ORG/sends-spam", &["sends-spam"]),
        ("/email-id/example.org", &[]),
        ("/email-id/example.org/", &[]),
        ("/email-id/example.org/spam,fraud", &["spam", "fraud"]),
        ("/email-id/example.org/spam%2Cfraud", &["spam", "fraud"]),
        ("/email-id/example.org/spam/fraud", &["spam", "fraud"]),
        ("/email-id/example.org?assertion=spam&assertion=fraud", &["spam", "fraud"]),
        ("/email-id/%22example.org%22/spam", &["spam"]),
        ("/repute.php?subject=example.org&application=email-id&assertion=spam&service=127.0.0.77", &["spam"]),
        (
            "/repute.php?subject=example.org&application=email-id&assertion=spam&service=x&reporter=42&format=json",
            &["spam"],
        ),
    ] {
        let lookup = lookup(&server, target, &[]);
        assert_eq!(
            (lookup.subject.as_str(), &lookup.assertions[..]),
            ("example.org", &assertions.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()[..]),
            "{target}"
        );
        assert_eq!(lookup.reporter.is_some(), target.contains("reporter"));
        assert!(server.forward(&lookup).is_some());
    }
    let other = lookup(&server, "/email-id/2001%3Adb8%3A%3A1/spam?identity=IPV6", &[]);
    assert_eq!((other.subject.as_str(), other.identity), ("2001:db8::1", Some(Identity::Ipv6)));
}

#[test]
fn what_is_not_served_is_404_and_what_is_wrong_400() {
    let server = server(|_| {});
    for (target, status) in [
        ("/", 404),
        ("/golf/example.org/spam", 404),
        ("/email-id", 404),
        ("/repute.php?subject=example.org", 404),
        ("/.well-known/other/x", 404),
        ("/email-id/../spam", 400),
        ("/email-id/%2e%2e/spam", 400),
        ("/email-id/a%00b/spam", 400),
        ("/email-id/a%2Fb/spam", 400),
        ("/email-id/%ff/spam", 400),
        ("/email-id/example.org/sp%20am", 400),
        ("/email-id/example.org/spam?identity=arc", 400),
        ("/email-id/example.org/spam?identity=ipv4", 400),
        (&format!("/email-id/example.org/{}", "a,".repeat(65)), 400),
        (&format!("/email-id/{}", "a".repeat(9000)), 414),
    ] {
        assert_eq!(refused(get(&server, target, &[])).status(), status, "{target}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = refused(server.handle_request(NOW, &request(method, "/email-id/example.org", &[], "")));
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &http::HeaderValue::from_static("GET, HEAD"))
        );
    }
}

#[test]
fn the_template_is_text_with_expiry_and_etag() {
    let server = server(|_| {});
    let response = refused(get(&server, "/.well-known/repute-template", &[]));
    assert_eq!(response.body(), "http://{service}/{application}/{subject}/{assertion}");
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers()["cache-control"], "max-age=86400");
    assert_eq!(response.headers()["expires"], "Wed, 15 Nov 2023 22:13:20 GMT");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    for list in [etag.as_str(), "*", &format!("\"x\", W/{etag}")] {
        let again = refused(get(&server, "/.well-known/repute-template", &[("if-none-match", list)]));
        assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{list}");
    }
    let other = refused(get(&server, "/.well-known/repute-template", &[("if-none-match", "\"x\"")]));
    assert_eq!(other.status(), StatusCode::OK);
    let head = refused(server.handle_request(NOW, &request(Method::HEAD, "/.well-known/repute-template", &[], "")));
    assert!(head.body().is_empty() && head.headers()["content-length"] == "52");
}

#[test]
fn the_older_well_known_name_is_the_drafts() {
    for (dialect, status) in [(Dialect::Draft2012, 200), (Dialect::Auto, 200), (Dialect::Rfc7072, 404)] {
        let server = server(|config| config.dialect = dialect);
        assert_eq!(refused(get(&server, "/.well-known/repute_template", &[])).status(), status);
    }
}

#[test]
fn formats_are_negotiated() {
    for (dialect, target, accept, media) in [
        (Dialect::Auto, "", None, "application/reputon+json"),
        (Dialect::Auto, "", Some("*/*"), "application/reputon+json"),
        (Dialect::Auto, "", Some("application/reputon"), "application/reputon; app=\"email-id\""),
        (
            Dialect::Auto,
            "",
            Some("application/reputon;q=0.9, application/reputon+json;q=0.5"),
            "application/reputon; app=\"email-id\"",
        ),
        (Dialect::Auto, "", Some("application/reputon, application/reputon+json"), "application/reputon+json"),
        (
            Dialect::Auto,
            "",
            Some("application/*;q=0.1, application/reputon+json;q=0"),
            "application/reputon; app=\"email-id\"",
        ),
        (Dialect::Auto, "?format=xml", Some("application/reputon+json"), "application/reputon; app=\"email-id\""),
        (Dialect::Draft2012, "", Some("*/*"), "application/reputon; app=\"email-id\""),
        (Dialect::Draft2012, "", Some("application/reputon+json"), "application/reputon+json"),
    ] {
        let server = server(|config| config.dialect = dialect);
        let fields: Vec<_> = accept.map(|accept| ("accept", accept)).into_iter().collect();
        let lookup = lookup(&server, &format!("/email-id/example.org/spam{target}"), &fields);
        let response = server.respond(NOW, &lookup, vec![reputon("spam")]);
        assert_eq!(response.headers()["content-type"], media, "{accept:?}");
        assert_eq!(response.headers()["vary"], "Accept");
        let document = Decoder::new().decode(media, response.body()).unwrap();
        assert_eq!((document.application.as_deref(), document.reputons.len()), (Some("email-id"), 1));
    }
    let server = server(|_| {});
    for accept in ["text/html", "application/reputon+json;q=0"] {
        assert_eq!(refused(get(&server, "/email-id/example.org", &[("accept", accept)])).status(), 406);
    }
}

#[test]
fn an_answer_expires_with_the_first_of_its_reputons() {
    let server = server(|_| {});
    let all = lookup(&server, "/email-id/example.org", &[]);
    let at = |seconds: i64| u64::try_from(EPOCH + seconds).unwrap();
    let found = vec![
        reputon("spam").with_expires(at(500)),
        reputon("fraud").with_expires(at(100)),
        reputon("malware").with_expires(at(0)),
        reputon("abusive"),
    ];
    let response = server.respond(NOW, &all, found);
    assert_eq!(response.headers()["cache-control"], "max-age=100");
    assert_eq!(response.headers()["expires"], "Tue, 14 Nov 2023 22:15:00 GMT");
    let document = Decoder::new().decode("application/reputon+json", response.body()).unwrap();
    assert_eq!(document.reputons.len(), 3, "what is expired is not sent");
    let silent = server.respond(NOW, &all, vec![reputon("spam")]);
    assert_eq!(silent.headers()["cache-control"], "max-age=300");
    let etag = silent.headers()["etag"].to_str().unwrap();
    let again = lookup(&server, "/email-id/example.org", &[("if-none-match", etag)]);
    assert_eq!(server.respond(NOW, &again, vec![reputon("spam")]).status(), StatusCode::NOT_MODIFIED);
    assert_eq!(server.respond(NOW, &again, vec![reputon("fraud")]).status(), StatusCode::OK);
}

#[test]
fn no_data_is_said_so_that_old_clients_understand() {
    let server = server(|_| {});
    let named = lookup(&server, "/email-id/example.org/SPAM,unheard-of", &[]);
    let response = server.respond(NOW, &named, Vec::new());
    // Of the time since when it may be kept.
    let generated = EPOCH - EPOCH % 300;
    let expected = |assertion: &str| {
        format!(
            r#"{{"rater":"rep.example.net","assertion":"{assertion}","rated":"example.org","rating":0.0,"confidence":0.0,"sample-size":0,"generated":{generated},"email-id-identity":"dkim","identity":"dkim","rate":4294967295}}"#
        )
    };
    let body = format!(r#"{{"application":"email-id","reputons":[{},{}]}}"#, expected("spam"), expected("unheard-of"));
    assert_eq!(response.body(), &body);
    assert_eq!(response.status(), StatusCode::OK);
    let all = lookup(&server, "/email-id/example.org/", &[]);
    assert_eq!(server.respond(NOW, &all, Vec::new()).body(), r#"{"application":"email-id","reputons":[]}"#);
}

#[test]
fn opendkim_finds_all_it_reads_and_dkim_last() {
    let with =
        |identity: &'static str| reputon("spam").with_extension("email-id-identity", ExtensionValue::text(identity));
    let answer = |opendkim: bool| {
        let server = server(|config| config.opendkim = opendkim);
        let named = lookup(&server, "/email-id/example.org/sends-spam", &[]);
        let response = server.respond(NOW, &named, vec![with("dkim"), with("spf"), reputon("malware")]);
        Decoder::new().decode("application/reputon+json", response.body()).unwrap().into_owned()
    };
    let document = answer(true);
    let identities: Vec<_> = document.reputons.iter().map(|reputon| reputon.identity().unwrap()).collect();
    assert_eq!(identities, [Identity::Spf, Identity::Dkim]);
    for reputon in &document.reputons {
        assert_eq!(reputon.assertion, "sends-spam", "the name that was asked for");
        assert_eq!(reputon.extension("identity"), reputon.extension("email-id-identity"));
        assert!(reputon.rate().is_some() && reputon.confidence.is_some() && reputon.generated.is_some());
        assert!(reputon.sample_size.is_some());
    }
    let plain = answer(false);
    assert!(plain.reputons.iter().all(|reputon| reputon.rate().is_none() && reputon.confidence.is_none()));
    let mut config = ServerConfig::builder("x").build().unwrap();
    assert_eq!(config.opendkim_faults().len(), 0);
    config.templates.push("https://{service}/{application}/{subject}".parse().unwrap());
    config.templates.push(format!("http://{{service}}/{}", "x".repeat(1024)).parse().unwrap());
    assert_eq!(config.opendkim_faults().len(), 2);
}

/// What the data leaves out is said to be of a time that does not change with every second.
#[test]
fn the_same_answer_has_the_same_tag() {
    let mut lifetime = 0;
    let server = server(|config| lifetime = config.answer_lifetime.as_secs());
    let named = lookup(&server, "/email-id/example.org/spam", &[]);
    let start = UnixTime::from_secs(i64::try_from(lifetime * 500_000).unwrap());
    for found in [vec![reputon("spam")], Vec::new()] {
        let tag = |after: u64| {
            let now = UnixTime::from_secs(start.as_secs() + i64::try_from(after).unwrap());
            server.respond(now, &named, found.clone()).headers()["etag"].clone()
        };
        assert_eq!(tag(0), tag(lifetime - 1));
        assert_ne!(tag(0), tag(lifetime), "it is not said to be older than that");
    }
}

#[test]
fn what_the_data_does_not_say_is_only_said_to_opendkim() {
    let found = || vec![reputon("spam")];
    for (opendkim, identity) in [(true, Some(Identity::Spf)), (false, None)] {
        let server = server(|config| config.opendkim = opendkim);
        let named = lookup(&server, "/email-id/example.org/spam?identity=spf", &[]);
        let response = server.respond(NOW, &named, found());
        let document = Decoder::new().decode("application/reputon+json", response.body()).unwrap();
        assert_eq!(document.reputons[0].identity(), identity);
    }
}

#[test]
fn who_knows_reputons_is_told_what_the_data_says_and_nothing_else() {
    let answer = |dialect: Dialect, accept: Option<&str>, target: &str| {
        let server = server(|config| config.dialect = dialect);
        let fields: Vec<_> = accept.into_iter().map(|accept| ("accept", accept)).collect();
        let response = server.respond(NOW, &lookup(&server, target, &fields), vec![reputon("spam")]);
        let known = Decoder::new().decode(response.headers()["content-type"].to_str().unwrap(), response.body());
        let reputon = known.unwrap().into_owned().reputons.remove(0);
        let said = reputon.confidence.is_some() || reputon.sample_size.is_some() || reputon.generated.is_some();
        assert_eq!(said, reputon.rate().is_some() && reputon.identity().is_some(), "all or nothing: {reputon:?}");
        assert_eq!(response.headers()["vary"], "Accept");
        (said, response.headers()["etag"].clone())
    };
    let path = "/email-id/example.org/spam";
    let json = "application/reputon+json";
    for accept in
        [json, "Application/Reputon+JSON; q=1", "application/reputon", "text/html, application/reputon+json, */*"]
    {
        assert!(!answer(Dialect::Auto, Some(accept), path).0, "{accept}");
    }
    for accept in [None, Some("*/*"), Some("application/*"), Some("application/json, */*;q=0.1")] {
        assert!(answer(Dialect::Auto, accept, path).0, "{accept:?}");
        assert!(answer(Dialect::Draft2012, accept, path).0, "{accept:?}");
        assert!(!answer(Dialect::Rfc7072, accept, path).0, "{accept:?}");
    }
    // What the program of 2013 writes into its target.
    assert!(answer(Dialect::Auto, Some("*/*"), &format!("{path}?format=xml")).0);
    let tag = |accept| answer(Dialect::Auto, Some(accept), path).1;
    assert_ne!(tag(json), tag("*/*"), "two answers, two tags");
    assert_eq!(tag(json), tag(json));
}

#[test]
fn what_is_filled_in_for_opendkim_weighs_what_silence_does() {
    let weigh = |opendkim: bool, found: Reputon<'static>| {
        let server = server(|config| config.opendkim = opendkim);
        let named = lookup(&server, "/email-id/example.org/spam", &[]);
        let response = server.respond(NOW, &named, vec![found]);
        let document = Decoder::new().decode("application/reputon+json", response.body()).unwrap().into_owned();
        let query = crate::support::query("example.org");
        let said = document.reputons.into_iter().map(|reputon| (crate::support::service("a.example"), 1.0, reputon));
        combine(&query, said.collect(), &Weighing::default(), NOW).combined["spam"].weight
    };
    let sure = Score::new(0.9).unwrap();
    for found in [
        reputon("spam"),
        reputon("spam").with_confidence(sure.clone()),
        reputon("spam").with_sample_size(990),
        reputon("spam").with_confidence(sure).with_sample_size(990),
    ] {
        let (with, without) = (weigh(true, found.clone()), weigh(false, found));
        assert!(without > 0.0 && (with - without).abs() < 1e-9, "{with} {without}");
    }
}

#[test]
fn addresses_are_not_said_to_be_what_dkim_identifies() {
    let server = server(|_| {});
    for (subject, identity) in
        [("192.0.2.1", Identity::Ipv4), ("2001%3Adb8%3A%3A1", Identity::Ipv6), ("example.org", Identity::Dkim)]
    {
        let named = lookup(&server, &format!("/email-id/{subject}/spam"), &[]);
        let found = Reputon::new("r", "spam", named.subject.as_str().to_owned(), Score::ZERO);
        for found in [vec![found], Vec::new()] {
            let response = server.respond(NOW, &named, found);
            let document = Decoder::new().decode("application/reputon+json", response.body()).unwrap();
            assert_eq!(document.reputons[0].identity(), Some(identity), "{subject}");
        }
    }
}

#[test]
fn identities_and_assertions_that_were_not_asked_for_are_left_out() {
    let server = server(|_| {});
    let named = lookup(&server, "/email-id/example.org/spam?identity=spf", &[]);
    let with = |identity: &'static str| reputon("spam").with_extension("identity", ExtensionValue::text(identity));
    assert!(named.wants(&with("spf")) && named.wants(&reputon("SENDS-SPAM")));
    assert!(!named.wants(&with("dkim")) && !named.wants(&reputon("fraud")));
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = server(|_| {});
    let head = request(Method::HEAD, "/email-id/example.org/spam", &[], "");
    let Dispatch::Lookup(lookup) = server.handle_request(NOW, &head) else { panic!() };
    let response = server.respond(NOW, &lookup, Vec::new());
    assert!(response.body().is_empty());
    assert!(response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 100);
}

#[test]
fn a_batch_is_many_queries_and_one_document() {
    let server = server(|config| {
        config.batch = true;
        config.batch_queries = 3;
    });
    let post = |body: &str, media: &str| {
        server.handle_request(NOW, &request(Method::POST, "/batch", &[("content-type", media)], body))
    };
    let one = r#"{"application":"email-id","subject":"example.org","assertion":["spam","fraud"]}"#;
    let two = r#"{"application":"email-id","subject":"192.0.2.1","identity":"ipv4","other":1}"#;
    let Dispatch::Batch(batch) = post(&format!("[{one}, {two}]"), "application/json") else { panic!() };
    let Batch { lookups, .. } = &batch;
    assert_eq!((lookups[0].assertions.len(), lookups[1].identity), (2, Some(Identity::Ipv4)));
    let response = server.respond_batch(NOW, &batch, vec![vec![reputon("spam")], Vec::new()]);
    let document = Decoder::new().decode("application/reputon+json", response.body()).unwrap();
    assert_eq!(document.reputons.len(), 2);
    for (body, media, status) in [
        (format!("[{one}]"), "text/plain", 415),
        ("[]".to_owned(), "application/json", 400),
        ("{}".to_owned(), "application/json", 400),
        (format!("[{one},{one},{one},{one}]"), "application/json", 400),
        (format!("[{one},{{\"application\":\"golf\",\"subject\":\"x\"}}]"), "application/json", 404),
        (r#"[{"application":"email-id","application":"email-id","subject":"x"}]"#.to_owned(), "application/json", 400),
    ] {
        assert_eq!(refused(post(&body, media)).status(), status, "{body}");
    }
    assert_eq!(refused(get(&server, "/batch", &[])).status(), 405);
    let without = self::server(|_| {});
    assert_eq!(refused(get(&without, "/batch", &[])).status(), 404);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let mut limit = RateLimit::per_second(2);
    limit.clients = 2;
    let mut limiter = RateLimiter::new(limit);
    let mut now = Instant::from_secs(5);
    assert!(limiter.check(now, &"a").is_ok() && limiter.check(now, &"a").is_ok());
    let response = limiter.check(now, &"a").unwrap_err();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &http::HeaderValue::from_static("1"))
    );
    assert!(limiter.check(now, &"b").is_ok(), "others are not to blame");
    now = Instant::from_millis(5_500);
    assert!(limiter.check(now, &"a").is_ok() && limiter.check(now, &"a").is_err());
    assert!(limiter.check(now, &"c").is_ok());
    // Only so many are remembered.
    assert!(limiter.check(now, &"b").is_ok() && limiter.check(now, &"b").is_ok());
}
