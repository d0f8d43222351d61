//! Feeds payloads of header frames to whoever reads and changes them; what must hold is in `oracle/amqp_header.rs`.
#![no_main]

#[path = "../oracle/amqp_header.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
