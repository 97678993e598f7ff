//! Clients and servers that understand each other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use repute_hyper::client::ClientError;
use repute_hyper::repute_proto::client::{ClientConfig, NoData, QueryError};
use repute_hyper::repute_proto::panel::Standing;
use repute_hyper::repute_proto::{Dialect, LocalLists, Rater, Weighing};
use support::{LONG, Site, ask, config, query};

#[tokio::test]
async fn a_query_is_one_exchange_and_none_when_it_is_known() {
    let site = Site::start(config(), |builder| builder).await;
    let client = site.client().start().unwrap();
    let first = ask(&client, &site.service, "bad.example").await.unwrap();
    assert!(!first.cached);
    assert_eq!(first.answer.reputons.len(), 1);
    assert_eq!(first.answer.reputons[0].rating.value(), 0.987);
    assert_eq!(site.requests(), 2, "the template, and the query");
    let again = ask(&client, &site.service, "bad.example").await.unwrap();
    assert!(again.cached);
    assert_eq!((again.answer, site.requests()), (first.answer, 2));
    let other = ask(&client, &site.service, "good.example").await.unwrap();
    assert_eq!(other.answer.no_data, Some(NoData::Unknown));
    assert_eq!(site.requests(), 3);
    assert_eq!(client.counters().exchanges.load(Ordering::Relaxed), 3);
    assert_eq!(client.counters().connections.load(Ordering::Relaxed), 1, "it was kept");
    assert_eq!((client.cached_answers(), client.waiting_queries()), (2, 0));
    client.forget_answers();
    assert!(!ask(&client, &site.service, "bad.example").await.unwrap().cached);
}

#[tokio::test]
async fn both_dialects_go_round() {
    for (ours, theirs) in [
        (Dialect::Draft2012, Dialect::Draft2012),
        (Dialect::Draft2012, Dialect::Auto),
        (Dialect::Rfc7072, Dialect::Rfc7072),
        (Dialect::Auto, Dialect::Draft2012),
        (Dialect::Auto, Dialect::Rfc7072),
        (Dialect::Auto, Dialect::Auto),
    ] {
        let mut site_config = config();
        site_config.dialect = theirs;
        let site = Site::start(site_config, |builder| builder).await;
        site.table.at_hand.store(true, Ordering::Relaxed);
        let mut client_config = ClientConfig::default();
        client_config.dialect = ours;
        let client = site.client().with_config(client_config).start().unwrap();
        let answered = ask(&client, &site.service, "bad.example").await.unwrap();
        assert_eq!(answered.answer.reputons[0].rating.value(), 0.987, "{ours:?} asks {theirs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_queries_fetch_one_template() {
    for is_tls in [false, true] {
        let site =
            if is_tls { Site::start_tls(config()).await } else { Site::start(config(), |builder| builder).await };
        let client = site.client().start().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..1_000 {
            let (client, service) = (client.clone(), site.service.clone());
            tasks.spawn(async move { ask(&client, &service, &format!("n{n}.listed.example")).await });
        }
        while let Some(answered) = tasks.join_next().await {
            assert_eq!(answered.unwrap().unwrap().answer.reputons[0].rating.value(), 0.987);
        }
        assert_eq!((site.requests(), site.table.asked.load(Ordering::Relaxed)), (1_001, 1_000));
        let connections = client.counters().connections.load(Ordering::Relaxed);
        // 32 at a time, and a few that were begun just before another was free again.
        assert!(connections <= 100, "{connections}");
    }
}

#[tokio::test]
async fn the_same_question_at_once_is_one_exchange() {
    let site = Site::start(config(), |builder| builder).await;
    let client = site.client().start().unwrap();
    let asking = || ask(&client, &site.service, "bad.example");
    let (one, two, three) = tokio::join!(asking(), asking(), asking());
    assert!(one.is_ok() && two == one && three == one);
    assert_eq!(site.requests(), 2);
}

#[tokio::test]
async fn a_panel_hears_all_and_counts_failures_for_nothing() {
    let (one, two) = (Site::start(config(), |b| b).await, Site::start_tls(config()).await);
    // Nobody is there.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = format!("http://{closed}").parse().unwrap();
    let raters = [&one.service, &two.service, &nobody].map(|service| Rater::new(service.clone(), 1.0)).to_vec();
    let panel = two.client().start_panel(raters, LocalLists::new(), Weighing::default()).unwrap();
    let verdict = panel.consult(query("bad.example"), LONG).await.unwrap();
    assert_eq!(verdict.rating("spam"), Some(0.987));
    assert!(!verdict.is_complete);
    assert!(matches!(verdict.opinions[2].standing, Standing::Failed(_)), "{verdict}");
    assert!(panel.last_trouble(&nobody).unwrap().contains("refused"));
    // What is known is said at once, and within the smallest of budgets.
    let again = panel.consult(query("bad.example"), Duration::ZERO).await.unwrap();
    assert_eq!(again.rating("spam"), Some(0.987));
    assert_eq!((one.requests(), two.requests()), (2, 2));
}

#[tokio::test]
async fn tls_with_another_certificate_is_refused() {
    let (site, stranger) = (Site::start_tls(config()).await, Site::start_tls(config()).await);
    let trusting = site.client().with_https_only(true).start().unwrap();
    assert!(ask(&trusting, &site.service, "bad.example").await.is_ok());
    let untrusting = stranger.client().with_https_only(true).start().unwrap();
    let refused = ask(&untrusting, &site.service, "bad.example").await.unwrap_err();
    let ClientError::Query { error: QueryError::Template(_), detail: Some(detail), .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(detail.contains("invalid peer certificate"), "{refused}");
    // The certificate is for another name.
    let by_address = format!("https://127.0.0.1:{}", site.address.port()).parse().unwrap();
    let refused = ask(&trusting, &by_address, "bad.example").await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
    // Without TLS nothing is asked.
    let plain = format!("http://localhost:{}", site.address.port()).parse().unwrap();
    let refused = ask(&trusting, &plain, "bad.example").await.unwrap_err();
    assert!(refused.to_string().contains("http is not allowed"), "{refused}");
    // And a client that was told of no certificates accepts none.
    let nobody = repute_hyper::client::Client::builder().start().unwrap();
    assert!(ask(&nobody, &site.service, "bad.example").await.is_err());
}
