//! Any bytes as a payload, whatever it is compressed with.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::payload(bytes);
});
