//! Declaring what is there already, and what belongs to somebody else.

use std::net::SocketAddr;

use warren_amqp::{Method, Table, Value, basic, exchange, queue};

use crate::client::{Client, exchange, queue, short};
use crate::replies::words;

pub(crate) mod scenarios {
    crate::words::scenarios! {
        asking_for_a_queue_tells_how_much_is_in_it_whatever_else_is_said,
        a_number_is_the_same_however_wide,
        arguments_that_mean_nothing_make_no_difference,
        a_time_to_live_and_a_length_may_be_nothing,
        an_argument_that_is_gone_is_another_one,
        every_argument_that_counts_is_compared,
        a_classic_queue_may_say_so_or_not,
        an_exchange_is_named_by_a_text,
        an_exchange_that_is_there_is_compared_and_nothing_else,
        of_several_wrong_arguments_the_same_one_is_named,
        a_queue_that_is_there_is_compared_and_nothing_else,
        what_is_ones_own_is_durable_or_not_all_the_same,
        a_queue_of_ones_own_is_locked_for_everybody_else,
        a_queue_cannot_become_ones_own_later,
        without_waiting_there_is_no_answer_but_still_an_error,
    }
}

fn asking_for_a_queue_tells_how_much_is_in_it_whatever_else_is_said(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("counts")
    });
    for _ in 0..3 {
        client.publish_safely("counts", b"x");
    }
    let passive = queue::Declare {
        passive: true,
        durable: true,
        auto_delete: true,
        arguments: Table::new().with("x-max-length", Value::I32(9)),
        ..queue("counts")
    };
    let there = client.declare(passive.clone());
    assert_eq!((there.message_count, there.consumer_count), (3, 0));
    client.call(
        1,
        basic::Qos {
            prefetch_count: 1,
            ..basic::Qos::default()
        },
        basic::QosOk::ID,
    );
    client.consume_as("counts", "t");
    client.message();
    let there = client.declare(passive);
    assert_eq!((there.message_count, there.consumer_count), (2, 1));
}

fn a_number_is_the_same_however_wide(at: SocketAddr) {
    let mut client = Client::open(at);
    for value in [
        Value::I64(100),
        Value::I8(100),
        Value::I16(100),
        Value::I32(100),
        Value::U8(100),
        Value::U16(100),
        Value::U32(100),
    ] {
        client.declare(queue::Declare {
            exclusive: true,
            arguments: Table::new().with("x-message-ttl", value),
            ..queue("widths")
        });
    }
    client.send(
        1,
        queue::Declare {
            exclusive: true,
            arguments: Table::new().with("x-message-ttl", Value::I32(101)),
            ..queue("widths")
        },
    );
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'widths' in vhost '/': \
         received '101' but current is '100'\" (50,10)"
    );
}

fn arguments_that_mean_nothing_make_no_difference(at: SocketAddr) {
    let mut client = Client::open(at);
    let nonsense = |value| Table::new().with("nonsense", Value::I32(value));
    for value in [1, 2] {
        client.declare(queue::Declare {
            exclusive: true,
            // The second comes with a later RabbitMQ.
            arguments: nonsense(value).with("x-consumer-timeout", Value::text("nonsense")),
            ..queue("nonsense")
        });
        client.call(
            1,
            exchange::Declare {
                arguments: nonsense(value),
                ..exchange("nonsense")
            },
            exchange::DeclareOk::ID,
        );
    }
    client.delete_exchange("nonsense");
}

fn a_time_to_live_and_a_length_may_be_nothing(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new()
        .with("x-message-ttl", Value::I32(0))
        .with("x-max-length", Value::I32(0));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("nothing")
    });
}

fn an_argument_that_is_gone_is_another_one(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new().with("x-max-length", Value::I32(5));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("gone")
    });
    client.send(
        1,
        queue::Declare {
            exclusive: true,
            ..queue("gone")
        },
    );
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'gone' in vhost '/': \
         received none but current is the value '5' of type 'signedint'\" (50,10)"
    );
}

fn every_argument_that_counts_is_compared(at: SocketAddr) {
    let number = Value::I32;
    let text = Value::text;
    for (argument, one, other, shown) in [
        (
            "x-expires",
            number(600_000),
            number(700_000),
            ["600000", "700000"],
        ),
        ("x-message-ttl", number(1), number(2), ["1", "2"]),
        ("x-dead-letter-exchange", text("a"), text("b"), ["a", "b"]),
        ("x-dead-letter-routing-key", text("a"), text("b"), ["a", "b"]),
        ("x-max-length", number(1), number(2), ["1", "2"]),
        ("x-max-length-bytes", number(1), number(2), ["1", "2"]),
        ("x-max-priority", number(1), number(2), ["1", "2"]),
        (
            "x-overflow",
            text("drop-head"),
            text("reject-publish"),
            ["drop-head", "reject-publish"],
        ),
        ("x-queue-mode", text("default"), text("lazy"), ["default", "lazy"]),
        (
            "x-single-active-consumer",
            Value::Bool(true),
            Value::Bool(false),
            ["true", "false"],
        ),
    ] {
        let mut client = Client::open(at);
        let declare = |value: &Value| {
            let mut arguments = Table::new().with(argument, value.clone());
            if argument == "x-dead-letter-routing-key" {
                arguments = arguments.with("x-dead-letter-exchange", text("x"));
            }
            queue::Declare {
                exclusive: true,
                arguments,
                ..queue("compared")
            }
        };
        for _ in 0..2 {
            client.declare(declare(&one));
        }
        client.send(1, declare(&other));
        let [current, received] = shown;
        assert_eq!(
            words(client.end(1).as_ref()),
            format!(
                "channel 406 \"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'compared' in vhost '/': \
                 received '{received}' but current is '{current}'\" (50,10)"
            )
        );
        client.open_channel(1);
        client.delete("compared");
    }
}

fn a_classic_queue_may_say_so_or_not(at: SocketAddr) {
    let mut client = Client::open(at);
    let classic = || Table::new().with("x-queue-type", Value::text("classic"));
    for (first, second) in [(Table::new(), classic()), (classic(), Table::new())] {
        for arguments in [first, second] {
            client.declare(queue::Declare {
                exclusive: true,
                arguments,
                ..queue("classic")
            });
        }
        client.delete("classic");
    }
    client.send(
        1,
        queue::Declare {
            arguments: Table::new().with("x-queue-type", Value::I32(5)),
            ..queue("classic")
        },
    );
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'classic' in vhost '/': \
         {unacceptable_type,signedint}\" (50,10)"
    );
}

fn an_exchange_is_named_by_a_text(at: SocketAddr) {
    for (name, why) in [
        (
            "numbered",
            "406 \"PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'numbered' in \
             vhost '/'\"",
        ),
        // Names are looked at first.
        (
            "",
            "403 \"ACCESS_REFUSED - operation not permitted on the default exchange\"",
        ),
        (
            "amq.numbered",
            "403 \"ACCESS_REFUSED - exchange name 'amq.numbered' contains reserved prefix 'amq.*'\"",
        ),
    ] {
        let mut client = Client::open(at);
        client.send(
            1,
            exchange::Declare {
                arguments: Table::new().with("alternate-exchange", Value::I32(5)),
                ..exchange(name)
            },
        );
        assert_eq!(words(client.end(1).as_ref()), format!("channel {why} (40,10)"));
    }
}

fn an_exchange_that_is_there_is_compared_and_nothing_else(at: SocketAddr) {
    let mut client = Client::open(at);
    let there = |kind| exchange::Declare {
        exchange_type: short(kind),
        ..exchange("there")
    };
    client.call(1, there("x-consistent-hash"), exchange::DeclareOk::ID);
    let wrong = Table::new()
        .with("hash-header", Value::text("h"))
        .with("hash-property", Value::text("message_id"));
    let again = exchange::Declare {
        arguments: wrong.clone(),
        ..there("x-consistent-hash")
    };
    client.call(1, again, exchange::DeclareOk::ID);
    client.delete_exchange("there");
    client.call(1, there("x-random"), exchange::DeclareOk::ID);
    let other = exchange::Declare {
        arguments: wrong,
        ..there("x-consistent-hash")
    };
    client.send(1, other);
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'there' in vhost '/': received \
         ''x-consistent-hash'' but current is ''x-random''\" (40,10)"
    );
    client.open_channel(1);
    client.delete_exchange("there");
}

/// RabbitMQ has them.
#[test]
fn a_stream_is_refused_by_its_name() {
    let broker = crate::broker::Broker::start();
    let mut client = Client::open(broker.at);
    client.send(
        1,
        queue::Declare {
            durable: true,
            arguments: Table::new().with("x-queue-type", Value::text("stream")),
            ..queue("stream")
        },
    );
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'stream' in vhost '/': \
         \"unsupported queue type 'stream'\"\" (50,10)"
    );
}

/// What a declaration of the queue `named` leads to.
fn refused(client: &mut Client, declare: queue::Declare) -> String {
    client.send(1, declare);
    let ended = words(client.end(1).as_ref());
    client.open_channel(1);
    let (start, end) = ("channel 406 \"PRECONDITION_FAILED - ", "\" (50,10)");
    let text = ended.strip_prefix(start).and_then(|text| text.strip_suffix(end));
    text.unwrap_or(&ended)
        .replace(" for queue 'named' in vhost '/'", "")
}

fn of_several_wrong_arguments_the_same_one_is_named(at: SocketAddr) {
    let mut client = Client::open(at);
    let (key, exchange) = ("x-dead-letter-routing-key", "x-dead-letter-exchange");
    let (word, long) = (Value::text("word"), Value::I64(1 << 40));
    for (arguments, why) in [
        (
            Table::new()
                .with("x-overflow", Value::Void)
                .with(key, Value::I8(-1)),
            "invalid arg 'x-dead-letter-routing-key': {unacceptable_type,byte}",
        ),
        (
            Table::new()
                .with(key, Value::I8(-1))
                .with("x-expires", Value::I32(0)),
            "invalid arg 'x-expires': {value_zero,0}",
        ),
        (
            Table::new()
                .with("x-max-age", Value::Void)
                .with("x-queue-version", Value::I32(3)),
            "invalid arg 'x-queue-version': \"unsupported queue version '3'\"",
        ),
        (
            Table::new()
                .with("x-max-age", word.clone())
                .with("x-dead-letter-strategy", word),
            "invalid arg 'x-max-age' of queue type rabbit_classic_queue",
        ),
        (
            Table::new().with("x-message-ttl", long.clone()),
            "invalid arg 'x-message-ttl': {value_too_large,1099511627776}",
        ),
        (
            Table::new().with("x-expires", long).with(exchange, Value::I32(7)),
            "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'named' in vhost '/'",
        ),
    ] {
        let declare = queue::Declare {
            exclusive: true,
            arguments,
            ..queue("named")
        };
        assert_eq!(refused(&mut client, declare), why);
    }
}

fn a_queue_that_is_there_is_compared_and_nothing_else(at: SocketAddr) {
    let mut client = Client::open(at);
    let there = queue::Declare {
        arguments: Table::new().with("x-max-length", Value::I32(5)),
        ..queue("named")
    };
    client.declare(there.clone());
    let mut again = |argument, value| {
        let mut declare = there.clone();
        declare.arguments = Table::new().with(argument, value);
        refused(&mut client, declare)
    };
    let length = |value| format!("inequivalent arg 'x-max-length': received {value} but current is '5'");
    assert_eq!(again("x-max-length", Value::F64(2.0)), length("'2.0'"));
    assert_eq!(again("x-max-length", Value::Void), length("none"));
    assert_eq!(again("x-max-length", Value::text("x")), length("'x'"));
    let one = Value::Array(vec![Value::text("x"), Value::I8(1)]);
    assert_eq!(
        again("x-max-length", one),
        length("'[{longstr,<<\"x\">>},{byte,1}]'")
    );
    let table = Value::Table(Table::new().with("k", Value::Bool(true)));
    assert_eq!(again("x-max-length", table), length("'[{<<\"k\">>,bool,true}]'"));
    assert_eq!(
        again("x-expires", Value::I32(-1)),
        "inequivalent arg 'x-expires': received the value '-1' of type 'signedint' but current is none"
    );
    let locked = refused(
        &mut client,
        queue::Declare {
            exclusive: true,
            durable: true,
            ..there.clone()
        },
    );
    assert!(locked.starts_with("channel 405 "), "{locked}");
    // What means nothing here is as good as not said.
    client.declare(queue::Declare {
        arguments: there.arguments.with("x-max-age", Value::Void),
        ..queue("named")
    });
    client.delete("named");
}

fn what_is_ones_own_is_durable_or_not_all_the_same(at: SocketAddr) {
    let mut client = Client::open(at);
    for durable in [true, false, true] {
        client.declare(queue::Declare {
            exclusive: true,
            durable,
            ..queue("named")
        });
    }
}

fn a_queue_of_ones_own_is_locked_for_everybody_else(at: SocketAddr) {
    let mut owner = Client::open(at);
    owner.declare(queue::Declare {
        exclusive: true,
        ..queue("locked")
    });
    owner.bind("locked", "amq.direct", "");
    let name = || short("locked");
    let passive = queue::Declare {
        passive: true,
        ..queue("locked")
    };
    let bind = queue::Bind {
        queue: name(),
        exchange: short("amq.direct"),
        ..queue::Bind::default()
    };
    let unbind = queue::Unbind {
        queue: name(),
        exchange: short("amq.direct"),
        ..queue::Unbind::default()
    };
    let consume = basic::Consume {
        queue: name(),
        ..basic::Consume::default()
    };
    let get = basic::Get {
        queue: name(),
        ..basic::Get::default()
    };
    let purge = queue::Purge {
        queue: name(),
        ..queue::Purge::default()
    };
    let delete = queue::Delete {
        queue: name(),
        ..queue::Delete::default()
    };
    let methods: [Method; 8] = [
        queue("locked").into(),
        passive.into(),
        bind.into(),
        unbind.into(),
        consume.into(),
        get.into(),
        purge.into(),
        delete.into(),
    ];
    let mut client = Client::connect(at);
    for method in methods {
        let id = method.id();
        client.open_channel(1);
        client.send(1, method);
        assert_eq!(
            words(client.next().err().as_ref()),
            format!(
                "channel 405 \"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'locked' in vhost '/'. It could \
                 be originally declared on another connection or the exclusive property value does not match that of the \
                 original declaration.\" {id}"
            )
        );
    }
    // Publishing is none of these, and neither is what changes nothing or cannot be.
    client.open_channel(1);
    client.publish_to("locked", b"x");
    let unbind = queue::Unbind {
        queue: name(),
        exchange: short("amq.direct"),
        routing_key: short("another"),
        ..queue::Unbind::default()
    };
    client.call(1, unbind, queue::UnbindOk::ID);
    let bind = queue::Bind {
        queue: name(),
        exchange: short("nowhere"),
        ..queue::Bind::default()
    };
    client.send(1, bind);
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 404 \"NOT_FOUND - no exchange 'nowhere' in vhost '/'\" (50,20)"
    );
    assert!(owner.get("locked", true).is_some());
}

fn a_queue_cannot_become_ones_own_later(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue("common"));
    client.send(
        1,
        queue::Declare {
            exclusive: true,
            ..queue("common")
        },
    );
    assert!(words(client.end(1).as_ref()).starts_with("channel 405 \"RESOURCE_LOCKED"));
    client.open_channel(1);
    client.delete("common");
}

fn without_waiting_there_is_no_answer_but_still_an_error(at: SocketAddr) {
    let mut client = Client::open(at);
    let (q, no_wait) = (|| short("quiet"), true);
    client.send(
        1,
        exchange::Declare {
            no_wait,
            ..exchange("quiet")
        },
    );
    client.send(
        1,
        queue::Declare {
            no_wait,
            ..queue("quiet")
        },
    );
    client.send(
        1,
        queue::Bind {
            no_wait,
            queue: q(),
            exchange: q(),
            ..queue::Bind::default()
        },
    );
    client.send(
        1,
        exchange::Bind {
            no_wait,
            source: q(),
            destination: short("amq.direct"),
            ..exchange::Bind::default()
        },
    );
    client.send(
        1,
        exchange::Unbind {
            no_wait,
            source: q(),
            destination: short("amq.direct"),
            ..exchange::Unbind::default()
        },
    );
    client.send(
        1,
        basic::Consume {
            no_wait,
            queue: q(),
            consumer_tag: q(),
            no_ack: true,
            ..basic::Consume::default()
        },
    );
    client.send(
        1,
        basic::Cancel {
            no_wait,
            consumer_tag: q(),
        },
    );
    client.send(1, warren_amqp::confirm::Select { no_wait });
    client.send(
        1,
        queue::Purge {
            no_wait,
            queue: q(),
            ..queue::Purge::default()
        },
    );
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
    client.send(
        1,
        queue::Delete {
            no_wait,
            queue: q(),
            ..queue::Delete::default()
        },
    );
    client.send(
        1,
        exchange::Delete {
            no_wait,
            exchange: q(),
            ..exchange::Delete::default()
        },
    );
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
    client.send(
        1,
        queue::Declare {
            no_wait,
            passive: true,
            ..queue("quiet")
        },
    );
    assert!(words(client.next().err().as_ref()).starts_with("channel 404"));
    client.open_channel(1);
    client.send(
        1,
        queue::Bind {
            no_wait,
            queue: q(),
            exchange: q(),
            ..queue::Bind::default()
        },
    );
    assert!(words(client.next().err().as_ref()).starts_with("channel 404"));
    client.open_channel(1);
    client.send(
        1,
        basic::Consume {
            no_wait,
            queue: q(),
            ..basic::Consume::default()
        },
    );
    assert!(words(client.next().err().as_ref()).starts_with("channel 404"));
}
