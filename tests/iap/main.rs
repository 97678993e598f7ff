//! IAP end to end: the program as its users run it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod identity;
mod interop;
mod kill9;
mod program;
mod suricata;
