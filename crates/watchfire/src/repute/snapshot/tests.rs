use repute_proto::{ExtensionValue, Reputon, Score};

use super::*;

fn reputon(rated: &'static str, assertion: &'static str, rating: f64) -> Reputon<'static> {
    Reputon::new("r.example", assertion, rated, Score::new(rating).unwrap())
}

fn snapshot(entries: impl IntoIterator<Item = Reputon<'static>>) -> Snapshot {
    let builder = Builder::new();
    let mut loader = builder.loader();
    let mut loaded = Loaded::default();
    for entry in entries {
        loader.add("email-id", &entry, &mut loaded).unwrap();
    }
    loaded.shrink();
    let shapes = loader.end();
    builder.finish(vec![(loaded, shapes)])
}

fn found<'s>(snapshot: &'s Snapshot, subject: &str) -> Vec<(&'s str, f64)> {
    let mut found = Vec::new();
    let target = Target::of(repute_proto::SubjectSyntax::NameOrAddress, subject);
    snapshot.find(target, Some("email-id"), 1_000, &mut found);
    found.iter().map(|hit| (hit.head.assertion.as_str(), hit.record.rating)).collect()
}

#[test]
fn what_is_written_is_what_is_found() {
    let full = {
        let mut full = reputon("192.0.2.1", "spam", 0.0012);
        full.confidence = Some(Score::new(1.0).unwrap());
        full.normal_rating = Some(Score::new(0.5).unwrap());
        full.rater_authenticity = Some(Score::new(0.123_456).unwrap());
        full.sample_size = Some(u64::MAX);
        full.generated = Some(1_317_795_852);
        full.expires = Some(1_001);
        full.set_extension("email-id-identity", ExtensionValue::text("dkim"));
        full.set_extension("x", ExtensionValue::json("[1,{\"a\":null}]").unwrap());
        full
    };
    let snapshot = snapshot([full.clone(), reputon("example.org", "malware", 1.0)]);
    let mut hits = Vec::new();
    snapshot.find(Target::Address("192.0.2.1".parse().unwrap()), None, 1_000, &mut hits);
    assert_eq!(hits[0].record.reputon(hits[0].head, "192.0.2.1", "nobody"), full);
    snapshot.find(Target::Address("192.0.2.1".parse().unwrap()), None, 1_001, &mut hits);
    assert!(hits.is_empty(), "it has expired");
    snapshot.find(Target::Name("example.org"), Some("other"), 0, &mut hits);
    assert!(hits.is_empty(), "it is of another application");
}

#[test]
fn the_nearest_entry_of_each_statement_counts() {
    let none = |rated| reputon(rated, "spam", 0.0).with_sample_size(0);
    let snapshot = snapshot([
        reputon("192.0.2.0/24", "spam", 0.9),
        reputon("192.0.0.0/16", "spam", 0.8),
        reputon("192.0.0.0/16", "malware", 0.7),
        reputon("192.0.2.7", "spam", 0.1),
        none("192.0.2.8"),
        reputon("2001:db8::/32", "spam", 0.6),
        reputon("0.0.0.0/0", "fraud", 0.5),
        reputon(".example.org", "spam", 0.4),
        reputon("*.example.net", "spam", 0.3),
        reputon("good.example.org", "spam", 0.0),
        none("www.example.org"),
    ]);
    let sorted = |subject: &str| {
        let mut found = found(&snapshot, subject);
        found.sort_by(|a, b| a.0.cmp(b.0));
        found
    };
    assert_eq!(sorted("192.0.2.7"), [("fraud", 0.5), ("malware", 0.7), ("spam", 0.1)]);
    assert_eq!(sorted("192.0.2.9"), [("fraud", 0.5), ("malware", 0.7), ("spam", 0.9)]);
    assert_eq!(sorted("192.0.3.9"), [("fraud", 0.5), ("malware", 0.7), ("spam", 0.8)]);
    assert_eq!(sorted("192.0.2.8"), [("fraud", 0.5), ("malware", 0.7)], "an exception");
    assert_eq!(sorted("2001:db8:1::1"), [("spam", 0.6)]);
    assert_eq!(sorted("2001:db9::1"), []);
    assert_eq!(sorted("example.org"), [("spam", 0.4)]);
    assert_eq!(sorted("a.b.example.org"), [("spam", 0.4)]);
    assert_eq!(sorted("good.example.org"), [("spam", 0.0)]);
    assert_eq!(sorted("www.example.org"), []);
    assert_eq!(sorted("xexample.org"), []);
    assert_eq!((sorted("example.net"), sorted("a.example.net")), (vec![], vec![("spam", 0.3)]));
}

#[test]
fn the_same_statement_is_kept_once_and_others_beside_it() {
    let by = |rater: &'static str| Reputon::new(rater, "SENDS-SPAM", "example.org", Score::new(0.5).unwrap());
    let identity = |name: &'static str| {
        reputon("example.org", "spam", 0.25).with_extension("email-id-identity", ExtensionValue::text(name))
    };
    let code = |code: &'static str| {
        reputon("example.org", "spam", 0.75).with_extension("dnsbl-code", ExtensionValue::text(code))
    };
    let snapshot = snapshot([
        reputon("example.org", "spam", 0.1),
        reputon("EXAMPLE.org.", "Spam", 0.2),
        by("other.example"),
        identity("dkim"),
        identity("spf"),
        identity("dkim"),
        code("127.0.0.4"),
        code("127.0.0.5"),
    ]);
    assert_eq!(snapshot.entries(), 6);
    let mut found: Vec<f64> = found(&snapshot, "example.org").iter().map(|(_, rating)| *rating).collect();
    found.sort_by(f64::total_cmp);
    assert_eq!(found, [0.2, 0.25, 0.25, 0.5, 0.75, 0.75]);
}

#[test]
fn many_entries_fill_many_segments_and_extensions_may_all_differ() {
    let builder = Builder::new();
    let mut loader = builder.loader();
    let mut loaded = Loaded::default();
    let count = 120_000;
    for number in 0..count {
        let entry = Reputon::new("r", "spam", format!("name-{number}.example.org"), Score::ZERO)
            .with_extension("note", ExtensionValue::text(format!("entry {number}")));
        loader.add("email-id", &entry, &mut loaded).unwrap();
    }
    let shapes = loader.end();
    let snapshot = builder.finish(vec![(loaded, shapes)]);
    assert!(snapshot.segments.len() > 2 && snapshot.heads.len() <= 1 << 17, "{snapshot:?}");
    let mut hits = Vec::new();
    for number in [0, 1, 65_535, 65_536, 65_537, count - 1] {
        let name = format!("name-{number}.example.org");
        snapshot.find(Target::Name(&name), None, 0, &mut hits);
        let reputon = hits[0].record.reputon(hits[0].head, &name, "");
        assert_eq!(reputon.extension("note").unwrap().as_text(), Some(format!("entry {number}").as_str()));
    }
    snapshot.find(Target::Name("name-120000.example.org"), None, 0, &mut hits);
    assert!(hits.is_empty() && snapshot.has_below("example.org") && snapshot.has_below("org"));
}

#[test]
fn nothing_is_found_in_nothing() {
    let empty = Snapshot::empty();
    assert_eq!((empty.entries(), found(&empty, "example.org")), (0, vec![]));
    assert!(!empty.has_below("org"));
}

#[test]
fn what_is_no_entry_is_refused() {
    let builder = Builder::new();
    let mut loader = builder.loader();
    let mut loaded = Loaded::default();
    let bad = reputon("example.org", "spam", 0.5).with_extension("dnsbl-code", ExtensionValue::number(2));
    assert!(loader.add("email-id", &bad, &mut loaded).unwrap_err().contains("dnsbl-code"));
    assert!(loader.add("email-id", &reputon("a b", "spam", 0.5), &mut loaded).unwrap_err().contains("rated"));
}
