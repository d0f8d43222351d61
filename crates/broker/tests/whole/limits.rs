//! Queues that are full, queues that nobody uses, and keys that a publisher names beside the one of his message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use warren_amqp::client::Event;
use warren_amqp::content::{Message, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, Value, basic, channel, queue};

use super::client::{Client, Ended, short};
use super::words::{Heard, PATIENCE, body, deaths, dying_into, headers, living, texts, with_headers};

fn a_full_queue_refuses_what_it_is_told_to(at: SocketAddr) {
    for (mode, dead) in [("reject-publish", false), ("reject-publish-dlx", true)] {
        let mut client = Client::open(at);
        // A connection that is gone may have its queues for a moment yet.
        let (refused, full) = (&*format!("li.refused.{mode}"), &*format!("li.full.{mode}"));
        client.queue(refused, []);
        let [exchange, key] = dying_into(refused);
        client.queue(
            full,
            [
                exchange,
                key,
                ("x-max-length", Value::I32(1)),
                ("x-overflow", Value::text(mode)),
            ],
        );
        client.select_confirms();
        let accepted = client.put_confirmed(full, 1, &["1", "2", "3"]);
        assert_eq!(accepted, [true, false, false], "{mode}");
        assert_eq!(client.drain(full), ["1"]);
        if dead {
            let letters = [client.wait_for(refused), client.wait_for(refused)];
            assert_eq!(deaths(&letters[0]), [(1, "maxlen".to_owned(), full.to_owned())]);
            assert_eq!(letters.map(|letter| body(&letter)), ["2", "3"]);
        }
        assert_eq!(client.count(refused), 0, "{mode}");
        assert_eq!(
            client.put_confirmed(full, 4, &["4"]),
            [true],
            "there is room again"
        );
    }
}

fn a_queue_without_room_refuses_what_a_consumer_would_take(at: SocketAddr) {
    for (mode, expected) in [("reject-publish", false), ("drop-head", true)] {
        let mut client = Client::open(at);
        let name = &*format!("li.none.{mode}");
        client.queue(
            name,
            [("x-max-length", Value::I32(0)), ("x-overflow", Value::text(mode))],
        );
        client.select_confirms();
        client.consume(basic::Consume {
            queue: short(name),
            no_ack: true,
            ..basic::Consume::default()
        });
        client.put(name, &Properties::default(), "now or never");
        if expected {
            assert_eq!(body(&client.delivered()), "now or never");
        }
        assert_eq!(
            client.hear(1),
            [if expected { Heard::Ack(1) } else { Heard::Nack(1) }]
        );
    }
}

fn a_message_refused_by_one_of_its_queues_is_refused(at: SocketAddr) {
    let mut client = Client::open(at);
    client.exchange("li.fanout", "fanout", warren_amqp::Table::new());
    client.queue("li.open", []);
    client.queue(
        "li.closed",
        [
            ("x-max-length", Value::I32(0)),
            ("x-overflow", Value::text("reject-publish")),
        ],
    );
    client.bind("li.open", "li.fanout", "");
    client.bind("li.closed", "li.fanout", "");
    client.select_confirms();
    let publish = Publish {
        exchange: b"li.fanout",
        ..Publish::default()
    };
    client.publish(&publish, &Properties::default(), b"half");
    assert_eq!(client.hear(1), [Heard::Nack(1)]);
    assert_eq!(
        client.drain("li.open"),
        ["half"],
        "the others have it all the same"
    );
}

fn a_queue_that_nobody_uses_goes(at: SocketAddr) {
    let mut client = Client::open(at);
    let mut other = Client::open(at);
    let declare = |name: &str| queue::Declare {
        queue: short(name),
        arguments: super::words::table([("x-expires", Value::I32(600))]),
        ..queue::Declare::default()
    };
    client.declare(declare("li.idle"));
    client.declare(declare("li.used"));
    client.put("li.idle", &Properties::default(), "does not keep it");
    other.consume(basic::Consume {
        queue: short("li.used"),
        ..basic::Consume::default()
    });
    let exists = |name: &str| {
        let mut asking = Client::open(at);
        let passive = queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        };
        asking.send(1, passive);
        match asking.next() {
            Ok(_) => true,
            Err(Ended::Closed { code: 404, .. }) => false,
            Err(ended) => panic!("{ended:?}"),
        }
    };
    // Every question is a use, so that it is asked rarely.
    let goes = |name: &str| {
        let started = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(1300));
            if !exists(name) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{name} stays");
        }
    };
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(50));
        assert!(exists("li.idle"), "it was used");
    }
    goes("li.idle");
    assert!(exists("li.used"), "a consumer keeps it");
    drop(other);
    goes("li.used");
}

fn every_key_that_is_named_leads_on_once(at: SocketAddr) {
    let mut client = Client::open(at);
    for name in ["li.to", "li.cc", "li.bcc"] {
        client.queue(name, []);
    }
    let properties = with_headers([
        ("CC", texts(&["li.cc", "li.to", "li.cc"])),
        ("BCC", texts(&["li.bcc", "li.cc"])),
    ]);
    client.put("li.to", &properties, "copies");
    for name in ["li.to", "li.cc", "li.bcc"] {
        let message = client.wait_for(name);
        assert_eq!(message.get_ok().unwrap().routing_key, b"li.to", "{name}");
        let headers = headers(&message);
        assert_eq!(headers.get("CC"), Some(&texts(&["li.cc", "li.to", "li.cc"])));
        assert_eq!(headers.get("BCC"), None);
        assert_eq!(client.count(name), 0, "{name} has it once");
    }
}

fn what_is_returned_has_no_blind_copies(at: SocketAddr) {
    let mut client = Client::open(at);
    let publish = Publish {
        routing_key: b"li.nowhere",
        mandatory: true,
        ..Publish::default()
    };
    let properties = with_headers([("BCC", texts(&["li.nobody"])), ("app", Value::I32(1))]);
    client.select_confirms();
    client.publish(&publish, &properties, b"back");
    let Ok(Event::Message { message, .. }) = client.next() else {
        panic!("it did not come back");
    };
    assert_eq!(message.returned().unwrap().reply_code, 312);
    let names: Vec<String> = headers(&message).iter().map(|(name, _)| name.to_text()).collect();
    assert_eq!(names, ["app"]);
    assert_eq!(client.hear(1), [Heard::Ack(1)], "after that it is acked");
}

fn a_time_to_live_is_checked_even_if_nobody_gets_the_message(at: SocketAddr) {
    for (text, why) in [
        ("-1", "{value_negative,-1}"),
        ("1s", "{leftover_string,\"s\"}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        let mut client = Client::open(at);
        client.put("li.nowhere", &living(text), "");
        let Some(Ended::Closed { code, text: said, .. }) = client.end(1) else {
            panic!("{text} was accepted");
        };
        let expected = format!("PRECONDITION_FAILED - invalid expiration '{text}': {why}");
        assert_eq!((code, said), (406, expected));
    }
}

fn priorities_of_consumers_are_numbers(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("li.priority", []);
    let consume = |priority: Value| basic::Consume {
        queue: short("li.priority"),
        arguments: super::words::table([("x-priority", priority)]),
        ..basic::Consume::default()
    };
    client.consume(consume(Value::I64(1 << 40)));
    client.consume(consume(Value::I32(-5)));
    client.send(1, consume(Value::text("high")));
    let Err(Ended::Closed { code, text, .. }) = client.next() else {
        panic!("a text was accepted");
    };
    let expected = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'li.priority' in vhost '/': \"expected integer, got longstr\"";
    assert_eq!((code, text.as_str()), (406, expected));
}

fn a_message_that_is_delivered_at_once_need_not_live(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("li.now", []);
    client.consume(basic::Consume {
        queue: short("li.now"),
        ..basic::Consume::default()
    });
    client.put("li.now", &living("0"), "at once");
    let message = client.delivered();
    assert_eq!(body(&message), "at once");
    assert_eq!(message.header().expiration(), Some(&b"0"[..]));
    // Its time is over when it comes back.
    client.reject(message.deliver().unwrap().delivery_tag, true);
    assert_eq!(client.end(1), None);
    let deadline = Instant::now() + PATIENCE;
    while client.count("li.now") > 0 {
        assert!(Instant::now() < deadline);
    }
    client.send(1, basic::Qos::default());
    match client.next() {
        Ok(Event::Method { method, .. }) => {
            assert!(matches!(method, Method::Basic(basic::Method::QosOk(_))));
        }
        other => panic!("{other:?}"),
    }
}

fn the_oldest_are_dead_when_there_are_too_many_octets(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("li.octets.dead", []);
    let [exchange, key] = dying_into("li.octets.dead");
    client.queue(
        "li.octets",
        [exchange, key, ("x-max-length-bytes", Value::I32(10))],
    );
    client.select_confirms();
    // The last is larger than all there may be: nothing of it stays.
    let accepted = client.put_confirmed("li.octets", 1, &["1234", "5678", "90", "abcdef", "more than ten"]);
    assert_eq!(accepted, [true; 5], "those that are dropped are confirmed");
    for expected in ["1234", "5678", "90", "abcdef", "more than ten"] {
        let letter = client.wait_for("li.octets.dead");
        assert_eq!(body(&letter), expected);
        assert_eq!(
            deaths(&letter),
            [(1, "maxlen".to_owned(), "li.octets".to_owned())]
        );
    }
    assert_eq!(client.count("li.octets"), 0);
}

fn a_key_for_dead_letters_takes_the_place_of_all_others(at: SocketAddr) {
    let mut client = Client::open(at);
    for name in ["li.key.dead", "li.key.cc"] {
        client.queue(name, []);
    }
    let [exchange, key] = dying_into("li.key.dead");
    client.queue("li.key", [exchange, key, ("x-message-ttl", Value::I32(1))]);
    let properties = with_headers([("CC", texts(&["li.key.cc"]))]);
    client.put("li.key", &properties, "to one");
    let letter = client.wait_for("li.key.dead");
    assert_eq!(headers(&letter).get("CC"), None);
    assert_eq!(
        body(&client.wait_for("li.key.cc")),
        "to one",
        "the message itself"
    );
    assert_eq!(client.count("li.key.cc"), 0, "and not the letter");
}

fn the_next_active_consumer_gets_what_the_last_one_had(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("li.single", [("x-single-active-consumer", Value::Bool(true))]);
    client.open_channel(2);
    for (channel, tag) in [(1, "first"), (2, "second")] {
        let limit = basic::Qos {
            prefetch_count: 2,
            ..basic::Qos::default()
        };
        client.call(channel, limit, basic::QosOk::ID);
        let consume = basic::Consume {
            queue: short("li.single"),
            consumer_tag: short(tag),
            ..basic::Consume::default()
        };
        client.call(channel, consume, basic::ConsumeOk::ID);
    }
    for text in ["1", "2", "3"] {
        client.put("li.single", &Properties::default(), text);
    }
    let told = |message: &Message| {
        let delivered = message.deliver().unwrap();
        let tag = String::from_utf8_lossy(delivered.consumer_tag).into_owned();
        (body(message), tag, delivered.redelivered)
    };
    for text in ["1", "2"] {
        assert_eq!(
            told(&client.message()),
            (text.to_owned(), "first".to_owned(), false)
        );
    }
    // The first has as much as it may have, and still nobody else gets anything before it goes.
    client.send(1, channel::Close::default());
    let mut second = Vec::new();
    let mut is_closed = false;
    while second.len() < 2 || !is_closed {
        match client.next() {
            Ok(Event::Message { channel: 2, message }) => second.push(told(&message)),
            Ok(Event::Method { method, .. }) if method.id() == channel::CloseOk::ID => is_closed = true,
            other => panic!("{other:?}"),
        }
    }
    let expected = ["1", "2"].map(|text| (text.to_owned(), "second".to_owned(), true));
    assert_eq!(second, expected);
}

pub(crate) mod scenarios {
    super::super::words::scenarios![
        a_full_queue_refuses_what_it_is_told_to,
        a_queue_without_room_refuses_what_a_consumer_would_take,
        a_message_refused_by_one_of_its_queues_is_refused,
        a_queue_that_nobody_uses_goes,
        every_key_that_is_named_leads_on_once,
        what_is_returned_has_no_blind_copies,
        a_time_to_live_is_checked_even_if_nobody_gets_the_message,
        priorities_of_consumers_are_numbers,
        a_message_that_is_delivered_at_once_need_not_live,
        the_oldest_are_dead_when_there_are_too_many_octets,
        a_key_for_dead_letters_takes_the_place_of_all_others,
        the_next_active_consumer_gets_what_the_last_one_had,
    ];
}
