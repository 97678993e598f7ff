//! The client: asks services about subjects, one exchange for each question and none when it knows.
//! [RFC 7072 section 3](https://www.rfc-editor.org/rfc/rfc7072#section-3)

mod answer;
mod cache;
mod config;
mod failure;
mod machine;
mod query;
mod service;

pub use answer::{Answer, Dropped, NoData};
pub use config::{ClientConfig, ClientConfigBuilder, RaterPolicy};
pub use failure::{ExchangeFailure, QueryError, TemplateProblem};
pub use machine::{Client, ClientEvent, ExchangeId, ExchangeRequest, QueryId, Received};
pub use query::{InvalidQuery, Query, QueryBuilder};
