//! Back ends that fail, and what their clients are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dots_callhome::body::{List, RedirectedSignal, Status};
use dots_callhome::{AnySource, ClientEvent, Rules};
use dots_tokio::client::{CallHomeClientEvent, ClientLimits};
use dots_tokio::server::{BackEndCall, CallHomeServerEvent, ServerEvents, ServerLimits, Upstream};
use dots_tokio::{CallHomeClient, CallHomeServer, Security};
use tokio::net::TcpListener;

use crate::support::{
    CLIENT, Ca, Carrier, Filters, GRACE, Pair, SERVER, WAIT, attack, call, connected, eventually, listen, until,
    upstream,
};

async fn status(pair: &mut Pair, wanted: Status) {
    until(&mut pair.events, "status", |event| match event {
        CallHomeClientEvent::Signal { event: ClientEvent::Status { scope }, .. } => {
            (scope.status == Some(wanted)).then_some(())
        }
        _ => None,
    })
    .await;
}

async fn server_until<T>(events: &mut ServerEvents, fits: impl Fn(&CallHomeServerEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = fits(&events.next().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(WAIT, found).await.unwrap()
}

#[tokio::test]
async fn a_back_end_that_fails_is_status_4_until_it_works() {
    let mut pair = Pair::new(Carrier::Tls).await;
    let mut events = pair.server.events();
    pair.filters.fail.store(true, Ordering::SeqCst);
    pair.client.mitigate(SERVER, attack()).unwrap();
    status(&mut pair, Status::ExceededCapability).await;
    let (call, words) = server_until(&mut events, |event| match event {
        CallHomeServerEvent::BackEndFailed { call, error, .. } => Some((*call, error.to_string())),
        _ => None,
    })
    .await;
    assert_eq!((call, words.as_str()), (BackEndCall::Start, "no such table"));
    pair.filters.fail.store(false, Ordering::SeqCst);
    status(&mut pair, Status::SuccessfullyMitigated).await;
    assert_eq!(pair.filters.count(), 1);
}

#[tokio::test]
async fn a_back_end_that_hangs_is_status_4_too_and_is_told_to_stop_what_it_may_have_begun() {
    let ca = Ca::new("ours");
    let (client, address) = listen(Carrier::Tls, ca.config(CLIENT), ClientLimits::default()).await;
    let events = client.events();
    let filters = Arc::new(Filters::default());
    filters.hang.store(true, Ordering::SeqCst);
    let mut limits = ServerLimits::default();
    limits.back_end = Duration::from_millis(100);
    let server = CallHomeServer::builder(Security::new(&ca.config(SERVER)).unwrap(), AnySource, Arc::clone(&filters))
        .with_limits(limits)
        .with_machine(|machine| machine.with_rules(Rules::default().with_terminating(Duration::from_millis(100))))
        .call(upstream(Carrier::Tls, address))
        .start()
        .unwrap();
    let mut pair = Pair { client, server, filters, events, address };
    connected(&mut pair.events).await;
    let mid = pair.client.mitigate(SERVER, attack()).unwrap();
    status(&mut pair, Status::ExceededCapability).await;
    pair.client.withdraw(SERVER, mid).unwrap();
    eventually("stop", || pair.filters.stops.load(Ordering::SeqCst) > 0).await;
}

#[tokio::test]
async fn a_back_end_without_room_is_503() {
    let mut pair = Pair::new(Carrier::Tls).await;
    pair.filters.busy.store(2, Ordering::SeqCst);
    let mid = pair.client.mitigate(SERVER, attack()).unwrap();
    let seconds = until(&mut pair.events, "wait", |event| match event {
        CallHomeClientEvent::Signal { event: ClientEvent::Waiting { mid: of, seconds }, .. } => {
            (*of == mid).then_some(*seconds)
        }
        _ => None,
    })
    .await;
    assert!(seconds >= 2, "{seconds}");
    assert_eq!(pair.filters.starts.load(Ordering::SeqCst), 0);
    // It is asked again then.
    pair.filters.busy.store(0, Ordering::SeqCst);
    status(&mut pair, Status::SuccessfullyMitigated).await;
}

#[tokio::test]
async fn filters_outlive_sessions_and_go_at_the_end_if_that_is_wished() {
    for lift in [true, false] {
        let pair = Pair::new(Carrier::Tls).await;
        pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        eventually("filter", || pair.filters.count() == 1).await;
        pair.client.shutdown(GRACE).await;
        assert_eq!(pair.filters.count(), 1);
        pair.server.shutdown(GRACE, lift).await;
        assert_eq!(pair.filters.count(), usize::from(!lift));
    }
}

#[tokio::test]
async fn a_redirection_leads_to_whom_it_names_and_to_nobody_else() {
    let ca = Ca::new("ours");
    for (name, follows) in [("alternate.example", true), ("stranger.example", false)] {
        // The same port at two addresses, as a redirection has no port.
        let (first, second) = loop {
            let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
                break (first, second);
            }
        };
        let start = |listener, name: &str| {
            let security = Security::new(&ca.config(name)).unwrap();
            CallHomeClient::builder(security, AnySource).listen_tls(listener).start().unwrap()
        };
        let address = first.local_addr().unwrap();
        let (first, second) = (start(first, CLIENT), start(second, name));
        let (mut at_first, mut at_second) = (first.events(), second.events());
        let filters = Arc::new(Filters::default());
        let server = call(Carrier::Tls, ca.config(SERVER), address, &filters);
        let mut events = server.events();
        connected(&mut at_first).await;
        let to = |name: &str| RedirectedSignal::to_client(name, List::one("127.0.0.2".parse().unwrap()), Some(600));
        first.redirect(SERVER, to("alternate.example"), false).unwrap();
        let accepted = until(&mut at_first, "answer", |event| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Redirected { accepted }, .. } => Some(*accepted),
            _ => None,
        })
        .await;
        assert!(accepted, "the answer arrives before the session ends");
        if follows {
            assert_eq!(connected(&mut at_second).await, SERVER);
            assert_eq!(server.upstreams()[0].name, "alternate.example");
            // And back again is a circle: 4.00, and the session stays.
            let back = RedirectedSignal::to_client(CLIENT, List::one("127.0.0.1".parse().unwrap()), None);
            second.redirect(SERVER, back, false).unwrap();
            let accepted = until(&mut at_second, "answer", |event| match event {
                CallHomeClientEvent::Signal { event: ClientEvent::Redirected { accepted }, .. } => Some(*accepted),
                _ => None,
            })
            .await;
            assert!(!accepted);
            assert_eq!((first.session_count(), second.session_count()), (0, 1));
        } else {
            server_until(&mut events, |event| match event {
                CallHomeServerEvent::AttemptFailed { error, .. } => {
                    assert!(error.to_string().contains("NotValidForName"), "{error}");
                    Some(())
                }
                _ => None,
            })
            .await;
            // Back to whom it knows.
            connected(&mut at_first).await;
            assert_eq!(second.session_count(), 0);
        }
    }
}

#[tokio::test]
async fn who_cannot_be_reached_is_reported_and_called_again_and_tcp_stands_in_for_udp() {
    let ca = Ca::new("ours");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let filters = Arc::new(Filters::default());
    let config = ca.config(SERVER).with_handshake_timeout(Duration::from_secs(2));
    // Over both transports: UDP first, where nobody is.
    let upstream = Upstream::new(CLIENT, address.port()).at([address.ip()]).with_dialer(|dialer| {
        dialer
            .with_retry_min(Duration::from_millis(100))
            .with_retry_max(Duration::from_millis(200))
            .with_attempt_delay(Duration::from_millis(50))
    });
    let security = Security::new(&config).unwrap();
    drop(listener);
    let server = CallHomeServer::builder(security, AnySource, Arc::clone(&filters)).call(upstream).start().unwrap();
    let mut events = server.events();
    server_until(&mut events, |event| matches!(event, CallHomeServerEvent::Unreachable { .. }).then_some(())).await;
    let Ok(listener) = TcpListener::bind(address).await else {
        eprintln!("SKIPPED: somebody else took the port meanwhile");
        return;
    };
    let security = Security::new(&ca.config(CLIENT)).unwrap();
    let client = CallHomeClient::builder(security, AnySource).listen_tls(listener).start().unwrap();
    let mut seen = client.events();
    if client.session_count() == 0 {
        connected(&mut seen).await;
    }
    client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
}
