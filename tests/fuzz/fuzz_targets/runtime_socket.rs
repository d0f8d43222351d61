//! Feeds lines to the runtime socket; what must hold is in `oracle/runtime_socket.rs`.
#![no_main]

#[path = "../oracle/runtime_socket.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    oracle::accepted(line);
});
