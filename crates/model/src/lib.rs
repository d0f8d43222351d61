//! What a broker is, pure: what it holds, and what happens to it when somebody says something. No clock, no socket, no
//! disk, no randomness, no logging: time and random numbers come in with what is said.
//!
//! ```text
//!   publish ──▶ Message ──▶ QueueMachine ──▶ Taken ──▶ a consumer that Consumers chose
//!                              │   ▲
//!                     Removed ◀┘   └─ settle, requeue, purge, expire
//! ```
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

pub mod consumers;
pub mod message;
pub mod queue;
pub mod time;

pub use consumers::{ConsumerId, Consumers};
pub use message::{Body, Message, MessageId};
pub use queue::{Entry, Position, QueueMachine};
pub use time::Millis;
