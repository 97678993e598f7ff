//! Resumed sessions: that there are, and that they are judged like new ones. IAP-098, IAP-099, IAP-116.

use iap_tokio::tls::{Reason, Sessions, Source, Tls, TlsConfig, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pki::{Spec, analyzer, manager};
use crate::{NOW, Site, meet, old_provider, reason, tickets, tls, what_analyzer_learns};

/// The manager's ways to remember sessions, under both versions.
fn memories(manager: impl Fn() -> TlsConfig) -> Vec<(TlsConfig, Version)> {
    vec![
        (manager(), Version::Tls13),
        (manager().with_sessions(Sessions::Stored(16)), Version::Tls13),
        (manager().with_sessions(tickets()).with_provider(old_provider()), Version::Tls12),
        (manager().with_sessions(Sessions::Stored(16)).with_provider(old_provider()), Version::Tls12),
    ]
}

async fn is_resumed(analyzer: &Tls, manager: &Tls) -> bool {
    let (a, m) = meet(analyzer, manager).await;
    let (a, m) = (a.unwrap(), m.unwrap());
    assert_eq!(a.handshake, m.handshake);
    assert_eq!((a.peer.display(), m.peer.display()), ("manager.example.org", "sensor-1"));
    a.handshake.resumed
}

#[tokio::test(start_paused = true)]
async fn the_second_connection_resumes() {
    let site = Site::new();
    for (config, version) in memories(|| site.manager()) {
        let (analyzer, manager) = (tls(site.analyzer()), tls(config));
        let (a, m) = meet(&analyzer, &manager).await;
        let (mut a, mut m) = (a.unwrap(), m.unwrap());
        assert_eq!((a.handshake.version, a.handshake.resumed), (version, false));
        a.stream.shutdown().await.unwrap();
        assert_eq!(m.stream.read(&mut [0; 8]).await.unwrap(), 0);
        for _ in 0..4 {
            assert!(is_resumed(&analyzer, &manager).await, "{version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_connection_resumes_too() {
    let site = Site::new();
    for (config, version) in memories(|| site.manager()) {
        let (analyzer, manager) = (tls(site.analyzer()), tls(config));
        let (a, m) = meet(&analyzer, &manager).await;
        // No close_notify: the transport just ends.
        drop(a.unwrap());
        let error = m.unwrap().stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(is_resumed(&analyzer, &manager).await, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn resumption_can_be_turned_off() {
    let site = Site::new();
    for (analyzer, manager) in [
        (site.analyzer(), site.manager().with_sessions(Sessions::Off)),
        (site.analyzer(), site.manager().with_sessions(Sessions::Stored(0))),
        (site.analyzer().with_remembered_managers(0), site.manager()),
    ] {
        let (analyzer, manager) = (tls(analyzer), tls(manager));
        for _ in 0..2 {
            assert!(!is_resumed(&analyzer, &manager).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forgotten_sessions_do_not_resume() {
    let site = Site::new();
    for (config, _) in memories(|| site.manager()) {
        let (analyzer, manager) = (tls(site.analyzer()), tls(config));
        assert!(!is_resumed(&analyzer, &manager).await);
        analyzer.forget_sessions(&iap_tokio::tls::manager_name("manager.example.org").unwrap());
        assert!(!is_resumed(&analyzer, &manager).await);
        assert!(is_resumed(&analyzer, &manager).await);
    }
}

/// After a first connection, `change` happens at the manager, which must refuse the resumed second.
async fn manager_refuses_resumed(site: &Site, config: TlsConfig, change: impl Fn(&Tls, TlsConfig), why: Reason) {
    let (analyzer, manager) = (tls(site.analyzer()), tls(config.clone()));
    assert!(!is_resumed(&analyzer, &manager).await);
    assert!(is_resumed(&analyzer, &manager).await);
    change(&manager, config);
    let (a, m) = meet(&analyzer, &manager).await;
    assert_eq!(reason(&m), Some(why), "{m:?}");
    // It was a resumed session: a full handshake would have failed at the analyzer or ended with an alert.
    let mut a = a.unwrap();
    assert!(a.handshake.resumed);
    assert_eq!(a.stream.read(&mut [0; 8]).await.unwrap(), 0, "a close_notify was expected");
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_does_not_resume_at_the_manager() {
    let mut site = Site::new();
    site.analyzer = site.ca.issue(Spec { not_after: NOW + 600, ..analyzer("sensor-1") });
    for (config, _) in memories(|| site.manager()) {
        site.clock.set(NOW);
        manager_refuses_resumed(&site, config, |_, _| site.clock.set(NOW + 601), Reason::Expired).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_certificate_does_not_resume_at_the_manager() {
    let site = Site::new();
    let crl = site.ca.crl(&[&site.analyzer]);
    for (config, _) in memories(|| site.manager()) {
        let revoke = |manager: &Tls, config: TlsConfig| {
            manager.replace(config.with_crl(Source::inline("ca.crl", crl.clone()))).unwrap();
        };
        manager_refuses_resumed(&site, config, revoke, Reason::Revoked).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_no_longer_allowed_does_not_resume_at_the_manager() {
    let site = Site::new();
    for (config, _) in memories(|| site.manager()) {
        let forbid = |manager: &Tls, config: TlsConfig| {
            manager.replace(config.with_allow_list(["cn:sensor-2".parse().unwrap()])).unwrap();
        };
        manager_refuses_resumed(&site, config, forbid, Reason::NotAllowed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_a_ca_no_longer_trusted_does_not_resume_at_the_manager() {
    let site = Site::new();
    let other = crate::Ca::new("Another CA");
    for sessions in [Sessions::Tickets, Sessions::Stored(16)] {
        let config = site.manager().with_sessions(sessions.clone());
        let distrust = |manager: &Tls, _| {
            let new = crate::config(&site.manager, &other, &site.clock).with_sessions(sessions.clone());
            manager.replace(new).unwrap();
        };
        manager_refuses_resumed(&site, config, distrust, Reason::WrongCa).await;
    }
}

/// After a first connection, `change` happens at the analyzer, which must refuse the resumed second, and not resume the third.
async fn analyzer_refuses_resumed(site: &Site, config: TlsConfig, change: impl Fn(&Tls), why: Reason) {
    let (analyzer, manager) = (tls(site.analyzer()), tls(config));
    assert!(!is_resumed(&analyzer, &manager).await);
    assert!(is_resumed(&analyzer, &manager).await);
    change(&analyzer);
    let (a, m) = meet(&analyzer, &manager).await;
    assert_eq!(reason(&a), Some(why), "{a:?}");
    assert!(m.unwrap().handshake.resumed);
    // Now in full, so that a new certificate of the manager would be seen; the old one is refused by an alert.
    let (a, m) = meet(&analyzer, &manager).await;
    assert_eq!(reason(&a), Some(why), "{a:?}");
    assert!(matches!(m.unwrap_err(), iap_tokio::tls::TlsError::RefusedByPeer { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_does_not_resume_at_the_analyzer() {
    let mut site = Site::new();
    site.manager = site.ca.issue(Spec { not_after: NOW + 600, ..manager("manager.example.org") });
    for (config, _) in memories(|| site.manager()) {
        site.clock.set(NOW);
        analyzer_refuses_resumed(&site, config, |_| site.clock.set(NOW + 601), Reason::Expired).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_or_forbidden_manager_does_not_resume_at_the_analyzer() {
    let site = Site::new();
    let crl = site.ca.crl(&[&site.manager]);
    for (config, _) in memories(|| site.manager()) {
        let revoke = |analyzer: &Tls| {
            analyzer.replace(site.analyzer().with_crl(Source::inline("ca.crl", crl.clone()))).unwrap();
        };
        analyzer_refuses_resumed(&site, config.clone(), revoke, Reason::Revoked).await;
        let forbid = |analyzer: &Tls| {
            analyzer.replace(site.analyzer().with_allow_list(["cn:nobody".parse().unwrap()])).unwrap();
        };
        analyzer_refuses_resumed(&site, config, forbid, Reason::NotAllowed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_handshake_tells_a_revoked_peer_why() {
    // The counterpart of the resumed cases: without a session the same change ends with an alert.
    let site = Site::new();
    let manager = tls(site.manager().with_crl(Source::inline("ca.crl", site.ca.crl(&[&site.analyzer]))));
    let (a, m) = meet(&tls(site.analyzer()), &manager).await;
    assert_eq!(reason(&m), Some(Reason::Revoked));
    assert_eq!(what_analyzer_learns(a).await.reason(), Reason::Revoked);
}

#[tokio::test(start_paused = true)]
async fn a_new_own_certificate_is_shown_at_once() {
    let site = Site::new();
    let (analyzer, manager) = (tls(site.analyzer()), tls(site.manager()));
    assert!(!is_resumed(&analyzer, &manager).await);
    let renewed = site.ca.issue(crate::pki::analyzer("sensor-9"));
    analyzer.replace(site.config(&renewed)).unwrap();
    let (a, m) = meet(&analyzer, &manager).await;
    assert!(!a.unwrap().handshake.resumed);
    assert_eq!(m.unwrap().peer.display(), "sensor-9");
}
