//! What the console shows of orders of certificates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acme_lurk::acme::OrderStatus;
use acme_lurk::delegation::{Audit, NdcEnd, NdcEvent};
use acme_lurk::time::format_rfc3339;
use acme_lurk_hyper::delegate::DelegateNotice;
use acme_lurk_hyper::owner::{OwnerNotice, OwnerSite};
use tokio_util::sync::CancellationToken;

use crate::console::{self, Happened, Hub, StarChange, StarOrder};
use crate::service::Context;

const OWNER: &str = "lurk ido";
const DELEGATE: &str = "lurk ndc";

/// Orders whose certificates are remembered; the one with the smallest name is forgotten.
const ORDERS: usize = 10_000;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(hub: &Hub, role: &'static str, order: &str, what: &str, detail: String) {
    let (order, what) = (order.to_owned(), what.to_owned());
    hub.tell(|| Happened::Star(StarChange { time: console::now(), role, order, what, detail }.into()));
}

/// The certificates of a name owner's orders: when the newest ends, and how many there were.
#[derive(Debug, Clone)]
pub(super) struct OwnerOrders {
    hub: Hub,
    issued: Arc<Mutex<BTreeMap<String, (i64, u64)>>>,
}

impl OwnerOrders {
    pub(super) fn new(hub: &Hub) -> Self {
        Self { hub: hub.clone(), issued: Arc::default() }
    }

    /// Remembers, and tells the console.
    pub(super) fn heard(&self, notice: &OwnerNotice<'_>) {
        let OwnerNotice::Audit { order, what } = notice else { return };
        let order = order.map(ToString::to_string).unwrap_or_default();
        if let Audit::Issued { not_after } = what {
            let mut issued = lock(&self.issued);
            let entry = issued.entry(order.clone()).or_default();
            *entry = (not_after.as_secs(), entry.1 + 1);
            if issued.len() > ORDERS {
                issued.pop_first();
            }
        }
        if !self.hub.is_on() {
            return;
        }
        let (what, detail) = match what {
            Audit::Ordered { delegation, identifiers, .. } => {
                let names: Vec<&str> = identifiers.iter().map(|identifier| identifier.value()).collect();
                ("ordered", format!("{} by the delegation {delegation}", names.join(", ")))
            }
            Audit::Refused { account, problem } => ("refused", format!("to the account {account}: {problem}")),
            Audit::Omitted { refusals } => ("omitted", format!("{refusals} refusals more")),
            Audit::Deactivated { account } => ("deactivated", format!("the account {account}; its orders go on")),
            Audit::Requested => ("requested", "the request fits, and the CA is asked".to_owned()),
            Audit::Placed { url } => ("placed", format!("at the CA: {url}")),
            Audit::Valid => ("valid", "the certificate can be fetched".to_owned()),
            Audit::Issued { not_after } => ("issued", format!("good until {}", format_rfc3339(*not_after))),
            Audit::Invalid { detail } => ("invalid", detail.clone()),
            Audit::Trouble { detail } => ("trouble", format!("{detail}; it is tried again")),
            Audit::Gap => ("gap", "the certificate has run out, and there is no newer one".to_owned()),
            Audit::Canceled => ("canceled", "it is stopped, at the CA too".to_owned()),
            Audit::Revoked => ("revoked", String::new()),
            Audit::NotCanceled { detail } => ("not canceled", detail.clone()),
            other => ("other", format!("{other:?}")),
        };
        tell(&self.hub, OWNER, &order, what, detail);
    }

    /// Lets the console look at the orders.
    pub(super) fn show(&self, site: &OwnerSite, until: &CancellationToken) {
        let (site, issued) = (site.clone(), Arc::clone(&self.issued));
        self.hub.has_orders(until, move || {
            let orders: Vec<_> = site.with(|ido| ido.orders().collect());
            let issued = lock(&issued);
            let order = |one: acme_lurk::delegation::OrderSummary| {
                let name = one.id.to_string();
                let known = issued.get(&name).copied();
                StarOrder {
                    role: OWNER,
                    names: one.identifiers.iter().map(|identifier| identifier.value().to_owned()).collect(),
                    status: status(one.status),
                    delegation: one.delegation,
                    stopping: one.stopping && one.status != OrderStatus::Canceled,
                    not_after: known.map(|(not_after, _)| not_after),
                    renews: one.auto_renewal.map(|agreed| (agreed.lifetime, agreed.end.as_secs())),
                    certificates: known.map_or(0, |(_, count)| count),
                    order: name,
                }
            };
            orders.into_iter().map(order).collect()
        });
    }
}

fn status(status: OrderStatus) -> String {
    // As ACME writes it.
    format!("{status:?}").to_ascii_lowercase()
}

/// The one order of a delegate.
#[derive(Debug, Clone)]
pub(super) struct DelegateOrder {
    hub: Hub,
    order: Arc<Mutex<StarOrder>>,
}

impl DelegateOrder {
    /// An order for these names, shown from now on.
    pub(super) fn new(context: &Context, names: &[String], delegation: Option<&str>) -> Self {
        let hub = &context.hub;
        let order = Arc::new(Mutex::new(StarOrder {
            role: DELEGATE,
            order: String::new(),
            names: names.to_vec(),
            status: "pending".to_owned(),
            delegation: delegation.unwrap_or_default().to_owned(),
            stopping: false,
            not_after: None,
            renews: None,
            certificates: 0,
        }));
        let shown = Arc::clone(&order);
        hub.has_orders(&context.shutdown, move || vec![lock(&shown).clone()]);
        Self { hub: hub.clone(), order }
    }

    /// Remembers, and tells the console.
    pub(super) fn heard(&self, notice: &DelegateNotice<'_>) {
        let mut order = lock(&self.order);
        let (what, detail) = match notice {
            DelegateNotice::Installed(installation) => {
                order.status = "valid".to_owned();
                order.not_after = Some(installation.not_after.as_secs());
                order.certificates += 1;
                ("installed", format!("good until {}", format_rfc3339(installation.not_after)))
            }
            DelegateNotice::InstallFailed(detail) => ("not installed", (*detail).to_string()),
            DelegateNotice::Event(NdcEvent::Ordered { url, .. }) => {
                order.order.clone_from(url);
                ("ordered", url.clone())
            }
            DelegateNotice::Event(NdcEvent::Rejected(wrong)) => ("rejected", wrong.to_string()),
            DelegateNotice::Event(NdcEvent::Alarm { last, .. }) => {
                ("late", last.clone().unwrap_or_else(|| "there is no newer certificate yet".to_owned()))
            }
            DelegateNotice::Event(NdcEvent::Gap { not_after }) => {
                ("gap", format!("since {}", format_rfc3339(*not_after)))
            }
            _ => return,
        };
        let name = order.names.join(", ");
        drop(order);
        tell(&self.hub, DELEGATE, &name, what, detail);
    }

    /// Remembers how it ended.
    pub(super) fn ended(&self, end: &NdcEnd) {
        let mut order = lock(&self.order);
        let status = match end {
            NdcEnd::Installed => "valid",
            NdcEnd::Canceled { .. } => "canceled",
            _ => "failed",
        };
        order.status = status.to_owned();
        let name = order.names.join(", ");
        drop(order);
        tell(&self.hub, DELEGATE, &name, "ended", end.to_string());
    }
}
