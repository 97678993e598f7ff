//! Binding a device to an account: PIN proofs and the machines of both sides (SXS-08).
