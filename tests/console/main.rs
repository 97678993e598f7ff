//! The console in a real browser.
#![allow(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod browser;
mod looks;
mod tour;

use watchfire_tests::{Service, Site};

/// A manager with a console, and where both are.
struct Managed {
    site: Site,
    _manager: Service,
    address: String,
    console: String,
}

/// A manager with a console and these flags more.
fn managed(flags: &[&str]) -> Managed {
    let site = Site::new();
    managed_at(site, flags)
}

fn managed_at(site: Site, flags: &[&str]) -> Managed {
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let base = ["--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--store", &store];
    let manager = site.manager(&[&base[..], flags].concat());
    let (address, console) = (manager.address(), manager.address());
    Managed { site, _manager: manager, address, console }
}

/// An alert as IDMEF, in one line.
fn alert(id: &str, text: &str, severity: &str, source: &str, target: &str) -> String {
    let node = |end: &str, address: &str| {
        format!("<{end}><Node><Address category=\"ipv4-addr\"><address>{address}</address></Address></Node></{end}>")
    };
    let (source, target) = (node("Source", source), node("Target", target));
    format!(
        "<IDMEF-Message xmlns=\"http://iana.org/idmef\" version=\"1.0\"><Alert messageid=\"{id}\">\
         <Analyzer analyzerid=\"test\"/><CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>\
         {source}{target}<Classification text=\"{text}\"/>\
         <Assessment><Impact severity=\"{severity}\"/></Assessment></Alert></IDMEF-Message>\n"
    )
}

/// A sensor that sends each line that is added to a file.
struct Feeding {
    file: String,
    _sensor: Service,
}

impl Feeding {
    fn start(managed: &Managed) -> Self {
        let file = managed.site.write("feed", "");
        let kind = "application/x-idef-alert";
        let flags = ["--connect", &managed.address, "--input", &file, "--follow", "--content-type", kind];
        let sensor = managed.site.sensor(&flags);
        Self { file, _sensor: sensor }
    }

    fn send(&self, lines: &str) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.file).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }
}
