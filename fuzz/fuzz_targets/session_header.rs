#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchfire_fuzz::session_header::run(data));
