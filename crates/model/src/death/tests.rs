use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use warren_amqp::content::{Header, Properties};

use super::*;

fn published(key: &str, properties: &Properties) -> content::Message {
    let publish = Publish {
        routing_key: key.as_bytes(),
        ..Publish::default()
    };
    let header = properties.header(4);
    content::Message::new(
        &publish,
        Header::read(&header).unwrap(),
        &[Bytes::from_static(b"body")],
    )
}

fn death(queue: &str, reason: Reason) -> Death<'_> {
    Death {
        queue,
        reason,
        time: Millis(1_000_500),
        exchange: "dlx",
        key: None,
    }
}

fn headers(message: &content::Message) -> Table {
    message.header().properties().headers.unwrap_or_default()
}

fn deaths(message: &content::Message) -> Vec<Table> {
    let Some(Value::Array(deaths)) = headers(message).get("x-death").cloned() else {
        panic!("no list of deaths in {:?}", headers(message));
    };
    deaths
        .into_iter()
        .map(|death| match death {
            Value::Table(table) => table,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Reason, queue and count of each death.
fn counts(message: &content::Message) -> Vec<(String, String, i64)> {
    deaths(message)
        .iter()
        .map(|death| {
            let Some(Value::I64(count)) = death.get("count") else {
                panic!("{death:?}");
            };
            (
                death.text("reason").unwrap(),
                death.text("queue").unwrap(),
                *count,
            )
        })
        .collect()
}

fn names(table: &Table) -> Vec<String> {
    table.iter().map(|(name, _)| name.to_text()).collect()
}

#[test]
fn the_first_death_says_everything_in_the_order_of_rabbitmq() {
    let properties = Properties {
        headers: Some(
            Table::new()
                .with("CC", Value::Array(vec![Value::text("copy")]))
                .with("app", Value::I32(7)),
        ),
        expiration: Some(ShortString::from_static("50")),
        ..Properties::default()
    };
    let letter = death("q", Reason::Expired).letter(&published("q", &properties));
    assert_eq!(letter.header().expiration(), None);
    assert_eq!(letter.whole_body(), "body");
    let to = letter.publish().unwrap();
    assert_eq!((to.exchange, to.routing_key), (&b"dlx"[..], &b"q"[..]));
    let entry = &deaths(&letter)[0];
    assert_eq!(
        names(entry),
        [
            "count",
            "reason",
            "queue",
            "time",
            "exchange",
            "routing-keys",
            "original-expiration"
        ]
    );
    assert_eq!(entry.get("time"), Some(&Value::Timestamp(1000)));
    assert_eq!(
        entry.get("routing-keys"),
        Some(&Value::Array(vec![Value::text("q"), Value::text("copy")]))
    );
    assert_eq!(entry.text("original-expiration").as_deref(), Some("50"));
    let headers = headers(&letter);
    assert_eq!(
        names(&headers),
        [
            "CC",
            "app",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason"
        ]
    );
    assert_eq!(headers.text("x-first-death-reason").as_deref(), Some("expired"));
}

#[test]
fn the_same_death_counts_and_comes_first_and_keeps_its_time() {
    let mut letter = death("a", Reason::Rejected).letter(&published("a", &Properties::default()));
    letter = death("b", Reason::Expired).letter(&letter);
    let mut later = death("a", Reason::Rejected);
    later.time = Millis(9_000_000);
    letter = later.letter(&letter);
    assert_eq!(
        counts(&letter),
        [
            ("rejected".into(), "a".into(), 2),
            ("expired".into(), "b".into(), 1)
        ]
    );
    assert_eq!(deaths(&letter)[0].get("time"), Some(&Value::Timestamp(1000)));
    // All but the first death have their fields sorted.
    assert_eq!(
        names(&deaths(&letter)[1]),
        ["count", "exchange", "queue", "reason", "routing-keys", "time"]
    );
    assert_eq!(headers(&letter).text("x-first-death-queue").as_deref(), Some("a"));
    letter = death("a", Reason::MaxLength).letter(&letter);
    assert_eq!(counts(&letter).len(), 3, "another reason is another death");
}

#[test]
fn a_routing_key_of_the_queue_takes_the_place_of_all_others() {
    let array = || Value::Array(vec![Value::text("other")]);
    let properties = Properties {
        headers: Some(Table::new().with("CC", array()).with("BCC", array())),
        ..Properties::default()
    };
    let mut death = death("q", Reason::Rejected);
    let kept = death.letter(&published("q", &properties));
    assert_eq!(
        Selection::of(kept.header()).unwrap().unwrap().keys(),
        ["other", "other"]
    );
    let told = |letter: &content::Message| deaths(letter)[0].get("routing-keys").cloned();
    let open = Value::Array(vec![Value::text("q"), Value::text("other")]);
    assert_eq!(told(&kept), Some(open.clone()), "keys of BCC are not told");
    death.key = Some("key");
    let letter = death.letter(&published("q", &properties));
    assert_eq!(letter.publish().unwrap().routing_key, b"key");
    assert_eq!(Selection::of(letter.header()), Ok(None));
    assert_eq!(told(&letter), Some(open));
}

#[test]
fn what_clients_make_up_is_counted_or_gives_way() {
    let letter = |value: Value| {
        let properties = Properties {
            headers: Some(Table::new().with("x-death", value)),
            ..Properties::default()
        };
        death("q", Reason::Expired).letter(&published("q", &properties))
    };
    let entry = || {
        Table::new()
            .with("queue", Value::text("q"))
            .with("reason", Value::text("expired"))
    };
    let expired = |count| vec![("expired".to_owned(), "q".to_owned(), count)];
    let nonsense = letter(Value::text("nonsense"));
    assert_eq!(counts(&nonsense), expired(1));
    assert_eq!(headers(&nonsense).get("x-first-death-queue"), None);
    assert_eq!(counts(&letter(Value::Array(vec![Value::text("x")]))), expired(1));
    assert_eq!(
        counts(&letter(Value::Array(vec![Value::Table(entry())]))),
        expired(1)
    );
    let counted = |count| Value::Table(entry().with("count", Value::I64(count)));
    assert_eq!(
        counts(&letter(Value::Array(vec![counted(4), counted(2)]))),
        expired(5)
    );
    let other = || {
        Value::Table(
            Table::new()
                .with("queue", Value::text("other"))
                .with("reason", Value::text("expired")),
        )
    };
    let uncounted = |count: usize| vec![Value::Table(entry()); count];
    assert_eq!(counts(&letter(Value::Array(uncounted(4)))), expired(5));
    let mixed = [uncounted(1), vec![other(), other(), counted(9)]].concat();
    let found = counts(&letter(Value::Array(mixed)));
    assert_eq!(
        found,
        [
            ("expired".to_owned(), "q".to_owned(), 3),
            ("expired".to_owned(), "other".to_owned(), 2)
        ]
    );
    let most = letter(Value::Array(vec![counted(i64::MAX)]));
    assert_eq!(counts(&most), expired(i64::MAX));
}

/// As RabbitMQ 3.10.8 was seen to do.
#[test]
fn all_but_the_last_death_are_turned_round_with_each() {
    let queues = ["0", "1", "2", "3", "4"];
    let mut letter = published("0", &Properties::default());
    let orders = queues.iter().chain(&queues[..1]).map(|queue| {
        letter = death(queue, Reason::Rejected).letter(&letter);
        let order = counts(&letter).into_iter().map(|(_, queue, _)| queue);
        order.collect::<String>()
    });
    assert_eq!(
        orders.collect::<Vec<_>>(),
        ["0", "10", "201", "3102", "42013", "03124"]
    );
}

/// As RabbitMQ 3.10.8 was seen to do, for as long as somebody looked.
#[test]
fn a_message_that_was_rejected_once_may_go_round() {
    let mut letter = death("work", Reason::Rejected).letter(&published("work", &Properties::default()));
    for _ in 0..100 {
        letter = death("later", Reason::Expired).letter(&letter);
        assert!(!is_cycle(&letter, Reason::Expired, "work"));
        letter = death("work", Reason::Expired).letter(&letter);
        assert!(!is_cycle(&letter, Reason::Expired, "later"));
    }
}

#[test]
fn a_way_back_without_a_rejection_is_a_cycle() {
    let once = death("a", Reason::Expired).letter(&published("a", &Properties::default()));
    assert!(is_cycle(&once, Reason::Expired, "a"));
    assert!(!is_cycle(&once, Reason::Expired, "b"));
    assert!(
        !is_cycle(&once, Reason::Rejected, "a"),
        "somebody rejected it now"
    );
    let rejected = death("a", Reason::Rejected).letter(&published("a", &Properties::default()));
    let back = death("b", Reason::Expired).letter(&rejected);
    assert!(
        !is_cycle(&back, Reason::Expired, "a"),
        "somebody rejected it on the way"
    );
    assert!(is_cycle(&back, Reason::Expired, "b"));
    assert!(!is_cycle(
        &published("a", &Properties::default()),
        Reason::Expired,
        "a"
    ));
}

proptest! {
    /// Counts are what a map of queue and reason would count, and the last death is always the first entry.
    #[test]
    fn deaths_are_counted(history in proptest::collection::vec((0_u8..4, 0_u8..3), 1..40)) {
        let queues = ["a", "b", "c", "d"];
        let reasons = [Reason::Expired, Reason::Rejected, Reason::MaxLength];
        let mut message = published("k", &Properties::default());
        let mut expected: HashMap<(String, String), i64> = HashMap::new();
        for (queue, reason) in history {
            let (queue, reason) = (queues[usize::from(queue)], reasons[usize::from(reason)]);
            message = death(queue, reason).letter(&message);
            *expected.entry((reason.name().to_owned(), queue.to_owned())).or_default() += 1;
            let counted = counts(&message);
            prop_assert_eq!((&*counted[0].0, &*counted[0].1), (reason.name(), queue));
            let distinct: HashSet<_> = counted.iter().map(|(reason, queue, _)| (reason, queue)).collect();
            prop_assert_eq!(distinct.len(), counted.len());
            let counted: HashMap<_, _> = counted.into_iter().map(|(reason, queue, count)| ((reason, queue), count)).collect();
            prop_assert_eq!(&counted, &expected);
        }
    }

    /// Who was never rejected reaches every queue once at most, whatever leads where.
    #[test]
    fn automatic_ways_end(next in proptest::collection::vec(0_usize..5, 5), start in 0_usize..5) {
        let queues = ["a", "b", "c", "d", "e"];
        let (mut at, mut message) = (start, published("k", &Properties::default()));
        let mut steps = 0;
        loop {
            let letter = death(queues[at], Reason::Expired).letter(&message);
            at = next[at];
            if is_cycle(&letter, Reason::Expired, queues[at]) {
                break;
            }
            message = letter;
            steps += 1;
            prop_assert!(steps <= queues.len());
        }
    }
}
