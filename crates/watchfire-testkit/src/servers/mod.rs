//! Servers of other projects, from Debian's packages, each in a folder of its own and gone at the end.

mod nats;
mod postgres;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use nats::Nats;
pub use postgres::{Postgres, PostgresTls};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that is removed at the end.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("watchfire-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for a server to come up.
fn wait_for<T>(what: &str, server: &mut Child, look: impl FnMut() -> Option<T>) -> T {
    try_wait_for(what, server, look).unwrap_or_else(|| panic!("{what} does not start"))
}

/// As [`wait_for`], but none when the server ends instead.
fn try_wait_for<T>(what: &str, server: &mut Child, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if server.try_wait().expect("it is our child").is_some() {
            return None;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first of these programs that is there, looked for in some folders and then in the PATH.
fn program(folders: impl IntoIterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.into_iter().chain(path).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// What a program writes to standard output.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    String::from_utf8_lossy(&output.expect("it can be run").stdout).trim().to_owned()
}
