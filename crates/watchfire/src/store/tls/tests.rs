//! Against Debian's PostgreSQL.

use std::path::PathBuf;

use watchfire_testkit::servers::{Postgres, PostgresTls};

use super::super::server::Server;
use crate::cli::{InitArgs, IssueArgs, Profile};
use crate::testing::TempDir;

/// Everybody by TLS, without a password; `app` with its password, `plain` with its password in plain words, `device` with
/// a certificate.
const ACCESS: &str = "hostssl all app 127.0.0.1/32 scram-sha-256\nhostssl all device 127.0.0.1/32 cert\n\
                      hostssl all plain 127.0.0.1/32 password\n\
                      hostssl all watchfire 127.0.0.1/32 trust";

struct Site {
    server: Postgres,
    dir: TempDir,
}

impl Site {
    /// A server that is `db.test`, and the files of its authority and of another one.
    async fn new() -> Option<Self> {
        let dir = TempDir::new("postgres-tls");
        for folder in ["ca", "other"] {
            crate::pki::init(&InitArgs::new(dir.path().join(folder))).unwrap();
        }
        for (profile, name) in
            [(Profile::TlsServer, "db.test"), (Profile::TlsClient, "device"), (Profile::TlsClient, "thief")]
        {
            crate::pki::issue(&IssueArgs::new(dir.path().join("ca"), profile, name)).unwrap();
        }
        let file = |name: &str| dir.path().join("ca").join(name);
        let (cert, key, ca) = (file("db.test.pem"), file("db.test.key"), file("ca.pem"));
        let tls = PostgresTls { cert: &cert, key: &key, ca: &ca, access: ACCESS };
        let server = Postgres::start_with_tls(&tls)?;
        let site = Self { server, dir };
        let admin = Server::new(&site.server.url().parse().unwrap(), None).unwrap().connect().await.unwrap();
        let roles = "CREATE ROLE app LOGIN PASSWORD 'a secret'; CREATE ROLE plain LOGIN PASSWORD 'a secret'; \
                     CREATE ROLE device LOGIN";
        admin.batch_execute(roles).await.unwrap();
        Some(site)
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join("ca").join(name).display().to_string()
    }

    /// Connects as `user` (with a password perhaps) to `host`, whatever that is called, with these parameters; gives
    /// the version of TLS.
    async fn connect(&self, user: &str, host: &str, parameters: &str) -> Result<String, String> {
        let port = self.server.port();
        let url = format!("postgres://{user}@{host}:{port}/postgres?hostaddr=127.0.0.1&{parameters}");
        let server = Server::new(&url.parse()?, None).map_err(|failure| failure.to_string())?;
        let client = server.connect().await.map_err(|error| error.to_string())?;
        let row =
            client.query_one("SELECT coalesce(version, 'none') FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]);
        Ok(row.await.unwrap().get(0))
    }

    /// Connects as [`connect`](Self::connect); gives why not.
    async fn refused(&self, user: &str, host: &str, parameters: &str) -> String {
        let refused = self.connect(user, host, parameters).await.expect_err("it was let in");
        assert!(!refused.contains('\n'), "{refused}");
        refused
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_who_it_should_be() {
    let Some(site) = Site::new().await else { return };
    let ours = format!("sslrootcert={}", site.file("ca.pem"));
    let other = format!("sslrootcert={}", site.file("../other/ca.pem"));
    assert_eq!(site.connect("watchfire", "db.test", &ours).await.unwrap(), "TLSv1.3", "without sslmode");
    assert_eq!(site.connect("watchfire", "db.test", &format!("sslmode=verify-full&{ours}")).await.unwrap(), "TLSv1.3");

    // Another authority, that of the system, another name.
    for mode in ["sslmode=verify-full", "sslmode=verify-ca", "sslmode=require"] {
        let error = site.refused("watchfire", "db.test", &format!("{mode}&{other}")).await;
        assert!(
            error.contains("name the authority of the server's certificate by sslrootcert=FILE"),
            "{mode}: {error}"
        );
        assert!(error.starts_with("postgres://watchfire@db.test:"), "{error}");
    }
    let error = site.refused("watchfire", "elsewhere.test", &ours).await;
    assert!(error.contains("elsewhere.test") && error.contains("name the host as its certificate does"), "{error}");
    let error = site.refused("watchfire", "127.0.0.1", &ours).await;
    assert!(error.contains("name the host as its certificate does"), "{error}");
    // Who wants less gets less.
    site.connect("watchfire", "elsewhere.test", &format!("sslmode=verify-ca&{ours}")).await.unwrap();
    site.connect("watchfire", "elsewhere.test", &format!("sslmode=require&{ours}")).await.unwrap();
    site.connect("watchfire", "elsewhere.test", "sslmode=require").await.unwrap();

    // The server refuses clear text, and says so.
    let error = site.refused("watchfire", "db.test", "sslmode=disable").await;
    assert!(error.contains("28000") && error.contains("write sslmode=verify-full"), "{error}");
    let error = site.refused("watchfire", "127.0.0.1", "").await;
    assert!(error.contains("write sslmode=verify-full"), "on the loopback: {error}");

    // Files that are missing or wrong are named; before anybody is asked.
    let error = site.refused("watchfire", "db.test", &format!("sslrootcert={}", site.file("none.pem"))).await;
    assert!(error.starts_with(&site.file("none.pem")) && error.contains("check the path"), "{error}");
    let error = site.refused("watchfire", "db.test", &format!("sslrootcert={}", site.file("ca.key"))).await;
    assert!(error.contains("holds no certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_are_who_we_should_be() {
    let Some(site) = Site::new().await else { return };
    let ours = format!("sslrootcert={}", site.file("ca.pem"));
    // A password: the login is bound to the certificate, also where nobody looks at that.
    site.connect("app:a%20secret", "db.test", &format!("{ours}&channel_binding=require")).await.unwrap();
    site.connect("app:a%20secret", "db.test", "sslmode=require&channel_binding=require").await.unwrap();
    let error = site.refused("app:wrong", "db.test", &ours).await;
    assert!(error.contains("28P01") && !error.contains("wrong ("), "{error}");

    // A certificate.
    let error = site.refused("device", "db.test", &ours).await;
    assert!(error.contains("name sslcert and sslkey"), "{error}");
    let with = |cert: &str, key: &str| format!("{ours}&sslcert={}&sslkey={}", site.file(cert), site.file(key));
    site.connect("device", "db.test", &with("device.pem", "device.key")).await.unwrap();
    let error = site.refused("device", "db.test", &with("thief.pem", "thief.key")).await;
    assert!(error.contains("28000"), "{error}");
    let error = site.refused("device", "db.test", &with("device.pem", "thief.key")).await;
    assert!(error.contains("do not fit together"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_told_to_nobody_who_may_be_anybody() {
    let Some(site) = Site::new().await else { return };
    let ours = format!("sslrootcert={}", site.file("ca.pem"));
    for mode in ["sslmode=require".to_owned(), format!("sslmode=verify-ca&{ours}")] {
        let error = site.refused("plain:a%20secret", "db.test", &mode).await;
        assert!(error.contains("channel binding; write channel_binding=prefer"), "{mode}: {error}");
        // Who says so gets it; a login that is bound to the certificate is no matter.
        site.connect("plain:a%20secret", "db.test", &format!("{mode}&channel_binding=prefer")).await.unwrap();
        site.connect("app:a%20secret", "db.test", &mode).await.unwrap();
        site.connect("watchfire", "db.test", &mode).await.unwrap();
        let own = format!("{mode}&sslcert={}&sslkey={}", site.file("device.pem"), site.file("device.key"));
        site.connect("plain:a%20secret", "db.test", &own).await.unwrap();
    }
    // A server that has shown who it is may ask as it likes.
    site.connect("plain:a%20secret", "db.test", &ours).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_for_each_connection() {
    let Some(site) = Site::new().await else { return };
    let roots = PathBuf::from(site.file("roots.pem"));
    std::fs::copy(site.file("ca.pem"), &roots).unwrap();
    let url = format!(
        "postgres://watchfire@db.test:{}/postgres?hostaddr=127.0.0.1&sslrootcert={}",
        site.server.port(),
        roots.display()
    );
    let server = Server::new(&url.parse().unwrap(), None).unwrap();
    server.connect().await.unwrap();
    std::fs::copy(site.file("../other/ca.pem"), &roots).unwrap();
    assert!(server.connect().await.unwrap_err().to_string().contains("sslrootcert=FILE"));
    std::fs::remove_file(&roots).unwrap();
    let error = server.connect().await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("roots.pem"), "{error}");
    std::fs::copy(site.file("ca.pem"), &roots).unwrap();
    server.connect().await.unwrap();
}

#[tokio::test]
async fn nobody_talks_us_out_of_tls() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // What a server without TLS, or somebody in between, answers.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 8];
        stream.read_exact(&mut asked).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    });
    let url = format!("postgres://u:secret@localhost:{port}/d?hostaddr=127.0.0.1&sslmode=require");
    let error = Server::new(&url.parse().unwrap(), None).unwrap().connect().await.unwrap_err().to_string();
    assert!(error.contains("does not support TLS; turn ssl on there"), "{error}");
    assert_eq!(server.await.unwrap(), b"", "nothing was said in clear text");
}
