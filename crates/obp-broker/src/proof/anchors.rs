//! Trust anchors: the keys at which chains of signatures end.

use std::sync::Arc;

use hickory_proto::dnssec::TrustAnchors;

/// Keys that are trusted without being led to. Cheap to clone.
#[derive(Clone)]
pub struct Anchors {
    keys: Arc<TrustAnchors>,
    /// These are the root's published keys.
    #[cfg(feature = "broker")]
    published: bool,
}

/// Why a text is no set of trust anchors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("trust anchors: {what}; write DNSKEY records in zone-file form, as in \". 86400 IN DNSKEY 257 3 8 AwEA...\"")]
#[non_exhaustive]
pub struct AnchorsError {
    /// What was found.
    pub what: String,
}

impl Anchors {
    /// The root's keys of 2018 and 2024, as IANA publishes them.
    #[must_use]
    pub fn root() -> Self {
        Self {
            keys: Arc::new(TrustAnchors::default()),
            #[cfg(feature = "broker")]
            published: true,
        }
    }

    /// DNSKEY records in zone-file form, of the root or of any zone.
    ///
    /// # Errors
    /// [`AnchorsError`] when there is none, or one cannot be read.
    pub fn parse(text: &str) -> Result<Self, AnchorsError> {
        if !text.lines().any(|line| line.split(';').next().unwrap_or_default().to_ascii_uppercase().contains("DNSKEY"))
        {
            return Err(AnchorsError { what: "there is no DNSKEY record".to_owned() });
        }
        let anchors: TrustAnchors = text.parse().map_err(|error| AnchorsError { what: format!("{error}") })?;
        Ok(Self {
            keys: Arc::new(anchors),
            #[cfg(feature = "broker")]
            published: false,
        })
    }

    pub(crate) fn inner(&self) -> &TrustAnchors {
        &self.keys
    }

    /// Whether these are the root's published keys.
    #[cfg(feature = "broker")]
    pub(crate) fn are_the_roots(&self) -> bool {
        self.published
    }

    #[cfg(feature = "broker")]
    pub(crate) fn shared(&self) -> Arc<TrustAnchors> {
        Arc::clone(&self.keys)
    }
}

impl Default for Anchors {
    fn default() -> Self {
        Self::root()
    }
}

impl std::fmt::Debug for Anchors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anchors").field("root_keys", &self.keys.len()).finish_non_exhaustive()
    }
}
