//! Messages that leave their queue unsettled: where they go, and what is said of them.

use std::net::SocketAddr;

use warren_amqp::content::{Message, Properties};
use warren_amqp::{Table, Value, basic};

use super::client::{Client, short};
use super::words::{body, deaths, dying_into, headers, living, table, texts, with_headers};

fn death(count: i64, reason: &str, queue: &str) -> (i64, String, String) {
    (count, reason.to_owned(), queue.to_owned())
}

fn a_rejected_message_is_dead(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.end", []);
    client.queue("dl.rejecting", dying_into("dl.end"));
    let properties = Properties {
        headers: Some(table([("app", Value::I32(7)), ("CC", texts(&["dl.nowhere"]))])),
        expiration: Some(short("50000")),
        ..Properties::default()
    };
    client.put("dl.rejecting", &properties, "unwanted");
    let got = client.wait_for_unacked("dl.rejecting", false);
    client.reject(got.get_ok().unwrap().delivery_tag, false);
    let letter = client.wait_for("dl.end");
    assert_eq!(body(&letter), "unwanted");
    let got = letter.get_ok().unwrap();
    assert_eq!((got.exchange, got.routing_key), (&b""[..], &b"dl.end"[..]));
    assert!(!got.redelivered, "it is a new message");
    assert_eq!(letter.header().expiration(), None);
    let headers = headers(&letter);
    assert_eq!(headers.get("CC"), None, "its new key takes the place of all");
    assert_eq!(headers.get("app"), Some(&Value::I32(7)));
    for (name, value) in [
        ("reason", "rejected"),
        ("queue", "dl.rejecting"),
        ("exchange", ""),
    ] {
        assert_eq!(
            headers.text(&format!("x-first-death-{name}")).as_deref(),
            Some(value)
        );
    }
    let Some(Value::Array(deaths)) = headers.get("x-death") else {
        panic!("{headers:?}");
    };
    let [Value::Table(death)] = deaths.as_slice() else {
        panic!("{deaths:?}");
    };
    let time = death.get("time").cloned();
    assert!(matches!(time, Some(Value::Timestamp(_))));
    assert_eq!(
        *death,
        table([
            ("count", Value::I64(1)),
            ("reason", Value::text("rejected")),
            ("queue", Value::text("dl.rejecting")),
            ("time", time.unwrap()),
            ("exchange", Value::text("")),
            ("routing-keys", texts(&["dl.rejecting", "dl.nowhere"])),
            ("original-expiration", Value::text("50000")),
        ])
    );
}

fn an_expired_message_is_dead_in_time(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.late", []);
    client.queue("dl.own", dying_into("dl.late"));
    let [exchange, key] = dying_into("dl.late");
    client.queue("dl.all", [exchange, key, ("x-message-ttl", Value::I32(30))]);
    // Nobody touches the queue in which it expires.
    client.put("dl.own", &living("20"), "own time");
    assert_eq!(
        deaths(&client.wait_for("dl.late")),
        [death(1, "expired", "dl.own")]
    );
    client.put("dl.all", &Properties::default(), "time of all");
    assert_eq!(
        deaths(&client.wait_for("dl.late")),
        [death(1, "expired", "dl.all")]
    );
    client.put("dl.all", &living("600000"), "the lower of both");
    let letter = client.wait_for("dl.late");
    assert_eq!(body(&letter), "the lower of both");
    assert_eq!(letter.header().expiration(), None);
    client.put("dl.own", &living("0"), "no time");
    assert_eq!(body(&client.wait_for("dl.late")), "no time");
    assert_eq!((client.count("dl.own"), client.count("dl.all")), (0, 0));
}

fn a_message_expires_only_at_the_front(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.gone", []);
    client.queue("dl.line", dying_into("dl.gone"));
    client.put("dl.line", &living("400"), "first");
    client.put("dl.line", &living("1"), "second");
    let letters = [client.wait_for("dl.gone"), client.wait_for("dl.gone")];
    assert_eq!(letters.map(|letter| body(&letter)), ["first", "second"]);
}

fn the_oldest_is_dead_when_there_are_too_many(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.dropped", []);
    let [exchange, key] = dying_into("dl.dropped");
    client.queue(
        "dl.short",
        [exchange.clone(), key.clone(), ("x-max-length", Value::I32(2))],
    );
    client.queue(
        "dl.small",
        [exchange, key, ("x-max-length-bytes", Value::I32(10))],
    );
    for body in ["1", "2", "3"] {
        client.put("dl.short", &Properties::default(), body);
    }
    let letter = client.wait_for("dl.dropped");
    assert_eq!(
        (body(&letter), deaths(&letter)),
        ("1".into(), vec![death(1, "maxlen", "dl.short")])
    );
    for body in ["1234", "5678", "90"] {
        client.put("dl.small", &Properties::default(), body);
    }
    assert_eq!(client.take("dl.dropped").map(|letter| body(&letter)), None);
    client.put("dl.small", &Properties::default(), "a");
    assert_eq!(body(&client.wait_for("dl.dropped")), "1234");
    assert_eq!(client.drain("dl.small"), ["5678", "90", "a"]);
    assert_eq!(client.drain("dl.short"), ["2", "3"]);
}

fn the_same_death_counts(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.work", dying_into("dl.wait"));
    let [exchange, key] = dying_into("dl.work");
    client.queue("dl.wait", [exchange, key, ("x-message-ttl", Value::I32(10))]);
    client.put("dl.work", &Properties::default(), "again");
    for round in 0..4_i64 {
        let message = client.wait_for_unacked("dl.work", false);
        let expected = match round {
            0 => vec![],
            _ => vec![
                death(round, "expired", "dl.wait"),
                death(round, "rejected", "dl.work"),
            ],
        };
        assert_eq!(deaths(&message), expected, "round {round}");
        client.reject(message.get_ok().unwrap().delivery_tag, false);
    }
}

fn a_message_that_goes_round_by_itself_is_dropped(at: SocketAddr) {
    let mut client = Client::open(at);
    let short_life = ("x-message-ttl", Value::I32(5));
    let to = |queue| {
        let [exchange, key] = dying_into(queue);
        [exchange, key, short_life.clone()]
    };
    client.queue("dl.self", to("dl.self"));
    client.queue("dl.one", to("dl.two"));
    client.queue("dl.two", to("dl.one"));
    client.queue("dl.full", {
        let [exchange, key] = dying_into("dl.full");
        [exchange, key, ("x-max-length", Value::I32(1))]
    });
    for queue in ["dl.self", "dl.one", "dl.full", "dl.full"] {
        client.put(queue, &Properties::default(), queue);
    }
    // Once it is gone from where it was last, it does not come back.
    let deadline = std::time::Instant::now() + super::words::PATIENCE;
    while client.count("dl.self") + client.count("dl.one") + client.count("dl.two") > 0 {
        assert!(std::time::Instant::now() < deadline);
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    for queue in ["dl.self", "dl.one", "dl.two"] {
        assert_eq!(client.count(queue), 0, "{queue}");
    }
    assert_eq!(client.count("dl.full"), 1);
}

fn a_dead_letter_keeps_its_keys(at: SocketAddr) {
    let mut client = Client::open(at);
    client.exchange("dl.exchange", "direct", Table::new());
    client.queue(
        "dl.keeping",
        [
            ("x-dead-letter-exchange", Value::text("dl.exchange")),
            ("x-message-ttl", Value::I32(1)),
        ],
    );
    for (queue, key) in [
        ("dl.by.key", "dl.keeping"),
        ("dl.by.cc", "open"),
        ("dl.by.bcc", "blind"),
    ] {
        client.queue(queue, []);
        client.bind(queue, "dl.exchange", key);
    }
    let properties = with_headers([("CC", texts(&["open"])), ("BCC", texts(&["blind"]))]);
    client.put("dl.keeping", &properties, "to all");
    for queue in ["dl.by.key", "dl.by.cc", "dl.by.bcc"] {
        let letter = client.wait_for(queue);
        let got = letter.get_ok().unwrap();
        assert_eq!(
            (got.exchange, got.routing_key),
            (&b"dl.exchange"[..], &b"dl.keeping"[..])
        );
        assert_eq!(headers(&letter).get("CC"), Some(&texts(&["open"])));
        assert_eq!(headers(&letter).get("BCC"), None, "nobody sees it");
        let Some(Value::Array(deaths)) = headers(&letter).get("x-death").cloned() else {
            panic!("{queue}");
        };
        let [Value::Table(death)] = deaths.as_slice() else {
            panic!("{deaths:?}");
        };
        assert_eq!(death.get("routing-keys"), Some(&texts(&["dl.keeping", "open"])));
    }
}

fn without_its_exchange_a_dead_letter_is_dropped(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue(
        "dl.lost",
        [
            ("x-dead-letter-exchange", Value::text("dl.no.such")),
            ("x-message-ttl", Value::I32(1)),
        ],
    );
    client.put("dl.lost", &Properties::default(), "lost");
    let deadline = std::time::Instant::now() + super::words::PATIENCE;
    while client.count("dl.lost") > 0 {
        assert!(std::time::Instant::now() < deadline);
    }
}

fn what_comes_back_too_often_is_dead(at: SocketAddr) {
    let mut client = Client::open(at);
    client.queue("dl.poison", []);
    let [exchange, key] = dying_into("dl.poison");
    client.declare(warren_amqp::queue::Declare {
        queue: short("dl.quorum"),
        durable: true,
        arguments: table([
            exchange,
            key,
            ("x-queue-type", Value::text("quorum")),
            ("x-delivery-limit", Value::I32(2)),
        ]),
        ..warren_amqp::queue::Declare::default()
    });
    let count = |message: &Message| headers(message).get("x-delivery-count").cloned();
    client.put("dl.quorum", &Properties::default(), "fetched");
    let fetched = client.wait_for("dl.quorum");
    assert_eq!(
        count(&fetched),
        Some(Value::I64(0)),
        "always said of what is fetched"
    );
    client.put("dl.quorum", &Properties::default(), "poison");
    client.consume(basic::Consume {
        queue: short("dl.quorum"),
        consumer_tag: short("poisoned"),
        ..basic::Consume::default()
    });
    for round in 0..3 {
        let message = client.delivered();
        let delivered = message.deliver().unwrap();
        assert_eq!(delivered.redelivered, round > 0);
        let expected = (round > 0).then_some(Value::I64(round));
        assert_eq!(count(&message), expected, "round {round}");
        client.reject(delivered.delivery_tag, true);
    }
    let letter = client.wait_for("dl.poison");
    assert_eq!(deaths(&letter), [death(1, "delivery_limit", "dl.quorum")]);
    let cancel = basic::Cancel {
        consumer_tag: short("poisoned"),
        no_wait: false,
    };
    client.call(1, cancel, basic::CancelOk::ID);
    client.call(
        1,
        warren_amqp::queue::Delete {
            queue: short("dl.quorum"),
            ..warren_amqp::queue::Delete::default()
        },
        warren_amqp::queue::DeleteOk::ID,
    );
}

pub(crate) mod scenarios {
    super::super::words::scenarios![
        a_rejected_message_is_dead,
        an_expired_message_is_dead_in_time,
        a_message_expires_only_at_the_front,
        the_oldest_is_dead_when_there_are_too_many,
        the_same_death_counts,
        a_message_that_goes_round_by_itself_is_dropped,
        a_dead_letter_keeps_its_keys,
        without_its_exchange_a_dead_letter_is_dropped,
        what_comes_back_too_often_is_dead,
    ];
}
