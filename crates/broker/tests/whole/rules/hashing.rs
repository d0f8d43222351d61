//! Exchanges that choose one of their queues: by the hash of something, or at random. RabbitMQ has them as plugins.

use std::net::SocketAddr;
use std::time::Instant;

use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, exchange, queue};

use crate::client::{Client, exchange, short};
use crate::replies::words;
use crate::words::{PATIENCE, table, with_headers};

/// The properties of a message by its number.
type Of = fn(u32) -> Properties;

/// An exchange that goes with its last binding, and queues that go with the client, each with its weight.
fn declare(client: &mut Client, name: &str, kind: &str, arguments: Table, queues: &[(&str, &str)]) {
    client.exchange(name, kind, arguments);
    for (queue, weight) in queues {
        client.queue(queue, []);
        client.bind(queue, name, weight);
    }
}

/// How many of so many messages each of the queues gets; they are gone then.
fn spread<const N: usize>(
    client: &mut Client,
    exchange: &str,
    queues: [&str; N],
    messages: u32,
    of: impl Fn(u32) -> (String, Properties),
) -> [u32; N] {
    for number in 0..messages {
        let (key, properties) = of(number);
        let publish = Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..Publish::default()
        };
        client.publish(&publish, &properties, b"x");
    }
    let deadline = Instant::now() + PATIENCE;
    let counts = loop {
        let counts = queues.map(|queue| client.count(queue));
        if counts.iter().sum::<u32>() >= messages {
            break counts;
        }
        assert!(Instant::now() < deadline, "{counts:?} of {messages}");
    };
    for queue in queues {
        let purge = queue::Purge {
            queue: short(queue),
            ..queue::Purge::default()
        };
        client.call(1, purge, queue::PurgeOk::ID);
    }
    assert_eq!(counts.iter().sum::<u32>(), messages, "each message once");
    counts
}

fn key(number: u32) -> (String, Properties) {
    (format!("key-{number}"), Properties::default())
}

/// How many queues got any.
fn used<const N: usize>(counts: [u32; N]) -> usize {
    counts.iter().filter(|count| **count > 0).count()
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        a_consistent_hash_goes_by_weights_and_stays,
        a_queue_has_the_weight_of_its_first_binding_until_any_of_them_goes,
        a_hash_may_be_of_a_header_of_any_type,
        a_hash_may_be_of_a_property,
        what_is_hashed_is_said_once_and_right,
        one_of_many_is_chosen_at_random_or_by_the_key,
    }
}

fn a_consistent_hash_goes_by_weights_and_stays(at: SocketAddr) {
    let mut client = Client::open(at);
    let queues = ["ha.a", "ha.b", "ha.c"];
    let weights = [("ha.a", "1"), ("ha.b", "1"), ("ha.c", "2")];
    declare(
        &mut client,
        "ha.weights",
        "x-consistent-hash",
        Table::new(),
        &weights,
    );
    let [a, b, c] = spread(&mut client, "ha.weights", queues, 2000, key);
    assert!(
        (350..650).contains(&a) && (350..650).contains(&b) && (800..1200).contains(&c),
        "{a} {b} {c}"
    );
    let same = |_| ("same".to_owned(), Properties::default());
    assert_eq!(used(spread(&mut client, "ha.weights", queues, 50, same)), 1);
    client.delete("ha.c");
    let [a, b] = spread(&mut client, "ha.weights", ["ha.a", "ha.b"], 1000, key);
    assert!((350..650).contains(&a) && (350..650).contains(&b), "{a} {b}");
}

fn a_queue_has_the_weight_of_its_first_binding_until_any_of_them_goes(at: SocketAddr) {
    let mut client = Client::open(at);
    let (exchange, queues) = ("hf.e", ["hf.a", "hf.b"]);
    let (a, b) = (queues[0], queues[1]);
    let kind = "x-consistent-hash";
    declare(&mut client, exchange, kind, Table::new(), &[(a, "3"), (b, "1")]);
    client.bind(a, exchange, "9");
    let [first, second] = spread(&mut client, exchange, queues, 2000, key);
    assert!((1350..1650).contains(&first), "{first} {second}");
    let unbind = |client: &mut Client, weight: &str| {
        let unbind = queue::Unbind {
            queue: short(a),
            exchange: short(exchange),
            routing_key: short(weight),
            ..queue::Unbind::default()
        };
        client.call(1, unbind, queue::UnbindOk::ID);
    };
    unbind(&mut client, "9");
    assert_eq!(spread(&mut client, exchange, queues, 200, key), [0, 200]);
    // The next one is the first again, though an older one is still there.
    client.bind(a, exchange, "1");
    let [first, second] = spread(&mut client, exchange, queues, 2000, key);
    assert!((850..1150).contains(&first), "{first} {second}");
    unbind(&mut client, "3");
    assert_eq!(spread(&mut client, exchange, queues, 200, key), [0, 200]);
    client.delete_exchange(exchange);
}

fn a_hash_may_be_of_a_header_of_any_type(at: SocketAddr) {
    let mut client = Client::open(at);
    let queues = ["hh.a", "hh.b", "hh.c", "hh.d"];
    let arguments = table([("hash-header", Value::text("of"))]);
    let weights = queues.map(|queue| (queue, "1"));
    declare(&mut client, "hh.e", "x-consistent-hash", arguments, &weights);
    let types: [fn(u32) -> Value; 4] = [
        |number| Value::text(&format!("text-{number}")),
        |number| Value::I32(number.cast_signed()),
        |number| Value::F64(f64::from(number) / 3.0),
        |number| Value::Array(vec![Value::U32(number)]),
    ];
    for of in types {
        let header = |number| ("key".to_owned(), with_headers([("of", of(number))]));
        assert_eq!(
            used(spread(&mut client, "hh.e", queues, 400, header)),
            4,
            "{:?}",
            of(0)
        );
        // Whatever the key is.
        let same = |number: u32| (number.to_string(), with_headers([("of", of(7))]));
        assert_eq!(
            used(spread(&mut client, "hh.e", queues, 50, same)),
            1,
            "{:?}",
            of(7)
        );
    }
    assert_eq!(
        used(spread(&mut client, "hh.e", queues, 50, key)),
        1,
        "without the header"
    );
}

fn a_hash_may_be_of_a_property(at: SocketAddr) {
    let properties: [(&str, Of); 3] = [
        ("message_id", |number| Properties {
            message_id: Some(short(&number.to_string())),
            ..Properties::default()
        }),
        ("correlation_id", |number| Properties {
            correlation_id: Some(short(&number.to_string())),
            ..Properties::default()
        }),
        ("timestamp", |number| Properties {
            timestamp: Some(u64::from(number)),
            ..Properties::default()
        }),
    ];
    for (name, of) in properties {
        let mut client = Client::open(at);
        let queues = ["a", "b", "c"].map(|queue| format!("hp.{name}.{queue}"));
        let queues = [&*queues[0], &*queues[1], &*queues[2]];
        let (exchange, arguments) = (
            format!("hp.{name}"),
            table([("hash-property", Value::text(name))]),
        );
        let weights = queues.map(|queue| (queue, "1"));
        declare(&mut client, &exchange, "x-consistent-hash", arguments, &weights);
        let other = |number| ("key".to_owned(), of(number));
        assert_eq!(
            used(spread(&mut client, &exchange, queues, 300, other)),
            3,
            "{name}"
        );
        let same = |number: u32| (number.to_string(), of(7));
        assert_eq!(
            used(spread(&mut client, &exchange, queues, 50, same)),
            1,
            "{name}"
        );
        assert_eq!(
            used(spread(&mut client, &exchange, queues, 50, key)),
            1,
            "without {name}"
        );
    }
}

fn what_is_hashed_is_said_once_and_right(at: SocketAddr) {
    let mut client = Client::open(at);
    let (header, property) = ("hash-header", "hash-property");
    for (arguments, why) in [
        (
            table([(property, Value::text("app_id"))]),
            "Unsupported property: app_id",
        ),
        (
            table([(header, Value::text("a")), (property, Value::text("message_id"))]),
            "hash-header and hash-property are mutually exclusive",
        ),
    ] {
        let declare = exchange::Declare {
            exchange_type: short("x-consistent-hash"),
            arguments,
            ..exchange("hw.wrong")
        };
        client.send(1, declare);
        assert_eq!(
            words(client.end(1).as_ref()),
            format!("channel 406 \"PRECONDITION_FAILED - {why}\" (40,10)")
        );
        client.open_channel(1);
    }
    client.exchange("hw.e", "x-consistent-hash", Table::new());
    client.queue("hw.q", []);
    for (weight, why) in [
        ("heavy", "The binding key must be an integer: <<\"heavy\">>"),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
    ] {
        let bind = queue::Bind {
            queue: short("hw.q"),
            exchange: short("hw.e"),
            routing_key: short(weight),
            ..queue::Bind::default()
        };
        client.send(1, bind);
        assert_eq!(
            words(client.end(1).as_ref()),
            format!("channel 406 \"PRECONDITION_FAILED - {why}\" (50,20)")
        );
        client.open_channel(1);
    }
    client.delete_exchange("hw.e");
}

fn one_of_many_is_chosen_at_random_or_by_the_key(at: SocketAddr) {
    let same = |_| ("same".to_owned(), Properties::default());
    for (kind, used_by_one_key) in [("x-random", 3), ("x-modulus-hash", 1)] {
        let mut client = Client::open(at);
        let queues = ["a", "b", "c"].map(|queue| format!("{kind}.{queue}"));
        let queues = [&*queues[0], &*queues[1], &*queues[2]];
        let weights = queues.map(|queue| (queue, ""));
        declare(&mut client, kind, kind, Table::new(), &weights);
        assert_eq!(used(spread(&mut client, kind, queues, 300, key)), 3, "{kind}");
        let used = used(spread(&mut client, kind, queues, 100, same));
        assert_eq!(used, used_by_one_key, "{kind}");
    }
}
