//! Feeds streams of frames to channels; what must hold is in `oracle/amqp_content.rs`.
#![no_main]

#[path = "../oracle/amqp_content.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
