//! Lets a client say anything, logged in or not; what must hold is in `oracle/broker_connection.rs`.
#![no_main]

#[path = "../oracle/broker_connection.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|said: &[u8]| {
    oracle::accepted(said);
});
