//! The reader on a thread of its own.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Batch, Position, Step, Tail, TailError, TailOptions};

/// How long to wait at the end of a file before looking again.
const PAUSE: Duration = Duration::from_millis(100);

/// Batches of a reader that works ahead by at most the queue.
#[derive(Debug)]
pub struct Tailer {
    batches: mpsc::Receiver<Result<Batch, TailError>>,
}

impl Tailer {
    /// The next batch; `None` after the last, when not following. Cancel safe. Reading stops when this is dropped.
    pub async fn next(&mut self) -> Option<Result<Batch, TailError>> {
        self.batches.recv().await
    }
}

/// Starts reading at `position`, with `queue` batches read ahead at most.
///
/// The thread ends soon after the [`Tailer`] is dropped; one that waits for standard input or a FIFO ends with the
/// process.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(options: TailOptions, position: Option<Position>, queue: usize) -> std::io::Result<Tailer> {
    let (sender, batches) = mpsc::channel(queue.max(1));
    std::thread::Builder::new().name("tail".into()).spawn(move || {
        if let Err(error) = run(options, position, &sender) {
            // Nobody listens: nobody to tell.
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    Ok(Tailer { batches })
}

fn run(
    options: TailOptions,
    position: Option<Position>,
    sender: &mpsc::Sender<Result<Batch, TailError>>,
) -> Result<(), TailError> {
    let path = options.path.clone();
    let mut tail = Tail::open(options, position)?;
    let mut lost = 0;
    while !sender.is_closed() {
        match tail.step()? {
            Step::Batch(batch) => {
                for skipped in &batch.skipped {
                    tracing::warn!(
                        file = %path.display(), offset = skipped.offset, octets = skipped.length,
                        "line is longer than the limit and was skipped; raise --line-limit to send such lines"
                    );
                }
                if sender.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            Step::Idle => std::thread::sleep(PAUSE),
            Step::End => return Ok(()),
        }
        if tail.lost() > lost {
            lost = tail.lost();
            tracing::warn!(
                file = %path.display(),
                "the file read last was rotated away and is not to be found; lines may be missing (use delaycompress)"
            );
        }
    }
    Ok(())
}
