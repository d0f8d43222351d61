//! The decisions of a share balancer, pure: no clock, no socket, no randomness, no logging.
//!
//! ```text
//!   results of checks, operator ───────▶ Health::handle(now, Input) -> effects
//!   Health::server(now) ───────────────▶ Balancer::update(..)
//!   key, entropy, loads ───────────────▶ Balancer::choose(&Request) -> ServerId, or why there is none
//!   octets of HTTP/1 ──────────────────▶ http::Request, http::Response, http::Body: what they say, where they end
//! ```
//!
//! The words and the observable behaviour are HAProxy's, as its configuration manual describes them ("HAProxy
//! manual" in the comments, with the keyword's name). Which server a given client hashes to is not: only the stated
//! properties of the distribution are.
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

pub mod algorithm;
pub mod hash;
pub mod health;
pub mod http;
pub mod queue;
pub mod stick;
pub mod time;
mod types;

pub use algorithm::{Algorithm, Balancer, InvalidServers, Request, Server, Unchosen};
pub use health::{Admin, Health};
pub use queue::{Limit, Queue, QueueFull, Ticket};
pub use stick::{Counters, Key, Periods, StickTable, TableFull};
pub use time::Instant;
pub use types::{Backups, InvalidWeight, ServerId, Share, Weight};
