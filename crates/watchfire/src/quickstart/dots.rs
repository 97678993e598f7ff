//! The tour's part about DOTS Call Home: two networks call an operator, who asks, follows, withdraws, and sees one of them
//! come back.

use std::path::Path;

use dots_callhome::body::Status;
use dots_tokio::CallHomeServer;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Tour, command};
use crate::cli::{Carrier, Command, DotsCommand, IssueArgs, Profile};
use crate::dots::client::ClientService;
use crate::dots::command::{Follower, request_mitigation, request_withdrawal};
use crate::dots::server::ServerService;
use crate::exit::Failure;
use crate::pki;
use crate::service::Context;

const OPERATOR: &str = "isp.localhost";
const HOME: &str = "home.localhost";
const CABIN: &str = "cabin.localhost";

type Going = JoinHandle<Result<(), Failure>>;

/// Runs the steps. What goes on afterwards is given back.
pub(super) async fn steps(tour: &mut Tour, dir: &Path, context: &Context) -> Result<Vec<Going>, Failure> {
    let operator = tour.try_step("dots operator", operator(dir, context)).await?;
    let place = |carrier: Carrier| {
        let found = operator.local_addrs().iter().find(|(known, _)| *known == carrier);
        found.map(|(_, address)| format!("{}://{address}", carrier.name()))
    };
    let missing = || Failure::usage("the operator listens nowhere");
    let (tls, dtls) = (place(Carrier::Tls).ok_or_else(missing)?, place(Carrier::Dtls).ok_or_else(missing)?);
    let api = operator.api().ok_or_else(missing)?.to_string();
    let client = operator.handle().clone();
    let mut going = vec![tokio::spawn(operator.run(context.clone()))];

    let called = async |network: &str, place: &str, context: &Context| {
        let service = network_at(network, place, dir, context).await?;
        let handle = service.handle().clone();
        let running = tokio::spawn(service.run(context.clone()));
        let mut events = client.events();
        let there = async {
            while client.peer(network).is_none_or(|peer| peer.session.is_none()) {
                events.next().await.map_err(|error| Failure::unreachable(error.to_string()))?;
            }
            Ok(())
        };
        in_time(there).await?;
        Ok::<(CallHomeServer, Going), Failure>((handle, running))
    };
    let by_tls = tour.try_step("call home over TLS", async {
        let running = called(HOME, &tls, context).await?.1;
        Ok((format!("{HOME} has called {tls}; both have shown their certificates"), running))
    });
    going.push(by_tls.await?);
    // It ends before the others do.
    let cabin_stop = CancellationToken::new();
    let cabin_context = Context { shutdown: cabin_stop.clone(), ..context.clone() };
    let by_dtls = tour.try_step("call home over DTLS", async {
        let running = called(CABIN, &dtls, &cabin_context).await?.1;
        Ok((format!("{CABIN} has called {dtls}"), running))
    });
    let cabin = by_dtls.await?;

    let mitigate = tour.try_step("mitigate", async {
        let status = in_force(&api, HOME, "1").await?;
        Ok((format!("{HOME} was asked to stop 192.0.2.10 attacking 198.51.100.7: {status}"), ()))
    });
    mitigate.await?;

    let follow = tour.try_step("follow", async {
        let words = ["dots", "status", "--api", &api, "--peer", HOME, "--follow"];
        let Command::Dots(DotsCommand::Status(args)) = command(&words)? else {
            return Err(Failure::usage("not a question"));
        };
        let mut follower = Follower::start(&args).await?;
        let first = in_time(follower.next()).await?;
        Ok((format!("{HOME} is followed; now it says {}", text(&first, "status")), follower))
    });
    let mut follower = follow.await?;

    let withdraw = tour.try_step("withdraw", async {
        let words = ["dots", "withdraw", "--api", &api, "--peer", HOME, "--mid", "1"];
        let Command::Dots(DotsCommand::Withdraw(args)) = command(&words)? else {
            return Err(Failure::usage("not a withdrawal"));
        };
        request_withdrawal(&args).await?;
        let over = async {
            let mut said = Vec::new();
            loop {
                let status = text(&follower.next().await?, "status");
                if said.last() != Some(&status) {
                    said.push(status);
                }
                if said.last().is_some_and(|status| *status == Status::Terminated.to_string()) {
                    return Ok(said.join(", "));
                }
            }
        };
        Ok((format!("{HOME} says {}", in_time(over).await?), ()))
    });
    withdraw.await?;

    let reconnect = tour.try_step("reconnect", async {
        in_force(&api, CABIN, "1").await?;
        cabin_stop.cancel();
        let _ = cabin.await;
        let (handle, running) = called(CABIN, &dtls, context).await?;
        in_time(mitigates(&handle)).await?;
        Ok((format!("{CABIN} had forgotten all, called again, and mitigates again without being told"), running))
    });
    going.push(reconnect.await?);
    Ok(going)
}

async fn in_time<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::unreachable("it did not happen in time");
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

async fn operator(dir: &Path, context: &Context) -> Result<(String, ClientService), Failure> {
    pki::issue(&IssueArgs::new(dir, Profile::DotsClient, OPERATOR))?;
    for name in [HOME, CABIN] {
        pki::issue(&IssueArgs::new(dir, Profile::DotsServer, name))?;
    }
    let file = |name: String| dir.join(name).display().to_string();
    let (cert, key, ca) = (file(format!("{OPERATOR}.pem")), file(format!("{OPERATOR}.key")), file("ca.pem".to_owned()));
    let words = ["dots", "call-home-client", "--listen", "tls://127.0.0.1:0", "--listen", "dtls://127.0.0.1:0"];
    let more = ["--api", "127.0.0.1:0", "--cert", &cert, "--key", &key, "--ca", &ca];
    let Command::Dots(DotsCommand::CallHomeClient(args)) = command(&[&words[..], &more].concat())? else {
        return Err(Failure::usage("not an operator"));
    };
    let operator = ClientService::start(&args, context).await?;
    let api = operator.api().map(|address| address.to_string()).unwrap_or_default();
    Ok((format!("waits to be called over TLS and DTLS, and is asked at http://{api}"), operator))
}

async fn network_at(name: &str, place: &str, dir: &Path, context: &Context) -> Result<ServerService, Failure> {
    let file = |name: String| dir.join(name).display().to_string();
    let (cert, key, ca) = (file(format!("{name}.pem")), file(format!("{name}.key")), file("ca.pem".to_owned()));
    let words = ["dots", "call-home-server", "--connect", place, "--peer-name", OPERATOR, "--domain", "192.0.2.0/24"];
    let more = ["--cert", &cert, "--key", &key, "--ca", &ca, "--terminating", "1s", "--reconnect-min", "1"];
    let Command::Dots(DotsCommand::CallHomeServer(args)) = command(&[&words[..], &more].concat())? else {
        return Err(Failure::usage("not a network"));
    };
    ServerService::start(&args, context).await
}

/// Asks for a mitigation, and gives how it stands: in force, or it is a failure.
async fn in_force(api: &str, peer: &str, mid: &str) -> Result<String, Failure> {
    let words = ["dots", "mitigate", "--api", api, "--peer", peer, "--mid", mid];
    let more = ["--source-prefix", "192.0.2.10/32", "--target-prefix", "198.51.100.7/32"];
    let Command::Dots(DotsCommand::Mitigate(args)) = command(&[&words[..], &more].concat())? else {
        return Err(Failure::usage("not a request"));
    };
    let status = text(&request_mitigation(&args).await?, "status");
    if status == Status::SuccessfullyMitigated.to_string() {
        Ok(status)
    } else {
        Err(Failure::misbehaved(format!("it says {status:?}")).at(peer))
    }
}

async fn mitigates(server: &CallHomeServer) -> Result<(), Failure> {
    let mut events = server.events();
    let is_so = || server.mitigations().iter().any(|one| one.status == Status::SuccessfullyMitigated);
    while !is_so() {
        events.next().await.map_err(|error| Failure::unreachable(error.to_string()))?;
    }
    Ok(())
}
