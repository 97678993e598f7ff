//! The audit log of a name owner: a line of JSON for each thing that an owner may be asked about later.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use acme_lurk::acme::server::OrderId;
use acme_lurk::delegation::Audit;
use acme_lurk::time::format_rfc3339;
use serde_json::{Value, json};
use watchfire_hyper::Clock;

use crate::exit::{Failure, file_failure};

/// Appends to a file.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditLog {
    /// Opens the file, made when missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
        let file = Mutex::new(file.map_err(|error| file_failure("open the audit log", path, &error))?);
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes a line. One that cannot be written goes to the log.
    pub fn note(&self, order: Option<&OrderId>, what: &Audit) {
        let line = line(&format_rfc3339(Clock::wall()), order, what);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(file = %self.path.display(), "cannot write: {error}: {line}");
        }
    }
}

fn line(time: &str, order: Option<&OrderId>, what: &Audit) -> Value {
    let mut line = match what {
        Audit::Ordered { delegation, account, identifiers } => {
            let names: Vec<&str> = identifiers.iter().map(|identifier| identifier.value()).collect();
            json!({ "event": "ordered", "delegation": delegation, "account": account, "names": names })
        }
        Audit::Refused { account, problem } => {
            json!({ "event": "refused", "account": account, "type": problem.kind.uri(), "detail": problem.detail })
        }
        Audit::Omitted { refusals } => json!({ "event": "omitted", "refusals": refusals }),
        Audit::Deactivated { account } => json!({ "event": "deactivated", "account": account }),
        Audit::Requested => json!({ "event": "requested" }),
        Audit::Placed { url } => json!({ "event": "placed", "upstream": url }),
        Audit::Valid => json!({ "event": "valid" }),
        Audit::Issued { not_after } => json!({ "event": "issued", "not_after": format_rfc3339(*not_after) }),
        Audit::Invalid { detail } => json!({ "event": "invalid", "detail": detail }),
        Audit::Trouble { detail } => json!({ "event": "trouble", "detail": detail }),
        Audit::Gap => json!({ "event": "gap" }),
        Audit::Canceled => json!({ "event": "canceled" }),
        Audit::Revoked => json!({ "event": "revoked" }),
        Audit::NotCanceled { detail } => json!({ "event": "not-canceled", "detail": detail }),
        other => json!({ "event": "other", "detail": format!("{other:?}") }),
    };
    line["time"] = time.into();
    if let Some(order) = order {
        line["order"] = order.to_string().into();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_when_what_and_who() {
        let what = Audit::Placed { url: "https://ca.example/order/1".into() };
        let line = line("2026-01-01T00:00:00Z", None, &what);
        let url = "https://ca.example/order/1";
        assert_eq!(line, json!({ "event": "placed", "time": "2026-01-01T00:00:00Z", "upstream": url }));
    }
}
