//! The program's parts, as a library.
#![allow(missing_docs)]
pub mod cli;
pub mod config;
pub mod exit;
pub mod out;
pub mod pki;
pub mod store;
pub mod tail;
pub mod values;
#[cfg(test)]
mod testing;
