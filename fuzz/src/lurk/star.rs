//! Schedules, orders and timers under any clock.

use acme_lurk::star::{AutoRenewal, Fraction, Look, RollTimer, Schedule, Served, StarBook, StarOrder, Task};
use acme_lurk::time::{format_http_date, format_rfc3339, parse_http_date, parse_rfc3339};
use arbitrary::{Arbitrary, Unstructured};
use watchfire_core::UnixTime;

#[derive(Debug, Arbitrary)]
struct Script {
    first: i64,
    before: u32,
    span: u64,
    lifetime: u64,
    adjust: u64,
    fraction: u16,
    steps: Vec<(i32, Step)>,
}

#[derive(Debug, Arbitrary)]
enum Step {
    Go,
    Restart,
    Fail,
    Cancel,
    Late(u8),
    Far(i64),
}

/// The octets are a schedule and what happens.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(time) = parse_rfc3339(text) {
            assert_eq!(parse_rfc3339(&format_rfc3339(time)), Some(time));
        }
        if let Some(time) = parse_http_date(text) {
            assert_eq!(parse_http_date(&format_http_date(time)), Some(time));
        }
    }
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(data)) else { return };
    let at = UnixTime::from_secs;
    let earliest = script.first.saturating_sub(i64::from(script.before));
    let end = script.first.saturating_add_unsigned(script.span);
    let fraction = Fraction::from_thousandths(500 + script.fraction % 500).expect("from 500 to 999");
    let schedule = Schedule::new(at(script.first), at(earliest), at(end), script.lifetime, script.adjust, fraction);
    let Ok(schedule) = schedule else {
        assert!(script.lifetime == 0 || end <= script.first);
        return;
    };
    let last = schedule.slot(schedule.count() - 1).expect("there is a last one");
    assert!(last.is_last && last.not_after == at(end) && schedule.slot(schedule.count()).is_none());
    let mut order = StarOrder::new(schedule);
    let mut book = StarBook::new(2);
    let id = book.insert(order.clone(), ()).expect("there is room");
    let mut timer = RollTimer::new(&AutoRenewal::new(schedule.end(), schedule.lifetime()), [3; 32]);
    let (mut now, mut high, mut canceled) = (script.first, i64::MIN, false);
    let mut newest = None;
    for (step, what) in script.steps.into_iter().take(64) {
        now = now.saturating_add(i64::from(step));
        if let Step::Far(far) = what {
            now = far;
        }
        high = high.max(now);
        match what {
            Step::Restart => order = StarOrder::restore(schedule, order.snapshot()),
            Step::Cancel => canceled |= order.cancel(at(now)).is_ok(),
            Step::Late(index) => {
                let is_news = newest.is_none_or(|newest| u64::from(index) > newest);
                if order.issued(at(now), u64::from(index)) {
                    assert!(is_news && !canceled);
                    newest = Some(u64::from(index));
                }
            }
            _ => {}
        }
        for turn in 0.. {
            assert!(turn < 4, "no burst");
            let Some(task) = order.task(at(now)) else { break };
            let Task::Issue(slot) = task else { continue };
            assert!(
                !canceled && Some(slot) == schedule.due(at(high)) && newest.is_none_or(|newest| newest < slot.index)
            );
            assert!(slot.not_before <= slot.publish && slot.publish <= at(high) && slot.not_after <= schedule.end());
            if matches!(what, Step::Fail) {
                order.failed(at(now));
                break;
            }
            assert!(order.issued(at(now), slot.index));
            newest = Some(slot.index);
            match timer.installed(at(now), slot.not_after) {
                Look::At(next) => assert!(next > at(now) || now == i64::MAX),
                Look::Never => assert!(slot.is_last),
                _ => panic!("nothing is late yet"),
            }
        }
        if let Served::Certificate(slot) = order.serve(at(now)) {
            assert!(Some(slot.index) == newest && !canceled && at(high) < schedule.end());
        }
        for turn in 0.. {
            assert!(turn < 4, "no burst");
            let Some(event) = book.poll(at(now)) else { break };
            if let Task::Issue(slot) = event.task {
                let _ = book.issued(at(now), id, slot.index);
            }
        }
    }
}
