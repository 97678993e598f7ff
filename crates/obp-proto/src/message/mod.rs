//! Messages and structures of OBPQuery (draft-hallambaker-omnibroker-08) and of service-connect
//! (draft-hallambaker-wsconnect-08).
//!
//! The field names are the specification's, in the letters of Rust; the order of fields is the order in which the
//! reference code writes them. Members that the specification does not have are kept in `extra` and written back.
//! Fields hold only what is valid by itself ([`Name`], [`Port`], [`ServicePrefix`], [`DateTime`], ...); what depends on
//! several fields is asked for by a method ([`QueryConnectRequest::target`]).

mod binary;
mod connect;
mod datetime;
mod envelope;
mod name;
mod query;
pub(crate) mod structure;
mod token;

pub use binary::{Binary, Secret};
pub use connect::{
    BindRequest, Cryptographic, ErrorResponse, ImageLink, InstanceConnection, OpenPinRequest, OpenPinResponse,
    PollRequest, TicketRequest, TicketResponse, UnbindRequest, UnbindResponse,
};
pub use datetime::{DateTime, InvalidDateTime};
pub use envelope::Message;
pub(crate) use envelope::decode;
pub use name::{InvalidName, InvalidPort, InvalidServicePrefix, Name, Port, ServicePrefix};
pub use query::{
    Advice, CertificateId, Connection, Credential, CredentialType, Identifier, InvalidRequest, QueryConnectRequest,
    QueryConnectResponse, Service, ValidateRequest, ValidateResponse,
};
pub use structure::{Extra, List};
pub use token::{InstanceTransport, ProtocolPolicy, Transport, TransportPolicy, Unknown};
