//! A laboratory CA, a web server for challenges, and a folder for all of it.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use watchfire_tests::{PATIENCE, Service, account_key, skip};

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

/// Where to listen, at a port that nobody takes when it is given up for a while.
fn own() -> String {
    format!("{}:0", watchfire_testkit::own_loopback())
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
        Self::listening(folder, &own(), flags)
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
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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
        skip(test, &format!("{program} is not installed"));
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
    verify_with(anchor, chain, name, &[]);
}

/// The same of a certificate that is good for some seconds: it may be over when OpenSSL comes to look.
#[track_caller]
pub(crate) fn verify_short(anchor: &str, chain: &str, name: &str) {
    verify_with(anchor, chain, name, &["-no_check_time"]);
}

#[track_caller]
fn verify_with(anchor: &str, chain: &str, name: &str, more: &[&str]) {
    let words = ["verify", "-CAfile", anchor, "-untrusted", chain, "-verify_hostname", name, "-purpose", "sslserver"];
    succeed(Command::new("openssl").args(words).args(more).arg(chain));
}

/// The name that delegates of these tests have.
pub(crate) const NAME: &str = "abc.ido.example";

/// What delegates may ask for.
pub(crate) const TEMPLATE: &str = r#"{
  "keyTypes": [{"PublicKeyType": "id-ecPublicKey", "namedCurve": "secp256r1", "SignatureType": "ecdsa-with-SHA256"}],
  "subject": {"organization": "**"},
  "extensions": {"subjectAltName": {"DNS": ["abc.ido.example"]}, "extendedKeyUsage": ["serverAuth"]}
}"#;

/// A name owner's server that runs.
pub(crate) struct Owner {
    pub(crate) service: Service,
    pub(crate) address: String,
    pub(crate) directory: String,
    /// Whom its delegates must trust: it, and the CA.
    pub(crate) anchor: String,
    log: PathBuf,
}

impl Owner {
    /// One whose only delegate has a key of this thumbprint, at this CA.
    pub(crate) fn start(folder: &Folder, ca: &Ca, thumbprint: &str, flags: &[&str]) -> Self {
        Self::listening(folder, &own(), ca, thumbprint, flags)
    }

    pub(crate) fn listening(folder: &Folder, listen: &str, ca: &Ca, thumbprint: &str, flags: &[&str]) -> Self {
        Self::at(folder, listen, &ca.directory, &ca.anchor, thumbprint, flags)
    }

    pub(crate) fn at(
        folder: &Folder,
        listen: &str,
        upstream: &str,
        anchor: &str,
        thumbprint: &str,
        flags: &[&str],
    ) -> Self {
        folder.write("template.json", TEMPLATE);
        folder.write(
            "delegations.toml",
            format!("[[delegation]]\nname = \"cdn\"\ntemplate = \"template.json\"\naccounts = [\"{thumbprint}\"]\n"),
        );
        Self::run(folder, listen, upstream, anchor, flags)
    }

    /// One with the files that are there.
    pub(crate) fn again(folder: &Folder, listen: &str, ca: &Ca, flags: &[&str]) -> Self {
        Self::run(folder, listen, &ca.directory, &ca.anchor, flags)
    }

    fn run(folder: &Folder, listen: &str, upstream: &str, anchor: &str, flags: &[&str]) -> Self {
        let (rules, dir) = (folder.file("delegations.toml"), folder.file("ido"));
        let words = ["lurk", "ido", "--json", "--listen", listen, "--upstream", upstream, "--upstream-ca", anchor];
        let service = Service::start(&[&words[..], &["--delegations", &rules, "--dir", &dir], flags].concat());
        let line = service.event();
        assert_eq!(line["service"], "lurk-ido", "{}", service.log());
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let (address, directory) = (text("addr"), text("directory"));
        Self { service, address, directory, anchor: folder.file("ido/ca.pem"), log: folder.path("ido/audit.ndjson") }
    }

    /// The lines of the audit log about this, each once.
    pub(crate) fn audit(&self, event: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        // The last one may be about to be written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        // One that is killed may write a line again.
        let mut ids = HashSet::new();
        let lines = lines.filter(|line| ids.insert(line["id"].as_str().unwrap().to_owned()));
        lines.filter(|line| line["event"] == event).collect()
    }
}

/// Makes the account's key of the delegate, as users do, and gives its thumbprint (RFC 7638).
pub(crate) fn thumbprint(folder: &Folder) -> String {
    account_key(&folder.file("account.key"))
}

/// A name server of TXT records: the files of the folder `dns`, named as the records are.
pub(crate) struct Zone {
    pub(crate) address: String,
    /// The hook that makes them.
    pub(crate) hook: String,
}

impl Zone {
    pub(crate) fn start(folder: &Folder) -> Self {
        let records = folder.path("dns");
        std::fs::create_dir_all(&records).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let (silent, asked) = (folder.path("silent"), folder.path("asked"));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                // Says nothing while that file is there, and that it was asked.
                if silent.exists() {
                    let _ = std::fs::write(&asked, "");
                    continue;
                }
                if let Some(answer) = txt_answer(&query[..length], &records) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let hook = Self::hook(folder, "hook", "");
        Self { address, hook }
    }

    /// A hook that does not end while this file is there.
    pub(crate) fn slow_hook(&self, folder: &Folder, file: &str) -> String {
        Self::hook(folder, "slow-hook", &format!("while [ -e {file} ]; do sleep 0.05; done\n"))
    }

    fn hook(folder: &Folder, name: &str, more: &str) -> String {
        let (dns, calls) = (folder.file("dns"), folder.file("calls"));
        let script = format!(
            "#!/bin/sh\necho \"$1 $2 $3\" >> {calls}\n{more}case $1 in\npresent) printf %s \"$3\" > {dns}/$2;;\n\
             cleanup) rm -f {dns}/$2;;\n*) exit 1;;\nesac\n"
        );
        let path = folder.write(name, script);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        path
    }
}

/// The answer to one question about TXT records (RFC 1035 section 4).
fn txt_answer(query: &[u8], records: &Path) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
    let question = query.get(12..at + 5)?;
    let is_txt = question.ends_with(&[0, 16, 0, 1]);
    let found = std::fs::read(records.join(labels.join("."))).ok().filter(|_| is_txt);
    let code = if found.is_some() { 0 } else { 3 };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(text) = found {
        let length = u8::try_from(text.len()).ok()?;
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, length + 1, length]);
        answer.extend(text);
    }
    Some(answer)
}

/// The next event, which is of this kind. Where certificates are good for some seconds, and the machine is busy, one may
/// be late: that is said too, and is not the question.
#[track_caller]
pub(crate) fn next(service: &Service, event: &str) -> serde_json::Value {
    loop {
        let found = service.event();
        if found["event"] == event {
            return found;
        }
        assert!(["alarm", "gap"].contains(&found["event"].as_str().unwrap()), "{found}\n{}", service.log());
    }
}

/// A script around uacme, which trusts what the system trusts, where that is this anchor.
pub(crate) fn uacme(anchor: &str, script: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount --bind {anchor} /etc/ssl/certs/ca-certificates.crt && {{ {script}; }}");
    command.args(["-m", "sh", "-c", &script]);
    command
}
