//! Every rule about certificates: one that passes it and one that does not.

use iap_tokio::tls::{AllowRule, EkuPolicy, ExpiredCrl, IapOids, Identity, MAX_NAMES, Reason, Source, TlsConfig};

use crate::pki::{self, Ca, Spec, analyzer, client_auth, consumer, generator, manager, server_auth};
use crate::{DAY, NOW, Site, agree, analyzer_refuses, manager_refuses, meet, meet_at, old_provider, reason, tls};

const MANAGER: &str = "manager.example.org";

#[tokio::test(start_paused = true)]
async fn certificates_of_another_ca_are_refused() {
    let site = Site::new();
    let stranger = Ca::new("Another CA");
    let a = stranger.issue(analyzer("sensor-1"));
    manager_refuses(&site, &a, site.manager(), Reason::WrongCa, "unknown_ca").await;
    manager_refuses(&site, &a, site.manager().with_provider(old_provider()), Reason::WrongCa, "unknown_ca").await;
    let m = stranger.issue(manager(MANAGER));
    analyzer_refuses(&site, &m, site.analyzer(), Reason::WrongCa, "unknown_ca").await;
    // The same name does not make the same CA.
    let impostor = Ca::new("Test CA").issue(analyzer("sensor-1"));
    let (_, m) = meet(&tls(site.config(&impostor)), &tls(site.manager())).await;
    assert_eq!(reason(&m), Some(Reason::WrongCa));
    // With that CA trusted too, all is well.
    agree(site.config(&a), site.manager().with_more_roots(Source::inline("other.pem", stranger.pem))).await;
}

#[tokio::test(start_paused = true)]
async fn dates_are_checked_on_both_sides() {
    let site = Site::new();
    let past = |spec| Spec { not_before: NOW - 3 * DAY, not_after: NOW - 60, ..spec };
    let future = |spec| Spec { not_before: NOW + 60, ..spec };
    let a = site.ca.issue(past(analyzer("sensor-1")));
    manager_refuses(&site, &a, site.manager(), Reason::Expired, "certificate_expired").await;
    let m = site.ca.issue(past(manager(MANAGER)));
    analyzer_refuses(&site, &m, site.analyzer(), Reason::Expired, "certificate_expired").await;
    let a = site.ca.issue(future(analyzer("sensor-1")));
    manager_refuses(&site, &a, site.manager(), Reason::NotYetValid, "certificate_expired").await;
    let m = site.ca.issue(future(manager(MANAGER)));
    analyzer_refuses(&site, &m, site.analyzer(), Reason::NotYetValid, "certificate_expired").await;
    let edge = Spec { not_before: NOW, not_after: NOW, ..analyzer("sensor-1") };
    agree(site.config(&site.ca.issue(edge)), site.manager()).await;
}

#[tokio::test(start_paused = true)]
async fn the_manager_must_have_the_configured_name() {
    let site = Site::new();
    let named = |common: &str, dns: &[&str], ip: &[&str]| {
        site.ca.issue(Spec {
            common_name: Some(common.to_owned()),
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            ip: ip.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..manager(MANAGER)
        })
    };
    let fallback = |config: TlsConfig| config.with_common_name_fallback(true);
    for (wanted, leaf, plain, with_fallback) in [
        ("manager.example.org", named("x", &["manager.example.org"], &[]), true, true),
        ("MANAGER.example.org.", named("x", &["manager.EXAMPLE.org"], &[]), true, true),
        ("manager.example.org", named("x", &["*.example.org"], &[]), true, true),
        ("a.manager.example.org", named("x", &["*.example.org"], &[]), false, false),
        ("example.org", named("x", &["*.example.org"], &[]), false, false),
        ("manager.example.org", named("x", &["manager.*.org"], &[]), false, false),
        ("manager.example.org", named("x", &["other.example.org"], &[]), false, false),
        ("manager.example.org", named("manager.example.org", &["other.example.org"], &[]), false, false),
        ("manager.example.org", named("manager.example.org", &[], &["192.0.2.1"]), false, false),
        ("manager.example.org", named("manager.example.org", &[], &[]), false, true),
        ("manager.example.org", named("*.example.org", &[], &[]), false, false),
        ("192.0.2.1", named("x", &[], &["192.0.2.1"]), true, true),
        ("192.0.2.2", named("x", &[], &["192.0.2.1"]), false, false),
        ("192.0.2.1", named("192.0.2.1", &[], &[]), false, false),
        ("[2001:db8::1]", named("x", &[], &["2001:db8::1"]), true, true),
    ] {
        for (config, good) in [(site.analyzer(), plain), (fallback(site.analyzer()), with_fallback)] {
            let (a, m) = meet_at(&tls(config), &tls(site.config(&leaf)), wanted).await;
            assert_eq!(reason(&a), (!good).then_some(Reason::BadName), "{wanted}: {a:?}");
            assert_eq!(m.is_ok(), good);
        }
    }
    assert!(iap_tokio::tls::manager_name("not a name").is_err());
    assert!(iap_tokio::tls::manager_name("").is_err());
}

#[tokio::test(start_paused = true)]
async fn iap_roles_are_required_by_default() {
    let site = Site::new();
    let with = |usages: &[iap_tokio::tls::Oid], spec| site.ca.issue(Spec { usages: usages.to_vec(), ..spec });
    let tls_only = with(&[client_auth()], analyzer("sensor-1"));
    manager_refuses(&site, &tls_only, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
    let tls_only = with(&[server_auth()], manager(MANAGER));
    analyzer_refuses(&site, &tls_only, site.analyzer(), Reason::MissingEku, "unsupported_certificate").await;
    let none = with(&[], analyzer("sensor-1"));
    manager_refuses(&site, &none, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
    // Swapped: a manager's role in an analyzer's hand, with both TLS purposes so that only the role can be wrong.
    let swapped = with(&[client_auth(), server_auth(), consumer()], analyzer("sensor-1"));
    manager_refuses(&site, &swapped, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
    let swapped = with(&[client_auth(), server_auth(), generator()], manager(MANAGER));
    analyzer_refuses(&site, &swapped, site.analyzer(), Reason::MissingEku, "unsupported_certificate").await;
    // A certificate for the other TLS side, in spite of the right role.
    let wrong_side = with(&[server_auth(), generator()], analyzer("sensor-1"));
    let strict = site.manager().with_iap_only_certificates(false);
    manager_refuses(&site, &wrong_side, strict, Reason::MissingEku, "unsupported_certificate").await;
}

#[tokio::test(start_paused = true)]
async fn weaker_role_policies_accept_ordinary_certificates() {
    let site = Site::new();
    let with = |usages: &[iap_tokio::tls::Oid]| site.ca.issue(Spec { usages: usages.to_vec(), ..analyzer("sensor-1") });
    let ordinary = with(&[client_auth()]);
    let wrong = with(&[client_auth(), consumer()]);
    let if_present = || site.manager().with_eku_policy(EkuPolicy::IfPresent);
    let ignore = || site.manager().with_eku_policy(EkuPolicy::Ignore);
    agree(site.config(&ordinary), if_present()).await;
    agree(site.config(&site.analyzer), if_present()).await;
    manager_refuses(&site, &wrong, if_present(), Reason::MissingEku, "unsupported_certificate").await;
    agree(site.config(&ordinary), ignore()).await;
    agree(site.config(&wrong), ignore()).await;
    agree(site.config(&with(&[])), ignore()).await;
    // The TLS purpose is not part of the IAP policy.
    manager_refuses(&site, &with(&[server_auth()]), ignore(), Reason::MissingEku, "unsupported_certificate").await;
}

#[tokio::test(start_paused = true)]
async fn certificates_with_iap_roles_alone() {
    let site = Site::new();
    let a = site.ca.issue(Spec { usages: vec![generator()], ..analyzer("sensor-1") });
    let m = site.ca.issue(Spec { usages: vec![consumer()], ..manager(MANAGER) });
    for old in [false, true] {
        let maybe = |config: TlsConfig| if old { config.with_provider(old_provider()) } else { config };
        agree(maybe(site.config(&a)), site.config(&m)).await;
    }
    let strict = |config: TlsConfig| config.with_iap_only_certificates(false);
    manager_refuses(&site, &a, strict(site.manager()), Reason::MissingEku, "unsupported_certificate").await;
    analyzer_refuses(&site, &m, strict(site.analyzer()), Reason::MissingEku, "unsupported_certificate").await;
    // The role of the other party does not stand in for the TLS purpose.
    let swapped = site.ca.issue(Spec { usages: vec![consumer()], ..analyzer("sensor-1") });
    let ignore = site.manager().with_eku_policy(EkuPolicy::Ignore);
    manager_refuses(&site, &swapped, ignore, Reason::MissingEku, "unsupported_certificate").await;
}

#[tokio::test(start_paused = true)]
async fn role_numbers_can_be_changed() {
    let site = Site::new();
    let own: iap_tokio::tls::Oid = "1.3.6.1.4.1.32473.1".parse().unwrap();
    let oids = IapOids::new(own.clone(), consumer(), pki::configurator());
    let a = site.ca.issue(Spec { usages: vec![client_auth(), own], ..analyzer("sensor-1") });
    agree(site.config(&a), site.manager().with_oids(oids.clone())).await;
    manager_refuses(&site, &a, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
    let changed = site.manager().with_oids(oids);
    manager_refuses(&site, &site.analyzer, changed, Reason::MissingEku, "unsupported_certificate").await;
}

#[tokio::test(start_paused = true)]
async fn intermediate_cas_work_and_are_checked() {
    let site = Site::new();
    let (sub, sub_leaf) = site.ca.subordinate("Sub CA", &[]);
    let a = sub.issue(analyzer("sensor-1"));
    agree(site.config(&a), site.manager()).await;
    let revoked = site.manager().with_crl(Source::inline("ca.crl", site.ca.crl(&[&sub_leaf])));
    manager_refuses(&site, &a, revoked, Reason::Revoked, "certificate_revoked").await;
    // A CA for TLS servers only cannot make analyzers.
    let (servers, _) = site.ca.subordinate("Server CA", &[server_auth()]);
    let a = servers.issue(analyzer("sensor-1"));
    manager_refuses(&site, &a, site.manager(), Reason::MissingEku, "unsupported_certificate").await;
    // An end entity cannot issue.
    let mut forged = site.ca.issue(analyzer("sensor-2"));
    forged.chain += &site.analyzer.chain;
    agree(site.config(&forged), site.manager()).await;
}

#[tokio::test(start_paused = true)]
async fn revocation_lists_are_obeyed_on_both_sides() {
    let site = Site::new();
    let crl = |revoked: &[&pki::Leaf]| Source::inline("ca.crl", site.ca.crl(revoked));
    let bad = |config: TlsConfig| config.with_crl(crl(&[&site.analyzer, &site.manager]));
    let good = site.ca.issue(analyzer("sensor-2"));
    manager_refuses(&site, &site.analyzer, bad(site.manager()), Reason::Revoked, "certificate_revoked").await;
    analyzer_refuses(&site, &site.manager, bad(site.analyzer()), Reason::Revoked, "certificate_revoked").await;
    let (_, m) = agree(site.config(&good), bad(site.manager())).await;
    assert_eq!(m.peer.display(), "sensor-2");
    // DER, and a CA that has no list.
    let der = site.ca.crl_between(&[&site.analyzer], NOW - DAY, NOW + DAY).der().to_vec();
    let der = Source::inline("ca.crl", der);
    manager_refuses(&site, &site.analyzer, site.manager().with_crl(der), Reason::Revoked, "certificate_revoked").await;
    let other = Source::inline("other.crl", Ca::new("Another CA").crl(&[&site.analyzer]));
    agree(site.analyzer(), site.manager().with_crl(other)).await;
}

#[tokio::test(start_paused = true)]
async fn expired_revocation_lists_are_refused_unless_told_otherwise() {
    let site = Site::new();
    let old = || Source::inline("ca.crl", site.ca.crl_between(&[], NOW - 2 * DAY, NOW - DAY).pem().unwrap());
    manager_refuses(&site, &site.analyzer, site.manager().with_crl(old()), Reason::CrlUnusable, "unknown_ca").await;
    agree(site.analyzer(), site.manager().with_crl(old()).with_expired_crl(ExpiredCrl::Use)).await;
    let manager = tls(site.manager().with_crl(old()));
    assert_eq!(manager.crls()[0].next_update, i64::try_from(NOW - DAY).unwrap());
    assert_eq!(manager.warnings().len(), 1, "{:?}", manager.warnings());
    // The newest list of an issuer counts, in whatever order they come.
    let renewed = site.manager().with_crl(old()).with_crl(Source::inline("new.crl", site.ca.crl(&[])));
    agree(site.analyzer(), renewed).await;
    let newer = Source::inline("new.crl", site.ca.crl(&[&site.analyzer]));
    let older = Source::inline("old.crl", site.ca.crl_between(&[], NOW - 2 * DAY, NOW + DAY).pem().unwrap());
    let both = site.manager().with_crl(older).with_crl(newer);
    manager_refuses(&site, &site.analyzer, both, Reason::Revoked, "certificate_revoked").await;
    // A list in the CA's name that the CA did not sign is not believed, and not ignored either.
    let forged = Source::inline("ca.crl", Ca::new("Test CA").crl(&[]));
    manager_refuses(&site, &site.analyzer, site.manager().with_crl(forged), Reason::CrlUnusable, "unknown_ca").await;
}

#[tokio::test(start_paused = true)]
async fn the_allow_list_decides_among_certificates_of_the_ca() {
    let site = Site::new();
    let leaf = site.ca.issue(Spec {
        unit: Some("IDS".to_owned()),
        ip: vec!["192.0.2.7".parse().unwrap()],
        uri: vec!["spiffe://example.org/ids/1".to_owned()],
        ..analyzer("sensor-1")
    });
    let fingerprint = iap_tokio::tls::Fingerprint::of(&leaf.der);
    let other = iap_tokio::tls::Fingerprint::of(&site.analyzer.der);
    for (rule, good) in [
        ("sensor-1", true),
        ("Sensor-1", true),
        ("sensor-2", false),
        ("sensor-1.sensors.example.org", true),
        ("*.sensors.example.org", true),
        ("*.example.org", false),
        ("cn:sensor-1", true),
        ("cn:sensor-1.sensors.example.org", false),
        ("san:sensor-1.sensors.example.org", true),
        ("san:sensor-1", false),
        ("san:192.0.2.7", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("san:spiffe://example.org/ids/1", true),
        ("san:spiffe://example.org/ids/2", false),
        ("ou:IDS", true),
        ("ou:ids", true),
        ("ou:IDSX", false),
        (&format!("sha256:{fingerprint}"), true),
        (&format!("sha256:{other}"), false),
    ] {
        let parsed: AllowRule = rule.parse().unwrap();
        let manager = site.manager().with_allow_list([parsed]);
        let (_, m) = meet(&tls(site.config(&leaf)), &tls(manager)).await;
        assert_eq!(reason(&m), (!good).then_some(Reason::NotAllowed), "{rule}");
    }
    let one_of = ["cn:nobody".parse().unwrap(), "ou:IDS".parse().unwrap()];
    agree(site.config(&leaf), site.manager().with_allow_list(one_of)).await;
    agree(site.config(&leaf), site.manager().with_allow_list([])).await;
    let nobody = || ["cn:nobody".parse().unwrap()];
    manager_refuses(&site, &leaf, site.manager().with_allow_list(nobody()), Reason::NotAllowed, "access_denied").await;
    analyzer_refuses(
        &site,
        &site.manager,
        site.analyzer().with_allow_list(nobody()),
        Reason::NotAllowed,
        "access_denied",
    )
    .await;
}

#[test]
fn a_subject_with_two_common_names_has_none() {
    let site = Site::new();
    let leaf = site.ca.issue(Spec { unit: Some("sensor-2".to_owned()), ..analyzer("sensor-1") });
    let read = |der: &[u8]| Identity::from_certificate(der, &IapOids::default()).unwrap();
    assert_eq!(read(&leaf.der).common_name(), Some("sensor-1"));
    // Turn the unit (2.5.4.11) into a common name (2.5.4.3). The signature breaks, which is not looked at here.
    let mut der = leaf.der;
    let unit = der.windows(5).position(|window| window == [6, 3, 0x55, 4, 11]).unwrap();
    der[unit + 4] = 3;
    let peer = read(&der);
    assert_eq!((peer.common_name(), peer.display()), (None, "sensor-1.sensors.example.org"));
    for (rule, good) in [("cn:sensor-1", false), ("cn:sensor-2", false), ("san:sensor-1.sensors.example.org", true)] {
        assert_eq!(rule.parse::<AllowRule>().unwrap().matches(&peer), good, "{rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_for_logs_are_harmless_and_never_empty() {
    let site = Site::new();
    let named = |common_name: Option<&str>, dns: &[&str]| {
        site.ca.issue(Spec {
            common_name: common_name.map(str::to_owned),
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            ..analyzer("sensor-1")
        })
    };
    for (leaf, display) in [
        (named(Some("a\r\nb"), &[]), Some("a\\r\\nb")),
        (named(None, &["a.example.org"]), Some("a.example.org")),
        (named(None, &[]), None),
    ] {
        let (_, m) = agree(site.config(&leaf), site.manager()).await;
        let fingerprint = format!("sha256:{}", iap_tokio::tls::Fingerprint::of(&leaf.der));
        assert_eq!(m.peer.display(), display.unwrap_or(&fingerprint));
    }
    let numbered = |count| Spec {
        dns: (0..count).map(|number| format!("n{number}.example.org")).collect(),
        ..analyzer("sensor-1")
    };
    for (count, good) in [(MAX_NAMES, true), (MAX_NAMES + 1, false)] {
        let leaf = site.ca.issue(numbered(count));
        assert_eq!(Identity::from_certificate(&leaf.der, &IapOids::default()).is_ok(), good, "{count}");
    }
}
