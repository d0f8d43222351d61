//! Feeds payloads of method frames to both ways of reading them; what must hold is in `oracle/amqp_method.rs`.
#![no_main]

#[path = "../oracle/amqp_method.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
