//! What the console shows of DOTS.

use std::net::SocketAddr;

use dots_callhome::{ClientEvent, Transport};
use dots_tokio::client::CallHomeClientEvent;
use dots_tokio::server::CallHomeServerEvent;
use dots_tokio::{CallHomeClient, CallHomeServer};
use serde_json::{Map, Value};

use super::{ask, shown};
use crate::console::{self, DotsChange, DotsSession, DotsState, Happened, Hub, Panel};
use crate::service::Context;

const CLIENT: &str = "call-home-client";
const SERVER: &str = "call-home-server";

fn over(transport: Transport) -> &'static str {
    match transport {
        Transport::Stream => "TLS",
        Transport::Datagram => "DTLS",
    }
}

/// Lets the console look at a client.
pub(super) fn show_client(context: &Context, client: &CallHomeClient) {
    let client = client.clone();
    context.hub.has_dots(&context.shutdown, move || {
        let mut state = DotsState { role: CLIENT, ..DotsState::default() };
        for peer in client.peers() {
            for one in client.mitigations(&peer.peer).unwrap_or_default() {
                let scope = one.report.as_ref().unwrap_or(&one.scope);
                state.mitigations.push(shown::object(&peer.peer, &peer.cuid, one.mid, scope));
            }
            let session = peer.session.map(|session| (session.address, over(session.transport)));
            state.sessions.push(DotsSession { peer: peer.peer.to_string(), session });
        }
        state
    });
}

/// Lets the console look at a server.
pub(super) fn show_server(context: &Context, server: &CallHomeServer) {
    let server = server.clone();
    context.hub.has_dots(&context.shutdown, move || {
        let object =
            |one: &dots_tokio::server::ActiveMitigation| shown::object(&one.peer, &one.cuid, one.mid, &one.report);
        let session = |one: dots_tokio::server::UpstreamInfo| DotsSession {
            peer: one.name,
            session: one.session.map(|(address, transport)| (address, over(transport))),
        };
        DotsState {
            role: SERVER,
            sessions: server.upstreams().into_iter().map(session).collect(),
            mitigations: server.mitigations().iter().map(object).collect(),
        }
    });
}

/// Tells the console what a client has heard.
pub(super) fn client_heard(hub: &Hub, event: &CallHomeClientEvent) {
    if !hub.is_on() {
        return;
    }
    let peer = event.peer();
    match event {
        CallHomeClientEvent::Connected { address, transport, .. } => up(hub, CLIENT, peer, *address, *transport),
        CallHomeClientEvent::Disconnected { why, .. } => down(hub, CLIENT, peer, why.as_ref().map(ToString::to_string)),
        CallHomeClientEvent::Signal { event, .. } => match event {
            ClientEvent::Status { scope } => {
                let status = scope.status.map_or_else(String::new, |status| status.to_string());
                mitigation(hub, CLIENT, peer, status, shown::members(scope));
            }
            ClientEvent::Refused { mid, why } => {
                let members = Map::from_iter([("mid".to_owned(), Value::from(*mid))]);
                mitigation(hub, CLIENT, peer, format!("refused: {}", ask::refused(why)), members);
            }
            ClientEvent::SessionSilent => session(hub, CLIENT, peer, "silent", Map::new()),
            ClientEvent::SessionRevived => session(hub, CLIENT, peer, "answers again", Map::new()),
            _ => {}
        },
        _ => {}
    }
}

/// Tells the console what a server has heard.
pub(super) fn server_heard(hub: &Hub, server: &CallHomeServer, event: &CallHomeServerEvent) {
    if !hub.is_on() {
        return;
    }
    match event {
        CallHomeServerEvent::Up { name, address, transport, .. } => up(hub, SERVER, name, *address, *transport),
        CallHomeServerEvent::Down { name, why } => down(hub, SERVER, name, why.as_ref().map(ToString::to_string)),
        CallHomeServerEvent::AttemptFailed { name, error, .. } => {
            session(hub, SERVER, name, &format!("no session: {error}"), Map::new());
        }
        CallHomeServerEvent::Mitigation { id, mid, status, .. } => {
            let found = server.mitigations().into_iter().find(|one| one.id == *id);
            let members = found.as_ref().map(|one| shown::members(&one.report));
            let members = members.unwrap_or_else(|| Map::from_iter([("mid".to_owned(), Value::from(*mid))]));
            let peer = found.map(|one| one.peer).unwrap_or_default();
            mitigation(hub, SERVER, &peer, status.to_string(), members);
        }
        _ => {}
    }
}

fn up(hub: &Hub, role: &'static str, peer: &str, address: SocketAddr, transport: Transport) {
    let address = format!("{address} over {}", over(transport));
    session(hub, role, peer, "up", Map::from_iter([("address".to_owned(), Value::from(address))]));
}

fn down(hub: &Hub, role: &'static str, peer: &str, why: Option<String>) {
    let status = why.map_or_else(|| "closed".to_owned(), |why| format!("down: {why}"));
    session(hub, role, peer, &status, Map::new());
}

fn session(hub: &Hub, role: &'static str, peer: &str, status: &str, members: Map<String, Value>) {
    tell(hub, "session", role, peer, status.to_owned(), members);
}

fn mitigation(hub: &Hub, role: &'static str, peer: &str, status: String, members: Map<String, Value>) {
    tell(hub, "mitigation", role, peer, status, members);
}

fn tell(hub: &Hub, kind: &'static str, role: &'static str, peer: &str, status: String, members: Map<String, Value>) {
    // Peers say again and again how things stand; what is new is that they stand otherwise.
    let is_same = |item: &Happened| match item {
        Happened::Dots(last) => {
            let is_one = (last.kind, last.role, last.peer.as_str()) == (kind, role, peer);
            (is_one && last.members.get("mid") == members.get("mid")).then(|| last.status == status)
        }
        _ => None,
    };
    if kind == "mitigation" && hub.newest(Panel::Dots, is_same) == Some(true) {
        return;
    }
    let change = DotsChange { time: console::now(), kind, role, peer: peer.to_owned(), status, members };
    hub.tell(|| Happened::Dots(change.into()));
}
