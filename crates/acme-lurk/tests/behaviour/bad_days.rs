//! Delegates, name owners and CAs on bad days: links that break, servers that are away, clocks that jump, processes that
//! end without warning.

use acme_lurk::acme::OrderStatus;
use acme_lurk::acme::server::{CaConfig, CaConfigBuilder};
use acme_lurk::delegation::{Emulation, NdcConfig, NdcEnd, Serving};
use acme_lurk::star::{StarMeta, StarPolicy};
use proptest::prelude::*;
use watchfire_core::{Duration, UnixTime};
use watchfire_testkit::LinkConfig;

use crate::lab::{Lab, NAME, STAR, ido_config, ndc_config, star_ca};
use crate::server_kit::{BASE, START};

fn emulation() -> Emulation {
    // That everybody may fetch is not for the policy to say: we serve.
    Emulation::new(StarPolicy::new(StarMeta::new(10, 1_000_000, false)))
}

/// A CA without STAR, whose certificates are good for so many seconds.
fn plain_ca(validity: u64) -> CaConfigBuilder {
    CaConfig::builder(BASE).with_validity(validity)
}

#[test]
fn star_is_emulated_over_a_ca_that_has_none() {
    for validity in [1000, 30, 20] {
        let config = ido_config().with_emulation(emulation());
        let mut lab = Lab::new(plain_ca(validity), config, ndc_config(), 1);
        assert!(lab.run(150, |lab| lab.installed.len() >= 5), "{validity}: {:?} {:?}", lab.ndc, lab.audit);
        lab.has_no_gap().unwrap();
        let order = lab.ido.orders().next().unwrap();
        assert!(order.emulated && order.status == OrderStatus::Valid);
        let shown = lab.seen.iter().filter(|(is_ndc, _)| !*is_ndc);
        assert!(shown.clone().filter(|(_, exchange)| exchange.url.ends_with("/new-order")).count() >= 5);
        // Stopped: nothing is served any more, and what is out there is revoked.
        let now = lab.now();
        lab.ido.cancel(now, &order.id).unwrap();
        assert!(lab.run(60, |lab| matches!(lab.ended, Some(NdcEnd::Canceled { .. }))));
        use acme_lurk::delegation::Audit;
        assert!(lab.audit.contains(&Audit::Canceled) && lab.audit.contains(&Audit::Revoked), "{:?}", lab.audit);
        // All of them that are still good, not only the last.
        let made = lab.audit.iter().filter(|what| matches!(what, Audit::Issued { .. })).count();
        let wanted = if validity == 1000 { made } else { 1 };
        assert!(lab.revoked >= wanted, "{} of {made}", lab.revoked);
        let orders = lab.seen.iter().filter(|(_, exchange)| exchange.url.ends_with("/new-order")).count();
        lab.run(200, |_| false);
        let later = lab.seen.iter().filter(|(_, exchange)| exchange.url.ends_with("/new-order")).count();
        assert_eq!(orders, later, "nothing is ordered after the cancellation");
    }
}

#[test]
fn a_ca_that_wants_a_certificate_renewed_earlier_is_heard() {
    // Its certificates would be good for the whole order; it says to renew them now, as it does with what is revoked.
    let mut lab = Lab::new(plain_ca(1000), ido_config().with_emulation(emulation()), ndc_config(), 1);
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    let orders = |lab: &Lab| lab.seen.iter().filter(|(by, sent)| !*by && sent.url.ends_with("/new-order")).count();
    assert_eq!(orders(&lab), 1);
    let asked = lab.seen.iter().filter(|(by, sent)| !*by && sent.url.contains("/renewal-info/")).count();
    assert_eq!(asked, 1, "asked as soon as there is one");
    let now = |exchange: &acme_lurk::acme::client::Exchange, received: acme_lurk::acme::client::Received| {
        if !exchange.url.contains("/renewal-info/") {
            return received;
        }
        let window = r#"{"suggestedWindow":{"start":"2023-01-01T00:00:00Z","end":"2023-01-02T00:00:00Z"}}"#;
        acme_lurk::acme::client::Received::new(200, [("retry-after", "100000")], window)
    };
    lab.tamper = Some(now);
    // The next is due after ten seconds; the one behind it comes soon, because the CA says so.
    assert!(lab.run(16, |lab| orders(lab) >= 3), "{}", orders(&lab));
    // Each new one says which it replaces.
    let replaces = lab.seen.iter().filter(|(by, sent)| !*by && sent.url.ends_with("/new-order")).filter(|(_, sent)| {
        let jws: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
        let octets = acme_lurk::base64url::decode(jws["payload"].as_str().unwrap()).unwrap();
        String::from_utf8(octets).unwrap().contains("\"replaces\"")
    });
    assert_eq!(replaces.count(), orders(&lab) - 1);
    // It does not go round without end: an eighth of the lifetime lies between.
    let before = orders(&lab);
    lab.run(10, |_| false);
    assert!(orders(&lab) <= before + 5, "{}", orders(&lab));
}

#[test]
fn an_emulated_order_ends_with_its_end_date() {
    let config = ido_config().with_emulation(emulation());
    let mut lab = Lab::new(plain_ca(100_000), config, ndc_config(), 1);
    assert!(lab.run(30, |lab| !lab.installed.is_empty()));
    let order = lab.ido.orders().next().unwrap();
    assert!(lab.run(400, |lab| lab.now().unix.as_secs() > START + 230));
    use acme_lurk::delegation::Audit;
    assert!(lab.audit.contains(&Audit::Revoked), "what the CA made for longer ends with the order: {:?}", lab.audit);
    let now = lab.now();
    let first = lab.ido.orders().find(|known| known.id == order.id);
    assert!(first.is_none_or(|order| order.status == OrderStatus::Canceled), "{now:?}");
    lab.has_no_gap().unwrap();
}

#[test]
fn killed_at_every_step_nothing_is_orphaned() {
    for (serving, ca) in [(Serving::HandThrough, star_ca()), (Serving::Own, star_ca()), (Serving::Own, plain_ca(30))] {
        let config = || ido_config().with_serving(serving).with_emulation(emulation());
        let mut whole = Lab::new(ca.clone(), config(), ndc_config(), 1);
        assert!(whole.run(60, |lab| lab.installed.len() >= 2));
        let steps = whole.seen.len();
        for step in (0..steps).step_by(2) {
            let mut lab = Lab::new(ca.clone(), config(), ndc_config(), 1);
            lab.run(60, |lab| lab.seen.len() > step);
            lab.restart_ido();
            lab.run(5, |lab| lab.seen.len() > step + 3);
            lab.restart_ndc();
            assert!(lab.run(200, |lab| lab.installed.len() >= 3), "step {step}: {:?} {:?}", lab.ndc, lab.audit);
            let open = lab.ido.orders().filter(|order| order.status == OrderStatus::Processing).count();
            assert_eq!(open, 0, "step {step}");
            // Killed while it is being stopped, it stops.
            let order = lab.ido.order_by_url(lab.ndc.order_url().unwrap()).unwrap();
            let now = lab.now();
            lab.ido.cancel(now, &order).unwrap();
            lab.restart_ido();
            assert!(lab.run(100, |lab| matches!(lab.ended, Some(NdcEnd::Canceled { .. }))), "step {step}");
            assert_eq!(lab.ido.orders().find(|known| known.id == order).unwrap().status, OrderStatus::Canceled);
        }
    }
}

#[test]
fn replayed_nonces_and_lost_answers_make_no_second_order() {
    let mut lab = Lab::new(star_ca(), ido_config(), ndc_config(), 7);
    lab.link = LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(200),
        max_piece: 50,
        ..LinkConfig::default()
    };
    lab.breaks = 30;
    assert!(lab.run(300, |lab| lab.installed.len() >= 3), "{:?} {:?}", lab.ndc, lab.audit);
    // Requests that were made twice, because their answer was lost, were refused or answered as the first was.
    let valid = lab.ido.orders().filter(|order| order.status == OrderStatus::Valid).count();
    assert_eq!(valid, 1);
    // A request that is sent again as it was is refused.
    let posts: Vec<_> = lab.arrived.iter().filter(|exchange| exchange.method == "POST").cloned().collect();
    assert!(posts.len() >= 6);
    for exchange in posts {
        let now = lab.now();
        let received = crate::client_kit::hand_over(&exchange, |request| lab.ido.handle_request(now, request));
        assert!(received.status >= 400, "{exchange:?}");
    }
}

#[test]
fn clocks_that_jump_are_noticed_within_a_minute() {
    for (config, ca) in [(ido_config(), star_ca()), (ido_config().with_emulation(emulation()), plain_ca(40))] {
        let ndc = NdcConfig::builder([NAME]).unwrap().with_star(20, 10, 2_000);
        let mut lab = Lab::new(ca, config, ndc, 1);
        assert!(lab.run(30, |lab| !lab.installed.is_empty()));
        for jump in [300, -200, 90, -30, 400] {
            lab.skew += jump;
            lab.run(70, |_| false);
            let until = lab.installed.last().unwrap().1.not_after;
            assert!(until > lab.now().unix, "{jump}: {until:?} {:?} {:?}", lab.now(), lab.audit.last());
            assert_eq!(lab.ended, None);
        }
        // Whatever the clock says, certificates are made at the pace of the schedule, and not all that were missed.
        assert!(lab.installed.len() < 60, "{}", lab.installed.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever links, outages and restarts do, as long as the CA is there for a third of each lifetime.
    #[test]
    fn there_is_no_gap(seed in any::<u64>(), kind in 0..3_usize) {
        let (config, ca) = match kind {
            0 => (ido_config(), star_ca()),
            1 => (ido_config().with_serving(Serving::Own), star_ca()),
            _ => (ido_config().with_emulation(emulation()), plain_ca(40)),
        };
        let mut lab = Lab::new(ca, config, ndc_config(), seed);
        lab.link = LinkConfig {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(100),
            max_piece: 200,
            ..LinkConfig::default()
        };
        prop_assert!(lab.run(60, |lab| !lab.installed.is_empty()), "{:?} {:?}", lab.ndc, lab.audit);
        lab.breaks = 10;
        let end = UnixTime::from_secs(lab.agreed().end.as_secs() - 25);
        while lab.now().unix < end {
            let quiet = lab.random.random_range(8..14);
            lab.run(quiet, |lab| lab.now().unix >= end);
            match lab.random.random_range(0..4) {
                0 => lab.restart_ido(),
                1 => lab.restart_ndc(),
                2 => lab.ca_away_until = lab.instant + Duration::from_secs(3),
                _ => {}
            }
        }
        prop_assert_eq!(lab.has_no_gap(), Ok(()), "{:?}", lab.audit);
        prop_assert!(lab.installed.len() >= 8, "{} {:?}", lab.installed.len(), lab.alarms);
        let last = lab.installed.last().unwrap().1.not_after;
        prop_assert!(last > lab.now().unix, "{:?}", lab.alarms);
        // No certificate of a CA that renews outlives its order.
        let (_, _, duration) = STAR;
        let longest = i64::try_from(duration).unwrap();
        for (at, installation) in &lab.installed {
            prop_assert!(kind == 2 || installation.not_after.as_secs() <= at.as_secs() + longest);
        }
    }
}
