//! Whatever becomes of a start, nothing is left of it.

use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::*;
use crate::cli::{InitArgs, IssueArgs, Profile};
use crate::testing::TempDir;

/// The services, each with all that it can have on the side.
const ALL: &str = r#"
[iap.manager]
listen = "127.0.0.1:0"
dial = "127.0.0.1:9"
cert = "manager.test.pem"
key = "manager.test.key"
ca = "ca.pem"
store = "sqlite:alerts.db"
retain-days = 1
output = "ndjson:alerts.ndjson"
console = "127.0.0.1:0"
metrics = "127.0.0.1:0"
[[iap.sensor]]
connect = "127.0.0.1:9"
manager-name = "manager.test"
cert = "sensor.test.pem"
key = "sensor.test.key"
ca = "ca.pem"
eve = "eve.json"
follow = true
metrics = "127.0.0.1:0"
[[iap.sensor]]
listen = "127.0.0.1:0"
manager-name = "manager.test"
cert = "sensor.test.pem"
key = "sensor.test.key"
ca = "ca.pem"
eve = "eve.json"
follow = true
[iap.proxy]
listen = ["127.0.0.1:0", "127.0.0.1:0"]
next-hop = "127.0.0.1:9"
name = "proxy.test"
metrics = "127.0.0.1:0"
[obp.broker]
listen = "127.0.0.1:0"
udp = "127.0.0.1:0"
accounts = "accounts.toml"
policy = "policy.toml"
audit = "audit.ndjson"
resolver = "127.0.0.1:9"
cert = "localhost.pem"
key = "localhost.key"
metrics = "127.0.0.1:0"
[repute.serve]
listen = ["127.0.0.1:0", "127.0.0.1:0"]
data = "entries.ndjson"
cert = "localhost.pem"
key = "localhost.key"
metrics = "127.0.0.1:0"
[repute.dnsbl]
listen = ["127.0.0.1:0", "127.0.0.1:0"]
store = "entries.ndjson"
zone = "bl.test"
metrics = "127.0.0.1:0"
[lurk.ca]
listen = "127.0.0.1:0"
dir = "ca"
metrics = "127.0.0.1:0"
[lurk.ido]
listen = "127.0.0.1:0"
upstream = "https://127.0.0.1:9/directory"
upstream-ca = "ca.pem"
delegations = "delegations.toml"
dir = "ido"
dns-hook = "true"
metrics = "127.0.0.1:0"
[lurk.relay]
listen = ["127.0.0.1:0", "127.0.0.1:0"]
cert = "localhost.pem"
key = "localhost.key"
metrics = "127.0.0.1:0"
[dots.call-home-client]
listen = ["tls://127.0.0.1:0", "dtls://127.0.0.1:0"]
cert = "isp.example.pem"
key = "isp.example.key"
ca = "ca.pem"
eve = "eve.json"
follow = true
rule = "rules.toml"
api = "127.0.0.1:0"
metrics = "127.0.0.1:0"
[dots.call-home-server]
connect = "tls://127.0.0.1:9"
peer-name = "isp.example"
cert = "home.example.pem"
key = "home.example.key"
ca = "ca.pem"
enforce = "log"
state = "state"
api = "127.0.0.1:0"
metrics = "127.0.0.1:0"
"#;

fn files() -> TempDir {
    let dir = TempDir::new("services");
    crate::pki::init(&InitArgs::new(dir.path())).unwrap();
    for (profile, name) in [
        (Profile::IapManager, "manager.test"),
        (Profile::IapAnalyzer, "sensor.test"),
        (Profile::TlsServer, "localhost"),
        (Profile::DotsClient, "isp.example"),
        (Profile::DotsServer, "home.example"),
    ] {
        crate::pki::issue(&IssueArgs::new(dir.path(), profile, name)).unwrap();
    }
    let entry = "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n";
    let rules =
        "[[peer]]\nname = \"h.example\"\nsources = [\"192.0.2.0/24\"]\n[[rule]]\nname = \"a\"\naction = \"propose\"\n";
    for (name, text) in [
        ("eve.json", ""),
        ("policy.toml", ""),
        ("entries.ndjson", entry),
        ("rules.toml", rules),
        ("delegations.toml", ""),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn services(dir: &Path) -> Vec<crate::config::Service> {
    let path = dir.join("all.toml");
    std::fs::write(&path, ALL).unwrap();
    crate::config::load_or_fail(&path).unwrap().services
}

/// Looks at a start, and at the service if it has started, so many times in all; then both are dropped. Gives whether
/// there were that many.
async fn look(args: &ServiceArgs, times: usize) -> bool {
    let context = Context::new(false, CancellationToken::new(), Reload::manual().1);
    let part = context.part();
    let mut start = pin!(start(args, &part.0));
    let mut looks = 0;
    let mut running = loop {
        if looks == times {
            return true;
        }
        looks += 1;
        match std::future::poll_fn(|cx| Poll::Ready(start.as_mut().poll(cx))).await {
            Poll::Ready(started) => break started.unwrap(),
            Poll::Pending => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    for _ in looks..times.min(looks + 2) {
        let running = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        assert!(running.is_pending());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times <= looks + 1
}

/// Waits until no task of this runtime is left.
async fn deserted(what: &str) {
    let metrics = tokio::runtime::Handle::current().metrics();
    let began = Instant::now();
    while metrics.num_alive_tasks() > 0 {
        let left = metrics.num_alive_tasks();
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {left} tasks are left");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_service_that_is_given_up_at_any_moment_leaves_no_task_behind() {
    let dir = files();
    for mut service in services(dir.path()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut times, mut goes_on) = (0, true);
            // The owner's server waits for its CA, which nobody is.
            while goes_on && times < 200 {
                times += 1 + times / 4;
                // Of a folder whose last user may be about to close it nobody can be sure.
                match &mut service.args {
                    ServiceArgs::LurkCa(args) => args.dir = dir.path().join(format!("ca-{times}")),
                    ServiceArgs::LurkIdo(args) => args.dir = dir.path().join(format!("ido-{times}")),
                    _ => {}
                }
                goes_on = look(&service.args, times).await;
                deserted(&format!("{} after {times} looks", service.label())).await;
            }
        });
    }
}
