//! What clients may do wrong, each by the name that it has in the recording.

use std::net::SocketAddr;

use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, basic, channel, confirm, connection, exchange, queue, tx};

use super::client::{Client, Ended, Hello, exchange, frame, queue, short, shout};

/// A wrong request, made on a connection of its own.
pub(crate) struct Wrong {
    pub(crate) name: &'static str,
    /// Gives how the channel or the connection ended, if it did.
    pub(crate) request: Box<dyn Fn(SocketAddr) -> Option<Ended>>,
}

/// All of them.
pub(crate) fn all() -> Vec<Wrong> {
    let groups = [
        locked(),
        missing(),
        inequivalent(),
        exchanges(),
        queues(),
        bindings(),
        consumers(),
        publishing(),
        settling(),
        modes(),
        arguments(),
        reply_to(),
        channels(),
        frames(),
        contents(),
        properties(),
        methods(),
        handshakes(),
        protocols(),
    ];
    groups.into_iter().flatten().collect()
}

/// On a connection with channel 1 and what the requests are about, `rt.q` and `rt.e`.
fn wrong(name: &'static str, request: impl Fn(&mut Client) + 'static) -> Wrong {
    on_channel(1, name, request)
}

fn on_channel(channel: u16, name: &'static str, request: impl Fn(&mut Client) + 'static) -> Wrong {
    Wrong {
        name,
        request: Box::new(move |at| {
            let mut client = furnished(at);
            request(&mut client);
            client.end(channel)
        }),
    }
}

fn furnished(at: SocketAddr) -> Client {
    let mut client = Client::open(at);
    for name in ["rt.q", "rt.bad"] {
        let delete = queue::Delete {
            queue: short(name),
            ..queue::Delete::default()
        };
        client.call(1, delete, queue::DeleteOk::ID);
    }
    for name in ["rt.e", "rt.int"] {
        let delete = exchange::Delete {
            exchange: short(name),
            ..exchange::Delete::default()
        };
        client.call(1, delete, exchange::DeleteOk::ID);
    }
    client.call(1, queue("rt.q"), queue::DeclareOk::ID);
    client.call(1, exchange("rt.e"), exchange::DeclareOk::ID);
    client
}

fn queue_with(name: &str, argument: &'static str, value: Value) -> queue::Declare {
    queue::Declare {
        arguments: Table::new().with(argument, value),
        ..queue(name)
    }
}

fn consume(name: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: short(name),
        consumer_tag: short(tag),
        ..basic::Consume::default()
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
        wrong("passive queue.declare, missing", |client| {
            let declare = queue::Declare {
                passive: true,
                ..queue("rt.none")
            };
            client.send(1, declare);
        }),
        wrong("passive exchange.declare, missing", |client| {
            let declare = exchange::Declare {
                passive: true,
                ..exchange("rt.none")
            };
            client.send(1, declare);
        }),
        wrong("queue.purge missing", |client| {
            let purge = queue::Purge {
                queue: short("rt.none"),
                ..queue::Purge::default()
            };
            client.send(1, purge);
        }),
        wrong("basic.get missing", |client| {
            let get = basic::Get {
                queue: short("rt.none"),
                ..basic::Get::default()
            };
            client.send(1, get);
        }),
        wrong("basic.consume missing", |client| {
            client.send(1, consume("rt.none", "t"));
        }),
    ]
}

fn inequivalent() -> Vec<Wrong> {
    let queue_argument = |name, argument, value: Value| {
        wrong(name, move |client| {
            client.send(1, queue_with("rt.q", argument, value.clone()));
        })
    };
    vec![
        wrong("queue.declare inequivalent durable", |client| {
            let declare = queue::Declare {
                durable: true,
                ..queue("rt.q")
            };
            client.send(1, declare);
        }),
        wrong("queue.declare inequivalent auto_delete", |client| {
            let declare = queue::Declare {
                auto_delete: true,
                ..queue("rt.q")
            };
            client.send(1, declare);
        }),
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
        wrong("queue.declare inequivalent x-queue-type", |client| {
            let declare = queue::Declare {
                durable: true,
                ..queue_with("rt.q", "x-queue-type", Value::text("quorum"))
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare inequivalent type", |client| {
            let declare = exchange::Declare {
                exchange_type: short("fanout"),
                ..exchange("rt.e")
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare inequivalent durable", |client| {
            let declare = exchange::Declare {
                durable: true,
                ..exchange("rt.e")
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare inequivalent auto_delete", |client| {
            let declare = exchange::Declare {
                auto_delete: true,
                ..exchange("rt.e")
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare inequivalent internal", |client| {
            let declare = exchange::Declare {
                internal: true,
                ..exchange("rt.e")
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare inequivalent alternate-exchange", |client| {
            let declare = exchange::Declare {
                arguments: Table::new().with("alternate-exchange", Value::text("y")),
                ..exchange("rt.e")
            };
            client.send(1, declare);
        }),
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
        wrong("exchange.declare unknown type", |client| {
            let declare = exchange::Declare {
                exchange_type: short("nonsense"),
                ..exchange("rt.x")
            };
            client.send(1, declare);
        }),
        wrong("exchange.declare amq. name", |client| {
            client.send(1, exchange("amq.rt"));
        }),
        wrong("exchange.declare default exchange", |client| {
            client.send(1, exchange(""));
        }),
        delete("exchange.delete default exchange", "", false),
        delete("exchange.delete amq.direct", "amq.direct", false),
        delete("exchange.delete in use, if_unused", "rt.e", true),
        delete("exchange.delete missing (is ok)", "rt.none", false),
    ]
}

fn queues() -> Vec<Wrong> {
    vec![
        wrong("queue.declare amq. name", |client| {
            client.send(1, queue("amq.rt"))
        }),
        wrong("queue.delete missing (is ok)", |client| {
            let delete = queue::Delete {
                queue: short("rt.none"),
                ..queue::Delete::default()
            };
            client.send(1, delete);
        }),
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
        wrong("queue.bind to default exchange", |client| {
            client.send(1, bind("rt.q", ""));
        }),
        wrong("queue.bind missing queue", |client| {
            client.send(1, bind("rt.none", "rt.e"));
        }),
        wrong("queue.bind missing exchange", |client| {
            client.send(1, bind("rt.q", "rt.none"));
        }),
        wrong("queue.unbind missing binding (is ok)", move |client| {
            client.send(1, unbind("rt.q", "rt.e"));
        }),
        wrong("queue.unbind missing exchange (is ok)", move |client| {
            client.send(1, unbind("rt.q", "rt.none"));
        }),
        wrong("headers bind, bad x-match", |client| {
            let bind = queue::Bind {
                arguments: Table::new().with("x-match", Value::text("some")),
                ..bind("rt.q", "amq.headers")
            };
            client.send(1, bind);
        }),
    ]
}

fn consumers() -> Vec<Wrong> {
    vec![
        wrong("basic.consume tag reused", |client| {
            client.call(1, consume("rt.q", "t"), basic::ConsumeOk::ID);
            client.send(1, consume("rt.q", "t"));
        }),
        wrong("basic.consume exclusive, in use", |client| {
            client.call(1, consume("rt.q", "t"), basic::ConsumeOk::ID);
            let consume = basic::Consume {
                exclusive: true,
                ..consume("rt.q", "u")
            };
            client.send(1, consume);
        }),
        wrong("basic.cancel unknown tag (is ok)", |client| {
            let cancel = basic::Cancel {
                consumer_tag: short("none"),
                no_wait: false,
            };
            client.send(1, cancel);
        }),
        wrong("qos prefetch_size", |client| {
            let qos = basic::Qos {
                prefetch_size: 10,
                ..basic::Qos::default()
            };
            client.send(1, qos);
        }),
    ]
}

fn publishing() -> Vec<Wrong> {
    let with = |name, properties: fn() -> Properties| {
        wrong(name, move |client| {
            let publish = Publish {
                routing_key: b"rt.q",
                ..Publish::default()
            };
            client.publish(&publish, &properties(), b"x");
        })
    };
    vec![
        wrong("publish to missing exchange", |client| {
            let publish = Publish {
                exchange: b"rt.none",
                ..Publish::default()
            };
            client.publish(&publish, &Properties::default(), b"x");
        }),
        wrong("publish to internal exchange", |client| {
            let declare = exchange::Declare {
                internal: true,
                ..exchange("rt.int")
            };
            client.call(1, declare, exchange::DeclareOk::ID);
            let publish = Publish {
                exchange: b"rt.int",
                ..Publish::default()
            };
            client.publish(&publish, &Properties::default(), b"x");
        }),
        wrong("publish immediate=true", |client| {
            let publish = Publish {
                routing_key: b"rt.q",
                immediate: true,
                ..Publish::default()
            };
            client.publish(&publish, &Properties::default(), b"x");
        }),
        with("publish wrong user_id", || Properties {
            user_id: Some(short("other")),
            ..Properties::default()
        }),
        with("publish bad expiration", || Properties {
            expiration: Some(short("soon")),
            ..Properties::default()
        }),
        with("publish CC not an array", || Properties {
            headers: Some(Table::new().with("CC", Value::text("x"))),
            ..Properties::default()
        }),
    ]
}

fn settling() -> Vec<Wrong> {
    vec![
        wrong("ack unknown tag", |client| {
            let ack = basic::Ack {
                delivery_tag: 9,
                multiple: false,
            };
            client.send(1, ack);
        }),
        wrong("nack unknown tag", |client| {
            let nack = basic::Nack {
                delivery_tag: 9,
                ..basic::Nack::default()
            };
            client.send(1, nack);
        }),
        wrong("reject unknown tag", |client| {
            let reject = basic::Reject {
                delivery_tag: 9,
                requeue: false,
            };
            client.send(1, reject);
        }),
        wrong("recover requeue=false", |client| {
            client.send(1, basic::Recover { requeue: false });
        }),
    ]
}

fn modes() -> Vec<Wrong> {
    vec![
        wrong("channel.flow active=false", |client| {
            client.send(1, channel::Flow { active: false });
        }),
        wrong("tx.commit without select", |client| client.send(1, tx::Commit {})),
        wrong("tx.select on a confirm channel", |client| {
            client.call(1, confirm::Select::default(), confirm::SelectOk::ID);
            client.send(1, tx::Select {});
        }),
        wrong("confirm.select on a tx channel", |client| {
            client.call(1, tx::Select {}, tx::SelectOk::ID);
            client.send(1, confirm::Select::default());
        }),
    ]
}

fn arguments() -> Vec<Wrong> {
    let argument = |name, argument, value: Value| {
        wrong(name, move |client| {
            client.send(1, queue_with("rt.bad", argument, value.clone()));
        })
    };
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
        wrong("quorum queue exclusive", |client| {
            let declare = queue::Declare {
                durable: true,
                exclusive: true,
                ..queue_with("rt.bad", "x-queue-type", Value::text("quorum"))
            };
            client.send(1, declare);
        }),
    ]
}

fn reply_to() -> Vec<Wrong> {
    vec![
        wrong("reply-to consume with ack", |client| {
            client.send(1, consume("amq.rabbitmq.reply-to", "t"));
        }),
        wrong("reply-to publish without consumer", |client| {
            let publish = Publish {
                routing_key: b"rt.q",
                ..Publish::default()
            };
            let properties = Properties {
                reply_to: Some(short("amq.rabbitmq.reply-to")),
                ..Properties::default()
            };
            client.publish(&publish, &properties, b"x");
        }),
    ]
}

fn channels() -> Vec<Wrong> {
    vec![
        wrong("second channel.open", |client| {
            client.send(1, channel::Open::default());
        }),
        on_channel(7, "method on a channel not open", |client| {
            client.send(7, queue("rt.q"));
        }),
        // Channels are counted; their numbers may be any.
        on_channel(3000, "channel above channel_max", |client| {
            client.send(3000, channel::Open::default());
        }),
        wrong("heartbeat on channel 1", |client| {
            client.send_raw(&frame(8, 1, b""));
        }),
        wrong("connection method on channel 1", |client| {
            client.send(1, connection::Open::default());
        }),
        wrong("channel method on channel 0", |client| {
            client.send(0, queue("rt.q"))
        }),
    ]
}

/// `basic.publish` to the default exchange.
const PUBLISH: [u8; 9] = [0, 60, 0, 40, 0, 0, 0, 0, 0];

/// The header of a content with so much body and no properties.
fn header(class: u8, size: u8) -> [u8; 14] {
    [0, class, 0, 0, 0, 0, 0, 0, 0, 0, 0, size, 0, 0]
}

fn frames() -> Vec<Wrong> {
    vec![
        wrong("unknown frame type", |client| {
            client.send_raw(&frame(99, 1, b"x"))
        }),
        wrong("wrong frame end", |client| {
            let mut octets = frame(1, 1, &[0, 20, 0, 10]);
            *octets.last_mut().unwrap() = 0;
            client.send_raw(&octets);
        }),
        wrong("frame above frame_max", |client| {
            client.send_raw(&frame(1, 1, &PUBLISH));
            client.send_raw(&frame(2, 1, &header(60, 0)[..]));
            client.send_raw(&frame(3, 1, &[b'x'; 131_172]));
        }),
        wrong("unknown class", |client| {
            client.send_raw(&frame(1, 1, &[0, 99, 0, 10]))
        }),
        wrong("unknown method", |client| {
            client.send_raw(&frame(1, 1, &[0, 50, 0, 99]))
        }),
        wrong("method short of its arguments", |client| {
            client.send_raw(&frame(1, 1, &[0, 50, 0, 10, 0, 0]));
        }),
    ]
}

fn contents() -> Vec<Wrong> {
    fn parts(name: &'static str, parts: impl Fn() -> Vec<Vec<u8>> + 'static) -> Wrong {
        wrong(name, move |client| client.send_raw(&parts().concat()))
    }
    vec![
        parts("header frame with no method", || {
            vec![frame(2, 1, &header(60, 1))]
        }),
        parts("body frame with no method", || vec![frame(3, 1, b"x")]),
        parts("method in place of header", || {
            vec![frame(1, 1, &PUBLISH), frame(1, 1, &PUBLISH)]
        }),
        parts("header of another class", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &header(50, 1))]
        }),
        parts("weight 1", || {
            let heavy = [0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &heavy)]
        }),
        parts("header class 10", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &header(10, 1))]
        }),
        parts("header too short", || {
            vec![frame(1, 1, &PUBLISH), frame(2, 1, &[0, 60, 0, 0, 0, 0])]
        }),
        parts("method in body", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 2)),
                frame(3, 1, b"x"),
                frame(1, 1, &PUBLISH),
            ]
        }),
        parts("header in body", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 2)),
                frame(3, 1, b"x"),
                frame(2, 1, &header(60, 1)),
            ]
        }),
        parts("body too long", || {
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 1)),
                frame(3, 1, b"xx"),
                frame(1, 1, &PUBLISH),
            ]
        }),
        parts("body too long later", || {
            let body = [frame(3, 1, b"ab"), frame(3, 1, b"cd")].concat();
            vec![
                frame(1, 1, &PUBLISH),
                frame(2, 1, &header(60, 3)),
                body,
                frame(1, 1, &PUBLISH),
            ]
        }),
        Wrong {
            name: "body longer than announced",
            request: Box::new(|at| {
                let mut client = furnished(at);
                client.open_channel(2);
                let parts = [
                    frame(1, 1, &PUBLISH),
                    frame(2, 1, &header(60, 1)),
                    frame(3, 1, b"xx"),
                ];
                client.send_raw(&parts.concat());
                client.end(2)
            }),
        },
        wrong("message above max_message_size", |client| {
            let size = (134_217_728_u64 + 1).to_be_bytes();
            let header = [&[0, 60, 0, 0][..], &size, &[0, 0]].concat();
            client.send_raw(&frame(1, 1, &PUBLISH));
            client.send_raw(&frame(2, 1, &header));
            for _ in 0..1024 {
                client.send_raw(&frame(3, 1, &[0; 131_064]));
            }
            client.send_raw(&frame(3, 1, &[0; 8193]));
        }),
    ]
}

/// Properties that cannot be read.
fn properties() -> Vec<Wrong> {
    fn flags(name: &'static str, flags: &'static [u8]) -> Wrong {
        wrong(name, move |client| {
            let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], flags].concat();
            client.send_raw(&[frame(1, 1, &PUBLISH), frame(2, 1, &header)].concat());
        })
    }
    vec![
        flags("header cut flags", b""),
        flags("header one flag octet", b"\x80"),
        flags("properties cut", b"\x80\x00\x05ab"),
        flags("properties surplus", b"\x80\x00\x02abc"),
        flags("property table cut", b"\x20\x00\x00\x00\x00\x09\x01kS\x00"),
        flags("property table bad letter", b"\x20\x00\x00\x00\x00\x04\x01k?\x00"),
    ]
}

fn methods() -> Vec<Wrong> {
    fn octets(name: &'static str, channel: u16, kind: u8, octets: &'static [u8]) -> Wrong {
        wrong(name, move |client| client.send_raw(&frame(kind, channel, octets)))
    }
    vec![
        octets(
            "declare not utf8",
            1,
            1,
            b"\0\x32\0\x0a\0\0\x02\xff\xfe\0\0\0\0\0",
        ),
        octets("publish cut", 1, 1, b"\0\x3c\0\x28\0\0\x05ab"),
        octets("credit", 1, 1, b"\0\x3c\0\xc8\x01q\0\0\0\0\0\0\0\0\0"),
        octets("ack trailing", 1, 1, b"\0\x3c\0\x50\0\0\0\0\0\0\0\0\0x"),
        octets(
            "declare-ok from client",
            1,
            1,
            b"\0\x32\0\x0b\x01q\0\0\0\0\0\0\0\0",
        ),
        wrong("deliver from client", |client| {
            let deliver = basic::Deliver::default();
            client.send(1, deliver);
            client.send_raw(&[frame(2, 1, &header(60, 1)), frame(3, 1, b"x")].concat());
        }),
        wrong("return from client", |client| {
            client.send(1, basic::Return::default());
            client.send_raw(&[frame(2, 1, &header(60, 1)), frame(3, 1, b"x")].concat());
        }),
        wrong("open on 0", |client| client.send(0, channel::Open::default())),
        wrong("queue method on 0", |client| client.send(0, queue("rt.q"))),
        octets("header on 0", 0, 2, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        octets("body on 0", 0, 3, b"x"),
    ]
}

fn handshakes() -> Vec<Wrong> {
    fn hello(name: &'static str, change: impl Fn(&mut Hello) + 'static) -> Wrong {
        Wrong {
            name,
            request: Box::new(move |at| {
                let mut hello = Hello::guest();
                change(&mut hello);
                hello.say(at).err()
            }),
        }
    }
    fn wrong_password(hello: &mut Hello) {
        hello.start.response = warren_amqp::handshake::plain("guest", "wrong");
    }
    fn understands_refusals() -> Table {
        let can = [(short("authentication_failure_close"), Value::Bool(true))];
        Table::new().with("capabilities", Value::Table(can.into_iter().collect()))
    }
    vec![
        hello("wrong password, with capability", |hello| {
            wrong_password(hello);
            hello.start.client_properties = understands_refusals();
        }),
        hello("wrong password, without", wrong_password),
        hello("unknown vhost", |hello| {
            hello.vhost = "no-such";
            hello.start.client_properties = understands_refusals();
        }),
        hello("unknown mechanism", |hello| {
            hello.start.mechanism = short("NONSENSE")
        }),
        hello("frame_max 100", |hello| hello.tune.frame_max = 100),
        hello("frame_max above the server's", |hello| {
            hello.tune.frame_max = 10_000_000;
        }),
        hello("channel_max above the server's", |hello| {
            hello.tune.channel_max = 60_000;
        }),
    ]
}

/// A server that does not speak what is asked for says what it speaks and hangs up.
fn protocols() -> Vec<Wrong> {
    fn header(name: &'static str, octets: &'static [u8]) -> Wrong {
        Wrong {
            name,
            request: Box::new(move |at| {
                // A method on channel 0 is longer than a protocol header.
                let (heard, open) = shout(at, octets, |heard| heard.len() > 8);
                if open {
                    assert!(heard.starts_with(&[1, 0, 0, 0, 0]), "{name}: {heard:?}");
                    return None;
                }
                assert_eq!(&heard[..], b"AMQP\x00\x00\x09\x01", "{name}");
                Some(Ended::Silently)
            }),
        }
    }
    vec![
        header("protocol header 0-8", b"AMQP\x01\x01\x08\x00"),
        header("protocol header HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        header("protocol header 1-0", b"AMQP\x00\x01\x00\x00"),
    ]
}
