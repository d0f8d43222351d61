//! What was declared of a queue. Its messages are elsewhere ([`crate::QueueMachine`]).

use std::sync::Arc;

use warren_amqp::{Table, Value};

use super::policy::Applied;
use crate::arguments::{QueueArguments, QueueType};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::routing::QueueId;

/// Arguments that have to be the same when a queue is declared again; others do not count.
const EQUIVALENT: [&str; 12] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
];

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its number.
    pub id: QueueId,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// The connection that alone may use it.
    pub exclusive: Option<u64>,
    /// As they were said.
    pub arguments: Table,
    /// What they mean together with what policies set.
    pub meaning: QueueArguments,
    /// What policies set for it.
    pub applied: Option<Arc<Applied>>,
}

impl Queue {
    pub(super) fn new(
        id: QueueId,
        durable: bool,
        auto_delete: bool,
        exclusive: Option<u64>,
        arguments: Table,
        name: &Name,
        vhost: &Name,
    ) -> Result<Self, Refusal> {
        let meaning = QueueArguments::parse(&arguments, durable, exclusive.is_some(), name, vhost)?;
        if auto_delete && meaning.kind == QueueType::Quorum {
            return Err(Refusal::invalid_property("auto-delete", name, vhost));
        }
        Ok(Self {
            id,
            durable,
            auto_delete,
            exclusive,
            arguments,
            meaning,
            applied: None,
        })
    }

    /// Other policies count for it.
    pub(super) fn apply(&mut self, applied: Option<Arc<Applied>>, name: &Name, vhost: &Name) {
        // They have been read before: they can be read again.
        let said = QueueArguments::parse(
            &self.arguments,
            self.durable,
            self.exclusive.is_some(),
            name,
            vhost,
        );
        if let Ok(mut meaning) = said {
            if let Some(applied) = &applied {
                meaning.add_policy(&self.arguments, &applied.definition);
            }
            self.meaning = meaning;
        }
        self.applied = applied;
    }

    /// It is there again after a restart.
    #[must_use]
    pub const fn outlives_restarts(&self) -> bool {
        self.durable && self.exclusive.is_none()
    }

    /// May this connection use it?
    ///
    /// # Errors
    /// It is another connection's own.
    pub fn check_access(&self, connection: u64, name: &str, vhost: &str) -> Result<(), Refusal> {
        match self.exclusive {
            Some(owner) if owner != connection => Err(Refusal::locked(name, vhost)),
            _ => Ok(()),
        }
    }

    /// Declared again with the same properties?
    pub(super) fn check_equivalent(&self, other: &Self, name: &str, vhost: &str) -> Result<(), Refusal> {
        for (argument, current, received) in [
            ("durable", self.durable, other.durable),
            ("auto_delete", self.auto_delete, other.auto_delete),
        ] {
            if current != received {
                let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                return Err(Refusal::inequivalent(
                    argument, "queue", name, vhost, &received, &current,
                ));
            }
        }
        if self.exclusive != other.exclusive {
            return Err(Refusal::locked(name, vhost));
        }
        let counts =
            |argument: &&&str| **argument != "x-queue-type" || self.meaning.kind != other.meaning.kind;
        EQUIVALENT.iter().filter(counts).try_for_each(|argument| {
            check_argument(&self.arguments, &other.arguments, argument, "queue", name, vhost)
        })
    }
}

/// The same value of an argument, or none in both. Numbers are the same whatever their width.
pub(super) fn check_argument(
    current: &Table,
    received: &Table,
    argument: &str,
    kind: &str,
    name: &str,
    vhost: &str,
) -> Result<(), Refusal> {
    let (current, received) = (current.get(argument), received.get(argument));
    let same = match (current, received) {
        (Some(one), Some(other)) => {
            one == other
                || crate::routing::integer(one)
                    .is_some_and(|number| Some(number) == crate::routing::integer(other))
        }
        (one, other) => one.is_none() && other.is_none(),
    };
    if same {
        return Ok(());
    }
    // With a value on both sides RabbitMQ does not say of which types they are.
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => (
            format!("'{}'", crate::arguments::print(received)),
            format!("'{}'", crate::arguments::print(current)),
        ),
        (received, current) => (said(received), said(current)),
    };
    Err(Refusal::inequivalent(
        argument, kind, name, vhost, &received, &current,
    ))
}

/// `the value '5' of type 'signedint'`, or `none`.
fn said(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            crate::arguments::print(value),
            crate::arguments::type_name(value)
        ),
    }
}
