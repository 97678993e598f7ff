//! Writes the seeds: `cargo run --no-default-features --example seeds`. They come from `tests/vectors`, and for the two
//! targets that read operations instead of octets from scripts in the modules of those targets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Larger vectors show a limit, and only slow a fuzzer down.
const MAX_SEED: usize = 4096;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = here.join("../tests/vectors");
    let mut seeds: BTreeMap<(&str, String), Vec<u8>> = BTreeMap::new();
    for (name, octets) in files(&vectors.join("iap"), "bin")? {
        seeds.insert(("iap_decode", name), octets);
    }
    for folder in ["idmef/idmef-rfc4765", "idmef/idmef-prelude/split", "idmef/idmef-from-eve"] {
        for (name, octets) in files(&vectors.join(folder), "xml")? {
            seeds.insert(
                ("idmef_xml", format!("{}-{name}", folder.replace("idmef/idmef-", "").replace('/', "-"))),
                octets,
            );
        }
    }
    for file in ["eve", "eve-allrules"] {
        let text = fs::read_to_string(vectors.join(format!("suricata/{file}.json")))?;
        let (alerts, others): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.contains("\"event_type\":\"alert\""));
        for (number, line) in alerts.iter().chain(others.first()).enumerate() {
            seeds.insert(("eve_json", format!("{file}-{number:02}")), line.as_bytes().to_vec());
        }
    }
    for (name, octets) in files(&vectors.join("obp/exchanges"), "json")? {
        // All leniencies; the dialect is JSON-D.
        seeds.insert(("jsonb_decode", format!("text-{name}")), [b"\xc7", &octets[..]].concat());
        if let Ok(value) = watchfire_fuzz::jsonb_decode::read(&octets) {
            for (dialect, octets) in watchfire_fuzz::jsonb_decode::written(&value) {
                seeds.insert(("jsonb_decode", format!("{dialect}-{name}")), [b"\xc0", &octets[..]].concat());
            }
        }
    }
    for (name, octets) in watchfire_fuzz::jsonb_decode::seeds() {
        seeds.insert(("jsonb_decode", name.into()), octets);
    }
    for (name, octets) in files(&vectors.join("obp/exchanges"), "json")? {
        seeds.insert(("obp_message", format!("text-{name}")), [b"\0", &octets[..]].concat());
    }
    for (target, scripts) in [
        ("obp_session", watchfire_fuzz::obp_session::seeds()),
        ("session_header", watchfire_fuzz::session_header::seeds()),
        ("uyfm_datagram", watchfire_fuzz::uyfm_datagram::seeds()),
    ] {
        seeds.extend(scripts.into_iter().map(|(name, octets)| ((target, name), octets)));
    }
    for (name, octets) in watchfire_fuzz::iap_session::seeds() {
        seeds.insert(("iap_session", name), octets);
    }
    for (name, octets) in watchfire_fuzz::iap_pair::seeds() {
        seeds.insert(("iap_pair", name), octets);
    }
    for (name, octets) in files(&vectors.join("repute"), "xml")? {
        seeds.insert(("reputon_xml", name), octets);
    }
    for (name, octets) in
        files(&vectors.join("repute"), "json")?.into_iter().filter(|(name, _)| name.starts_with("json-"))
    {
        if let (true, Ok(cases)) = (name == "json-parse-verdicts", serde_json::from_slice(&octets)) {
            let cases: Vec<serde_json::Value> = cases;
            for case in cases {
                let text = |member: &str| case[member].as_str().unwrap_or_default().to_owned();
                seeds.insert(("reputon_json", text("id")), text("body").into_bytes());
            }
        } else {
            seeds.insert(("reputon_json", name), octets);
        }
    }
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(vectors.join("repute/template-expansion.json"))?)?;
    for case in cases {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let seed = format!("{}\n{}", text(&case["variables"]["subject"]), text(&case["template"]));
        seeds.insert(("template", text(&case["id"])), seed.into_bytes());
    }
    for (name, octets) in watchfire_fuzz::dnsbl_query::seeds() {
        seeds.insert(("dnsbl_query", name), octets);
    }
    for (name, octets) in watchfire_fuzz::repute_session::seeds() {
        seeds.insert(("repute_session", name), octets);
    }
    let dots: serde_json::Value = serde_json::from_str(&fs::read_to_string(vectors.join("dots/vectors.json"))?)?;
    for (list, member, target) in [
        ("cbor", "cbor", "dots_cbor"),
        ("negative", "cbor", "dots_cbor"),
        ("coap", "udp", "coap_udp"),
        ("coap", "tcp", "coap_tcp"),
    ] {
        for (number, vector) in dots[list].as_array().into_iter().flatten().enumerate() {
            if let Some(hex) = vector[member].as_str() {
                let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
                seeds.insert((target, format!("{list}-{number:02}")), (0..hex.len()).step_by(2).map(digit).collect());
            }
            if list == "cbor" {
                seeds.insert(("dots_json", format!("{list}-{number:02}")), vector["json"].to_string().into_bytes());
            }
        }
    }
    for (name, octets) in watchfire_fuzz::dots::hello::seeds() {
        seeds.insert(("dots_hello", name), octets);
    }
    for (name, octets) in watchfire_fuzz::dots::session::seeds() {
        seeds.insert(("dots_session", name), octets);
    }
    for (name, octets) in watchfire_fuzz::dots::pair::seeds() {
        seeds.insert(("dots_pair", name), octets);
    }
    lurk(&vectors.join("acme-lurk"), &mut seeds)?;
    for ((target, name), octets) in seeds.iter().filter(|(_, octets)| octets.len() <= MAX_SEED) {
        let folder = here.join("seeds").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), octets)?;
    }
    println!("{} seeds", seeds.len());
    Ok(())
}

/// Those of ACME: what real clients and a real server said, templates, requests; for scripts, octets of a simple generator.
fn lurk(vectors: &Path, seeds: &mut BTreeMap<(&'static str, String), Vec<u8>>) -> std::io::Result<()> {
    let read = |path: PathBuf| -> std::io::Result<serde_json::Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    for client in ["lego", "certbot21"] {
        let transcript = read(vectors.join(format!("jws/{client}.json")))?;
        for (number, exchange) in transcript["exchanges"].as_array().into_iter().flatten().enumerate() {
            let name = format!("{client}-{number:02}");
            if exchange["jws"].is_object() {
                seeds.insert(("jws", name.clone()), exchange["jws"].to_string().into_bytes());
                seeds.insert(("jws", format!("{name}-header")), exchange["protected"].to_string().into_bytes());
            }
            let body = exchange["response_body"].as_str().unwrap_or_default();
            let target = if body.starts_with("-----") { "csr_check" } else { "order_json" };
            if !body.is_empty() {
                seeds.insert((target, name), body.as_bytes().to_vec());
            }
        }
    }
    for (name, octets) in files(&vectors.join("rfc9115"), "json")? {
        seeds.insert(("order_json", name), octets);
    }
    let example = read(vectors.join("csr-template/example-template.json"))?;
    seeds.insert(("csr_template", "example".into()), example.to_string().into_bytes());
    let manifest = read(vectors.join("csr/manifest.json"))?;
    for (name, template) in manifest["templates"].as_object().into_iter().flatten() {
        seeds.insert(("csr_template", name.clone()), template.to_string().into_bytes());
    }
    for (name, octets) in files(&vectors.join("csr"), "der")? {
        seeds.insert(("csr_check", name), octets);
    }
    let mut state = 1_u64;
    for number in 0..12 {
        for target in ["star_schedule", "ca_session"] {
            let mut octet = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            };
            seeds.insert((target, format!("{number:02}")), (0..100 + number * 40).map(|_| octet()).collect());
        }
    }
    rendezvous(&vectors.join("stupid"), seeds)?;
    // An order, its request, and then the network alone; cancellation, a restart, bad luck: for each kind of servers.
    for kind in 0..32_u8 {
        let mut steps = vec![kind];
        // The server learns of the CA and gets its account; the delegate orders, and sends its request.
        steps.extend([0, 0].repeat(4));
        steps.extend([0x4f, 0x18]);
        steps.extend((6..16).flat_map(|url| [0x8f, url << 3]));
        steps.extend([0, 0, 11, 1].repeat(12));
        steps.extend([7, 200, 0, 0, 9, 0, 0, 0, 0, 0, 0, 14, 7, 250, 0, 0, 10, 0, 0, 15, 9, 0, 0, 0, 0, 0]);
        seeds.insert(("ido_session", format!("{kind:02}")), steps);
    }
    seeds.insert(("star_schedule", "time".into()), b"2021-04-20T00:00:00Z".to_vec());
    seeds.insert(("star_schedule", "date".into()), b"Thu, 03 Oct 2019 00:00:00 GMT".to_vec());
    Ok(())
}

/// Those of the rendezvous: an octet that says what it is, and what it is.
fn rendezvous(vectors: &Path, seeds: &mut BTreeMap<(&'static str, String), Vec<u8>>) -> std::io::Result<()> {
    let mut put = |name: String, kind: u8, octets: &[u8]| {
        seeds.insert(("relay_query", name), [&[kind], octets].concat());
    };
    for (number, query) in ["chid=i781hf64-0", "a=b&chid=a%2Fb+c", "chid=%", "chid=a&chid=b"].into_iter().enumerate() {
        put(format!("query-{number}"), 0, query.as_bytes());
    }
    for (number, url) in ["http://r", "https://r.example:8443/p?x=y&", "http://[::1]:1/?"].into_iter().enumerate() {
        put(format!("url-{number}"), 1, url.as_bytes());
    }
    let (key, url) = ("BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU", "http://example.org/stupid.php?chid=i781hf64-0");
    put("open".into(), 2, format!("{{\"url\":\"{url}\",\"seq\":3}}").as_bytes());
    let sealed = format!("\"alg\":\"A256GCM\",\"key\":\"{key}\",\"sha256\":\"{key}\"");
    put("sealed".into(), 2, format!("{{\"url\":\"{url}\",\"expires\":\"2021-04-20T00:00:00Z\",{sealed}}}").as_bytes());
    put("link".into(), 2, format!("{url}#seq=1&sha256={key}&alg=A256GCM&key={key}").as_bytes());
    for (name, octets) in files(vectors, "xml")? {
        put(name, 3, &octets);
    }
    put("result".into(), 3, b"<iq id='1' type='result'/>");
    let steps: Vec<u8> = (0..80_u8).flat_map(|n| [n.wrapping_mul(7), n % 5, n.wrapping_mul(11), n % 40]).collect();
    put("relay".into(), 4, &steps);
    for sealed in [0, 1] {
        let fates: Vec<u8> = (0..60_u8).map(|n| n.wrapping_mul(37)).collect();
        put(format!("peers-{sealed}"), 5, &[&[sealed], &fates[..]].concat());
    }
    Ok(())
}

/// Name without ending, and content, of the files in a folder that end so.
fn files(folder: &Path, ending: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == ending) {
            let name = path.file_stem().expect("it has an extension").to_string_lossy().into_owned();
            files.push((name, fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
