//! What the benchmarks of functions share: cases that take turns, so that what else the machine does falls on all.

use std::time::{Duration, Instant};

/// One thing that is timed.
pub struct Case {
    run: Box<dyn Fn(u32)>,
    /// Runs in a batch.
    runs: u32,
    /// Nanoseconds for one run, of each batch.
    times: Vec<f64>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("runs", &self.runs).field("batches", &self.times.len()).finish_non_exhaustive()
    }
}

impl Case {
    /// What `run` does so many times, in batches of at least two milliseconds.
    pub fn new(run: impl Fn(u32) + 'static) -> Self {
        let mut runs = 1;
        loop {
            let start = Instant::now();
            run(runs);
            if start.elapsed() > Duration::from_millis(2) {
                return Self { run: Box::new(run), runs, times: Vec::new() };
            }
            runs *= 2;
        }
    }

    /// The smallest time of a batch, in nanoseconds for one run.
    pub fn least(&self) -> f64 {
        self.times.first().copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.times.get(self.times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// How many batches there were.
    pub fn batches(&self) -> usize {
        self.times.len()
    }
}

/// Runs a batch of each in turn until the time is over.
pub fn measure<'a>(cases: impl IntoIterator<Item = &'a mut Case>, duration: Duration) {
    let mut cases: Vec<&mut Case> = cases.into_iter().collect();
    let start = Instant::now();
    while start.elapsed() < duration {
        for case in &mut cases {
            let batch = Instant::now();
            (case.run)(case.runs);
            case.times.push(batch.elapsed().as_secs_f64() * 1e9 / f64::from(case.runs));
        }
    }
    for case in cases {
        case.times.sort_by(f64::total_cmp);
    }
}

/// The seconds that an argument of the program allows, or so many.
pub fn seconds(otherwise: u64) -> u64 {
    std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(otherwise)
}
