//! What was declared of a queue. Its messages are elsewhere ([`crate::QueueMachine`]).

use std::sync::Arc;

use warren_amqp::{Table, Value};

use super::policy::Applied;
use crate::arguments::{QueueArguments, QueueType};
use crate::name::Name;
use crate::refusal::Refusal;
use crate::routing::{QueueId, integer};

/// Arguments that have to be the same when a queue is declared again; others do not count.
const CLASSIC: [&str; 14] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    TYPE,
    "x-queue-master-locator",
    "x-delivery-limit",
];
const QUORUM: [&str; 15] = [
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    TYPE,
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];
const TYPE: &str = "x-queue-type";

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
        let meaning = QueueArguments::parse(&arguments, name, vhost)?;
        if meaning.kind == QueueType::Quorum {
            for (is_so, property) in [
                (auto_delete, "auto-delete"),
                (exclusive.is_some(), "exclusive-owner"),
                (!durable, "non-durable"),
            ] {
                if is_so {
                    return Err(Refusal::invalid_property(property, name, vhost));
                }
            }
        }
        Ok(Self {
            id,
            // What goes with its connection does not outlive it, whatever was said.
            durable: durable && exclusive.is_none(),
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
        let said = QueueArguments::parse(&self.arguments, name, vhost);
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
        self.durable
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

    /// Declared again with the same properties? Arguments that cannot be are other ones.
    pub(super) fn check_equivalent(
        &self,
        durable: bool,
        auto_delete: bool,
        exclusive: Option<u64>,
        arguments: &Table,
        name: &str,
        vhost: &str,
    ) -> Result<(), Refusal> {
        if self.exclusive != exclusive {
            return Err(Refusal::locked(name, vhost));
        }
        for (argument, current, received) in [
            ("durable", self.durable, durable && exclusive.is_none()),
            ("auto_delete", self.auto_delete, auto_delete),
        ] {
            if current != received {
                let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                return Err(Refusal::inequivalent(
                    argument, "queue", name, vhost, &received, &current,
                ));
            }
        }
        let counted: &[&str] = match self.meaning.kind {
            QueueType::Classic => &CLASSIC,
            QueueType::Quorum => &QUORUM,
        };
        let is_classic = |arguments: &Table| match arguments.get(TYPE) {
            None => true,
            Some(kind) => *kind == Value::text(QueueType::Classic.as_str()),
        };
        let both_classic = is_classic(&self.arguments) && is_classic(arguments);
        counted
            .iter()
            .filter(|argument| **argument != TYPE || !both_classic)
            .try_for_each(|argument| {
                check_argument(&self.arguments, arguments, argument, "queue", name, vhost)
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
        (Some(one), Some(other)) => one == other || are_one_number(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    if same {
        return Ok(());
    }
    // With a value on both sides RabbitMQ does not say of which types they are.
    let (received, current) = match (received, current) {
        (Some(received), Some(current)) => (shown(received), shown(current)),
        (received, current) => (said(received), said(current)),
    };
    Err(Refusal::inequivalent(
        argument, kind, name, vhost, &received, &current,
    ))
}

fn are_one_number(one: &Value, other: &Value) -> bool {
    let float = |value: &Value| match value {
        Value::F32(number) => Some(f64::from(*number)),
        Value::F64(number) => Some(*number),
        _ => None,
    };
    let (integers, floats) = ((integer(one), integer(other)), (float(one), float(other)));
    matches!(integers, (Some(one), Some(other)) if one == other)
        || matches!(floats, (Some(one), Some(other)) if one == other)
}

/// `'5'`. A value that is none is as good as no value.
fn shown(value: &Value) -> String {
    match value {
        Value::Void => "none".to_owned(),
        value => format!("'{}'", crate::arguments::print(value)),
    }
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
