//! NSD, serving two zones at an address of its own: `plain.test`, and `signed.test`, which `ldns-signzone` signs.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use watchfire_tests::until;

const PLAIN: &str = "\
$ORIGIN plain.test.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 192.0.2.1
www AAAA 2001:db8::1
alias CNAME www
deep CNAME alias
loop1 CNAME loop2
loop2 CNAME loop1
web A 192.0.2.2
web HTTPS 1 . alpn=h2,h3 port=8443
_xmpp-client._tcp SRV 10 0 5222 www
_xmpp-client._tcp SRV 20 0 5223 web
empty TXT \"no address\"
";

const SIGNED: &str = "\
$ORIGIN signed.test.
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
www A 192.0.2.10
www AAAA 2001:db8::10
_xmpp-client._tcp SRV 10 0 5222 www
";

/// A running server.
pub(crate) struct Authority {
    nsd: Child,
    address: String,
    /// The keys of `signed.test`, as `--trust-anchor` wants them.
    pub(crate) anchor: String,
}

/// The program, if it is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

impl Authority {
    /// Starts it in a folder. None when a program is not installed.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        Self::start_with(folder, "")
    }

    /// The same with more records in `plain.test`.
    pub(crate) fn start_with(folder: &Path, more: &str) -> Option<Self> {
        let (nsd, keygen, signzone) = (installed("nsd")?, installed("ldns-keygen")?, installed("ldns-signzone")?);
        std::fs::write(folder.join("plain.test.zone"), format!("{PLAIN}{more}")).unwrap();
        std::fs::write(folder.join("signed.test.zone"), SIGNED).unwrap();
        let made =
            Command::new(keygen).args(["-k", "-a", "ECDSAP256SHA256", "signed.test"]).current_dir(folder).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let signed = Command::new(signzone).args(["signed.test.zone", &key]).current_dir(folder).output().unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        let anchor = folder.join(format!("{key}.key")).display().to_string();

        // An address of its own: nobody else has the port.
        let (host, folder) = (watchfire_testkit::own_loopback(), folder.display());
        let config = format!(
            "server:\n  ip-address: {host}@5353\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
             database: \"\"\n  pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd.state\"\n  \
             zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  \
             control-enable: no\n\
             zone:\n  name: plain.test\n  zonefile: plain.test.zone\n\
             zone:\n  name: signed.test\n  zonefile: signed.test.zone.signed\n"
        );
        let file = format!("{folder}/nsd.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(&nsd);
        command.args(["-d", "-c", &file]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut this = Self { nsd: command.spawn().unwrap(), address: format!("{host}:5353"), anchor };
        until("NSD answers", || {
            assert_eq!(this.nsd.try_wait().unwrap(), None, "NSD has ended");
            answers(&this.address)
        });
        Some(this)
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// kill -9, with its children.
    pub(crate) fn kill(&mut self) {
        let children = Command::new("pkill").args(["-9", "-P", &self.nsd.id().to_string()]).status();
        let _ = (children, self.nsd.kill(), self.nsd.wait());
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks for plain.test SOA.
fn answers(address: &str) -> bool {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05plain\x04test\x00\x00\x06\x00\x01";
    socket.send_to(question, address).is_ok() && socket.recv_from(&mut [0; 512]).is_ok()
}
