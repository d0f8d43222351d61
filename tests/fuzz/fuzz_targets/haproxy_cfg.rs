//! Feeds text to the reader of haproxy.cfg; what must hold is in `oracle/haproxy_cfg.rs`.
#![no_main]

#[path = "../oracle/haproxy_cfg.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    oracle::accepted(octets);
});
