//! The same with OpenSSL at the other end, when its program is installed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use iap_tokio::tls::{Claim, Reason, TlsError, Version, manager_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::dir::Dir;
use crate::{NOW, Site, tls};

/// Whether to go on. A skipped test says so on the terminal: the test harness cannot.
fn installed(test: &str) -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: {test} needs the program `openssl`");
    }
    found
}

/// Ends the program with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(dir: &Dir, tool: &str, args: &[&str]) -> Program {
    let now = NOW.to_string();
    let common = [tool, "-cert", "node.pem", "-key", "node.key", "-CAfile", "ca.pem", "-attime", &now];
    let child = Command::new("openssl")
        .current_dir(&dir.0)
        .args(common)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Program(child.unwrap())
}

#[tokio::test]
async fn an_openssl_analyzer_connects_and_resumes() {
    if !installed("an_openssl_analyzer_connects_and_resumes") {
        return;
    }
    let (site, dir) = (Site::new(), Dir::new("s-client"));
    let manager = tls(site.manager());
    dir.node(&site.analyzer);
    dir.write("ca.pem", &site.ca.pem);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (flag, version) in [("-tls1_2", Version::Tls12), ("-tls1_3", Version::Tls13)] {
        for resumed in [false, true] {
            let session = if resumed { "-sess_in" } else { "-sess_out" };
            let args = ["-connect", &address, flag, "-quiet", "-verify_return_error", session, flag];
            let named = ["-verify_hostname", "manager.example.org", "-servername", "manager.example.org"];
            let mut program = run(&dir, "s_client", &[&args[..], &named].concat());
            let (socket, _) = listener.accept().await.unwrap();
            let up = manager.accept(socket, Bytes::new(), Claim::ANALYZER).await;
            let mut up = match up {
                Ok(up) => up,
                Err(error) => {
                    let mut said = String::new();
                    program.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                    panic!("{flag} {resumed}: {error}; openssl says: {said}");
                }
            };
            assert_eq!(up.peer.display(), "sensor-1");
            assert_eq!((up.handshake.version, up.handshake.resumed), (version, resumed));
            up.stream.write_all(b"200\n").await.unwrap();
            up.stream.shutdown().await.unwrap();
            let output = tokio::task::spawn_blocking(move || {
                let mut heard = String::new();
                program.0.stdout.take().unwrap().read_to_string(&mut heard).unwrap();
                heard
            });
            assert_eq!(output.await.unwrap(), "200\n");
        }
    }
}

#[tokio::test]
async fn an_openssl_manager_is_reached_and_resumed() {
    if !installed("an_openssl_manager_is_reached_and_resumed") {
        return;
    }
    let (site, dir) = (Site::new(), Dir::new("s-server"));
    dir.node(&site.manager);
    dir.write("ca.pem", &site.ca.pem);
    let name = manager_name("manager.example.org").unwrap();
    for (flag, version) in [("-tls1_2", Version::Tls12), ("-tls1_3", Version::Tls13)] {
        let args = ["-accept", "127.0.0.1:0", flag, "-rev", "-Verify", "2", "-verify_return_error"];
        let mut program = run(&dir, "s_server", &args);
        let mut lines = BufReader::new(program.0.stdout.take().unwrap());
        let (address, _lines) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            while !line.starts_with("ACCEPT ") {
                line.clear();
                assert_ne!(lines.read_line(&mut line).unwrap(), 0, "openssl ended early");
            }
            (line.trim_start_matches("ACCEPT ").trim().to_owned(), lines)
        })
        .await
        .unwrap();
        let analyzer = tls(site.analyzer());
        for resumed in [false, true] {
            let socket = TcpStream::connect(&address).await.unwrap();
            let mut up = analyzer.connect(socket, &name, Claim::MANAGER).await.unwrap();
            assert_eq!(up.peer.display(), "manager.example.org");
            assert_eq!((up.handshake.version, up.handshake.resumed), (version, resumed));
            up.stream.write_all(b"alert\n").await.unwrap();
            let mut answer = [0; 6];
            up.stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"trela\n");
            up.stream.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_openssl_analyzer_with_tls_1_1_is_refused() {
    if !installed("an_openssl_analyzer_with_tls_1_1_is_refused") {
        return;
    }
    let (site, dir) = (Site::new(), Dir::new("tls-1-1"));
    dir.node(&site.analyzer);
    dir.write("ca.pem", &site.ca.pem);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut program = run(&dir, "s_client", &["-connect", &address, "-tls1_1", "-cipher", "ALL@SECLEVEL=0"]);
    let (socket, _) = listener.accept().await.unwrap();
    let manager = tls(site.manager());
    let accept = manager.accept(socket, Bytes::new(), Claim::ANALYZER);
    let error = tokio::time::timeout(Duration::from_secs(20), accept).await.unwrap().unwrap_err();
    if error == TlsError::Closed {
        let mut said = String::new();
        program.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        eprintln!("SKIPPED: this openssl cannot do TLS 1.1: {said}");
        return;
    }
    assert_eq!(error.reason(), Reason::ProtocolVersion, "{error}");
}
