//! Messages of ACME.

use acme_lurk::acme::renewal::RenewalInfo;
use acme_lurk::acme::{
    Account, Authorization, Challenge, Directory, Finalize, NewAccount, NewOrder, Order, OrderStatus, Problem,
};
use acme_lurk::{DecodeError, Limits};

/// The octets are each message.
pub fn run(data: &[u8]) {
    same(data, Directory::decode, Directory::encode);
    same(data, Account::decode, Account::encode);
    same(data, NewAccount::decode, NewAccount::encode);
    same(data, Order::decode, Order::encode);
    same(data, NewOrder::decode, NewOrder::encode);
    same(data, Finalize::decode, Finalize::encode);
    same(data, Authorization::decode, Authorization::encode);
    same(data, Challenge::decode, Challenge::encode);
    same(data, RenewalInfo::decode, RenewalInfo::encode);
    // The status is written even if it was not there.
    if let Ok(problem) = Problem::decode(data, &Limits::DEFAULT) {
        let written = problem.encode();
        let again = Problem::decode(&written, &Limits::DEFAULT).expect("what is written is read");
        assert_eq!(again.encode(), written);
        assert_eq!(again.http_status(), problem.http_status());
    }
    if let Ok(order) = NewOrder::decode(data, &Limits::DEFAULT) {
        assert!(order.auto_renewal.is_none() || (order.not_before.is_none() && order.not_after.is_none()));
        assert!(order.auto_renewal.is_none_or(|star| star.lifetime > 0));
        let shown = Order::new(OrderStatus::Pending, order.identifiers.clone(), "https://a/f".into());
        assert!(Order::decode(&shown.encode(), &Limits::DEFAULT).expect("it is one").is_still(&shown));
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: impl Fn(&[u8], &Limits) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let limits = Limits::DEFAULT;
    match decode(data, &limits) {
        Ok(message) => {
            assert!(serde_json::from_slice::<serde_json::Value>(data).is_ok(), "what is read is JSON");
            let written = encode(&message);
            // What is written can be a little longer than what was read.
            let again = decode(&written, &limits.with_body(limits.body * 4));
            assert_eq!(again.as_ref(), Ok(&message), "{}", String::from_utf8_lossy(&written));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
