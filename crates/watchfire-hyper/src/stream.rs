//! The stream below HTTP: responses that are ready at the same time leave in one write, and who does not read what was
//! asked for is cut off.
//!
//! hyper flushes after every response. With ten pipelined requests in one read, or ten streams of HTTP/2, that would be
//! ten calls of the system. So a flush waits for one turn of the runtime, and whatever else is ready by then goes with
//! it. A read that ends where the only head of a request in it ends is the exception: nothing else can be ready.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What is gathered at most before it is written; four records of TLS.
const MOST: usize = 64 * 1024;

/// A stream whose writes are gathered where that helps, and must make progress in time.
pub(crate) struct Stream<S> {
    stream: S,
    gathered: Vec<u8>,
    written: usize,
    /// More than one response may come of what was read last.
    gathers: bool,
    /// A flush has let the others go first.
    waited: bool,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    /// Fails a write that makes no progress for `patience`.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, gathered: Vec::new(), written: 0, gathers: false, waited: false, patience, stalled: None }
    }

    /// Keeps the time of a write that waits.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let rest = self.gathered.get(self.written..).unwrap_or_default();
            let polled = Pin::new(&mut self.stream).poll_write(cx, rest);
            match ready!(self.watch(cx, polled))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        self.gathered.clear();
        // One large answer is no reason to keep its room for ever.
        self.gathered.shrink_to(MOST);
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether writes go straight through.
    fn is_straight(&self) -> bool {
        !self.gathers && self.gathered.is_empty()
    }
}

/// Whether what was read is one whole head of HTTP/1 and nothing else.
fn is_one_head(read: &[u8]) -> bool {
    static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    END.find(read).is_some_and(|at| at + 4 == read.len())
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.gathers = !is_one_head(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_straight() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
            return self.watch(cx, polled);
        }
        if self.gathered.len() >= MOST {
            ready!(self.poll_drain(cx))?;
        }
        self.gathered.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_straight() && self.stream.is_write_vectored() {
            let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            return self.watch(cx, polled);
        }
        if self.gathered.len() >= MOST {
            ready!(self.poll_drain(cx))?;
        }
        let before = self.gathered.len();
        bufs.iter().for_each(|buf| self.gathered.extend_from_slice(buf));
        Poll::Ready(Ok(self.gathered.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && self.gathers && !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.waited = false;
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Reads these octets, so that the stream knows what came.
    async fn read(stream: &mut Stream<tokio::io::DuplexStream>, theirs: &mut tokio::io::DuplexStream, octets: &[u8]) {
        theirs.write_all(octets).await.unwrap();
        let mut taken = vec![0; octets.len()];
        stream.read_exact(&mut taken).await.unwrap();
    }

    #[tokio::test]
    async fn all_arrives_in_order_gathered_or_not() {
        for gathers in [false, true] {
            let (ours, mut theirs) = tokio::io::duplex(16);
            let mut stream = Stream::new(ours, PATIENCE);
            stream.gathers = gathers;
            let text: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let wanted = text.clone();
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).await.unwrap();
                all
            });
            for piece in text.chunks(777) {
                stream.write_all(piece).await.unwrap();
            }
            stream.flush().await.unwrap();
            assert!(stream.gathered.is_empty());
            stream.write_all(b"end").await.unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            assert_eq!(reading.await.unwrap(), [&wanted[..], b"end"].concat());
        }
    }

    #[tokio::test]
    async fn a_flush_waits_one_turn_where_more_may_come() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut stream = Stream::new(ours, PATIENCE);
        let mut both = [0; 8];
        for pipelined in [
            &b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x00\x00\x04\x01",
        ] {
            read(&mut stream, &mut theirs, pipelined).await;
            stream.write_all(b"a").await.unwrap();
            let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_flush(cx))).await;
            assert!(first.is_pending());
            stream.write_all(b"b").await.unwrap();
            stream.flush().await.unwrap();
            assert_eq!(theirs.read(&mut both).await.unwrap(), 2);
        }
        // One request alone: at once, and not even copied.
        read(&mut stream, &mut theirs, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        stream.write_all(b"a").await.unwrap();
        assert!(stream.gathered.is_empty());
        assert_eq!(theirs.read(&mut both).await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_cut_off() {
        for gathers in [false, true] {
            let (ours, _theirs) = tokio::io::duplex(16);
            let mut stream = Stream::new(ours, PATIENCE);
            stream.gathers = gathers;
            let began = tokio::time::Instant::now();
            let failed = async {
                stream.write_all(&[0; 100_000]).await?;
                stream.flush().await
            };
            assert_eq!(failed.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(began.elapsed() >= PATIENCE && began.elapsed() < 2 * PATIENCE);
        }
    }
}
