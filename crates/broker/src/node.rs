//! What all connections of a broker share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::registry::{Churn, Registry};
use parking_lot::RwLock;
use warren_amqp::FrameMax;
use warren_amqp::content::BODY_SIZE_DEFAULT;
use warren_cluster::queue::{Identity, Traffic};
use warren_cluster::{Aftermath, Queue};
use warren_model::meta::{Change, Command, Done, Permissions};
use warren_model::{MessageId, Meta, Millis, Name, Pattern, QueueId, Refusal};

/// What an operator may say about connections.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest frame, offered.
    pub frame_max: FrameMax,
    /// The highest channel number, offered.
    pub channel_max: u16,
    /// Seconds between signs of life, offered.
    pub heartbeat: u16,
    /// How long a client may take until its connection is open.
    pub handshake_timeout: Duration,
    /// Octets of the largest body.
    pub body_max: u64,
}

impl Default for Settings {
    /// RabbitMQ 3.10's.
    fn default() -> Self {
        Self {
            frame_max: FrameMax::DEFAULT,
            channel_max: 2047,
            heartbeat: 60,
            handshake_timeout: Duration::from_secs(10),
            body_max: BODY_SIZE_DEFAULT,
        }
    }
}

/// A broker's node.
#[derive(Debug)]
pub struct Node {
    /// `rabbit@host`.
    pub name: String,
    /// What an operator said.
    pub settings: Settings,
    meta: RwLock<Meta>,
    /// Grows with every change of the metadata: what was derived from an older one has to be derived anew.
    version: AtomicU64,
    queues: RwLock<HashMap<QueueId, Arc<Queue>>>,
    incarnation: u64,
    messages: AtomicU64,
    connections: AtomicU64,
    /// Who is connected, and what was counted.
    pub registry: Registry,
}

impl Node {
    /// A node that knows nobody but `guest`, whose password is `guest`, and the vhost `/`.
    #[must_use]
    pub fn new(name: String, settings: Settings) -> Self {
        let node = Self {
            name,
            settings,
            meta: RwLock::default(),
            version: AtomicU64::new(1),
            queues: RwLock::default(),
            incarnation: now().0,
            messages: AtomicU64::new(1),
            connections: AtomicU64::new(1),
            registry: Registry::default(),
        };
        node.furnish();
        node
    }

    fn furnish(&self) {
        let all = || Pattern::new(".*");
        let (Ok(vhost), Ok(user), Ok(tag)) = (
            Name::try_from("/"),
            Name::try_from("guest"),
            Name::try_from("administrator"),
        ) else {
            return;
        };
        let password = crate::password::hash(b"guest", rand::random());
        let commands = [
            Some(Command::AddVhost {
                name: vhost.clone(),
                description: "Default virtual host".to_owned(),
            }),
            Some(Command::PutUser {
                name: user.clone(),
                password: Some(password),
                tags: vec![tag],
            }),
            match (all(), all(), all()) {
                (Ok(configure), Ok(write), Ok(read)) => {
                    let permissions = Permissions {
                        configure,
                        write,
                        read,
                    };
                    Some(Command::SetPermissions {
                        user,
                        vhost,
                        permissions,
                    })
                }
                _ => None,
            },
        ];
        for command in commands.into_iter().flatten() {
            if let Err(refusal) = self.apply(command) {
                tracing::error!(%refusal, "default was refused");
            }
        }
    }

    /// Reads the metadata. Short: everybody else waits.
    pub fn read<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        look(&self.meta.read())
    }

    /// Changes the metadata, and queues with it.
    ///
    /// # Errors
    /// What the command asks for cannot be.
    pub fn apply(&self, command: Command) -> Result<Done, Refusal> {
        let mut after = Aftermath::default();
        let done = {
            let mut meta = self.meta.write();
            let done = meta.apply(command)?;
            for change in &done.changes {
                self.follow(&meta, change, &mut after);
            }
            if !done.changes.is_empty() {
                self.version.fetch_add(1, Ordering::Release);
            }
            done
        };
        after.tell();
        Ok(done)
    }

    /// A number that is another one after every change of the metadata.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A queue by its number.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.read().get(&id).cloned()
    }

    /// All queues, in no order, and what those counted that are gone.
    #[must_use]
    pub fn queues(&self) -> (Vec<Arc<Queue>>, Traffic) {
        let queues = self.queues.read();
        (queues.values().cloned().collect(), self.registry.retired())
    }

    /// A number for a message.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        MessageId {
            incarnation: self.incarnation,
            sequence: self.messages.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A number for a connection.
    #[must_use]
    pub fn connection_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection is gone, and with it the queues that were its own.
    pub(crate) fn forget_connection(&self, number: u64, vhost: &Name) {
        let own: Vec<Name> = self.read(|meta| {
            let queues = meta
                .vhost(vhost)
                .into_iter()
                .flat_map(warren_model::meta::Vhost::queues);
            queues
                .filter(|(_, queue)| queue.exclusive == Some(number))
                .map(|(name, _)| name.clone())
                .collect()
        });
        for name in own {
            if let Err(refusal) = self.apply(Command::DeleteQueue {
                vhost: vhost.clone(),
                name,
            }) {
                tracing::warn!(%refusal, "exclusive queue stays");
            }
        }
    }

    fn follow(&self, meta: &Meta, change: &Change, after: &mut Aftermath) {
        match change {
            Change::QueueAdded(id) => {
                let Some((vhost, name, declared)) = meta.queue(*id) else {
                    return;
                };
                let identity = Identity {
                    id: *id,
                    vhost: vhost.clone(),
                    name: name.clone(),
                    durable: declared.outlives_restarts(),
                };
                let meaning = &declared.meaning;
                let queue = Queue::new(
                    identity,
                    meaning.limits,
                    meaning.priority_max,
                    meaning.single_active,
                    now(),
                );
                self.queues.write().insert(*id, Arc::new(queue));
                Churn::one(&self.registry.churn.queues_created);
            }
            Change::QueueRemoved(id) => {
                let mut queues = self.queues.write();
                if let Some(queue) = queues.remove(id) {
                    queue.close(after);
                    // Under the lock under which sums are made.
                    self.registry.retire(queue.snapshot().traffic);
                    Churn::one(&self.registry.churn.queues_deleted);
                }
            }
            Change::VhostAdded(_)
            | Change::VhostRemoved(_)
            | Change::ExchangeAdded(..)
            | Change::ExchangeRemoved(..)
            | Change::BindingsChanged(..)
            | Change::UserChanged(_)
            | Change::UserRemoved(_) => {}
        }
    }
}

/// The time, as messages and queues know it.
#[must_use]
pub(crate) fn now() -> Millis {
    let since = warren_kit::clock::wall_clock()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
