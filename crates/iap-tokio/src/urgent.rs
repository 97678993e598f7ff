//! TCP urgent data. draft-ietf-idwg-iap-01 section 6.2: never sent, and the end of a connection when received.
//!
//! The system tells of an urgent octet only until somebody reads past it. Left to itself it then drops the octet out of
//! the stream, and a busy connection would go on as if nothing had been. So urgent octets are kept in the stream: when
//! the notice comes too late they break the message or the TLS record that they stand in, and that ends it as well.

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

    let socket = socket2::SockRef::from(stream);
    // What came before anybody watched would not be announced again.
    let early = socket.recv_out_of_band(&mut [std::mem::MaybeUninit::uninit()]).is_ok();
    socket.set_out_of_band_inline(true)?;
    if early {
        return Ok(Box::pin(std::future::ready(())));
    }
    let second = socket.try_clone()?;
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

/// Nothing to watch with on this system. Urgent octets stay in the stream, where they make no sense.
///
/// # Errors
/// When the system does not keep them there.
#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(stream: &TcpStream) -> io::Result<Urgent> {
    socket2::SockRef::from(stream).set_out_of_band_inline(true)?;
    Ok(Box::pin(std::future::pending()))
}
