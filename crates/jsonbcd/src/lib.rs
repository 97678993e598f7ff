//! JSON-B, JSON-C and JSON-D: binary supersets of JSON (draft-hallambaker-jsonbcd).
#![no_std]

extern crate alloc;
