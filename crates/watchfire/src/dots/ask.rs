//! Asking a peer, and waiting for what it says.

use std::time::Duration;

use dots_callhome::body::{ConflictCause, Lifetime, Scope, Status};
use dots_callhome::{ApiMisuse, ClientEvent, Error, Profile, Refused};
use dots_tokio::client::{CallHomeClientEvent, ClientEvents, Missed};
use dots_tokio::{CallHomeClient, RequestError};
use serde_json::Value;
use tokio::time::Instant;

use super::shown;
use crate::exit::Failure;

/// How long is waited for more than a grant: whether it is really in force.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Whom a name means: peers are known by the names in their certificates, which are in small letters.
pub fn canonical(client: &CallHomeClient, peer: &str) -> String {
    let known = client.peer(peer).is_some();
    if known { peer.to_owned() } else { peer.to_ascii_lowercase() }
}

/// Asks for a mitigation, or for another lifetime of one that goes on; waits until the peer has called, granted it, and
/// for a moment until it says that it is in force.
///
/// # Errors
/// What is wrong with the request, that the peer refuses, or says nothing until `wait` is over.
pub async fn mitigate(
    client: &CallHomeClient,
    peer: &str,
    mid: Option<u32>,
    scope: Scope,
    wait: Duration,
) -> Result<Value, Failure> {
    let deadline = Instant::now() + wait;
    let peer = &canonical(client, peer);
    let mut events = client.events();
    called(client, peer, &mut events, deadline).await?;
    let known = |mid: u32| client.mitigations(peer).ok()?.into_iter().find(|one| one.mid == mid);
    let asked = match mid.and_then(known) {
        Some(before) => {
            let mid = before.mid;
            if !same_request(&before.scope, &scope) {
                let what = format!("mitigation {mid} is for something else");
                return Err(Failure::usage(what).at(peer).remedy("use a higher mid, or withdraw it first"));
            }
            client.refresh(peer, mid, scope.lifetime).map_err(|error| wrong(error, peer))?;
            mid
        }
        None => match mid {
            Some(mid) => client.mitigate_as(peer, mid, scope).map(|()| mid).map_err(|error| wrong(error, peer))?,
            None => client.mitigate(peer, scope).map_err(|error| wrong(error, peer))?,
        },
    };
    let lifetime = granted(client, peer, asked, &mut events, deadline).await?;
    let soon = deadline.min(Instant::now() + IN_FORCE);
    let status = settled(client, peer, asked, &mut events, soon).await;
    match status {
        Some(Status::ExceededCapability | Status::Terminated | Status::Withdrawn) => {
            let status = status.map_or_else(String::new, |status| status.to_string());
            let failure = Failure::refused(format!("mitigation {asked} was granted, but is not in force: {status}"));
            Err(failure.at(peer).remedy("ask its operator; it goes on trying until the mitigation is withdrawn"))
        }
        _ => {
            let known = one(client, peer, asked);
            let mut value = known.unwrap_or_else(|| serde_json::json!({ "peer": peer, "mid": asked }));
            // What the peer said of it last may be older than this.
            match lifetime {
                Some(Lifetime::Seconds(seconds)) => value["lifetime"] = seconds.into(),
                Some(Lifetime::Indefinite) => value["lifetime"] = (-1).into(),
                None => {}
            }
            Ok(value)
        }
    }
}

/// Withdraws a mitigation, and waits until the peer knows.
///
/// # Errors
/// When there is none such, or the peer says nothing until `wait` is over.
pub async fn withdraw(client: &CallHomeClient, peer: &str, mid: u32, wait: Duration) -> Result<Value, Failure> {
    let deadline = Instant::now() + wait;
    let peer = &canonical(client, peer);
    let mut events = client.events();
    client.withdraw(peer, mid).map_err(|error| wrong(error, peer))?;
    loop {
        match next(client, peer, mid, &mut events, deadline).await? {
            Some(ClientEvent::Withdrawn { .. } | ClientEvent::Ended { .. }) => break,
            Some(ClientEvent::Refused { why, .. }) => return Err(refused(&why).at(peer)),
            Some(_) => {}
            // Events were missed: it is as it is.
            None => {
                let state = client.mitigations(peer).map_err(|error| wrong(error, peer))?;
                if state.iter().all(|one| one.mid != mid || one.status == Some(Status::ClientWithdrawn)) {
                    break;
                }
            }
        }
    }
    Ok(one(client, peer, mid).unwrap_or_else(|| serde_json::json!({ "peer": peer, "mid": mid })))
}

/// All mitigations of a peer, or of all.
///
/// # Errors
/// When there is no such peer.
pub fn status(client: &CallHomeClient, peer: Option<&str>) -> Result<Vec<Value>, Failure> {
    let peers = match peer {
        Some(name) => {
            let name = canonical(client, name);
            let info = client.peer(&name);
            vec![info.ok_or_else(|| wrong(RequestError::UnknownPeer(name.clone()), &name))?]
        }
        None => client.peers(),
    };
    let mut all = Vec::new();
    for info in peers.into_iter().filter(|info| info.mitigations > 0) {
        let mitigations = client.mitigations(&info.peer).unwrap_or_default();
        all.extend(mitigations.iter().map(|one| object(&info.peer, &info.cuid, one)));
    }
    Ok(all)
}

/// One mitigation, as it stands.
pub fn one(client: &CallHomeClient, peer: &str, mid: u32) -> Option<Value> {
    let info = client.peer(peer)?;
    let found = client.mitigations(peer).ok()?.into_iter().find(|one| one.mid == mid)?;
    Some(object(peer, &info.cuid, &found))
}

fn object(peer: &str, cuid: &str, one: &dots_tokio::client::MitigationInfo) -> Value {
    // What the peer says goes; what it leaves out is as it was asked.
    let mut members = shown::members(&one.scope);
    if let Some(report) = &one.report {
        members.extend(shown::members(report));
    }
    if let Some(status) = one.status {
        members.insert("status".to_owned(), status.to_string().into());
    }
    members.insert("peer".to_owned(), peer.into());
    members.insert("cuid".to_owned(), cuid.into());
    members.insert("mid".to_owned(), one.mid.into());
    Value::Object(members)
}

/// Waits until the peer has a session.
async fn called(
    client: &CallHomeClient,
    peer: &str,
    events: &mut ClientEvents,
    deadline: Instant,
) -> Result<(), Failure> {
    while client.peer(peer).is_none_or(|info| info.session.is_none()) {
        let late = || {
            let what = match client.peer(peer) {
                Some(_) => "it has no session now, so it was not asked",
                None => "nobody of this name has called, so nobody was asked",
            };
            Failure::unreachable(what).at(peer).remedy("see that its Call Home server runs and may reach us")
        };
        match tokio::time::timeout_at(deadline, events.next()).await {
            Err(_) => return Err(late()),
            Ok(Err(Missed::Stopped)) => return Err(Failure::unreachable("the Call Home client ends")),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The next event about a mitigation; `None` when some were missed.
async fn next(
    client: &CallHomeClient,
    peer: &str,
    asked: u32,
    events: &mut ClientEvents,
    deadline: Instant,
) -> Result<Option<ClientEvent>, Failure> {
    loop {
        match tokio::time::timeout_at(deadline, events.next()).await {
            Err(_) => {
                let what = match client.peer(peer).is_some_and(|info| info.session.is_some()) {
                    true => "no answer in time; it goes on being asked",
                    false => "no session now; it is asked as soon as it calls",
                };
                return Err(Failure::unreachable(what).at(peer));
            }
            Ok(Err(Missed::Events(_))) => return Ok(None),
            Ok(Err(_)) => return Err(Failure::unreachable("the Call Home client ends")),
            Ok(Ok(CallHomeClientEvent::Signal { peer: of, event }))
                if *of == *peer && mid_of(&event) == Some(asked) =>
            {
                return Ok(Some(event));
            }
            Ok(Ok(_)) => {}
        }
    }
}

/// Which mitigation an event is about.
pub fn mid_of(event: &ClientEvent) -> Option<u32> {
    match event {
        ClientEvent::Granted { mid, .. }
        | ClientEvent::Refused { mid, .. }
        | ClientEvent::Waiting { mid, .. }
        | ClientEvent::Withdrawn { mid }
        | ClientEvent::Lapsed { mid }
        | ClientEvent::Ended { mid } => Some(*mid),
        ClientEvent::Status { scope } => scope.mid,
        _ => None,
    }
}

/// Waits until it is granted, and gives for how long.
async fn granted(
    client: &CallHomeClient,
    peer: &str,
    mid: u32,
    events: &mut ClientEvents,
    deadline: Instant,
) -> Result<Option<Lifetime>, Failure> {
    loop {
        match next(client, peer, mid, events, deadline).await? {
            Some(ClientEvent::Granted { lifetime, .. }) => return Ok(Some(lifetime)),
            Some(ClientEvent::Refused { why, .. }) => return Err(refused(&why).at(peer)),
            Some(ClientEvent::Waiting { seconds, .. }) => {
                let failure = Failure::refused(format!("not now; it is asked again in {seconds} s")).at(peer);
                return Err(failure.remedy("withdraw it if that is not wanted"));
            }
            Some(ClientEvent::Ended { .. }) => {
                return Err(Failure::refused("another request takes its place").at(peer));
            }
            Some(_) => {}
            // The answer may be among those.
            None => {
                let known = client.mitigations(peer).map_err(|error| wrong(error, peer))?;
                match known.iter().find(|known| known.mid == mid) {
                    Some(known) if known.status.is_some() => return Ok(None),
                    Some(_) => {}
                    None => return Err(Failure::refused("it was refused").at(peer)),
                }
            }
        }
    }
}

/// Waits until it is known whether it is in force; then, or in time, gives how it stands.
async fn settled(
    client: &CallHomeClient,
    peer: &str,
    mid: u32,
    events: &mut ClientEvents,
    deadline: Instant,
) -> Option<Status> {
    loop {
        let known = client.mitigations(peer).ok()?.into_iter().find(|one| one.mid == mid)?.status;
        if !matches!(known, None | Some(Status::InProgress)) {
            return known;
        }
        if next(client, peer, mid, events, deadline).await.is_err() {
            return known;
        }
    }
}

/// Whether both ask for the same, lifetime aside.
fn same_request(one: &Scope, other: &Scope) -> bool {
    let check = |scope: &Scope| {
        let mut scope = scope.clone();
        scope.lifetime = Some(Lifetime::DEFAULT);
        dots_callhome::MitigationRequest::check(scope, Profile::Rfc9066, false)
    };
    matches!((check(one), check(other)), (Ok(one), Ok(other)) if one.same_parameters(&other))
}

/// What a refusal means.
pub fn refused(why: &Refused) -> Failure {
    let printable = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    match why {
        Refused::LegitimateTraffic => Failure::refused("the traffic is legitimate, it says").remedy("do not ask again"),
        Refused::Conflict(conflict) if conflict.cause == Some(ConflictCause::ConflictWithAcceptlist) => {
            Failure::refused("sources are among those that it never stops")
        }
        Refused::Conflict(conflict) => {
            let cause = conflict.cause.map_or_else(|| "a conflict".to_owned(), |cause| cause.to_string());
            let with = conflict.scope.as_ref().and_then(|scope| scope.mid);
            let with = with.map(|mid| format!(" with mitigation {mid}")).unwrap_or_default();
            Failure::refused(format!("refused: {cause}{with}"))
        }
        Refused::Code(code, text) => Failure::refused(format!("refused: {code} {}", printable(text))),
        Refused::Reset => Failure::misbehaved("it does not understand the request"),
        _ => Failure::refused("refused"),
    }
}

/// Whose fault it is that the machine does not do it.
pub fn wrong(error: RequestError, peer: &str) -> Failure {
    match &error {
        RequestError::UnknownPeer(_) => {
            Failure::refused("nobody of this name has called").at(peer).remedy("see `watchfire dots status`")
        }
        RequestError::Machine(Error::ApiMisuse(ApiMisuse::UnknownMitigation)) => {
            Failure::refused(error.to_string()).at(peer).remedy("see `watchfire dots status`")
        }
        RequestError::Machine(Error::ApiMisuse(ApiMisuse::MidNotAscending)) => {
            Failure::usage(error.to_string()).at(peer).remedy("use a higher one, or none for the next")
        }
        RequestError::Machine(Error::ApiMisuse(ApiMisuse::TooLarge)) => {
            Failure::usage(error.to_string()).at(peer).remedy("ask for fewer prefixes at a time")
        }
        RequestError::Machine(_) => Failure::usage(error.to_string()).at(peer),
        RequestError::Stopped | RequestError::TimedOut => Failure::unreachable(error.to_string()).at(peer),
        _ => Failure::refused(error.to_string()).at(peer),
    }
}
