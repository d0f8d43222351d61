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
    )
)]

pub mod arguments;
pub mod consumers;
pub mod death;
pub mod definitions;
#[cfg(test)]
mod effort;
pub mod json;
pub mod message;
pub mod meta;
pub mod name;
pub mod pattern;
pub mod queue;
pub mod refusal;
pub mod routing;
pub mod selection;
pub mod time;
mod wire_table;

pub use consumers::{ConsumerId, Consumers};
pub use death::Death;
pub use message::{Message, MessageId};
pub use meta::Meta;
pub use name::Name;
pub use pattern::Pattern;
pub use queue::{Entry, Position, QueueMachine};
pub use refusal::Refusal;
pub use routing::{QueueId, Target};
pub use selection::Selection;
pub use time::Millis;
