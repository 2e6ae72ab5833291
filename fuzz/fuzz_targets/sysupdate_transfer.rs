//! Any bytes as a transfer file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::transfer(bytes);
});
