use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Folder, program, wait_for};
use crate::own_loopback;

/// A NATS server with JetStream.
#[derive(Debug)]
pub struct Nats {
    folder: Folder,
    program: PathBuf,
    address: SocketAddr,
    server: Child,
}

impl Nats {
    /// Starts it, with further lines of its configuration. None, loudly, where it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(more: &str) -> Option<Self> {
        // An address of our own: nobody else takes the port while it is down.
        Self::start_at(own_loopback(), more)
    }

    /// The same, at an address that nobody else uses.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_at(host: Ipv4Addr, more: &str) -> Option<Self> {
        let Some(program) = program([PathBuf::from("/usr/sbin")], "nats-server") else {
            eprintln!("SKIPPED: nats-server is not installed; what is published was NOT tested");
            return None;
        };
        let folder = Folder::new("nats");
        let store = folder.path().display();
        let text = format!(
            "jetstream {{ store_dir: \"{store}\", max_file: 1G }}\nports_file_dir: \"{store}\"\nserver_name: \"test\"\n{more}\n"
        );
        std::fs::write(folder.path().join("nats.conf"), text).expect("a file can be written");
        let mut server = launch(&program, folder.path(), &format!("{host}"), -1);
        let ports = folder.path().join(format!("nats-server_{}.ports", server.id()));
        let address = wait_for("nats-server", &mut server, || {
            let text = std::fs::read_to_string(&ports).ok()?;
            let port = text.split(&format!("{host}:")).nth(1)?.split('"').next()?.parse().ok()?;
            Some(SocketAddr::new(host.into(), port))
        });
        let mut nats = Self { folder, program, address, server };
        nats.wait();
        Some(nats)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        let host = self.address.ip().to_string();
        self.server = launch(&self.program, self.folder.path(), &host, i32::from(self.address.port()));
        self.wait();
    }

    fn wait(&mut self) {
        let address = self.address;
        wait_for("nats-server", &mut self.server, || {
            let mut line = String::new();
            BufReader::new(TcpStream::connect(address).ok()?).read_line(&mut line).ok()?;
            line.starts_with("INFO").then_some(())
        });
    }

    /// Asks JetStream's API, in the clear and without a password: each request's answer, JSON, in the order of the
    /// requests.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask(&self, requests: &[(String, String)]) -> Vec<String> {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a time-out");
        let mut writer = stream.try_clone().expect("a socket has two sides");
        let mut reader = BufReader::new(stream);
        writer.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB answers 1\r\n").expect("it reads");
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(AHEAD) {
            let words: String = some
                .iter()
                .map(|(subject, body)| format!("PUB $JS.API.{subject} answers {}\r\n{body}\r\n", body.len()))
                .collect();
            writer.write_all(words.as_bytes()).expect("it reads");
            answers.extend(some.iter().map(|_| answer(&mut reader, &mut writer)));
        }
        answers
    }
}

/// So many requests are on their way at one time.
const AHEAD: usize = 64;

/// The next message.
fn answer(reader: &mut impl BufRead, writer: &mut TcpStream) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).expect("it answers") > 0, "it has closed the connection");
        match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            ["MSG", .., octets] => {
                let mut payload = vec![0; octets.parse::<usize>().expect("a length").saturating_add(2)];
                reader.read_exact(&mut payload).expect("a message");
                return String::from_utf8_lossy(&payload).trim_end().to_owned();
            }
            ["PING"] => writer.write_all(b"PONG\r\n").expect("it reads"),
            ["-ERR", ..] => panic!("{line}"),
            _ => {}
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(program: &Path, folder: &Path, host: &str, port: i32) -> Child {
    let log = folder.join("log").display().to_string();
    Command::new(program)
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .args(["-a", host, "-p", &port.to_string(), "-l", &log])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server can be run")
}
