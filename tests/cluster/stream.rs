//! What a stream of JetStream holds.

use std::collections::BTreeSet;

use watchfire_testkit::servers::Nats;

/// The messages of a stream: what was published, in its order.
pub(crate) fn messages(nats: &Nats, stream: &str) -> Vec<serde_json::Value> {
    let state = info(nats, stream)["state"].clone();
    let (first, last) = (state["first_seq"].as_u64().unwrap(), state["last_seq"].as_u64().unwrap());
    let get = |seq: u64| (format!("STREAM.MSG.GET.{stream}"), format!("{{\"seq\":{seq}}}"));
    let requests: Vec<_> = (first.max(1)..=last).map(get).collect();
    nats.ask(&requests)
        .iter()
        .map(|answer| {
            let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
            let mut message = answer["message"].clone();
            assert!(message.is_object(), "{answer}");
            let data = message["data"].as_str().unwrap();
            message["alert"] = serde_json::from_slice(&base64(data)).unwrap();
            message
        })
        .collect()
}

/// Its configuration and state.
pub(crate) fn info(nats: &Nats, stream: &str) -> serde_json::Value {
    let answer = nats.ask(&[(format!("STREAM.INFO.{stream}"), String::new())]);
    serde_json::from_str(&answer[0]).unwrap()
}

/// What tells the alerts of a stream apart.
pub(crate) fn different(messages: &[serde_json::Value]) -> BTreeSet<String> {
    messages.iter().map(|message| message["alert"]["sha256"].as_str().unwrap().to_owned()).collect()
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut octets = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.bytes().take_while(|symbol| *symbol != b'=') {
        let value = ALPHABET.iter().position(|known| *known == symbol).expect("base64");
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    octets
}
