//! The client: templates, answers, caches, waits; and services that mean harm.

use http::HeaderMap;
use repute_proto::client::{Answer, ClientEvent, ExchangeFailure, NoData, QueryError, RaterPolicy, TemplateProblem};
use repute_proto::{Applications, Credentials, Dialect, Identity, InvalidQuery, InvalidSubject, Limit, Query, Refusal};

use crate::support::{EPOCH, MEDIA, World, about, headers, query, service};

const TEMPLATE: &str = "http://{service}/{application}/{subject}/{assertion}";
const AT: &str = "http://rep.example.net";

/// One that has its template, fetched just now.
fn ready(change: impl FnOnce(&mut repute_proto::client::ClientConfig)) -> World {
    let mut world = World::new(change);
    world.ask(AT, "warm.example");
    world.template(TEMPLATE);
    world.answer(&about("warm.example", ""));
    assert_eq!(world.said().len(), 1);
    world
}

fn failed(world: &mut World) -> QueryError {
    match &world.said()[..] {
        [ClientEvent::Failed { error, .. }] => error.clone(),
        other => panic!("{other:?}"),
    }
}

fn answered(world: &mut World) -> (Answer, bool) {
    match &world.said()[..] {
        [ClientEvent::Answered { answer, cached, .. }] => (answer.as_ref().clone(), *cached),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_is_a_template_and_an_answer_and_then_nothing() {
    let mut world = World::new(|_| {});
    world.ask(AT, "example.org");
    let (exchange, uri) = world.exchange();
    assert_eq!(uri, "http://rep.example.net/.well-known/repute-template");
    assert_eq!((exchange.headers["accept"].to_str().unwrap(), exchange.max_body), ("text/plain", 65_536));
    world.reply(&exchange, 200, &[("content-type", "text/plain; charset=utf-8")], TEMPLATE);
    let (exchange, uri) = world.exchange();
    assert_eq!(uri, "http://rep.example.net/email-id/example.org/spam");
    world.reply(&exchange, 200, &[("content-type", MEDIA)], about("example.org", ""));
    let (answer, cached) = answered(&mut world);
    assert!(!cached && answer.no_data.is_none());
    assert_eq!(answer.reputons[0].rating.value(), 0.5);
    // Known now: no exchange at all.
    world.ask(AT, "EXAMPLE.org.");
    assert!(answered(&mut world).1);
    // Another subject: no other template.
    world.ask(AT, "example.com");
    assert_eq!(world.exchange().1, "http://rep.example.net/email-id/example.com/spam");
}

#[test]
fn a_thousand_queries_fetch_one_template() {
    let mut world = World::new(|_| {});
    for number in 0..1000 {
        world.ask(AT, &format!("n{}.example", number % 500));
    }
    let (exchange, uri) = world.exchange();
    assert!(uri.ends_with("repute-template"));
    world.reply(&exchange, 200, &[("content-type", "text/plain")], TEMPLATE);
    let exchanges = world.exchanges();
    assert_eq!(exchanges.len(), 500, "equal questions share an exchange");
    for exchange in exchanges {
        let subject = exchange.target.path_and_query.split('/').nth(2).unwrap().to_owned();
        world.reply(&exchange, 200, &[("content-type", MEDIA)], about(&subject, ""));
    }
    assert_eq!(world.said().len(), 1000);
    assert_eq!((world.client.waiting_queries(), world.client.cached_answers()), (0, 500));
}

#[test]
fn a_template_lasts_as_long_as_it_says_and_a_day_by_default() {
    let mut world = ready(|_| {});
    world.pass(86_300);
    world.ask(AT, "a.example");
    assert!(world.exchange().1.ends_with("a.example/spam"));
    world.pass(200);
    world.said();
    world.ask(AT, "b.example");
    assert!(world.exchange().1.ends_with("repute-template"));
}

#[test]
fn a_stale_template_is_asked_for_by_its_etag() {
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    let fields = [("content-type", "text/plain"), ("etag", "\"v1\""), ("cache-control", "max-age=120")];
    world.reply(&exchange, 200, &fields, TEMPLATE);
    world.answer(&about("a.example", ""));
    world.said();
    world.pass(130);
    world.ask(AT, "b.example");
    let (exchange, _) = world.exchange();
    assert_eq!(exchange.headers["if-none-match"], "\"v1\"");
    world.reply(&exchange, 304, &[("cache-control", "max-age=500")], "");
    assert!(world.exchange().1.ends_with("/b.example/spam"));
    world.pass(400);
    world.said();
    world.ask(AT, "c.example");
    let (exchange, uri) = world.exchange();
    assert!(uri.ends_with("/c.example/spam"), "{uri} {exchange:?}");
}

#[test]
fn a_stale_template_serves_for_a_while_when_there_is_no_other() {
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 200, &[("content-type", "text/plain"), ("cache-control", "max-age=120")], TEMPLATE);
    world.answer(&about("a.example", ""));
    world.said();
    world.pass(130);
    world.ask(AT, "b.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 500, &[], "");
    assert!(world.exchange().1.ends_with("/b.example/spam"));
    world.pass(3_600);
    world.said();
    world.ask(AT, "c.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 500, &[], "");
    assert_eq!(failed(&mut world), QueryError::Template(TemplateProblem::Status(500)));
}

#[test]
fn no_template_means_no_answer_now_and_another_try_later() {
    for (status, fields, body, problem) in [
        (404, &[][..], "", TemplateProblem::Status(404)),
        (200, &[("content-type", "text/html")], TEMPLATE, TemplateProblem::MediaType),
        (200, &[("content-type", "text/plain")], "\r\n\r\n", TemplateProblem::NoneValid),
        (200, &[("content-type", "text/plain")], "http://{service}/{application\r\n", TemplateProblem::NoneValid),
        (302, &[("location", "http://evil.example/")], "", TemplateProblem::Status(302)),
    ] {
        let mut world = World::new(|_| {});
        world.ask(AT, "a.example");
        let (exchange, _) = world.exchange();
        world.reply(&exchange, status, fields, body);
        let error = failed(&mut world);
        assert_eq!(error, QueryError::Template(problem));
        // Not at once again.
        world.ask(AT, "b.example");
        assert_eq!(failed(&mut world), error);
        world.pass(2);
        world.ask(AT, "b.example");
        world.template(TEMPLATE);
        world.exchange();
    }
}

#[test]
fn who_speaks_the_rfc_wants_text_plain_said() {
    for (dialect, is_taken) in [(Dialect::Auto, true), (Dialect::Draft2012, true), (Dialect::Rfc7072, false)] {
        let mut world = World::new(|config| config.dialect = dialect);
        world.ask(AT, "a.example");
        let (exchange, _) = world.exchange();
        world.reply(&exchange, 200, &[], TEMPLATE);
        assert_eq!(world.exchanges().len(), usize::from(is_taken), "{dialect:?}");
    }
}

#[test]
fn templates_are_not_fetched_more_than_once_a_minute() {
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 200, &[("content-type", "text/plain"), ("expires", "0")], TEMPLATE);
    world.answer(&about("a.example", ""));
    world.said();
    world.pass(30);
    world.ask(AT, "b.example");
    assert!(world.exchange().1.ends_with("b.example/spam"));
    world.pass(31);
    world.said();
    world.ask(AT, "c.example");
    assert!(world.exchange().1.ends_with("repute-template"));
}

#[test]
fn templates_are_tried_in_order_until_one_connects() {
    let file = "coap://{service}/x\r\nhttps://evil.example/{subject}\r\nhttps://{service}/{subject}\r\nhttp://{service}/{subject}\r\n";
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    world.template(file);
    let (exchange, uri) = world.exchange();
    assert_eq!(uri, "https://rep.example.net/a.example");
    world.fail(&exchange, ExchangeFailure::Connect);
    let (exchange, uri) = world.exchange();
    assert_eq!(uri, "http://rep.example.net/a.example");
    world.fail(&exchange, ExchangeFailure::Connect);
    assert_eq!(failed(&mut world), QueryError::Exchange(ExchangeFailure::Connect));
    // An error of HTTP is an answer: no other template is tried.
    world.pass(5);
    world.ask(AT, "b.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 403, &[], "");
    assert_eq!(failed(&mut world), QueryError::Auth(403));
}

#[test]
fn templates_of_other_hosts_are_never_followed() {
    for template in [
        "http://evil.example/{subject}",
        "http://{service}@evil.example/{subject}",
        "http://{service}:22/{subject}",
        "http://{service}/../{subject}",
        "file:///etc/passwd",
    ] {
        let mut world = World::new(|_| {});
        world.ask(AT, "a.example");
        world.template(template);
        assert!(world.exchanges().is_empty());
        assert!(matches!(failed(&mut world), QueryError::Template(TemplateProblem::Refused(_))), "{template}");
    }
}

#[test]
fn template_files_are_bounded() {
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    world.template(&format!("{TEMPLATE}\r\n{}", "x".repeat(65_536)));
    let error = QueryError::Template(TemplateProblem::LimitExceeded(Limit::TemplateFile));
    assert_eq!(failed(&mut world), error);
    let mut world = World::new(|_| {});
    world.ask(AT, "a.example");
    world.template(&format!("{TEMPLATE}\r\n").repeat(65));
    assert_eq!(failed(&mut world), QueryError::Template(TemplateProblem::LimitExceeded(Limit::Templates)));
}

#[test]
fn answers_last_until_their_reputons_expire() {
    let mut world = ready(|_| {});
    let expires = EPOCH + 100 + 1000;
    world.ask(AT, "a.example");
    world.answer(&about("a.example", &format!(",\"expires\":{expires}")));
    assert_eq!(answered(&mut world).0.expires_at.as_secs(), expires);
    world.pass(999);
    world.ask(AT, "a.example");
    assert!(answered(&mut world).1);
    world.pass(1);
    world.ask(AT, "a.example");
    world.answer(&about("a.example", &format!(",\"expires\":{expires}")));
    let (answer, _) = answered(&mut world);
    assert_eq!((answer.no_data, answer.dropped.expired), (Some(NoData::Unusable), 1));
}

#[test]
fn answers_without_expiry_last_five_minutes_and_none_longer_than_a_day() {
    let mut world = ready(|_| {});
    for (name, members, fields, seconds) in [
        ("a.example", "", &[][..], 300),
        ("b.example", "", &[("cache-control", "max-age=60")][..], 60),
        ("c.example", ",\"expires\":9999999999", &[][..], 86_400),
        ("d.example", ",\"expires\":9999999999", &[("cache-control", "max-age=7")][..], 7),
    ] {
        world.ask(AT, name);
        let (exchange, _) = world.exchange();
        let fields: Vec<_> = fields.iter().copied().chain([("content-type", MEDIA)]).collect();
        world.reply(&exchange, 200, &fields, about(name, members));
        assert_eq!(answered(&mut world).0.expires_at.as_secs() - world.time().as_secs(), seconds, "{name}");
    }
    world.ask(AT, "e.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 200, &[("content-type", MEDIA), ("cache-control", "no-store")], about("e.example", ""));
    answered(&mut world);
    world.ask(AT, "e.example");
    world.exchange();
}

#[test]
fn reputons_that_do_not_answer_the_question_are_left_out() {
    let reputon = |rated: &str, rest: &str| format!(r#"{{"rater":"r","rated":"{rated}","rating":0.5,{rest}}}"#);
    let spam = r#""assertion":"SENDS-SPAM""#;
    let body = format!(
        r#"{{"application":"EMAIL-ID","reputons":[{},{},{},{},{},{},{},{}]}}"#,
        reputon("example.ORG", spam),
        reputon("evil.example", spam),
        reputon("example.org", r#""assertion":"malware""#),
        reputon("example.org", &format!(r#"{spam},"email-id-identity":"spf""#)),
        reputon("example.org", &format!(r#"{spam},"expires":1"#)),
        reputon("example.org", &format!(r#"{spam},"generated":9999999999"#)),
        reputon("example.org", &format!(r#"{spam},"rating":1"#)),
        reputon("example.org", &format!(r#"{spam},"identity":"DKIM","generated":{}"#, EPOCH + 100 + 120)),
    );
    let mut world = ready(|_| {});
    let query = Query::builder("email-id", "example.org").assertion("spam").identity(Identity::Dkim);
    world.ask_for(AT, query.build(&Applications::default()).unwrap(), 30);
    world.answer(&body);
    let (answer, _) = answered(&mut world);
    assert_eq!(answer.reputons.len(), 2);
    let dropped = answer.dropped;
    assert_eq!((dropped.other_subject, dropped.other_assertion, dropped.other_identity), (1, 1, 1));
    assert_eq!((dropped.expired, dropped.future, dropped.invalid), (1, 1, 1));
}

#[test]
fn another_application_spoils_the_whole_answer() {
    let mut world = ready(|_| {});
    world.ask(AT, "a.example");
    world.answer(&about("a.example", "").replace("email-id", "baseball"));
    assert_eq!(failed(&mut world), QueryError::WrongApplication("baseball".to_owned()));
}

#[test]
fn reputons_that_break_the_rules_are_not_taken_for_no_data() {
    for more in [",\"rating\":0.1", ",\"confidence\":1e300", ",\"sample-size\":-1"] {
        let mut world = ready(|_| {});
        world.ask(AT, "a.example");
        world.answer(&about("a.example", more));
        assert!(matches!(failed(&mut world), QueryError::InvalidMessage(_)), "{more}");
        // Nor is it kept.
        world.ask(AT, "a.example");
        world.answer(&about("a.example", ""));
        assert_eq!(answered(&mut world).0.reputons.len(), 1);
    }
}

#[test]
fn no_data_is_an_answer_and_is_kept() {
    for (body, reason) in [
        (r#"{"application":"email-id","reputons":[]}"#.to_owned(), NoData::Unknown),
        (r#"{"application":"email-id","reputons":[{}]}"#.to_owned(), NoData::Unknown),
        (about("a.example", ",\"sample-size\":0,\"confidence\":0.0"), NoData::Unknown),
        (about("b.example", ""), NoData::Unusable),
    ] {
        let mut world = ready(|_| {});
        world.ask(AT, "a.example");
        world.answer(&body);
        let (answer, _) = answered(&mut world);
        assert_eq!((answer.no_data, answer.reputons.len()), (Some(reason), 0), "{body}");
        world.pass(299);
        world.ask(AT, "a.example");
        assert!(answered(&mut world).1);
        world.pass(1);
        world.ask(AT, "a.example");
        world.exchange();
    }
}

#[test]
fn not_found_is_kept_for_a_minute_and_makes_old_templates_suspicious() {
    let mut world = ready(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 404, &[], "");
    assert_eq!(answered(&mut world).0.no_data, Some(NoData::NotFound));
    world.pass(59);
    world.ask(AT, "a.example");
    assert!(answered(&mut world).1);
    world.pass(600);
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 404, &[], "");
    world.template("http://{service}/new/{subject}");
    let (exchange, uri) = world.exchange();
    assert!(uri.ends_with("/new/a.example"));
    world.reply(&exchange, 404, &[], "");
    assert_eq!(answered(&mut world).0.no_data, Some(NoData::NotFound));
}

#[test]
fn whoever_says_retry_after_is_left_alone() {
    for status in [429, 503] {
        let mut world = ready(|_| {});
        world.ask(AT, "a.example");
        let (exchange, _) = world.exchange();
        world.reply(&exchange, status, &[("retry-after", "60")], "");
        assert!(
            matches!(failed(&mut world), QueryError::RateLimited { retry_after: Some(after) } if after.as_secs() == 60)
        );
        world.pass(59);
        world.ask(AT, "b.example");
        assert!(
            matches!(failed(&mut world), QueryError::RateLimited { retry_after: Some(after) } if after.as_secs() == 1)
        );
        // What is known is known.
        world.ask(AT, "warm.example");
        assert!(answered(&mut world).1);
        world.pass(1);
        world.ask(AT, "b.example");
        world.exchange();
    }
    // A short wait is waited for, by who has the time; a date will do; and a week is no answer either.
    let mut world = ready(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 429, &[("retry-after", "3")], "");
    assert!(world.said().is_empty());
    world.pass(3);
    world.answer(&about("a.example", ""));
    answered(&mut world);
    world.ask(AT, "b.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 429, &[("retry-after", "604800")], "");
    failed(&mut world);
    world.pass(901);
    world.ask(AT, "b.example");
    world.exchange();
}

#[test]
fn server_errors_are_tried_again_twice() {
    let mut world = ready(|_| {});
    world.ask(AT, "a.example");
    for _ in 0..3 {
        let (exchange, _) = world.exchange();
        world.reply(&exchange, 502, &[], "");
        world.pass(5);
    }
    assert_eq!(failed(&mut world), QueryError::Status(502));
    assert_eq!(world.drain(), None);
}

#[test]
fn a_query_gives_up_in_time_and_its_answer_is_kept() {
    let mut world = ready(|_| {});
    let id = world.ask_for(AT, query("a.example"), 2);
    let (exchange, _) = world.exchange();
    world.pass(2);
    assert_eq!(world.said(), [ClientEvent::Failed { id, error: QueryError::TimedOut }]);
    world.reply(&exchange, 200, &[("content-type", MEDIA)], about("a.example", ""));
    assert!(world.said().is_empty());
    world.ask(AT, "a.example");
    assert!(answered(&mut world).1);
}

#[test]
fn a_slow_exchange_is_abandoned_and_what_it_brings_later_ignored() {
    let mut world = ready(|_| {});
    let id = world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.pass(10);
    let error = QueryError::Exchange(ExchangeFailure::TimedOut);
    assert_eq!(world.said(), [ClientEvent::Abandon(exchange.id), ClientEvent::Failed { id, error: error.clone() }]);
    world.reply(&exchange, 200, &[("content-type", MEDIA)], about("a.example", ""));
    assert!(world.said().is_empty());
    // The service is left alone for a moment.
    world.ask(AT, "b.example");
    assert_eq!(failed(&mut world), error);
    world.pass(2);
    world.ask(AT, "b.example");
    world.exchange();
}

#[test]
fn redirects_are_not_followed_unless_they_stay() {
    let mut world = ready(|_| {});
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    world.reply(&exchange, 301, &[("location", "/elsewhere")], "");
    assert_eq!(failed(&mut world), QueryError::Redirect(301));

    for (location, to) in [
        ("/elsewhere?x", Some("http://rep.example.net/elsewhere?x")),
        ("https://rep.example.net/x", Some("https://rep.example.net/x")),
        ("http://evil.example/", None),
        ("//evil.example/", None),
        ("http://rep.example.net@evil.example/", None),
        ("http://rep.example.net:22/", None),
        ("/a/../b", None),
        ("x", None),
        ("file:///etc/passwd", None),
        ("/a b", None),
    ] {
        let mut world = ready(|config| config.redirects = 99);
        world.ask(AT, "a.example");
        let (exchange, _) = world.exchange();
        world.reply(&exchange, 307, &[("location", location)], "");
        match to {
            Some(to) => assert_eq!(world.exchange().1, to),
            None => assert_eq!(failed(&mut world), QueryError::Redirect(307), "{location}"),
        }
    }
    let mut world = ready(|config| config.redirects = 99);
    world.ask(AT, "a.example");
    for _ in 0..4 {
        let (exchange, _) = world.exchange();
        world.reply(&exchange, 302, &[("location", "/again")], "");
    }
    assert_eq!(failed(&mut world), QueryError::Redirect(302));
}

#[test]
fn what_is_no_document_of_reputons_is_an_error_and_never_a_verdict() {
    for (media, body) in [
        ("text/html", "<html>".to_owned()),
        ("application/json", about("a.example", "")),
        (MEDIA, "garbage".to_owned()),
        (MEDIA, String::new()),
        (MEDIA, r#"{"application":"email-id","reputons":[],"reputons":[]}"#.to_owned()),
        (MEDIA, format!(r#"{{"application":"email-id","reputons":{}"#, "[".repeat(100_000))),
        ("application/reputon", "<!DOCTYPE r [<!ENTITY a 'x'>]><reputation/>".to_owned()),
    ] {
        let mut world = ready(|_| {});
        world.ask(AT, "a.example");
        let (exchange, _) = world.exchange();
        world.reply(&exchange, 200, &[("content-type", media)], body);
        assert!(matches!(failed(&mut world), QueryError::InvalidMessage(_)), "{media}");
    }
}

#[test]
fn raters_can_be_bound_to_services_and_lists() {
    for (policy, is_heard) in [
        (RaterPolicy::Any, true),
        (RaterPolicy::Service, false),
        (RaterPolicy::Listed(vec!["R.example".to_owned()]), true),
        (RaterPolicy::Listed(vec!["other.example".to_owned()]), false),
    ] {
        let mut world = World::new(|config| config.raters = policy.clone());
        world.ask(AT, "a.example");
        world.template(TEMPLATE);
        world.answer(&about("a.example", ""));
        let (answer, _) = answered(&mut world);
        assert_eq!((answer.reputons.len(), answer.dropped.rater), (usize::from(is_heard), usize::from(!is_heard)));
    }
}

#[test]
fn credentials_and_keys_go_to_their_service_alone_and_are_not_shown() {
    let mut world = World::new(|_| {});
    let https = "https://rep.example.net";
    let secret = || Some(Credentials::new("alice", "s3cret"));
    world.client.set_access(&service(https), secret(), headers(&[("x-key", "k3y")]));
    world.ask(https, "a.example");
    let (exchange, _) = world.exchange();
    assert!(exchange.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    assert_eq!(exchange.headers["x-key"], "k3y");
    assert!(!format!("{exchange:?} {:?}", world.client).contains("k3y"));
    assert!(!format!("{exchange:?} {:?}", world.client).contains("s3cret"));
    // Not to others, and not in clear text.
    world.ask("https://other.example", "a.example");
    assert_eq!(world.exchange().0.headers.get("x-key"), None);
    world.client.set_access(&service(AT), secret(), headers(&[("x-key", "k3y")]));
    world.ask(AT, "a.example");
    let (exchange, _) = world.exchange();
    assert_eq!((exchange.headers.get("authorization"), exchange.headers.get("x-key")), (None, None));
    // Other credentials, other answers.
    let mut world = ready(|_| {});
    world.client.set_access(&service(AT), None, HeaderMap::new());
    world.ask(AT, "warm.example");
    world.exchange();
}

#[test]
fn https_can_be_required() {
    let mut world = World::new(|config| config.policy.https_only = true);
    world.ask(AT, "a.example");
    assert_eq!(failed(&mut world), QueryError::Template(TemplateProblem::Refused(Refusal::HttpsOnly)));
    // What was learnt over one transport is not used over the other.
    let mut world = ready(|_| {});
    world.ask("https://rep.example.net", "warm.example");
    assert!(world.exchange().1.starts_with("https://rep.example.net/.well-known"));
}

#[test]
fn everything_that_waits_is_bounded() {
    let mut world = World::new(|config| {
        config.queries = 2;
        config.services = 2;
    });
    world.ask("a.example", "x.example");
    world.ask("b.example", "x.example");
    let more = |world: &mut World, at: &str| {
        world.client.query(world.now, &service(at), query("y.example"), std::time::Duration::from_secs(1))
    };
    assert_eq!(more(&mut world, "a.example"), Err(Limit::Queries));
    let exchanges = world.exchanges();
    world.fail(&exchanges[0], ExchangeFailure::Broken);
    // The idle one makes room; one that is busy does not.
    assert!(more(&mut world, "c.example").is_ok());
    let mut world = ready(|config| config.cache_entries = 2);
    for name in ["a.example", "b.example", "c.example"] {
        world.ask(AT, name);
        world.answer(&about(name, ""));
    }
    assert_eq!(world.client.cached_answers(), 2);
    world.client.forget_answers();
    assert_eq!(world.client.cached_answers(), 0);
}

#[test]
fn the_draft_is_asked_in_its_own_words() {
    let mut world = World::new(|config| config.dialect = Dialect::Draft2012);
    world.ask(AT, "example.org");
    world.template("{scheme}://{service}/{application}/{subject}/{assertion}{?format}");
    let (exchange, uri) = world.exchange();
    assert_eq!(uri, "http://rep.example.net/email-id/example.org/spam?format=xml");
    assert_eq!(exchange.headers["accept"], "application/reputon");
    let body = "<reputation><reputon><rater>r</rater><rater-authenticity>0.95</rater-authenticity><assertion>SENDS-SPAM</assertion><extension>IDENTITY: DKIM</extension><rated>example.org</rated><rating>0.0012</rating></reputon></reputation>";
    world.reply(&exchange, 200, &[("content-type", "application/reputon; app=\"email\"")], body);
    let (answer, _) = answered(&mut world);
    assert_eq!(answer.reputons[0].effective_confidence().unwrap().value(), 0.95);
}

#[test]
fn queries_are_checked_before_they_are_asked() {
    let build = |query: repute_proto::client::QueryBuilder| query.build(&Applications::default()).map(|_| ());
    assert_eq!(build(Query::builder("golf", "x")), Err(InvalidQuery::UnknownApplication("golf".to_owned())));
    assert_eq!(build(Query::builder("email-id", "..")), Err(InvalidQuery::Subject(InvalidSubject::DotSegment)));
    let bad = Query::builder("email-id", "x").assertion("a/b");
    assert_eq!(build(bad), Err(InvalidQuery::Assertion("a/b".to_owned())));
    let own = Query::builder("email-id", "x").parameter("service", "evil.example");
    assert_eq!(build(own), Err(InvalidQuery::ReservedParameter("service".to_owned())));
    let many = (0..65).fold(Query::builder("email-id", "x"), |query, n| query.assertion(&format!("a{n}")));
    assert_eq!(build(many), Err(InvalidQuery::LimitExceeded(Limit::Assertions)));
}
