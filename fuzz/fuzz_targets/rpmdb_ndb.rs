//! Any bytes as a whole database of ndb.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::ndb(bytes);
});
