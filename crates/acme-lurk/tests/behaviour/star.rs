//! STAR: the schedules of the vectors, and what must hold for any schedule, clock, outage and restart.

use std::collections::BTreeSet;

use acme_lurk::star::{
    Adjusted, AutoRenewal, CertificateHeaders, Fraction, Look, RollTimer, Schedule, ScheduleError, Served, Slot,
    StarBook, StarEvent, StarMeta, StarOrder, StarPolicy, StarRefusal, StarState, Task, cache_max_age, etag,
    is_not_modified,
};
use acme_lurk::time::parse_rfc3339;
use proptest::prelude::*;
use serde_json::{Value, json};
use watchfire_core::UnixTime;

use crate::support;

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn time(value: &Value) -> UnixTime {
    parse_rfc3339(value.as_str().unwrap()).unwrap()
}

fn auto_renewal(value: &Value) -> Result<AutoRenewal, acme_lurk::DecodeError> {
    let text = serde_json::to_vec(value).unwrap();
    AutoRenewal::from_value(jsonbcd::text::from_slice(&text).unwrap(), "order.auto-renewal")
}

#[test]
fn schedules_are_those_of_the_vectors() {
    let vectors = support::json("star-timing/vectors.json");
    assert_eq!(vectors.as_array().unwrap().len(), 6);
    for vector in vectors.as_array().unwrap() {
        let asked = auto_renewal(&vector["auto-renewal"]).unwrap();
        let thousandths = (vector["f"].as_f64().unwrap() * 1000.0) as u16;
        let fraction = Fraction::from_thousandths(thousandths).unwrap();
        let start = asked.start.unwrap();
        let schedule = Schedule::new(start, start, asked.end, asked.lifetime, asked.lifetime_adjust, fraction).unwrap();
        let certificates = vector["certs"].as_array().unwrap();
        assert_eq!(schedule.count(), certificates.len() as u64, "{}", vector["name"]);
        for certificate in certificates {
            let index = certificate["i"].as_u64().unwrap();
            let slot = schedule.slot(index).unwrap();
            let expected = ["nrd", "notBefore", "notAfter", "publish_at"].map(|name| time(&certificate[name]));
            assert_eq!([slot.renewal, slot.not_before, slot.not_after, slot.publish], expected, "{}", vector["name"]);
            assert_eq!(slot.is_last, index + 1 == schedule.count());
        }
        assert_eq!(schedule.slot(schedule.count()), None);
    }
    assert_eq!([499, 500, 999, 1000].map(Fraction::from_thousandths).map(|f| f.is_some()), [false, true, true, false]);
    let new = |end, lifetime| Schedule::new(at(10), at(10), at(end), lifetime, 0, Fraction::HALF);
    assert_eq!((new(10, 5), new(20, 0)), (Err(ScheduleError::Ended), Err(ScheduleError::Lifetime)));
    assert_eq!(new(i64::MAX, u64::MAX).unwrap().count(), 1);
}

#[test]
fn values_are_what_the_document_says() {
    let good = json!({"end-date": "2021-04-20T00:00:00Z", "lifetime": 345_600, "allow-certificate-get": true});
    let read = auto_renewal(&good).unwrap();
    assert_eq!(read, AutoRenewal::new(at(1_618_876_800), 345_600).with_certificate_get(true));
    let written = jsonbcd::text::to_string(&jsonbcd::Value::Object(read.to_object())).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), good);
    for (name, value) in [
        ("end-date", Value::Null),
        ("end-date", json!("2021-04-20")),
        ("end-date", json!(1_618_876_800)),
        ("start-date", json!("tomorrow")),
        ("lifetime", Value::Null),
        ("lifetime", json!(0)),
        ("lifetime", json!(-1)),
        ("lifetime", json!(345_600.0)),
        ("lifetime", json!("345600")),
        ("lifetime-adjust", json!(1.5)),
        ("allow-certificate-get", json!("yes")),
        ("allow-certificate-get", json!(1)),
    ] {
        let mut bad = good.clone();
        match value {
            Value::Null => drop(bad.as_object_mut().unwrap().remove(name)),
            _ => bad[name] = value,
        }
        assert_eq!(auto_renewal(&bad).unwrap_err().path(), format!("order.auto-renewal.{name}"), "{bad}");
    }
    let huge = br#"{"end-date":"2021-04-20T00:00:00Z","lifetime":18446744073709551616}"#;
    assert!(AutoRenewal::from_value(jsonbcd::text::from_slice(huge).unwrap(), "x").is_err());
    assert_eq!(read.lint(at(1_618_000_000)), Vec::<&str>::new());
    let unwise = AutoRenewal::new(at(99_000_000), 400_000).with_start(at(9_000_000));
    assert_eq!(unwise.lint(at(0)).len(), 2);
}

#[test]
fn a_ca_takes_what_its_directory_says_or_adjusts_it() {
    let meta = StarMeta::new(3600, 86_400, false);
    let value = jsonbcd::Value::Object(meta.to_object());
    assert_eq!(StarMeta::from_value(value, "meta"), Ok(meta));
    let figure = support::json("rfc8739/directory-fig5.json");
    let text = serde_json::to_vec(&figure["meta"]["auto-renewal"]).unwrap();
    let figure = StarMeta::from_value(jsonbcd::text::from_slice(&text).unwrap(), "meta").unwrap();
    assert_eq!(figure, StarMeta::new(86_400, 31_536_000, true));
    let policy = StarPolicy::new(meta);
    let adjusting = policy.with_adjusted(Adjusted::Always);
    let now = at(1_000_000);
    let end = |secs: i64| at(1_000_000 + secs);
    let good = AutoRenewal::new(end(86_400), 3600).with_lifetime_adjust(60);
    assert_eq!(policy.accept(&good, now), Ok(good));
    for (asked, refusal, adjusted) in [
        (AutoRenewal::new(end(0), 3600), StarRefusal::Ended, None),
        (AutoRenewal::new(end(50), 3600).with_start(end(50)), StarRefusal::EndBeforeStart, None),
        (AutoRenewal::new(end(86_400), 3599), StarRefusal::Lifetime { min: 3600 }, Some((3600, 86_400))),
        (AutoRenewal::new(end(86_401), 3600), StarRefusal::Duration { max: 86_400 }, Some((3600, 86_400))),
        (
            AutoRenewal::new(end(99_999), 3600).with_start(end(99)),
            StarRefusal::Duration { max: 86_400 },
            Some((3600, 86_499)),
        ),
    ] {
        assert_eq!(policy.accept(&asked, now), Err(refusal));
        match adjusted {
            None => assert_eq!(adjusting.accept(&asked, now), Err(refusal), "this is never adjusted"),
            Some((lifetime, last)) => {
                let agreed = adjusting.accept(&asked, now).unwrap();
                assert_eq!((agreed.lifetime, agreed.end, agreed.start), (lifetime, end(last), asked.start));
            }
        }
    }
    let agreed = policy.accept(&good.with_certificate_get(true).with_lifetime_adjust(9999), now).unwrap();
    assert_eq!(agreed.allow_certificate_get, Some(false), "not offered, and said so");
    assert_eq!(agreed.lifetime_adjust, 3600, "never more than the lifetime");
    // An order that began in the past is asked for what is left of it.
    let old = AutoRenewal::new(end(1000), 3600).with_start(at(0));
    assert_eq!(policy.accept(&old, now), Ok(old));
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (0..2_000_000_000_i64, 0..100_000_i64, 1..4_000_000_u64, 1..200_000_u64, 0..400_000_u64, 500..1000_u16).prop_map(
        |(first, before, span, lifetime, adjust, fraction)| {
            let end = first.saturating_add_unsigned(span);
            let fraction = Fraction::from_thousandths(fraction).unwrap();
            Schedule::new(at(first), at(first - before), at(end), lifetime, adjust, fraction).unwrap()
        },
    )
}

/// The slots at the beginning and at the end, which is where they differ.
fn some_slots(schedule: &Schedule) -> Vec<Slot> {
    let last = schedule.count() - 1;
    let indices: BTreeSet<u64> = (0..=last.min(5)).chain(last.saturating_sub(5)..=last).collect();
    indices.into_iter().map(|index| schedule.slot(index).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_schedule_leaves_no_gap_and_ends_in_time(schedule in schedules()) {
        let (lifetime, end) = (schedule.lifetime(), schedule.end());
        for slot in some_slots(&schedule) {
            prop_assert!(slot.not_before <= slot.publish, "valid when published");
            prop_assert!(slot.not_before < slot.not_after && slot.not_after <= end);
            prop_assert!(slot.not_after.as_secs().abs_diff(slot.renewal.as_secs()) <= lifetime);
            prop_assert_eq!(slot.is_last, slot.not_after == end);
            // What is due at each of its moments is this one, or one that is published by then.
            let due = schedule.due(slot.publish).unwrap();
            prop_assert!(due.index >= slot.index && due.publish <= slot.publish);
            let before = schedule.due(at(slot.publish.as_secs() - 1));
            prop_assert!(before.is_none_or(|before| before.index < slot.index));
            let Some(next) = schedule.slot(slot.index + 1) else { continue };
            prop_assert_eq!(next.renewal, slot.not_after, "one after the other");
            let half = 2 * next.publish.as_secs() <= 2 * next.renewal.as_secs() - i64::try_from(lifetime).unwrap();
            prop_assert!(half, "published when half of the nominal period is left");
            prop_assert!(next.publish.as_secs() >= slot.renewal.as_secs(), "not before the one before it is due");
        }
    }

    #[test]
    fn an_order_is_served_without_gap_whatever_the_clock_does(
        schedule in schedules(),
        steps in proptest::collection::vec((-50_000..200_000_i64, 0..10_u8), 1..60),
    ) {
        let mut order = StarOrder::new(schedule);
        let mut now = schedule.slot(0).unwrap().publish.as_secs() - 10;
        let mut high = now;
        let mut issued: Vec<u64> = Vec::new();
        let (mut canceled, mut failing) = (false, false);
        for (step, what) in steps {
            now += step;
            high = high.max(now);
            match what {
                0 => order = StarOrder::restore(schedule, order.snapshot()),
                1 => {
                    let before = order.current();
                    canceled |= order.cancel(at(now)).is_ok();
                    prop_assert!(!canceled || before.is_some());
                }
                _ => {}
            }
            let mut tasks = 0;
            while let Some(task) = order.task(at(now)) {
                tasks += 1;
                prop_assert!(tasks < 5, "no burst");
                let Task::Issue(slot) = task else { continue };
                prop_assert!(!canceled, "nothing is made after a cancellation");
                prop_assert_eq!(Some(slot), schedule.due(at(high)), "the one of this moment, none that was missed");
                prop_assert!(slot.publish <= at(high) && at(high) < schedule.end());
                if what == 2 {
                    order.failed(at(now));
                    failing = true;
                    let is_later = order.task(at(now)).is_none_or(|task| !matches!(task, Task::Issue(_)));
                    prop_assert!(is_later, "not again at once");
                    break;
                }
                prop_assert!(order.issued(at(now), slot.index));
                prop_assert!(!order.issued(at(now), slot.index), "once");
                failing = false;
                issued.push(slot.index);
            }
            match order.serve(at(now)) {
                Served::Canceled => prop_assert!(canceled),
                Served::Expired => prop_assert!(at(high) >= schedule.end()),
                Served::Certificate(slot) => {
                    prop_assert!(!canceled && at(high) < schedule.end());
                    prop_assert!(slot.not_before <= at(high));
                    prop_assert!(failing || at(high) < slot.not_after, "what is served is valid");
                }
                Served::NotYet => prop_assert!(order.current().is_none() && (failing || at(high) < schedule.slot(0).unwrap().publish)),
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(order.state(at(now)) == StarState::Canceled, canceled);
        }
        prop_assert!(issued.windows(2).all(|pair| pair[0] < pair[1]), "each once and in order: {:?}", issued);
    }

    #[test]
    fn whoever_polls_when_told_has_every_certificate_in_time(schedule in schedules(), seed in any::<[u8; 32]>()) {
        // A server that publishes exactly as the schedule says, and a client that looks exactly when the timer says.
        let agreed = AutoRenewal::new(schedule.end(), schedule.lifetime())
            .with_lifetime_adjust(schedule.pad());
        let mut timer = RollTimer::new(&agreed, seed);
        let mut installed = schedule.slot(0).unwrap();
        let mut now = installed.publish;
        let mut look = timer.installed(now, installed.not_after);
        let mut looks = 0_u32;
        let mut since = 0_u32;
        while looks < 200 {
            let (Look::At(next) | Look::Alarm(next)) = look else { break };
            prop_assert!(next > now, "time goes on");
            prop_assert!(!matches!(look, Look::Alarm(_)), "nothing is late");
            now = next;
            looks += 1;
            since += 1;
            let served = schedule.due(now).unwrap();
            look = if served.index > installed.index {
                prop_assert!(now < installed.not_after || schedule.lifetime() < 8, "in time: {:?} at {:?}", installed, now);
                installed = served;
                since = 0;
                timer.installed(now, installed.not_after)
            } else {
                timer.unchanged(now, None)
            };
            prop_assert!(since < 40, "no tight loop");
        }
        prop_assert_eq!(look == Look::Never, installed.not_after == schedule.end());
    }
}

#[test]
fn alarms_come_once_and_before_the_certificate_runs_out() {
    let agreed = AutoRenewal::new(at(1_000_000), 6400).with_lifetime_adjust(1000);
    let mut timer = RollTimer::new(&agreed, [7; 32]);
    assert_eq!(timer.installed(at(0), at(6400)), Look::At(at(3200)), "half of the lifetime before its end");
    assert_eq!(timer.alarm_at(), at(3200));
    let Look::Alarm(next) = timer.unchanged(at(3200), None) else { panic!() };
    let mut now = next;
    let mut looks = 1;
    while now < at(6400) {
        let Look::At(next) = timer.unchanged(now, None) else { panic!("once") };
        assert!(next > now);
        (now, looks) = (next, looks + 1);
    }
    assert!((5..40).contains(&looks), "{looks}");
    // Retry-After is obeyed, but not so long that the certificate runs out.
    timer.installed(at(0), at(6400));
    let Look::Alarm(next) = timer.unchanged(at(3300), Some(1200)) else { panic!() };
    assert_eq!(next, at(4500));
    assert_eq!(timer.unchanged(at(4500), Some(u64::MAX)), Look::At(at(4800)));
    assert_eq!(timer.installed(at(0), at(1_000_000)), Look::Never);
    let early = AutoRenewal::new(at(1_000_000), 6400).with_lifetime_adjust(5000);
    assert_eq!(RollTimer::new(&early, [7; 32]).installed(at(0), at(6400)), Look::At(at(1400)));
}

fn hourly(start: i64, hours: i64) -> Schedule {
    Schedule::new(at(start), at(start), at(start + hours * 3600), 3600, 0, Fraction::HALF).unwrap()
}

#[test]
fn orders_go_from_valid_to_canceled_or_expired() {
    let mut order = StarOrder::new(hourly(0, 3));
    assert_eq!((order.serve(at(0)), order.cancel(at(0)).is_err()), (Served::NotYet, true), "not valid yet");
    let Some(Task::Issue(first)) = order.task(at(0)) else { panic!() };
    assert!(order.issued(at(0), first.index));
    assert_eq!(order.serve(at(1)), Served::Certificate(first));
    assert_eq!(order.wake(), Some(at(1800)), "the second is due at half time");
    let mut expired = order.clone();
    assert_eq!(order.cancel(at(10)), Ok(()));
    assert_eq!((order.serve(at(11)), order.state(at(11))), (Served::Canceled, StarState::Canceled));
    assert!(order.cancel(at(12)).is_err(), "only once");
    assert_eq!((order.task(at(5000)), order.wake()), (None, None));
    assert!(!order.issued(at(13), 1), "one that was being made is of no use");
    assert_eq!(order.current(), Some(first), "residual validity is known");
    // Another one runs out. It can still be canceled: its status is valid.
    assert_eq!(expired.task(at(3 * 3600)), Some(Task::Expired));
    assert_eq!((expired.task(at(3 * 3600)), expired.wake()), (None, None));
    assert_eq!(expired.serve(at(3 * 3600)), Served::Expired);
    assert_eq!(expired.serve(at(0)), Served::Expired, "a clock that goes back does not bring it to life");
    assert_eq!((expired.cancel(at(3 * 3600)), expired.serve(at(20_000))), (Ok(()), Served::Canceled));
}

#[test]
fn failures_are_retried_ever_later_and_gaps_are_said_once() {
    let mut order = StarOrder::new(hourly(0, 9));
    assert!(matches!(order.task(at(0)), Some(Task::Issue(_))) && order.issued(at(0), 0));
    let mut pauses = Vec::new();
    let mut now = 1800;
    let mut gaps = 0;
    while now < 7200 {
        match order.task(at(now)) {
            Some(Task::Issue(slot)) => {
                assert_eq!(slot.index, if now < 5400 { 1 } else { 2 }, "the one of the moment");
                order.failed(at(now));
                pauses.push(order.wake().unwrap().as_secs() - now);
            }
            Some(Task::Gap(slot)) => {
                assert_eq!((slot.index, now), (0, 3600), "when the first has run out");
                gaps += 1;
            }
            _ => {}
        }
        now = order.wake().unwrap().as_secs().max(now);
    }
    assert_eq!(gaps, 1);
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 64, 128]);
    assert!(pauses.len() < 60 && pauses[8..].iter().all(|pause| *pause <= 225), "{pauses:?}");
    // Down for hours: one certificate, that of the moment.
    let mut order = StarOrder::restore(hourly(0, 9), order.snapshot());
    assert!(matches!(order.task(at(20_000)), Some(Task::Gap(_))));
    let Some(Task::Issue(slot)) = order.task(at(20_000)) else { panic!() };
    assert_eq!((slot.index, order.issued(at(20_000), slot.index), order.task(at(20_000))), (6, true, None));
}

#[test]
fn the_book_finds_what_is_due_among_a_hundred_thousand() {
    const ORDERS: usize = 100_000;
    let mut book = StarBook::new(ORDERS);
    for number in 0..ORDERS {
        let start = i64::try_from(number % 3600).unwrap();
        let id = book.insert(StarOrder::new(hourly(start, 50)), number).unwrap();
        assert_eq!(id.as_u64(), number as u64);
    }
    assert_eq!((book.len(), book.insert(StarOrder::new(hourly(0, 1)), 7)), (ORDERS, Err(7)), "a book has a limit");
    let mut made = 0;
    for now in 0..3600 {
        assert!(book.wake().unwrap() >= at(now) || now == 0);
        while let Some(StarEvent { id, task, .. }) = book.poll(at(now)) {
            let Task::Issue(slot) = task else { panic!("{task:?}") };
            assert!(slot.publish == at(now), "in the second in which it is due");
            assert!(book.issued(at(now), id, slot.index));
            made += 1;
        }
    }
    // Each had its first, and those that began in the first half hour their second.
    assert_eq!(made, ORDERS + (0..ORDERS).filter(|number| number % 3600 < 1800).count());
}

#[test]
fn the_book_keeps_to_each_order() {
    let mut book = StarBook::new(10);
    let one = book.insert(StarOrder::new(hourly(0, 2)), "one").unwrap();
    let two = book.insert(StarOrder::new(hourly(0, 2)), "two").unwrap();
    let mut asked = Vec::new();
    while let Some(event) = book.poll(at(0)) {
        asked.push(event.id);
    }
    assert_eq!(asked, [one, two]);
    assert_eq!(book.wake(), Some(at(60)), "being made: not asked again for a minute");
    assert!(book.issued(at(1), one, 0));
    book.failed(at(1), two);
    assert_eq!((book.wake(), book.poll(at(1))), (Some(at(2)), None));
    assert!(matches!(book.poll(at(2)), Some(StarEvent { id, task: Task::Issue(_), .. }) if id == two));
    assert_eq!(book.serve(at(2), one).unwrap().1, &"one");
    assert_eq!((book.cancel(at(3), one), book.cancel(at(3), one).is_err()), (Ok(()), true));
    assert!(matches!(book.serve(at(3), one), Some((Served::Canceled, _))));
    *book.data_mut(one).unwrap() = "changed";
    assert_eq!(book.get(one).unwrap().1, &"changed");
    assert_eq!(book.remove(two).unwrap().1, "two");
    assert!(book.cancel(at(3), two).is_err() && !book.issued(at(3), two, 1) && book.serve(at(3), two).is_none());
    assert_eq!((book.poll(at(9999)), book.wake(), book.is_empty()), (None, None, false));
}

#[test]
fn responses_say_how_long_the_certificate_is_good() {
    let schedule = hourly(1_570_060_800, 2);
    let (first, last) = (schedule.slot(0).unwrap(), schedule.slot(1).unwrap());
    let headers = CertificateHeaders::of(first.not_before, first.not_after);
    let fields: Vec<(&str, String)> = headers.fields().collect();
    assert_eq!(fields[0], ("cert-not-before", "Thu, 03 Oct 2019 00:00:00 GMT".into()));
    assert_eq!(fields[1], ("cert-not-after", "Thu, 03 Oct 2019 01:00:00 GMT".into()));
    let read = CertificateHeaders::read(fields.iter().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(read, headers);
    assert!(headers.agree_with(first.not_before, first.not_after) && !headers.agree_with(at(0), first.not_after));
    // Figure 6 of the document has days of one digit.
    let figure = String::from_utf8(support::file("rfc8739/get-fig6-response-head.http")).unwrap();
    let read = CertificateHeaders::read(figure.lines().filter_map(|line| line.split_once(": ")));
    assert_eq!(read, CertificateHeaders::of(at(1_570_060_800), at(1_570_665_600)));
    let twice = [("Cert-Not-After", "Thu, 03 Oct 2019 00:00:00 GMT"); 2];
    assert_eq!(CertificateHeaders::read(twice), CertificateHeaders::default(), "one that stands twice does not count");
    let now = |secs: i64| at(1_570_060_800 + secs);
    assert_eq!(cache_max_age(&schedule, &first, now(0)), 1800, "until the next is published");
    assert_eq!(cache_max_age(&schedule, &first, now(1799)), 1);
    assert_eq!(cache_max_age(&schedule, &first, now(1801)), 0);
    assert_eq!(cache_max_age(&schedule, &last, now(7000)), 200, "until it runs out");
    let tag = etag(b"chain");
    assert!(tag.starts_with('"') && tag.len() == 45 && tag != etag(b"chain2"));
    for (field, is_same) in [
        (tag.clone(), true),
        (format!("W/{tag}"), true),
        (format!("\"x\", {tag}"), true),
        ("*".into(), true),
        ("\"x\"".into(), false),
        (tag.trim_matches('"').to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(is_not_modified(&field, &tag), is_same, "{field}");
    }
}
