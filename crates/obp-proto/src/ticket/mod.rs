//! Sealed tickets: what the broker hands out and later opens.
