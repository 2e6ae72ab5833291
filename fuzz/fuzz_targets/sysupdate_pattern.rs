//! A list of patterns, and after a line feed a name.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::pattern(bytes);
});
