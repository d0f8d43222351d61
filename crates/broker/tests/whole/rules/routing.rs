//! Which queues a message comes to: each once, over any number of exchanges.

use std::net::SocketAddr;

use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, exchange, queue};

use crate::client::{Client, exchange, queue, short};
use crate::replies::words;

/// An exclusive queue.
fn own(client: &mut Client, name: &str) {
    client.declare(queue::Declare {
        exclusive: true,
        ..queue(name)
    });
}

fn fanout(client: &mut Client, name: &str) {
    let declare = exchange::Declare {
        exchange_type: short("fanout"),
        auto_delete: true,
        ..exchange(name)
    };
    client.call(1, declare, exchange::DeclareOk::ID);
}

fn lead(client: &mut Client, source: &str, destination: &str) {
    let bind = exchange::Bind {
        source: short(source),
        destination: short(destination),
        ..exchange::Bind::default()
    };
    client.call(1, bind, exchange::BindOk::ID);
}

/// How many messages are in the queue; they are gone then.
fn count(client: &mut Client, name: &str) -> usize {
    std::iter::from_fn(|| client.get(name, true)).count()
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        a_message_comes_to_a_queue_once,
        exchanges_in_a_diamond_or_a_circle_bring_it_once,
        stars_are_one_word_and_hashes_any_number,
        headers_match_all_or_any,
        what_finds_no_way_takes_the_alternate_one,
        an_internal_exchange_takes_what_other_exchanges_give,
        a_binding_is_there_once_and_goes_at_once,
        a_binding_lacks_its_source_before_its_target,
        a_match_that_cannot_be_is_said_as_it_came,
    }
}

fn a_message_comes_to_a_queue_once(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "once");
    for key in ["a.#", "a.*", "#", "a.b", "*.b"] {
        client.bind("once", "amq.topic", key);
    }
    client.publish_at("amq.topic", "a.b", b"x");
    assert_eq!(count(&mut client, "once"), 1);
}

fn exchanges_in_a_diamond_or_a_circle_bring_it_once(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "circle");
    for name in ["circle.a", "circle.b", "circle.c", "circle.d"] {
        fanout(&mut client, name);
    }
    lead(&mut client, "circle.a", "circle.b");
    lead(&mut client, "circle.a", "circle.c");
    lead(&mut client, "circle.b", "circle.d");
    lead(&mut client, "circle.c", "circle.d");
    lead(&mut client, "circle.d", "circle.a");
    client.bind("circle", "circle.d", "");
    client.bind("circle", "circle.a", "");
    client.publish_at("circle.a", "k", b"x");
    assert_eq!(count(&mut client, "circle"), 1);
    for name in ["circle.a", "circle.b", "circle.c", "circle.d"] {
        client.delete_exchange(name);
    }
}

fn stars_are_one_word_and_hashes_any_number(at: SocketAddr) {
    let mut client = Client::open(at);
    let mut matches = |pattern: &str, key: &str| {
        own(&mut client, "words");
        client.bind("words", "amq.topic", pattern);
        client.publish_at("amq.topic", key, b"x");
        let matched = count(&mut client, "words") == 1;
        client.delete("words");
        matched
    };
    for (pattern, key, expected) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", false),
        ("*", "a", true),
        ("*", "a.b", false),
        ("#", "", true),
        ("#", "a.b.c", true),
        ("a.#", "a", true),
        ("a.*", "a", false),
        ("a.*", "a.", true),
        ("*.b", ".b", true),
        ("a.#.b", "a.b", true),
        ("a.#.b", "a.x.y.b", true),
        ("a.#.b", "a.x.y.c", false),
        ("#.#", "a", true),
        ("*.#", "", false),
        ("*.*.#", "a", false),
        ("#.a.#", "x.a.y", true),
        ("#.a.#", "x.ab.y", false),
        ("a..b", "a..b", true),
        ("a.*.b", "a..b", true),
        ("a.*", "A.b", false),
    ] {
        assert_eq!(matches(pattern, key), expected, "{pattern:?} {key:?}");
    }
}

fn headers_match_all_or_any(at: SocketAddr) {
    let mut client = Client::open(at);
    let mut matches = |arguments: Table, headers: Table| {
        own(&mut client, "heads");
        let bind = queue::Bind {
            queue: short("heads"),
            exchange: short("amq.headers"),
            arguments,
            ..queue::Bind::default()
        };
        client.call(1, bind, queue::BindOk::ID);
        let publish = Publish {
            exchange: b"amq.headers",
            ..Publish::default()
        };
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        client.publish(&publish, &properties, b"x");
        let matched = count(&mut client, "heads") == 1;
        client.delete("heads");
        matched
    };
    let table = Table::new;
    let text = Value::text;
    let ab = || table().with("a", text("1")).with("b", text("2"));
    assert!(matches(table(), table()), "nothing asked for, all of it there");
    assert!(matches(table(), ab()));
    assert!(matches(ab(), ab()), "all is what counts unless it is said");
    assert!(!matches(ab(), table().with("a", text("1"))));
    assert!(matches(
        ab().with("x-match", text("any")),
        table().with("a", text("1"))
    ));
    assert!(!matches(
        ab().with("x-match", text("any")),
        table().with("a", text("2"))
    ));
    assert!(!matches(table().with("x-match", text("any")), ab()));
    assert!(
        matches(table().with("a", Value::Void), table().with("a", text("7"))),
        "it is there"
    );
    assert!(!matches(
        table().with("a", Value::I32(1)),
        table().with("a", text("1"))
    ));
    let number = |value| table().with("n", value);
    assert!(matches(number(Value::I64(5)), number(Value::U8(5))));
    assert!(matches(number(Value::F64(0.5)), number(Value::F32(0.5))));
    assert!(matches(number(Value::F64(5.0)), number(Value::I32(5))));
    assert!(matches(number(Value::I64(5)), number(Value::Timestamp(5))));
    assert!(matches(
        number(Value::text("a")),
        number(Value::Octets(bytes::Bytes::from_static(b"a")))
    ));
    assert!(!matches(number(Value::text("5")), number(Value::I32(5))));
    assert!(!matches(number(Value::Bool(true)), number(Value::I32(1))));
    let array = |value| number(Value::Array(vec![value]));
    assert!(!matches(array(Value::I32(5)), array(Value::I64(5))));
    let all = |mode| ab().with("x-more", text("3")).with("x-match", text(mode));
    assert!(matches(all("all"), ab()), "what begins with x- is not looked at");
    assert!(!matches(all("all-with-x"), ab()));
    assert!(matches(all("all-with-x"), ab().with("x-more", text("3"))));
    assert!(!matches(all("any"), table().with("x-more", text("3"))));
    assert!(matches(all("any-with-x"), table().with("x-more", text("3"))));
}

fn what_finds_no_way_takes_the_alternate_one(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "beside");
    fanout(&mut client, "alt.last");
    client.bind("beside", "alt.last", "");
    let alternate = |to| Table::new().with("alternate-exchange", Value::text(to));
    for (name, to) in [
        ("alt.first", "alt.second"),
        ("alt.second", "alt.last"),
        ("alt.lost", "alt.none"),
    ] {
        client.call(
            1,
            exchange::Declare {
                arguments: alternate(to),
                ..exchange(name)
            },
            exchange::DeclareOk::ID,
        );
    }
    client.publish_at("alt.first", "nobody", b"x");
    assert_eq!(count(&mut client, "beside"), 1);
    // Over an exchange that found none.
    lead(&mut client, "alt.last", "alt.first");
    client.publish_at("alt.first", "nobody", b"x");
    assert_eq!(count(&mut client, "beside"), 1, "a circle ends");
    client.publish_at("alt.lost", "nobody", b"x");
    let publish = Publish {
        exchange: b"alt.lost",
        routing_key: b"nobody",
        mandatory: true,
        ..Publish::default()
    };
    client.publish(&publish, &Properties::default(), b"x");
    assert_eq!(client.message().returned().unwrap().reply_code, 312);
    let publish = Publish {
        exchange: b"alt.first",
        ..publish
    };
    client.publish(&publish, &Properties::default(), b"x");
    assert_eq!(count(&mut client, "beside"), 1, "it was not returned");
    for name in ["alt.first", "alt.second", "alt.lost", "alt.last"] {
        client.delete_exchange(name);
    }
}

fn an_internal_exchange_takes_what_other_exchanges_give(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "inner");
    let declare = exchange::Declare {
        internal: true,
        exchange_type: short("fanout"),
        ..exchange("inside")
    };
    client.call(1, declare, exchange::DeclareOk::ID);
    fanout(&mut client, "outside");
    lead(&mut client, "outside", "inside");
    client.bind("inner", "inside", "");
    client.publish_at("outside", "k", b"x");
    assert_eq!(count(&mut client, "inner"), 1);
    client.delete_exchange("inside");
}

fn a_binding_is_there_once_and_goes_at_once(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "twice");
    client.bind("twice", "amq.direct", "twice");
    client.bind("twice", "amq.direct", "twice");
    client.publish_at("amq.direct", "twice", b"x");
    assert_eq!(count(&mut client, "twice"), 1);
    let unbind = queue::Unbind {
        queue: short("twice"),
        exchange: short("amq.direct"),
        routing_key: short("twice"),
        ..queue::Unbind::default()
    };
    client.call(1, unbind, queue::UnbindOk::ID);
    client.publish_at("amq.direct", "twice", b"x");
    assert_eq!(count(&mut client, "twice"), 0);
}

fn a_binding_lacks_its_source_before_its_target(at: SocketAddr) {
    for (queue, exchange, missing) in [
        ("nothing", "nowhere", "exchange 'nowhere'"),
        ("nothing", "amq.direct", "queue 'nothing'"),
    ] {
        let mut client = Client::open(at);
        client.send(
            1,
            queue::Bind {
                queue: short(queue),
                exchange: short(exchange),
                ..queue::Bind::default()
            },
        );
        assert_eq!(
            words(client.end(1).as_ref()),
            format!("channel 404 \"NOT_FOUND - no {missing} in vhost '/'\" (50,20)")
        );
    }
}

fn a_match_that_cannot_be_is_said_as_it_came(at: SocketAddr) {
    let mut client = Client::open(at);
    own(&mut client, "matched");
    for (value, said) in [
        (Value::U8(3), "type unsignedbyte (value 3); expected longstr"),
        (Value::Void, "type void (value undefined); expected longstr"),
        (
            Value::text(""),
            "value <<>>; expected all, any, all-with-x, or any-with-x",
        ),
    ] {
        client.send(
            1,
            queue::Bind {
                queue: short("matched"),
                exchange: short("amq.headers"),
                arguments: Table::new().with("x-match", value),
                ..queue::Bind::default()
            },
        );
        assert_eq!(
            words(client.end(1).as_ref()),
            format!("channel 406 \"PRECONDITION_FAILED - Invalid x-match field {said}\" (50,20)")
        );
        client.open_channel(1);
    }
}
