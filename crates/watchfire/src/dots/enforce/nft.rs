//! `--enforce nftables`: the kernel's packet filter, by the program `nft` and its JSON.
//!
//! All is in one table of the family inet that nobody else uses. A mitigation has a chain of its own; two more that lead
//! there, from the hooks prerouting, for what is forwarded, and output, for what this machine sends, both before
//! connection tracking and address translation, so that addresses are those that are in use here; sets of sources and
//! targets; and a counter. Its name is made of the mid and of who asked. Sources leave their set when the lifetime ends: should nobody be there to remove the rest, nothing is
//! stopped for longer than was granted. Each change is one transaction, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dots_callhome::MitigationId;
use dots_callhome::body::{Lifetime, Prefix};
use dots_tokio::server::{Mitigator, MitigatorError, Order, Report};
use ipnet::IpNet;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::Instant;

use super::super::lock;
use super::flows::{Flow, flows};
use super::traffic::Traffic;
use crate::exit::Failure;

/// The priority of `raw`: before connection tracking.
const PRIORITY: i32 = -300;
/// Where packets are looked at, and what the chains there are called behind the name.
const HOOKS: [(&str, &str); 2] = [("prerouting", "_i"), ("output", "_o")];
/// For how long counters that were read are good: reports about many mitigations cost one look.
const FRESH: Duration = Duration::from_millis(500);
/// How long `nft` may take at the start; later the limit is that of the back end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Octets and packets by name.
type Counted = BTreeMap<String, (u64, u64)>;

/// The packet filter.
#[derive(Debug)]
pub struct Nft {
    table: String,
    quiet: Duration,
    /// Chains that are there, and whose.
    chains: Mutex<BTreeMap<String, Option<MitigationId>>>,
    /// One transaction at a time, and what was counted last.
    counted: tokio::sync::Mutex<Option<(Instant, Counted)>>,
    traffic: Mutex<BTreeMap<MitigationId, Traffic>>,
}

impl Nft {
    /// Sees whether `nft` is there and may be used, and what a former run left in the table.
    ///
    /// # Errors
    /// When it is not, or may not.
    pub async fn open(table: &str, quiet: Duration) -> Result<Arc<Self>, Failure> {
        let nft = Self {
            table: table.to_owned(),
            quiet,
            chains: Mutex::default(),
            counted: tokio::sync::Mutex::default(),
            traffic: Mutex::default(),
        };
        let remedy = "install the package nftables, and run this as root or with the capability CAP_NET_ADMIN";
        let failed = |error: MitigatorError| Failure::usage(error.to_string()).at("nftables").remedy(remedy);
        let opened = async {
            nft.run(&[json!({ "add": { "table": { "family": "inet", "name": table } } })]).await?;
            nft.left_behind().await
        };
        let opened = tokio::time::timeout(PATIENCE, opened).await;
        let left = opened.unwrap_or_else(|_| Err(MitigatorError::new("nft does not end"))).map_err(failed)?;
        if !left.is_empty() {
            tracing::info!(table, count = left.len(), "mitigations of a former run are there");
        }
        lock(&nft.chains).extend(left.into_iter().map(|name| (name, None)));
        Ok(Arc::new(nft))
    }

    /// Removes the mitigations of a former run, but for those that are kept.
    ///
    /// # Errors
    /// When `nft` fails.
    pub async fn tidy(&self, kept: &BTreeSet<(String, String, u32)>) -> Result<(), Failure> {
        let kept: BTreeSet<String> = kept.iter().map(|(peer, cuid, mid)| name(peer, cuid, *mid)).collect();
        let stale: Vec<String> = lock(&self.chains).keys().filter(|name| !kept.contains(*name)).cloned().collect();
        if stale.is_empty() {
            return Ok(());
        }
        let commands: Vec<Value> = stale.iter().flat_map(|name| self.remove(name)).collect();
        let removed = tokio::time::timeout(PATIENCE, self.run(&commands)).await;
        removed
            .unwrap_or_else(|_| Err(MitigatorError::new("nft does not end")))
            .map_err(|error| Failure::usage(error.to_string()).at("nftables"))?;
        lock(&self.chains).retain(|name, _| kept.contains(name));
        tracing::info!(count = stale.len(), "mitigations of a former run are removed");
        Ok(())
    }

    /// The chains in our table.
    async fn left_behind(&self) -> Result<Vec<String>, MitigatorError> {
        let listed = self.run(&[json!({ "list": { "table": { "family": "inet", "name": self.table } } })]).await?;
        let chains = listed.iter().filter_map(|item| item["chain"]["name"].as_str());
        let own = |name: &&str| !HOOKS.iter().any(|(_, suffix)| name.ends_with(suffix));
        Ok(chains.filter(own).map(str::to_owned).collect())
    }

    /// Runs a transaction, and gives what it prints.
    async fn run(&self, commands: &[Value]) -> Result<Vec<Value>, MitigatorError> {
        let input = json!({ "nftables": commands }).to_string();
        let printed = nft(&["-j", "-f", "-"], &input).await?;
        if printed.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        let wrong = || MitigatorError::new("nft prints what is not understood");
        let value: Value = serde_json::from_slice(&printed).map_err(|_| wrong())?;
        value["nftables"].as_array().cloned().ok_or_else(wrong)
    }

    fn object(&self, name: &str) -> Value {
        json!({ "family": "inet", "table": self.table, "name": name })
    }

    /// The chain at a hook.
    fn base(&self, name: &str, hook: &str) -> Value {
        let mut chain = self.object(name);
        chain["type"] = "filter".into();
        chain["hook"] = hook.into();
        chain["prio"] = PRIORITY.into();
        chain["policy"] = "accept".into();
        chain
    }

    fn set(&self, set: &Set) -> Value {
        let mut object = self.object(&set.name);
        object["type"] = if set.v4 { "ipv4_addr" } else { "ipv6_addr" }.into();
        object["flags"] = if set.timed { json!(["interval", "timeout"]) } else { json!(["interval"]) };
        object
    }

    /// Puts a mitigation in force; `replace` when there may be one of this name.
    fn install(&self, name: &str, order: &Order, replace: bool) -> Result<Vec<Value>, MitigatorError> {
        let mut commands = vec![
            json!({ "add": { "table": { "family": "inet", "name": self.table } } }),
            json!({ "add": { "chain": self.object(name) } }),
            json!({ "add": { "counter": self.object(name) } }),
        ];
        if replace {
            commands.push(json!({ "flush": { "chain": self.object(name) } }));
        }
        for (hook, suffix) in HOOKS {
            let base = format!("{name}{suffix}");
            commands.push(json!({ "add": { "chain": self.base(&base, hook) } }));
            if replace {
                commands.push(json!({ "flush": { "chain": self.object(&base) } }));
            }
            let jump = json!([{ "jump": { "target": name } }]);
            let rule = json!({ "family": "inet", "table": self.table, "chain": base, "expr": jump });
            commands.push(json!({ "add": { "rule": rule } }));
        }
        let mut rules = 0;
        for v4 in [true, false] {
            let [sources, targets] = sets(name, v4, order);
            if sources.addresses.is_empty() || targets.addresses.is_empty() {
                continue;
            }
            for set in [&sources, &targets] {
                commands.push(json!({ "add": { "set": self.set(set) } }));
                commands.extend(self.fill(set, order.lifetime, replace));
            }
            for flow in flows(&order.request, v4) {
                rules += 1;
                let rule = json!({
                    "family": "inet", "table": self.table, "chain": name, "expr": expression(name, v4, &flow),
                });
                commands.push(json!({ "add": { "rule": rule } }));
            }
        }
        if rules == 0 {
            return Err(MitigatorError::new("no source and target of the same address family"));
        }
        Ok(commands)
    }

    /// The elements of a set, for so long.
    fn fill(&self, set: &Set, lifetime: Lifetime, replace: bool) -> Vec<Value> {
        let element = |net: &IpNet| {
            let prefix = json!({ "prefix": { "addr": net.network(), "len": net.prefix_len() } });
            match lifetime {
                Lifetime::Seconds(seconds) if set.timed => json!({ "elem": { "val": prefix, "timeout": seconds } }),
                _ => prefix,
            }
        };
        let mut elements = self.object(&set.name);
        elements["elem"] = set.addresses.iter().map(element).collect();
        let flush = replace.then(|| json!({ "flush": { "set": self.object(&set.name) } }));
        flush.into_iter().chain([json!({ "add": { "element": elements } })]).collect()
    }

    /// Takes a mitigation away. Adding first what is removed makes it all the same whether it is there.
    fn remove(&self, name: &str) -> Vec<Value> {
        let mut commands = Vec::new();
        for (hook, suffix) in HOOKS {
            let base = format!("{name}{suffix}");
            commands.push(json!({ "add": { "chain": self.base(&base, hook) } }));
            commands.push(json!({ "flush": { "chain": self.object(&base) } }));
            commands.push(json!({ "delete": { "chain": self.object(&base) } }));
        }
        let chain = self.object(name);
        commands.extend([
            json!({ "add": { "chain": chain } }),
            json!({ "flush": { "chain": chain } }),
            json!({ "delete": { "chain": chain } }),
            json!({ "add": { "counter": chain } }),
            json!({ "delete": { "counter": chain } }),
        ]);
        for v4 in [true, false] {
            for timed in [true, false] {
                let set = self.set(&Set::new(name, v4, timed));
                commands.push(json!({ "add": { "set": set } }));
                commands.push(json!({ "delete": { "set": set } }));
            }
        }
        commands
    }

    /// Octets and packets by name.
    async fn counters(&self, name: &str) -> Result<Option<(u64, u64)>, MitigatorError> {
        let mut counted = self.counted.lock().await;
        if counted.as_ref().is_none_or(|(at, _)| at.elapsed() >= FRESH) {
            let printed = nft(&["-j", "list", "counters", "table", "inet", &self.table], "").await?;
            let value: Value = serde_json::from_slice(&printed)
                .map_err(|_| MitigatorError::new("nft prints what is not understood"))?;
            let all = value["nftables"].as_array().into_iter().flatten().filter_map(|item| {
                let counter = &item["counter"];
                let numbers = (counter["bytes"].as_u64()?, counter["packets"].as_u64()?);
                Some((counter["name"].as_str()?.to_owned(), numbers))
            });
            *counted = Some((Instant::now(), all.collect()));
        }
        Ok(counted.as_ref().and_then(|(_, all)| all.get(name).copied()))
    }
}

#[async_trait]
impl Mitigator for Nft {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        let name = name_of(order);
        let one = self.counted.lock().await;
        // Replacing waits for all processors to have left the old rules; a new name need not.
        let replace = lock(&self.chains).insert(name.clone(), Some(order.id)).is_some();
        self.run(&self.install(&name, order, replace)?).await?;
        drop(one);
        let before = if replace { self.counters(&name).await.ok().flatten() } else { None };
        let (octets, packets) = before.unwrap_or_default();
        lock(&self.traffic).insert(order.id, Traffic::new(Instant::now(), octets, packets));
        Ok(())
    }

    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        let name = name_of(order);
        let _one = self.counted.lock().await;
        // As a whole: somebody may have flushed the rules meanwhile.
        self.run(&self.install(&name, order, true)?).await.map(drop)
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        let name = name_of(order);
        let _one = self.counted.lock().await;
        lock(&self.traffic).remove(&order.id);
        // The same name may be in use again, by a later mitigation.
        if lock(&self.chains).get(&name).is_some_and(|owner| *owner != Some(order.id)) {
            return Ok(());
        }
        self.run(&self.remove(&name)).await?;
        lock(&self.chains).remove(&name);
        Ok(())
    }

    async fn report(&self, order: &Order) -> Result<Report, MitigatorError> {
        let counted = self.counters(&name_of(order)).await?;
        let (octets, packets) = counted.ok_or_else(|| MitigatorError::new("its counter is gone from the table"))?;
        let mut traffic = lock(&self.traffic);
        let traffic = traffic.entry(order.id).or_insert_with(|| Traffic::new(Instant::now(), octets, packets));
        Ok(traffic.count(Instant::now(), octets, packets, self.quiet))
    }
}

/// A set of a mitigation: sources, which leave in time, or targets.
#[derive(Debug)]
struct Set {
    name: String,
    v4: bool,
    timed: bool,
    addresses: Vec<IpNet>,
}

impl Set {
    fn new(name: &str, v4: bool, timed: bool) -> Self {
        let name = format!("{name}_{}{}", if timed { 's' } else { 't' }, if v4 { 4 } else { 6 });
        Self { name, v4, timed, addresses: Vec::new() }
    }
}

fn sets(name: &str, v4: bool, order: &Order) -> [Set; 2] {
    [(true, &*order.hosts), (false, order.request.targets())].map(|(timed, prefixes)| {
        let mut set = Set::new(name, v4, timed);
        let nets = prefixes.iter().filter(|prefix| prefix.is_ipv4() == v4).filter_map(net);
        // Sets of intervals take no overlaps.
        set.addresses = IpNet::aggregate(&nets.collect());
        set
    })
}

fn net(prefix: &Prefix) -> Option<IpNet> {
    IpNet::new(prefix.address(), prefix.len()).ok()
}

/// 64 bits of a digest tell apart who asked: names in a packet filter are short.
fn name(peer: &str, cuid: &str, mid: u32) -> String {
    let digest = Sha256::new().chain_update(peer).chain_update([0]).chain_update(cuid).finalize();
    format!("m{mid}_{}", crate::pki::hex(&digest[..8]))
}

fn name_of(order: &Order) -> String {
    name(&order.peer, &order.cuid, order.mid)
}

fn equals(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn ranges<T: Copy + PartialEq + serde::Serialize>(ranges: &[(T, T)]) -> Value {
    let one = |(lower, upper): &(T, T)| if lower == upper { json!(lower) } else { json!({ "range": [lower, upper] }) };
    json!({ "set": ranges.iter().map(one).collect::<Vec<_>>() })
}

fn expression(name: &str, v4: bool, flow: &Flow) -> Vec<Value> {
    let ip = if v4 { "ip" } else { "ip6" };
    let mut all = vec![
        equals(payload(ip, "saddr"), format!("@{}", Set::new(name, v4, true).name).into()),
        equals(payload(ip, "daddr"), format!("@{}", Set::new(name, v4, false).name).into()),
    ];
    if !flow.protocols.is_empty() {
        all.push(equals(json!({ "meta": { "key": "l4proto" } }), json!({ "set": flow.protocols })));
    }
    for (field, ports) in [("sport", &flow.source_ports), ("dport", &flow.target_ports)] {
        if !ports.is_empty() {
            all.push(equals(payload("th", field), ranges(&merged(ports))));
        }
    }
    if !flow.icmp_types.is_empty() {
        let protocol = if v4 { "icmp" } else { "icmpv6" };
        all.push(equals(payload(protocol, "type"), ranges(&merged(&flow.icmp_types))));
    }
    all.push(json!({ "counter": name }));
    all.push(json!({ "drop": null }));
    all
}

/// Ranges in order, none overlapping another.
fn merged<T: Copy + Ord + Into<u32>>(ranges: &[(T, T)]) -> Vec<(T, T)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::new();
    for (lower, upper) in sorted {
        match out.last_mut().filter(|(_, last)| lower.into() <= (*last).into() + 1) {
            Some((_, last)) => *last = upper.max(*last),
            None => out.push((lower, upper)),
        }
    }
    out
}

/// Runs `nft`, and gives what it prints.
async fn nft(arguments: &[&str], input: &str) -> Result<Vec<u8>, MitigatorError> {
    let failed = |error: std::io::Error| MitigatorError::new(format!("nft: {error}"));
    let start = |program: &str| {
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped()).spawn()
    };
    let mut child = match start("nft") {
        // Where it is, and where services do not look.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => start("/usr/sbin/nft"),
        started => started,
    }
    .map_err(failed)?;
    let mut stdin = child.stdin.take().ok_or_else(|| MitigatorError::new("nft takes no input"))?;
    let write = async move {
        let written = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        written
    };
    let (written, ended) = tokio::join!(write, child.wait_with_output());
    let ended = ended.map_err(failed)?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed, and says nothing");
        return Err(MitigatorError::new(format!("nft: {}", line.chars().take(300).collect::<String>())));
    }
    written.map_err(failed)?;
    Ok(ended.stdout)
}
