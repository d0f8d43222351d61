use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use warren_amqp::content::{Header, Properties};
use warren_amqp::{ShortString, Table, Value};

use super::{Kind, QueueId, Routes, Said, Target};
use crate::effort::{assert_grows_with, effort};

fn queue(number: u64) -> Target {
    Target::Queue(QueueId(number))
}

fn routed(routes: &Routes, key: &str, headers: Option<Table>) -> Vec<u64> {
    let properties = Properties {
        headers,
        ..Properties::default()
    }
    .header(0);
    let said = Said::new(key.as_bytes(), Header::read(&properties).ok(), 7);
    let mut found = Vec::new();
    routes.route(&said, &mut found);
    let numbers: BTreeSet<u64> = found
        .into_iter()
        .map(|target| match target {
            Target::Queue(id) => id.0,
            Target::Exchange(_) => unreachable!(),
        })
        .collect();
    numbers.into_iter().collect()
}

fn table(entries: &[(&str, Value)]) -> Table {
    entries
        .iter()
        .map(|(name, value)| (ShortString::try_from(*name).unwrap(), value.clone()))
        .collect()
}

#[test]
fn a_star_is_one_word_and_a_hash_any_number() {
    let mut routes = Routes::new(&Kind::Topic, &Table::new());
    let patterns = [
        "a.b.c", "a.*.c", "a.#", "#", "*", "#.c", "a.#.#.c", "*.*", "", "a..c", "#.b.#",
    ];
    for (number, pattern) in patterns.iter().enumerate() {
        routes.add(pattern, &Table::new(), &queue(number as u64));
    }
    assert_eq!(routed(&routes, "a.b.c", None), [0, 1, 2, 3, 5, 6, 10]);
    assert_eq!(routed(&routes, "a", None), [2, 3, 4]);
    assert_eq!(routed(&routes, "", None), [3, 8]);
    assert_eq!(routed(&routes, "a.c", None), [2, 3, 5, 6, 7]);
    assert_eq!(routed(&routes, "a..c", None), [1, 2, 3, 5, 6, 9]);
    for (number, pattern) in patterns.iter().enumerate() {
        routes.remove(pattern, &Table::new(), &queue(number as u64));
    }
    assert!(routed(&routes, "a.b.c", None).is_empty());
}

#[test]
fn a_pattern_of_many_hashes_costs_no_more_than_its_length() {
    let mut routes = Routes::new(&Kind::Topic, &Table::new());
    let pattern = ["#.a"; 60].join(".");
    routes.add(&pattern, &Table::new(), &queue(1));
    let key = ["a"; 127].join(".");
    // In a walk that tries every way this does not end.
    assert_eq!(routed(&routes, &key, None), [1]);
    assert!(routed(&routes, &format!("{key}.b"), None).is_empty());
}

/// What the words mean, written down as directly as possible.
fn means(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => means(rest, key) || !key.is_empty() && means(pattern, &key[1..]),
        (Some((&"*", rest)), Some((_, key))) => means(rest, key),
        (Some((word, rest)), Some((other, key))) => word == other && means(rest, key),
        _ => false,
    }
}

fn split(text: &str) -> Vec<&str> {
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('.').collect()
    }
}

proptest! {
    #[test]
    fn topics_mean_what_they_say(
        patterns in prop::collection::vec(prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just(""), Just("*"), Just("#")], 0..6), 1..20),
        keys in prop::collection::vec(prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("")], 0..6), 1..20),
        gone in any::<u32>(),
    ) {
        let mut routes = Routes::new(&Kind::Topic, &Table::new());
        let patterns: Vec<String> = patterns.into_iter().map(|words| words.join(".")).collect();
        for (number, pattern) in patterns.iter().enumerate() {
            routes.add(pattern, &Table::new(), &queue(number as u64));
        }
        let stays = |number: usize| gone & (1 << number) == 0;
        for (number, pattern) in patterns.iter().enumerate().filter(|(number, _)| !stays(*number)) {
            routes.remove(pattern, &Table::new(), &queue(number as u64));
        }
        for key in keys {
            let key = key.join(".");
            let expected: Vec<u64> = (0..patterns.len())
                .filter(|number| stays(*number) && means(&split(&patterns[*number]), &split(&key)))
                .map(|number| number as u64)
                .collect();
            prop_assert_eq!(routed(&routes, &key, None), expected);
        }
    }
}

#[test]
fn headers_are_all_or_any() {
    let mut routes = Routes::new(&Kind::Headers, &Table::new());
    let (one, two) = (("one", Value::I32(1)), ("two", Value::text("2")));
    let bindings = [
        table(&[one.clone(), two.clone()]),
        table(&[("x-match", Value::text("any")), one.clone(), two.clone()]),
        table(&[]),
        table(&[("x-match", Value::text("any"))]),
        table(&[
            ("x-match", Value::text("all")),
            ("one", Value::Void),
            ("x-ignored", Value::text("?")),
        ]),
        table(&[
            ("x-match", Value::text("all-with-x")),
            ("x-seen", Value::text("!")),
        ]),
    ];
    for (number, arguments) in bindings.iter().enumerate() {
        routes.check("", arguments).unwrap();
        routes.add("", arguments, &queue(number as u64));
    }
    assert_eq!(routed(&routes, "", None), [2]);
    assert_eq!(
        routed(&routes, "", Some(table(&[("one", Value::I64(1)), two.clone()]))),
        [0, 1, 2, 4]
    );
    assert_eq!(
        routed(&routes, "", Some(table(std::slice::from_ref(&two)))),
        [1, 2]
    );
    assert_eq!(
        routed(&routes, "", Some(table(&[("x-seen", Value::text("!"))]))),
        [2, 5]
    );
    for (number, arguments) in bindings.iter().enumerate() {
        routes.remove("", arguments, &queue(number as u64));
    }
    assert!(routed(&routes, "", Some(table(&[one, two]))).is_empty());
}

#[test]
fn a_match_of_another_name_is_refused() {
    let routes = Routes::new(&Kind::Headers, &Table::new());
    let refusal = routes
        .check("", &table(&[("x-match", Value::text("some"))]))
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"
    );
}

#[test]
fn a_consistent_hash_moves_only_what_a_new_target_takes() {
    let mut routes = Routes::new(&Kind::ConsistentHash, &Table::new());
    for number in 0..4 {
        routes.add("10", &Table::new(), &queue(number));
    }
    let keys: Vec<String> = (0..4000).map(|number| format!("key-{number}")).collect();
    let before: Vec<_> = keys.iter().map(|key| routed(&routes, key, None)).collect();
    for number in 0..4 {
        let share = before.iter().filter(|found| **found == [number]).count();
        assert!(
            (700..1300).contains(&share),
            "{share} of 4000 for one of four equals"
        );
    }
    routes.add("10", &Table::new(), &queue(4));
    for (key, before) in keys.iter().zip(before) {
        let now = routed(&routes, key, None);
        assert!(
            now == before || now == [4],
            "{key} moved from {before:?} to {now:?}"
        );
    }
    assert!(routes.check("heavy", &Table::new()).is_err());
    let before: Vec<_> = keys.iter().map(|key| routed(&routes, key, None)).collect();
    routes.remove("10", &Table::new(), &queue(1));
    let after: Vec<_> = keys.iter().map(|key| routed(&routes, key, None)).collect();
    assert!(after.iter().all(|found| found.len() == 1 && *found != [1]));
    let moved = keys.iter().zip(before.iter().zip(&after));
    let moved = moved.filter(|(_, (before, after))| before != after).count();
    // Its share, and that of the one that came into its places.
    assert!(
        moved < 4000 * 2 / 5 + 300,
        "{moved} of 4000 moved when one of five went"
    );
}

#[test]
fn a_hash_may_be_that_of_a_header() {
    let arguments = Table::new().with("hash-header", Value::text("user"));
    let mut routes = Routes::new(&Kind::ConsistentHash, &arguments);
    for number in 0..10 {
        routes.add("1", &Table::new(), &queue(number));
    }
    let of = |user: &str, key: &str| {
        routed(
            &routes,
            key,
            Some(table(&[(
                "user",
                Value::Text(Bytes::copy_from_slice(user.as_bytes())),
            )])),
        )
    };
    assert_eq!(of("ann", "1"), of("ann", "2"));
    let users: BTreeSet<_> = (0..50).map(|number| of(&number.to_string(), "")).collect();
    assert!(users.len() > 3);
}

#[test]
fn equal_bindings_are_counted() {
    for kind in [Kind::Direct, Kind::Fanout, Kind::Topic, Kind::Random] {
        let mut routes = Routes::new(&kind, &Table::new());
        let other = table(&[("a", Value::I32(1))]);
        routes.add("k", &Table::new(), &queue(1));
        routes.add("k", &other, &queue(1));
        routes.remove("k", &other, &queue(1));
        assert_eq!(routed(&routes, "k", None), [1], "{kind:?}");
        routes.remove("k", &Table::new(), &queue(1));
        assert!(routed(&routes, "k", None).is_empty(), "{kind:?}");
    }
}

#[test]
fn fifty_thousand_queues_that_are_bound_alike_go_at_once() {
    const MANY: u64 = 50_000;
    for kind in [Kind::Direct, Kind::Fanout, Kind::Topic] {
        let mut routes = Routes::new(&kind, &Table::new());
        (0..MANY).for_each(|number| routes.add("k", &Table::new(), &queue(number)));
        let started = std::time::Instant::now();
        // As they come in a list of their names, which is not that of their age.
        for number in (0..MANY)
            .map(|number| number * 7919 % MANY)
            .filter(|number| *number != 77)
        {
            routes.remove("k", &Table::new(), &queue(number));
        }
        // Some ten milliseconds with optimisation; with each looking at all others it would be thousands of times that.
        assert!(
            started.elapsed().as_secs() < 5,
            "{kind:?}: {:?}",
            started.elapsed()
        );
        assert_eq!(routed(&routes, "k", None), [77], "{kind:?}");
    }
}

#[test]
fn kinds_are_known_by_their_names() {
    for name in [
        "direct",
        "fanout",
        "topic",
        "headers",
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
    ] {
        assert_eq!(Kind::parse(name, &Table::new()).unwrap().name(), name);
    }
    let delayed = Table::new().with("x-delayed-type", Value::text("topic"));
    assert_eq!(
        Kind::parse("x-delayed-message", &delayed),
        Ok(Kind::Delayed(Box::new(Kind::Topic)))
    );
    assert!(Kind::parse("x-delayed-message", &Table::new()).is_err());
    let unknown = Kind::parse("nonsense", &Table::new()).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "COMMAND_INVALID - unknown exchange type 'nonsense'"
    );
}

#[test]
fn bindings_that_differ_in_their_keys_alone_go_without_a_look_at_each_other() {
    assert_grows_with(10_000, |many| {
        let mut routes = Routes::new(&Kind::Headers, &Table::new());
        // In turns, so that the last one is mostly of the other queue.
        (0..many).for_each(|number| routes.add("", &Table::new(), &queue(u64::from(number % 2))));
        let took = effort(|| {
            let first = |number| u64::from(2 * number >= many);
            (0..many).for_each(|number| routes.remove("", &Table::new(), &queue(first(number))));
        });
        assert!(routed(&routes, "", None).is_empty());
        took
    });
}

proptest! {
    /// Whatever comes and goes, in whatever order: what is left is found, each as often as it was added.
    #[test]
    fn bindings_come_and_go(
        headers in any::<bool>(),
        steps in prop::collection::vec((any::<bool>(), 0..4_i32, 0..5_u64), 1..80),
    ) {
        let kind = if headers { Kind::Headers } else { Kind::Fanout };
        let mut routes = Routes::new(&kind, &Table::new());
        let mut left: Vec<(i32, u64)> = Vec::new();
        for (comes, number, target) in steps {
            let arguments = table(&[("n", Value::I32(number))]);
            if comes {
                routes.add("", &arguments, &queue(target));
                left.push((number, target));
            } else {
                if let Some(index) = left.iter().position(|one| *one == (number, target)) {
                    routes.remove("", &arguments, &queue(target));
                    left.swap_remove(index);
                }
            }
            for number in 0..4 {
                let expected: BTreeSet<u64> =
                    left.iter().filter(|(other, _)| !headers || *other == number).map(|(_, target)| *target).collect();
                let found = routed(&routes, "", Some(table(&[("n", Value::I64(number.into()))])));
                prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
