//! The Virtual Router Redundancy Protocol, pure: no clock, no socket, no randomness, no logging.
//!
//! Time and input go in, effects and a deadline come out:
//!
//! ```text
//!   bytes ──▶ packet::decode ──▶ Advert ──┐
//!   link, checks, groups, operator ───────┼──▶ Router::handle(now, Input) ──▶ Router::poll() -> Effect
//!   Router::deadline() reached ───────────┘
//! ```
//!
//! Sources: RFC 9568 (VRRPv3, with errata 7947, 7949, 8298–8301), RFC 5798, RFC 3768 (VRRPv2), RFC 2338
//! (authentication type 1). Every MUST that a virtual router has to obey is cited at the line that obeys it and at
//! the test that shows it; `scripts/musts` lists the ones that are not.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        missing_docs,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm,
    )
)]

pub mod checksum;
pub mod group;
pub mod packet;
pub mod priority;
pub mod router;
pub mod time;
mod types;

pub use router::{
    AnnounceReason, Cause, Effect, Failback, Input, Peer, Phase, Router, Settings, State, WaitingFor,
};
pub use time::Instant;
pub use types::{Family, InvalidVrid, Priority, Version, Vrid};
