//! Challenges that are met, and looked at.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme_lurk_hyper::Going;
use acme_lurk_hyper::acme_lurk::acme::challenge::is_token;
use acme_lurk_hyper::acme_lurk::acme::client::{Answer, ClientError, Provision};
use acme_lurk_hyper::acme_lurk::acme::{ChallengeKind, ProblemType};
use acme_lurk_hyper::ca::CaNotice;
use acme_lurk_hyper::respond::{Http01, Nobody, Responder, Responders, TlsAlpn01};
use acme_lurk_hyper::validate::ValidatorConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::laboratory::{Laboratory, obtain, wanted};

fn quick() -> ValidatorConfig {
    let mut config = ValidatorConfig::default();
    config.pause = Duration::from_millis(10);
    config.attempt = Duration::from_secs(5);
    config
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn http_01_and_tls_alpn_01_are_met_over_the_network() {
    let (http, http_port) = listener().await;
    let (tls, tls_port) = listener().await;
    let mut config = quick();
    (config.http01_port, config.tls_alpn01_port) = (http_port, tls_port);
    let laboratory = Laboratory::start(config, false).await;
    let responders =
        Responders::new().with(Arc::new(Http01::start(http).unwrap())).with(Arc::new(TlsAlpn01::start(tls).unwrap()));
    assert_eq!(responders.kinds(), [ChallengeKind::Http01, ChallengeKind::TlsAlpn01]);
    let client = laboratory.client(Some(Arc::new(responders))).await;
    for (kind, name) in [(ChallengeKind::Http01, "http.localhost"), (ChallengeKind::TlsAlpn01, "tls.localhost")] {
        let answer = obtain(&client, wanted(name, false).with_challenges([kind])).await.unwrap();
        let Answer::Obtained { certificate: Some(fetched), .. } = answer else { panic!("{answer:?}") };
        assert_eq!(fetched.chain.len(), 2, "with the authority that has signed it");
    }
    assert_eq!(laboratory.site.counters().validated.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// A server that answers every request with this.
async fn canned(response: String) -> u16 {
    let (listener, port) = listener().await;
    let response = response.replace("PORT", &port.to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut room = [0; 4096];
            let _ = stream.read(&mut room).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    port
}

/// Meets http-01 by doing nothing.
struct Pretender;

impl Responder for Pretender {
    fn present<'a>(&'a self, _provision: &'a Provision) -> Going<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn clean_up<'a>(&'a self, _provision: &'a Provision) -> Going<'a, ()> {
        Box::pin(async {})
    }

    fn kinds(&self) -> Vec<ChallengeKind> {
        vec![ChallengeKind::Http01]
    }
}

#[tokio::test]
async fn what_does_not_meet_http_01_is_said() {
    let end = "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let to = |url: &str| format!("HTTP/1.1 302 Found\r\nLocation: {url}{end}");
    let long = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(5000));
    let not_followed = "led to something that is not http, which is not followed";
    for (response, kind, why) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong".to_owned(),
            ProblemType::IncorrectResponse,
            "the content is not the key authorization",
        ),
        (long, ProblemType::IncorrectResponse, "length limit exceeded"),
        (format!("HTTP/1.1 404 Not Found{end}"), ProblemType::Unauthorized, "status 404 Not Found"),
        (to("https://x.localhost/"), ProblemType::Connection, not_followed),
        (to("http://x.localhost:9/"), ProblemType::Connection, "led to another port"),
        (to("http://10.0.0.1/"), ProblemType::Connection, "led to what is no name"),
        (to("http://x.localhost:PORT/"), ProblemType::Connection, "led elsewhere more than 5 times"),
        (format!("HTTP/1.1 302 Found{end}"), ProblemType::Connection, "a redirect to nowhere"),
        ("SSH-2.0-x\r\n".to_owned(), ProblemType::Connection, "invalid HTTP version parsed"),
    ] {
        let mut config = quick();
        config.attempts = 1;
        let port = canned(response).await;
        config.http01_port = port;
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&said);
        let hear = move |notice: CaNotice<'_>| {
            if let CaNotice::Validated { result: Err(problem), .. } = notice {
                heard.lock().unwrap().push(problem.detail.clone());
            }
        };
        let laboratory = Laboratory::with(config, false, |ca| ca.on_notice(hear), |server| server).await;
        let client = laboratory.client(Some(Arc::new(Pretender))).await;
        let wanted = wanted("no.localhost", false).with_challenges([ChallengeKind::Http01]);
        let error = obtain(&client, wanted).await.unwrap_err();
        let ClientError::Problem(problem) = error else { panic!("{why}: {error:?}") };
        // It says where it was looked last: where the challenge is, or where the last redirect led.
        let (place, what) = problem.detail.split_once(": ").unwrap();
        assert_eq!((&problem.kind, what), (&kind, why), "{problem:?}");
        match why.starts_with("led elsewhere") {
            true => assert_eq!(place, format!("http://x.localhost:{port}/")),
            false => {
                let token = place.strip_prefix(&format!("http://no.localhost:{port}/.well-known/acme-challenge/"));
                assert!(token.is_some_and(is_token), "{place}");
            }
        }
        assert_eq!(*said.lock().unwrap(), [problem.detail], "the operator is told the same, once");
    }
}

#[tokio::test]
async fn who_meets_nothing_says_so() {
    let laboratory = Laboratory::start(quick(), false).await;
    let client = laboratory.client(Some(Arc::new(Nobody::default()))).await;
    let error = obtain(&client, wanted("a.localhost", false)).await.unwrap_err();
    assert!(matches!(error, ClientError::Provision { .. }), "{error:?}");
}
