//! Where a Call Home client is to be called, when others say it. RFC 8973.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::Transport;
use watchfire_core::Instant;

use super::core::{Core, Upstream, look_up};

/// Hosts of one discovery that are looked up.
const HOSTS: usize = 16;
/// The longest time that what was discovered is believed.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One place to call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "no more is needed to call")]
pub struct DiscoveredPlace {
    /// By what.
    pub transport: Transport,
    /// At which host: a name, or an address.
    pub host: String,
    /// At which port.
    pub port: u16,
}

/// What a discovery came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "no more is needed to call")]
pub struct Discovered {
    /// Where to call, the best first. Happy Eyeballs puts transports and address families in its own order.
    pub places: Vec<DiscoveredPlace>,
    /// How long that is good for.
    pub lifetime: Duration,
}

/// A way to find out where to call, such as the DNS.
#[async_trait]
pub trait Discover: Send + Sync + fmt::Debug + 'static {
    /// Finds out, in bounded time. `None` when nobody says: then what was said before is good for longer.
    async fn discover(&self) -> Option<Discovered>;
}

#[async_trait]
impl<T: Discover + ?Sized> Discover for Arc<T> {
    async fn discover(&self) -> Option<Discovered> {
        (**self).discover().await
    }
}

impl Core {
    /// Asks, and tells the dialer.
    pub(super) fn rediscover(self: &Arc<Self>, upstream: &mut Upstream, at: usize, with: Arc<dyn Discover>) {
        if let Some(again) = upstream.again.take() {
            again.cancel();
        }
        let until = self.stop.child_token();
        upstream.again = Some(until.clone());
        let (core, transports, patience) = (Arc::clone(self), upstream.transports.clone(), upstream.patience);
        self.tasks.spawn(until.run_until_cancelled_owned(async move {
            loop {
                // What was known is better than nothing, and the dialer does not wait for ever.
                let said = tokio::time::timeout(patience, with.discover()).await.ok().flatten();
                let lifetime = said.as_ref().map_or(core.limits.rediscover, |said| said.lifetime);
                let mut places = Vec::new();
                for place in said.iter().flat_map(|said| &said.places).take(HOSTS) {
                    if transports.contains(&place.transport) {
                        let addresses = look_up(std::slice::from_ref(&place.host), place.port).await;
                        places
                            .extend(addresses.into_iter().map(|ip| (place.transport, SocketAddr::new(ip, place.port))));
                    }
                }
                core.discovered(at, places);
                tokio::time::sleep(lifetime.clamp(core.limits.rediscover, DAY.max(core.limits.rediscover))).await;
            }
        }));
    }

    /// Places that are not known now are those that were known last.
    fn discovered(self: &Arc<Self>, at: usize, places: Vec<(Transport, SocketAddr)>) {
        let mut state = self.state();
        let now: Instant = self.clock.now();
        if let Some(upstream) = state.upstreams.get_mut(at) {
            if !places.is_empty() {
                upstream.known = places;
            }
            upstream.dialer.found(now, upstream.known.clone());
        }
        self.settle(&mut state);
    }
}
