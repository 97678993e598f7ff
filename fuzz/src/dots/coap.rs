//! CoAP messages: read, written, read again; on streams also cut anywhere.

use dots_callhome::{Limit, resource};
use dots_callhome::wire::{Block, DecodeErrorKind, Message, MessageBuf, Signal, tcp, udp};

/// Reads `data` as a datagram.
pub fn udp(data: &[u8]) {
    match udp::decode(data) {
        Ok(datagram) => {
            look(&datagram.message);
            let copy = MessageBuf::copy_of(&datagram.message);
            let mut out = Vec::new();
            copy.encode_udp(datagram.kind, datagram.message_id, &mut out);
            assert!(out.len() <= data.len(), "the shortest form is no longer");
            assert_eq!(out.len(), copy.udp_len());
            let again = udp::decode(&out).expect("what is written can be read");
            same(&again.message, &datagram.message);
            assert_eq!((again.kind, again.message_id), (datagram.kind, datagram.message_id));
        }
        Err(error) => {
            assert!(error.offset <= data.len());
            let _ = error.to_string();
        }
    }
}

/// Reads `data` as a stream.
pub fn tcp(data: &[u8]) {
    let (mut at, max) = (0, 4096);
    loop {
        let rest = &data[at..];
        match tcp::decode(rest, max) {
            Ok(Some((message, used))) => {
                assert!(used > 0 && used <= rest.len() && used <= max);
                // No part of a message is one, nor an error that the whole is not.
                for cut in 0..used {
                    assert_eq!(tcp::decode(&rest[..cut], max), Ok(None));
                }
                look(&message);
                if message.code.is_signal() {
                    let _ = Signal::decode(&message);
                }
                let copy = MessageBuf::copy_of(&message);
                let mut out = Vec::new();
                copy.encode_tcp(&mut out);
                assert_eq!(out.len(), copy.tcp_len());
                let (again, len) = tcp::decode(&out, max).expect("written").expect("whole");
                assert_eq!(len, out.len());
                same(&again, &message);
                at += used;
            }
            Ok(None) => return assert!(rest.len() < max),
            Err(error) => {
                assert!(error.offset <= rest.len() || error.kind == DecodeErrorKind::Limit(Limit::Message));
                return;
            }
        }
    }
}

fn same(one: &Message<'_>, other: &Message<'_>) {
    assert_eq!((one.code, one.token, one.payload), (other.code, other.token, other.payload));
    assert!(one.options.eq(other.options));
}

fn look(message: &Message<'_>) {
    let mut last = 0;
    for option in message.options {
        assert!(option.number.0 >= last);
        last = option.number.0;
        assert!(message.option(option.number).is_some());
        if let Some(block) = Block::decode(option.value) {
            assert_eq!(Block::decode(&block.value().to_be_bytes()[5..]), Some(block));
        }
    }
    if let Ok(resource) = resource(message) {
        let mut path = MessageBuf::new(message.code, message.token);
        resource.push_to(&mut path);
        assert_eq!(dots_callhome::resource(&path.as_message()), Ok(resource));
    }
}
