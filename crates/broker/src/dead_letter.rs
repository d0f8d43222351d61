//! What becomes of messages that left a queue without having been settled: they are published again, to the queue's
//! dead-letter exchange if it has one, and the disk may forget where they were. So do messages whose delay is over, to the
//! exchange that delayed them.
//!
//! A dead letter may push others out of where it goes, or find no room there: it goes on until no message is left over.
//! That ends: a letter that nobody rejected does not come back to a queue ([`is_cycle`]), and others go on for so long only.

use std::sync::Arc;

use warren_amqp::Value;
use warren_amqp::content::{self, HeaderEdit};
use warren_amqp::table::ValueView;
use warren_cluster::{Aftermath, Queue, QueueHandle};
use warren_model::death::{Death, is_cycle};
use warren_model::queue::Reason;
use warren_model::routing::Said;
use warren_model::{Message, Millis, Name, QueueId, Selection};

use crate::clock::time_of_day;
use crate::node::Node;

/// How often letters push each other out in a row. With RabbitMQ one that was rejected once goes round for ever between queues that have no
/// room for it.
const ROUNDS_MAX: u32 = 256;

/// Publishes the dead letters among what queues left to be done. New messages are among what is placed then, and messages
/// that left durable queues among what is settled: both have to reach the disk together, or none.
pub(crate) fn publish(node: &Node, now: Millis, after: &mut Aftermath) {
    let mut letters = Letters::default();
    while !after.removed.is_empty() || !after.turned_away.is_empty() {
        let removed = std::mem::take(&mut after.removed);
        let turned_away = std::mem::take(&mut after.turned_away);
        for (queue, message) in turned_away {
            letters.add(node, now, &queue, &message, Reason::MaxLength, after);
        }
        for (queue, removed) in removed {
            let message = &removed.entry.message;
            letters.add(node, now, &queue, message, removed.reason, after);
            if queue.keeps(message) {
                after.settled.push((queue.identity().id, removed.entry.position));
            }
        }
        letters.send(now, after);
        letters.rounds += 1;
    }
}

/// Letters in a row that go the same way.
#[derive(Default)]
struct Letters {
    /// Of the queue that was asked for last.
    address: Option<(QueueId, Option<Address>)>,
    way: Vec<QueueId>,
    queues: Vec<QueueHandle>,
    messages: Vec<(u32, Arc<Message>)>,
    /// How many there were.
    count: u32,
    /// How often some have pushed out others.
    rounds: u32,
}

/// Where messages of a queue go that nobody settled.
enum Address {
    /// They are dead.
    DeadLetters { exchange: Name, key: Option<Name> },
    /// They waited in it for this exchange, as if they were published now.
    Delayed { exchange: Name },
}

impl Address {
    /// The message as it is published, and to which exchange.
    fn letter(
        &self,
        queue: &Name,
        message: &content::Message,
        reason: Reason,
        time: Millis,
    ) -> Option<(content::Message, &Name)> {
        match self {
            Self::DeadLetters { exchange, key } => {
                let death = Death {
                    queue,
                    reason,
                    time,
                    exchange,
                    key: key.as_deref(),
                };
                Some((death.letter(message), exchange))
            }
            Self::Delayed { exchange } if reason == Reason::Expired => Some((undelayed(message), exchange)),
            Self::Delayed { .. } => None,
        }
    }
}

/// Its delay is over: the header says so by being below 0, as with RabbitMQ's plugin.
fn undelayed(message: &content::Message) -> content::Message {
    let header = message.header();
    let said = header.headers().and_then(|headers| headers.get("x-delay"));
    let Some(delay) = said.and_then(ValueView::integer).filter(|delay| *delay > 0) else {
        return message.clone();
    };
    let value = match i32::try_from(delay) {
        Ok(delay) => Value::I32(-delay),
        Err(_) => Value::I64(-delay),
    };
    let edited = HeaderEdit::of(header).with_header("x-delay", value).finish();
    let publish = message.publish().unwrap_or_default();
    // One number for another: it can be read as before.
    let header = content::Header::read(&edited).unwrap_or(header);
    message.republished(&publish, header)
}

impl Letters {
    fn add(
        &mut self,
        node: &Node,
        now: Millis,
        queue: &Queue,
        message: &Message,
        reason: Reason,
        after: &mut Aftermath,
    ) {
        let identity = queue.identity();
        if self.address.as_ref().is_none_or(|(id, _)| *id != identity.id) {
            self.address = Some((identity.id, address(node, queue)));
        }
        let address = self.address.as_ref().and_then(|(_, address)| address.as_ref());
        let address = address.filter(|_| self.rounds < ROUNDS_MAX);
        if !matches!(address, Some(Address::Delayed { .. })) {
            let deaths = &node.registry.deaths;
            deaths.add(identity.kind, reason, address.is_some());
        }
        let Some(address) = address else { return };
        let written = address.letter(&identity.name, &message.content, reason, time_of_day());
        let Some((content, exchange)) = written else {
            return;
        };
        let Ok(letter) = Message::new(node.message_id(), content) else {
            // Only an expiration can be wrong, and there is none any more.
            return;
        };
        let dead = matches!(address, Address::DeadLetters { .. }).then_some(reason);
        let way = route(node, &identity.vhost, exchange, &letter, dead);
        if way != self.way {
            self.send(now, after);
            self.queues = way.iter().filter_map(|id| node.way(*id)).collect();
            self.way = way;
        }
        if !self.queues.is_empty() {
            // No publisher waits for it: the numbers of those who do come from the other end.
            self.messages.push((u32::MAX - self.count, Arc::new(letter)));
            self.count += 1;
        }
    }

    fn send(&mut self, now: Millis, after: &mut Aftermath) {
        if !self.messages.is_empty() {
            for queue in &self.queues {
                let messages = self.messages.iter();
                let messages = messages.map(|(number, message)| (*number, Arc::clone(message)));
                queue.publish(now, messages, after);
            }
        }
        self.messages.clear();
    }
}

fn address(node: &Node, queue: &Queue) -> Option<Address> {
    let identity = queue.identity();
    node.read(|meta| {
        let vhost = meta.vhost(&identity.vhost)?;
        let declared = vhost.queue(&identity.name).filter(|it| it.id == identity.id)?;
        let meaning = &declared.meaning;
        if let Some(exchange) = &meaning.delayed_exchange {
            return Some(Address::Delayed {
                exchange: exchange.clone(),
            });
        }
        Some(Address::DeadLetters {
            exchange: meaning.dead_letter_exchange.clone()?,
            key: meaning.dead_letter_key.clone(),
        })
    })
}

/// Which queues a letter goes to. None if there is no such exchange. One that is dead does not go round.
fn route(node: &Node, vhost: &str, exchange: &str, letter: &Message, dead: Option<Reason>) -> Vec<QueueId> {
    let Some(publish) = letter.content.publish() else {
        return Vec::new();
    };
    let header = letter.content.header();
    let keys = Selection::of(header)
        .ok()
        .flatten()
        .map(|selection| selection.keys())
        .unwrap_or_default();
    let said = Said::new(publish.routing_key, Some(header), letter.id.sequence).with_more(&keys);
    let mut way = Vec::new();
    node.read(|meta| {
        let Some(vhost) = meta.vhost(vhost) else { return };
        vhost.route(exchange, &said, &mut way);
        if let Some(reason) = dead {
            way.retain(|id| {
                let name = vhost.queue_name(*id);
                name.is_some_and(|name| !is_cycle(&letter.content, reason, name))
            });
        }
    });
    way
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warren_amqp::content::Properties;
    use warren_amqp::{Method, Table, queue};
    use warren_model::arguments::QueueType;

    use super::*;
    use crate::testing::{Client, node};

    #[tokio::test]
    async fn a_letter_that_goes_round_between_full_queues_is_gone_in_the_end() {
        let (node, address) = node().await;
        let mut client = Client::open(address).await;
        for (name, other) in [("one", "other"), ("other", "one")] {
            let declare = queue::Declare {
                queue: name.try_into().unwrap(),
                arguments: Table::new()
                    .with("x-max-length", Value::I32(0))
                    .with("x-dead-letter-exchange", Value::text(""))
                    .with("x-dead-letter-routing-key", Value::text(other)),
                ..queue::Declare::default()
            };
            client.call(declare).await;
        }
        let rejected = Table::new()
            .with("queue", Value::text("before"))
            .with("reason", Value::text("rejected"));
        let deaths = Value::Array(vec![Value::Table(rejected)]);
        let properties = Properties {
            headers: Some(Table::new().with("x-death", deaths)),
            ..Properties::default()
        };
        client.publish_with("one", &properties, b"round and round").await;
        let declared = tokio::time::timeout(
            Duration::from_secs(20),
            client.call(queue::Declare {
                queue: crate::connection::short("one"),
                passive: true,
                ..queue::Declare::default()
            }),
        );
        let declared = declared.await.expect("an answer");
        assert!(matches!(declared, Method::Queue(queue::Method::DeclareOk(it)) if it.message_count == 0));
        let counted = |went_on| {
            node.registry
                .deaths
                .get(QueueType::Classic, Reason::MaxLength, went_on)
        };
        assert_eq!((counted(true), counted(false)), (ROUNDS_MAX.into(), 1));
    }
}
