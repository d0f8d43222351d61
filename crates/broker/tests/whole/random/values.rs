//! Arguments and properties, most of them such as clients send, and some that nobody should.

use rand::RngExt as _;
use warren_amqp::content::Properties;
use warren_amqp::{Table, Value};
use warren_model::arguments::integer;

use super::history::{Dice, EXCHANGES, QUEUES, some_of};
use crate::client::short;
use crate::words::texts;

/// No test lasts as long.
const FOR_EVER: i32 = 100_000_000;

fn all_of<const N: usize>(names: [&str; N]) -> Vec<Value> {
    names.map(Value::text).to_vec()
}

fn numbers<const N: usize>(numbers: [i32; N]) -> Vec<Value> {
    numbers.map(Value::I32).to_vec()
}

/// What can stand anywhere, and hardly ever should.
fn odd() -> Vec<Value> {
    vec![
        Value::Void,
        Value::Bool(true),
        Value::I8(-1),
        Value::U8(3),
        Value::I16(2),
        Value::U16(1),
        Value::I32(-1),
        Value::U32(7),
        Value::I64(5),
        // Not the same with another letter: RabbitMQ does not keep that when it takes BCC out.
        Value::I64(1 << 40),
        Value::F32(1.5),
        Value::F64(2.0),
        Value::Decimal { scale: 2, value: 314 },
        Value::text(""),
        Value::text("word"),
        // Of other octets RabbitMQ makes error texts that are none.
        Value::Octets(bytes::Bytes::from_static(b"ab")),
        Value::Timestamp(1_600_000_000),
        texts(&["a", "b"]),
        Value::Table(Table::new().with("k", Value::I32(1))),
    ]
}

/// Arguments of a quorum queue that is declared so that it cannot be. Not x-delivery-limit, of which RabbitMQ takes anything.
pub(crate) fn of_a_quorum_queue(dice: &mut Dice) -> Table {
    let names = [
        "x-quorum-initial-group-size",
        "x-dead-letter-strategy",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-queue-leader-locator",
        "x-max-priority",
        "x-queue-mode",
        "x-queue-version",
        "x-overflow",
        "x-max-age",
    ];
    let count = dice.0.random_range(0..4);
    let mut arguments = some_of(dice, count, &names.map(|name| (name, odd())));
    arguments.push(short("x-queue-type"), Value::text("quorum"));
    arguments
}

/// How many arguments there are: often none.
fn few(dice: &mut Dice) -> usize {
    dice.one(&[0, 0, 0, 1, 1, 2, 3])
}

pub(crate) fn of_a_queue(dice: &mut Dice) -> Table {
    let count = few(dice);
    if dice.once_in(12) {
        // Not x-delivery-limit, which we have for all queues, nor x-queue-master-locator: a strategy that it does not
        // know crashes RabbitMQ.
        let names = [
            "x-max-length",
            "x-max-length-bytes",
            "x-overflow",
            "x-dead-letter-exchange",
            "x-dead-letter-routing-key",
            "x-dead-letter-strategy",
            "x-max-priority",
            "x-single-active-consumer",
            "x-queue-type",
            "x-queue-mode",
            "x-queue-version",
            "x-quorum-initial-group-size",
            "x-max-in-memory-length",
            "x-max-age",
            "x-ha-policy",
            "x-unknown",
        ];
        let mut wrong: Vec<_> = names.map(|name| (name, odd())).into();
        // A time of a few milliseconds has come, or has not.
        let is_no_time = |value: &Value| !integer(value).is_some_and(|number| (1..1000).contains(&number));
        for name in ["x-message-ttl", "x-expires"] {
            wrong.push((name, odd().into_iter().filter(is_no_time).collect()));
        }
        return some_of(dice, count.max(1), &wrong);
    }
    some_of(
        dice,
        count,
        &[
            ("x-message-ttl", numbers([0, FOR_EVER])),
            ("x-expires", numbers([FOR_EVER])),
            ("x-max-length", numbers([0, 1, 2, 3])),
            ("x-max-length-bytes", numbers([1, 4, 300])),
            (
                "x-overflow",
                all_of(["drop-head", "reject-publish", "reject-publish-dlx"]),
            ),
            (
                "x-dead-letter-exchange",
                all_of(["", "x0", "x1", "amq.fanout", "missing"]),
            ),
            ("x-dead-letter-exchange", all_of(["", "x0"])),
            ("x-dead-letter-routing-key", all_of(["q0", "q1", "k"])),
            ("x-max-priority", numbers([1, 3, 255])),
            (
                "x-single-active-consumer",
                vec![Value::Bool(true), Value::Bool(false)],
            ),
            ("x-queue-mode", all_of(["lazy", "default"])),
            ("x-queue-type", all_of(["classic"])),
            ("x-queue-version", numbers([1, 2])),
            ("x-queue-master-locator", all_of(["client-local", "min-masters"])),
        ],
    )
}

pub(crate) fn of_an_exchange(dice: &mut Dice) -> Table {
    if dice.once_in(25) {
        return some_of(dice, 1, &[("alternate-exchange", odd()), ("x-unknown", odd())]);
    }
    let count = dice.one(&[0, 0, 0, 1]);
    some_of(
        dice,
        count,
        &[(
            "alternate-exchange",
            all_of(["x0", "x1", "x2", "amq.fanout", "missing"]),
        )],
    )
}

pub(crate) fn of_a_hash(dice: &mut Dice) -> Table {
    let count = dice.one(&[0, 1, 1, 2]);
    let properties = all_of(["message_id", "correlation_id", "timestamp", "user_id", ""]);
    // No numbers: RabbitMQ crashes.
    some_of(
        dice,
        count,
        &[("hash-header", all_of(["h", ""])), ("hash-property", properties)],
    )
}

pub(crate) fn of_a_binding(dice: &mut Dice) -> Table {
    let count = dice.one(&[0, 0, 1, 2, 3]);
    let matches = ["all", "any", "all-with-x", "any-with-x"];
    if dice.once_in(25) {
        return some_of(dice, 1, &[("x-match", odd())]);
    }
    let mut like_headers = headers_to_match();
    like_headers.push(("x-match", all_of(matches)));
    some_of(dice, count, &like_headers)
}

fn headers_to_match() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        (
            "h",
            vec![
                Value::I32(1),
                Value::I64(1),
                Value::F64(1.0),
                Value::Void,
                Value::text("1"),
            ],
        ),
        (
            "g",
            vec![Value::text("x"), Value::Bool(true), Value::Void, texts(&["x"])],
        ),
        ("x-h", vec![Value::I32(1), Value::text("x")]),
    ]
}

pub(crate) fn of_a_consumer(dice: &mut Dice) -> Table {
    if dice.once_in(20) {
        return some_of(dice, 1, &[("x-priority", odd()), ("x-unknown", odd())]);
    }
    let count = dice.one(&[0, 0, 1]);
    some_of(dice, count, &[("x-priority", numbers([-1, 0, 1, 10]))])
}

pub(crate) fn properties(dice: &mut Dice, few: usize) -> Properties {
    let mut properties = Properties::default();
    if dice.once_in(3) {
        properties.delivery_mode = Some(dice.one(&[1, 2, 2, 0, 3]));
    }
    if dice.once_in(3) {
        properties.priority = Some(dice.one(&[0, 1, 2, 3, 9, 255]));
    }
    if dice.once_in(6) {
        let expirations = [
            "0",
            "100000000",
            "100000000",
            "-1",
            "",
            "x",
            "1.5",
            " 1",
            "99999999999",
        ];
        properties.expiration = Some(short(dice.one(&expirations)));
    }
    if dice.once_in(12) {
        properties.user_id = Some(short(dice.one(&["guest", "guest", "somebody", ""])));
    }
    if dice.once_in(2) {
        properties.headers = Some(headers(dice, few));
    }
    if dice.once_in(10) {
        properties.content_type = Some(short("text/plain"));
        properties.correlation_id = Some(short("c"));
        properties.timestamp = Some(1);
    }
    properties
}

fn headers(dice: &mut Dice, few: usize) -> Table {
    let mut table = match dice.0.random_range(0..3) {
        0 => some_of(dice, 2, &headers_to_match()),
        1 => some_of(
            dice,
            2,
            &[
                ("h", odd()),
                ("g", odd()),
                ("x-death", odd()),
                ("CC", odd()),
                ("BCC", odd()),
            ],
        ),
        _ => Table::new(),
    };
    for name in ["CC", "BCC"] {
        if dice.once_in(4) && table.get(name).is_none() {
            let keys = [dice.one(&QUEUES[..few]), dice.one(&["k", "a.b", EXCHANGES[0]])];
            let count = dice.0.random_range(0..=keys.len());
            table.push(short(name), texts(&keys[..count]));
        }
    }
    table
}
