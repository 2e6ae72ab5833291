//! Any bytes as a header of a package.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::header(bytes);
});
