//! Direct reply-to: answers that go straight to the channel that asked, without a queue of its own.
//!
//! ```text
//!   client: consume amq.rabbitmq.reply-to (no_ack) ──▶ amq.rabbitmq.reply-to.TOKEN
//!   client: publish, reply_to: amq.rabbitmq.reply-to ──▶ the server gets reply_to: amq.rabbitmq.reply-to.TOKEN
//!   server: publish to the default exchange, routing key amq.rabbitmq.reply-to.TOKEN ──▶ client
//! ```
//!
//! To whoever publishes it is a queue like others, and it makes the client's connection push back like others. It is in no
//! listing, and nothing is kept in it but what its client has no room for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::RwLock;
use warren_cluster::queue::Identity;
use warren_cluster::{Queue, QueueHandle};
use warren_model::queue::Limits;
use warren_model::{Name, QueueId, Refusal};

use crate::client::precondition;
use crate::clock::now;

/// What clients consume from and give as their address.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What an address that was given out begins with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";
/// Answers that wait for one client; beyond that the oldest are dropped.
const WAITING_MAX: u64 = 65_536;
/// Octets of them.
const WAITING_OCTETS_MAX: u64 = 64 << 20;

/// An address that nobody can guess, in the form of RabbitMQ's, whose first part names a process.
fn address() -> Result<Name, Refusal> {
    let [process, secret]: [[u8; 16]; 2] = rand::random();
    let name = format!("{PREFIX}{}.{}", STANDARD.encode(process), STANDARD.encode(secret));
    Name::try_from(name.as_str()).map_err(precondition)
}

/// All addresses of this node that are in use.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    queues: RwLock<HashMap<Name, QueueHandle>>,
    count: AtomicU64,
}

impl Replies {
    /// Another address.
    pub(crate) fn open(&self, vhost: &Name) -> Result<QueueHandle, Refusal> {
        let name = address()?;
        let identity = Identity {
            // From the other end than those of queues that are declared.
            id: QueueId(u64::MAX - self.count.fetch_add(1, Ordering::Relaxed)),
            vhost: vhost.clone(),
            name: name.clone(),
            durable: false,
            kind: warren_model::arguments::QueueType::Classic,
        };
        let limits = Limits {
            length: Some(WAITING_MAX),
            octets: Some(WAITING_OCTETS_MAX),
            ..Limits::default()
        };
        let queue = Queue::new(identity, limits, 0, false, now());
        let queue = QueueHandle::here(Arc::new(queue));
        self.queues.write().insert(name, queue.clone());
        Ok(queue)
    }

    /// Nobody is there any more. Gives what was there.
    pub(crate) fn close(&self, name: &Name) -> Option<QueueHandle> {
        self.queues.write().remove(name)
    }

    /// Who a routing key of the default exchange leads to.
    pub(crate) fn find(&self, key: &[u8]) -> Option<QueueHandle> {
        if !key.starts_with(PREFIX.as_bytes()) {
            return None;
        }
        let name = std::str::from_utf8(key).ok()?;
        self.queues.read().get(name).cloned()
    }

    /// Is there somebody, if it is such a name at all?
    pub(crate) fn exists(&self, name: &str) -> Option<bool> {
        match name.strip_prefix(REPLY_TO)? {
            "" => Some(true),
            _ => Some(self.find(name.as_bytes()).is_some()),
        }
    }
}
