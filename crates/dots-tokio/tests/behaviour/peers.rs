//! Real peers: libcoap's client and server, and OpenSSL's client. Without them a test says so, loudly, and passes.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dots_tokio::client::ClientLimits;
use dots_tokio::server::CallHomeServerEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::support::{
    CLIENT, Ca, Carrier, Filters, SERVER, WAIT, backends, call, carriers, connected, eventually, listen,
};

/// Files for programs that want files; gone with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dots-tokio-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Certificate, key and CA of a node.
    pub fn credentials(&self, ca: &Ca, name: &str) -> [String; 3] {
        let leaf = ca.issue(name);
        [self.write("leaf.pem", leaf.chain), self.write("leaf.key", leaf.key), self.write("ca.pem", &ca.pem)]
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether a program is there.
fn has(program: &str) -> bool {
    let there = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(program).is_file()));
    if !there {
        eprintln!("SKIPPED: {program} is not installed, so nothing was tried with it");
    }
    there
}

async fn run(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(WAIT, child).await.unwrap().unwrap()
}

#[tokio::test]
async fn libcoap_clients_with_certificates_are_let_in_and_answered() {
    for program in ["coap-client-openssl", "coap-client-gnutls"] {
        if !has(program) {
            continue;
        }
        for carrier in carriers() {
            let ca = Ca::new("ours");
            let folder = Folder::new(&format!("client-{program}-{carrier:?}").replace(['(', ')'], "-"));
            let [cert, key, roots] = folder.credentials(&ca, SERVER);
            // A heartbeat that says that the peer's are heard.
            let body = folder.write("hb.cbor", [0xa1, 0x18, 0x31, 0xa1, 0x18, 0x33, 0xf5]);
            let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
            let mut events = client.events();
            let scheme = if carrier == Carrier::Tls { "coaps+tcp" } else { "coaps" };
            let uri = format!("{scheme}://{address}/.well-known/dots/hb");
            let mut command = Command::new(program);
            command.args(["-c", &cert, "-j", &key, "-C", &roots, "-B", "10", "-v", "7", "-m", "put", "-t", "271"]);
            let done = run(command.args(["-f", &body, &uri])).await;
            let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
            assert_eq!(connected(&mut events).await, SERVER, "{program} {carrier:?}: {said}");
            assert!(said.contains("2.04"), "{program} {carrier:?}: {said}");
        }
    }
}

#[tokio::test]
async fn libcoap_servers_are_called_over_both_transports() {
    if !has("coap-server-openssl") {
        return;
    }
    for carrier in carriers() {
        let ca = Ca::new("ours");
        let folder = Folder::new(&format!("server-{carrier:?}").replace(['(', ')'], "-"));
        let [cert, key, roots] = folder.credentials(&ca, CLIENT);
        // libcoap takes the port above the one that it is given, for both transports; another pair if it is taken.
        let mut reached = false;
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let Some(secure) = port.checked_add(1) else { continue };
            let mut command = Command::new("coap-server-openssl");
            command.args(["-A", "127.0.0.1", "-p", &port.to_string(), "-c", &cert, "-j", &key, "-C", &roots]);
            command.args(["-d", "10", "-v", "3"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _program = command.kill_on_drop(true).spawn().unwrap();
            let filters = Arc::new(Filters::default());
            let config = ca.config(SERVER).with_handshake_timeout(Duration::from_secs(5));
            let server = call(carrier, config, ([127, 0, 0, 1], secure).into(), &filters);
            let mut events = server.events();
            let up = async { while !matches!(events.next().await.unwrap(), CallHomeServerEvent::Up { .. }) {} };
            reached = tokio::time::timeout(Duration::from_secs(10), up).await.is_ok();
            if reached {
                break;
            }
        }
        assert!(reached, "{carrier:?}");
    }
}

/// `openssl s_client` with certificate; says something, and is listened to until it has said `until`.
async fn s_client(folder: &Folder, address: std::net::SocketAddr, more: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", CLIENT]);
    command.args(["-cert", &folder.path("leaf.pem"), "-key", &folder.path("leaf.key")]);
    command.args(["-CAfile", &folder.path("ca.pem")]).args(more).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = Vec::new();
    let listening = async {
        let mut buffer = [0; 4096];
        loop {
            let length = output.read(&mut buffer).await.unwrap();
            said.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&said);
            if length == 0 || text.contains("Verify return code") && text.contains("---\n") {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), listening).await;
    let _ = input.write_all(b"Q\n").await;
    drop(input);
    let mut rest = String::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), output.read_to_string(&mut rest)).await;
    String::from_utf8_lossy(&said).into_owned() + &rest
}

#[tokio::test]
async fn openssl_shakes_hands_by_dtls_12_and_not_by_10() {
    if !has("openssl") {
        return;
    }
    for backend in backends() {
        let ca = Ca::new("ours");
        let folder = Folder::new(&format!("s_client-{backend:?}"));
        folder.credentials(&ca, SERVER);
        let (client, address) = listen(Carrier::Dtls(backend), ca.config(CLIENT), ClientLimits::default()).await;
        let mut events = client.events();
        let old = s_client(&folder, address, &["-dtls1", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
        assert!(!old.contains("Cipher is ECDHE"), "{backend:?}: {old}");
        assert_eq!(client.session_count(), 0);
        let said = s_client(&folder, address, &["-dtls1_2"]).await;
        assert!(said.contains("DTLSv1.2") && said.contains("Verify return code: 0"), "{backend:?}: {said}");
        connected(&mut events).await;
    }
}

#[cfg(feature = "openssl")]
#[tokio::test]
async fn dtls_sessions_are_resumed_by_ticket_with_openssl() {
    use crate::support::until;
    use dots_tokio::Backend;
    use dots_tokio::client::CallHomeClientEvent;
    if !has("openssl") {
        return;
    }
    let ca = Ca::new("ours");
    let folder = Folder::new("resume");
    folder.credentials(&ca, SERVER);
    let carrier = Carrier::Dtls(Backend::OpenSsl);
    let (client, address) = listen(carrier, ca.config(CLIENT), ClientLimits::default()).await;
    let mut events = client.events();
    let session = folder.path("session.pem");
    for (option, expected) in [("-sess_out", false), ("-sess_in", true)] {
        let said = s_client(&folder, address, &["-dtls1_2", option, &session]).await;
        let resumed = until(&mut events, "session", |event| match event {
            CallHomeClientEvent::Connected { peer, resumed, .. } => {
                assert_eq!(**peer, *SERVER, "whoever resumes is who it was");
                Some(*resumed)
            }
            _ => None,
        })
        .await;
        assert_eq!(resumed, expected, "{said}");
        assert_eq!(said.contains("Reused"), expected, "{said}");
    }
}

#[cfg(feature = "openssl")]
#[tokio::test]
async fn psk_has_forward_secrecy_with_openssl() {
    use dots_tokio::{Backend, SecurityConfig};
    if !has("openssl") {
        return;
    }
    let config = SecurityConfig::new().with_psk_peer("dots-client-1", b"0123456789abcdef".to_vec());
    let (client, address) = listen(Carrier::Dtls(Backend::OpenSsl), config, ClientLimits::default()).await;
    let mut events = client.events();
    let ca = Ca::new("ours");
    let folder = Folder::new("psk");
    folder.credentials(&ca, SERVER);
    let psk = "30313233343536373839616263646566";
    let said = s_client(&folder, address, &["-dtls1_2", "-psk_identity", "dots-client-1", "-psk", psk]).await;
    assert!(said.contains("ECDHE-PSK"), "{said}");
    assert_eq!(connected(&mut events).await, "dots-client-1");
}

#[tokio::test]
async fn tls_is_12_or_13_with_alpn_and_a_name() {
    if !has("openssl") {
        return;
    }
    let ca = Ca::new("ours");
    let folder = Folder::new("tls");
    folder.credentials(&ca, SERVER);
    let (client, address) = listen(Carrier::Tls, ca.config(CLIENT), ClientLimits::default()).await;
    let mut events = client.events();
    for (option, good) in [("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
        let said = s_client(&folder, address, &[option, "-alpn", "coap", "-cipher", "DEFAULT@SECLEVEL=0"]).await;
        assert_eq!(said.contains("ALPN protocol: coap"), good, "{option}: {said}");
        if good {
            connected(&mut events).await;
        }
    }
    eventually("the last session is over", || client.session_count() == 0).await;
    // Another protocol, and none, are nobody's.
    for alpn in [&["-alpn", "h2"][..], &[]] {
        s_client(&folder, address, &[&["-tls1_3"], alpn].concat()).await;
        assert_eq!(client.session_count(), 0);
    }
    assert_eq!(client.peers().len(), 1);
}

#[tokio::test]
async fn the_dialling_side_says_whom_it_calls() {
    if !has("openssl") {
        return;
    }
    let ca = Ca::new("ours");
    let folder = Folder::new("sni");
    let [cert, key, roots] = folder.credentials(&ca, CLIENT);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-cert", &cert, "-key", &key]);
    command.args(["-CAfile", &roots, "-Verify", "1", "-alpn", "coap", "-servername", CLIENT]);
    command.args(["-cert2", &cert, "-key2", &key, "-trace"]);
    let mut program =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let filters = Arc::new(Filters::default());
    let server = call(Carrier::Tls, ca.config(SERVER), ([127, 0, 0, 1], port).into(), &filters);
    let mut events = server.events();
    let up = async { while !matches!(events.next().await.unwrap(), CallHomeServerEvent::Up { .. }) {} };
    if tokio::time::timeout(WAIT, up).await.is_err() {
        eprintln!("SKIPPED: openssl s_server did not start on the port that was free a moment before");
        return;
    }
    let mut output = program.stdout.take().unwrap();
    let mut said = Vec::new();
    let listening = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&said).contains(CLIENT) {
            let length = output.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(WAIT, listening).await.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("server_name") && !said.contains("early_data"), "{said}");
}
