//! Consumers, what they have, and what becomes of it.

use std::net::SocketAddr;

use warren_amqp::client::{Event, Login};
use warren_amqp::content::{Message, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value, basic, channel, queue};

use crate::client::{Client, queue, short};
use crate::replies::words;
use crate::words::living;

/// An exclusive queue with these messages, on a client's channel 1.
fn with_messages(at: SocketAddr, name: &str, bodies: &[&str]) -> Client {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue(name)
    });
    for body in bodies {
        client.publish_to(name, body.as_bytes());
    }
    client
}

fn consume(name: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: short(name),
        consumer_tag: short(tag),
        ..basic::Consume::default()
    }
}

fn prefetch(client: &mut Client, prefetch_count: u16, global: bool) {
    client.call(
        1,
        basic::Qos {
            prefetch_count,
            global,
            ..basic::Qos::default()
        },
        basic::QosOk::ID,
    );
}

/// Tag, body and whether it was delivered before.
fn delivered(client: &mut Client) -> (u64, String, bool) {
    told(&client.message())
}

fn told(message: &Message) -> (u64, String, bool) {
    let body = String::from_utf8(message.whole_body().to_vec()).unwrap();
    match (message.deliver(), message.get_ok()) {
        (Some(deliver), _) => (deliver.delivery_tag, body, deliver.redelivered),
        (None, Some(got)) => (got.delivery_tag, body, got.redelivered),
        (None, None) => panic!("{message:?}"),
    }
}

fn ack(delivery_tag: u64, multiple: bool) -> basic::Ack {
    basic::Ack {
        delivery_tag,
        multiple,
    }
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> basic::Nack {
    basic::Nack {
        delivery_tag,
        multiple,
        requeue,
    }
}

fn taken(client: &mut Client, name: &str) -> Vec<(String, bool)> {
    std::iter::from_fn(|| client.get(name, true))
        .map(|message| told(&message))
        .map(|(_, body, redelivered)| (body, redelivered))
        .collect()
}

pub(crate) mod scenarios {
    crate::words::scenarios! {
        what_comes_back_from_a_channel_is_not_for_others_that_end_with_it,
        a_consumer_hears_that_it_is_one_before_its_first_message,
        a_tag_may_be_used_again_after_it_was_cancelled,
        a_consumer_hears_that_its_queue_is_gone,
        who_does_not_understand_is_not_told_that_a_queue_is_gone,
        cancelling_leaves_what_the_client_has,
        what_a_channel_had_comes_back_in_order_when_it_closes,
        messages_given_back_stand_where_they_stood,
        many_are_settled_at_once,
        all_of_none_may_be_settled_and_nothing_twice,
        tags_are_those_of_their_channel,
        a_tag_of_what_needs_no_answer_cannot_be_answered,
        fetching_tells_how_many_are_left,
        what_has_expired_is_not_left,
        a_limit_is_for_each_consumer_to_come,
        a_limit_of_a_channel_is_for_all_its_consumers,
        under_a_limit_of_a_channel_everybody_has_his_turn,
        who_does_not_answer_waits_for_the_limit_of_his_channel,
        who_does_not_answer_has_no_limit,
        recovering_brings_all_that_is_not_settled_again,
        a_consumer_alone_is_alone,
        higher_consumers_come_first_until_they_have_enough,
        a_rank_is_a_number,
        one_of_many_consumers_is_active_and_another_follows,
        consumers_take_turns,
        urgent_messages_come_first,
        a_full_queue_drops_its_oldest_but_not_what_somebody_has,
        purging_leaves_what_somebody_has,
        recovering_needs_no_answer,
        channels_take_turns_and_get_what_is_their_own,
        fetching_goes_on_beside_a_single_active_consumer,
    }
}

fn a_consumer_hears_that_it_is_one_before_its_first_message(at: SocketAddr) {
    let mut client = with_messages(at, "first", &["a", "b"]);
    // `call` takes nothing else.
    let answer = client.call(1, consume("first", ""), basic::ConsumeOk::ID);
    let warren_amqp::Method::Basic(basic::Method::ConsumeOk(ok)) = answer else {
        panic!("{answer:?}")
    };
    let tag = ok.consumer_tag.to_text();
    assert!(tag.starts_with("amq.ctag-") && tag.len() == 31, "{tag}");
    let message = client.message();
    assert_eq!(message.deliver().unwrap().consumer_tag, tag.as_bytes());
    assert_eq!(told(&message), (1, "a".to_owned(), false));
    assert_eq!(delivered(&mut client), (2, "b".to_owned(), false));
}

fn a_tag_may_be_used_again_after_it_was_cancelled(at: SocketAddr) {
    let mut client = with_messages(at, "again", &[]);
    for _ in 0..3 {
        client.call(1, consume("again", "t"), basic::ConsumeOk::ID);
        client.call(
            1,
            basic::Cancel {
                consumer_tag: short("t"),
                no_wait: false,
            },
            basic::CancelOk::ID,
        );
    }
}

fn a_consumer_hears_that_its_queue_is_gone(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue("vanishes"));
    client.call(1, consume("vanishes", "one"), basic::ConsumeOk::ID);
    Client::open(at).delete("vanishes");
    let expected = basic::Cancel {
        consumer_tag: short("one"),
        no_wait: true,
    };
    assert_eq!(
        client.next(),
        Ok(Event::Method {
            channel: 1,
            method: expected.into()
        })
    );
    // The tag is free, and cancelling what is gone is fine.
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("vanishes")
    });
    client.call(1, consume("vanishes", "one"), basic::ConsumeOk::ID);
}

/// RabbitMQ ends the connection.
#[test]
fn an_answer_to_the_news_that_a_queue_is_gone_is_taken() {
    let broker = crate::broker::Broker::start();
    let at = broker.at;
    let mut client = Client::open(at);
    client.declare(queue("answered"));
    client.call(1, consume("answered", "one"), basic::ConsumeOk::ID);
    Client::open(at).delete("answered");
    assert!(matches!(client.next(), Ok(Event::Method { method, .. }) if method.id() == basic::Cancel::ID));
    client.send(
        1,
        basic::CancelOk {
            consumer_tag: short("one"),
        },
    );
    assert_eq!(client.end(1), None);
}

fn who_does_not_understand_is_not_told_that_a_queue_is_gone(at: SocketAddr) {
    let login = Login {
        properties: Table::new(),
        ..Login::plain("guest", "guest", "/", "test").unwrap()
    };
    let mut client = Client::log_in(at, login).unwrap();
    client.open_channel(1);
    client.declare(queue("unsaid"));
    client.call(1, consume("unsaid", "one"), basic::ConsumeOk::ID);
    Client::open(at).delete("unsaid");
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
}

fn cancelling_leaves_what_the_client_has(at: SocketAddr) {
    let mut client = with_messages(at, "left", &["a", "b", "c"]);
    prefetch(&mut client, 2, false);
    client.call(1, consume("left", "t"), basic::ConsumeOk::ID);
    assert_eq!((delivered(&mut client).0, delivered(&mut client).0), (1, 2));
    client.call(
        1,
        basic::Cancel {
            consumer_tag: short("t"),
            no_wait: false,
        },
        basic::CancelOk::ID,
    );
    client.send(1, ack(1, false));
    assert_eq!(taken(&mut client, "left"), [("c".to_owned(), false)]);
    client.send(1, nack(2, false, true));
    assert_eq!(taken(&mut client, "left"), [("b".to_owned(), true)]);
}

fn what_a_channel_had_comes_back_in_order_when_it_closes(at: SocketAddr) {
    let mut client = with_messages(at, "back", &["a", "b", "c", "d", "e"]);
    client.open_channel(2);
    client.call(
        2,
        basic::Qos {
            prefetch_count: 4,
            ..basic::Qos::default()
        },
        basic::QosOk::ID,
    );
    client.call(2, consume("back", "t"), basic::ConsumeOk::ID);
    for _ in 0..4 {
        client.message();
    }
    client.call(
        2,
        basic::Cancel {
            consumer_tag: short("t"),
            no_wait: false,
        },
        basic::CancelOk::ID,
    );
    client.send(2, ack(2, false));
    client.call(2, channel::Close::normal(""), channel::CloseOk::ID);
    let expected = [("a", true), ("c", true), ("d", true), ("e", false)];
    assert_eq!(
        taken(&mut client, "back"),
        expected.map(|(body, again)| (body.to_owned(), again))
    );
}

fn messages_given_back_stand_where_they_stood(at: SocketAddr) {
    let mut client = with_messages(at, "stand", &["a", "b", "c", "d"]);
    let tags: Vec<u64> = (0..3)
        .map(|_| told(&client.get("stand", false).unwrap()).0)
        .collect();
    assert_eq!(tags, [1, 2, 3]);
    client.send(1, nack(2, false, true));
    client.send(1, nack(1, false, true));
    client.send(
        1,
        basic::Reject {
            delivery_tag: 3,
            requeue: true,
        },
    );
    let expected = [("a", true), ("b", true), ("c", true), ("d", false)];
    assert_eq!(
        taken(&mut client, "stand"),
        expected.map(|(body, again)| (body.to_owned(), again))
    );
}

fn many_are_settled_at_once(at: SocketAddr) {
    let mut client = with_messages(at, "multiple", &["a", "b", "c", "d", "e", "f"]);
    for _ in 0..5 {
        client.get("multiple", false).unwrap();
    }
    client.send(1, ack(2, true));
    client.send(1, nack(4, true, true));
    // Those before it are settled already.
    client.send(
        1,
        basic::Reject {
            delivery_tag: 5,
            requeue: false,
        },
    );
    let expected = [("c", true), ("d", true), ("f", false)];
    assert_eq!(
        taken(&mut client, "multiple"),
        expected.map(|(body, again)| (body.to_owned(), again))
    );
    assert!(client.end(1).is_none());
}

fn all_of_none_may_be_settled_and_nothing_twice(at: SocketAddr) {
    let mut client = with_messages(at, "none", &["a", "b"]);
    client.send(1, ack(0, true));
    client.send(1, nack(0, true, true));
    assert!(client.end(1).is_none());
    client.get("none", false).unwrap();
    client.get("none", false).unwrap();
    client.send(1, ack(0, true));
    client.send(1, ack(0, true));
    assert!(client.end(1).is_none());
    client.send(1, ack(2, false));
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - unknown delivery tag 2\" (60,80)"
    );
}

fn tags_are_those_of_their_channel(at: SocketAddr) {
    let mut client = with_messages(at, "tags", &["a"]);
    client.open_channel(2);
    client.get("tags", false).unwrap();
    client.send(2, ack(1, false));
    assert_eq!(
        words(client.end(2).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - unknown delivery tag 1\" (60,80)"
    );
    client.send(1, ack(1, false));
    assert!(client.end(1).is_none());
}

fn a_tag_of_what_needs_no_answer_cannot_be_answered(at: SocketAddr) {
    let mut client = with_messages(at, "noack", &["a"]);
    client.get("noack", true).unwrap();
    client.send(1, ack(1, false));
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - unknown delivery tag 1\" (60,80)"
    );
}

fn fetching_tells_how_many_are_left(at: SocketAddr) {
    let mut client = with_messages(at, "fetch", &["a", "b", "c"]);
    for left in [2, 1, 0] {
        let message = client.get("fetch", true).unwrap();
        assert_eq!(message.get_ok().unwrap().message_count, left);
    }
    assert!(client.get("fetch", true).is_none());
}

fn what_has_expired_is_not_left(at: SocketAddr) {
    let mut client = with_messages(at, "left", &["a"]);
    client.select_confirms();
    client.put("left", &living("0"), "b");
    client.put("left", &living("0"), "c");
    client.hear(2);
    assert_eq!(client.count("left"), 3, "they are not at the front");
    let message = client.get("left", true).unwrap();
    assert_eq!(message.get_ok().unwrap().message_count, 0);
}

fn a_limit_is_for_each_consumer_to_come(at: SocketAddr) {
    let mut client = with_messages(at, "limit", &["a", "b", "c", "d", "e", "f"]);
    prefetch(&mut client, 2, false);
    client.call(1, consume("limit", "one"), basic::ConsumeOk::ID);
    assert_eq!((delivered(&mut client).0, delivered(&mut client).0), (1, 2));
    prefetch(&mut client, 1, false);
    client.call(1, consume("limit", "two"), basic::ConsumeOk::ID);
    assert_eq!(delivered(&mut client).0, 3);
    // Nothing more until something is settled.
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
    client.send(1, ack(1, false));
    assert_eq!(delivered(&mut client), (4, "d".to_owned(), false));
    client.send(1, ack(3, false));
    let message = client.message();
    assert_eq!(message.deliver().unwrap().consumer_tag, b"two");
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
}

fn a_limit_of_a_channel_is_for_all_its_consumers(at: SocketAddr) {
    let mut client = with_messages(at, "global", &["a", "b", "c", "d"]);
    prefetch(&mut client, 2, true);
    client.call(1, consume("global", "one"), basic::ConsumeOk::ID);
    assert_eq!((delivered(&mut client).0, delivered(&mut client).0), (1, 2));
    client.call(1, consume("global", "two"), basic::ConsumeOk::ID);
    client.call(
        1,
        basic::Qos {
            prefetch_count: 3,
            global: true,
            ..basic::Qos::default()
        },
        basic::QosOk::ID,
    );
    assert_eq!(delivered(&mut client).0, 3);
    client.send(1, ack(2, true));
    assert_eq!(delivered(&mut client).0, 4);
}

fn under_a_limit_of_a_channel_everybody_has_his_turn(at: SocketAddr) {
    const COUNT: u64 = 40;
    let mut client = Client::open(at);
    for name in ["turn.one", "turn.other"] {
        client.declare(queue::Declare {
            exclusive: true,
            ..queue(name)
        });
    }
    prefetch(&mut client, 1, true);
    for (name, tag) in [("turn.one", "a"), ("turn.one", "b"), ("turn.other", "c")] {
        client.call(1, consume(name, tag), basic::ConsumeOk::ID);
    }
    for _ in 0..COUNT {
        client.publish_to("turn.one", b"x");
        client.publish_to("turn.other", b"x");
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let message = client.message();
        let deliver = message.deliver().unwrap();
        seen.insert(deliver.consumer_tag.to_vec());
        client.send(1, ack(deliver.delivery_tag, false));
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn who_does_not_answer_waits_for_the_limit_of_his_channel(at: SocketAddr) {
    let mut client = with_messages(at, "limit.answered", &["a"]);
    client.declare(queue::Declare {
        exclusive: true,
        ..queue("limit.not")
    });
    prefetch(&mut client, 1, true);
    client.call(1, consume("limit.answered", "answers"), basic::ConsumeOk::ID);
    assert_eq!(delivered(&mut client).0, 1);
    let silent = basic::Consume {
        no_ack: true,
        ..consume("limit.not", "silent")
    };
    client.call(1, silent, basic::ConsumeOk::ID);
    client.publish_to("limit.not", b"b");
    client.publish_to("limit.not", b"c");
    client.call(
        1,
        queue::Declare {
            queue: short("limit.not"),
            passive: true,
            ..queue::Declare::default()
        },
        queue::DeclareOk::ID,
    );
    client.send(1, ack(1, false));
    assert_eq!(delivered(&mut client), (2, "b".to_owned(), false));
    assert_eq!(delivered(&mut client), (3, "c".to_owned(), false));
}

fn who_does_not_answer_has_no_limit(at: SocketAddr) {
    let mut client = with_messages(at, "unlimited", &["a", "b", "c"]);
    prefetch(&mut client, 1, false);
    client.call(
        1,
        basic::Consume {
            no_ack: true,
            ..consume("unlimited", "t")
        },
        basic::ConsumeOk::ID,
    );
    assert_eq!([1, 2, 3].map(|_| delivered(&mut client).0), [1, 2, 3]);
}

fn recovering_brings_all_that_is_not_settled_again(at: SocketAddr) {
    let mut client = with_messages(at, "recover", &["a", "b", "c"]);
    client.call(1, consume("recover", "t"), basic::ConsumeOk::ID);
    assert_eq!([1, 2, 3].map(|_| delivered(&mut client).0), [1, 2, 3]);
    client.send(1, ack(2, false));
    client.send(1, basic::Recover { requeue: true });
    let mut again = Vec::new();
    while again.len() < 2 {
        match client.next().unwrap() {
            Event::Message { message, .. } => again.push(told(&message)),
            Event::Method { method, .. } => assert_eq!(method.id(), basic::RecoverOk::ID),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(again, [(4, "a".to_owned(), true), (5, "c".to_owned(), true)]);
}

fn a_consumer_alone_is_alone(at: SocketAddr) {
    let mut client = with_messages(at, "alone", &[]);
    client.call(
        1,
        basic::Consume {
            exclusive: true,
            ..consume("alone", "one")
        },
        basic::ConsumeOk::ID,
    );
    client.send(1, consume("alone", "two"));
    const REFUSED: &str =
        "channel 403 \"ACCESS_REFUSED - queue 'alone' in vhost '/' in exclusive use\" (60,20)";
    assert_eq!(words(client.next().err().as_ref()), REFUSED);
    // With the channel went the consumer.
    client.open_channel(1);
    client.call(1, consume("alone", "two"), basic::ConsumeOk::ID);
}

fn higher_consumers_come_first_until_they_have_enough(at: SocketAddr) {
    let mut client = with_messages(at, "ranks", &[]);
    let ranked = |tag, rank| basic::Consume {
        arguments: Table::new().with("x-priority", Value::I32(rank)),
        ..consume("ranks", tag)
    };
    prefetch(&mut client, 2, false);
    client.call(1, ranked("low", -1), basic::ConsumeOk::ID);
    client.call(1, ranked("high", 5), basic::ConsumeOk::ID);
    client.call(1, consume("ranks", "middle"), basic::ConsumeOk::ID);
    let mut order = Vec::new();
    for _ in 0..5 {
        client.publish_to("ranks", b"x");
        let message = client.message();
        order.push(String::from_utf8_lossy(message.deliver().unwrap().consumer_tag).into_owned());
    }
    assert_eq!(order, ["high", "high", "middle", "middle", "low"]);
}

fn a_rank_is_a_number(at: SocketAddr) {
    let mut client = with_messages(at, "rank", &[]);
    let arguments = Table::new().with("x-priority", Value::text("high"));
    client.send(
        1,
        basic::Consume {
            arguments,
            ..consume("rank", "t")
        },
    );
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'rank' in vhost '/': \
         \"expected integer, got longstr\"\" (60,20)"
    );
}

fn one_of_many_consumers_is_active_and_another_follows(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new().with("x-single-active-consumer", Value::Bool(true));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("single")
    });
    client.call(1, consume("single", "one"), basic::ConsumeOk::ID);
    client.call(1, consume("single", "two"), basic::ConsumeOk::ID);
    let mut who = || {
        client.publish_to("single", b"x");
        let message = client.message();
        String::from_utf8_lossy(message.deliver().unwrap().consumer_tag).into_owned()
    };
    assert_eq!([who(), who()], ["one", "one"]);
    client.call(
        1,
        basic::Cancel {
            consumer_tag: short("one"),
            no_wait: false,
        },
        basic::CancelOk::ID,
    );
    client.publish_to("single", b"x");
    assert_eq!(client.message().deliver().unwrap().consumer_tag, b"two");
    client.send(
        1,
        basic::Consume {
            exclusive: true,
            ..consume("single", "three")
        },
    );
    assert_eq!(
        words(client.next().err().as_ref()),
        "channel 403 \"ACCESS_REFUSED - queue 'single' in vhost '/' in exclusive use\" (60,20)"
    );
}

fn consumers_take_turns(at: SocketAddr) {
    let mut client = with_messages(at, "turns", &[]);
    for tag in ["one", "two", "three"] {
        client.call(1, consume("turns", tag), basic::ConsumeOk::ID);
    }
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..30 {
        client.publish_to("turns", b"x");
    }
    for _ in 0..30 {
        let message = client.message();
        *counts
            .entry(message.deliver().unwrap().consumer_tag.to_vec())
            .or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
}

fn urgent_messages_come_first(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new().with("x-max-priority", Value::I32(5));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("urgent")
    });
    for (body, priority) in [
        ("none", None),
        ("1", Some(1)),
        ("9", Some(9)),
        ("0", Some(0)),
        ("3", Some(3)),
        ("5", Some(5)),
    ] {
        let publish = Publish {
            routing_key: b"urgent",
            ..Publish::default()
        };
        client.publish(
            &publish,
            &Properties {
                priority,
                ..Properties::default()
            },
            body.as_bytes(),
        );
    }
    let order: Vec<String> = taken(&mut client, "urgent")
        .into_iter()
        .map(|(body, _)| body)
        .collect();
    assert_eq!(order, ["9", "5", "3", "1", "none", "0"]);
}

fn a_full_queue_drops_its_oldest_but_not_what_somebody_has(at: SocketAddr) {
    let mut client = Client::open(at);
    let arguments = Table::new().with("x-max-length", Value::I32(2));
    client.declare(queue::Declare {
        exclusive: true,
        arguments,
        ..queue("oldest")
    });
    client.publish_safely("oldest", b"a");
    client.get("oldest", false).unwrap();
    for body in ["b", "c", "d"] {
        client.publish_safely("oldest", body.as_bytes());
    }
    assert_eq!(
        client
            .declare(queue::Declare {
                passive: true,
                ..queue("oldest")
            })
            .message_count,
        2
    );
    // Given back it is the oldest, and one too many.
    client.send(1, nack(1, false, true));
    assert!(client.end(1).is_none());
    let left: Vec<String> = taken(&mut client, "oldest")
        .into_iter()
        .map(|(body, _)| body)
        .collect();
    assert_eq!(left, ["c", "d"]);
}

fn purging_leaves_what_somebody_has(at: SocketAddr) {
    let mut client = with_messages(at, "purged", &["a", "b"]);
    client.get("purged", false).unwrap();
    client.call(
        1,
        queue::Purge {
            queue: short("purged"),
            ..queue::Purge::default()
        },
        queue::PurgeOk::ID,
    );
    client.send(1, nack(1, false, true));
    assert_eq!(taken(&mut client, "purged"), [("a".to_owned(), true)]);
}

fn recovering_needs_no_answer(at: SocketAddr) {
    let mut client = with_messages(at, "recover.async", &["a", "b"]);
    client.call(1, consume("recover.async", "t"), basic::ConsumeOk::ID);
    assert_eq!([1, 2].map(|_| delivered(&mut client).0), [1, 2]);
    client.send(1, basic::RecoverAsync { requeue: true });
    let again = [3, 4].map(|_| delivered(&mut client));
    assert_eq!(again, [(3, "a".to_owned(), true), (4, "b".to_owned(), true)]);
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
    client.send(1, basic::RecoverAsync { requeue: false });
    assert_eq!(
        words(client.end(1).as_ref()),
        "connection 540 \"NOT_IMPLEMENTED - requeue=false\" (60,100)"
    );
}

fn channels_take_turns_and_get_what_is_their_own(at: SocketAddr) {
    let mut client = with_messages(at, "fair", &[]);
    client.open_channel(2);
    for channel in [1, 2] {
        let consume = basic::Consume {
            no_local: true,
            ..consume("fair", "t")
        };
        client.call(channel, consume, basic::ConsumeOk::ID);
    }
    let mut counts = [0, 0];
    for number in 0..20_u8 {
        client.publish_to("fair", &[number]);
        match client.next() {
            Ok(Event::Message { channel, .. }) => counts[usize::from(channel) - 1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts, [10, 10]);
}

fn fetching_goes_on_beside_a_single_active_consumer(at: SocketAddr) {
    let mut client = Client::open(at);
    client.declare(queue::Declare {
        exclusive: true,
        arguments: Table::new().with("x-single-active-consumer", Value::Bool(true)),
        ..queue("beside")
    });
    prefetch(&mut client, 1, false);
    client.call(1, consume("beside", "t"), basic::ConsumeOk::ID);
    client.publish_to("beside", b"a");
    client.publish_to("beside", b"b");
    assert_eq!(delivered(&mut client).1, "a");
    assert_eq!(taken(&mut client, "beside"), [("b".to_owned(), false)]);
}

fn what_comes_back_from_a_channel_is_not_for_others_that_end_with_it(at: SocketAddr) {
    let mut owner = Client::open(at);
    owner.declare(queue("ending"));
    owner.publish_safely("ending", b"x");
    let mut client = Client::open(at);
    client.open_channel(2);
    client.call(2, consume("ending", "has it"), basic::ConsumeOk::ID);
    assert_eq!(&client.message().whole_body()[..], b"x");
    let unsafely = basic::Consume {
        no_ack: true,
        ..consume("ending", "would lose it")
    };
    client.call(1, unsafely.clone(), basic::ConsumeOk::ID);
    // The same tag once more: the connection ends.
    client.send(1, unsafely);
    assert!(words(client.next().err().as_ref()).starts_with("connection 530 "));
    // A moment later with RabbitMQ.
    assert_eq!(&owner.wait_for("ending").whole_body()[..], b"x");
    owner.delete("ending");
}
