//! The commands that use a Call Home client's interface.

use std::time::Duration;

use bytes::Bytes;
use dots_callhome::body::{Body, Lifetime, Scope};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{api, shown};
use crate::cli::{ApiArgs, ConsentArgs, MitigateArgs, ProposalArgs, StatusArgs, WithdrawArgs};
use crate::exit::{Blame, Failure};
use crate::out;
use crate::values::HostPort;

/// How much longer the interface may take than the peer.
const SLACK: Duration = Duration::from_secs(10);
/// The longest answer, and the longest line of one that goes on.
const LONGEST: usize = 64 << 20;
const LINE: usize = 1 << 20;

/// `dots mitigate`
///
/// # Errors
/// As the peer, the interface or the request is to blame.
pub async fn mitigate(args: &MitigateArgs, json: bool) -> Result<(), Failure> {
    print(&request_mitigation(args).await?, json)
}

/// What [`mitigate`] prints.
///
/// # Errors
/// As there.
pub async fn request_mitigation(args: &MitigateArgs) -> Result<Value, Failure> {
    let mut scope = Scope::default();
    scope.target_prefix = args.target_prefix.iter().copied().collect();
    scope.source_prefix = args.source_prefix.iter().copied().collect();
    scope.source_port_range = args.source_port.iter().copied().collect();
    scope.target_port_range = args.target_port.iter().copied().collect();
    scope.target_protocol = args.target_protocol.iter().copied().collect();
    scope.lifetime = Some(u32::try_from(args.lifetime).map_or(Lifetime::Indefinite, Lifetime::Seconds));
    let body = Body::from(scope).to_json().to_string();
    let peer = encoded(&args.peer);
    let (method, path) = match args.mid {
        Some(mid) => (Method::PUT, format!("/v1/peers/{peer}/mitigations/{mid}")),
        None => (Method::POST, format!("/v1/peers/{peer}/mitigations")),
    };
    ask(&args.api, method, &path, body).await
}

/// `dots withdraw`
///
/// # Errors
/// As [`mitigate`].
pub async fn withdraw(args: &WithdrawArgs, json: bool) -> Result<(), Failure> {
    print(&request_withdrawal(args).await?, json)
}

/// What [`withdraw`] prints.
///
/// # Errors
/// As there.
pub async fn request_withdrawal(args: &WithdrawArgs) -> Result<Value, Failure> {
    let path = format!("/v1/peers/{}/mitigations/{}", encoded(&args.peer), args.mid);
    ask(&args.api, Method::DELETE, &path, String::new()).await
}

/// `dots status`
///
/// # Errors
/// As [`mitigate`].
pub async fn status(args: &StatusArgs, json: bool) -> Result<(), Failure> {
    if !args.follow {
        let value = ask(&args.api, Method::GET, &path_of(args, false), String::new()).await?;
        return value.as_array().into_iter().flatten().try_for_each(|one| print(one, json));
    }
    let mut follower = Follower::start(args).await?;
    let (shutdown, _) = crate::signals::install()?;
    loop {
        let value = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            value = follower.next() => value?,
        };
        print(&value, json)?;
    }
}

fn path_of(args: &StatusArgs, follow: bool) -> String {
    let peer = args.peer.as_deref().map(|peer| format!("peer={}", encoded(peer)));
    let query: Vec<String> = peer.into_iter().chain(follow.then(|| "follow=1".to_owned())).collect();
    if query.is_empty() { "/v1/mitigations".to_owned() } else { format!("/v1/mitigations?{}", query.join("&")) }
}

/// How all stands, and each change.
#[derive(Debug)]
pub struct Follower {
    place: HostPort,
    body: Incoming,
    rest: Vec<u8>,
}

impl Follower {
    /// Begins to follow.
    ///
    /// # Errors
    /// As [`mitigate`].
    pub async fn start(args: &StatusArgs) -> Result<Self, Failure> {
        let response = request(&args.api, Method::GET, &path_of(args, true), String::new()).await?;
        if !response.status().is_success() {
            let why = value(&args.api, response).await.err();
            return Err(why.unwrap_or_else(|| Failure::misbehaved("it cannot be followed").at(&args.api.api)));
        }
        Ok(Self { place: args.api.api.clone(), body: response.into_body(), rest: Vec::new() })
    }

    /// The next line. May be cancelled without loss.
    ///
    /// # Errors
    /// When the Call Home client ends, or says nonsense.
    pub async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.rest) {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let wrong = |_| Failure::misbehaved("a line is not JSON").at(&self.place);
                return serde_json::from_slice(&line).map_err(wrong);
            }
            if self.rest.len() > LINE {
                return Err(Failure::misbehaved("a line does not end").at(&self.place));
            }
            let ended = || Failure::unreachable("the Call Home client has ended").at(&self.place);
            let frame = self.body.frame().await.ok_or_else(ended)?;
            let frame = frame.map_err(|error| Failure::unreachable(error.to_string()).at(&self.place))?;
            self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}

/// `dots proposals`
///
/// # Errors
/// As [`mitigate`].
pub async fn proposals(args: &ApiArgs, json: bool) -> Result<(), Failure> {
    let value = ask(args, Method::GET, "/v1/proposals", String::new()).await?;
    for one in value.as_array().into_iter().flatten() {
        if json {
            out::line(&one.to_string())?;
            continue;
        }
        let text = |name: &str| one[name].as_str().map_or_else(|| one[name].to_string(), str::to_owned);
        out::line(&format!(
            "{}: {} alerts by {}: {} to {}, of {}",
            text("id"),
            text("alerts"),
            text("rule"),
            text("ietf-dots-call-home:source-prefix"),
            text("target-prefix"),
            text("peer"),
        ))?;
    }
    Ok(())
}

/// `dots confirm`
///
/// # Errors
/// As [`mitigate`].
pub async fn confirm(args: &ProposalArgs, json: bool) -> Result<(), Failure> {
    let value = ask(&args.api, Method::POST, &format!("/v1/proposals/{}/confirm", args.id), String::new()).await?;
    print(&value, json)
}

/// `dots dismiss`
///
/// # Errors
/// As [`mitigate`].
pub async fn dismiss(args: &ProposalArgs, json: bool) -> Result<(), Failure> {
    let value = ask(&args.api, Method::DELETE, &format!("/v1/proposals/{}", args.id), String::new()).await?;
    if json { out::line(&value.to_string()) } else { out::line(&format!("proposal {} is dropped", args.id)) }
}

/// `dots consents`
///
/// # Errors
/// As [`mitigate`].
pub async fn consents(args: &ApiArgs, json: bool) -> Result<(), Failure> {
    let value = ask(args, Method::GET, "/v1/consents", String::new()).await?;
    value.as_array().into_iter().flatten().try_for_each(|one| {
        out::line(&if json { one.to_string() } else { format!("{}: {}", one["id"], shown::row(one)) })
    })
}

/// `dots agree`
///
/// # Errors
/// As [`mitigate`].
pub async fn agree(args: &ConsentArgs, json: bool) -> Result<(), Failure> {
    let value = ask(&args.api, Method::POST, &format!("/v1/consents/{}/agree", args.id), String::new()).await?;
    print(&value, json)
}

/// `dots refuse`
///
/// # Errors
/// As [`mitigate`].
pub async fn refuse(args: &ConsentArgs, json: bool) -> Result<(), Failure> {
    let value = ask(&args.api, Method::DELETE, &format!("/v1/consents/{}", args.id), String::new()).await?;
    print(&value, json)
}

fn print(value: &Value, json: bool) -> Result<(), Failure> {
    out::line(&if json { value.to_string() } else { shown::row(value) })
}

/// A name as part of a path.
fn encoded(text: &str) -> String {
    let octet = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(octet).collect()
}

/// Asks, and gives the value of the answer.
async fn ask(args: &ApiArgs, method: Method, path: &str, body: String) -> Result<Value, Failure> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{separator}timeout={}", args.timeout.0.as_secs_f64().min(600.0));
    let deadline = Instant::now() + args.timeout.0 + SLACK;
    let asked = async {
        let response = request(args, method, &path, body).await?;
        value(args, response).await
    };
    let late = || Failure::unreachable("the interface did not answer in time").at(&args.api);
    tokio::time::timeout_at(deadline, asked).await.unwrap_or_else(|_| Err(late()))
}

/// Sends a request.
async fn request(args: &ApiArgs, method: Method, path: &str, body: String) -> Result<Response<Incoming>, Failure> {
    let unreachable = |what: String| {
        let failure = Failure::unreachable(what).at(&args.api);
        failure.remedy("see that the Call Home client, or server, runs and has this --api")
    };
    let broken = |error: hyper::Error| match error.is_parse() {
        true => Failure::misbehaved(format!("not HTTP: {error}")).at(&args.api),
        false => unreachable(error.to_string()),
    };
    let connect = async {
        let places = args.api.resolve().await?;
        TcpStream::connect(places.as_slice()).await
    };
    let stream = tokio::time::timeout(args.timeout.0.max(Duration::from_secs(1)), connect).await;
    let stream = stream.map_err(|_| unreachable("no connection in time".to_owned()))?;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    tokio::spawn(connection);
    let mut builder = Request::builder().method(method.clone()).uri(path).header(HOST, args.api.to_string());
    if matches!(method, Method::PUT | Method::POST) {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    if let Some(path) = &args.token_file {
        let token = api::read_token(path)?;
        let shown = zeroize::Zeroizing::new([b"Bearer ", token.as_slice()].concat());
        let mut value = hyper::header::HeaderValue::from_bytes(&shown)
            .map_err(|_| Failure::usage("not a token").at(path.display()))?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    let request = builder
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::usage(format!("no request can be made of this: {error}")))?;
    sender.send_request(request).await.map_err(broken)
}

/// The value of an answer, or why there is none.
async fn value(args: &ApiArgs, response: Response<Incoming>) -> Result<Value, Failure> {
    let status = response.status();
    let misbehaved = |what: &str| {
        let failure = Failure::misbehaved(what.to_owned()).at(&args.api);
        failure.remedy("see that this is the --api of a Call Home client, or server")
    };
    let body = http_body_util::Limited::new(response.into_body(), LONGEST).collect().await;
    let octets = body.map_err(|_| misbehaved("the answer is cut off, or too long"))?.to_bytes();
    let value: Value = serde_json::from_slice(&octets).map_err(|_| misbehaved("the answer is not JSON"))?;
    if status.is_success() {
        return Ok(value);
    }
    let text = value["error"].as_str().ok_or_else(|| misbehaved("the answer is not of this interface"))?;
    let blame = match value["blame"].as_str() {
        Some("refused") => Blame::PeerRefused,
        Some("unreachable") => Blame::Unreachable,
        Some("misbehaved") => Blame::PeerMisbehaved,
        _ => Blame::Usage,
    };
    Err(Failure::new(blame, text))
}
