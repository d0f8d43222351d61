//! AMQP 0-9-1 on the wire, pure: no clock, no socket, no randomness, no logging.
//!
//! ```text
//!                  ┌▶ frame::Tracker ──▶ where frames end, and which method each is                     a proxy
//!   octets read ───┤
//!                  ├▶ frame::Splitter ──▶ Frame ─┬▶ Method, a reply to everything wrong               everybody
//!                  │                             ├▶ handshake::Client ──▶ Progress                      a check
//!                  │                             ├▶ handshake::Observer ──▶ Fact                    a bystander
//!                  │                             └▶ glance ──▶ what a method changes, without reading it all
//!                  └▶ frame::Splitter ──▶ frame::Chunk ─┬▶ hot::Hot ──▶ what comes with every message
//!                                                       ├▶ content::Assembly ──▶ content::Message   a broker
//!                                                       └▶ client::Connection ──▶ Event           a shovel, a test
//!   octets sent ◀──── outbox::Outbox ◀── Method, Message
//! ```
//!
//! Sources: the AMQP 0-9-1 specification, and RabbitMQ 3.10 where it differs or says more: its type letters in field
//! tables, its extensions, and the texts of its errors, which are recorded in `recorded/`.
//!
//! Both directions everywhere: what a broker has to read, a health check has to write.
//!
//! ## Where messages flow
//!
//! A connection reads into a buffer and looks at all whole frames in it at once. Nothing is copied or allocated for a
//! message that lies in one read, and its header leaves with the octets with which it came:
//!
//! ```
//! use bytes::{Buf, Bytes, BytesMut};
//! use warren_amqp::content::{Accepted, Assembly, DeliveryMode, Properties};
//! use warren_amqp::frame::{FrameKind, Splitter};
//! use warren_amqp::hot::{Deliver, Hot, Publish};
//! use warren_amqp::outbox::Outbox;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A client's side: methods, and messages of its own.
//! let mut client = Outbox::new(warren_amqp::FrameMax::DEFAULT);
//! let to = Publish { routing_key: b"invoices", mandatory: true, ..Publish::default() };
//! client.publish(1, &to, &Properties::of(DeliveryMode::Persistent), &Bytes::from_static(b"hello"))?;
//! client.ack(1, 7, true);
//!
//! // A broker's side. After the handshake, which takes frames one by one with `Splitter::next`:
//! # let mut input = BytesMut::new();
//! # while client.has_remaining() { let octets = client.chunk().to_vec(); client.advance(octets.len()); input.extend_from_slice(&octets); }
//! # let mut splitter = Splitter::of_server();
//! let mut channel = Assembly::new(16 << 20); // one for each open channel
//! let mut out = Outbox::new(warren_amqp::FrameMax::DEFAULT);
//! while let Some(mut chunk) = splitter.chunk(&mut input)? {
//!     while let Some(frame) = chunk.next() {
//!         // By `frame.channel`: 0 is the connection, and a channel that closes takes no frames.
//!         match channel.accept(&mut chunk, frame)? {
//!             Accepted::Part => {}
//!             Accepted::Message(message) => {
//!                 let Some(publish) = message.publish() else { break };
//!                 assert_eq!((publish.exchange, publish.routing_key), (&b""[..], &b"invoices"[..]));
//!                 let header = message.header();
//!                 assert!(header.is_persistent() && header.expiration().is_none());
//!                 // To a consumer: frames cut to its limit, a large body shared rather than copied.
//!                 let deliver = Deliver {
//!                     consumer_tag: b"ctag", delivery_tag: 1, redelivered: false,
//!                     exchange: publish.exchange, routing_key: publish.routing_key,
//!                 };
//!                 out.message(1, &deliver, &message)?;
//!                 out.ack(1, 1, false);
//!             }
//!             Accepted::Method => match Hot::read(chunk.payload(frame))? {
//!                 Hot::Ack(ack) => assert_eq!((ack.delivery_tag, ack.multiple), (7, true)),
//!                 // Everything that does not come with every message.
//!                 _ => drop(chunk.method(frame)?),
//!             },
//!         }
//!     }
//! }
//! // `out` is a `Buf` with vectored writes: `socket.write_buf(&mut out)`.
//! # Ok(())
//! # }
//! ```
//!
//! Every error that a peer can cause has `exception()`: the code, text and method ids for `channel.close` or
//! `connection.close`, by [`ReplyCode::weight`].
//!
//! Limits: [`frame::FrameMax`], [`SHORT_MAX`], [`table::DEPTH_MAX`], [`table::VALUES_MAX`], the body size of
//! [`content::Assembly::new`]; pieces of a body by [`content::SMALL_PIECE`]. An [`outbox::Outbox`] is as large as what
//! is put into it.
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

pub mod client;
pub mod content;
pub mod frame;
pub mod glance;
pub mod handshake;
pub mod hot;
pub mod method;
pub mod outbox;
pub mod protocol;
#[cfg(test)]
mod recorded;
pub mod reply;
pub mod table;
mod text;
mod wire;

pub use frame::{Frame, FrameKind, FrameMax};
pub use method::{Method, MethodError, MethodId};
pub use method::{access, basic, channel, confirm, connection, exchange, queue, tx};
pub use reply::{Exception, ReplyCode};
pub use table::{Table, TableView, Value, ValueView};
pub use text::{SHORT_MAX, Secret, ShortString, TooLong};
