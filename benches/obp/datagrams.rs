//! Asks a broker over UDP as fast as it answers, with so many questions under way at a time.
//!
//! `cargo bench -p watchfire-benches --bench obp_datagrams -- BINDING NAME SERVICE QUERIES UNDER-WAY`
//!
//! All requests are sealed before the clock starts, each with a transaction ID of its own, so that what is measured is
//! the broker. One answer in a thousand is verified and read.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use obp_proto::crypto::RustCrypto;
use obp_proto::message::{Identifier, InstanceTransport, QueryConnectRequest};
use obp_proto::service_connect::Binding;
use obp_proto::uyfm::{Entry, PacketKeys, Padding, ResponsePacket};
use obp_proto::{Encoding, Limits, Message};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [binding, name, service, queries, under_way] = &words[..] else {
        // `cargo test` and `cargo bench` without arguments come here as well.
        println!("say: BINDING NAME SERVICE QUERIES UNDER-WAY");
        return;
    };
    let (queries, under_way): (usize, usize) = (queries.parse().unwrap(), under_way.parse().unwrap());
    let binding = Binding::from_json(&std::fs::read(binding).unwrap(), &Limits::DEFAULT).unwrap();
    let instance = binding.service.iter().find(|one| one.transport == Some(InstanceTransport::Udp)).unwrap();
    let broker = SocketAddr::new(instance.address.unwrap(), instance.port.unwrap().into());
    let credentials = instance.cryptographic.as_ref().unwrap();
    let keys =
        PacketKeys::new(&RustCrypto, credentials.secret.expose(), &credentials.authentication, &credentials.encryption)
            .unwrap();
    let identifier = Identifier::new(name.parse().unwrap()).with_service(service.parse().unwrap());
    let question = Message::from(QueryConnectRequest::new(identifier)).encode(Encoding::JsonB).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u128 ^ u128::from(std::process::id()) << 64;
    seed ^=
        u128::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos()) << 32;
    let sealed: Vec<_> = (0..queries as u128)
        .map(|n| {
            // Not unpredictable, but different: this is no client for any other purpose.
            let id = (seed.wrapping_add(n)).wrapping_mul(0xda94_2042_e4dd_58b5_0000_0000_0000_0001).to_be_bytes();
            keys.seal_request(&id, credentials.ticket.as_bytes(), &[Entry::JsonC(&question)], Padding::None, 1200)
                .unwrap()
                .datagram
        })
        .collect();

    let socket = UdpSocket::bind(SocketAddr::new(broker.ip(), 0)).unwrap();
    socket.connect(broker).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 2048];
    let mut times: Vec<u32> = Vec::with_capacity(queries);
    let mut sent_at = VecDeque::new();
    let (mut sent, mut answered, mut lost, mut octets) = (0, 0, 0, 0);
    let began = Instant::now();
    while answered + lost < queries {
        while sent < queries && sent_at.len() < under_way {
            socket.send(&sealed[sent]).unwrap();
            sent += 1;
            sent_at.push_back(Instant::now());
        }
        match socket.recv(&mut buffer) {
            Ok(len) => {
                octets = len;
                let packet = ResponsePacket::parse(&buffer[..len]).unwrap();
                if answered % 1000 == 0 {
                    assert_eq!(packet.clear_response, 200);
                    let mut payload = keys.open_segment(&packet).unwrap();
                    keys.open_response(packet.transaction_id, &mut payload).unwrap();
                }
                answered += 1;
                if let Some(at) = sent_at.pop_front() {
                    times.push(u32::try_from(at.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
            }
            Err(_) => {
                lost += sent_at.len();
                sent_at.clear();
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    println!(
        "{{\"answered\":{answered},\"lost\":{lost},\"octets\":{octets},\"per_second\":{:.0},\"p50_us\":{:.1},\"p99_us\":{:.1}}}",
        answered as f64 / seconds,
        at(0.5),
        at(0.99)
    );
}
