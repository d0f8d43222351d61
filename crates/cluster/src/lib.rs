//! Where things are, and who says so: what stands between the connections of a broker and its queues and metadata.
//!
//! A connection does not know whether a queue is on its own node. Today every queue is, and every answer is the one of a
//! single node.
//!
//! ```text
//!   connection ──▶ Queue::publish, settle, requeue, get ──▶ what has to be done now that the queue is unlocked: Aftermath
//!   connection ◀── DeliverySink::deliver ── a queue that has a message for one of its consumers
//! ```
//!
//! Invariant: nobody holds the locks of two queues, and nothing waits while it holds one.

pub mod clock;
pub mod log_store;
mod member;
pub mod meta_store;
pub mod queue;
mod session;
mod single;
mod ticket;

pub use log_store::{LogStore, NotRead, NotWritten};
pub use member::{Member, Recovered, RecoveredQueue};
pub use meta_store::{Follower, MetaStore, MetadataView};
pub use queue::{Aftermath, Delivery, DeliverySink, Gone, Next, Placed, Purged, Queue, Room};
pub use session::Session;
pub use single::StorageError;
pub use ticket::{ConfirmTicket, Waiter};
pub use warren_store::RecoveryProgress;
