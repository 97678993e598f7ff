//! What end-to-end tests need: the program, a throw-away folder with a PKI in it, and services that end with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program: what `WATCHFIRE_BIN` names, or the one beside this test's own executable, brought up to date.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("WATCHFIRE_BIN") {
            return path.into();
        }
        let own = std::env::current_exe().expect("a test has a path");
        let folder = own.ancestors().nth(2).expect("target/PROFILE/deps/test").to_path_buf();
        let target = folder.parent().expect("target/PROFILE").to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", "watchfire", "--bin", "watchfire", "--target-dir"]).arg(&target);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        // What cargo says to a test about its package is not for another build: scripts that look at it would run again,
        // and with them everything behind them.
        for (name, _) in std::env::vars_os() {
            let said = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
            if name.to_str().is_some_and(|name| said.iter().any(|start| name.starts_with(start))) {
                build.env_remove(name);
            }
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo can be run");
        assert!(built.success(), "the program does not build");
        folder.join("watchfire")
    })
}

/// A command of the program.
pub fn watchfire(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).env("RUST_LOG", "info").env_remove("WATCHFIRE_STORE");
    command
}

/// Runs a command of the program to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(arguments: &[&str]) -> Output {
    watchfire(arguments).output().expect("the program can be started")
}

/// Runs a command that must succeed, and gives its standard output.
///
/// # Panics
/// When it fails.
pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).expect("standard output is UTF-8")
}

/// A folder that is removed at the end, with a CA, a manager (`manager.test`) and two analyzers (`sensor-1`,
/// `sensor-2`).
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
}

impl Site {
    /// Makes the folder and the certificates.
    ///
    /// # Panics
    /// When that does not work.
    #[allow(clippy::new_without_default, reason = "it does much")]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("watchfire-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let site = Self { folder };
        let dir = site.file("");
        succeed(&["pki", "init", "--dir", &dir]);
        for (profile, name) in
            [("iap-manager", "manager.test"), ("iap-analyzer", "sensor-1"), ("iap-analyzer", "sensor-2")]
        {
            succeed(&["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name]);
        }
        site
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Writes a file.
    ///
    /// # Panics
    /// When that does not work.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// `--cert`, `--key` and `--ca` for a name.
    pub fn tls(&self, name: &str) -> [String; 6] {
        let file = |suffix: &str| self.file(&format!("{name}.{suffix}"));
        ["--cert".into(), file("pem"), "--key".into(), file("key"), "--ca".into(), self.file("ca.pem")]
    }

    /// Starts a manager with these flags besides those for TLS, and `--json`.
    pub fn manager(&self, flags: &[&str]) -> Service {
        self.service("manager", "manager.test", flags)
    }

    /// Starts a sensor that expects `manager.test`, with these flags besides those for TLS, and `--json`.
    pub fn sensor(&self, flags: &[&str]) -> Service {
        let mut all = vec!["--manager-name", "manager.test", "--retry-min", "50ms", "--retry-max", "500ms"];
        all.extend(flags);
        self.service("sensor", "sensor-1", &all)
    }

    /// Starts a proxy.
    pub fn proxy(&self, name: &str, next_hop: &str, flags: &[&str]) -> Service {
        let mut all = vec!["iap", "proxy", "--json", "--name", name, "--next-hop", next_hop];
        all.extend(flags);
        Service::start(&all)
    }

    fn service(&self, kind: &str, certificate: &str, flags: &[&str]) -> Service {
        let tls = self.tls(certificate);
        let mut all = vec!["iap", kind, "--json"];
        all.extend(tls.iter().map(String::as_str));
        all.extend(flags);
        Service::start(&all)
    }

    /// All alerts of a store, oldest first.
    ///
    /// # Panics
    /// When the store cannot be read.
    pub fn alerts(&self, store: &str) -> Vec<serde_json::Value> {
        succeed(&["iap", "alerts", "--json", "--store", store])
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for a look: {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A running command of the program; killed when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: std::sync::Arc<Mutex<String>>,
}

impl Service {
    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(watchfire(arguments))
    }

    /// Starts another program, such as one that starts ours elsewhere.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_other(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).env("RUST_LOG", "info");
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let (to_test, lines) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("it is a pipe"));
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if to_test.send(line).is_err() {
                    return;
                }
            }
        });
        let log = std::sync::Arc::new(Mutex::new(String::new()));
        let mut errors = child.stderr.take().expect("it is a pipe");
        let kept = std::sync::Arc::clone(&log);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = errors.read(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, lines, log }
    }

    /// The next line of standard output.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no line: {error}\n{}", self.log()))
    }

    /// The next line, as JSON.
    ///
    /// # Panics
    /// When there is none in time, or it is not JSON.
    pub fn event(&self) -> serde_json::Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The address of the next listening line.
    ///
    /// # Panics
    /// When the next line is another.
    pub fn address(&self) -> String {
        let event = self.event();
        assert_eq!(event["event"], "listening", "{event}\n{}", self.log());
        event["addr"].as_str().expect("an address").to_owned()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the log holds this.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_for_log(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "never said {text:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().expect("it is our child").map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for its end and gives the exit code (-1 when a signal ended it).
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(code) = self.ended() {
                return code;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name, such as `TERM`.
    ///
    /// # Panics
    /// When `kill` cannot be run.
    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(killed.expect("kill can be run").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says loudly that a test did not run for want of something.
pub fn skip(test: &str, want: &str) {
    eprintln!("SKIPPED: {test}: {want}");
}

/// The Rust in the documentation, compiled and run.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../docs/embedding.md")]
    struct Embedding;
}
