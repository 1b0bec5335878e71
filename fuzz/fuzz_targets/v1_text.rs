#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hinotori_fuzz::v1_text(data));
