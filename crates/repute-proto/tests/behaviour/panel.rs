//! Several raters at once: what they say together, in the time there is.

use std::time::Duration;

use repute_proto::client::{ClientConfig, ExchangeFailure, ExchangeRequest, Received};
use repute_proto::panel::{ConsultationId, Standing, combine};
use repute_proto::{
    Application, Client, List, LocalLists, Panel, PanelEvent, Rater, Reputon, Score, Verdict, Weighing,
};
use watchfire_core::{ExchangeMachine as _, Instant, Machine as _, Output, UnixTime};

use crate::support::{EPOCH, MEDIA, about, headers, query, service};

struct World {
    panel: Panel,
    now: Instant,
}

impl World {
    fn new(raters: &[(&str, f64)]) -> Self {
        let client = Client::new(ClientConfig::default().into(), [1; 32], Instant::ZERO);
        let raters = raters.iter().map(|(at, trust)| Rater::new(service(at), *trust)).collect();
        let mut lists = LocalLists::new();
        lists.add(&Application::email_id(), "Good.example", List::Allow).unwrap();
        lists.add(&Application::email_id(), "bad.good.example", List::Deny).unwrap();
        Self { panel: Panel::new(client, raters, lists, Weighing::default()), now: Instant::ZERO }
    }

    fn consult(&mut self, subject: &str) -> ConsultationId {
        let time = UnixTime::from_secs(EPOCH);
        self.panel.consult(self.now, time, query(subject), Duration::from_millis(300)).unwrap()
    }

    fn drain(&mut self) -> (Vec<ExchangeRequest>, Vec<Verdict>, Option<Instant>) {
        let (mut exchanges, mut verdicts) = (Vec::new(), Vec::new());
        loop {
            match self.panel.poll_output(self.now) {
                Output::Event(PanelEvent::Exchange(request)) => exchanges.push(request),
                Output::Event(PanelEvent::Verdict { verdict, .. }) => verdicts.push(verdict),
                Output::Event(_) => {}
                Output::Timeout(at) => return (exchanges, verdicts, at),
                Output::Transmit(never) => match never {},
            }
        }
    }

    fn reply(&mut self, to: &ExchangeRequest, media: &str, body: &str) {
        let response = Received::new(
            http::StatusCode::OK,
            headers(&[("content-type", media)]),
            body.to_owned(),
            UnixTime::from_secs(EPOCH),
        );
        self.panel.handle_response(self.now, to.id, response).unwrap();
    }

    /// Gives each rater its template; the exchanges of the queries.
    fn templates(&mut self) -> Vec<ExchangeRequest> {
        let (exchanges, ..) = self.drain();
        for exchange in exchanges {
            self.reply(&exchange, "text/plain", "http://{service}/{application}/{subject}/{assertion}");
        }
        self.drain().0
    }
}

#[test]
fn raters_are_weighed_by_trust_confidence_and_samples() {
    let mut world = World::new(&[("a.example", 1.0), ("b.example", 0.5)]);
    world.consult("x.example");
    let exchanges = world.templates();
    assert_eq!(exchanges.len(), 2);
    world.reply(&exchanges[0], MEDIA, &about("x.example", ",\"confidence\":0.8,\"sample-size\":90"));
    assert!(world.drain().1.is_empty(), "one is missing");
    let other = about("x.example", ",\"confidence\":1.0,\"sample-size\":10").replace("0.5,", "1.0,");
    world.reply(&exchanges[1], MEDIA, &other);
    let (_, verdicts, _) = world.drain();
    let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
    let combined = verdict.combined["spam"];
    // 1.0 * 0.8 * 90/100 and 0.5 * 1.0 * 10/20.
    let (first, second) = (0.72, 0.25);
    assert!((combined.weight - (first + second)).abs() < 1e-12);
    assert!((combined.rating - (first * 0.5 + second) / (first + second)).abs() < 1e-12);
    assert_eq!((combined.spread, combined.opinions, verdict.is_complete), (0.5, 2, true));
    let explained = verdict.to_string();
    assert!(
        explained.contains(
            "http://a.example (trust 1.00): r.example says spam 0.5, confidence 0.8, 90 samples; weight 0.720"
        ),
        "{explained}"
    );
}

#[test]
fn what_came_in_time_counts_and_failures_are_no_verdicts() {
    let mut world = World::new(&[("a.example", 1.0), ("b.example", 1.0), ("c.example", 1.0), ("d.example", 1.0)]);
    world.consult("x.example");
    let exchanges = world.templates();
    world.reply(&exchanges[0], MEDIA, &about("x.example", ""));
    world.reply(&exchanges[1], "text/html", "127.255.255.254");
    world.panel.handle_failure(world.now, exchanges[2].id, ExchangeFailure::Broken).unwrap();
    let (_, verdicts, at) = world.drain();
    assert!(verdicts.is_empty());
    assert_eq!(at, Some(Instant::from_millis(300)));
    world.now = at.unwrap();
    world.panel.handle_timeout(world.now).unwrap();
    let (_, verdicts, _) = world.drain();
    let [verdict] = &verdicts[..] else { panic!() };
    assert_eq!((verdict.rating("spam"), verdict.combined["spam"].opinions, verdict.is_complete), (Some(0.5), 1, false));
    assert!(matches!(
        verdict.opinions.iter().map(|opinion| &opinion.standing).collect::<Vec<_>>()[..],
        [Standing::Counted { .. }, Standing::Failed(_), Standing::Failed(_), Standing::Pending]
    ));
    // The late answer is there next time.
    world.reply(&exchanges[3], MEDIA, &about("x.example", ""));
    world.consult("x.example");
    world.now = world.now + Duration::from_millis(300);
    world.panel.handle_timeout(world.now).unwrap();
    let verdicts = world.drain().1;
    assert_eq!(verdicts[0].combined["spam"].opinions, 2);
}

#[test]
fn when_all_fail_nothing_is_said() {
    let mut world = World::new(&[("a.example", 1.0)]);
    world.consult("x.example");
    let (exchanges, ..) = world.drain();
    world.panel.handle_failure(world.now, exchanges[0].id, ExchangeFailure::Connect).unwrap();
    let verdicts = world.drain().1;
    assert!(verdicts[0].combined.is_empty() && !verdicts[0].is_complete);
    assert_eq!(verdicts[0].rating("spam"), None);
}

#[test]
fn local_lists_come_first_and_the_longest_entry_counts() {
    let mut world = World::new(&[("a.example", 1.0)]);
    for (subject, local) in [
        ("good.example", Some((List::Allow, "good.example"))),
        ("mx.GOOD.example", Some((List::Allow, "good.example"))),
        ("a.bad.good.example", Some((List::Deny, "bad.good.example"))),
        ("notgood.example", None),
    ] {
        world.consult(subject);
        let (exchanges, verdicts, _) = world.drain();
        match local {
            Some((list, entry)) => {
                assert!(exchanges.is_empty(), "nobody is asked");
                assert_eq!(verdicts[0].local, Some((list, entry.to_owned())));
                assert!(verdicts[0].to_string().contains(entry));
            }
            None => assert_eq!((exchanges.len(), verdicts.len()), (1, 0)),
        }
    }
}

#[test]
fn what_does_not_count_is_explained() {
    let reputon =
        |samples| Reputon::new("r\u{1b}[31m", "spam", "x.example", Score::new(1.0).unwrap()).with_sample_size(samples);
    let now = UnixTime::from_secs(EPOCH);
    let said = [reputon(3), reputon(0), reputon(9).with_expires(5), reputon(9).with_generated(5)];
    let mut weighing = Weighing::default();
    weighing.max_age = Some(Duration::from_secs(100));
    let reputons = said.into_iter().map(|reputon| (service("a.example"), 1.0, reputon)).collect();
    let verdict = combine(&query("x.example"), reputons, &weighing, now);
    assert_eq!(verdict.combined["spam"].opinions, 1);
    let explained = verdict.to_string();
    for reason in ["too few samples", "expired", "too old"] {
        assert!(explained.contains(reason), "{explained}");
    }
    assert!(!explained.contains('\u{1b}'), "names from the network do not reach terminals as they are");
    for trust in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let verdict = combine(&query("x.example"), vec![(service("a.example"), trust, reputon(3))], &weighing, now);
        assert!(verdict.combined.is_empty(), "{trust}");
    }
}
