#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchfire_fuzz::lurk::relay::run(data));
