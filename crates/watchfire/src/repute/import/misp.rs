//! Warning lists of MISP: names and networks that are known to be good.

use std::io::Read as _;
use std::path::Path;

use super::{Broken, Defaults, Sink, open};
use crate::exit::{Failure, file_failure};

/// Octets of the largest list.
const MOST: u64 = 256 << 20;

#[derive(serde::Deserialize)]
struct WarningList {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    list: Vec<String>,
}

pub(super) fn read(path: &Path, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
    let mut octets = Vec::new();
    let read = open(path)?.take(MOST + 1).read_to_end(&mut octets);
    read.map_err(|error| file_failure("read the list", path, &error))?;
    if octets.len() as u64 > MOST {
        return Err(Failure::usage(format!("larger than {MOST} octets")).at(path.display()).into());
    }
    let list: WarningList = serde_json::from_slice(&octets).map_err(|error| {
        Failure::usage(format!("not a warning list: {error}")).at(format!("{}:{}", path.display(), error.line()))
    })?;
    let is_tree = match list.kind.as_str() {
        // It also matches all names below.
        "hostname" => true,
        "cidr" | "string" => false,
        other => {
            let failure = Failure::usage(format!("{}: lists of type {other:?} are patterns", list.name));
            let failure = failure.at(path.display());
            return Err(failure.remedy("lists of type hostname, cidr and string name subjects").into());
        }
    };
    for (index, entry) in list.list.iter().enumerate() {
        let entry = entry.trim();
        let is_address = entry.parse::<std::net::IpAddr>().is_ok() || entry.contains('/');
        let rated =
            if is_tree && !entry.starts_with('.') && !is_address { format!(".{entry}") } else { entry.to_owned() };
        let reputon = defaults.listed(&rated, 0.0, None, "");
        sink.add(&defaults.application, &reputon, || format!("{}: entry {} of the list", path.display(), index + 1))?;
    }
    Ok(())
}
