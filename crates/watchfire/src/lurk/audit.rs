//! The audit log of a name owner: a line of JSON for each thing that an owner may be asked about later.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use acme_lurk::acme::server::OrderId;
use acme_lurk::delegation::Audit;
use acme_lurk::time::format_rfc3339;
use acme_lurk_hyper::Going;
use acme_lurk_hyper::journal::{Journal, Line};
use acme_lurk_hyper::keep::KeepError;
use serde_json::{Value, json};
use watchfire_hyper::Clock;

use crate::appended::Appended;
use crate::exit::{Failure, file_failure};

/// Appends to a file.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: Arc<Mutex<Appended>>,
    /// When it was opened: microseconds of the wall clock.
    began: u64,
    count: AtomicU64,
}

impl AuditLog {
    /// Opens the file, made when missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = Appended::open(path).map_err(|error| file_failure("open the audit log", path, &error))?;
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
            began: u64::try_from(began).unwrap_or(u64::MAX),
            count: AtomicU64::new(0),
        })
    }
}

impl Journal for AuditLog {
    fn line(&self, order: Option<&OrderId>, what: &Audit) -> Line {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:016x}-{count:08x}", self.began);
        let text = line(&id, &format_rfc3339(Clock::wall()), order, what).to_string();
        Line { id, text }
    }

    fn write(&self, lines: Vec<Line>) -> Going<'static, Result<(), KeepError>> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let write = move || {
            let text: String = lines.into_iter().flat_map(|line| [line.text, "\n".to_owned()]).collect();
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(text.as_bytes(), true).map_err(|error| KeepError(format!("{}: {error}", path.display())))
        };
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(write).await;
            written.unwrap_or_else(|error| Err(KeepError(error.to_string())))
        })
    }
}

fn line(id: &str, time: &str, order: Option<&OrderId>, what: &Audit) -> Value {
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
    line["id"] = id.into();
    line["time"] = time.into();
    if let Some(order) = order {
        line["order"] = order.to_string().into();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn lines_say_when_what_and_who() {
        let what = Audit::Placed { url: "https://ca.example/order/1".into() };
        let line = line("1-2", "2026-01-01T00:00:00Z", None, &what);
        let url = "https://ca.example/order/1";
        assert_eq!(line, json!({ "event": "placed", "id": "1-2", "time": "2026-01-01T00:00:00Z", "upstream": url }));
    }

    #[tokio::test]
    async fn lines_have_an_id_of_their_own_and_come_through_rotation() {
        let dir = TempDir::new("audit");
        let (path, old) = (dir.path().join("audit.ndjson"), dir.path().join("audit.ndjson.1"));
        let log = AuditLog::open(&path).unwrap();
        let lines: Vec<Line> = (0..3).map(|_| log.line(None, &Audit::Gap)).collect();
        assert!(lines.windows(2).all(|pair| pair[0].id < pair[1].id), "{lines:?}");
        log.write(lines[..2].to_vec()).await.unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.write(lines[2..].to_vec()).await.unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&old) + &read(&path), lines.iter().map(|line| format!("{}\n", line.text)).collect::<String>());
        for line in &lines {
            let value: Value = serde_json::from_str(&line.text).unwrap();
            assert_eq!((&value["id"], &value["event"]), (&line.id.as_str().into(), &"gap".into()));
        }
        // What cannot be written is said, with the name of the file.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = log.write(lines).await.unwrap_err().to_string();
        assert!(error.contains("audit.ndjson"), "{error}");
    }
}
