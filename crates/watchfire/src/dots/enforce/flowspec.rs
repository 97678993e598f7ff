//! `--enforce flowspec`: lines for ExaBGP or GoBGP, which tell routers (RFC 8955, RFC 8956).
//!
//! A FlowSpec route has one source and one destination: a request becomes as many routes as it has pairs of them. BGP
//! says nothing back; what is written counts as done.

use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dots_callhome::body::Prefix;
use dots_tokio::server::{Mitigator, MitigatorError, Order};

use super::super::lock;
use super::flows::{Flow, flows};
use crate::cli::FlowSpecDialect;
use crate::exit::{Failure, file_failure};

/// Routes of one request. Routers have room for some thousands in all.
const ROUTES: usize = 512;

/// Writes routes.
#[derive(Debug)]
pub struct FlowSpec {
    dialect: FlowSpecDialect,
    output: Arc<Output>,
}

#[derive(Debug)]
enum Output {
    Stdout,
    /// Appended to.
    File(Mutex<std::fs::File>),
    /// Opened for each line, because its reader may come and go.
    Fifo(PathBuf),
}

impl FlowSpec {
    /// Writes to this file or FIFO, or to standard output for `-`.
    ///
    /// # Errors
    /// When it cannot be opened, or standard output is taken.
    pub fn open(path: &Path, dialect: FlowSpecDialect, json: bool) -> Result<Self, Failure> {
        let output = if path.as_os_str() == "-" {
            if json {
                let failure = Failure::usage("standard output is for JSON").at("--flowspec-output");
                return Err(failure.remedy("name a file or a FIFO"));
            }
            Output::Stdout
        } else if std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            Output::Fifo(path.to_owned())
        } else {
            let opened = std::fs::OpenOptions::new().append(true).create(true).mode(0o640).open(path);
            Output::File(Mutex::new(opened.map_err(|error| file_failure("open", path, &error))?))
        };
        Ok(Self { dialect, output: Arc::new(output) })
    }

    async fn write(&self, announce: bool, order: &Order) -> Result<(), MitigatorError> {
        let lines = lines(self.dialect, announce, order)?;
        let failed = |error: std::io::Error| MitigatorError::new(format!("cannot write routes: {error}"));
        match &*self.output {
            Output::Fifo(path) => {
                use tokio::io::AsyncWriteExt as _;
                // Fails when nobody reads, instead of waiting.
                let mut pipe = tokio::net::unix::pipe::OpenOptions::new().open_sender(path).map_err(|error| {
                    MitigatorError::new(format!("nobody reads routes at {}: {error}", path.display()))
                })?;
                pipe.write_all(lines.as_bytes()).await.map_err(failed)
            }
            _ => {
                let output = Arc::clone(&self.output);
                let written = tokio::task::spawn_blocking(move || match &*output {
                    Output::Stdout => {
                        let mut out = std::io::stdout().lock();
                        out.write_all(lines.as_bytes()).and_then(|()| out.flush())
                    }
                    Output::File(file) => {
                        let mut file = lock(file);
                        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data())
                    }
                    Output::Fifo(_) => Ok(()),
                });
                written.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)
            }
        }
    }
}

#[async_trait]
impl Mitigator for FlowSpec {
    async fn start(&self, order: &Order) -> Result<(), MitigatorError> {
        self.write(true, order).await
    }

    /// Says it again: the speaker may have been restarted since, and knows nothing then.
    async fn refresh(&self, order: &Order) -> Result<(), MitigatorError> {
        self.write(true, order).await
    }

    async fn stop(&self, order: &Order) -> Result<(), MitigatorError> {
        self.write(false, order).await
    }
}

fn lines(dialect: FlowSpecDialect, announce: bool, order: &Order) -> Result<String, MitigatorError> {
    let mut lines = String::new();
    let mut count = 0;
    for v4 in [true, false] {
        let flows = flows(&order.request, v4);
        for source in order.hosts.iter().filter(|source| source.is_ipv4() == v4) {
            for target in order.request.targets().iter().filter(|target| target.is_ipv4() == v4) {
                for flow in &flows {
                    count += 1;
                    if count > ROUTES {
                        return Err(MitigatorError::new(format!("more than {ROUTES} routes")));
                    }
                    lines.push_str(&match dialect {
                        FlowSpecDialect::Exabgp => exabgp(announce, v4, source, target, flow),
                        FlowSpecDialect::Gobgp => gobgp(announce, v4, source, target, flow),
                    });
                    lines.push('\n');
                }
            }
        }
    }
    if count == 0 {
        return Err(MitigatorError::new("no source and target of the same address family"));
    }
    Ok(lines)
}

/// Numbers as ExaBGP has them: `[ =53 >=1000&<=2000 ]`.
fn list<T: Copy + PartialEq + std::fmt::Display>(ranges: &[(T, T)]) -> String {
    let one = |(lower, upper): &(T, T)| {
        if lower == upper { format!("={lower}") } else { format!(">={lower}&<={upper}") }
    };
    format!("[ {} ]", ranges.iter().map(one).collect::<Vec<_>>().join(" "))
}

/// As [`list`], as GoBGP has them: `==53 >=1000&<=2000`, in quotes for a shell.
fn quoted<T: Copy + PartialEq + std::fmt::Display>(ranges: &[(T, T)]) -> String {
    let one = |(lower, upper): &(T, T)| {
        if lower == upper { format!("=={lower}") } else { format!(">={lower}&<={upper}") }
    };
    format!("'{}'", ranges.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn exabgp(announce: bool, v4: bool, source: &Prefix, target: &Prefix, flow: &Flow) -> String {
    let verb = if announce { "announce" } else { "withdraw" };
    let mut line = format!("{verb} flow route {{ match {{ source {source}; destination {target};");
    let single: Vec<(u8, u8)> = flow.protocols.iter().map(|protocol| (*protocol, *protocol)).collect();
    if !single.is_empty() {
        line.push_str(&format!(" {} {};", if v4 { "protocol" } else { "next-header" }, list(&single)));
    }
    if !flow.source_ports.is_empty() {
        line.push_str(&format!(" source-port {};", list(&flow.source_ports)));
    }
    if !flow.target_ports.is_empty() {
        line.push_str(&format!(" destination-port {};", list(&flow.target_ports)));
    }
    if !flow.icmp_types.is_empty() {
        line.push_str(&format!(" icmp-type {};", list(&flow.icmp_types)));
    }
    line.push_str(" } then { discard; } }");
    line
}

fn gobgp(announce: bool, v4: bool, source: &Prefix, target: &Prefix, flow: &Flow) -> String {
    let family = if v4 { "ipv4-flowspec" } else { "ipv6-flowspec" };
    let verb = if announce { "add" } else { "del" };
    let mut line = format!("gobgp global rib -a {family} {verb} match destination {target} source {source}");
    let single: Vec<(u8, u8)> = flow.protocols.iter().map(|protocol| (*protocol, *protocol)).collect();
    if !single.is_empty() {
        line.push_str(&format!(" protocol {}", quoted(&single)));
    }
    if !flow.target_ports.is_empty() {
        line.push_str(&format!(" destination-port {}", quoted(&flow.target_ports)));
    }
    if !flow.source_ports.is_empty() {
        line.push_str(&format!(" source-port {}", quoted(&flow.source_ports)));
    }
    if !flow.icmp_types.is_empty() {
        line.push_str(&format!(" icmp-type {}", quoted(&flow.icmp_types)));
    }
    line.push_str(" then discard");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn routes_in_the_words_of_both() {
        let flow = Flow {
            protocols: vec![6, 17],
            source_ports: vec![(53, 53)],
            target_ports: vec![(80, 80), (1000, 2000)],
            icmp_types: Vec::new(),
        };
        let (source, target) = (prefix("192.0.2.0/24"), prefix("198.51.100.7/32"));
        assert_eq!(
            exabgp(true, true, &source, &target, &flow),
            "announce flow route { match { source 192.0.2.0/24; destination 198.51.100.7/32; protocol [ =6 =17 ]; \
             source-port [ =53 ]; destination-port [ =80 >=1000&<=2000 ]; } then { discard; } }"
        );
        assert_eq!(
            gobgp(false, true, &source, &target, &flow),
            "gobgp global rib -a ipv4-flowspec del match destination 198.51.100.7/32 source 192.0.2.0/24 protocol '==6 ==17' \
             destination-port '==80 >=1000&<=2000' source-port '==53' then discard"
        );
        let (source, target) = (prefix("2001:db8::/32"), prefix("2001:db8:1::7/128"));
        let ping = Flow { protocols: vec![58], icmp_types: vec![(128, 128)], ..Flow::default() };
        assert_eq!(
            exabgp(false, false, &source, &target, &ping),
            "withdraw flow route { match { source 2001:db8::/32; destination 2001:db8:1::7/128; next-header [ =58 ]; \
             icmp-type [ =128 ]; } then { discard; } }"
        );
    }
}
