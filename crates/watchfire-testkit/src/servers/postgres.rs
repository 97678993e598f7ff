use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Folder, program, said, wait_for};

/// PostgreSQL with an empty database, on a unix socket.
#[derive(Debug)]
pub struct Postgres {
    folder: Folder,
    bin: PathBuf,
    user: Option<(String, String)>,
    server: Child,
}

impl Postgres {
    /// Starts it. None, loudly, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
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
        let server = launch(user.as_ref(), &bin, folder.path());
        Some(Self { folder, bin, user, server })
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=watchfire", self.folder.path().display())
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
        self.server = launch(self.user.as_ref(), &self.bin, self.folder.path());
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

fn launch(user: Option<&(String, String)>, bin: &Path, folder: &Path) -> Child {
    let mut server = command(user, &bin.join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        .args(["-c", "listen_addresses=", "-c", "max_wal_size=4GB"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres can be run");
    wait_for("PostgreSQL", &mut server, || {
        let asked = Command::new(bin.join("pg_isready")).arg("-q").arg("-h").arg(folder).status();
        asked.is_ok_and(|status| status.success()).then_some(())
    });
    server
}
