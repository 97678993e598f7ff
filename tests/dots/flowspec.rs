//! Routes as BGP speakers take them: ExaBGP reads what is written, GoBGP is its peer and says which rules it has.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use watchfire_testkit::own_loopback;
use watchfire_tests::{Service, Site, skip, until, wait_for};

use crate::site::{HOME, IN_FORCE, Operator, home, site};

fn has(programs: &[&str], test: &str) -> bool {
    let found = |program: &&&str| {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    };
    match programs.iter().find(|program| !found(program)) {
        Some(missing) => {
            skip(test, &format!("there is no {missing}: install exabgp and gobgpd"));
            false
        }
        None => true,
    }
}

/// A GoBGP that a neighbour calls, and what it says when it is asked.
struct GoBgp {
    service: Service,
    address: String,
}

impl GoBgp {
    fn start(site: &Site, address: &str, neighbour: &str) -> Self {
        let families = ["ipv4-flowspec", "ipv6-flowspec"].map(|family| {
            format!("[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n")
        });
        let config = site.write(
            "gobgpd.toml",
            format!(
                "[global.config]\nas = 64512\nrouter-id = \"192.0.2.254\"\nport = 1790\nlocal-address-list = [\"{address}\"]\n\
                 [[neighbors]]\n[neighbors.config]\nneighbor-address = \"{neighbour}\"\npeer-as = 64512\n\
                 [neighbors.transport.config]\npassive-mode = true\nlocal-address = \"{address}\"\n{}{}",
                families[0], families[1]
            ),
        );
        let api = format!("{address}:50051");
        let service = Service::start_other("gobgpd", &["-f", &config, "--api-hosts", &api, "--pprof-disable"]);
        let this = Self { service, address: address.to_owned() };
        this.until("an answer", |_| true);
        this
    }

    /// The command that asks it.
    fn command(&self) -> String {
        format!("gobgp -u {} -p 50051", self.address)
    }

    /// Waits until its rules of both families fit.
    fn until(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let ask = ["ipv4", "ipv6"].map(|family| format!("{} global rib -a {family}-flowspec", self.command()));
        let asked = || Command::new("sh").args(["-c", &ask.join(" && ")]).output().unwrap();
        wait_for(
            || format!("{what}: {:?}\n{}", asked(), self.service.log()),
            || {
                let output = asked();
                let rules = String::from_utf8_lossy(&output.stdout).into_owned();
                (output.status.success() && fits(&rules)).then_some(rules)
            },
        )
    }
}

/// Asks for all that a rule can say, in both families.
fn ask(operator: &Operator) {
    let v6 = ["--source-prefix", "192.0.2.10/32", "--source-prefix", "2001:db8:1::/48"];
    let ports = ["--target-prefix", "2001:db8::7/128", "--target-port", "80", "--target-port", "1000-2000"];
    let (code, _, error) = operator.mitigate("1", &[&v6[..], &ports, &["--source-port", "53"]].concat());
    assert_eq!(code, 0, "{error}");
    let other = ["mitigate", "--peer", HOME, "--mid", "2", "--target-prefix", "198.51.100.9/32"];
    let (code, _, error) =
        operator.ask(&[&other[..], &["--source-prefix", "192.0.2.0/24", "--target-protocol", "47"]].concat());
    assert_eq!(code, 0, "{error}");
    for mid in [1, 2] {
        operator.stands(mid, IN_FORCE);
    }
}

/// The rules for it, as GoBGP shows them.
const RULES: [&str; 3] = [
    "[destination: 198.51.100.7/32][source: 192.0.2.10/32][protocol: ==tcp ==udp ==33 ==sctp ==136][destination-port: ==80 \
     >=1000&<=2000][source-port: ==53]",
    "[destination: 2001:db8::7/128/0][source: 2001:db8:1::/48/0][protocol: ==tcp ==udp ==33 ==sctp ==136][destination-port: \
     ==80 >=1000&<=2000][source-port: ==53]",
    "[destination: 198.51.100.9/32][source: 192.0.2.0/24][protocol: ==gre]",
];

fn rules(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("[destination:")).collect()
}

fn has_all(text: &str) -> bool {
    RULES.iter().all(|rule| rules(text).iter().any(|line| line.contains(rule) && line.contains("[discard]")))
}

fn withdraw(operator: &Operator) {
    for mid in ["1", "2"] {
        let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", mid]);
        assert_eq!(code, 0, "{error}");
    }
}

#[test]
fn exabgp_tells_its_peers_and_takes_it_back() {
    if !has(&["exabgp", "gobgpd", "gobgp"], "exabgp_tells_its_peers_and_takes_it_back") {
        return;
    }
    let site = site();
    let (own, peer) = (own_loopback().to_string(), own_loopback().to_string());
    let gobgp = GoBgp::start(&site, &peer, &own);
    let fifo = site.file("routes");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Open for reading and writing, the FIFO never ends, however often it is written to; not for ever, should this test
    // end before it is told to.
    let reader = site.write("reader", format!("#!/bin/sh\nexec <>{fifo}\n: >{fifo}.open\nexec timeout 300 cat\n"));
    std::fs::set_permissions(&reader, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = site.write(
        "exabgp.conf",
        format!(
            "process routes {{\n run {reader};\n encoder text;\n}}\nneighbor {peer} {{\n router-id 192.0.2.253;\n \
             local-address {own};\n local-as 64512;\n peer-as 64512;\n connect 1790;\n family {{ ipv4 flow; ipv6 flow; }}\n \
             api {{ processes [ routes ]; }}\n}}\n"
        ),
    );
    let settings =
        ["exabgp.daemon.drop=false", "exabgp.api.ack=false", "exabgp.api.cli=false", "exabgp.log.destination=stderr"];
    let mut exabgp =
        Service::start_other("env", &[&settings[..], &["PATH=/usr/sbin:/usr/bin:/bin", "exabgp", &config]].concat());
    until("ExaBGP reads", || std::path::Path::new(&format!("{fifo}.open")).exists());
    let operator = Operator::start(&site, &[]);
    let flags = ["--enforce", "flowspec", "--flowspec-output", &fifo];
    let home = home(&site, &format!("tls://{}", operator.tls), &flags);
    ask(&operator);
    gobgp.until(&format!("rules\n{}{}", home.log(), exabgp.log()), has_all);
    withdraw(&operator);
    gobgp.until("no rules", |text| rules(text).is_empty());
    exabgp.signal("TERM");
    exabgp.wait();
}

#[test]
fn gobgp_takes_the_commands() {
    if !has(&["gobgpd", "gobgp"], "gobgp_takes_the_commands") {
        return;
    }
    let site = site();
    let (neighbour, address) = (own_loopback().to_string(), own_loopback().to_string());
    let gobgp = GoBgp::start(&site, &address, &neighbour);
    let lines = site.file("lines");
    let operator = Operator::start(&site, &[]);
    let flags = ["--enforce", "flowspec", "--flowspec-output", &lines, "--flowspec-dialect", "gobgp"];
    let _home = home(&site, &format!("dtls://{}", operator.dtls), &flags);
    ask(&operator);
    // As a shell takes them, at the speaker of this test.
    let run = |from: usize| {
        let text = std::fs::read_to_string(&lines).unwrap();
        let commands: Vec<&str> = text.lines().skip(from).collect();
        let script = format!("set -e\ngobgp() {{ command {} \"$@\"; }}\n{}\n", gobgp.command(), commands.join("\n"));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}{}", String::from_utf8_lossy(&output.stderr));
        text.lines().count()
    };
    let before = run(0);
    assert_eq!(before, RULES.len());
    gobgp.until("rules", has_all);
    withdraw(&operator);
    until("all is taken back", || std::fs::read_to_string(&lines).unwrap().lines().count() >= 2 * before);
    run(before);
    gobgp.until("no rules", |text| rules(text).is_empty());
}
