//! Any bytes as an archive of a directory.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::archive(bytes);
});
