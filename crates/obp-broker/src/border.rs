//! The border to the protocol: its messages into questions, answers into its messages.

use obp_proto::Message;
use obp_proto::message::{
    Advice as AdviceMessage, Connection as ConnectionMessage, InvalidRequest, Port, ProtocolPolicy,
    QueryConnectRequest, QueryConnectResponse, Transport as TransportWord, TransportPolicy, ValidateRequest,
    ValidateResponse,
};
use obp_proto::status::Status as WireStatus;

use crate::connect::{Advice, Answer, Broker, Connection, Question, TlsPolicy, Transport};
use crate::status::Status;
use crate::validate::{Candidate, Credential, Purpose, Verdict};

impl From<Status> for WireStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::SUCCESS,
            Status::Syntax => Self::SYNTAX,
            Status::Refused => Self::REFUSED,
            Status::PolicyViolation => Self::POLICY_VIOLATION,
            Status::NonExistentDomain => Self::NON_EXISTENT_DOMAIN,
            Status::Revoked => Self::REVOKED,
            Status::Danger => Self::DANGER,
            Status::Unknown => Self::UNKNOWN,
            Status::ServerFailure => Self::SERVER_FAILURE,
            Status::NotImplemented => Self::NOT_IMPLEMENTED,
            Status::TimeOut => Self::TIME_OUT,
        }
    }
}

impl<'a> Question<'a> {
    /// What a QueryConnectRequest asks, for the account of its client's ticket.
    ///
    /// # Errors
    /// [`InvalidRequest`] when it cannot be answered: no Identifier, or one with neither service nor port.
    pub fn from_request(account: Option<&'a str>, request: &'a QueryConnectRequest) -> Result<Self, InvalidRequest> {
        let target = request.target()?;
        let mut question = Self::new(
            target.name.as_str(),
            target.service.as_ref().map(|service| service.as_str()),
            target.port.map(Port::get),
        );
        question.account = account;
        question.peer = target.account.as_deref();
        question.policies = &request.policy;
        question.prove = request.wants_proof();
        question.index = request.index;
        Ok(question)
    }
}

impl From<&Advice> for AdviceMessage {
    fn from(advice: &Advice) -> Self {
        Self::new(advice.media_type, &*advice.data)
    }
}

impl From<&Connection> for ConnectionMessage {
    fn from(connection: &Connection) -> Self {
        let mut message = Self::default();
        message.ip_address = Some(connection.address);
        message.ip_port = Port::try_from(connection.port).ok();
        // The draft's example leaves it out for plain TCP.
        message.transport = match connection.transport {
            Transport::Tls => Some(TransportWord::Tls),
            Transport::Raw => None,
        };
        message.transport_policy = match connection.tls {
            TlsPolicy::Required => Some(TransportPolicy::TlsRequired),
            TlsPolicy::Optional => Some(TransportPolicy::TlsOptional),
            TlsPolicy::Unsaid => None,
        };
        message.protocol_policy = connection.protocol_policy.as_deref().map(ProtocolPolicy::from);
        message.advice = connection.advice.as_deref().map(Into::into);
        message
    }
}

impl From<&Answer> for QueryConnectResponse {
    fn from(answer: &Answer) -> Self {
        let mut message = Self::new(answer.status.into());
        if let Some(description) = &answer.description {
            message.status_description = Some(description.to_string());
        }
        // Said only when there is a choice.
        if answer.count > 1 {
            message.index = Some(answer.index);
            message.count = Some(answer.count);
        }
        if !answer.connections.is_empty() {
            message.connection = answer.connections.iter().map(Into::into).collect();
        }
        message.advice = answer.advice.as_deref().map(Into::into);
        if !answer.policies.is_empty() {
            message.policy = answer.policies.iter().map(ToString::to_string).collect();
        }
        message
    }
}

impl From<Verdict> for ValidateResponse {
    fn from(verdict: Verdict) -> Self {
        let mut message = Self::new(verdict.status.into());
        if verdict.description.is_some() {
            message.status_description = verdict.description;
        }
        if !verdict.policies.is_empty() {
            message.policy = verdict.policies.into();
        }
        message
    }
}

fn invalid(error: InvalidRequest) -> (WireStatus, Option<String>) {
    (error.status(), Some(error.to_string()))
}

impl Broker {
    /// Answers a QueryConnectRequest of the account. For many the same, [`Broker::connect`] with
    /// [`Answer::once`] saves the making of the message.
    pub async fn query_connect(&self, account: Option<&str>, request: &QueryConnectRequest) -> QueryConnectResponse {
        match Question::from_request(account, request) {
            Ok(question) => QueryConnectResponse::from(&*self.connect(&question).await),
            Err(error) => {
                let (status, description) = invalid(error);
                let mut response = QueryConnectResponse::new(status);
                response.status_description = description;
                response
            }
        }
    }

    /// Answers a ValidateRequest. A good answer is no permission: see [`crate::validate`].
    pub async fn query_validate(&self, request: &ValidateRequest) -> ValidateResponse {
        if let Err(error) = request.check() {
            let (status, description) = invalid(error);
            let mut response = ValidateResponse::new(status);
            response.status_description = description;
            return response;
        }
        let identifiers = request.service.iter().flat_map(|service| service.identifier.iter());
        let purposes: Vec<_> = identifiers
            .map(|identifier| Purpose::new(identifier.name.as_str(), identifier.port.map(Port::get)))
            .collect();
        let credentials: Vec<_> = request
            .credential
            .iter()
            .map(|credential| {
                let data = credential.data.as_ref().map(AsRef::as_ref).unwrap_or_default();
                Credential::new(credential.media_type.as_deref(), data)
            })
            .collect();
        // One that is no CertID stays, and is refused by name.
        let ids: Vec<&[u8]> = request.certificate_id.iter().map(|id| id.as_ocsp().unwrap_or_default()).collect();
        let mut candidate = Candidate::new(&purposes, &credentials);
        candidate.certificate_ids = &ids;
        candidate.policies = &request.policy;
        self.validate(&candidate).await.into()
    }

    /// Answers either request; `None` for a message that is neither.
    pub async fn answer(&self, account: Option<&str>, message: &Message) -> Option<Message> {
        match message {
            Message::QueryConnectRequest(request) => {
                Some(Message::QueryConnectResponse(self.query_connect(account, request).await))
            }
            Message::ValidateRequest(request) => Some(Message::ValidateResponse(self.query_validate(request).await)),
            _ => None,
        }
    }
}
