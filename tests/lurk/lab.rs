//! A laboratory CA, a web server for challenges, and a folder for all of it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use watchfire_tests::{Service, skip};

/// A folder that is gone at the end, unless the test fails.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("watchfire-lurk-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.file(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for a look: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A CA that runs, and where it is.
pub(crate) struct Ca {
    pub(crate) service: Service,
    pub(crate) address: String,
    pub(crate) directory: String,
    /// Its trust anchor.
    pub(crate) anchor: String,
}

impl Ca {
    /// One in the folder `ca`, with further flags.
    pub(crate) fn start(folder: &Folder, flags: &[&str]) -> Self {
        Self::listening(folder, "127.0.0.1:0", flags)
    }

    pub(crate) fn listening(folder: &Folder, listen: &str, flags: &[&str]) -> Self {
        let dir = folder.file("ca");
        let service = Service::start(&[&["lurk", "ca", "--json", "--listen", listen, "--dir", &dir], flags].concat());
        let line = service.event();
        assert_eq!((&line["event"], &line["service"]), (&"listening".into(), &"lurk-ca".into()), "{}", service.log());
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let (address, directory) = (text("addr"), text("directory"));
        Self { service, address, directory, anchor: folder.file("ca/ca.pem") }
    }
}

/// A web server of the files in a folder, on the loopback.
pub(crate) struct Web {
    pub(crate) port: u16,
}

impl Web {
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::create_dir_all(root.join(".well-known/acme-challenge")).unwrap();
        let root = root.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || answer(stream, &root));
            }
        });
        Self { port }
    }
}

fn answer(mut stream: TcpStream, root: &Path) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|read| read > 0) {
        head.extend_from_slice(&octet);
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
    let found = if path.contains("..") { None } else { std::fs::read(root.join(path)).ok() };
    let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&body);
}

/// Whether a program of the system is there; says so loudly when it is not.
pub(crate) fn has(test: &str, program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_there {
        skip(test, &format!("the package {program} is not installed"));
    }
    is_there
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn words(output: &Output) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A key and a request for a name, by OpenSSL.
pub(crate) fn openssl_csr(folder: &Folder, name: &str) -> (String, String) {
    let (key, csr) = (folder.file(&format!("{name}.key")), folder.file(&format!("{name}.csr")));
    succeed(
        Command::new("openssl").args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]).args([
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &csr,
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            &format!("subjectAltName=DNS:{name}"),
        ]),
    );
    (key, csr)
}

/// Checks a chain against the trust anchor and a name, by OpenSSL.
#[track_caller]
pub(crate) fn verify(anchor: &str, chain: &str, name: &str) {
    succeed(Command::new("openssl").args([
        "verify",
        "-CAfile",
        anchor,
        "-untrusted",
        chain,
        "-verify_hostname",
        name,
        "-purpose",
        "sslserver",
        chain,
    ]));
}
