#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hinotori_fuzz::envelope(data));
