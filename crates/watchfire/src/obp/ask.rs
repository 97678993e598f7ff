//! `obp connect` and `obp validate`.

use obp_broker::proof::{self, Anchors, Proof};
use obp_hyper::client::ClientError;
use obp_proto::message::{
    Advice, Connection, Credential, Identifier, Name, Port, QueryConnectRequest, QueryConnectResponse, ServicePrefix,
    ValidateRequest, ValidateResponse,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::binding::{Asker, protocol_failure};
use crate::cli::{ConnectArgs, ValidateArgs};
use crate::exit::{Failure, file_failure};
use crate::out;

/// `obp connect`: the ways to connect, preferred first.
///
/// # Errors
/// A broker that cannot be reached, or refuses; with `--prove`, evidence that does not hold.
pub async fn connect(args: &ConnectArgs, json: bool) -> Result<(), Failure> {
    let found = find(args).await?;
    for (connection, proven) in &found.ways {
        out::line(&if json { object(connection, *proven) } else { row(connection, *proven) })?;
    }
    if found.ways.is_empty() {
        return Err(Failure::refused("the broker knows no way to connect").at(&args.name));
    }
    match found.evidence {
        Some(evidence) if !json => out::line(&format!("  {evidence}")),
        _ => Ok(()),
    }
}

/// What a broker answered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The ways to connect, and whether each is proven, if that was asked for.
    pub ways: Vec<(Connection, Option<bool>)>,
    /// What was proven, in words.
    pub evidence: Option<String>,
}

/// Asks how a service is best reached.
///
/// # Errors
/// As [`connect`].
pub async fn find(args: &ConnectArgs) -> Result<Found, Failure> {
    let mut identifier = Identifier::new(name(&args.name)?);
    if let Some(service) = &args.service {
        identifier = identifier.with_service(prefix(service).map_err(|failure| failure.at("SERVICE"))?);
    }
    if let Some(port) = args.port {
        identifier = identifier.with_port(Port::from(port));
    }
    let target = identifier.clone();
    let mut request = QueryConnectRequest::new(identifier);
    request.index = args.index;
    request.policy = args.policy.clone().into();
    request.prove_it = args.prove.then_some(true);
    let asker = Asker::start(&args.binding).await?;
    let answer = asker.client.connect(request).await.map_err(|error| failure(&error, &args.name))?;
    asker.save()?;
    let proven = if args.prove { Some(prove(args, target, &answer)?) } else { None };
    let holds = |connection: &Connection| proven.as_ref().map(|proof| proof.holds_for(connection));
    let ways = answer.connection.iter().map(|connection| (connection.clone(), holds(connection))).collect();
    Ok(Found { ways, evidence: proven.map(|proof| proof.summary) })
}

/// What the evidence proves.
struct Proven {
    proof: Option<Proof>,
    target: Identifier,
    summary: String,
}

impl Proven {
    /// Whether the records that are proven lead from what was asked to this connection.
    fn holds_for(&self, connection: &Connection) -> bool {
        let (Some(proof), Some(address), Some(port)) = (&self.proof, connection.ip_address, connection.ip_port) else {
            return false;
        };
        let service = self.target.service.as_ref().map(ServicePrefix::as_str);
        let asked = self.target.port.map(u16::from).or_else(|| usual_port(service?));
        proof.supports(self.target.name.as_str(), service, asked, address, port.into())
    }
}

/// The port under which the name's own addresses count, for services whose port everybody knows.
fn usual_port(service: &str) -> Option<u16> {
    let label = service.split('.').next().unwrap_or_default().trim_start_matches('_');
    obp_broker::connect::usual_port(label)
}

/// Checks the evidence. None is no mistake (the names may be in an unsigned zone), evidence that does not hold is.
fn prove(args: &ConnectArgs, target: Identifier, answer: &QueryConnectResponse) -> Result<Proven, Failure> {
    let anchors = match &args.trust_anchor {
        Some(path) => {
            let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read", path, &error))?;
            let text = String::from_utf8_lossy(&octets);
            Anchors::parse(&text).map_err(|error| Failure::usage(error.to_string()).at(path.display()))?
        }
        None => Anchors::root(),
    };
    let chains = answer.advice.iter().chain(answer.connection.iter().filter_map(|one| one.advice.as_ref()));
    let chain = |advice: &&Advice| advice.media_type.as_deref() == Some(Advice::DNSSEC_CHAIN);
    let Some(data) = chains.into_iter().find(chain).and_then(|advice| advice.data.as_ref()) else {
        let summary = "no evidence: the names are not signed by DNSSEC".into();
        return Ok(Proven { proof: None, target, summary });
    };
    let now = jiff::Timestamp::now().as_second();
    let proof = proof::verify(data.as_bytes(), &anchors, now).map_err(|error| {
        let failure = Failure::misbehaved(format!("the broker's evidence does not hold: {error}")).at(&args.name);
        failure.remedy("do not connect; ask the broker's operator, or name the right --trust-anchor")
    })?;
    let proven = proof.proven();
    let until = jiff::Timestamp::from_second(proof.valid_until()).map(|until| until.to_string()).unwrap_or_default();
    let summary = format!("proven by DNSSEC until {until}: {} records", proven.len());
    Ok(Proven { proof: Some(proof), target, summary })
}

fn row(connection: &Connection, proven: Option<bool>) -> String {
    let place = match (connection.ip_address, connection.ip_port) {
        (Some(address), Some(port)) => std::net::SocketAddr::new(address, port.into()).to_string(),
        (Some(address), None) => address.to_string(),
        _ => "no address".to_owned(),
    };
    let words = [
        Some(connection.transport().to_string()),
        connection.transport_policy.as_ref().map(ToString::to_string),
        connection.protocol_policy.as_ref().map(ToString::to_string),
        proven.map(|proven| if proven { "proven" } else { "not proven" }.to_owned()),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    // A broker's words never write to the terminal.
    let line = format!("{place}\t{}", words.join(" "));
    line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

/// The connection by the names of the wire.
fn object(connection: &Connection, proven: Option<bool>) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    put("IPAddress", connection.ip_address.map(|address| address.to_string().into()));
    put("IPPort", connection.ip_port.map(|port| u16::from(port).into()));
    put("Transport", connection.transport.as_ref().map(|word| word.as_str().into()));
    put("TransportPolicy", connection.transport_policy.as_ref().map(|word| word.as_str().into()));
    put("ProtocolPolicy", connection.protocol_policy.as_ref().map(|word| word.as_str().into()));
    put("Proven", proven.map(Into::into));
    serde_json::Value::Object(object).to_string()
}

/// `obp validate`
///
/// # Errors
/// A veto (the peer said no), or a broker that cannot be reached.
pub async fn validate(args: &ValidateArgs, json: bool) -> Result<(), Failure> {
    match judge(args).await? {
        Ok(answer) => {
            let policies: Vec<String> = answer.policy.iter().cloned().collect();
            if json {
                let object = serde_json::json!({ "valid": true, "status": answer.status.code(), "policy": policies });
                return out::line(&object.to_string());
            }
            let under =
                if policies.is_empty() { String::new() } else { format!("; it holds under {}", policies.join(", ")) };
            out::line(&format!("the broker has nothing against it{under}"))
        }
        Err(ClientError::Refused { status, description }) if json => {
            let object = serde_json::json!({ "valid": false, "status": status.code(), "reason": description });
            out::line(&object.to_string())?;
            Err(failure(&ClientError::Refused { status, description }, &args.name))
        }
        Err(error) => Err(failure(&error, &args.name)),
    }
}

/// Asks whether there is anything against certificates; the inner error is the veto, or why there is no answer.
///
/// # Errors
/// Files that cannot be read.
pub async fn judge(args: &ValidateArgs) -> Result<Result<ValidateResponse, ClientError>, Failure> {
    let mut chain = Vec::new();
    for path in &args.certificates {
        let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read", path, &error))?;
        if octets.trim_ascii_start().starts_with(b"-----") {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
            let found = found.map_err(|error| Failure::usage(format!("not PEM: {error}")).at(path.display()))?;
            if found.is_empty() {
                let failure = Failure::usage("holds no certificate").at(path.display());
                return Err(failure.remedy("name a file of certificates, PEM or DER"));
            }
            chain.extend(found.into_iter().map(|der| der.to_vec()));
        } else {
            chain.push(octets);
        }
    }
    let mut request = ValidateRequest::new(name(&args.name)?, Vec::<Vec<u8>>::new());
    request.credential = chain.into_iter().map(Credential::certificate).collect();
    request.policy = args.policy.clone().into();
    if let Some(service) = &args.service {
        let service = prefix(service).map_err(|failure| failure.at("--service"))?;
        for identifier in request.service.iter_mut().flat_map(|service| service.identifier.iter_mut()) {
            identifier.service = Some(service.clone());
        }
    }
    let asker = Asker::start(&args.binding).await?;
    let outcome = asker.client.validate(request).await;
    asker.save()?;
    Ok(outcome)
}

/// A service as the DNS has it, `_http._tcp`, or without the underscores.
fn prefix(text: &str) -> Result<ServicePrefix, Failure> {
    let whole = if text.starts_with('_') { text.to_owned() } else { format!("_{text}") };
    whole.parse().map_err(|error| Failure::usage(format!("`{text}`: {error}")))
}

/// A name as it is read, or as the DNS has it.
fn name(text: &str) -> Result<Name, Failure> {
    let ascii = idna::domain_to_ascii(text).map_err(|_| Failure::usage(format!("`{text}` is no name of the DNS")))?;
    ascii.parse().map_err(|error| Failure::usage(format!("`{text}`: {error}")))
}

/// The client's error with the exit code of whom it blames.
pub(super) fn failure(error: &ClientError, about: &str) -> Failure {
    let failure = match error {
        _ if error.status().is_some_and(|status| status.code() == 401) => {
            Failure::refused(error.to_string()).remedy("bind again with `watchfire obp bind`")
        }
        ClientError::Refused { status, .. } if status.code() == 504 => Failure::unreachable(error.to_string()),
        ClientError::Refused { .. } => Failure::refused(error.to_string()),
        ClientError::Protocol(protocol) => protocol_failure(protocol),
        ClientError::Exchange { error: protocol, what } => {
            let told = protocol_failure(protocol);
            Failure::new(told.blame(), format!("{protocol} ({what})"))
        }
        ClientError::Mismatch => Failure::misbehaved(error.to_string()),
        _ => Failure::unreachable(error.to_string()),
    };
    failure.at(about)
}
