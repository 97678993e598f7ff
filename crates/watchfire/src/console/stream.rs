//! What happens, as it happens: server-sent events (HTML Living Standard, section 9.2).
//!
//! | event | data |
//! | --- | --- |
//! | `hello` | the number from which on events come |
//! | `alert` | the rows of one message |
//! | `answer`, `reputation`, `dots`, `star` | what happened |
//! | `gap` | something is missing before what follows: ask for all of it again |
//!
//! A reader holds nothing here but a number. Who reads more slowly than things happen misses some of them, and is told;
//! who does not read at all is cut off by the connection's time-out of writes.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::filter::Filter;
use super::hub::Hub;
use super::items::Happened;
use super::rows::rows;

/// What happens within this is sent together.
const GATHER: Duration = Duration::from_millis(40);
/// Events that are sent together.
const TOGETHER: usize = 256;

/// The times of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Something is sent at least so often, so that both ends notice when the other has gone.
    pub(super) beat: Duration,
    /// Then the stream ends: its reader comes again, and shows who he is.
    pub(super) lifetime: Duration,
}

struct Reader {
    hub: Hub,
    /// Different in each run, as numbers begin anew.
    run: String,
    cursor: u64,
    news: watch::Receiver<u64>,
    /// Of the process, and of the login.
    ends: [CancellationToken; 2],
    beat: Duration,
    until: Instant,
    has_begun: bool,
    is_lost: bool,
    _place: OwnedSemaphorePermit,
}

/// Events from the one after `resume` (what `Last-Event-ID` says), or from now on.
pub(super) fn events(
    hub: &Hub,
    run: &str,
    resume: Option<&str>,
    pace: Pace,
    ends: [CancellationToken; 2],
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + use<> {
    let last = hub.last();
    let known = resume.and_then(|id| id.strip_prefix(run)?.strip_prefix('-')?.parse().ok()).filter(|at| *at <= last);
    let reader = Reader {
        hub: hub.clone(),
        run: run.to_owned(),
        cursor: known.unwrap_or(last),
        news: hub.follow(),
        ends,
        beat: pace.beat,
        until: Instant::now() + pace.lifetime,
        has_begun: false,
        is_lost: resume.is_some() && known.is_none(),
        _place: place,
    };
    unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Option<String> {
        if !self.has_begun {
            self.has_begun = true;
            let mut text = String::from("retry: 1000\n");
            event(&mut text, &self.run, self.cursor, "hello", &self.cursor);
            if self.is_lost {
                event(&mut text, &self.run, self.cursor, "gap", &self.cursor);
            }
            return Some(text);
        }
        let beat = Instant::now() + self.beat;
        while *self.news.borrow_and_update() <= self.cursor {
            tokio::select! {
                () = self.ends[0].cancelled() => return None,
                () = self.ends[1].cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                () = tokio::time::sleep_until(beat) => return Some(":\n\n".to_owned()),
                changed = self.news.changed() => changed.ok()?,
            }
        }
        tokio::time::sleep(GATHER).await;
        let news = self.hub.after(self.cursor, TOGETHER);
        let mut text = String::new();
        if news.is_missing {
            event(&mut text, &self.run, self.cursor, "gap", &self.cursor);
        }
        for (number, item) in &news.items {
            let (run, name) = (&self.run, item.panel().name());
            match item {
                Happened::Alert(record) => {
                    event(&mut text, run, *number, name, &rows(record, &Filter::default()));
                }
                Happened::Answer(answer) => event(&mut text, run, *number, name, answer.as_ref()),
                Happened::Reputation(answer) => event(&mut text, run, *number, name, answer.as_ref()),
                Happened::Dots(change) => event(&mut text, run, *number, name, change.as_ref()),
                Happened::Star(change) => event(&mut text, run, *number, name, change.as_ref()),
            }
        }
        self.cursor = news.last;
        Some(if text.is_empty() { ":\n\n".to_owned() } else { text })
    }
}

fn event(into: &mut String, run: &str, number: u64, name: &str, data: &impl Serialize) {
    // JSON has no line feed outside of its escapes.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    into.push_str(&format!("id: {run}-{number}\nevent: {name}\ndata: {data}\n\n"));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::console::hub::HubLimits;
    use crate::store::AlertRecord;

    const PACE: Pace = Pace { beat: Duration::from_secs(3600), lifetime: Duration::from_secs(3600) };

    fn alert(name: &str) -> Arc<AlertRecord> {
        Arc::new(AlertRecord::now(name, "x/y", Bytes::from_static(b"a")))
    }

    async fn read(hub: &Hub, resume: Option<&str>, frames: usize) -> String {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let stream = events(hub, "run", resume, PACE, Default::default(), place);
        let frames: Vec<_> = stream.take(frames).collect().await;
        frames
            .into_iter()
            .map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_it_ended_or_is_told_that_it_cannot() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits { alerts: 3, ..HubLimits::default() });
        hub.tell_alerts(&[alert("one\ndata: x"), alert("two")]);
        let text = read(&hub, Some("run-1"), 2).await;
        assert!(
            text.starts_with("retry: 1000\nid: run-1\nevent: hello\ndata: 1\n\nid: run-2\nevent: alert\ndata: [{"),
            "{text}"
        );
        assert!(text.contains("\"sensor\":\"two\"") && !text.contains("event: gap"), "{text}");
        let text = read(&hub, Some("run-0"), 2).await;
        assert!(text.contains(r"one\ndata: x") && text.matches("event: alert").count() == 2, "{text}");
        hub.tell_alerts(&[alert("three"), alert("four"), alert("five")]);
        let text = read(&hub, Some("run-1"), 2).await;
        assert!(text.contains("event: gap") && text.matches("event: alert").count() == 3, "{text}");
        for unknown in ["old-1", "run-99", "run-x", ""] {
            assert!(read(&hub, Some(unknown), 1).await.contains("event: gap"), "{unknown}");
        }
        assert!(!read(&hub, None, 1).await.contains("event: gap"));
    }

    #[tokio::test]
    async fn a_stream_beats_and_ends_with_its_time_or_the_process() {
        let hub = Hub::default();
        hub.turn_on(&HubLimits::default());
        let shutdown = CancellationToken::new();
        let places = Arc::new(Semaphore::new(3));
        let open = |lifetime, login: &CancellationToken| {
            let pace = Pace { beat: Duration::from_millis(10), lifetime };
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            Box::pin(events(&hub, "run", None, pace, [shutdown.clone(), login.clone()], place))
        };
        let (login, other) = (CancellationToken::new(), CancellationToken::new());
        let (mut long, mut short) = (open(PACE.lifetime, &login), open(Duration::ZERO, &login));
        let mut left = open(PACE.lifetime, &other);
        for _ in 0..3 {
            assert!(long.next().await.is_some() && left.next().await.is_some());
        }
        let mut frames = 0;
        while short.next().await.is_some() {
            frames += 1;
        }
        assert!((1..=2).contains(&frames), "{frames}");
        other.cancel();
        assert!(left.next().await.is_none(), "its login ended");
        assert!(long.next().await.is_some());
        shutdown.cancel();
        assert!(long.next().await.is_none());
        drop((long, short, left));
        assert_eq!(places.available_permits(), 3);
    }
}
