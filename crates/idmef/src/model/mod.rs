//! The classes. [RFC 4765 section 4](https://www.rfc-editor.org/rfc/rfc4765#section-4)
//!
//! Fields bear the names of the RFC's attributes and elements, in snake case. They are public: a message is data.
//! What the DTD says about them beyond their types is checked when a message is written.
#![allow(
    clippy::exhaustive_structs,
    reason = "the classes are closed by the DTD of version 1.0, and made to be written as literals"
)]

mod additional_data;
mod alert;
mod analyzer;
mod assessment;
mod classification;
mod entity;
mod enums;
mod file;
mod message;
mod service;
mod time;

pub use additional_data::{AdditionalData, Data};
pub use alert::{Alert, AlertIdent, AlertKind, CorrelationAlert, OverflowAlert, ToolAlert};
pub use analyzer::{Analyzer, Process};
pub use assessment::{Action, Assessment, Confidence, Impact};
pub use classification::{Classification, Reference};
pub use entity::{Address, Node, Source, Target, User, UserId};
pub use enums::{
    ActionCategory, AddressCategory, ChecksumAlgorithm, Completion, Decoy, Extension, FileCategory, ImpactType,
    LinkageCategory, NodeCategory, Origin, Perms, Rating, Severity, Spoofed, UserCategory, UserIdType,
};
pub use file::{Checksum, File, FileAccess, Inode, Linkage, Permission};
pub use message::{Heartbeat, Item, Message};
pub use service::{Service, SnmpService, WebService};
