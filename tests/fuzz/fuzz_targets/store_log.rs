//! Opens logs out of whatever; what must hold is in `oracle/store_log.rs`.
#![no_main]

#[path = "../oracle/store_log.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    oracle::accepted(input);
});
