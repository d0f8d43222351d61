//! Feeds messages to the VRRP decoder; what must hold is in `oracle/vrrp_decode.rs`.
#![no_main]

#[path = "../oracle/vrrp_decode.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    oracle::accepted(payload);
});
