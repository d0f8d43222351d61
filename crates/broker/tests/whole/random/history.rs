//! What clients do, one step after the other, at random.
//!
//! Absent on purpose, since RabbitMQ itself answers now this, now that: times (what lives lives for none or for ever), and
//! messages in quorum queues (it counts those once in a while).

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use warren_amqp::content::Properties;
use warren_amqp::{
    Method, ShortString, Table, Value, basic, channel, confirm, connection, exchange, queue, tx,
};

use super::values;
use crate::client::short;

pub(crate) const CONNECTIONS: usize = 3;
/// Numbers of the channels that each connection has open.
pub(crate) const CHANNELS: [u16; 2] = [1, 2];
pub(crate) const QUEUES: [&str; 4] = ["q0", "q1", "q2", "q3"];
pub(crate) const EXCHANGES: [&str; 4] = ["x0", "x1", "x2", "x3"];
/// An exchange of its own sort.
pub(crate) const HASHES: &str = "hashes";
/// Nothing of this name is ever declared.
const MISSING: &str = "missing";
const KEYS: [&str; 8] = ["k", "a", "a.b", "a.b.c", "a.*", "#.c", "#", ""];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const TAGS: [&str; 3] = ["t0", "t1", "t2"];

/// What one client does on one of its channels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) connection: usize,
    pub(crate) channel: u16,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Method(Method),
    Publish(Box<Publish>),
    /// Ack, nack or reject. Its tag counts what the channel has: 1 is the oldest, 0 remains 0, and [`UNKNOWN`] is none.
    Settle(Method),
}

/// The tag of no message.
pub(crate) const UNKNOWN: u64 = 999;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
    pub(crate) properties: Properties,
    /// The body begins with it, unless it is shorter.
    pub(crate) mark: String,
    pub(crate) size: usize,
}

/// A history, always the same for a seed.
pub(crate) fn history(seed: u64) -> Vec<Step> {
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let length = dice.0.random_range(20..60);
    // Most have few things, so that much happens to each.
    let few = dice.0.random_range(1..=QUEUES.len());
    (0..length).map(|number| dice.step(number, few)).collect()
}

/// Decides everything.
pub(crate) struct Dice(pub(crate) StdRng);

impl Dice {
    /// Yes, once in so many times.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.0.random_ratio(1, times)
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).unwrap()
    }

    fn step(&mut self, number: usize, few: usize) -> Step {
        Step {
            connection: self.one(&[0, 0, 0, 1, 1, 2]),
            channel: self.one(&[1, 1, 2]),
            action: self.action(number, few),
        }
    }

    fn action(&mut self, number: usize, few: usize) -> Action {
        // There has to be something before something can be done with it.
        let sort = self.0.random_range(0..if number < 6 { 30 } else { 100 });
        Action::Method(match sort {
            0..12 => self.declare_queue(few).into(),
            12..18 => self.declare_exchange().into(),
            18 => self.hash(few),
            19..30 => self.bind(few),
            30..33 => self.unbind(few),
            33..56 => return Action::Publish(Box::new(self.publish(number, few))),
            56..63 => self.get(few).into(),
            63..72 => self.consume(few).into(),
            72..84 => return Action::Settle(self.settle()),
            84..87 => self.delete(few),
            87..89 => self.purge(few).into(),
            89..91 => self.cancel().into(),
            91..93 => self.qos().into(),
            93..98 => self.mode(),
            _ => self.end(),
        })
    }

    fn queue(&mut self, few: usize) -> ShortString {
        if self.once_in(25) {
            return short(self.one(&["", MISSING, "amq.queue"]));
        }
        short(self.one(&QUEUES[..few]))
    }

    fn exchange(&mut self) -> ShortString {
        match self.0.random_range(0..20) {
            0 => short(MISSING),
            1 => short(""),
            2..4 => short("amq.direct"),
            4..6 => short("amq.topic"),
            6..8 => short("amq.fanout"),
            8..10 => short("amq.headers"),
            _ => short(self.one(&EXCHANGES)),
        }
    }

    fn key(&mut self, few: usize) -> ShortString {
        let keys = if self.once_in(3) { &QUEUES[..few] } else { &KEYS };
        short(self.one(keys))
    }

    fn declare_queue(&mut self, few: usize) -> queue::Declare {
        let queue = self.queue(few);
        if self.once_in(20) {
            return queue::Declare {
                queue,
                exclusive: self.once_in(3),
                auto_delete: self.once_in(3),
                arguments: values::of_a_quorum_queue(self),
                ..queue::Declare::default()
            };
        }
        queue::Declare {
            passive: queue == short(MISSING) || self.once_in(12),
            durable: self.once_in(4),
            exclusive: self.once_in(6),
            auto_delete: self.once_in(6),
            no_wait: self.once_in(15),
            // RabbitMQ crashes when it makes up a name for one of a type that cannot be.
            arguments: match queue == short("") {
                true => Table::new(),
                false => values::of_a_queue(self),
            },
            queue,
            ..queue::Declare::default()
        }
    }

    fn declare_exchange(&mut self) -> exchange::Declare {
        let exchange = self.exchange();
        exchange::Declare {
            exchange_type: short(self.one(&KINDS)),
            passive: exchange == short(MISSING) || self.once_in(15),
            exchange,
            durable: self.once_in(6),
            auto_delete: self.once_in(5),
            internal: self.once_in(10),
            no_wait: self.once_in(15),
            arguments: values::of_an_exchange(self),
            ..exchange::Declare::default()
        }
    }

    /// Something about an exchange to which nobody publishes: what it chooses is its own affair.
    fn hash(&mut self, few: usize) -> Method {
        if self.once_in(2) {
            return Method::from(exchange::Declare {
                exchange: short(HASHES),
                exchange_type: short(self.one(&[
                    "x-consistent-hash",
                    "x-random",
                    "x-modulus-hash",
                    "nonsense",
                ])),
                arguments: values::of_a_hash(self),
                ..exchange::Declare::default()
            });
        }
        Method::from(queue::Bind {
            queue: self.queue(few),
            exchange: short(HASHES),
            routing_key: short(self.one(&["1", "2", "0", "-1", "", "x", "1.5", " 1"])),
            ..queue::Bind::default()
        })
    }

    fn bind(&mut self, few: usize) -> Method {
        let no_wait = self.once_in(15);
        let (routing_key, arguments) = (self.key(few), values::of_a_binding(self));
        if self.once_in(3) {
            return Method::from(exchange::Bind {
                // What leads to those that stay would stay.
                destination: short(self.one(&[EXCHANGES[0], EXCHANGES[1], EXCHANGES[2], MISSING, ""])),
                source: self.exchange(),
                routing_key,
                no_wait,
                arguments,
                ..exchange::Bind::default()
            });
        }
        Method::from(queue::Bind {
            queue: self.queue(few),
            exchange: self.exchange(),
            routing_key,
            no_wait,
            arguments,
            ..queue::Bind::default()
        })
    }

    fn unbind(&mut self, few: usize) -> Method {
        let (routing_key, arguments) = (self.key(few), values::of_a_binding(self));
        if self.once_in(3) {
            return Method::from(exchange::Unbind {
                destination: self.exchange(),
                source: self.exchange(),
                routing_key,
                arguments,
                ..exchange::Unbind::default()
            });
        }
        Method::from(queue::Unbind {
            queue: self.queue(few),
            exchange: self.exchange(),
            routing_key,
            arguments,
            ..queue::Unbind::default()
        })
    }

    fn publish(&mut self, number: usize, few: usize) -> Publish {
        let (exchange, routing_key) = if self.once_in(2) {
            (short(""), short(self.one(&QUEUES[..few])))
        } else {
            (self.exchange(), self.key(few))
        };
        Publish {
            exchange: exchange.to_text(),
            routing_key: routing_key.to_text(),
            mandatory: self.once_in(4),
            immediate: self.once_in(150),
            properties: values::properties(self, few),
            mark: format!("{number:02}"),
            size: self.one(&[2, 2, 2, 2, 2, 0, 20, 200, 5000, 200_000]),
        }
    }

    fn get(&mut self, few: usize) -> basic::Get {
        basic::Get {
            queue: self.queue(few),
            no_ack: self.once_in(3),
            ..basic::Get::default()
        }
    }

    fn consume(&mut self, few: usize) -> basic::Consume {
        basic::Consume {
            queue: self.queue(few),
            consumer_tag: match self.once_in(6) {
                true => short(""),
                false => short(self.one(&TAGS)),
            },
            no_local: self.once_in(10),
            no_ack: self.once_in(3),
            exclusive: self.once_in(8),
            no_wait: self.once_in(12),
            arguments: values::of_a_consumer(self),
            ..basic::Consume::default()
        }
    }

    fn settle(&mut self) -> Method {
        let delivery_tag = match self.0.random_range(0..30) {
            0 => UNKNOWN,
            1..4 => 0,
            _ => self.one(&[1, 1, 1, 2, 2, 3]),
        };
        let multiple = delivery_tag == 0 || self.once_in(4);
        let requeue = self.once_in(2);
        Method::from(match self.0.random_range(0..3) {
            0 => basic::Method::Ack(basic::Ack {
                delivery_tag,
                multiple,
            }),
            1 => basic::Method::Nack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            }),
            _ => basic::Method::Reject(basic::Reject {
                delivery_tag,
                requeue,
            }),
        })
    }

    fn delete(&mut self, few: usize) -> Method {
        let (if_unused, no_wait) = (self.once_in(3), self.once_in(10));
        if self.once_in(3) {
            return Method::from(exchange::Delete {
                exchange: self.exchange(),
                if_unused,
                no_wait,
                ..exchange::Delete::default()
            });
        }
        Method::from(queue::Delete {
            queue: self.queue(few),
            if_unused,
            if_empty: self.once_in(3),
            no_wait,
            ..queue::Delete::default()
        })
    }

    fn purge(&mut self, few: usize) -> queue::Purge {
        queue::Purge {
            queue: self.queue(few),
            no_wait: self.once_in(8),
            ..queue::Purge::default()
        }
    }

    fn cancel(&mut self) -> basic::Cancel {
        basic::Cancel {
            consumer_tag: short(self.one(&TAGS)),
            no_wait: self.once_in(8),
        }
    }

    fn qos(&mut self) -> basic::Qos {
        basic::Qos {
            prefetch_size: u32::from(self.once_in(20)),
            prefetch_count: self.one(&[0, 1, 1, 2, 3]),
            global: self.once_in(2),
        }
    }

    /// What changes how a channel goes on.
    fn mode(&mut self) -> Method {
        match self.0.random_range(0..12) {
            0..3 => confirm::Select {
                no_wait: self.once_in(5),
            }
            .into(),
            3 => tx::Select {}.into(),
            4..6 => tx::Commit {}.into(),
            6 => tx::Rollback {}.into(),
            7..10 => basic::Recover {
                requeue: !self.once_in(8),
            }
            .into(),
            10 => basic::RecoverAsync {
                requeue: !self.once_in(8),
            }
            .into(),
            _ => channel::Flow {
                active: !self.once_in(5),
            }
            .into(),
        }
    }

    /// What ends a channel or a connection, in order or not.
    fn end(&mut self) -> Method {
        match self.0.random_range(0..8) {
            0 => connection::Close::default().into(),
            1 => channel::Open::default().into(),
            _ => channel::Close::normal("").into(),
        }
    }
}

/// A table of a few of these, each with one of its values.
pub(crate) fn some_of(dice: &mut Dice, count: usize, of: &[(&'static str, Vec<Value>)]) -> Table {
    let mut table = Table::new();
    for _ in 0..count {
        let (name, values) = of.choose(&mut dice.0).unwrap();
        if table.get(name).is_none() {
            table.push(
                ShortString::from_static(name),
                values.choose(&mut dice.0).unwrap().clone(),
            );
        }
    }
    table
}
