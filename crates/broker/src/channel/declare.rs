//! Classes exchange and queue: what there is.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use warren_amqp::{ShortString, Table, Value, exchange, queue};
use warren_cluster::queue::{OnlyIf, Stays};
use warren_model::arguments::{QueueType, type_name};
use warren_model::meta::{Access, Binding, Command, Destination};
use warren_model::routing::Kind;
use warren_model::{Name, Refusal};

use super::{Around, Channel, to_name, unimplemented};
use crate::client::{Client, precondition};
use crate::clock::now;
use crate::node::NotDeleted;
use crate::registry::Churn;

impl Channel {
    pub(super) fn exchange(&self, method: exchange::Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        match method {
            exchange::Method::Declare(declare) => {
                let name = to_name(&declare.exchange)?;
                if declare.passive {
                    self.find_exchange(&name, around)?;
                    return self.answer_unless(declare.no_wait, around, exchange::DeclareOk {});
                }
                let kind = declare.exchange_type.to_text();
                let kind = match Kind::parse(&kind, &declare.arguments) {
                    // What is there already is compared; arguments of its type are read when it is new.
                    Err(refusal) if self.find_exchange(&name, around).is_ok() => {
                        Kind::parse(&kind, &Table::new()).map_err(|_| refusal)
                    }
                    kind => kind,
                }?;
                if name.is_empty() {
                    return Err(Refusal::default_exchange());
                }
                client.check(Access::Configure, "exchange", &name)?;
                if self.find_exchange(&name, around).is_err() {
                    if name.starts_with("amq.") {
                        return Err(Refusal::reserved_prefix("exchange", &name));
                    }
                    check_other(
                        &client,
                        "exchange",
                        &name,
                        &declare.arguments,
                        "alternate-exchange",
                    )?;
                }
                around.change(Command::DeclareExchange {
                    vhost: client.vhost.clone(),
                    name,
                    kind,
                    durable: declare.durable,
                    auto_delete: declare.auto_delete,
                    internal: declare.internal,
                    arguments: declare.arguments,
                })?;
                self.answer_unless(declare.no_wait, around, exchange::DeclareOk {})
            }
            exchange::Method::Delete(delete) => {
                let name = to_name(&delete.exchange)?;
                if name.is_empty() {
                    return Err(Refusal::default_exchange());
                }
                client.check(Access::Configure, "exchange", &name)?;
                around.change(Command::DeleteExchange {
                    vhost: client.vhost.clone(),
                    name,
                    if_unused: delete.if_unused,
                })?;
                self.answer_unless(delete.no_wait, around, exchange::DeleteOk {})
            }
            exchange::Method::Bind(bind) => {
                let binding = Binding {
                    source: to_name(&bind.source)?,
                    destination: Destination::Exchange(to_name(&bind.destination)?),
                    key: to_name(&bind.routing_key)?,
                    arguments: bind.arguments,
                };
                check_binding(&binding, around)?;
                around.change(Command::Bind {
                    vhost: client.vhost.clone(),
                    binding,
                })?;
                self.answer_unless(bind.no_wait, around, exchange::BindOk {})
            }
            exchange::Method::Unbind(unbind) => {
                let binding = Binding {
                    source: to_name(&unbind.source)?,
                    destination: Destination::Exchange(to_name(&unbind.destination)?),
                    key: to_name(&unbind.routing_key)?,
                    arguments: unbind.arguments,
                };
                check_binding(&binding, around)?;
                around.change(Command::Unbind {
                    vhost: client.vhost.clone(),
                    binding,
                })?;
                self.answer_unless(unbind.no_wait, around, exchange::UnbindOk {})
            }
            other => Err(unimplemented(other.id())),
        }
    }

    pub(super) fn queue(&mut self, method: queue::Method, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        match method {
            queue::Method::Declare(declare) => self.declare_queue(declare, around),
            queue::Method::Bind(bind) => {
                let queue = self.queue_name(&bind.queue)?;
                // An empty key with an empty name means the queue's own name, as the specification has it.
                let key = match bind.queue.as_bytes().is_empty() && bind.routing_key.as_bytes().is_empty() {
                    true => queue.clone(),
                    false => to_name(&bind.routing_key)?,
                };
                let binding = Binding {
                    source: to_name(&bind.exchange)?,
                    destination: Destination::Queue(queue.clone()),
                    key,
                    arguments: bind.arguments,
                };
                check_binding(&binding, around)?;
                let command = Command::Bind {
                    vhost: client.vhost.clone(),
                    binding,
                };
                client.node.read(|meta| meta.check(command.clone()))?;
                self.check_lock(&queue, around)?;
                around.change(command)?;
                self.answer_unless(bind.no_wait, around, queue::BindOk {})
            }
            queue::Method::Unbind(unbind) => {
                let queue = self.queue_name(&unbind.queue)?;
                let binding = Binding {
                    source: to_name(&unbind.exchange)?,
                    destination: Destination::Queue(queue.clone()),
                    key: to_name(&unbind.routing_key)?,
                    arguments: unbind.arguments,
                };
                check_binding(&binding, around)?;
                let command = Command::Unbind {
                    vhost: client.vhost.clone(),
                    binding,
                };
                // What is not there may be unbound by everybody.
                if client.node.read(|meta| meta.check(command.clone()))?.is_some() {
                    self.check_lock(&queue, around)?;
                    around.change(command)?;
                }
                self.answer(around, queue::UnbindOk {})
            }
            queue::Method::Purge(purge) => {
                let name = self.queue_name(&purge.queue)?;
                client.check(Access::Read, "queue", &name)?;
                let count = self.usable(&name, around)?.purge(&mut around.batch.after);
                around.flush();
                self.answer_unless(
                    purge.no_wait,
                    around,
                    queue::PurgeOk {
                        message_count: clamp(count),
                    },
                )
            }
            queue::Method::Delete(delete) => self.delete_queue(delete, around),
            other => Err(unimplemented(other.id())),
        }
    }

    fn declare_queue(&mut self, declare: queue::Declare, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = Arc::clone(around.client);
        let made_up = declare.queue.as_bytes().is_empty() && !declare.passive;
        let name = match made_up {
            true => generated("amq.gen-")?,
            false => to_name(&declare.queue)?,
        };
        if let Some(exists) = client.node.replies.exists(&name) {
            return match exists {
                true => self.declared(name, 0, 1, declare.no_wait, around),
                false => Err(Refusal::not_found("queue", &name, &client.vhost)),
            };
        }
        if !declare.passive {
            // Those of the broker's making, too: they are used, not declared again.
            if !made_up && name.starts_with("amq.") {
                return Err(Refusal::reserved_prefix("queue", &name));
            }
            client.check(Access::Configure, "queue", &name)?;
            let is_there = client.node.read(|meta| {
                let queue = meta.vhost(&client.vhost).and_then(|vhost| vhost.queue(&name));
                queue.map_or(Ok(false), |queue| {
                    queue.check_access(client.number, &name, &client.vhost)?;
                    Ok(true)
                })
            })?;
            if !is_there {
                check_other(
                    &client,
                    "queue",
                    &name,
                    &declare.arguments,
                    "x-dead-letter-exchange",
                )?;
            }
            let exclusive = declare.exclusive.then_some(client.number);
            let arguments = client.node.read(|meta| {
                let (arguments, auto_delete) = (declare.arguments.clone(), declare.auto_delete);
                match meta.vhost(&client.vhost) {
                    Some(vhost) => {
                        vhost.with_default_type(arguments, declare.durable, declare.exclusive, auto_delete)
                    }
                    None => arguments,
                }
            });
            if made_up && arguments.text("x-queue-type").as_deref() == Some(QueueType::Quorum.as_str()) {
                return Err(precondition(
                    "Cannot declare a server-named queue for type rabbit_quorum_queue",
                ));
            }
            around.change(Command::DeclareQueue {
                vhost: client.vhost.clone(),
                name: name.clone(),
                id: None,
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                exclusive,
                arguments,
            })?;
        }
        let queue = self.usable(&name, around)?;
        Churn::one(&client.node.registry.churn.queues_declared);
        queue.touch(now());
        let snapshot = queue.snapshot();
        let (messages, consumers) = (snapshot.counts.ready, snapshot.consumers as u64);
        self.declared(name, messages, consumers, declare.no_wait, around)
    }

    fn declared(
        &mut self,
        name: Name,
        messages: u64,
        consumers: u64,
        no_wait: bool,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        let answer = queue::DeclareOk {
            queue: ShortString::try_from(name.as_str()).unwrap_or_default(),
            message_count: clamp(messages),
            consumer_count: clamp(consumers),
        };
        self.last_queue = Some(name);
        self.answer_unless(no_wait, around, answer)
    }

    fn delete_queue(&self, delete: queue::Delete, around: &mut Around<'_>) -> Result<(), Refusal> {
        let client = around.client;
        let name = self.queue_name(&delete.queue)?;
        client.check(Access::Configure, "queue", &name)?;
        let message_count = match self.usable(&name, around) {
            Err(refusal) if refusal.code == warren_amqp::ReplyCode::NotFound => 0,
            Err(refusal) => return Err(refusal),
            Ok(queue) => {
                let flag = match (delete.if_unused, delete.if_empty) {
                    (true, _) => Some("if-unused"),
                    (false, true) => Some("if-empty"),
                    (false, false) => None,
                };
                if let Some(flag) = flag
                    && super::consume::is_quorum(client, &name)
                {
                    return Err(Refusal::not_with_quorum(flag, &name, &client.vhost));
                }
                let only_if = OnlyIf {
                    unused: delete.if_unused,
                    empty: delete.if_empty,
                };
                let deleted = client.node.delete_queue(&queue, only_if);
                let (ready, ticket) = deleted.map_err(|why| match why {
                    NotDeleted::Stays(Stays::InUse) => Refusal::in_use("queue", &name, &client.vhost),
                    NotDeleted::Stays(Stays::NotEmpty) => Refusal::not_empty(&name, &client.vhost),
                    NotDeleted::Refused(refusal) => refusal,
                })?;
                around.batch.await_change(client, ticket);
                ready
            }
        };
        self.answer_unless(
            delete.no_wait,
            around,
            queue::DeleteOk {
                message_count: clamp(message_count),
            },
        )
    }

    fn find_exchange(&self, name: &Name, around: &Around<'_>) -> Result<(), Refusal> {
        let client = around.client;
        if name.is_empty() {
            return Err(Refusal::default_exchange());
        }
        let found = client.node.read(|meta| {
            meta.vhost(&client.vhost)
                .is_some_and(|vhost| vhost.exchange(name).is_some())
        });
        found
            .then_some(())
            .ok_or_else(|| Refusal::not_found("exchange", name, &client.vhost))
    }

    /// May this connection bind and unbind the queue?
    fn check_lock(&self, queue: &Name, around: &Around<'_>) -> Result<(), Refusal> {
        match self.usable(queue, around) {
            Err(refusal) if refusal.code == warren_amqp::ReplyCode::ResourceLocked => Err(refusal),
            _ => Ok(()),
        }
    }
}

/// A queue or exchange that is new and gives messages to an exchange that its arguments name: who declares it has to be allowed
/// to take them here and to put them there.
fn check_other(
    client: &Client,
    kind: &str,
    name: &str,
    arguments: &Table,
    argument: &str,
) -> Result<(), Refusal> {
    match arguments.get(argument) {
        None => Ok(()),
        Some(Value::Text(other)) => {
            client.check(Access::Read, kind, name)?;
            client.check(Access::Write, "exchange", &String::from_utf8_lossy(other))
        }
        Some(other) => Err(Refusal::invalid_type(
            argument,
            type_name(other),
            kind,
            name,
            &client.vhost,
        )),
    }
}

/// A binding puts into its destination what it takes from its source.
fn check_binding(binding: &Binding, around: &Around<'_>) -> Result<(), Refusal> {
    match &binding.destination {
        Destination::Queue(name) => around.client.check(Access::Write, "queue", name)?,
        Destination::Exchange(name) => around.client.check(Access::Write, "exchange", name)?,
    }
    let client = around.client;
    client.check(Access::Read, "exchange", &binding.source)?;
    let key = binding.key.as_bytes();
    client
        .node
        .read(|meta| client.check_topic(meta, Access::Read, &binding.source, key))
}

/// A name that nobody else has: 22 characters of chance behind the prefix.
pub(super) fn generated(prefix: &str) -> Result<Name, Refusal> {
    let chance: [u8; 16] = rand::random();
    let name = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(chance));
    Name::try_from(name.as_str()).map_err(precondition)
}

/// A count as methods have room for it.
fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
