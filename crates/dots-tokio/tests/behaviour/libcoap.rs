//! libcoap in both Call Home roles, by a program of ours on its library: (D)TLS client and CoAP server, (D)TLS server and
//! CoAP client, with certificates on both sides, built on OpenSSL and on GnuTLS. Needs gcc and the Debian package
//! `libcoap3-dev`; without them a test says so, loudly, and passes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use dots_tokio::client::ClientLimits;
use dots_tokio::server::CallHomeServerEvent;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::peers::Folder;
use crate::support::{
    CLIENT, Ca, Carrier, Filters, GRACE, SERVER, WAIT, attack, call, carriers, connected, eventually, listen,
};

const LIBRARIES: [&str; 2] = ["openssl", "gnutls"];

/// The program on this library; `None` when it cannot be built.
fn peer(library: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<Vec<Option<PathBuf>>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        // Cargo's folder for that: other tests of this process use it as well, and none knows who is the last.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libcoap-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/libcoap_peer.c");
        LIBRARIES
            .map(|library| {
                let program = folder.join(library);
                let mut gcc = std::process::Command::new("gcc");
                gcc.arg("-o").arg(&program).args([source, &format!("-lcoap-3-{library}")]);
                let done = gcc.stderr(Stdio::null()).status();
                done.is_ok_and(|status| status.success()).then_some(program)
            })
            .to_vec()
    });
    let at = LIBRARIES.iter().position(|known| *known == library).unwrap();
    let program = built[at].as_deref();
    if program.is_none() {
        eprintln!("SKIPPED: gcc or libcoap3-dev is not installed, so libcoap on {library} was not tried");
    }
    program
}

fn start(program: &Path, words: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(program);
    let mut child = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

/// Waits for a line that begins so.
async fn line(lines: &mut Lines<BufReader<ChildStdout>>, begin: &str) -> String {
    let found = async {
        loop {
            match lines.next_line().await.unwrap() {
                Some(line) if line.starts_with(begin) => return line,
                Some(_) => {}
                None => panic!("it ended without {begin:?}"),
            }
        }
    };
    tokio::time::timeout(WAIT, found).await.unwrap_or_else(|_| panic!("no {begin:?} in time"))
}

fn word(carrier: Carrier) -> &'static str {
    if carrier == Carrier::Tls { "tls" } else { "dtls" }
}

#[tokio::test]
async fn libcoap_as_a_call_home_server_is_asked() {
    for library in LIBRARIES {
        let Some(program) = peer(library) else { continue };
        for carrier in carriers() {
            let place = format!("{library} {carrier:?}");
            let ca = Ca::new("ours");
            let folder = Folder::new(&format!("libcoap-server-{library}-{}", word(carrier)));
            let [cert, key, roots] = folder.credentials(&ca, SERVER);
            let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
            let mut events = client.events();
            let port = address.port().to_string();
            let (_child, mut lines) = start(program, &["server", word(carrier), &port, &cert, &key, &roots]);
            assert_eq!(connected(&mut events).await, SERVER, "{place}");
            let mid = client.mitigate_granted(SERVER, attack(), WAIT).await.unwrap_or_else(|e| panic!("{place}: {e}"));
            let asked = line(&mut lines, "put ").await;
            assert!(asked.starts_with("put a101a10281a306816f3139382e35312e3130302e372f3332"), "{place}: {asked}");
            client.withdraw(SERVER, mid).unwrap();
            line(&mut lines, "delete").await;
        }
    }
}

#[tokio::test]
async fn libcoap_as_a_call_home_client_asks() {
    for library in LIBRARIES {
        let Some(program) = peer(library) else { continue };
        for carrier in carriers() {
            let place = format!("{library} {carrier:?}");
            let ca = Ca::new("ours");
            let folder = Folder::new(&format!("libcoap-client-{library}-{}", word(carrier)));
            let [cert, key, roots] = folder.credentials(&ca, CLIENT);
            let mut asked = false;
            // It takes a port that was free a moment before; another one when it is not any more.
            for _ in 0..5 {
                let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let (mut child, mut lines) =
                    start(program, &["client", word(carrier), &port.to_string(), &cert, &key, &roots]);
                let first = tokio::time::timeout(WAIT, lines.next_line()).await.unwrap().unwrap();
                if first.is_none_or(|first| !first.starts_with("listening")) {
                    let _ = child.kill().await;
                    continue;
                }
                let filters = Arc::new(Filters::default());
                let server = call(carrier, ca.config(SERVER), ([127, 0, 0, 1], port).into(), &filters);
                let mut events = server.events();
                let first = async {
                    loop {
                        match events.next().await.unwrap() {
                            CallHomeServerEvent::Up { .. } => return Ok(()),
                            CallHomeServerEvent::AttemptFailed { error, .. } => return Err(error.to_string()),
                            _ => {}
                        }
                    }
                };
                let first = tokio::time::timeout(WAIT, first).await.unwrap_or_else(|_| panic!("{place}: no session"));
                if (library, carrier) == ("gnutls", Carrier::Tls) {
                    // libcoap 4.3.1 on GnuTLS does not choose a protocol, which it must on this port (RFC 8323 section
                    // 8.2): so there is no session with it, and the reason is said.
                    let why = first.expect_err("without ALPN");
                    assert!(why.contains("did not choose the protocol coap"), "{place}: {why}");
                    asked = true;
                    break;
                }
                first.unwrap_or_else(|why| panic!("{place}: {why}"));
                let answer = line(&mut lines, "answer ").await;
                // Granted for an hour, and in progress.
                assert_eq!(answer, "answer 2.01 a101a10281a305187b0e190e101001", "{place}");
                eventually("the filters are in force", || filters.count() == 1).await;
                let order = filters.in_force.lock().unwrap()[&123].clone();
                assert_eq!((&*order.peer, &*order.cuid), (CLIENT, "dz6pHjaADkaFTbjr0JGBpw"), "{place}");
                server.shutdown(GRACE, true).await;
                asked = true;
                break;
            }
            assert!(asked, "{place}: no free port in five tries");
        }
    }
}
