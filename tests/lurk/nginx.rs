//! A web server of somebody else that rolls certificates.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use watchfire_tests::{succeed as watchfire, until};

use crate::delegation::{delegate, shake_hands, until_canceled};
use crate::lab::{Ca, Folder, Owner, has, next, thumbprint};

/// How many renewals there are, unless `WATCHFIRE_RENEWALS` says another number.
const RENEWALS: usize = 3;

/// nginx with what the delegate has installed.
struct Nginx {
    child: Child,
    address: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers, which a kill would leave.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Nginx {
    fn start(folder: &Folder, pid: &str) -> Self {
        // A host of its own: nobody else has the port.
        let (dir, address) = (folder.file(""), format!("{}:8443", watchfire_testkit::own_loopback()));
        let config = format!(
            "daemon off; pid {pid}; error_log {dir}/nginx.log; worker_processes 2;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;\n\
             fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;\n\
             server {{ listen {address} ssl; ssl_certificate {dir}/ndc/chain.pem; ssl_certificate_key {dir}/ndc/key.pem;\n\
             ssl_session_tickets off; return 200 'here'; }} }}\n"
        );
        let config = folder.write("nginx.conf", config);
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-p", &dir, "-c", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut this = Self { child: command.spawn().unwrap(), address };
        until("nginx listens", || {
            assert_eq!(this.child.try_wait().unwrap(), None, "nginx has ended");
            std::path::Path::new(pid).exists() && std::net::TcpStream::connect(&this.address).is_ok()
        });
        this
    }
}

/// What those who shake hands all the time have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    hands: AtomicU64,
    /// How many met a certificate that was over.
    over: AtomicU64,
    certificates: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    /// Shakes hands until it is told to stop; each certificate must be good for the name at that moment.
    fn shake(&self, address: &str, anchor: &str) {
        while !self.stop.load(Ordering::Relaxed) {
            match shake_hands(address, anchor) {
                Ok(Some(certificate)) => drop(self.certificates.lock().unwrap().insert(certificate)),
                Ok(None) => drop(self.over.fetch_add(1, Ordering::Relaxed)),
                Err(failure) => self.failures.lock().unwrap().push(failure),
            }
            self.hands.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// nginx reads the new certificate while clients shake hands all the time: none of them notices. In the end the owner
/// stops the order, and the delegate says so.
#[test]
fn nginx_rolls_under_load_without_a_failed_handshake() {
    if !has("certificates that nginx rolls", "/usr/sbin/nginx") {
        return;
    }
    let renewals = std::env::var("WATCHFIRE_RENEWALS").map_or(RENEWALS, |text| text.parse().expect("a number"));
    let folder = Folder::new();
    let ca = Ca::start(&folder, &["--min-lifetime", "8", "--trust-identifiers"]);
    let owner = Owner::start(&folder, &ca, &thumbprint(&folder), &[]);
    let pid = folder.file("nginx.pid");
    let mut ndc =
        delegate(&folder, &owner, &["--reload", &format!("if [ -e {pid} ]; then kill -HUP $(cat {pid}); fi")]);
    next(&ndc, "ordered");
    next(&ndc, "installed");
    let nginx = Nginx::start(&folder, &pid);
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (seen, address, anchor) = (Arc::clone(&seen), nginx.address.clone(), ca.anchor.clone());
            std::thread::spawn(move || seen.shake(&address, &anchor))
        })
        .collect();
    let began = Instant::now();
    let (mut renewed, mut late) = (0, 0);
    while renewed < renewals {
        // A machine that is busy is late at times. That is said; what counts is that no client notices.
        match ndc.event()["event"].as_str().unwrap() {
            "installed" => renewed += 1,
            "alarm" | "gap" => late += 1,
            other => panic!("{other}\n{}", ndc.log()),
        }
    }
    until("the last one is seen, too", || seen.certificates.lock().unwrap().len() > renewals);
    seen.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let (hands, certificates) = (seen.hands.load(Ordering::Relaxed), seen.certificates.lock().unwrap().len());
    let seconds = began.elapsed().as_secs();
    println!("{renewals} renewals in {seconds} s: {hands} handshakes, {certificates} certificates, {late} times late");
    let failures = seen.failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {hands} handshakes failed: {}", failures.len(), failures[0]);
    let over = seen.over.load(Ordering::Relaxed);
    assert!(over == 0 || late > 0, "{over} of {hands} handshakes met a certificate that was over");

    let upstream = owner.audit("placed")[0]["upstream"].as_str().unwrap().to_owned();
    let key = folder.file("ido/account.key");
    let cancel = ["lurk", "cancel", "--order", &upstream, "--directory", &ca.directory, "--account-key", &key];
    watchfire(&[&cancel[..], &["--ca", &ca.anchor]].concat());
    until_canceled(&ndc);
    assert_eq!(ndc.wait(), 1);
    ndc.wait_for_log("the name owner has stopped the order");
}
