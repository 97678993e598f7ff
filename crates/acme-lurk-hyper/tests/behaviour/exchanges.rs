//! Requests and responses: what is refused, what is cached, where clients do not go.

use std::sync::Arc;
use std::time::Duration;

use acme_lurk_hyper::acme_lurk::acme::client::{
    Answer, ClientConfig, ClientError, ClientLimits, ExchangeFailure, PeerMisbehaved,
};
use acme_lurk_hyper::acme_lurk::acme::server::{Request, Response};
use acme_lurk_hyper::acme_lurk::crypto::RingSigner;
use acme_lurk_hyper::acme_lurk::url::UrlRules;
use acme_lurk_hyper::ca::Authority;
use acme_lurk_hyper::client::Client;
use acme_lurk_hyper::server::{Server, Site};
use acme_lurk_hyper::validate::ValidatorConfig;
use acme_lurk_hyper::{Going, server::ServerLimits};
use tokio::net::TcpListener;

use crate::laboratory::{Laboratory, obtain, tls, wanted};

#[tokio::test]
async fn a_star_certificate_is_for_everybody_and_not_sent_twice() {
    let laboratory = Laboratory::start(ValidatorConfig::default(), true).await;
    let client = laboratory.client(None).await;
    let Answer::Obtained { order, .. } = obtain(&client, wanted("star.example", true)).await.unwrap() else { panic!() };
    let url = order.star_certificate.clone().unwrap();
    // Without an account, and with nothing but the URL.
    let stranger = laboratory.bare_client(None);
    let fetch = |etag: Option<String>| {
        let url = url.clone();
        stranger.call(move |machine, now| machine.fetch(now, url, etag))
    };
    let Answer::Certificate(first) = fetch(None).await.unwrap() else { panic!() };
    assert!(first.max_age.is_some() && first.etag.is_some());
    assert_eq!(fetch(first.etag.clone()).await.unwrap(), Answer::NotModified);
    assert_eq!(laboratory.server.counters().not_modified.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(laboratory.site.len(), (1, 1));
    assert!(laboratory.server.shutdown(Duration::from_secs(30)).await);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let small = |server: acme_lurk_hyper::server::ServerBuilder| {
        let mut limits = ServerLimits::default();
        limits.body_octets = 200;
        server.with_limits(limits)
    };
    let laboratory = Laboratory::with(ValidatorConfig::default(), true, |ca| ca, small).await;
    let client = laboratory.bare_client(None);
    let error = client.account(Default::default(), None).await.unwrap_err();
    assert_eq!(error.problem().and_then(|problem| problem.status), Some(413), "{error:?}");
    assert_eq!(laboratory.server.counters().bodies_refused.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Leads everybody elsewhere.
struct Elsewhere(String);

impl Site for Elsewhere {
    fn answer<'a>(&'a self, request: Request<'a>) -> Going<'a, Response> {
        Box::pin(async move {
            let mut response = Ca::answer(request);
            response.status = 302;
            response.headers = vec![("location", self.0.clone())];
            response.body.clear();
            response
        })
    }
}

/// Where a response comes from that can be changed.
struct Ca;

impl Ca {
    fn answer(request: Request<'_>) -> Response {
        use acme_lurk_hyper::acme_lurk::acme::server::{Ca, CaConfig};
        use acme_lurk_hyper::acme_lurk::crypto::Ring;
        let mut ca =
            Ca::new(Arc::new(CaConfig::builder("https://x.example").build().unwrap()), Arc::new(Ring::new()), [7; 32]);
        ca.handle_request(watchfire_core::UnixTime::from_secs(0), &request)
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let laboratory = Laboratory::start(ValidatorConfig::default(), true).await;
    let root = Authority::root("root", 1).unwrap();
    let (tls, pool) = tls(&root);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let server = Server::builder(&origin, Elsewhere(laboratory.directory.clone())).start();
    server.serve(listener, Some(tls)).unwrap();
    let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
    let config = ClientConfig::builder(format!("{origin}/directory")).build().unwrap();
    let client = Client::builder(config, Arc::new(key), pool).start().unwrap();
    let error = client.call(|machine, now| machine.read_directory(now)).await.unwrap_err();
    assert_eq!(error, ClientError::PeerMisbehaved(PeerMisbehaved::Status(302)));
}

#[tokio::test]
async fn a_public_server_does_not_lead_inside() {
    let laboratory = Laboratory::start(ValidatorConfig::default(), true).await;
    let client = laboratory.client(None).await;
    let Answer::Obtained { order, .. } = obtain(&client, wanted("star.example", true)).await.unwrap() else { panic!() };
    let inside = order.star_certificate.clone().unwrap();
    let (key, _pkcs8) = RingSigner::generate_p256().unwrap();
    let second = Duration::from_secs(1);
    let limits = ClientLimits::default().with_times(second, second, second);
    let config =
        ClientConfig::builder(&laboratory.directory).with_urls(UrlRules::new()).with_limits(limits).build().unwrap();
    let careful = Client::builder(config, Arc::new(key), laboratory.pool.clone()).start().unwrap();
    let by_address = inside.clone();
    let refused = careful.call(|machine, now| machine.fetch(now, by_address, None)).await.unwrap_err();
    assert!(matches!(refused, ClientError::PeerMisbehaved(PeerMisbehaved::Url { .. })), "{refused:?}");
    // A name that is as good as any, and leads to the loopback all the same.
    let by_name = inside.replace("127.0.0.1", "localhost.localdomain");
    match careful.call(|machine, now| machine.fetch(now, by_name, None)).await.unwrap_err() {
        ClientError::Exchange(ExchangeFailure::NotPublic) => {}
        // This system does not know the name.
        ClientError::TimedOut(_) | ClientError::Exchange(ExchangeFailure::Unreachable(_)) => {}
        other => panic!("{other:?}"),
    }
}
