//! A binding: the keys and addresses that a client holds. draft-hallambaker-wsconnect-08 sections 2.2 and 4.4.2.

use rand::rngs::StdRng;
use watchfire_core::UnixTime;
use zeroize::Zeroizing;

use crate::codec;
use crate::error::DecodeError;
use crate::limits::Limits;
use crate::message::structure::structure;
use crate::message::{Cryptographic, DateTime, Extra, InstanceConnection, InstanceTransport, List, TicketResponse};
use crate::order::by_priority_and_weight;

structure! {
    /// What a client was given: instances of services, each with its key, and a key to manage the binding itself.
    ///
    /// It is written as the JSON text of [`Binding::to_json`], with the member names of a TicketResponse. Whoever reads
    /// that text is the client: keep it as one keeps a private key.
    #[derive(Default)]
    pub struct Binding {
        /// Keys of service-connect itself. An anonymous binding has none: it cannot be refreshed or ended.
        cryptographic: list Cryptographic = "Cryptographic",
        /// The instances.
        service: list InstanceConnection = "Service",
    }
}

impl Binding {
    /// What a TicketResponse brought.
    pub(crate) fn from_response(response: TicketResponse) -> Self {
        Self { cryptographic: response.cryptographic, service: response.service, extra: Extra::default() }
    }

    /// The key by which the binding is refreshed and ended.
    pub fn management(&self) -> Option<&Cryptographic> {
        let for_connect = |key: &&Cryptographic| {
            key.protocol.as_deref().is_none_or(|protocol| matches!(protocol, Cryptographic::CONNECT | "OBPConnection"))
        };
        self.cryptographic.iter().find(for_connect)
    }

    /// The instances of `service` in the order in which they should be tried: by priority, lower ones first, and
    /// within a priority by chance, those with more weight being more likely to come early (as SRV records are chosen,
    /// RFC 2782). Those that cannot be reached are left out: no key, no host, no port, or a transport that is neither
    /// HTTP nor UDP.
    pub fn instances(&self, service: &str, rng: &mut StdRng) -> Vec<&InstanceConnection> {
        let usable = |instance: &&InstanceConnection| {
            instance.service.as_deref().is_none_or(|label| label == service)
                && instance.cryptographic.is_some()
                && (instance.address.is_some() || instance.name.is_some())
                && instance.port.is_some()
                && matches!(instance.transport, None | Some(InstanceTransport::Http | InstanceTransport::Udp))
        };
        let mut instances: Vec<_> = self.service.iter().filter(usable).collect();
        by_priority_and_weight(&mut instances, rng, |instance| {
            (instance.priority.unwrap_or_default(), instance.weight.unwrap_or_default())
        });
        instances
    }

    /// The date at which the first of its keys expires, if any does.
    pub fn expires(&self) -> Option<DateTime> {
        let instances = self
            .service
            .iter()
            .flat_map(|instance| [instance.expires, instance.cryptographic.as_ref().and_then(|key| key.expires)]);
        self.cryptographic.iter().map(|key| key.expires).chain(instances).flatten().min()
    }

    /// Whether none of its keys has expired at the time `now`.
    pub fn is_current(&self, now: UnixTime) -> bool {
        self.expires().is_none_or(|expires| now < expires.to_unix())
    }

    /// As JSON text, with the secrets in it.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Only unknown members could fail to be written, and those of a binding came from JSON.
        Zeroizing::new(codec::to_text(self).unwrap_or_default())
    }

    /// Reads [`Self::to_json`].
    ///
    /// # Errors
    /// When the text is no binding.
    pub fn from_json(text: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        codec::from_text(text, limits)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::crypto::{Authentication, Encryption};
    use crate::message::Port;

    fn instance(name: &str, priority: u16, weight: u16) -> InstanceConnection {
        InstanceConnection {
            service: Some("omni-query".into()),
            name: Some(name.parse().unwrap()),
            port: Some(Port::HTTPS),
            priority: Some(priority),
            weight: Some(weight),
            transport: Some(InstanceTransport::Http),
            cryptographic: Some(Cryptographic::new(
                vec![7; 16],
                Encryption::A128Cbc,
                Authentication::Hs256T128,
                [9; 80],
            )),
            ..InstanceConnection::default()
        }
    }

    fn order(binding: &Binding, seed: u64) -> Vec<String> {
        let mut rng = StdRng::seed_from_u64(seed);
        binding.instances("omni-query", &mut rng).iter().map(|found| found.name.clone().unwrap().to_string()).collect()
    }

    #[test]
    fn instances_come_by_priority_and_then_by_weight() {
        let binding = Binding {
            service: [
                instance("late", 20, 0),
                instance("heavy", 10, 90),
                instance("light", 10, 10),
                instance("none", 10, 0),
                instance("first", 0, 0),
            ]
            .into(),
            ..Binding::default()
        };
        let mut heavy = 0;
        for seed in 0..1000 {
            let order = order(&binding, seed);
            assert_eq!((order.len(), &*order[0], &*order[4]), (5, "first", "late"));
            heavy += u32::from(order[1] == "heavy");
        }
        assert!((850..950).contains(&heavy), "{heavy} of 1000");
        assert_eq!(order(&binding, 1), order(&binding, 1), "the same seed, the same order");
    }

    #[test]
    fn instances_that_cannot_be_reached_are_left_out() {
        let good = instance("good", 1, 1);
        let other = InstanceConnection { service: Some("other".into()), ..good.clone() };
        let keyless = InstanceConnection { cryptographic: None, ..good.clone() };
        let nowhere = InstanceConnection { name: None, ..good.clone() };
        let portless = InstanceConnection { port: None, ..good.clone() };
        let dns = InstanceConnection { transport: Some(InstanceTransport::Dns), ..good.clone() };
        let binding = Binding { service: [other, keyless, nowhere, portless, dns, good].into(), ..Binding::default() };
        assert_eq!(order(&binding, 0), ["good"]);
    }

    #[test]
    fn the_key_of_the_binding_itself_is_told_from_others() {
        let key = |protocol: Option<&str>| Cryptographic {
            protocol: protocol.map(Into::into),
            ..Cryptographic::new(vec![7; 16], Encryption::A128Cbc, Authentication::Hs256, [9; 80])
        };
        let of = |keys: Vec<Cryptographic>| Binding { cryptographic: keys.into(), ..Binding::default() };
        assert!(of(vec![]).management().is_none());
        assert!(of(vec![key(Some("omni-query"))]).management().is_none());
        assert!(of(vec![key(Some("omni-query")), key(Some("sxs-connect"))]).management().is_some());
        assert!(of(vec![key(Some("OBPConnection"))]).management().is_some());
        assert!(of(vec![key(None)]).management().is_some());
    }

    #[test]
    fn a_binding_expires_with_its_first_key() {
        let mut binding = Binding { service: [instance("a", 1, 1)].into(), ..Binding::default() };
        assert_eq!(binding.expires(), None);
        assert!(binding.is_current(UnixTime::from_secs(i64::MAX)));
        binding.service[0].expires = Some("2030-01-01T00:00:00Z".parse().unwrap());
        let key = binding.service[0].cryptographic.as_mut().unwrap();
        key.expires = Some("2029-01-01T00:00:00Z".parse().unwrap());
        let expires = binding.expires().unwrap();
        assert_eq!(expires.to_string(), "2029-01-01T00:00:00Z");
        assert!(!binding.is_current(expires.to_unix()));
        assert!(binding.is_current(UnixTime::from_secs(expires.to_unix().as_secs() - 1)));
    }

    #[test]
    fn a_binding_is_kept_as_json() {
        let binding = Binding { service: [instance("a", 1, 2)].into(), ..Binding::default() };
        let text = binding.to_json();
        let ticket = crate::message::Binary::from([9; 80]).to_base64url();
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            format!(
                "{{{}{}{}{ticket}{}",
                r#""Service":[{"Service":"omni-query","Name":"a","Port":443,"Priority":1,"Weight":2,"Transport":"HTTP","#,
                r#""Cryptographic":{"Secret":"BwcHBwcHBwcHBwcHBwcHBw","Encryption":"A128CBC","#,
                r#""Authentication":"HS256T128","Ticket":""#,
                r#""}}]}"#
            )
        );
        assert_eq!(Binding::from_json(&text, &Limits::default()).unwrap(), binding);
        assert!(Binding::from_json(b"[]", &Limits::default()).is_err());
    }
}
