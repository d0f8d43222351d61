//! Exchanges, queues and bindings that cannot be declared, deleted or used so.

use warren_amqp::{Table, Value, basic, exchange, queue};

use super::{Wrong, consume, sends, wrong};
use crate::client::{Client, exchange, queue, short};

pub(super) fn all() -> Vec<Wrong> {
    [
        locked(),
        missing(),
        inequivalent(),
        exchanges(),
        queues(),
        bindings(),
        arguments(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn queue_with(name: &str, argument: &'static str, value: Value) -> queue::Declare {
    queue::Declare {
        arguments: Table::new().with(argument, value),
        ..queue(name)
    }
}

fn bind(name: &str, to: &str) -> queue::Bind {
    queue::Bind {
        queue: short(name),
        exchange: short(to),
        routing_key: short("k"),
        ..queue::Bind::default()
    }
}

/// An exclusive queue of another connection.
fn locked() -> Vec<Wrong> {
    fn other(name: &'static str, request: impl Fn(&mut Client) + 'static) -> Wrong {
        Wrong {
            name,
            request: Box::new(move |at| {
                let mut owner = Client::open(at);
                let declare = queue::Declare {
                    exclusive: true,
                    ..queue("rt.excl")
                };
                owner.call(1, declare, queue::DeclareOk::ID);
                let mut client = Client::open(at);
                request(&mut client);
                let ended = client.end(1);
                let delete = queue::Delete {
                    queue: short("rt.excl"),
                    ..queue::Delete::default()
                };
                owner.call(1, delete, queue::DeleteOk::ID);
                ended
            }),
        }
    }
    vec![
        other("other connection, exclusive queue: declare", |client| {
            client.send(1, queue("rt.excl"));
        }),
        other("other connection, exclusive queue: consume", |client| {
            client.send(1, consume("rt.excl", "t"));
        }),
        other("other connection, exclusive queue: delete", |client| {
            let delete = queue::Delete {
                queue: short("rt.excl"),
                ..queue::Delete::default()
            };
            client.send(1, delete);
        }),
    ]
}

fn missing() -> Vec<Wrong> {
    vec![
        sends(
            "passive queue.declare, missing",
            queue::Declare {
                passive: true,
                ..queue("rt.none")
            },
        ),
        sends(
            "passive exchange.declare, missing",
            exchange::Declare {
                passive: true,
                ..exchange("rt.none")
            },
        ),
        sends(
            "queue.purge missing",
            queue::Purge {
                queue: short("rt.none"),
                ..queue::Purge::default()
            },
        ),
        sends(
            "basic.get missing",
            basic::Get {
                queue: short("rt.none"),
                ..basic::Get::default()
            },
        ),
        sends("basic.consume missing", consume("rt.none", "t")),
    ]
}

fn inequivalent() -> Vec<Wrong> {
    let queue_argument = |name, argument, value| sends(name, queue_with("rt.q", argument, value));
    vec![
        sends(
            "queue.declare inequivalent durable",
            queue::Declare {
                durable: true,
                ..queue("rt.q")
            },
        ),
        sends(
            "queue.declare inequivalent auto_delete",
            queue::Declare {
                auto_delete: true,
                ..queue("rt.q")
            },
        ),
        queue_argument(
            "queue.declare inequivalent x-message-ttl",
            "x-message-ttl",
            Value::I32(5),
        ),
        queue_argument(
            "queue.declare inequivalent x-max-length",
            "x-max-length",
            Value::I32(5),
        ),
        queue_argument(
            "queue.declare inequivalent x-dead-letter-exchange",
            "x-dead-letter-exchange",
            Value::text("y"),
        ),
        sends(
            "queue.declare inequivalent x-queue-type",
            queue::Declare {
                durable: true,
                ..queue_with("rt.q", "x-queue-type", Value::text("quorum"))
            },
        ),
        sends(
            "exchange.declare inequivalent type",
            exchange::Declare {
                exchange_type: short("fanout"),
                ..exchange("rt.e")
            },
        ),
        sends(
            "exchange.declare inequivalent durable",
            exchange::Declare {
                durable: true,
                ..exchange("rt.e")
            },
        ),
        sends(
            "exchange.declare inequivalent auto_delete",
            exchange::Declare {
                auto_delete: true,
                ..exchange("rt.e")
            },
        ),
        sends(
            "exchange.declare inequivalent internal",
            exchange::Declare {
                internal: true,
                ..exchange("rt.e")
            },
        ),
        sends(
            "exchange.declare inequivalent alternate-exchange",
            exchange::Declare {
                arguments: Table::new().with("alternate-exchange", Value::text("y")),
                ..exchange("rt.e")
            },
        ),
    ]
}

fn exchanges() -> Vec<Wrong> {
    let delete = |name: &'static str, exchange: &'static str, if_unused: bool| {
        wrong(name, move |client| {
            if if_unused {
                client.call(1, bind("rt.q", "rt.e"), queue::BindOk::ID);
            }
            let delete = exchange::Delete {
                exchange: short(exchange),
                if_unused,
                ..exchange::Delete::default()
            };
            client.send(1, delete);
        })
    };
    vec![
        sends(
            "exchange.declare unknown type",
            exchange::Declare {
                exchange_type: short("nonsense"),
                ..exchange("rt.x")
            },
        ),
        sends("exchange.declare amq. name", exchange("amq.rt")),
        sends("exchange.declare default exchange", exchange("")),
        delete("exchange.delete default exchange", "", false),
        delete("exchange.delete amq.direct", "amq.direct", false),
        delete("exchange.delete in use, if_unused", "rt.e", true),
        delete("exchange.delete missing (is ok)", "rt.none", false),
    ]
}

fn queues() -> Vec<Wrong> {
    vec![
        sends("queue.declare amq. name", queue("amq.rt")),
        sends(
            "queue.delete missing (is ok)",
            queue::Delete {
                queue: short("rt.none"),
                ..queue::Delete::default()
            },
        ),
        wrong("queue.delete if_empty, not empty", |client| {
            client.publish_to("rt.q", b"x");
            let delete = queue::Delete {
                queue: short("rt.q"),
                if_empty: true,
                ..queue::Delete::default()
            };
            client.send(1, delete);
        }),
        wrong("queue.delete if_unused, in use", |client| {
            client.call(1, consume("rt.q", "t"), basic::ConsumeOk::ID);
            let delete = queue::Delete {
                queue: short("rt.q"),
                if_unused: true,
                ..queue::Delete::default()
            };
            client.send(1, delete);
        }),
    ]
}

fn bindings() -> Vec<Wrong> {
    let unbind = |queue: &str, from: &str| queue::Unbind {
        queue: short(queue),
        exchange: short(from),
        routing_key: short("none"),
        ..queue::Unbind::default()
    };
    vec![
        sends("queue.bind to default exchange", bind("rt.q", "")),
        sends("queue.bind missing queue", bind("rt.none", "rt.e")),
        sends("queue.bind missing exchange", bind("rt.q", "rt.none")),
        sends("queue.unbind missing binding (is ok)", unbind("rt.q", "rt.e")),
        sends("queue.unbind missing exchange (is ok)", unbind("rt.q", "rt.none")),
        sends(
            "headers bind, bad x-match",
            queue::Bind {
                arguments: Table::new().with("x-match", Value::text("some")),
                ..bind("rt.q", "amq.headers")
            },
        ),
    ]
}

fn arguments() -> Vec<Wrong> {
    let argument = |name, argument, value| sends(name, queue_with("rt.bad", argument, value));
    let text = Value::text;
    vec![
        argument(
            "queue.declare {'x-message-ttl': -1}",
            "x-message-ttl",
            Value::I32(-1),
        ),
        argument("queue.declare {'x-message-ttl': 'x'}", "x-message-ttl", text("x")),
        argument("queue.declare {'x-expires': 0}", "x-expires", Value::I32(0)),
        argument(
            "queue.declare {'x-max-length': -1}",
            "x-max-length",
            Value::I32(-1),
        ),
        argument(
            "queue.declare {'x-max-priority': 256}",
            "x-max-priority",
            Value::I32(256),
        ),
        argument(
            "queue.declare {'x-max-priority': -1}",
            "x-max-priority",
            Value::I32(-1),
        ),
        argument(
            "queue.declare {'x-overflow': 'nonsense'}",
            "x-overflow",
            text("nonsense"),
        ),
        argument(
            "queue.declare {'x-dead-letter-exchange': 7}",
            "x-dead-letter-exchange",
            Value::I32(7),
        ),
        argument(
            "queue.declare {'x-dead-letter-routing-key': 'k'}",
            "x-dead-letter-routing-key",
            text("k"),
        ),
        argument(
            "queue.declare {'x-queue-type': 'nonsense'}",
            "x-queue-type",
            text("nonsense"),
        ),
        argument(
            "queue.declare {'x-single-active-consumer': 'x'}",
            "x-single-active-consumer",
            text("x"),
        ),
        argument(
            "queue.declare {'x-queue-mode': 'nonsense'}",
            "x-queue-mode",
            text("nonsense"),
        ),
        argument("quorum queue not durable", "x-queue-type", text("quorum")),
        sends(
            "quorum queue exclusive",
            queue::Declare {
                durable: true,
                exclusive: true,
                ..queue_with("rt.bad", "x-queue-type", Value::text("quorum"))
            },
        ),
    ]
}
