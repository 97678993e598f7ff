//! What end-to-end tests need: the program, a throw-away folder with a PKI in it, and services that end with the test.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before the test fails. The machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until something is there.
///
/// # Panics
/// With what `why` says then, when it is not there in time.
#[track_caller]
pub fn wait_for<T>(why: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {}", why());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until this holds.
///
/// # Panics
/// When it does not in time.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(|| what.to_owned(), || holds().then_some(()));
}

/// A request by hand, over a connection of its own, and all that comes back until the other side closes, which it may
/// do before it has read all.
///
/// # Errors
/// When there is nobody, or it does not end in time.
pub fn exchange(address: &str, request: impl AsRef<[u8]>) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let _ = stream.write_all(request.as_ref());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
        _ => Ok(answer),
    }
}

/// A page over plain HTTP, head and body.
///
/// # Errors
/// When there is nobody, or it does not end in time.
pub fn get(address: &str, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, request).map(|answer| String::from_utf8_lossy(&answer).into_owned())
}

/// Waits until `/readyz` is there and says something of this form, of its head and its body; gives the body.
///
/// # Panics
/// When it does not in time.
#[track_caller]
pub fn readiness(metrics: &str, service: &Service, fits: impl Fn(&str, &str) -> bool) -> String {
    wait_for(
        || format!("{:?}\n{}", get(metrics, "/readyz"), service.log()),
        || {
            let page = get(metrics, "/readyz").ok()?;
            let (head, body) = page.split_once("\r\n\r\n")?;
            fits(head, body).then(|| body.to_owned())
        },
    )
}

/// For [`readiness`]: all is well.
pub fn is_ready(head: &str, _body: &str) -> bool {
    head.starts_with("HTTP/1.1 200 ")
}

/// Makes the key of an ACME account in a file, as users do, and gives its thumbprint (RFC 7638).
///
/// # Panics
/// When OpenSSL or Python cannot be run.
pub fn account_key(path: &str) -> String {
    let words = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path];
    assert!(Command::new("openssl").args(words).status().expect("openssl can be run").success());
    let script = "import base64,hashlib,subprocess,sys\n\
        der=subprocess.check_output(['openssl','pkey','-in',sys.argv[1],'-pubout','-outform','DER'])\n\
        b=lambda o:base64.urlsafe_b64encode(o).rstrip(b'=').decode()\n\
        jwk='{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}'%(b(der[-64:-32]),b(der[-32:]))\n\
        print(b(hashlib.sha256(jwk.encode()).digest()))";
    let output = Command::new("python3").args(["-c", script, path]).output().expect("python3 can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

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
        // The one that `cargo test --workspace` builds for the program's own tests, so that it is there already: asked for
        // by itself, it would have other features of its dependencies, and they would all be built twice.
        let mut build = Command::new(env!("CARGO"));
        build.args(["test", "--quiet", "--workspace", "--no-run", "--test", "cli", "--target-dir"]).arg(&target);
        build.stdout(Stdio::null());
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
    /// Who reads what it writes to standard error.
    reader: std::thread::JoinHandle<()>,
}

impl Service {
    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(watchfire(arguments))
    }

    /// Starts a command that reads its standard input; it has read all of it when what is given is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_fed(arguments: &[&str]) -> (Self, ChildStdin) {
        let mut command = watchfire(arguments);
        command.stdin(Stdio::piped());
        let mut this = Self::spawn(command);
        let input = this.child.stdin.take().expect("it is a pipe");
        (this, input)
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
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = errors.read(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..len).unwrap_or_default()).into_owned();
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, lines, log, reader }
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

    /// The next event of this kind; others are passed over.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn event_of(&self, kind: &str) -> serde_json::Value {
        loop {
            let event = self.event();
            if event["event"] == kind {
                return event;
            }
        }
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

    /// The events that it has written since the last one that was read, without waiting.
    ///
    /// # Panics
    /// When one is not JSON.
    pub fn events_so_far(&self) -> Vec<serde_json::Value> {
        self.lines.try_iter().map(|line| serde_json::from_str(&line).expect("each line is JSON")).collect()
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
        wait_for(|| format!("{text:?}:\n{}", self.log()), || self.log().contains(text).then_some(()));
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

    /// Waits for its end and gives the exit code (-1 when a signal ended it). What it has written to standard error is in
    /// [`log`](Self::log) by then.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            let ended = self.ended();
            // Children of it may have its standard error, and live longer.
            let is_read = self.reader.is_finished() || began.elapsed() > PATIENCE / 4;
            match ended {
                Some(code) if is_read => return code,
                Some(_) => {}
                None => assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.log()),
            }
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
