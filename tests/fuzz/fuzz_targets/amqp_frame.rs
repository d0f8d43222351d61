//! Feeds streams to everybody who reads AMQP; what must hold is in `oracle/amqp_frame.rs`.
#![no_main]

#[path = "../oracle/amqp_frame.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    oracle::accepted(stream);
});
