//! Responses of HTTP/2 that are ready at the same time leave in one write.
//!
//! hyper flushes after every response. With ten requests in one read that would be ten TLS records and ten calls of the
//! system. So a flush waits for one turn of the runtime: whatever else is ready by then goes with it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most before it is written; four records of TLS.
const MOST: usize = 64 * 1024;

/// A stream whose writes are gathered until the turn after a flush.
pub(super) struct Gather<S> {
    stream: S,
    gathered: Vec<u8>,
    written: usize,
    /// A flush has let the others go first.
    waited: bool,
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, gathered: Vec::new(), written: 0, waited: false }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let rest = self.gathered.get(self.written..).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
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
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
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
        if !self.gathered.is_empty() && !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(cx))?;
        self.waited = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_flushed_arrives_in_order_and_what_was_written_meanwhile_with_it() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut gather = Gather::new(ours);
        let text: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let wanted = text.clone();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        for piece in text.chunks(777) {
            gather.write_all(piece).await.unwrap();
        }
        gather.flush().await.unwrap();
        assert!(gather.gathered.is_empty());
        gather.write_all(b"end").await.unwrap();
        gather.shutdown().await.unwrap();
        drop(gather);
        assert_eq!(reading.await.unwrap(), [&wanted[..], b"end"].concat());
    }

    #[tokio::test]
    async fn a_flush_waits_one_turn() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut gather = Gather::new(ours);
        gather.write_all(b"a").await.unwrap();
        let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut gather).poll_flush(cx))).await;
        assert!(first.is_pending());
        gather.write_all(b"b").await.unwrap();
        gather.flush().await.unwrap();
        let mut both = [0; 8];
        assert_eq!(theirs.read(&mut both).await.unwrap(), 2);
    }
}
