//! AMQP 0-9-1 on the wire, pure: no clock, no socket, no randomness, no logging.
//!
//! ```text
//!                  ┌▶ frame::Tracker ──▶ where frames end, and which method each is                     a proxy
//!   octets read ───┤
//!                  └▶ frame::Splitter ──▶ Frame ─┬▶ connection::Method, a reply to everything wrong     a broker
//!                                                ├▶ handshake::Client ──▶ Progress                      a check
//!                                                ├▶ handshake::Observer ──▶ Fact                        a bystander
//!                                                └▶ glance ──▶ what a method changes, without reading it all
//! ```
//!
//! Sources: the AMQP 0-9-1 specification, and RabbitMQ 3.10 where it differs or says more: its type letters in field
//! tables, its extensions, and the texts of its errors, which are recorded in `recorded/`.
//!
//! Both directions everywhere: what a broker has to read, a health check has to write. Absent until somebody needs
//! them: methods above class connection except at a [`glance`], and content headers.
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

pub mod frame;
pub mod glance;
pub mod handshake;
pub mod method;
pub mod protocol;
pub mod reply;
pub mod table;
mod text;
mod wire;

pub use frame::{Frame, FrameKind, FrameMax};
pub use method::{MethodId, connection};
pub use reply::{Exception, ReplyCode};
pub use table::{Table, Value};
pub use text::{SHORT_MAX, Secret, ShortString, TooLong};
