use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Folder, program, said, try_wait_for};

/// So many ports are tried, when others are quicker.
const PORTS: usize = 20;

/// PostgreSQL with an empty database, on a unix socket.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    bin: PathBuf,
    user: Option<(String, String)>,
    server: Child,
    port: Option<u16>,
}

/// What a server shows and wants that also takes TLS, at a port of the loopback.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs)]
pub struct PostgresTls<'a> {
    /// Its certificate, PEM.
    pub cert: &'a Path,
    /// Its key, PEM.
    pub key: &'a Path,
    /// The authority of its clients' certificates, PEM.
    pub ca: &'a Path,
    /// The lines of `pg_hba.conf` for that port, such as `hostssl all all 127.0.0.1/32 trust`.
    pub access: &'a str,
}

impl Postgres {
    /// Starts it. None, loudly, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        Self::begin(None)
    }

    /// Starts it with TLS. None, loudly, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with_tls(tls: &PostgresTls<'_>) -> Option<Self> {
        Self::begin(Some(tls))
    }

    fn begin(tls: Option<&PostgresTls<'_>>) -> Option<Self> {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect();
        versions.sort();
        let Some(bin) = program(versions, "initdb").and_then(|path| path.parent().map(Path::to_path_buf)) else {
            eprintln!("SKIPPED: PostgreSQL is not installed; what is kept in it was NOT tested");
            return None;
        };
        // The server refuses to run as root.
        let user = (said("id", &["-u"]) == "0").then(|| {
            let known = |name: &&str| !said("id", &["-u", name]).is_empty();
            let name = ["postgres", "nobody"].into_iter().find(known).expect("Debian has nobody");
            (said("id", &["-u", name]), said("id", &["-g", name]))
        });
        let folder = Folder::new("pg");
        if let Some((uid, gid)) = &user {
            let (uid, gid) = (uid.parse().ok(), gid.parse().ok());
            std::os::unix::fs::chown(folder.path(), uid, gid).expect("root may give a folder away");
        }
        let data = folder.path().join("data").display().to_string();
        let made = command(user.as_ref(), &bin.join("initdb"))
            .args(["-D", &data, "-A", "trust", "-U", "watchfire", "--no-sync", "-E", "UTF8", "--locale=C"])
            .output()
            .expect("initdb can be run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if let Some(tls) = tls {
            prepare(tls, user.as_ref(), &folder.path().join("data"));
        }
        let (server, port) = launch(user.as_ref(), &bin, folder.path(), tls.is_some());
        Some(Self { folder, bin, user, server, port })
    }

    /// Where it takes TLS.
    ///
    /// # Panics
    /// When it does not.
    pub fn port(&self) -> u16 {
        self.port.expect("it was started with TLS")
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        let port = self.port.unwrap_or(5432);
        format!("postgres:///postgres?host={}&user=watchfire&port={port}", self.folder.path().display())
    }

    /// Ends it, and all its connections.
    pub fn stop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }

    /// Starts it again after [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        (self.server, self.port) = launch(self.user.as_ref(), &self.bin, self.folder.path(), self.port.is_some());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn command(user: Option<&(String, String)>, program: &Path) -> Command {
    let mut command = match user {
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", uid, "--regid", gid, "--clear-groups"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command
}

/// Puts the files of TLS where the server finds them.
fn prepare(tls: &PostgresTls<'_>, user: Option<&(String, String)>, data: &Path) {
    for (from, name) in [(tls.cert, "server.crt"), (tls.key, "server.key"), (tls.ca, "root.crt")] {
        let to = data.join(name);
        let octets = std::fs::read(from).expect("the file is there");
        std::fs::write(&to, octets).expect("a file can be written");
        // It refuses a key that others may read.
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&to, uid.parse().ok(), gid.parse().ok()).expect("root may give a file away");
        }
    }
    let access = format!("local all all trust\n{}\n", tls.access);
    std::fs::write(data.join("pg_hba.conf"), access).expect("a file can be written");
}

fn launch(user: Option<&(String, String)>, bin: &Path, folder: &Path, with_tls: bool) -> (Child, Option<u16>) {
    let socket = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    for _ in 0..PORTS {
        let port = with_tls.then(|| socket().expect("a port is free").port());
        let mut server = spawn(user, bin, folder, port);
        let started = try_wait_for("PostgreSQL", &mut server, || {
            let mut ask = Command::new(bin.join("pg_isready"));
            ask.arg("-q").arg("-h").arg(folder);
            // Its socket is named by the port.
            ask.args(port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
            ask.status().is_ok_and(|status| status.success()).then_some(())
        });
        match started {
            Some(()) => return (server, port),
            // Somebody else has the port now.
            None if with_tls => {}
            None => break,
        }
    }
    panic!("PostgreSQL does not start")
}

fn spawn(user: Option<&(String, String)>, bin: &Path, folder: &Path, port: Option<u16>) -> Child {
    let mut server = command(user, &bin.join("postgres"));
    server.arg("-D").arg(folder.join("data")).arg("-k").arg(folder).args(["-c", "max_wal_size=4GB"]);
    match port {
        None => server.args(["-c", "listen_addresses="]),
        Some(port) => server.args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]).args([
            "-c",
            "ssl=on",
            "-c",
            "ssl_ca_file=root.crt",
        ]),
    };
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres can be run")
}
