//! A TLS stream: one task writes and reads, anybody may queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Content, next_id};
use crate::error::SecurityError;

/// Messages in one TLS record: libcoap up to 4.3.5 loses its place in the stream when about 16 come in one read.
const PER_WRITE: usize = 8;
/// Octets read at once.
const READ: usize = 4096;
/// Octets of these handed on at once: one or two requests.
const PIECE: usize = 256;

#[derive(Debug)]
pub(crate) struct StreamLink {
    id: u64,
    address: SocketAddr,
    queue: Mutex<Queue>,
    wake: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    octets: usize,
    closing: bool,
    overflow: bool,
}

impl StreamLink {
    pub(crate) fn new(address: SocketAddr, most: usize) -> Self {
        Self { id: next_id(), address, queue: Mutex::default(), wake: Notify::new(), most }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, message: Bytes) {
        let mut queue = self.queue();
        if queue.closing {
            return;
        }
        queue.octets += message.len();
        if queue.octets > self.most {
            // Whoever does not read does not get more memory.
            (queue.closing, queue.overflow) = (true, true);
            queue.messages.clear();
        } else {
            queue.messages.push_back(message);
        }
        drop(queue);
        self.wake.notify_one();
    }

    pub(crate) fn close(&self) {
        self.queue().closing = true;
        self.wake.notify_one();
    }

    /// The next messages to write together; `None` when there are none and none will be.
    fn take(&self) -> Result<Option<Bytes>, Option<SecurityError>> {
        let mut queue = self.queue();
        if queue.overflow {
            return Err(Some(SecurityError::Io("the peer does not read".to_owned())));
        }
        let count = queue.messages.len().min(PER_WRITE);
        let first = queue.messages.pop_front();
        let octets = match first {
            Some(first) if count > 1 => {
                let mut all = BytesMut::from(first);
                queue.messages.drain(..count - 1).for_each(|message| all.extend_from_slice(&message));
                Some(all.freeze())
            }
            other => other,
        };
        let empty = octets.is_none();
        queue.octets = queue.octets.saturating_sub(octets.as_ref().map_or(0, Bytes::len));
        if empty && queue.closing { Err(None) } else { Ok(octets) }
    }

    /// Carries the session to its end.
    pub(crate) async fn run<S>(self: Arc<Self>, stream: S, content: Arc<dyn Content>, write_timeout: Duration)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let why = self.carry(&mut reader, &mut writer, content.as_ref(), write_timeout).await;
        self.queue().closing = true;
        // What else the peer says is of no use; that we are done, it should know.
        let _ = timeout(write_timeout.min(Duration::from_secs(2)), writer.shutdown()).await;
        content.ended(self.id, why);
    }

    async fn carry(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        content: &dyn Content,
        write_timeout: Duration,
    ) -> Option<SecurityError> {
        let mut buffer = vec![0; READ].into_boxed_slice();
        loop {
            if let Err(why) = self.write_queued(writer, write_timeout).await {
                return why;
            }
            let read = tokio::select! {
                read = reader.read(&mut buffer) => read,
                () = self.wake.notified() => continue,
            };
            match read {
                Ok(0) => return None,
                Ok(length) => {
                    // A message or two at a time, and then their answers: so both ends work at once.
                    for piece in buffer.get(..length).unwrap_or_default().chunks(PIECE) {
                        content.arrived(self.id, piece);
                        if let Err(why) = self.write_queued(writer, write_timeout).await {
                            return why;
                        }
                    }
                }
                Err(error) => return Some(error.into()),
            }
        }
    }

    /// Writes what is queued; an error is the end, which has a reason or not.
    async fn write_queued(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        write_timeout: Duration,
    ) -> Result<(), Option<SecurityError>> {
        while let Some(batch) = self.take()? {
            let write = async {
                writer.write_all(&batch).await?;
                // Each batch becomes records of its own.
                writer.flush().await
            };
            match timeout(write_timeout, write).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Some(error.into())),
                Err(_) => return Err(Some(SecurityError::Io("the peer does not read".to_owned()))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_eight_messages_are_written_together_and_no_queue_grows_without_end() {
        let link = StreamLink::new("127.0.0.1:1".parse().unwrap(), 100);
        for _ in 0..20 {
            link.send(Bytes::from_static(b"four"));
        }
        let mut sizes = Vec::new();
        while let Ok(Some(batch)) = link.take() {
            sizes.push(batch.len() / 4);
        }
        assert_eq!(sizes, [8, 8, 4]);
        for _ in 0..26 {
            link.send(Bytes::from_static(b"four"));
        }
        assert!(matches!(link.take(), Err(Some(_))));
        assert!(link.queue().messages.is_empty());
    }

    /// Notes how it ended.
    #[derive(Default)]
    struct Note(Mutex<Option<Option<SecurityError>>>);

    impl Content for Note {
        fn arrived(&self, _: u64, _: &[u8]) {}

        fn ended(&self, _: u64, why: Option<SecurityError>) {
            *self.0.lock().unwrap() = Some(why);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_read_is_not_waited_for() {
        let (near, _far) = tokio::io::duplex(16);
        let link = Arc::new(StreamLink::new("127.0.0.1:1".parse().unwrap(), 100));
        link.send(Bytes::from_static(b"more than fits in the pipe"));
        let note = Arc::new(Note::default());
        let began = tokio::time::Instant::now();
        Arc::clone(&link).run(near, Arc::clone(&note) as _, Duration::from_secs(20)).await;
        assert!(began.elapsed() >= Duration::from_secs(20) && began.elapsed() < Duration::from_secs(30));
        assert!(matches!(*note.0.lock().unwrap(), Some(Some(SecurityError::Io(_)))));
    }

    #[test]
    fn what_is_queued_goes_out_before_the_end() {
        let link = StreamLink::new("127.0.0.1:1".parse().unwrap(), 100);
        link.send(Bytes::from_static(b"farewell"));
        link.close();
        link.send(Bytes::from_static(b"too late"));
        assert_eq!(link.take(), Ok(Some(Bytes::from_static(b"farewell"))));
        assert_eq!(link.take(), Err(None));
    }
}
