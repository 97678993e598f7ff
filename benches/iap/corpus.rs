//! What is counted on: the alert of 860 octets, messages around it, machines in the data phase.

use std::num::NonZeroUsize;
use std::sync::Arc;

use iap_proto::message::{ChannelSetup, Connect, ContentHeader, Response, Upgrade};
use iap_proto::{
    Config, DataRole, Dialect, Host, Initiator, InitiatorEvent, MediaType, Party, Receiver, Responder, ResponderEvent,
    Sender, Status,
};
use watchfire_core::{Instant, Machine as _, Output, StreamMachine as _};

pub(crate) const NOW: Instant = Instant::from_secs(1);

/// An alert of 860 octets: two addresses, two services, classification and impact.
pub(crate) fn alert() -> Vec<u8> {
    let alert = include_bytes!("alert.xml").to_vec();
    assert_eq!(alert.len(), 860);
    alert
}

/// Example 7.3.2 of RFC 4765, with its indentation.
pub(crate) fn rfc_phf() -> Vec<u8> {
    include_bytes!("../../tests/vectors/idmef/idmef-rfc4765/7.3.2-phf.xml").to_vec()
}

/// An alert line as Suricata 7 writes it.
pub(crate) fn eve() -> Vec<u8> {
    let lines = include_str!("../../tests/vectors/suricata/eve.json");
    lines.lines().find(|line| line.contains("\"event_type\":\"alert\"")).expect("an alert").into()
}

/// The alert as content of 0.3.
pub(crate) fn content() -> Vec<u8> {
    content_behind(b"Content-Type: application/x-idef-alert\r\nContent-Length: 860\r\n\r\n")
}

pub(crate) fn content_reordered() -> Vec<u8> {
    content_behind(b"Content-Length: 860\r\nContent-Type: application/x-idef-alert\r\n\r\n")
}

fn content_behind(header: &[u8]) -> Vec<u8> {
    [header, &alert(), b"\r\n\r\n"].concat()
}

fn host(name: &str) -> Host {
    name.parse().expect("a host")
}

fn via(count: usize) -> Vec<Host> {
    ["P1.DOM.ORG", "P2.DOM.ORG"].into_iter().take(count).map(host).collect()
}

fn connect_value(proxies: usize) -> Connect {
    let mut connect = Connect::new(Dialect::V0_3, host("M.DOM.ORG"));
    connect.via = via(proxies);
    connect
}

fn response_value(proxies: usize) -> Response {
    let mut response = Response::new(Dialect::V0_3, Status::OK);
    response.via = via(proxies);
    response
}

pub(crate) fn connect(proxies: usize) -> Vec<u8> {
    let mut out = Vec::new();
    connect_value(proxies).encode(&mut out);
    out
}

pub(crate) fn response(proxies: usize) -> Vec<u8> {
    let mut out = Vec::new();
    response_value(proxies).encode(&mut out);
    out
}

pub(crate) fn header_and_buffer(len: u64) -> (ContentHeader, Vec<u8>) {
    (ContentHeader::new(MediaType::IDEF_ALERT, len), Vec::with_capacity(1024))
}

pub(crate) fn connect_and_buffer(proxies: usize) -> (Connect, Vec<u8>) {
    (connect_value(proxies), Vec::with_capacity(1024))
}

pub(crate) fn response_and_buffer(proxies: usize) -> (Response, Vec<u8>) {
    (response_value(proxies), Vec::with_capacity(1024))
}

/// A receiver that has had one alert and answered it, and a read of so many more.
pub(crate) fn receiver_and_input(count: usize) -> (Receiver, Vec<u8>) {
    let mut machine = Responder::new(Arc::new(Config::manager()), NOW);
    let mut tell = |encode: &dyn Fn(&mut Vec<u8>), then: &dyn Fn(&mut Responder)| {
        let mut octets = Vec::new();
        encode(&mut octets);
        machine.handle_input(NOW, &octets).expect("the setup goes well");
        then(&mut machine);
    };
    tell(&|out| connect_value(0).encode(out), &|it| it.accept_connect(NOW).expect("asked"));
    tell(&|out| Upgrade::new(Dialect::V0_3).encode(out), &|it| it.tls_started(NOW).expect("asked"));
    let setup = ChannelSetup::new(Dialect::V0_3, DataRole::Sender);
    tell(&|out| setup.encode(out), &|it| it.accept_channel(NOW).expect("asked"));
    let mut receiver = loop {
        if let Output::Event(ResponderEvent::Ready(channel)) = machine.poll_output(NOW) {
            break channel.into_receiver().expect("the peer sends");
        }
    };
    receiver.handle_input(NOW, &content()).expect("a content");
    loop {
        match receiver.poll_output(NOW) {
            Output::Event(iap_proto::ReceiverEvent::Content { id, .. }) => {
                receiver.respond(NOW, id, Status::OK).expect("it was handed out");
            }
            Output::Timeout(_) => return (receiver, content().repeat(count)),
            _ => {}
        }
    }
}

/// A sender that has sent one alert and heard its answer, a body, and the answers to so many more.
pub(crate) fn sender_and_answers(count: usize) -> (Sender, Vec<u8>, Vec<u8>, usize) {
    let window = NonZeroUsize::new(64).expect("not zero");
    let mut machine = Initiator::new(
        Arc::new(Config::builder(Party::Analyzer).with_window(window).build().expect("a configuration")),
        host("M.DOM.ORG"),
        DataRole::Sender,
        NOW,
    );
    let mut answers = [200, 101, 200].into_iter();
    let mut sender = loop {
        match machine.poll_output(NOW) {
            Output::Transmit(_) => {
                let status = answers.next().and_then(Status::new).expect("three requests");
                let mut octets = Vec::new();
                Response::new(Dialect::V0_3, status).encode(&mut octets);
                machine.handle_input(NOW, &octets).expect("an answer");
            }
            Output::Event(InitiatorEvent::StartTls { .. }) => machine.tls_started(NOW).expect("asked"),
            Output::Event(InitiatorEvent::Ready(channel)) => break channel.into_sender().expect("it wants to send"),
            _ => {}
        }
    };
    sender.send_alert(NOW, &MediaType::IDEF_ALERT, &alert()).expect("the window is open");
    let _ = sender.poll_output(NOW);
    sender.handle_input(NOW, &response(0)).expect("an answer");
    while !matches!(sender.poll_output(NOW), Output::Timeout(_)) {}
    (sender, alert(), response(0).repeat(count), count)
}

/// Counts the events of a document.
pub(crate) fn events(octets: &[u8]) -> usize {
    let text = std::str::from_utf8(octets).expect("UTF-8");
    let mut reader = quick_xml::Reader::from_str(text);
    let mut events = 0;
    loop {
        match reader.read_event().expect("well-formed") {
            quick_xml::events::Event::Eof => return events,
            event => {
                std::hint::black_box(event);
                events += 1;
            }
        }
    }
}

/// Setups that call once what is counted then.
pub(crate) mod warm {
    use std::hint::black_box;

    use iap_proto::message::{ContentHeader, Response, SetupRequest};
    use idmef::Message;
    use idmef::eve::Converter;

    pub(crate) fn content_header(octets: Vec<u8>) -> Vec<u8> {
        let _ = black_box(ContentHeader::decode(&octets));
        octets
    }

    pub(crate) fn httparse(octets: Vec<u8>) -> Vec<u8> {
        let mut headers = [httparse::EMPTY_HEADER; 4];
        assert!(black_box(httparse::parse_headers(&octets, &mut headers)).is_ok());
        octets
    }

    pub(crate) fn setup_request(octets: Vec<u8>) -> Vec<u8> {
        let _ = black_box(SetupRequest::decode(&octets));
        octets
    }

    pub(crate) fn response(octets: Vec<u8>) -> Vec<u8> {
        let _ = black_box(Response::decode(&octets));
        octets
    }

    pub(crate) fn idmef(octets: Vec<u8>) -> Vec<u8> {
        let _ = black_box(Message::decode(&octets));
        octets
    }

    pub(crate) fn quick_xml(octets: Vec<u8>) -> Vec<u8> {
        black_box(super::events(&octets));
        octets
    }

    pub(crate) fn message(octets: Vec<u8>) -> Message {
        let message = Message::decode(&octets).expect("a message");
        let _ = black_box(message.encode());
        message
    }

    pub(crate) fn eve(converter: Converter) -> (Converter, Vec<u8>) {
        let line = super::eve();
        let _ = black_box(converter.convert(&line).expect("a line").expect("an alert").encode());
        (converter, line)
    }
}
