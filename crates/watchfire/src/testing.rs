//! Helpers of the unit tests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;
use watchfire_testkit::servers::Postgres;

/// A folder that is gone when dropped.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("watchfire-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A connection of somebody else's.
pub(crate) async fn plain(url: &str) -> tokio_postgres::Client {
    let config: tokio_postgres::Config = url.parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Lets the user `app` read and write the tables that are there now, and make none; gives its URL.
pub(crate) async fn bounded_user(server: &Postgres) -> String {
    let rights = "DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; \
                  REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
                  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app";
    plain(&server.url()).await.batch_execute(rights).await.unwrap();
    server.url().replace("user=watchfire", "user=app")
}

/// What looks like PostgreSQL, and after some questions says nothing more: as a pooler whose server is away.
#[derive(Debug)]
pub(crate) struct SilentPostgres {
    address: SocketAddr,
    asked: Arc<Notify>,
}

impl SilentPostgres {
    /// Each connection is answered so many simple queries.
    pub(crate) fn start(answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Notify::new());
        let tell = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = Arc::clone(&tell);
                std::thread::spawn(move || converse(stream, answers, &tell));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://watchfire@{}/alerts?sslmode=disable", self.address)
    }

    /// Done when something was asked that is not answered.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

fn converse(mut stream: TcpStream, mut answers: usize, tell: &Notify) -> Option<()> {
    const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];
    let body = |stream: &mut TcpStream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?];
        stream.read_exact(&mut body).ok()
    };
    body(&mut stream)?;
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0]).ok()?;
    stream.write_all(&READY).ok()?;
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind).ok()?;
        body(&mut stream)?;
        if kind == *b"Q" && answers > 0 {
            answers -= 1;
            stream.write_all(b"C\0\0\0\x08SET\0").ok()?;
            stream.write_all(&READY).ok()?;
        } else {
            tell.notify_one();
        }
    }
}
