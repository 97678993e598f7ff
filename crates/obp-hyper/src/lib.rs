//! OmniBroker over hyper and tokio.

pub mod race;
