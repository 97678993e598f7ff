//! `--enforce nftables` for real: an attacker behind a gateway, and a victim, each in a network of its own.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use watchfire_tests::{PATIENCE, Service, Site, program, skip, until, wait_for};

use crate::site::{HOME, IN_FORCE, OPERATOR, Said, site, stands, stands_by};

fn ip(words: &str) -> bool {
    let output = Command::new("ip").args(words.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// Names of networks; removed at the end.
struct Networks {
    attacker: String,
    gateway: String,
    victim: String,
}

impl Networks {
    /// `None` where it is not allowed.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = |role: &str| format!("wf-{role}-{unique}");
        let networks = Self { attacker: name("a"), gateway: name("g"), victim: name("v") };
        let all = [&networks.attacker, &networks.gateway, &networks.victim];
        if !all.iter().all(|name| ip(&format!("netns add {name}"))) {
            return None;
        }
        let Self { attacker: a, gateway: g, victim: v } = &networks;
        let made = [
            format!("link add name inside netns {g} type veth peer name eth0 netns {a}"),
            format!("link add name outside netns {g} type veth peer name eth0 netns {v}"),
            format!("-n {a} addr add 192.0.2.10/24 dev eth0"),
            format!("-n {a} addr add 192.0.2.11/24 dev eth0"),
            format!("-n {a} addr add 2001:db8:a::10/64 dev eth0 nodad"),
            format!("-n {g} addr add 192.0.2.1/24 dev inside"),
            format!("-n {g} addr add 2001:db8:a::1/64 dev inside nodad"),
            format!("-n {g} addr add 198.51.100.1/24 dev outside"),
            format!("-n {g} addr add 2001:db8:b::1/64 dev outside nodad"),
            format!("-n {v} addr add 198.51.100.7/24 dev eth0"),
            format!("-n {v} addr add 2001:db8:b::7/64 dev eth0 nodad"),
            format!("-n {a} link set eth0 up"),
            format!("-n {v} link set eth0 up"),
            format!("-n {g} link set inside up"),
            format!("-n {g} link set outside up"),
            format!("-n {g} link set lo up"),
            format!("-n {a} route add default via 192.0.2.1"),
            format!("-n {a} -6 route add default via 2001:db8:a::1"),
            format!("-n {v} route add default via 198.51.100.1"),
            format!("-n {v} -6 route add default via 2001:db8:b::1"),
        ];
        for words in &made {
            assert!(ip(words), "ip {words}");
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        let set = networks.within(&networks.gateway, &["sh", "-c", forward]).output().unwrap();
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
        Some(networks)
    }

    fn within(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).args(words);
        command
    }

    fn rules(&self) -> String {
        let output = self.within(&self.gateway, &["nft", "list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in [&self.attacker, &self.gateway, &self.victim] {
            ip(&format!("netns del {name}"));
        }
    }
}

/// A UDP flood, and how much of it arrives: a line each 100 ms with the count of each port.
const FLOOD: &str = "import socket,sys,time\n\
s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,socket.SOCK_DGRAM)\n\
s.bind((sys.argv[1],0))\n\
while True:\n\
\tfor p in sys.argv[3:]:\n\
\t\ttry: s.sendto(b'x'*100,(sys.argv[2],int(p)))\n\
\t\texcept OSError: pass\n\
\ttime.sleep(0.002)\n";
const SINK: &str = "import socket,select,sys,time\n\
ss=[]\n\
for p in sys.argv[1:]:\n\
\ts=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM);s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,0)\n\
\ts.bind(('::',int(p)));ss.append(s)\n\
n={}\n\
end=time.time()+0.1\n\
while True:\n\
\tr,_,_=select.select(ss,[],[],max(0,end-time.time()))\n\
\tfor s in r:\n\
\t\tf=s.recvfrom(200)[1][0]\n\
\t\tk=f.replace('::ffff:','')+' '+str(s.getsockname()[1]);n[k]=n.get(k,0)+1\n\
\tif time.time()>=end:\n\
\t\tprint(';'.join('%s=%d'%i for i in sorted(n.items())),flush=True);n={};end=time.time()+0.1\n";

/// Killed when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What arrives at the victim, by source and port.
struct Sink {
    _process: Process,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Sink {
    fn start(networks: &Networks, ports: &[&str]) -> Self {
        use std::io::BufRead as _;
        let mut child = networks
            .within(&networks.victim, &[&["python3", "-c", SINK], ports].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { _process: Process(child), lines }
    }

    /// Waits for a tenth of a second in which this arrives, or does not, and says how long that took.
    fn until(&self, arrives: &[&str], not: &[&str]) -> Duration {
        let began = Instant::now();
        // What was written before is not of now.
        while self.lines.try_recv().is_ok() {}
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let has = |flow: &&str| line.split(';').any(|part| part.starts_with(&format!("{flow}=")));
            if arrives.iter().all(has) && !not.iter().any(has) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{line}: wanted {arrives:?}, not {not:?}");
        }
    }
}

fn flood(networks: &Networks, from: &str, to: &str, ports: &[&str]) -> Process {
    let words = [&["python3", "-c", FLOOD, from, to], ports].concat();
    Process(networks.within(&networks.attacker, &words).spawn().unwrap())
}

/// The program in one of the networks.
fn service(name: &str, words: &[&str]) -> Service {
    let program = program().display().to_string();
    let words = [&["netns", "exec", name, &program][..], words].concat();
    Service::start_other("ip", &words)
}

struct Gateway {
    operator: Service,
    api: String,
    home: Service,
}

fn start(networks: &Networks, site: &Site, more: &[&str]) -> Gateway {
    let tls = site.tls(OPERATOR);
    let mut words = vec!["dots", "call-home-client", "--json", "--listen", "dtls://198.51.100.7:4647"];
    words.extend(["--api", "127.0.0.1:8647"]);
    words.extend(tls.iter().map(String::as_str));
    assert!(networks.within(&networks.victim, &["ip", "link", "set", "lo", "up"]).status().unwrap().success());
    let operator = service(&networks.victim, &words);
    operator.address();
    let api = operator.address();
    let home = home(networks, site, more);
    Gateway { operator, api, home }
}

fn home(networks: &Networks, site: &Site, more: &[&str]) -> Service {
    let tls = site.tls(HOME);
    let mut words =
        vec!["dots", "call-home-server", "--json", "--connect", "dtls://198.51.100.7", "--peer-name", OPERATOR];
    words.extend(["--enforce", "nftables", "--terminating", "1s", "--report-every", "1s", "--reconnect-min", "1"]);
    words.extend(["--domain", "192.0.2.0/24", "--domain", "2001:db8:a::/48"]);
    words.extend(tls.iter().map(String::as_str));
    words.extend(more);
    service(&networks.gateway, &words)
}

impl Gateway {
    fn ask(&self, networks: &Networks, words: &[&str]) -> Said {
        let program = program().display().to_string();
        let (command, rest) = words.split_first().unwrap();
        let words = [&[&*program, "dots", command, "--json", "--api", &self.api, "--timeout", "120s"], rest].concat();
        let output = networks.within(&networks.victim, &words).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (output.status.code().unwrap(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Asks for a mitigation of this network, and waits until it is in force.
    fn mitigate(&self, networks: &Networks, mid: u64, more: &[&str]) {
        let number = mid.to_string();
        let words = ["mitigate", "--peer", HOME, "--mid", &number];
        let (code, lines, error) = self.ask(networks, &[&words[..], more].concat());
        assert_eq!(code, 0, "{error}\n{}", self.home.log());
        if lines[0]["status"] != IN_FORCE {
            stands_by(&|words: &[&str]| self.ask(networks, words), mid, IN_FORCE);
        }
    }
}

/// How many rules drop.
fn drops(networks: &Networks) -> usize {
    networks.rules().matches("drop").count()
}

fn networks(test: &str) -> Option<Networks> {
    let networks = Networks::new().filter(|networks| {
        networks.within(&networks.gateway, &["nft", "list", "ruleset"]).output().is_ok_and(|out| out.status.success())
    });
    if networks.is_none() {
        skip(test, "network namespaces and nftables: run as root, with the packages iproute2 and nftables");
    }
    networks
}

#[test]
fn a_flood_stops_within_a_second_and_other_traffic_flows() {
    let Some(networks) = networks("a flood stops within a second") else { return };
    let site = site();
    let state = site.file("state");
    let mut gateway = start(&networks, &site, &["--state", &state]);
    let sink = Sink::start(&networks, &["53", "80"]);
    let _attack = flood(&networks, "192.0.2.10", "198.51.100.7", &["53", "80"]);
    let _attack6 = flood(&networks, "2001:db8:a::10", "2001:db8:b::7", &["53"]);
    let _neighbour = flood(&networks, "192.0.2.11", "198.51.100.7", &["53"]);
    let (bad, bad6) = ("192.0.2.10 53", "2001:db8:a::10 53");
    let good = ["192.0.2.10 80", "192.0.2.11 53"];
    sink.until(&[bad, bad6, good[0], good[1]], &[]);
    assert_eq!(drops(&networks), 0);

    // A second, and what a machine that is busy takes for a command that does nothing, for each of some steps.
    let nothing = || {
        let began = Instant::now();
        assert_eq!(gateway.ask(&networks, &["status"]).0, 0);
        began.elapsed()
    };
    let before = nothing();
    let began = Instant::now();
    let sources = ["--source-prefix", "192.0.2.10", "--source-prefix", "2001:db8:a::10"];
    let targets = ["--target-prefix", "198.51.100.7", "--target-prefix", "2001:db8:b::7"];
    let more = [&["--lifetime", "600", "--target-port", "53"], &sources[..], &targets].concat();
    gateway.mitigate(&networks, 1, &more);
    let answered = began.elapsed();
    let stopped = answered + sink.until(&good, &[bad, bad6]);
    let pace = before.max(nothing());
    eprintln!("the command was answered after {answered:?}, the flood had stopped after {stopped:?}; pace {pace:?}");
    assert!(stopped < Duration::from_secs(1) + 20 * pace, "{stopped:?}; a command that does nothing takes {pace:?}");
    let rules = networks.rules();
    assert_eq!(rules.matches("drop").count(), 2, "{rules}");
    assert!(rules.contains("timeout 10m"), "elements leave in time: {rules}");

    // The counters come back.
    let number = |one: &Value, name: &str| one[name].as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    until("packets are dropped and counted", || {
        let (_, lines, _) = gateway.ask(&networks, &["status"]);
        let dropped = lines.first().map_or(0, |one| number(one, "pkts-dropped"));
        assert!(dropped == 0 || number(&lines[0], "bytes-dropped") >= dropped * 128, "{lines:?}");
        dropped > 100
    });

    // Nobody is there, and nothing changes; after the restart neither, but for who is there.
    gateway.home.kill();
    sink.until(&good, &[bad, bad6]);
    gateway.home = home(&networks, &site, &["--state", &state]);
    stands(&gateway.home, 1, IN_FORCE);
    sink.until(&good, &[bad, bad6]);
    assert_eq!(drops(&networks), 2);

    let (code, _, error) = gateway.ask(&networks, &["withdraw", "--peer", HOME, "--mid", "1"]);
    assert_eq!(code, 0, "{error}\n{}\n{}", gateway.home.log(), gateway.operator.log());
    stands(&gateway.home, 1, "attack-mitigation-terminated");
    sink.until(&[bad, bad6, good[0], good[1]], &[]);
    until("nothing is left", || {
        let rules = networks.rules();
        !["chain", "set", "counter"].iter().any(|part| rules.contains(part))
    });
}

#[test]
fn what_the_gateway_itself_sends_is_stopped_too() {
    let Some(networks) = networks("what the gateway itself sends is stopped") else { return };
    let site = site();
    let gateway = start(&networks, &site, &[]);
    let sink = Sink::start(&networks, &["53", "80"]);
    let words = ["python3", "-c", FLOOD, "192.0.2.1", "198.51.100.7", "53", "80"];
    let _attack = Process(networks.within(&networks.gateway, &words).spawn().unwrap());
    let (bad, good) = ("192.0.2.1 53", "192.0.2.1 80");
    sink.until(&[bad, good], &[]);
    let flow = ["--source-prefix", "192.0.2.1", "--target-prefix", "198.51.100.7", "--target-port", "53"];
    gateway.mitigate(&networks, 1, &flow);
    sink.until(&[good], &[bad]);
}

/// Where there are no namespaces, this is what says whether the rules are right.
#[test]
fn nft_takes_the_rules_as_they_are_written() {
    let site = site();
    // An `nft` that only checks, and keeps what it was given. Only the table is there for it.
    let dir = site.file("bin");
    std::fs::create_dir(&dir).unwrap();
    let nft = site.write(
        "bin/nft",
        "#!/bin/sh\nPATH=$PATH:/usr/sbin\nin=\"$0.$$\"; cat > \"$in\"\n\
         case \"$* $(cat \"$in\")\" in *list*) echo '{\"nftables\":[]}'; exit;; esac\n\
         cat \"$in\" >> \"$0.log\"; echo >> \"$0.log\"\n\
         sed -i 's/^{\"nftables\":\\[/&{\"add\":{\"table\":{\"family\":\"inet\",\"name\":\"watchfire_dots\"}}},/' \"$in\"\n\
         /usr/sbin/nft -c -j -f \"$in\" || unshare -Urn /usr/sbin/nft -c -j -f \"$in\"\n",
    );
    assert!(Command::new("chmod").args(["755", &nft]).status().unwrap().success());
    let check = |words: &str| {
        let output = Command::new("sh").args(["-c", words]).stdin(Stdio::null()).output().unwrap();
        output.status.success()
    };
    let table = "'{\"nftables\":[{\"add\":{\"table\":{\"family\":\"inet\",\"name\":\"t\"}}}]}'";
    if !check(&format!("echo {table} | {nft} -j -f -")) {
        return skip("nft takes the rules", "nft may not even check: install nftables, and run as root");
    }
    let operator = crate::site::Operator::start(&site, &[]);
    let tls = site.tls(HOME);
    let (path, program) = (format!("PATH={dir}:/usr/bin:/bin"), program().display().to_string());
    let connect = format!("tls://{}", operator.tls);
    let mut words = vec![&*path, &*program, "dots", "call-home-server", "--json", "--connect", &connect];
    words.extend(["--peer-name", OPERATOR, "--enforce", "nftables", "--terminating", "1s"]);
    words.extend(tls.iter().map(String::as_str));
    let home = Service::start_other("env", &words);
    let all = ["--target-prefix", "2001:db8::7/128", "--source-prefix", "192.0.2.0/25", "--source-prefix"];
    let ports = ["2001:db8:1::/48", "--target-port", "80", "--target-port", "1000-2000", "--source-port", "53"];
    let (code, _, error) = operator.mitigate("1", &[&all[..], &ports].concat());
    assert_eq!(code, 0, "{error}\n{}", home.log());
    let other = ["mitigate", "--peer", HOME, "--mid", "2", "--source-prefix", "192.0.2.10/32", "--target-prefix"];
    let more = ["198.51.100.8/32", "--target-protocol", "icmp", "--lifetime", "-1"];
    let (code, _, error) = operator.ask(&[&other[..], &more].concat());
    assert_eq!(code, 0, "{error}\n{}", home.log());
    for mid in [1, 2] {
        operator.stands(mid, IN_FORCE);
    }
    // The same again, and away with it.
    let (code, _, error) = operator.mitigate("1", &[&all[..], &ports].concat());
    assert_eq!(code, 0, "{error}\n{}", home.log());
    let (code, _, error) = operator.ask(&["withdraw", "--peer", HOME, "--mid", "1"]);
    assert_eq!(code, 0, "{error}");
    stands(&home, 1, "attack-mitigation-terminated");
    let read = || std::fs::read_to_string(site.file("bin/nft.log")).unwrap();
    let is_deleted = |written: &String| written.lines().any(|line| line.contains("delete") && line.contains("m1_"));
    let written = wait_for(read, || Some(read()).filter(is_deleted));
    for part in ["prerouting", "output", "\"drop\"", "[1000,2000]", "\"timeout\":3600"] {
        assert!(written.contains(part), "{part}: {written}");
    }
    assert!(!home.log().contains("failed"), "{}", home.log());
}

#[test]
fn what_a_former_run_left_is_removed_and_a_drain_leaves_nothing() {
    let Some(networks) = networks("what a former run left is removed") else { return };
    let site = site();
    let mut gateway = start(&networks, &site, &[]);
    let ask = |gateway: &Gateway, lifetime: &str| {
        let sources = ["--source-prefix", "192.0.2.10", "--source-prefix", "192.0.2.10/31"];
        let more = ["--target-prefix", "198.51.100.7", "--lifetime", lifetime];
        gateway.mitigate(&networks, 1, &[&sources[..], &more].concat());
    };
    ask(&gateway, "600");
    assert_eq!(drops(&networks), 1);
    // Without --state, what was asked is asked again by the operator, if it still wants it.
    gateway.operator.kill();
    gateway.home.kill();
    assert_eq!(drops(&networks), 1);
    let gateway = start(&networks, &site, &[]);
    gateway.home.wait_for_log("of a former run are removed");
    assert_eq!(drops(&networks), 0);

    ask(&gateway, "-1");
    assert!(!networks.rules().contains("timeout 1"), "for ever: {}", networks.rules());
    // A drain without --state leaves nothing.
    let mut home = gateway.home;
    home.signal("TERM");
    assert_eq!(home.wait(), 0, "{}", home.log());
    assert!(!networks.rules().contains("drop"), "{}", networks.rules());
}

#[test]
fn from_request_to_rule() {
    let Some(networks) = networks("from request to rule") else { return };
    let site = site();
    let gateway = start(&networks, &site, &["--metrics", "127.0.0.1:9100"]);
    let mut times = Vec::new();
    for mid in 1..=60 {
        let target = format!("198.51.100.{}", 100 + mid % 100);
        let began = Instant::now();
        gateway.mitigate(&networks, mid, &["--source-prefix", "192.0.2.10", "--target-prefix", &target]);
        times.push(began.elapsed());
    }
    times.sort();
    let fetch = "import urllib.request as u;print(u.urlopen('http://127.0.0.1:9100/metrics').read().decode())";
    let text = networks.within(&networks.gateway, &["python3", "-c", fetch]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let enforce: Vec<&str> = text.lines().filter(|line| line.starts_with("watchfire_dots_enforce_seconds")).collect();
    eprintln!(
        "60 commands, each a process: p50 {:?}, p99 {:?}; to be enforced until it is:\n{}",
        times[30],
        times[59],
        enforce.join("\n")
    );
    assert_eq!(drops(&networks), 60);
    assert!(enforce.contains(&"watchfire_dots_enforce_seconds_count 60"), "{enforce:?}");
}

#[test]
fn a_packet_filter_that_fails_is_never_called_done() {
    let Some(networks) = networks("a packet filter that fails") else { return };
    let site = site();
    // Another `nft` is found first; it works until it is told not to.
    let dir = site.file("bin");
    std::fs::create_dir(&dir).unwrap();
    let nft = site.write(
        "bin/nft",
        "#!/bin/sh\n[ -e \"$0.fail\" ] && { echo 'Error: no room' >&2; exit 1; }\nexec /usr/sbin/nft \"$@\"\n",
    );
    assert!(Command::new("chmod").args(["755", &nft]).status().unwrap().success());
    let path = format!("{dir}:{}", std::env::var("PATH").unwrap_or_default());
    let tls = site.tls(HOME);
    let program = program().display().to_string();
    let path = format!("PATH={path}");
    let mut words =
        vec!["netns", "exec", &networks.gateway, "env", &path, &program, "dots", "call-home-server", "--json"];
    words.extend([
        "--connect",
        "dtls://198.51.100.7",
        "--peer-name",
        OPERATOR,
        "--enforce",
        "nftables",
        "--terminating",
        "1s",
    ]);
    words.extend(tls.iter().map(String::as_str));
    let gateway = start(&networks, &site, &[]);
    let Gateway { operator, api, mut home } = gateway;
    home.kill();
    let gateway = Gateway { operator, api, home: Service::start_other("ip", &words) };
    gateway.home.wait_for_log("session");
    site.write("bin/nft.fail", "");
    let request =
        ["mitigate", "--peer", HOME, "--mid", "1", "--source-prefix", "192.0.2.10", "--target-prefix", "198.51.100.7"];
    crate::site::is_told_that_it_fails(|| gateway.ask(&networks, &request));
    gateway.home.wait_for_log("no room");
    std::fs::remove_file(site.file("bin/nft.fail")).unwrap();
    stands(&gateway.home, 1, IN_FORCE);
    assert_eq!(drops(&networks), 1);
}
