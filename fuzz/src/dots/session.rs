//! One machine against any peer, any clock and any application.

use std::sync::Arc;

use dots_callhome::body::{AttackStatus, Body, List, RedirectedSignal, Scope};
use dots_callhome::wire::{Code, MessageBuf, OptionNumber, Token, udp};
use dots_callhome::{
    AnySource, Client, ClientConfig, Counters, Dialer, DialerConfig, DialerEvent, Limits, MitigationId, Server, ServerConfig,
    ServerEvent, SessionId, SessionParams, Transport,
};
use watchfire_core::{Duration, Instant, Machine, Output, StreamMachine};

use super::Bytes;

const ID: SessionId = SessionId(1);

/// Runs the script in `data` twice: both runs say the same.
pub fn run(data: &[u8]) {
    let first = once(data);
    assert_eq!(first, once(data), "the same calls give the same outputs");
}

fn once(data: &[u8]) -> Vec<Vec<u8>> {
    let mut script = Bytes(data);
    let flags = script.byte();
    let transport = if flags & 1 == 0 { Transport::Datagram } else { Transport::Stream };
    match flags >> 1 & 3 {
        0 | 1 => server(&mut script, transport),
        2 => client(&mut script, transport),
        _ => dialer(&mut script),
    }
}

/// Octets of a peer: noise, or a message that is nearly right.
fn octets(script: &mut Bytes<'_>, transport: Transport, tokens: &[Token]) -> Vec<u8> {
    let choice = script.byte();
    if choice < 32 {
        let len = usize::from(script.byte());
        return script.take(len).to_vec();
    }
    let code = [Code::PUT, Code::GET, Code::DELETE, Code::CREATED, Code::CHANGED, Code::CONTENT, Code::CONFLICT,
        Code::SERVICE_UNAVAILABLE, Code::CSM, Code::PING, Code::RELEASE, Code::BAD_REQUEST]
        [usize::from(choice) % 12];
    let token = tokens.get(usize::from(script.byte()) % tokens.len().max(1)).copied().unwrap_or_default();
    let mut message = MessageBuf::new(code, token);
    let path = script.byte();
    if code.is_request() {
        for segment in [".well-known", "dots"] {
            message.push_option(OptionNumber::URI_PATH, segment.as_bytes());
        }
        let (cuid, mid) = (format!("cuid={}", path & 1), format!("mid={}", path >> 1 & 7));
        let segments: &[&str] = match path >> 4 {
            0..=5 => &["mitigate", &cuid, &mid],
            6 | 7 => &["mitigate", &cuid],
            8 => &["config"],
            9 => &["config", "sid=3"],
            10 | 11 => &["hb"],
            12 => &["redirect"],
            _ => &["x"],
        };
        segments.iter().for_each(|segment| message.push_option(OptionNumber::URI_PATH, segment.as_bytes()));
    }
    let extra = script.byte();
    for (bit, number) in [OptionNumber::OBSERVE, OptionNumber::BLOCK2, OptionNumber::ETAG, OptionNumber::IF_MATCH,
        OptionNumber::MAX_AGE]
    .into_iter()
    .enumerate()
    {
        if extra >> bit & 1 == 1 {
            message.push_uint(number, u64::from(script.byte()));
        }
    }
    match script.byte() % 8 {
        0 | 1 => message.set_dots_payload(&Body::from(scope(script)).to_vec()),
        2 => message.set_dots_payload(&Body::Heartbeat { peer_hb_status: extra & 0x80 == 0 }.to_vec()),
        3 => {
            let set = SessionParams::default().to_set();
            message.set_dots_payload(
                &Body::from(dots_callhome::body::SignalConfig::new(Some(set.clone()), Some(set))).to_vec(),
            );
        }
        4 => {
            let to = RedirectedSignal::to_client("alt.example", List::new(), Some(u32::from(script.byte())));
            message.set_dots_payload(&Body::from(to).to_vec());
        }
        5 => {
            let len = usize::from(script.byte() & 63);
            message.set_dots_payload(script.take(len));
        }
        6 => {
            let mut answer = scope(script);
            answer.mid = Some(u32::from(script.byte() & 7));
            answer.status = Some(dots_callhome::body::Status::from_code(u32::from(script.byte() & 15)));
            message.set_dots_payload(&Body::from(answer).to_vec());
        }
        _ => {}
    }
    let mut out = Vec::new();
    if transport == Transport::Stream {
        message.encode_tcp(&mut out);
    } else {
        let kind = [udp::Type::Con, udp::Type::Non, udp::Type::Ack, udp::Type::Rst][usize::from(extra >> 5 & 3)];
        message.encode_udp(kind, u16::from(script.byte()), &mut out);
    }
    out
}

fn scope(script: &mut Bytes<'_>) -> Scope {
    let bits = script.byte();
    let mut scope = Scope::default();
    for target in 0..=bits & 1 {
        let text = format!("198.51.{}.0/{}", (bits >> 1 & 3) + target, 20 + (bits >> 3 & 7));
        scope.target_prefix.push(text.parse().expect("a prefix"));
    }
    if bits & 0x80 == 0 {
        scope.source_prefix.push("192.0.2.1/32".parse().expect("a prefix"));
    }
    if bits & 0x40 == 0 {
        scope.lifetime = Some(dots_callhome::body::Lifetime::Seconds(u32::from(script.byte()) * 8));
    }
    scope
}

/// Time passes: to the next time-out, or by chance.
fn pass(script: &mut Bytes<'_>, now: Instant, wake: Option<Instant>) -> Instant {
    match script.byte() {
        0..=127 => wake.unwrap_or(now).max(now),
        some => now + Duration::from_millis(1 << (some & 31).min(24)),
    }
}

fn tokens(said: &[Vec<u8>]) -> Vec<Token> {
    said.iter().rev().filter_map(|octets| udp::decode(octets).ok()).map(|d| d.message.token).take(8).collect()
}

fn server(script: &mut Bytes<'_>, transport: Transport) -> Vec<Vec<u8>> {
    let limits = Limits::default().with_mitigations(8).with_observers(4).with_queued(64);
    let config = ServerConfig::builder().with_limits(limits).build().unwrap();
    let (mut now, mut said, mut ids) = (Instant::ZERO, Vec::new(), Vec::<MitigationId>::new());
    let mut server = Server::new(Arc::new(config), AnySource, [7; 32], now);
    server.session_up(now, ID, "client", transport);
    while !script.is_empty() {
        let heard = said.len();
        match script.byte() % 12 {
            0..=5 => {
                let octets = octets(script, transport, &[Token::default(), Token::new(&[1]).expect("short")]);
                let outcome = server.handle_input(now, ID, &octets);
                assert!(outcome.is_ok() || transport == Transport::Stream || !server.has_session_with("client"));
            }
            6 => server.session_up(now, ID, "client", transport),
            op => {
                let id = ids.get(usize::from(script.byte()) % ids.len().max(1)).copied();
                if let Some(id) = id {
                    let _ = match op {
                        7 => server.enforced(now, id, script.byte() & 1 == 0),
                        8 => server.consent(now, id, script.byte() & 1 == 0),
                        9 => server.attack_stopped(now, id, true),
                        10 => server.judge_legitimate(now, id),
                        _ => server.report_counters(now, id, Counters::default()),
                    };
                }
            }
        }
        let mut wake = None;
        for round in 0..50 {
            loop {
                match server.poll_output(now) {
                    Output::Transmit((_, octets)) => said.push(octets.to_vec()),
                    Output::Event(event) => {
                        if let ServerEvent::Enforce { id, .. } = event {
                            ids.push(id);
                        }
                        said.push(format!("{event:?}").into_bytes());
                    }
                    Output::Timeout(at) => break wake = at,
                }
            }
            assert_eq!(wake.is_none(), server.timeout_reason().is_empty());
            if wake.is_none_or(|at| at > now) {
                break;
            }
            assert!(round < 40, "running in circles");
            server.handle_timeout(now).expect("never");
        }
        assert!(said.len() - heard < 400, "one call says {} things", said.len() - heard);
        assert!(server.mitigations().iter().count() <= 8);
        if script.byte() & 3 == 0 {
            now = pass(script, now, wake);
            server.handle_timeout(now).expect("never");
        }
    }
    said
}

fn client(script: &mut Bytes<'_>, transport: Transport) -> Vec<Vec<u8>> {
    let limits = Limits::default().with_mitigations(8);
    let config = ClientConfig::builder("0", "server").with_echo_heartbeats(true).with_limits(limits).build().unwrap();
    let (mut now, mut said) = (Instant::ZERO, Vec::<Vec<u8>>::new());
    let mut client = Client::new(Arc::new(config), AnySource, [7; 32], now);
    client.session_up(now, transport);
    while !script.is_empty() {
        let heard = said.len();
        match script.byte() % 12 {
            0..=5 => {
                let tokens = tokens(&said);
                let octets = octets(script, transport, &tokens);
                let outcome = client.handle_input(now, &octets);
                assert!(outcome.is_ok() || transport == Transport::Stream || !client.has_session());
            }
            6 => client.session_up(now, transport),
            7 | 8 => drop(client.request_mitigation(now, scope(script))),
            9 => drop(client.withdraw(now, u32::from(script.byte() & 7))),
            10 => drop(client.report_efficacy(now, u32::from(script.byte() & 7), AttackStatus::UnderAttack)),
            _ => drop(client.redirect(now, RedirectedSignal::to_client("alt", List::new(), None), true)),
        }
        let mut wake = None;
        for round in 0..50 {
            loop {
                match client.poll_output(now) {
                    Output::Transmit(octets) => said.push(octets.to_vec()),
                    Output::Event(event) => said.push(format!("{event:?}").into_bytes()),
                    Output::Timeout(at) => break wake = at,
                }
            }
            if wake.is_none_or(|at| at > now) {
                break;
            }
            assert!(round < 40, "running in circles");
            client.handle_timeout(now).expect("never");
        }
        assert!(said.len() - heard < 400, "one call says {} things", said.len() - heard);
        assert!(client.mitigations().count() <= 8);
        if script.byte() & 3 == 0 {
            now = pass(script, now, wake);
            client.handle_timeout(now).expect("never");
        }
    }
    said
}

fn dialer(script: &mut Bytes<'_>) -> Vec<Vec<u8>> {
    let (mut now, mut said, mut attempts) = (Instant::ZERO, Vec::new(), Vec::new());
    let mut dialer = Dialer::new(DialerConfig::builder("peer", 4647).build().unwrap(), [7; 32], now);
    while !script.is_empty() {
        let chosen = attempts.get(usize::from(script.byte()) % attempts.len().max(1)).copied();
        match script.byte() % 8 {
            0 => dialer.start(now),
            1 => dialer.resolved(now, vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]),
            2 => chosen.into_iter().for_each(|attempt| dialer.connected(now, attempt)),
            3 => chosen.into_iter().for_each(|attempt| dialer.failed(now, attempt)),
            4 => dialer.lost(now),
            5 => {
                let name = format!("alt{}", script.byte() & 3);
                let records = if script.byte() & 1 == 0 { List::new() } else { List::one([192, 0, 2, 9].into()) };
                let _ = dialer.redirect(now, &RedirectedSignal::to_client(name, records, Some(u32::from(script.byte()))));
            }
            6 => dialer.set_attack(now, script.byte() & 1 == 0),
            _ => dialer.stop(now),
        }
        let mut wake = None;
        for round in 0..80 {
            loop {
                match dialer.poll_output(now) {
                    Output::Event(event) => {
                        if let DialerEvent::Connect { attempt, .. } = &event {
                            attempts.push(*attempt);
                        }
                        said.push(format!("{event:?}").into_bytes());
                    }
                    Output::Transmit(never) => match never {},
                    Output::Timeout(at) => break wake = at,
                }
            }
            if wake.is_none_or(|at| at > now) {
                break;
            }
            assert!(round < 70, "running in circles");
            let Ok(()) = dialer.handle_timeout(now);
        }
        if script.byte() & 1 == 0 {
            now = pass(script, now, wake);
            let Ok(()) = dialer.handle_timeout(now);
        }
    }
    said
}

/// Scripts that go some way.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for flags in 0..8u8 {
        let mut script = vec![flags];
        for round in 0..24u8 {
            script.extend([round % 12, 36, round, round.wrapping_mul(19), 0x20, 0, 9, 40, round, 0, round, 1]);
        }
        seeds.push((format!("walk-{flags}"), script));
    }
    seeds
}
