//! What the two say to each other when nothing is wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dots_callhome::ClientEvent;
use dots_callhome::body::{AttackStatus, Status};
use dots_tokio::client::{CallHomeClientEvent, ClientLimits};
use dots_tokio::server::CallHomeServerEvent;

use crate::support::{
    CLIENT, Ca, Filters, GRACE, Pair, SERVER, WAIT, attack, call, carriers, connected, eventually, listen, until,
};

#[tokio::test]
async fn a_mitigation_is_asked_followed_judged_and_withdrawn() {
    for carrier in carriers() {
        let mut pair = Pair::new(carrier).await;
        let mid = pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        until(&mut pair.events, "mitigation", |event| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Status { scope }, .. } => {
                let counted = scope.bytes_dropped == Some(4200);
                (scope.mid == Some(mid) && scope.status == Some(Status::SuccessfullyMitigated) && counted).then_some(())
            }
            _ => None,
        })
        .await;
        assert_eq!(pair.filters.count(), 1, "{carrier:?}");
        let known = pair.client.mitigations(SERVER).unwrap();
        assert_eq!(known[0].report.as_ref().unwrap().pkts_dropped, Some(7));
        pair.client.report_efficacy(SERVER, mid, AttackStatus::SuccessfullyMitigated).unwrap();
        eventually("efficacy", || pair.filters.refreshes.load(Ordering::SeqCst) > 0).await;
        pair.client.withdraw(SERVER, mid).unwrap();
        until(&mut pair.events, "withdrawal", |event| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Withdrawn { mid: of }, .. } => (*of == mid).then_some(()),
            _ => None,
        })
        .await;
        eventually("filters are lifted", || pair.filters.count() == 0).await;
        pair.server.shutdown(GRACE, true).await;
        pair.client.shutdown(GRACE).await;
    }
}

#[tokio::test]
async fn after_a_reconnection_everything_goes_on_as_before() {
    for carrier in carriers() {
        let mut pair = Pair::new(carrier).await;
        let mid = pair.client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        pair.client.disconnect(SERVER).unwrap();
        connected(&mut pair.events).await;
        // What is asked now goes over the new session; and what was asked before is followed again.
        until(&mut pair.events, "status after the reconnection", |event| match event {
            CallHomeClientEvent::Signal { event: ClientEvent::Status { scope }, .. } => {
                (scope.mid == Some(mid)).then_some(())
            }
            _ => None,
        })
        .await;
        assert_eq!(pair.filters.starts.load(Ordering::SeqCst), 1, "nothing was taken down meanwhile");
        assert_eq!(pair.filters.count(), 1);
        assert_eq!(pair.client.session_count(), 1);
    }
}

#[tokio::test]
async fn whoever_asks_for_events_first_hears_what_was_before() {
    for carrier in carriers() {
        let ca = Ca::new("Test CA");
        let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
        let filters = Arc::new(Filters::default());
        let server = call(carrier, ca.config(SERVER), address, &filters);
        eventually("session", || client.session_count() == 1 && server.upstreams()[0].session.is_some()).await;
        client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap();
        // Only now does anybody listen at either side.
        let mut events = client.events();
        assert_eq!(connected(&mut events).await, SERVER);
        let mut events = server.events();
        let up = tokio::time::timeout(WAIT, events.next()).await.unwrap();
        assert!(matches!(up, Ok(CallHomeServerEvent::Up { .. })), "{up:?}");
        let next = tokio::time::timeout(WAIT, async {
            loop {
                if let CallHomeServerEvent::Mitigation { mid, status, .. } = events.next().await.unwrap() {
                    return (mid, status);
                }
            }
        });
        assert_eq!(next.await.unwrap(), (1, Status::SuccessfullyMitigated), "{carrier:?}");
    }
}
