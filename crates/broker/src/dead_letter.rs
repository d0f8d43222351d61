//! What becomes of messages that left a queue without having been settled: they are published again, to the queue's
//! dead-letter exchange if it has one, and the disk may forget where they were.
//!
//! A dead letter may push others out of where it goes, or find no room there: it goes on until no message is left over.
//! That ends, since a letter does not come back to a queue unless somebody rejected it on the way ([`is_cycle`]).

use std::sync::Arc;

use warren_cluster::{Aftermath, Queue};
use warren_model::death::{Death, is_cycle};
use warren_model::queue::Reason;
use warren_model::routing::Said;
use warren_model::{Message, Millis, Name, QueueId, Selection};

use crate::node::Node;

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
    }
}

/// Letters in a row that go the same way.
#[derive(Default)]
struct Letters {
    /// Of the queue that was asked for last.
    address: Option<(QueueId, Option<Address>)>,
    way: Vec<QueueId>,
    queues: Vec<Arc<Queue>>,
    messages: Vec<(u32, Arc<Message>)>,
    /// How many there were.
    count: u32,
}

/// Where dead letters of a queue go.
struct Address {
    exchange: Name,
    key: Option<Name>,
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
        let Some((_, Some(address))) = &self.address else {
            return;
        };
        let death = Death {
            queue: &identity.name,
            reason,
            time: now,
            exchange: &address.exchange,
            key: address.key.as_deref(),
        };
        let content = death.letter(&message.content);
        let Ok(letter) = Message::new(node.message_id(), content) else {
            // Only an expiration can be wrong, and there is none any more.
            return;
        };
        let way = route(node, &identity.vhost, &letter, reason);
        if way != self.way {
            self.send(now, after);
            self.queues = way.iter().filter_map(|id| node.queue(*id)).collect();
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
        Some(Address {
            exchange: declared.meaning.dead_letter_exchange.clone()?,
            key: declared.meaning.dead_letter_key.clone(),
        })
    })
}

/// Which queues a letter goes to. None if there is no such exchange.
fn route(node: &Node, vhost: &str, letter: &Message, reason: Reason) -> Vec<QueueId> {
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
    let exchange = String::from_utf8_lossy(publish.exchange);
    let mut way = Vec::new();
    node.read(|meta| {
        let Some(vhost) = meta.vhost(vhost) else { return };
        vhost.route(&exchange, &said, &mut way);
        way.retain(|id| {
            vhost
                .queue_name(*id)
                .is_some_and(|name| !is_cycle(&letter.content, reason, name))
        });
    });
    way
}
