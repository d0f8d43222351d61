//! Feeds octets to the reader of TLS hellos; what must hold is in `oracle/tls_hello.rs`.
#![no_main]

#[path = "../oracle/tls_hello.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
