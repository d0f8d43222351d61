//! A new process takes over from this one while clients go on: listeners, live sessions and what is known.
//!
//! ```text
//!   old process (give)                                  new process (take, then adopt)
//!     │ ◀──────────────────────────────────── hello │   versions agree, or nothing happens
//!     │ what is known, listening sockets ──────────▶ │   reads its configuration, starts its workers
//!     │ ◀───────────────────────────────── prepared │
//!     │ stops accepting: quiet ────────────────────▶ │   clients meanwhile wait in the kernel's queue
//!     │ a hundred sessions, both sockets each ─────▶ │   ┐ a worker at a time, so that each session pauses for
//!     │ ◀────────────── taken, except these numbers │   ┘ about as long as its own hundred takes
//!     │ accept ────────────────────────────────────▶ │   every server's slots are taken by who had them: accepts
//!     │ sessions that wait for a server ───────────▶ │
//!     │ ◀────────────── taken, except these numbers │
//!     │ what was counted: done ────────────────────▶ │
//!     │ ◀──────────────────────────────────── ready │
//!   keeps what cannot travel, and finishes it           serves
//! ```
//!
//! A session belongs to the old process until the new one has said that it took it, and the new one touches it only
//! after that. If the other side is gone, is silent or makes no sense, the old process takes back what was not
//! acknowledged, accepts again and goes on as if nothing had been.
//!
//! Whatever a session is doing travels: octets that were read and not sent, half of an AMQP frame, a request of mode
//! http in the middle of its body, a place in a queue (which is a new one, in the same order).
//!
//! What cannot travel: TLS (its keys stay where they are), clients that have not said yet what they want, requests that
//! the proxy itself answers (the statistics), sessions with servers that the new configuration does not have.
//!
//! Absent on purpose: starting the new process, which is for `daemon`.

mod give;
mod message;
mod state;
mod take;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use thiserror::Error;

pub use give::{Given, give};
pub(crate) use message::{
    Address, ExchangeRecord, HttpRecord, HttpState, RelayRecord, ServerRecord, SessionRecord, StageRecord,
};
pub use take::{Adopted, Inherited, take};
pub use wire::{WireError, pair};

/// Of what both processes say to each other. Another number is another language: nothing is handed over then.
const VERSION: u32 = 4;
/// How long the new process may take to read its configuration.
const START: Duration = Duration::from_secs(30);
/// How long any other answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions that travel together: few enough that none of them waits long, and that their sockets fit into a packet.
const BATCH: usize = 100;

/// Why nothing, or not everything, was handed over.
#[derive(Debug, Error)]
pub enum HandoverError {
    /// The connection between both.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Both are different versions.
    #[error(
        "the other process speaks version {0} of the hand-over, this one {VERSION}: restart instead of upgrading"
    )]
    Version(u32),
    /// Something else was expected.
    #[error("the other process said something that has no place here: both have to be the same program")]
    Unexpected,
    /// A worker does not answer.
    #[error("a worker did not answer in time: see the log")]
    Worker,
}
