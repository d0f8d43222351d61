//! What Warren's daemons say on their control sockets, as types that daemon, command line and tests share.
//!
//! No input or output here, and no clock: a reply is a value, and [`vrrp::explain`] turns one into sentences.
//!
//! The wire form is one JSON object per line. It only ever grows: every field of a reply has a default, unknown
//! fields are skipped and unknown words of an enumeration become `Unknown`, so that a client and a daemon one
//! version apart understand each other. Times are RFC 3339 in UTC ([`Timestamp`]), durations whole microseconds in
//! fields that end in `_us` ([`Micros`]).
#![forbid(unsafe_code)]

pub mod broker;
pub mod proxy;
mod refused;
pub mod run;
mod time;
pub mod vrrp;

pub use time::{InvalidTimestamp, Micros, Timestamp};
