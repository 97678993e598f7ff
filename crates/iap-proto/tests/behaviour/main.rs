//! What the machines do, told from outside: by vectors, by scripted peers, by pairs on a virtual clock, by properties.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod codec_properties;
mod compat;
mod cut_link;
mod deployments;
mod dialects;
mod fake_tls;
mod initiator;
mod limits;
mod machine_properties;
mod nodes;
mod proxy;
mod receiver;
mod receiver_end;
mod responder;
mod sender;
mod starttls;
mod statuses;
mod support;
mod timers;
mod vectors;
