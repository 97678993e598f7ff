//! QueryConnect: from a question to the list of connections, preferred first (draft section 6.1).
//!
//! A question that was asked before is answered from memory: one key made on the stack, one look into a sharded
//! table, one clone of an [`Arc`]. Everything else takes one round trip for what the name itself says, and one more
//! for the hosts that this names.

mod answer;
mod assemble;
mod order;
mod service;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use obp_proto::order::by_priority_and_weight;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use watchfire_core::Instant;

pub use answer::{Advice, Answer, Connection, Question, TlsPolicy, Transport};
pub(crate) use assemble::tlsa;
use assemble::{Assembled, Assembler, Assembly, Failure, Words};
pub use service::usual_port;

use crate::cache::{Cache, Hit};
use crate::flight::Flights;
use crate::name::DomainName;
use crate::policy::{Decision, PolicyStore};
use crate::proof::{self, Anchors};
use crate::sources::{Resolver, Security, SourceError};
use crate::status::Status;
use crate::validate::{Candidate, Validator, Verdict};

/// How a broker answers.
#[derive(Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Ready answers kept (default 100 000).
    pub answers: usize,
    /// Connections of one answer (default 16). What is beyond goes into further answers, by Index (OBP-034).
    pub connections: usize,
    /// Answers to one question (default 4).
    pub pages: usize,
    /// Orders made of an answer in which chance has a say; each time another one is handed out (default 8).
    pub variants: usize,
    /// How long a question may take (default 10 s).
    pub deadline: Duration,
    /// How long an answer is kept beyond its life, for when the sources fail (default a day; zero turns it off).
    pub stale: Duration,
    /// How long such an answer counts once it had to be used (default 30 s).
    pub stale_hold: Duration,
    /// How long a refusal is kept (default 60 s; a changed policy ends it at once).
    pub refusal_ttl: Duration,
    /// Seed of the chance among equals; `None` draws one.
    pub seed: Option<u64>,
    /// Where proofs must end.
    pub anchors: Anchors,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            answers: 100_000,
            connections: 16,
            pages: 4,
            variants: 8,
            deadline: Duration::from_secs(10),
            stale: Duration::from_secs(86_400),
            stale_hold: Duration::from_secs(30),
            refusal_ttl: Duration::from_secs(60),
            seed: None,
            anchors: Anchors::root(),
        }
    }
}

impl std::fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerConfig").field("answers", &self.answers).finish_non_exhaustive()
    }
}

/// What the broker knows, and how it is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resolver: Resolver,
    policy: Arc<PolicyStore>,
    validator: Validator,
    config: BrokerConfig,
    answers: Cache<Arc<[u8]>, Arc<Prepared>>,
    flights: Flights<Arc<[u8]>, Arc<Prepared>>,
    turn: AtomicUsize,
    hits: AtomicU64,
    rng: Mutex<StdRng>,
    words: Words,
}

/// All answers to one question: per order that chance made, the answers by index.
#[derive(Debug)]
struct Prepared {
    generation: u64,
    /// Order by order, each with all its answers.
    answers: Box<[Arc<Answer>]>,
    /// Answers of one order.
    pages: u16,
    /// A forged answer is no failure that an old answer may cover up.
    bogus: bool,
}

impl Prepared {
    fn is_good(&self) -> bool {
        self.answers.first().is_some_and(|answer| answer.status == Status::Success)
    }

    fn failure(failure: Failure, generation: u64) -> Self {
        let bogus = failure.bogus;
        let answer = Answer::of(failure.status, failure.description);
        Self { generation, answers: Box::new([Arc::new(answer)]), pages: 1, bogus }
    }
}

impl Broker {
    /// A broker over these parts.
    #[must_use]
    pub fn new(resolver: Resolver, policy: Arc<PolicyStore>, validator: Validator, config: BrokerConfig) -> Self {
        let seed = config.seed.unwrap_or_else(rand::random);
        Self(Arc::new(Inner {
            answers: Cache::new(config.answers),
            flights: Flights::default(),
            turn: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            words: Words::default(),
            resolver,
            policy,
            validator,
            config,
        }))
    }

    /// Answers a question; never fails, a failure is an answer with its status.
    pub async fn connect(&self, question: &Question<'_>) -> Arc<Answer> {
        if let Some(answer) = self.cached(question) {
            return answer;
        }
        let inner = &self.0;
        let policy = inner.policy.current();
        let mut key = Key::default();
        let keyed = key.write(question, policy.account_class(question.account));
        let request = match Request::read(question) {
            Ok(request) => request,
            Err(failure) => return Arc::new(Answer::of(failure.status, failure.description)),
        };
        // A key that does not fit is not remembered, and not shared.
        let prepared = if keyed {
            let key: Arc<[u8]> = key.octets().into();
            let this = Arc::clone(inner);
            let store = Arc::clone(&key);
            inner
                .flights
                .join(&key, move || async move {
                    let (prepared, life) = this.prepare(request).await;
                    let prepared = Arc::new(prepared);
                    let now = this.resolver.clock().now();
                    if let Some(stale) = this.stale(&prepared, &store, now) {
                        return stale;
                    }
                    if !life.is_zero() {
                        let stale = if prepared.is_good() { this.config.stale } else { Duration::ZERO };
                        this.answers.insert(store, Arc::clone(&prepared), now, life, stale);
                    }
                    prepared
                })
                .await
        } else {
            Arc::new(inner.prepare(request).await.0)
        };
        inner.pick(&prepared, question.index)
    }

    /// The answer from memory, if it is there; without waiting, without allocating.
    #[must_use]
    pub fn cached(&self, question: &Question<'_>) -> Option<Arc<Answer>> {
        let inner = &self.0;
        let class = if question.account.is_some() { inner.policy.current().account_class(question.account) } else { 0 };
        let mut key = Key::default();
        if !key.write(question, class) {
            return None;
        }
        let Some(Hit::Fresh(prepared, _)) = inner.answers.get(key.octets(), inner.resolver.clock().now()) else {
            return None;
        };
        if prepared.generation != inner.policy.generation() {
            return None;
        }
        inner.hits.fetch_add(1, Ordering::Relaxed);
        Some(inner.pick(&prepared, question.index))
    }

    /// Judges credentials for a service (draft section 6.2). See [`Validator::validate`]: a good verdict is no
    /// permission, the client still checks for itself.
    pub async fn validate(&self, candidate: &Candidate<'_>) -> Verdict {
        self.0.validator.validate(&self.0.resolver, candidate).await
    }

    /// Answers given from memory.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.0.hits.load(Ordering::Relaxed)
    }

    /// Ready answers in memory.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.0.answers.len()
    }

    /// The sources with their memory.
    #[must_use]
    pub fn resolver(&self) -> &Resolver {
        &self.0.resolver
    }

    /// The policy and its files.
    #[must_use]
    pub fn policy(&self) -> &Arc<PolicyStore> {
        &self.0.policy
    }

    /// What judges credentials.
    #[must_use]
    pub fn validator(&self) -> &Validator {
        &self.0.validator
    }
}

/// A question, read and owned.
struct Request {
    account: Option<String>,
    name: DomainName,
    plan: service::Plan,
    peer: bool,
    policies: Vec<String>,
    prove: bool,
}

impl Request {
    fn read(question: &Question<'_>) -> Result<Self, Failure> {
        let syntax = |what: String| Failure::new(Status::Syntax, what);
        if question.name.parse::<std::net::IpAddr>().is_ok() {
            return Err(syntax("the Name is an address: connect to it".to_owned()));
        }
        let name = DomainName::parse(question.name).map_err(|error| syntax(error.to_string()))?;
        let plan = service::plan(question.service, question.port).map_err(|error| syntax(error.0.to_owned()))?;
        if question.peer.is_some() && plan.srv.is_none() {
            return Err(syntax("a peer connection needs a Service".to_owned()));
        }
        Ok(Self {
            account: question.account.map(str::to_owned),
            name,
            plan,
            peer: question.peer.is_some(),
            policies: question.policies.to_vec(),
            prove: question.prove,
        })
    }
}

impl Inner {
    fn pick(&self, prepared: &Prepared, index: Option<u32>) -> Arc<Answer> {
        let pages = usize::from(prepared.pages.max(1));
        let orders = (prepared.answers.len() / pages).max(1);
        let turn = if orders > 1 { self.turn.fetch_add(1, Ordering::Relaxed) % orders } else { 0 };
        let wanted = index.unwrap_or(1).max(1) as usize - 1;
        match prepared.answers.get(turn * pages + wanted).filter(|_| wanted < pages) {
            Some(answer) => Arc::clone(answer),
            None => Arc::new(Answer::of(Status::Syntax, "the Index is beyond the answers there are")),
        }
    }

    /// The answers, and how long they live.
    async fn prepare(&self, request: Request) -> (Prepared, Duration) {
        // Read before the policy: if it changes meanwhile the answer counts as old.
        let generation = self.policy.generation();
        match tokio::time::timeout(self.config.deadline, self.answer(&request)).await {
            Ok(Ok((assembly, advice, policies))) => {
                let life = self.life(assembly.until);
                let (answers, pages) = self.orders(assembly, advice, &policies);
                (Prepared { generation, answers, pages, bogus: false }, life)
            }
            Ok(Err(failure)) => {
                let life = match failure.status {
                    Status::Refused | Status::PolicyViolation => self.config.refusal_ttl,
                    Status::NonExistentDomain => failure.until.map_or(Duration::ZERO, |until| self.life(Some(until))),
                    // The sources' memory holds failures for as long as is good.
                    _ => Duration::ZERO,
                };
                (Prepared::failure(failure, generation), life)
            }
            Err(_) => (Prepared::failure(SourceError::TimedOut.into(), generation), Duration::ZERO),
        }
    }

    /// The answer from before, when the sources failed and it is not too old: for half a minute it counts again
    /// (RFC 8767). One that was made under another policy does not.
    fn stale(&self, fresh: &Prepared, key: &[u8], now: Instant) -> Option<Arc<Prepared>> {
        let failed = fresh
            .answers
            .first()
            .is_some_and(|answer| matches!(answer.status, Status::ServerFailure | Status::TimeOut));
        if !failed || fresh.bogus {
            return None;
        }
        match self.answers.get(key, now) {
            Some(Hit::Stale(old)) if old.generation == fresh.generation => {
                self.answers.hold(key, now, self.config.stale_hold);
                Some(old)
            }
            _ => None,
        }
    }

    fn life(&self, until: Option<Instant>) -> Duration {
        until.map_or(self.config.refusal_ttl, |until| until.saturating_since(self.resolver.clock().now()))
    }

    async fn answer(&self, request: &Request) -> Result<(Assembly, Option<Arc<Advice>>, Vec<Arc<str>>), Failure> {
        let policy = self.policy.current();
        let account = request.account.as_deref();
        let mut name = request.name.clone();
        let (mut upgrade, mut exempt) = (false, false);
        match policy.for_name(account, &name) {
            Decision::Pass => {}
            Decision::Allow => exempt = true,
            Decision::Upgrade => upgrade = true,
            Decision::Deny(reason) => return Err(Failure::new(Status::Refused, reason)),
            Decision::Redirect(target) => (name, exempt) = (target, true),
            Decision::Addresses(addresses) => {
                return Ok((assemble::garden(&request.plan, &addresses, &name)?, None, Vec::new()));
            }
        }
        let mut assembly = loop {
            let assembler = Assembler {
                resolver: &self.resolver,
                policy: &policy,
                account,
                name: &name,
                plan: &request.plan,
                peer: request.peer,
                upgrade,
                prove: request.prove,
                dane: request.policies.iter().any(|policy| policy.eq_ignore_ascii_case("dane")),
                exempt,
                words: &self.words,
            };
            match assembler.run().await? {
                Assembled::Done(assembly) => break assembly,
                // Only once: a garden is exempt.
                Assembled::Redirect(target) => (name, exempt) = (target, true),
                Assembled::Addresses(addresses) => {
                    return Ok((assemble::garden(&request.plan, &addresses, &name)?, None, Vec::new()));
                }
            }
        };
        let secure = assembly.security == Some(Security::Secure);
        let holds = |wanted: &str| match wanted.to_ascii_lowercase().as_str() {
            "dnssec" => secure,
            "dane" => assembly.dane,
            _ => false,
        };
        let satisfied: Vec<Arc<str>> =
            request.policies.iter().filter(|wanted| holds(wanted)).map(|wanted| Arc::from(wanted.as_str())).collect();
        if !request.policies.is_empty() && satisfied.is_empty() {
            return Err(Failure::new(
                Status::PolicyViolation,
                "none of the acceptable policies holds for this service",
            ));
        }
        let mut advice = None;
        if request.prove && secure && name == request.name {
            let evidence = std::mem::take(&mut assembly.evidence);
            advice = proof::build(&self.resolver, &self.config.anchors, &evidence)
                .await
                .map(|chain| Arc::new(Advice::new(Advice::DNSSEC_CHAIN, chain)));
        }
        if request.prove {
            self.add_credentials(&mut assembly, &request.name);
        }
        Ok((assembly, advice, satisfied))
    }

    /// The issuer and the revocation list of a certificate that was judged good for this name before.
    fn add_credentials(&self, assembly: &mut Assembly, name: &DomainName) {
        let Some(advice) = self.validator.remembered(name, self.resolver.clock().now()) else { return };
        let connections = assembly.parts.iter_mut().flatten().flat_map(|group| group.connections.iter_mut());
        for connection in connections.filter(|connection| connection.transport == Transport::Tls) {
            connection.advice = Some(Arc::clone(&advice));
        }
    }

    /// All orders, each with its answers by index, and how many answers each has.
    fn orders(
        &self,
        mut assembly: Assembly,
        advice: Option<Arc<Advice>>,
        policies: &[Arc<str>],
    ) -> (Box<[Arc<Answer>]>, u16) {
        let chance = assembly.parts.iter().any(|part| {
            let mut priorities: Vec<u16> = part.iter().map(|group| group.priority).collect();
            priorities.sort_unstable();
            priorities.windows(2).any(|pair| pair.first() == pair.last())
        });
        let count = if chance { self.config.variants.max(1) } else { 1 };
        let mut all = Vec::new();
        for _ in 0..count {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            for part in &mut assembly.parts {
                by_priority_and_weight(part, &mut rng, |group| (group.priority, group.weight));
            }
            drop(rng);
            all.extend(self.pages(&assembly, &advice, policies));
        }
        let pages = u16::try_from(all.len() / count).unwrap_or(u16::MAX);
        (all.into(), pages)
    }

    fn pages(&self, assembly: &Assembly, advice: &Option<Arc<Advice>>, policies: &[Arc<str>]) -> Vec<Arc<Answer>> {
        let mut all: Vec<Connection> = Vec::new();
        for connection in assembly.parts.iter().flatten().flat_map(|group| &group.connections) {
            // The same place under two names is one place; the first mention knows more about it.
            let same = |known: &Connection| {
                (known.address, known.port, known.transport)
                    == (connection.address, connection.port, connection.transport)
            };
            if all.len() < self.config.connections * self.config.pages && !all.iter().any(same) {
                all.push(connection.clone());
            }
        }
        let pages: Vec<_> = all.chunks(self.config.connections.max(1)).collect();
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        (1..)
            .zip(pages)
            .map(|(index, page)| {
                let mut answer = Answer::success(page.to_vec(), advice.clone(), policies);
                (answer.index, answer.count) = (index, count);
                Arc::new(answer)
            })
            .collect()
    }
}

/// What makes two questions the same, in octets. 0 ends each field, and no field has a 0 in it.
struct Key {
    octets: [u8; 512],
    length: usize,
}

impl Default for Key {
    fn default() -> Self {
        Self { octets: [0; 512], length: 0 }
    }
}

impl Key {
    fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    /// False when it does not fit, or a field has a 0 in it.
    fn write(&mut self, question: &Question<'_>, class: u32) -> bool {
        let name = question.name.strip_suffix('.').unwrap_or(question.name);
        self.text(name)
            && self.text(question.service.unwrap_or_default())
            && self.raw(&question.port.unwrap_or(0).to_be_bytes())
            && self.raw(&class.to_be_bytes())
            && self.raw(&[u8::from(question.prove)
                | u8::from(question.peer.is_some()) << 1
                | u8::from(question.service.is_some()) << 2])
            && question.policies.iter().all(|policy| self.text(policy))
    }

    fn text(&mut self, text: &str) -> bool {
        let start = self.length;
        if text.as_bytes().contains(&0) || !self.raw(text.as_bytes()) {
            return false;
        }
        if let Some(written) = self.octets.get_mut(start..self.length) {
            written.make_ascii_lowercase();
        }
        self.raw(&[0])
    }

    fn raw(&mut self, octets: &[u8]) -> bool {
        let Some(place) = self.octets.get_mut(self.length..self.length + octets.len()) else { return false };
        place.copy_from_slice(octets);
        self.length += octets.len();
        true
    }
}
