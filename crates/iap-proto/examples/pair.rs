//! An analyzer and a manager in one process, from CONNECT to the answer to an alert, without a wire between them.
//!
//! `cargo run -p iap-proto --example pair`. The same with sockets and TLS is `std_sensor`, and the crate `iap-tokio`.

use std::error::Error;
use std::sync::Arc;

use iap_proto::{
    Config, Initiator, InitiatorEvent, MediaType, Receiver, ReceiverEvent, Responder, ResponderEvent, Sender,
    SenderEvent, Status, Verdict,
};
use watchfire_core::{Instant, Machine as _, Output, StreamMachine as _};

/// Nothing takes time here.
const NOW: Instant = Instant::ZERO;

/// The setup: CONNECT, TLS (left out: whoever is told to start it says that it is done), the channel.
fn set_up() -> Result<(Sender, Receiver), Box<dyn Error>> {
    let mut analyzer = Initiator::for_alerts(Arc::new(Config::analyzer()), "manager.example.com".parse()?, NOW);
    let mut manager = Responder::new(Arc::new(Config::manager()), NOW);
    let (mut sender, mut receiver) = (None, None);
    loop {
        match analyzer.poll_output(NOW) {
            Output::Transmit(octets) => {
                print!("analyzer: {}", String::from_utf8_lossy(&octets));
                manager.handle_input(NOW, &octets)?;
            }
            Output::Event(InitiatorEvent::StartTls { .. }) => analyzer.tls_started(NOW)?,
            Output::Event(InitiatorEvent::Ready(channel)) => sender = channel.into_sender(),
            Output::Event(_) | Output::Timeout(_) => {}
        }
        match manager.poll_output(NOW) {
            Output::Transmit(octets) => {
                print!("manager: {}", String::from_utf8_lossy(&octets));
                analyzer.handle_input(NOW, &octets)?;
            }
            Output::Event(ResponderEvent::Connect(_)) => manager.accept_connect(NOW)?,
            Output::Event(ResponderEvent::StartTls { .. }) => manager.tls_started(NOW)?,
            Output::Event(ResponderEvent::ChannelSetup { .. }) => manager.accept_channel(NOW)?,
            Output::Event(ResponderEvent::Ready(channel)) => receiver = channel.into_receiver(),
            Output::Event(_) | Output::Timeout(_) => {}
        }
        if sender.is_some() && receiver.is_some() {
            return sender.zip(receiver).ok_or_else(|| "no channel".into());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut sender, mut receiver) = set_up()?;
    let id = sender.send_alert(NOW, &MediaType::IDEF_ALERT, b"<IDMEF-Message/>")?;
    loop {
        match sender.poll_output(NOW) {
            Output::Transmit(octets) => receiver.handle_input(NOW, &octets)?,
            Output::Event(SenderEvent::Answered { id: answered, verdict, status }) => {
                println!("analyzer: alert {} is answered {status}", answered.index());
                let delivered = answered == id && verdict == Verdict::Delivered;
                return if delivered { Ok(()) } else { Err("not delivered".into()) };
            }
            Output::Event(other) => println!("analyzer: {other:?}"),
            Output::Timeout(_) => {}
        }
        match receiver.poll_output(NOW) {
            Output::Transmit(octets) => sender.handle_input(NOW, &octets)?,
            Output::Event(ReceiverEvent::Content { id, body, .. }) => {
                println!("manager: {} octets", body.len());
                receiver.respond(NOW, id, Status::OK)?; // only when the alert is safe here
            }
            Output::Event(other) => println!("manager: {other:?}"),
            Output::Timeout(_) => {}
        }
    }
}
