//! Makes an alert, writes it as IDMEF, and reads it again: `cargo run -p idmef --example alert`.

use std::error::Error;
use std::net::IpAddr;

use idmef::{Alert, Analyzer, Assessment, Classification, DateTime, Impact, Message, Node, Severity, Source, lint};

fn main() -> Result<(), Box<dyn Error>> {
    let analyzer = Analyzer { analyzerid: "hq-dmz-analyzer01".into(), ..Analyzer::default() };
    let time: DateTime = "2026-11-22T10:01:25.5Z".parse()?;
    // Text of an attacker's choosing: it cannot break the document.
    let mut alert = Alert::new(analyzer, time, Classification::from("GET /<script>alert(1)</script> & more"));
    alert.messageid = "m-1".into();
    let attacker: IpAddr = "192.0.2.50".parse()?;
    alert.source.push(Source { node: Some(Node::from(attacker)), ..Source::default() });
    let impact = Impact { severity: Some(Severity::High), ..Impact::default() };
    alert.assessment = Some(Assessment { impact: Some(impact), ..Assessment::default() });

    let written = Message::from(alert);
    let xml = written.encode()?;
    println!("{xml}");

    let read = Message::decode(xml.as_bytes())?;
    for warning in lint(&read) {
        println!("unwise: {warning}");
    }
    if read == written { Ok(()) } else { Err("what was read is not what was written".into()) }
}
