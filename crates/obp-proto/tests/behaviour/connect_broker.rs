//! The broker's machine: requests of all kinds and calls of all kinds, at the wrong time too.

use std::sync::Arc;

use obp_proto::crypto::{Authentication, Encryption, HashAlgorithm, RustCrypto};
use obp_proto::error::{ApiMisuse, Error, Limit};
use obp_proto::message::{
    Binary, BindRequest, Cryptographic, ErrorResponse, OpenPinRequest, OpenPinResponse, PollRequest,
    QueryConnectRequest, TicketRequest, TicketResponse, UnbindRequest,
};
use obp_proto::service_connect::{
    ConnectBroker, ConnectBrokerConfig, ConnectBrokerEvent, ConnectReply, ConnectRequestId, Pin, TransactionId,
};
use obp_proto::ticket::TicketContent;
use obp_proto::{Encoding, Limits, Message, Status};
use watchfire_core::{Duration, Instant, Machine, Output};

use crate::nodes::{ACCOUNT, body, broker_config, challenge, keys, pin, unix};

const NOW: Instant = Instant::from_secs(1);

struct Bench {
    machine: ConnectBroker,
    now: Instant,
}

impl Bench {
    fn new(change: impl FnOnce(&mut ConnectBrokerConfig)) -> Self {
        let mut config = broker_config();
        change(&mut config);
        Self { machine: ConnectBroker::new(Arc::new(config), keys(), [5; 32], NOW), now: NOW }
    }

    fn ask(&mut self, client: Option<&TicketContent>, message: impl Into<Message>) -> ConnectRequestId {
        let body = body(message);
        self.machine.handle_request(self.now, unix(self.now), client, Encoding::Json, &body)
    }

    fn drain(&mut self) -> (Vec<ConnectReply>, Vec<ConnectBrokerEvent>, Option<Instant>) {
        let (mut replies, mut events) = (Vec::new(), Vec::new());
        loop {
            match self.machine.poll_output(self.now) {
                Output::Transmit(reply) => replies.push(reply),
                Output::Event(event) => events.push(event),
                Output::Timeout(at) => return (replies, events, at),
            }
        }
    }

    /// The one reply there is, and what it says.
    fn reply(&mut self) -> (Status, Message) {
        let (replies, _, _) = self.drain();
        let [reply] = &replies[..] else { panic!("{replies:?}") };
        let message = Message::decode(&reply.body, reply.encoding, &Limits::default()).unwrap();
        assert_eq!(message.status(), Some(reply.status));
        (reply.status, message)
    }

    fn status(&mut self) -> Status {
        self.reply().0
    }

    fn event(&mut self) -> ConnectBrokerEvent {
        let (replies, mut events, _) = self.drain();
        assert_eq!((replies.len(), events.len()), (0, 1), "{replies:?} {events:?}");
        events.remove(0)
    }

    fn grant(&mut self, id: ConnectRequestId) {
        self.machine.grant(self.now, unix(self.now), id).unwrap();
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
        self.machine.handle_timeout(self.now).unwrap();
    }

    /// Opens with the right PIN: the ticket of the transaction, and the proof that completes it.
    fn open(&mut self) -> (TicketContent, Binary) {
        self.open_by(&pin())
    }

    /// The same while the account has another PIN.
    fn open_by(&mut self, pin: &Pin) -> (TicketContent, Binary) {
        let id = self.ask(None, open());
        let _ = self.event();
        self.machine.offer_pin(self.now, unix(self.now), id, pin).unwrap();
        let (replies, _, _) = self.drain();
        let (status, Message::OpenPinResponse(response)) = decoded(&replies[0]) else { panic!() };
        assert_eq!(status, Status::PIN_REQUIRED);
        (self.ticket(response.cryptographic.as_ref().unwrap()), proof(pin, &response, &replies[0].body))
    }

    fn ticket(&self, key: &Cryptographic) -> TicketContent {
        keys().open(key.ticket.as_bytes(), unix(self.now)).unwrap()
    }

    /// Binds by PIN: the ticket of the binding.
    fn bound(&mut self) -> TicketContent {
        let (ticket, proof) = self.open();
        let id = self.ask(Some(&ticket), answer(proof));
        let _ = self.event();
        self.grant(id);
        let (_, Message::TicketResponse(response)) = self.reply() else { panic!() };
        self.ticket(&response.cryptographic[0])
    }

    fn held(&mut self) -> (TransactionId, Binary) {
        let id = self.ask(None, BindRequest::default());
        let _ = self.event();
        let transaction = self.machine.hold(self.now, id).unwrap();
        let (_, Message::TicketResponse(response)) = self.reply() else { panic!() };
        (transaction, response.transaction_id.unwrap())
    }
}

fn decoded(reply: &ConnectReply) -> (Status, Message) {
    (reply.status, Message::decode(&reply.body, reply.encoding, &Limits::default()).unwrap())
}

fn open() -> OpenPinRequest {
    let mut request = OpenPinRequest::default();
    request.account = Some("alice".into());
    request.domain = Some("example.com".parse().unwrap());
    request.challenge = challenge();
    request.authentication = [Authentication::Hs256].into();
    request.encryption = [Encryption::A128Cbc].into();
    request
}

fn proof(pin: &Pin, response: &OpenPinResponse, body: &[u8]) -> Binary {
    let provider = RustCrypto::shared();
    let key = provider.hmac(HashAlgorithm::Sha256, response.challenge.as_ref().unwrap().as_bytes(), &[pin.expose()]);
    provider.hmac(HashAlgorithm::Sha256, key.as_bytes(), &[body]).as_bytes().into()
}

fn answer(proof: impl Into<Option<Binary>>) -> TicketRequest {
    let mut request = TicketRequest::default();
    request.challenge_response = proof.into();
    request
}

fn poll(transaction: Binary) -> PollRequest {
    let mut request = PollRequest::default();
    request.transaction_id = Some(transaction);
    request
}

#[test]
fn requests_that_make_no_sense_are_refused_without_asking_anybody() {
    type Change = fn(&mut OpenPinRequest);
    let changes: [(Change, Status); 9] = [
        (|r| r.account = None, Status::SYNTAX),
        (|r| r.account = Some(String::new()), Status::SYNTAX),
        (|r| r.account = Some("a".repeat(250)), Status::SYNTAX),
        (|r| r.account = Some("al\nice".into()), Status::SYNTAX),
        (|r| r.challenge = None, Status::SYNTAX),
        (|r| r.challenge = Some([1; 15].into()), Status::SYNTAX),
        (|r| r.challenge = Some([1; 81].into()), Status::SYNTAX),
        (|r| r.authentication = [Authentication::from_label("X")].into(), Status::REFUSED),
        (|r| r.encryption = [Encryption::from_label("X")].into(), Status::REFUSED),
    ];
    for (change, status) in changes {
        let mut bench = Bench::new(|_| {});
        let mut request = open();
        change(&mut request);
        bench.ask(None, request.clone());
        let (replies, events, _) = bench.drain();
        assert_eq!((replies[0].status, events.len()), (status, 0), "{request:?}");
    }
    let mut bench = Bench::new(|_| {});
    for (message, status) in [
        (Message::from(TicketRequest::default()), Status::AUTHENTICATION),
        (UnbindRequest::default().into(), Status::AUTHENTICATION),
        (PollRequest::default().into(), Status::REFUSED),
        (poll([0; 16].into()).into(), Status::REFUSED),
        (QueryConnectRequest::default().into(), Status::NOT_IMPLEMENTED),
        (ErrorResponse::default().into(), Status::SYNTAX),
        (TicketResponse::default().into(), Status::SYNTAX),
    ] {
        bench.ask(None, message.clone());
        assert_eq!(bench.status(), status, "{message:?}");
    }
    for (octets, status) in
        [(&b"{"[..], Status::SYNTAX), (b"{\"X\": {}}", Status::NOT_IMPLEMENTED), (b"", Status::SYNTAX)]
    {
        bench.machine.handle_request(NOW, unix(NOW), None, Encoding::Json, octets);
        let (got, message) = bench.reply();
        assert_eq!(got, status);
        assert!(matches!(message, Message::ErrorResponse(_)));
    }
}

#[test]
fn refusals_come_in_the_response_that_the_client_waits_for() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.bound();
    for (client, message, name) in [
        (None, Message::from(open()), "OpenPINResponse"),
        (None, BindRequest::default().into(), "TicketResponse"),
        (Some(&ticket), TicketRequest::default().into(), "TicketResponse"),
        (Some(&ticket), UnbindRequest::default().into(), "UnbindResponse"),
    ] {
        let id = bench.ask(client, message);
        let _ = bench.event();
        assert!(bench.machine.refuse(NOW, id, Status::SUCCESS).is_err());
        assert!(bench.machine.refuse(NOW, id, Status::PENDING).is_err());
        bench.machine.refuse(NOW, id, Status::REFUSED).unwrap();
        let (status, response) = bench.reply();
        assert_eq!((status, response.name()), (Status::REFUSED, name));
        assert_eq!(bench.machine.refuse(NOW, id, Status::REFUSED), Err(ApiMisuse::UnknownId));
    }
}

#[test]
fn every_call_at_the_wrong_time_changes_nothing() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.bound();
    let (temporary, right) = bench.open();
    let ids = [
        ("open", bench.ask(None, open())),
        ("bind", bench.ask(None, BindRequest::default())),
        ("proven", bench.ask(Some(&temporary), answer(right))),
        ("refresh", bench.ask(Some(&ticket), TicketRequest::default())),
        ("unbind", bench.ask(Some(&ticket), UnbindRequest::default())),
    ];
    assert_eq!(bench.drain().1.len(), 5);
    for (what, id) in ids {
        let not_now = Error::ApiMisuse(ApiMisuse::NotNow);
        if what != "open" {
            assert_eq!(bench.machine.offer_pin(NOW, unix(NOW), id, &pin()), Err(not_now.clone()), "{what}");
        }
        if what != "bind" {
            assert_eq!(bench.machine.hold(NOW, id), Err(not_now), "{what}");
        }
        if what == "open" {
            assert_eq!(bench.machine.grant(NOW, unix(NOW), id), Err(ApiMisuse::NotNow));
        }
        assert!(bench.drain().0.is_empty(), "{what} still waits");
    }
    for (what, id) in ids {
        if what == "open" {
            bench.machine.offer_pin(NOW, unix(NOW), id, &pin()).unwrap();
        } else {
            bench.grant(id);
        }
        assert_eq!(bench.drain().0.len(), 1, "{what}");
        assert_eq!(bench.machine.grant(NOW, unix(NOW), id), Err(ApiMisuse::UnknownId), "{what}");
    }
}

#[test]
fn a_proof_is_checked_once() {
    let mut bench = Bench::new(|_| {});
    let (ticket, right) = bench.open();
    let wrong = Binary::from([0; 32]);
    for shown in [Some(wrong), None] {
        let (ticket, _) = bench.open();
        bench.ask(Some(&ticket), answer(shown));
        let (replies, events, _) = bench.drain();
        assert_eq!(replies[0].status, Status::AUTHENTICATION);
        assert!(
            matches!(&events[..], [ConnectBrokerEvent::PinFailed { account, .. }] if account == ACCOUNT),
            "{events:?}"
        );
        // The right proof comes too late for this challenge.
        bench.ask(Some(&ticket), answer(right.clone()));
        assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED);
    }
    let (other_ticket, other_right) = bench.open();
    let id = bench.ask(Some(&ticket), answer(right.clone()));
    let ConnectBrokerEvent::Proven { account, binding, .. } = bench.event() else { panic!() };
    assert_eq!((&*account, binding), (ACCOUNT, ticket.binding));
    // Whoever else was challenged for the same PIN comes too late as well, before it is granted.
    bench.ask(Some(&other_ticket), answer(other_right));
    assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED);
    bench.grant(id);
    assert_eq!(bench.status(), Status::SUCCESS);
    bench.ask(Some(&ticket), answer(right));
    assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "played again");
}

#[test]
fn the_pin_that_was_proved_is_the_one_of_the_challenge() {
    let mut bench = Bench::new(|_| {});
    let newer: Pin = "98765-43210".parse().unwrap();
    // By the time that the first is proved another PIN is offered.
    let (first, second, third) = (bench.open(), bench.open_by(&newer), bench.open());
    let id = bench.ask(Some(&first.0), answer(first.1));
    let ConnectBrokerEvent::Proven { pin: proven, .. } = bench.event() else { panic!() };
    assert_eq!(proven, pin());
    bench.machine.refuse(NOW, id, Status::REFUSED).unwrap();
    assert_eq!(bench.status(), Status::REFUSED);
    bench.ask(Some(&third.0), answer(third.1));
    assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "the same PIN");
    // Who was challenged for the other PIN goes on.
    bench.ask(Some(&second.0), answer(second.1));
    let ConnectBrokerEvent::Proven { pin: proven, .. } = bench.event() else { panic!() };
    assert_eq!(proven, newer);
}

#[test]
fn the_pin_that_is_taken_back_is_the_one_that_was_guessed_at() {
    let mut bench = Bench::new(|config| config.pin_attempts = 2);
    let newer: Pin = "98765-43210".parse().unwrap();
    let ((guessed, _), _) = (bench.open(), bench.open_by(&newer));
    bench.ask(Some(&guessed), answer(Binary::from([0; 32])));
    let (_, events, _) = bench.drain();
    let [_, ConnectBrokerEvent::PinUsedUp { pin: taken, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*taken, pin());
}

#[test]
fn opening_counts_as_an_attempt_and_attempts_run_out() {
    let mut bench = Bench::new(|config| {
        config.pin_attempts = 2;
        config.pin_lockout = Duration::from_secs(60);
    });
    let first = bench.open();
    let (ticket, _) = bench.open();
    bench.ask(Some(&ticket), answer(Binary::from([0; 32])));
    let (_, events, _) = bench.drain();
    assert!(matches!(
        &events[..],
        [ConnectBrokerEvent::PinFailed { left: 0, .. }, ConnectBrokerEvent::PinUsedUp { .. }]
    ));
    bench.ask(None, open());
    assert_eq!(bench.status(), Status::TOO_MANY, "the application is not even asked");
    // What was opened before goes on.
    let id = bench.ask(Some(&first.0), answer(first.1));
    let _ = bench.event();
    bench.grant(id);
    assert_eq!(bench.status(), Status::SUCCESS);
    // A success clears the account, and so does time.
    let _ = (bench.open(), bench.open());
    bench.wait(60);
    let _ = bench.open();
}

#[test]
fn attempts_that_run_out_while_the_application_thinks_are_refused_there() {
    let mut bench = Bench::new(|config| config.pin_attempts = 1);
    let (one, two) = (bench.ask(None, open()), bench.ask(None, open()));
    assert_eq!(bench.drain().1.len(), 2);
    bench.machine.offer_pin(NOW, unix(NOW), one, &pin()).unwrap();
    let refused = bench.machine.offer_pin(NOW, unix(NOW), two, &pin());
    assert_eq!(refused, Err(Error::LimitExceeded(Limit::PinAttempts)));
    let (replies, events, _) = bench.drain();
    assert_eq!([replies[0].status, replies[1].status], [Status::PIN_REQUIRED, Status::TOO_MANY]);
    assert!(matches!(&events[..], [ConnectBrokerEvent::PinUsedUp { .. }]));
}

#[test]
fn tickets_serve_for_what_they_are_for() {
    let mut bench = Bench::new(|_| {});
    let (temporary, right) = bench.open();
    bench.ask(Some(&temporary), UnbindRequest::default());
    assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "nothing is bound yet");
    let id = bench.ask(Some(&temporary), answer(right));
    let _ = bench.event();
    bench.grant(id);
    let (_, Message::TicketResponse(response)) = bench.reply() else { panic!() };
    let service = bench.ticket(response.service[0].cryptographic.as_ref().unwrap());
    for message in [Message::from(TicketRequest::default()), UnbindRequest::default().into()] {
        bench.ask(Some(&service), message);
        assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "a ticket of a service manages nothing");
    }
    let management = bench.ticket(&response.cryptographic[0]);
    let id = bench.ask(Some(&management), TicketRequest::default());
    let ConnectBrokerEvent::Refresh { account, binding, .. } = bench.event() else { panic!() };
    assert_eq!((&*account, binding), (ACCOUNT, management.binding));
    bench.grant(id);
    assert_eq!(bench.status(), Status::SUCCESS);
}

#[test]
fn a_copy_that_another_broker_refreshed_after_the_end_is_refused_as_long_as_it_is_good() {
    let hour = |config: &mut ConnectBrokerConfig| {
        config.ticket_lifetime = Duration::from_secs(3600);
        config.management_lifetime = Duration::from_secs(3600);
    };
    let (mut here, mut there) = (Bench::new(hour), Bench::new(hour));
    let ticket = here.bound();
    let id = here.ask(Some(&ticket), UnbindRequest::default());
    let _ = here.event();
    here.grant(id);
    assert_eq!(here.status(), Status::SUCCESS);
    there.wait(3500);
    let id = there.ask(Some(&ticket), TicketRequest::default());
    let _ = there.event();
    there.grant(id);
    let (_, Message::TicketResponse(response)) = there.reply() else { panic!() };
    let fresh = there.ticket(&response.cryptographic[0]);
    here.wait(7000);
    // Another end is when those are forgotten whose time has come.
    here.machine.remember_unbound(unix(here.now), [9; 16]);
    here.ask(Some(&fresh), TicketRequest::default());
    assert_eq!(here.status(), Status::TICKET_NOT_RECOGNIZED);
}

#[test]
fn an_unbound_ticket_is_refused_for_everything_here() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.bound();
    let id = bench.ask(Some(&ticket), UnbindRequest::default());
    let ConnectBrokerEvent::Unbind { binding, .. } = bench.event() else { panic!() };
    assert_eq!(binding, ticket.binding);
    bench.grant(id);
    assert_eq!(bench.status(), Status::SUCCESS);
    for message in [
        Message::from(BindRequest::default()),
        open().into(),
        TicketRequest::default().into(),
        UnbindRequest::default().into(),
    ] {
        bench.ask(Some(&ticket), message.clone());
        assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "{message:?}");
    }
    // After a restart the application tells what has ended.
    let mut restarted = Bench::new(|_| {});
    restarted.machine.remember_unbound(unix(NOW), binding);
    restarted.ask(Some(&ticket), BindRequest::default());
    assert_eq!(restarted.status(), Status::TICKET_NOT_RECOGNIZED);
}

#[test]
fn what_is_held_is_confirmed_once_and_delivered_to_one_who_did_not_hear_it() {
    let mut bench = Bench::new(|_| {});
    let (transaction, name) = bench.held();
    assert_eq!(name.as_bytes().len(), 16);
    bench.ask(None, poll(name.clone()));
    assert_eq!(bench.status(), Status::TOO_MANY, "before its time");
    bench.wait(10);
    bench.ask(None, poll(name.clone()));
    let (status, Message::TicketResponse(response)) = bench.reply() else { panic!() };
    assert_eq!(
        (status, response.min_retry, response.transaction_id.as_ref()),
        (Status::PENDING, Some(10), Some(&name))
    );
    assert!(bench.machine.confirm(transaction, "").is_err());
    assert!(bench.machine.confirm(transaction, &"a".repeat(256)).is_err());
    bench.machine.confirm(transaction, ACCOUNT).unwrap();
    assert_eq!(bench.machine.confirm(transaction, ACCOUNT), Err(ApiMisuse::NotNow));
    assert_eq!(bench.machine.deny(transaction, Status::REFUSED), Err(ApiMisuse::NotNow));
    bench.wait(10);
    bench.ask(None, poll(name.clone()));
    let (first, _, _) = bench.drain();
    assert_eq!(first[0].status, Status::SUCCESS);
    bench.ask(None, poll(name.clone()));
    let (second, _, _) = bench.drain();
    assert_eq!(second[0].body, first[0].body, "the same again");
    bench.wait(120);
    bench.ask(None, poll(name));
    assert_eq!(bench.status(), Status::REFUSED, "and then forgotten");
    assert_eq!(bench.machine.confirm(transaction, ACCOUNT), Err(ApiMisuse::UnknownId));
}

#[test]
fn what_is_denied_is_said_once() {
    let mut bench = Bench::new(|_| {});
    let (transaction, name) = bench.held();
    assert!(bench.machine.deny(transaction, Status::SUCCESS).is_err());
    bench.machine.deny(transaction, Status::new(451)).unwrap();
    bench.wait(10);
    bench.ask(None, poll(name.clone()));
    assert_eq!(bench.status(), Status::new(451));
    bench.ask(None, poll(name));
    assert_eq!(bench.status(), Status::REFUSED);
}

#[test]
fn everything_that_waits_is_bounded_and_ends() {
    let mut bench = Bench::new(|config| {
        config.max_unanswered = 2;
        config.max_challenges = 1;
        config.max_pending = 1;
        config.confirmation_timeout = Duration::from_secs(1000);
    });
    // Requests that the application does not answer.
    let first = bench.ask(None, BindRequest::default());
    bench.ask(None, BindRequest::default());
    bench.ask(None, BindRequest::default());
    let (replies, events, at) = bench.drain();
    assert_eq!((replies[0].status, replies.len(), events.len()), (Status::TOO_MANY, 1, 2));
    assert_eq!(at, Some(NOW + Duration::from_secs(30)));
    bench.wait(30);
    let (replies, _, at) = bench.drain();
    assert_eq!([replies[0].status, replies[1].status], [Status::TIME_OUT; 2]);
    assert_eq!((at, bench.machine.timeout_reason()), (None, ""));
    assert_eq!(bench.machine.hold(bench.now, first), Err(ApiMisuse::UnknownId.into()));
    // Challenges that no client answers.
    let (ticket, right) = bench.open();
    let id = bench.ask(None, open());
    let _ = bench.event();
    let full = bench.machine.offer_pin(bench.now, unix(bench.now), id, &pin());
    assert_eq!(full, Err(Error::LimitExceeded(Limit::Transactions)));
    assert_eq!(bench.status(), Status::TOO_MANY);
    bench.wait(120);
    bench.ask(Some(&ticket), answer(right));
    assert_eq!(bench.status(), Status::TICKET_NOT_RECOGNIZED, "two minutes are over");
    let _ = bench.open();
    bench.wait(120);
    // Transactions that nobody confirms.
    let (transaction, name) = bench.held();
    let id = bench.ask(None, BindRequest::default());
    let _ = bench.event();
    assert_eq!(bench.machine.hold(bench.now, id), Err(Error::LimitExceeded(Limit::Transactions)));
    assert_eq!(bench.status(), Status::TOO_MANY);
    let (_, _, at) = bench.drain();
    assert!(at.is_some());
    bench.wait(1000);
    let (_, events, at) = bench.drain();
    assert_eq!(events, [ConnectBrokerEvent::Unconfirmed { transaction }]);
    assert_eq!(at, None);
    bench.ask(None, poll(name));
    assert_eq!(bench.status(), Status::REFUSED);
}

#[test]
fn a_driver_that_does_not_drain_fills_no_memory() {
    let mut bench = Bench::new(|config| config.max_undrained = 10);
    for _ in 0..100 {
        bench.ask(None, PollRequest::default());
    }
    assert_eq!(bench.drain().0.len(), 10);
    bench.ask(None, PollRequest::default());
    assert_eq!(bench.drain().0.len(), 1, "and goes on once drained");
}

#[test]
fn a_bind_request_that_shows_a_ticket_says_whose() {
    let mut bench = Bench::new(|_| {});
    let ticket = bench.bound();
    bench.ask(Some(&ticket), BindRequest::default());
    let ConnectBrokerEvent::Bind { account, .. } = bench.event() else { panic!() };
    assert_eq!(account.as_deref(), Some(ACCOUNT));
}

#[test]
fn only_what_was_asked_for_is_handed_out() {
    let mut bench = Bench::new(|_| {});
    let mut request = BindRequest::default();
    request.service = ["omni-query".to_owned(), "other".to_owned()].into();
    let id = bench.ask(None, request.clone());
    let _ = bench.event();
    bench.grant(id);
    let (_, Message::TicketResponse(response)) = bench.reply() else { panic!() };
    assert_eq!(response.service.len(), 2);
    let secrets: Vec<_> =
        response.service.iter().map(|instance| &instance.cryptographic.as_ref().unwrap().secret).collect();
    assert_ne!(secrets[0], secrets[1], "each instance has a key of its own");
    request.service = ["other".to_owned()].into();
    let id = bench.ask(None, request);
    let _ = bench.event();
    bench.grant(id);
    assert_eq!(bench.status(), Status::REFUSED);
}
