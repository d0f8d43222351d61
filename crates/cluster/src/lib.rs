//! Where things are, and who says so: what stands between the connections of a broker and its queues and metadata.
//!
//! A connection does not know whether a queue is on its own node, nor what its metadata and messages are kept by. All of that of a node is its
//! [`Member`]; of a node that is alone, [`Member::alone`].
//!
//! ```text
//!                  Placement: the way to a queue
//!                      ▼
//!   connection ──▶ QueueHandle: publish, settle, requeue, get ──▶ what has to be done now that the queue is unlocked: Aftermath
//!       ▲ ▲            └─▶ Queue ── DeliverySink::deliver ──▶ connection of a consumer                                 │
//!       │ └─ Waiter::safe ── ConfirmTicket ◀── LogStore: messages of all queues ◀───────────────────────────────────────┘
//!       │ MetadataView: vhosts, users, bindings, read by all
//!   MetaStore: changes it, one command after another ──▶ Follower: queues come and go
//! ```
//!
//! Invariant: nobody holds the locks of two queues, and nothing waits while it holds one ([`lock`] checks it).

pub mod clock;
mod handle;
pub mod lock;
pub mod log_store;
mod member;
pub mod meta_store;
mod placement;
pub mod queue;
mod session;
mod single;
mod ticket;

pub use handle::QueueHandle;
pub use log_store::{LogStore, NotRead, NotWritten};
pub use member::{Member, Recovered, RecoveredQueue};
pub use meta_store::{Follower, MetaStore, MetadataView};
pub use placement::Placement;
pub use queue::{Aftermath, Delivery, DeliverySink, Gone, Next, Placed, Purged, Queue, Room};
pub use session::Session;
pub use single::StorageError;
pub use ticket::{ConfirmTicket, Waiter};
pub use warren_store::Durability;
pub use warren_store::RecoveryProgress;
pub use warren_store::Statistics as LogStatistics;
