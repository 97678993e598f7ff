//! Skeleton.

pub mod tls;
