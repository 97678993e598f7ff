//! Files for tests.

use std::fs;
use std::path::PathBuf;

use iap_tokio::tls::{Source, TlsConfig};

use crate::Site;
use crate::pki::Leaf;

/// A directory that is removed in the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        // By renaming, as careful programs do: nobody sees half a file.
        let draft = self.0.join(format!("{name}.new"));
        fs::write(&draft, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&draft, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(draft, &path).unwrap();
        path
    }

    pub(crate) fn node(&self, leaf: &Leaf) {
        self.write("node.pem", &leaf.chain);
        self.write("node.key", &leaf.key);
    }

    /// A manager's files and configuration.
    pub(crate) fn manager(&self, site: &Site) -> TlsConfig {
        self.node(&site.manager);
        self.write("ca.pem", &site.ca.pem);
        self.write("ca.crl", &site.ca.crl(&[]));
        let file = |name: &str| Source::file(self.0.join(name));
        TlsConfig::new(file("node.pem"), file("node.key"), file("ca.pem"))
            .with_crl(file("ca.crl"))
            .with_clock(site.clock.clone())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
