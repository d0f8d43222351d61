//! The broker: what clients of AMQP 0-9-1 talk to.
//!
//! ```text
//!   client ══▶ connection (one task) ── a read: many frames ──▶ channel ──▶ batch ── one lock per queue ──▶ Queue
//!   client ◀══ connection ◀── output (frames that wait) ◀────────────────────── messages for its consumers ──┘
//! ```
//!
//! A connection is one task, and a message never changes tasks: whoever publishes puts it into the buffers of the consumers'
//! connections, under the queue's lock, and wakes each of them once for all that he published.

pub mod about;
pub mod alarms;
mod arrival;
pub mod auth;
mod batch;
mod by_address;
mod by_channel;
mod channel;
mod client;
pub mod config;
mod connection;
pub mod control;
pub mod daemon;
mod dead_letter;
pub mod definitions;
mod exclusive;
mod firehose;
mod furniture;
mod gate;
mod ledger;
pub mod metrics;
mod newcomers;
mod node;
mod output;
mod overdue;
mod paging;
mod password;
pub mod plan;
mod process;
mod properties;
pub mod registry;
mod reply_to;
mod seats;
mod server;
#[cfg(test)]
mod testing;
mod timers;
mod tls;
mod ways;

use warren_cluster::clock;

pub use furniture::{Furniture, Secret};
pub use node::{Node, Settings};
pub use password::Hashing;
pub use server::{serve, serve_stream};
pub use tls::CertificateName;
pub use warren_cluster::{Member, StorageError};
