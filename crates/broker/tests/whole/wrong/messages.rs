//! Messages that cannot be published, consumed or settled so.

use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, basic, channel, confirm, exchange, tx};

use super::{Wrong, consume, sends, wrong};
use crate::client::{exchange, short};

pub(super) fn all() -> Vec<Wrong> {
    [consumers(), publishing(), settling(), modes(), reply_to()]
        .into_iter()
        .flatten()
        .collect()
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
        sends(
            "basic.cancel unknown tag (is ok)",
            basic::Cancel {
                consumer_tag: short("none"),
                no_wait: false,
            },
        ),
        sends(
            "qos prefetch_size",
            basic::Qos {
                prefetch_size: 10,
                ..basic::Qos::default()
            },
        ),
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
        sends(
            "ack unknown tag",
            basic::Ack {
                delivery_tag: 9,
                multiple: false,
            },
        ),
        sends(
            "nack unknown tag",
            basic::Nack {
                delivery_tag: 9,
                ..basic::Nack::default()
            },
        ),
        sends(
            "reject unknown tag",
            basic::Reject {
                delivery_tag: 9,
                requeue: false,
            },
        ),
        sends("recover requeue=false", basic::Recover { requeue: false }),
    ]
}

fn modes() -> Vec<Wrong> {
    vec![
        sends("channel.flow active=false", channel::Flow { active: false }),
        sends("tx.commit without select", tx::Commit {}),
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

fn reply_to() -> Vec<Wrong> {
    vec![
        sends("reply-to consume with ack", consume("amq.rabbitmq.reply-to", "t")),
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
