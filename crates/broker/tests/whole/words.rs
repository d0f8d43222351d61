//! What tests of messages say to a broker: declare, publish, fetch, on channel 1.

use std::time::{Duration, Instant};

use warren_amqp::client::Event;
use warren_amqp::content::{Message, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, ShortString, Table, Value, basic, confirm, exchange, queue};

use super::client::{Client, short};

/// Longer than any of the times to live in tests, on a machine that does a lot besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A table of texts and numbers.
pub(crate) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(name, value)| (short(name), value))
        .collect()
}

/// Properties with these headers.
pub(crate) fn with_headers<const N: usize>(entries: [(&str, Value); N]) -> Properties {
    Properties {
        headers: Some(table(entries)),
        ..Properties::default()
    }
}

/// Properties with a time to live.
pub(crate) fn living(milliseconds: &'static str) -> Properties {
    Properties {
        expiration: Some(ShortString::from_static(milliseconds)),
        ..Properties::default()
    }
}

/// An array of texts.
pub(crate) fn texts(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::text(text)).collect())
}

/// Arguments of a queue that sends its dead letters to a queue.
pub(crate) fn dying_into(queue: &str) -> [(&'static str, Value); 2] {
    [
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text(queue)),
    ]
}

/// Headers of a message.
pub(crate) fn headers(message: &Message) -> Table {
    message.header().properties().headers.unwrap_or_default()
}

/// Count, reason and queue of each of its deaths.
pub(crate) fn deaths(message: &Message) -> Vec<(i64, String, String)> {
    let Some(Value::Array(deaths)) = headers(message).get("x-death").cloned() else {
        return Vec::new();
    };
    let tables = deaths.into_iter().map(|death| match death {
        Value::Table(table) => table,
        other => panic!("{other:?} is no death"),
    });
    tables
        .map(|death| {
            let Some(Value::I64(count)) = death.get("count") else {
                panic!("{death:?}");
            };
            let text = |name| death.text(name).unwrap();
            (*count, text("reason"), text("queue"))
        })
        .collect()
}

/// What a publisher hears, in order. Whether an answer is for several does not count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Ack(u64),
    Nack(u64),
    Returned(String),
}

impl Client {
    /// A queue that goes with this connection.
    pub(crate) fn queue<const N: usize>(&mut self, name: &str, arguments: [(&str, Value); N]) {
        self.declare(queue::Declare {
            queue: short(name),
            exclusive: true,
            arguments: table(arguments),
            ..queue::Declare::default()
        });
    }

    pub(crate) fn declare(&mut self, declare: queue::Declare) -> queue::DeclareOk {
        match self.call(1, declare, queue::DeclareOk::ID) {
            Method::Queue(queue::Method::DeclareOk(declared)) => declared,
            other => panic!("{other:?}"),
        }
    }

    /// How many messages are ready in a queue.
    pub(crate) fn count(&mut self, name: &str) -> u32 {
        let passive = queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        };
        self.declare(passive).message_count
    }

    pub(crate) fn exchange(&mut self, name: &str, kind: &str, arguments: Table) {
        let declare = exchange::Declare {
            exchange: short(name),
            exchange_type: short(kind),
            auto_delete: true,
            arguments,
            ..exchange::Declare::default()
        };
        self.call(1, declare, exchange::DeclareOk::ID);
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(key),
            ..queue::Bind::default()
        };
        self.call(1, bind, queue::BindOk::ID);
    }

    /// Publishes to a queue.
    pub(crate) fn put(&mut self, queue: &str, properties: &Properties, body: &str) {
        let publish = Publish {
            routing_key: queue.as_bytes(),
            ..Publish::default()
        };
        self.publish(&publish, properties, body.as_bytes());
    }

    /// Fetches a message and is done with it, if there is one.
    pub(crate) fn take(&mut self, queue: &str) -> Option<Message> {
        self.fetch(queue, true)
    }

    /// Fetches a message, if there is one.
    pub(crate) fn fetch(&mut self, queue: &str, no_ack: bool) -> Option<Message> {
        self.send(
            1,
            basic::Get {
                queue: short(queue),
                no_ack,
                ..basic::Get::default()
            },
        );
        match self.next() {
            Ok(Event::Message { message, .. }) => Some(message),
            Ok(Event::Method { method, .. }) if method.id() == basic::GetEmpty::ID => None,
            other => panic!("basic.get led to {other:?}"),
        }
    }

    /// Fetches a message that comes in time.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, queue: &str) -> Message {
        self.wait_for_unacked(queue, true)
    }

    /// Fetches a message that comes in time, and may have to settle it.
    #[track_caller]
    pub(crate) fn wait_for_unacked(&mut self, queue: &str, no_ack: bool) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.fetch(queue, no_ack) {
                return message;
            }
            assert!(Instant::now() < deadline, "no message came to {queue}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Begins to consume.
    pub(crate) fn consume(&mut self, consume: basic::Consume) {
        self.call(1, consume, basic::ConsumeOk::ID);
    }

    /// The next message that is delivered.
    #[track_caller]
    pub(crate) fn delivered(&mut self) -> Message {
        match self.next() {
            Ok(Event::Message { message, .. }) if message.deliver().is_some() => message,
            other => panic!("no delivery, but {other:?}"),
        }
    }

    pub(crate) fn select_confirms(&mut self) {
        self.call(1, confirm::Select::default(), confirm::SelectOk::ID);
    }

    /// What is heard until so many messages are confirmed or refused, counted as single ones.
    #[track_caller]
    pub(crate) fn hear(&mut self, last: u64) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let one = match self.next() {
                Ok(Event::Method {
                    method: Method::Basic(basic::Method::Ack(ack)),
                    ..
                }) => Heard::Ack(ack.delivery_tag),
                Ok(Event::Method {
                    method: Method::Basic(basic::Method::Nack(nack)),
                    ..
                }) => Heard::Nack(nack.delivery_tag),
                Ok(Event::Message { message, .. }) => {
                    let returned = message.returned().unwrap();
                    Heard::Returned(String::from_utf8_lossy(returned.routing_key).into_owned())
                }
                other => panic!("{other:?}"),
            };
            let is_last = matches!(one, Heard::Ack(tag) | Heard::Nack(tag) if tag == last);
            heard.push(one);
            if is_last {
                return heard;
            }
        }
    }

    /// Publishes one message after another, each when the one before is settled: which were accepted.
    pub(crate) fn put_confirmed(&mut self, queue: &str, first: u64, bodies: &[&str]) -> Vec<bool> {
        let mut accepted = Vec::new();
        for (tag, body) in (first..).zip(bodies) {
            self.put(queue, &Properties::default(), body);
            accepted.push(matches!(*self.hear(tag), [Heard::Ack(..)]));
        }
        accepted
    }

    /// The bodies of all messages in a queue.
    pub(crate) fn drain(&mut self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(queue))
            .map(|message| body(&message))
            .collect()
    }

    pub(crate) fn ack(&mut self, tag: u64, multiple: bool) {
        self.send(
            1,
            basic::Ack {
                delivery_tag: tag,
                multiple,
            },
        );
    }

    pub(crate) fn reject(&mut self, tag: u64, requeue: bool) {
        self.send(
            1,
            basic::Reject {
                delivery_tag: tag,
                requeue,
            },
        );
    }
}

/// The body of a message.
pub(crate) fn body(message: &Message) -> String {
    String::from_utf8_lossy(&message.whole_body()).into_owned()
}

/// Scenarios: each a test of ours, and all of them asked of RabbitMQ where it is installed.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                super::$name(crate::broker::Broker::start().at);
            }
        )*

        /// What is expected of us is what RabbitMQ does.
        pub(crate) const ALL: &[(&str, fn(std::net::SocketAddr))] = &[$((stringify!($name), super::$name)),*];
    };
}
pub(crate) use scenarios;
