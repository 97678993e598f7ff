//! The same stream whole and in pieces: the events and the answers are the same.

use iap_proto::{Channel, DataRole, Error, MediaType, Receiver, ReceiverEvent, Sender, Status};
use watchfire_core::{Eof, Instant, Machine as _, Output, StreamMachine as _};

use super::script::{Operation, Script};
use super::setup;

const NOW: Instant = Instant::from_secs(1000);

/// The octets of a script, and the pieces that its operations cut them into.
fn stream(script: &Script) -> (Vec<u8>, Vec<Vec<u8>>, Eof) {
    let pieces: Vec<Vec<u8>> =
        script.operations.iter().filter_map(|operation| operation.octets(script.dialect)).flatten().collect();
    let truncated = script.operations.iter().any(|operation| matches!(operation, Operation::Eof { truncated: true }));
    (pieces.concat(), pieces, if truncated { Eof::Truncated } else { Eof::Closed })
}

/// Reads the stream in three ways.
fn all_ways<T: PartialEq + std::fmt::Debug>(script: &Script, read: impl Fn(&[&[u8]], Eof) -> T) {
    let (octets, pieces, eof) = stream(script);
    let whole = read(&[&octets], eof);
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    assert_eq!(read(&pieces, eof), whole, "in pieces on the left");
    let single: Vec<&[u8]> = octets.chunks(1).collect();
    assert_eq!(read(&single, eof), whole, "octet by octet on the left");
}

pub(super) fn for_receiver(script: &Script) {
    all_ways(script, |pieces, eof| {
        let Channel::Receiver(mut receiver) = setup::channel(script, DataRole::Receiver, NOW) else { panic!("asked") };
        let mut said = (Vec::new(), Vec::new());
        for piece in pieces {
            let _ = receiver.handle_input(NOW, piece);
            answer(&mut receiver, &mut said);
        }
        let _ = receiver.handle_eof(NOW, eof);
        answer(&mut receiver, &mut said);
        said
    });
}

/// An application that answers at once.
fn answer(receiver: &mut Receiver, (octets, events): &mut (Vec<u8>, Vec<ReceiverEvent>)) {
    loop {
        match receiver.poll_output(NOW) {
            Output::Transmit(transmit) => octets.extend_from_slice(&transmit),
            Output::Event(event) => {
                if let ReceiverEvent::Content { id, body, .. } = &event {
                    let status = if body.len().is_multiple_of(2) { Status::OK } else { Status::SERVICE_UNAVAILABLE };
                    // Behind a broken stream there is nobody to answer.
                    let _ = receiver.respond(NOW, *id, status);
                }
                events.push(event);
            }
            Output::Timeout(_) => return,
        }
    }
}

pub(super) fn for_sender(script: &Script) {
    all_ways(script, |pieces, eof| {
        let Channel::Sender(mut sender) = setup::channel(script, DataRole::Sender, NOW) else { panic!("asked") };
        while sender.free_window() > 0 {
            sender.send_alert(NOW, &MediaType::IDEF_ALERT, b"x").expect("the window is open");
        }
        let (mut events, mut result) = (Vec::new(), Ok(()));
        for piece in pieces {
            result = result.and_then(|()| sender.handle_input(NOW, piece));
            events.extend(drain(&mut sender));
        }
        result = result.and_then(|()| sender.handle_eof(NOW, eof));
        events.extend(drain(&mut sender));
        let unconfirmed: Vec<u64> = sender.unconfirmed().map(|id| id.index()).collect();
        (events, unconfirmed, result as Result<(), Error>)
    });
}

/// The events, in words.
fn drain(sender: &mut Sender) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        match sender.poll_output(NOW) {
            Output::Transmit(_) => {}
            Output::Event(event) => events.push(format!("{event:?}")),
            Output::Timeout(_) => return events,
        }
    }
}
