//! Feeds streams to everybody who reads HTTP/1; what must hold is in `oracle/http_message.rs`.
#![no_main]

#[path = "../oracle/http_message.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| {
    oracle::accepted(stream);
});
