//! TCP urgent data. draft-ietf-idwg-iap-01 section 6.2: never sent, and the end of a connection when received.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::net::TcpStream;

/// Ready when urgent data arrives; never, where the system cannot tell.
pub(crate) type Urgent = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Watches a connection for urgent data. tokio does not ask the system about it for its own sockets, so a second
/// descriptor of the same socket does.
///
/// # Errors
/// When the descriptor cannot be made, which means that the process has too many.
#[cfg(target_os = "linux")]
pub(crate) fn watch(stream: &TcpStream) -> io::Result<Urgent> {
    use tokio::io::unix::AsyncFd;
    use tokio::io::{Interest, Ready};

    let second = socket2::SockRef::from(stream).try_clone()?;
    #[expect(deprecated, reason = "its successor is unsafe, for types that do not own their descriptor; this one does")]
    let second = AsyncFd::with_interest(second, Interest::PRIORITY)?;
    Ok(Box::pin(async move {
        loop {
            match second.ready(Interest::PRIORITY).await {
                Ok(guard) if guard.ready().is_priority() => return,
                // A closed connection wakes this, too; whoever reads from it will notice.
                Ok(mut guard) => {
                    let closed = guard.ready().is_read_closed();
                    guard.clear_ready_matching(Ready::ALL);
                    if closed {
                        std::future::pending::<()>().await;
                    }
                }
                Err(_) => std::future::pending().await,
            }
        }
    }))
}

/// Ready when urgent data has come, for while the watch has no stream beside it.
pub(crate) async fn came(urgent: &mut Option<Urgent>) {
    match urgent {
        Some(watch) => watch.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Nothing to watch with on this system. Urgent octets are then left out of the stream, which TLS notices.
#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(_stream: &TcpStream) -> io::Result<Urgent> {
    Ok(Box::pin(std::future::pending()))
}
