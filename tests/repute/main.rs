//! REPUTE end to end: the program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod dnsbl;
mod import;
mod opendkim;
mod query;
mod serve;
mod site;
mod spamassassin;
mod template;
