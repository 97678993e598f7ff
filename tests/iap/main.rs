//! IAP end to end: the program as its users run it.

mod hostile;
mod interop;
mod kill9;
mod program;
mod suricata;
