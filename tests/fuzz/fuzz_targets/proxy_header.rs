//! Feeds octets to the reader of PROXY protocol headers; what must hold is in `oracle/proxy_header.rs`.
#![no_main]

#[path = "../oracle/proxy_header.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
