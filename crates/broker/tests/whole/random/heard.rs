//! What clients hear from a broker in one step, as words that two brokers can agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use warren_amqp::content::Message;
use warren_amqp::{Table, Value};

/// A connection and a channel of it. Channel 0 is the connection itself.
pub(crate) type Place = (usize, u16);

/// In one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) channels: BTreeMap<Place, Channel>,
    /// What asking for each queue led to, when all was quiet: how many messages and consumers it has.
    pub(crate) queues: BTreeMap<&'static str, String>,
}

/// On one channel. What is of different sorts is in no order that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) replies: Vec<String>,
    /// Consumer and message.
    pub(crate) deliveries: Vec<(String, String)>,
    pub(crate) returns: Vec<String>,
    /// Whether each was accepted.
    pub(crate) confirms: BTreeMap<u64, bool>,
    /// Consumers whose queue is gone.
    pub(crate) cancelled: BTreeSet<String>,
}

impl Heard {
    /// Whether brokers may differ so, and in everything from there on.
    pub(crate) fn may_differ_from(&self, other: &Self) -> bool {
        self.is_in_another_order_than(other) || self.has_lost_with_a_connection(other)
    }

    /// Whether a connection ended, and nothing else differs than what its channels got while they ended and what is left
    /// in queues: those of RabbitMQ end one after the other, and one may get what comes back from another. Ours do not.
    fn has_lost_with_a_connection(&self, other: &Self) -> bool {
        let without = |heard: &Self| {
            let mut heard = heard.clone();
            heard.queues.clear();
            let ended: Vec<usize> = heard
                .channels
                .keys()
                .filter(|place| place.1 == 0)
                .map(|place| place.0)
                .collect();
            heard
                .channels
                .retain(|place, _| place.1 == 0 || !ended.contains(&place.0));
            (ended.len(), heard)
        };
        let (mine, others) = (without(self), without(other));
        mine.0 > 0 && mine == others
    }

    /// Whether the same messages came to the same consumers, those of different consumers of a channel by other turns.
    /// Queues of RabbitMQ do not wait for each other. Which tags messages have is another matter from there on.
    fn is_in_another_order_than(&self, other: &Self) -> bool {
        *self != *other && self.sorted() == other.sorted()
    }

    fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        for channel in sorted.channels.values_mut() {
            for (_, message) in &mut channel.deliveries {
                *message = message
                    .split_once(' ')
                    .map(|(_tag, rest)| rest.to_owned())
                    .unwrap();
            }
            // Stable: what comes to one consumer has to come in order.
            channel.deliveries.sort_by(|a, b| a.0.cmp(&b.0));
        }
        sorted
    }
}

/// In words, without what the server makes up.
pub(crate) fn words(what: &impl Debug) -> String {
    let mut words = format!("{what:?}");
    for made_up in ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."] {
        let mut parts = words.split(made_up);
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(['"', '\'', ' ']).unwrap_or(part.len());
            plain.extend([made_up, &part[end..]]);
        }
        words = plain;
    }
    words
}

/// All of a message but when it died.
pub(crate) fn message(message: &Message) -> String {
    let mut properties = message.header().properties();
    properties.headers = properties.headers.map(|headers| timeless(&headers));
    let body = message.whole_body();
    let start = String::from_utf8_lossy(&body[..body.len().min(2)]).into_owned();
    words(&format_args!("{start:?} of {} {properties:?}", body.len()))
}

fn timeless(headers: &Table) -> Table {
    let value = |name: &str, value: &Value| match value {
        Value::Array(deaths) if name == "x-death" => Value::Array(
            deaths
                .iter()
                .map(|death| match death {
                    Value::Table(death) => Value::Table(
                        death
                            .iter()
                            .map(|(name, value)| match value {
                                Value::Timestamp(_) => (name.clone(), Value::Timestamp(0)),
                                value => (name.clone(), value.clone()),
                            })
                            .collect(),
                    ),
                    made_up => made_up.clone(),
                })
                .collect(),
        ),
        value => value.clone(),
    };
    headers
        .iter()
        .map(|(name, old)| (name.clone(), value(&name.to_text(), old)))
        .collect()
}
