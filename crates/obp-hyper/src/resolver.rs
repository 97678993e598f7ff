//! A resolver for reqwest: the broker's answers in place of the system's addresses.
//!
//! reqwest makes its own connections, and lets others say where to: it tries the addresses in the order of the broker,
//! with the broker's ports where the URL names none. It does not say which scheme a URL has; so this asks for `https`,
//! or with [`BrokerResolver::in_clear_text`] for `http`, and leaves out what does not fit. The certificate is checked by
//! reqwest, for the name in the URL.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use obp_hyper::{client::Client, resolver::BrokerResolver};
//! # fn with(broker: Client) -> Result<(), reqwest::Error> {
//! let client = reqwest::Client::builder().dns_resolver(Arc::new(BrokerResolver::new(broker))).build()?;
//! # Ok(())
//! # }
//! ```

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::client::Client;
use crate::connector::{question, ways};

/// Resolves names by asking the broker. See the [module](self).
#[derive(Debug, Clone)]
pub struct BrokerResolver {
    client: Client,
    https: bool,
}

impl BrokerResolver {
    /// Asks through this client, for what is reached over TLS.
    pub fn new(client: Client) -> Self {
        Self { client, https: true }
    }

    /// Asks for what is reached in the clear instead, for `http` URLs.
    #[must_use]
    pub const fn in_clear_text(mut self) -> Self {
        self.https = false;
        self
    }
}

impl Resolve for BrokerResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let answer = this.client.connect(question(name.as_str(), this.https, None)?).await?;
            let addresses: Addrs = Box::new(ways(&answer, this.https)?.into_iter());
            Ok(addresses)
        })
    }
}
