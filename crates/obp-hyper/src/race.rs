//! Racing a list of addresses (RFC 8305 section 5): the first that connects wins.
//!
//! The broker has put the list in order, so nothing is sorted here: attempts start in the order of the list (OBP-027),
//! each a moment after the one before, or at once when that one has failed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How the race is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Race {
    /// Between the starts of two attempts while nothing has failed; RFC 8305 section 8 recommends 250 ms, and not less
    /// than 100 ms.
    pub attempt_delay: Duration,
    /// For one attempt.
    pub attempt_timeout: Duration,
    /// For all of them together.
    pub timeout: Duration,
    /// Attempts under way at the same time.
    pub at_once: usize,
}

impl Default for Race {
    fn default() -> Self {
        Self {
            attempt_delay: Duration::from_millis(250),
            attempt_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            at_once: 4,
        }
    }
}

/// The winner: what was made, and where in the list it stood.
#[derive(Debug)]
#[non_exhaustive]
pub struct Won<T> {
    /// What the attempt gave.
    pub value: T,
    /// Position in the list, from 0.
    pub index: usize,
    /// Where it leads.
    pub address: SocketAddr,
}

/// Why nobody won.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaceError {
    /// The list was empty.
    #[error("there is no address to connect to")]
    NoAddress,
    /// Every attempt failed; this is the first failure, of the address that was preferred most.
    #[error("none of {tried} addresses could be reached; {address}: {error}")]
    AllFailed {
        /// How many were tried.
        tried: usize,
        /// The preferred address.
        address: SocketAddr,
        /// What was wrong with it.
        error: io::Error,
    },
    /// It took longer than [`Race::timeout`].
    #[error("none of {tried} addresses answered within {limit:?}")]
    TimedOut {
        /// How many were tried.
        tried: usize,
        /// The limit.
        limit: Duration,
    },
}

impl Race {
    /// Connects by TCP, without Nagle's delay.
    ///
    /// # Errors
    /// When no address can be reached in time.
    pub async fn connect(&self, addresses: &[SocketAddr]) -> Result<Won<TcpStream>, RaceError> {
        self.run(addresses, |address| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
        .await
    }

    /// Runs any kind of attempt. Attempts that are not needed any more are dropped.
    ///
    /// # Errors
    /// When none succeeds in time.
    pub async fn run<T, F, A>(&self, addresses: &[SocketAddr], attempt: F) -> Result<Won<T>, RaceError>
    where
        T: Send + 'static,
        F: Fn(SocketAddr) -> A,
        A: Future<Output = io::Result<T>> + Send + 'static,
    {
        let end = Instant::now() + self.timeout;
        let mut waiting = addresses.iter().copied().enumerate();
        let mut running: JoinSet<(usize, SocketAddr, io::Result<T>)> = JoinSet::new();
        let mut first_failure: Option<(usize, SocketAddr, io::Error)> = None;
        let (mut tried, mut next_start) = (0, Instant::now());
        loop {
            let may_start = running.len() < self.at_once.max(1) && tried < addresses.len();
            if running.is_empty() && !may_start {
                break;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => {
                    return Err(RaceError::TimedOut { tried, limit: self.timeout });
                }
                Some(ended) = running.join_next() => {
                    // An attempt that panicked is one that failed.
                    let Ok((index, address, result)) = ended else { continue };
                    match result {
                        Ok(value) => return Ok(Won { value, index, address }),
                        Err(error) => {
                            if first_failure.as_ref().is_none_or(|(first, ..)| index < *first) {
                                first_failure = Some((index, address, error));
                            }
                            next_start = Instant::now();
                        }
                    }
                }
                () = tokio::time::sleep_until(next_start), if may_start => {
                    let Some((index, address)) = waiting.next() else { continue };
                    let (attempt, limit) = (attempt(address), self.attempt_timeout);
                    running.spawn(async move {
                        let result = tokio::time::timeout(limit, attempt).await;
                        (index, address, result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
                    });
                    tried += 1;
                    next_start = Instant::now() + self.attempt_delay;
                }
            }
        }
        match first_failure {
            Some((_, address, error)) => Err(RaceError::AllFailed { tried, address, error }),
            None => Err(RaceError::NoAddress),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn list(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|n| SocketAddr::from(([192, 0, 2, n], 443))).collect()
    }

    /// What becomes of an attempt, and after how long.
    type Course = (Duration, bool);

    async fn race(courses: &[Course], race: Race) -> (Result<Won<u8>, RaceError>, Vec<(u8, Duration)>) {
        let starts = Arc::new(Mutex::new(Vec::new()));
        let began = Instant::now();
        let courses: Arc<[Course]> = courses.into();
        let won = race
            .run(&list(courses.len() as u8), |address| {
                let SocketAddr::V4(address) = address else { unreachable!() };
                let n = address.ip().octets()[3];
                starts.lock().unwrap().push((n, began.elapsed()));
                let (after, works) = courses[usize::from(n) - 1];
                async move {
                    tokio::time::sleep(after).await;
                    if works { Ok(n) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
                }
            })
            .await;
        let starts = starts.lock().unwrap().clone();
        (won, starts)
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test(start_paused = true)]
    async fn the_preferred_address_wins_when_it_answers_in_time() {
        let (won, starts) = race(&[(MS(200), true), (MS(1), true)], Race::default()).await;
        assert_eq!(won.unwrap().index, 0);
        assert_eq!(starts.len(), 1, "the second never started");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_is_overtaken_after_the_attempt_delay() {
        let (won, starts) = race(&[(MS(60_000), true), (MS(1), true)], Race::default()).await;
        assert_eq!(won.unwrap().value, 2);
        assert!(starts[1].1 >= MS(250) && starts[1].1 < MS(260), "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_next_starts_at_once() {
        let (won, starts) = race(&[(MS(5), false), (MS(5), false), (MS(5), true)], Race::default()).await;
        assert_eq!(won.unwrap().index, 2);
        assert!(starts[2].1 < MS(20), "{starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_preferred_one_is_blamed() {
        let (won, _) = race(&[(MS(90), false), (MS(5), false)], Race::default()).await;
        match won.unwrap_err() {
            RaceError::AllFailed { tried: 2, address, .. } => assert_eq!(address, list(1)[0]),
            other => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_in_time_and_never_runs_too_many_at_once() {
        let limits = Race { timeout: MS(3000), at_once: 2, ..Race::default() };
        let (won, starts) = race(&[(MS(60_000), true); 5], limits).await;
        assert!(matches!(won, Err(RaceError::TimedOut { tried: 2, .. })), "{won:?}");
        assert_eq!(starts.len(), 2);
        let limits = Race { attempt_timeout: MS(1000), ..limits };
        let (won, starts) = race(&[(MS(60_000), true); 3], limits).await;
        assert!(matches!(won, Err(RaceError::AllFailed { tried: 3, .. })), "{won:?}");
        assert_eq!(starts.len(), 3);
    }

    #[tokio::test]
    async fn an_empty_list_is_an_error_and_real_sockets_connect() {
        assert!(matches!(Race::default().connect(&[]).await, Err(RaceError::NoAddress)));
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let won = Race::default().connect(&[closed, open.local_addr().unwrap()]).await.unwrap();
        assert_eq!(won.index, 1);
    }
}
