//! The Session header: parse, print, sign, verify, replay protection.
