//! From a request to what is asked of the Call Home server: how mitigations stand, and whether an administrator agrees.

use std::sync::Arc;
use std::time::Duration;

use dots_callhome::MitigationId;
use dots_callhome::body::Status;
use dots_tokio::client::Missed;
use dots_tokio::server::{ActiveMitigation, CallHomeServerEvent};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answers::{failed, refused, said};
use super::asked::Asked;
use super::{Answer, Answers, NetworkApi};
use crate::dots::shown;
use crate::exit::Failure;

impl Answers for NetworkApi {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _shutdown: CancellationToken) -> Answer {
        let (parts, _body) = request.into_parts();
        let asked = match Asked::read(&parts) {
            Ok(asked) => asked,
            Err(answer) => return *answer,
        };
        let id = |text: &str| text.parse::<u64>().ok();
        let numbered = || refused(StatusCode::BAD_REQUEST, "what waits for consent has a number");
        let outcome = match (&asked.method, asked.path().as_slice()) {
            (&Method::GET, ["v1", "mitigations"]) if asked.follows() => {
                let failure = Failure::usage("a network's mitigations cannot be followed here");
                Err(failure.remedy("follow those of the operator, or read the lines of --json"))
            }
            (&Method::GET, ["v1", "mitigations"]) => Ok(self.list(|one| asked.peer().is_none_or(|of| of == one.peer))),
            (&Method::GET, ["v1", "consents"]) => Ok(self.list(|one| one.awaits_consent)),
            (&Method::POST, ["v1", "consents", text, "agree"]) => match id(text) {
                Some(id) => self.agree(id, asked.wait).await,
                None => return numbered(),
            },
            (&Method::DELETE, ["v1", "consents", text]) => match id(text) {
                Some(id) => self.refuse(id),
                None => return numbered(),
            },
            _ => return asked.unknown(),
        };
        match outcome {
            Ok(value) => said(StatusCode::OK, &value),
            Err(failure) => failed(&failure),
        }
    }
}

impl NetworkApi {
    fn list(&self, which: impl Fn(&ActiveMitigation) -> bool) -> Value {
        self.server.mitigations().iter().filter(|one| which(one)).map(shown::active).collect()
    }

    fn waiting(&self, id: u64) -> Result<ActiveMitigation, Failure> {
        let found = self.server.mitigations().into_iter().find(|one| one.id.get() == id && one.awaits_consent);
        found.ok_or_else(|| {
            Failure::refused(format!("nothing of number {id} waits for consent"))
                .remedy("see `watchfire dots consents`")
        })
    }

    /// Agrees, and waits until it is in force.
    async fn agree(&self, id: u64, wait: Duration) -> Result<Value, Failure> {
        // Before the look, so that nothing falls between.
        let mut events = self.server.events();
        let one = self.waiting(id)?;
        self.server.consent(one.id, true).map_err(|error| Failure::refused(error.to_string()))?;
        tracing::info!(peer = one.peer, mid = one.mid, "an administrator agrees");
        let in_force = async {
            loop {
                match events.next().await {
                    Ok(CallHomeServerEvent::Mitigation { id, status, .. }) if id == one.id => return Some(status),
                    Ok(_) => {}
                    Err(Missed::Events(_)) => {
                        let now = self.now(one.id).map(|one| one.status);
                        if now.is_none_or(|status| status != Status::InProgress) {
                            return now;
                        }
                    }
                    Err(_) => return None,
                }
            }
        };
        match tokio::time::timeout(wait, in_force).await {
            Ok(Some(Status::SuccessfullyMitigated)) => {}
            Ok(status) => {
                let status = status.map_or_else(|| "it has ended".to_owned(), |status| status.to_string());
                let failure = Failure::refused(format!("mitigation {} is not in force: {status}", one.mid));
                return Err(failure.remedy("the log says why; it is tried again until it is withdrawn"));
            }
            Err(_) => {
                let failure = Failure::unreachable(format!("mitigation {} is not in force yet", one.mid));
                return Err(failure.remedy("it goes on being tried"));
            }
        }
        Ok(shown::active(&self.now(one.id).unwrap_or(one)))
    }

    fn now(&self, id: MitigationId) -> Option<ActiveMitigation> {
        self.server.mitigations().into_iter().find(|one| one.id == id)
    }

    fn refuse(&self, id: u64) -> Result<Value, Failure> {
        let one = self.waiting(id)?;
        self.server.consent(one.id, false).map_err(|error| Failure::refused(error.to_string()))?;
        tracing::info!(peer = one.peer, mid = one.mid, "an administrator refuses");
        Ok(shown::active(&self.now(one.id).unwrap_or(one)))
    }
}
