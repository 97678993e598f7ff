//! The `watchfire` program as a library: what its commands and services are made of.
//!
//! [`app::main`] is the program. Tests, examples and the quickstart use the parts: the certificate authority
//! ([`pki`]), the reader of growing files ([`tail`]), the stores of alerts ([`store`]), the sinks ([`output`]), and
//! what every service shares ([`service`], [`metrics`], [`signals`], [`listening`]). The parts are made for this
//! program and change with it; the protocols are crates of their own.
#![cfg(unix)]

pub mod alerts;
pub mod app;
mod appended;
pub mod cli;
pub mod config;
pub mod console;
pub mod dots;
pub mod exit;
pub mod https;
pub mod iap;
pub mod input;
pub mod listening;
pub mod logging;
pub mod lurk;
pub mod manual;
pub mod metrics;
pub mod obp;
pub mod out;
pub mod output;
pub mod pki;
pub mod progress;
pub mod quickstart;
mod replace;
pub mod repute;
pub mod service;
pub mod signals;
pub mod store;
pub mod supervisor;
pub mod tail;
#[cfg(test)]
mod testing;
pub mod values;
