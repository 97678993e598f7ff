//! Progress of long work, for a person who watches.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that tells how far the work is. Draws nothing when standard output or standard error is
/// not a terminal, or with `--json`.
#[derive(Debug, Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts; without a total only the count is shown.
    pub fn new(json: bool, what: &'static str, total: Option<u64>) -> Self {
        if json || !std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(5));
        let template = match total {
            Some(_) => "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta}",
            None => "{spinner} {msg} {human_pos} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// So much more is done.
    pub fn add(&self, count: u64) {
        self.0.inc(count);
    }

    /// Whether anything is drawn.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
