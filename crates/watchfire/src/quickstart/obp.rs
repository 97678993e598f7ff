//! The tour's part about the OmniBroker: bind, connect with proof, validate, and ask through the DNS stub.

use std::net::SocketAddr;
use std::path::Path;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{RData, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::laboratory::Laboratory;
use super::{PATIENCE, Tour, command, first};
use crate::cli::{Command, CrlArgs, IssueArgs, ObpCommand, Profile};
use crate::exit::{Blame, Failure};
use crate::obp::accounts::{Accounts, new_pin};
use crate::obp::broker::BrokerService;
use crate::obp::stub::DnsService;
use crate::obp::{ask, binding};
use crate::pki;
use crate::service::Context;

const ACCOUNT: &str = "alice@localhost";

/// Runs the steps. What goes on afterwards is given back.
pub(super) async fn steps(
    tour: &mut Tour,
    dir: &Path,
    context: &Context,
) -> Result<Vec<JoinHandle<Result<(), Failure>>>, Failure> {
    let file = |name: &str| dir.join(name).display().to_string();
    let anchor = dir.join("signed.test.key");
    let laboratory = Laboratory::start(&anchor).await?;
    let resolver = laboratory.address.to_string();

    let broker = tour.try_step("broker", async {
        for name in ["localhost", "good.plain.test", "revoked.plain.test"] {
            pki::issue(&IssueArgs::new(dir, Profile::TlsServer, name))?;
        }
        let mut crl = CrlArgs::new(dir);
        crl.revoke = vec!["revoked.plain.test".to_owned()];
        let list = pki::crl(&crl)?.display().to_string();
        let accounts = file("accounts.toml");
        let pin = new_pin()?;
        let now = jiff::Timestamp::now();
        let tomorrow = now.checked_add(std::time::Duration::from_secs(86_400));
        let tomorrow = tomorrow.map_err(|error| Failure::usage(error.to_string()))?;
        Accounts::at(Path::new(&accounts)).add(ACCOUNT, Some((&pin, tomorrow)), now)?;
        std::fs::write(dir.join("pin"), pin.as_bytes())
            .map_err(|error| crate::exit::file_failure("write the PIN", &dir.join("pin"), &error))?;
        let (cert, key, ca) = (file("localhost.pem"), file("localhost.key"), file("ca.pem"));
        let words =
            ["obp", "broker", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cert", &cert, "--key", &key];
        let more = ["--accounts", &accounts, "--resolver", &resolver, "--trust-anchor", &anchor.display().to_string()];
        let rest = ["--roots", &ca, "--crl", &list];
        let Command::Obp(ObpCommand::Broker(args)) = command(&[&words[..], &more, &rest].concat())? else {
            return Err(Failure::usage("not a broker"));
        };
        let broker = BrokerService::start(&args, context).await?;
        let address = first(broker.local_addrs())?;
        Ok((format!("answers at https://{address} and over UDP, for the account {ACCOUNT}"), broker))
    });
    let broker = broker.await?;
    let address = first(broker.local_addrs())?;
    let mut going = vec![tokio::spawn(broker.run(context.clone()))];

    let bind = tour.try_step("bind", async {
        let (url, out, pin, ca) =
            (format!("https://localhost:{}", address.port()), file("binding.json"), file("pin"), file("ca.pem"));
        let words = ["obp", "bind", "--broker", &url, "--account", ACCOUNT, "--out", &out];
        let Command::Obp(ObpCommand::Bind(args)) = command(&[&words[..], &["--pin-file", &pin, "--ca", &ca]].concat())?
        else {
            return Err(Failure::usage("not a binding"));
        };
        let (_, binding) = binding::obtain(&args).await?;
        Ok((format!("bound by PIN to {} instances; the keys are in {out}", binding.service.len()), ()))
    });
    bind.await?;

    let bound = file("binding.json");
    let connect = tour.try_step("connect", async {
        let anchor = anchor.display().to_string();
        let words = ["obp", "connect", "--binding", &bound, "signed.test", "_xmpp-client._tcp", "--prove"];
        let Command::Obp(ObpCommand::Connect(args)) = command(&[&words[..], &["--trust-anchor", &anchor]].concat())?
        else {
            return Err(Failure::usage("not a question"));
        };
        let found = ask::find(&args).await?;
        if found.ways.is_empty() || found.ways.iter().any(|(_, proven)| *proven != Some(true)) {
            return Err(Failure::misbehaved(format!("not every way is proven: {found:?}")));
        }
        Ok((
            format!(
                "{} ways to _xmpp-client._tcp.signed.test; {}",
                found.ways.len(),
                found.evidence.unwrap_or_default()
            ),
            (),
        ))
    });
    connect.await?;

    let judge = async |name: &str| {
        let certificate = file(&format!("{name}.pem"));
        let words = ["obp", "validate", "--binding", &bound, "--name", name, &certificate];
        let Command::Obp(ObpCommand::Validate(args)) = command(&words)? else {
            return Err(Failure::usage("not a validation"));
        };
        ask::judge(&args).await
    };
    let good = tour.try_step("validate", async {
        match judge("good.plain.test").await? {
            Ok(_) => Ok(("the broker has nothing against the certificate of good.plain.test".to_owned(), ())),
            Err(error) => Err(Failure::new(Blame::PeerRefused, error.to_string())),
        }
    });
    good.await?;
    let veto = tour.try_step("veto", async {
        match judge("revoked.plain.test").await? {
            Ok(_) => Err(Failure::misbehaved("a revoked certificate was not vetoed")),
            Err(error) if error.status().is_some_and(|status| status.code() == 410) => {
                Ok((format!("the certificate of revoked.plain.test is vetoed: {error}"), ()))
            }
            Err(error) => Err(Failure::new(Blame::PeerRefused, error.to_string())),
        }
    });
    veto.await?;

    let stub = tour.try_step("dns", async {
        let Command::Obp(ObpCommand::Dns(args)) =
            command(&["obp", "dns", "--binding", &bound, "--listen", "127.0.0.1:0"])?
        else {
            return Err(Failure::usage("not a stub"));
        };
        let stub = DnsService::start(&args, context).await?;
        let address = first(stub.local_addrs())?;
        let found = tokio::time::timeout(PATIENCE, look_up(address, "www.plain.test.")).await;
        let found = found.unwrap_or_else(|_| Err(Failure::unreachable("the stub did not answer in time")))?;
        if found != ["192.0.2.2"] {
            return Err(Failure::misbehaved(format!("www.plain.test is at {found:?}")));
        }
        Ok((format!("the stub at {address} says that www.plain.test is at 192.0.2.2"), stub))
    });
    going.push(tokio::spawn(stub.await?.run(context.clone())));
    // The name server goes on as long as the broker does.
    let stop = context.shutdown.clone();
    going.push(tokio::spawn(async move {
        stop.cancelled().await;
        drop(laboratory);
        Ok(())
    }));
    Ok(going)
}

/// Asks a DNS server for addresses, as any program would.
pub(super) async fn look_up(server: SocketAddr, name: &str) -> Result<Vec<String>, Failure> {
    let failed = |error: std::io::Error| Failure::unreachable(error.to_string()).at(server);
    let mut message = Message::new(0x4f42, MessageType::Query, OpCode::Query);
    let name = name.parse().map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    message.add_query(Query::query(name, RecordType::A));
    let question = message.to_vec().map_err(|error| Failure::usage(error.to_string()))?;
    let socket = UdpSocket::bind("127.0.0.1:0").await.map_err(failed)?;
    socket.send_to(&question, server).await.map_err(failed)?;
    let mut buffer = [0; 1500];
    let read = socket.recv(&mut buffer).await.map_err(failed)?;
    let answer =
        Message::from_vec(&buffer[..read]).map_err(|error| Failure::misbehaved(error.to_string()).at(server))?;
    let address = |record: &hickory_proto::rr::Record| match &record.data {
        RData::A(address) => Some(address.to_string()),
        _ => None,
    };
    Ok(answer.answers.iter().filter_map(address).collect())
}
