use super::{ConsumerId, Consumers, InExclusiveUse, Terms};
use crate::effort::{assert_grows_with, effort};

fn terms(priority: i32, prefetch: u32) -> Terms {
    Terms {
        priority,
        prefetch: (prefetch > 0).then_some(prefetch),
        exclusive: false,
    }
}

/// Who gets each of `count` messages, with acknowledgements outstanding.
fn serve(consumers: &mut Consumers<()>, count: usize) -> Vec<u64> {
    let mut served = Vec::new();
    for _ in 0..count {
        let Some(id) = consumers.next() else { break };
        consumers.served(id, true);
        served.push(id.0);
    }
    served
}

#[test]
fn equals_are_served_in_turn() {
    let mut consumers = Consumers::new(false);
    for _ in 0..3 {
        consumers.add(terms(0, 0), ()).unwrap();
    }
    assert_eq!(serve(&mut consumers, 7), [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn a_higher_priority_is_served_until_it_has_no_room() {
    let mut consumers = Consumers::new(false);
    consumers.add(terms(-1, 0), ()).unwrap();
    let high = consumers.add(terms(10, 2), ()).unwrap();
    assert_eq!(serve(&mut consumers, 4), [2, 2, 1, 1]);
    assert!(consumers.settled(high, 1));
    assert_eq!(serve(&mut consumers, 2), [2, 1]);
}

#[test]
fn nobody_gets_more_than_the_prefetch_limit() {
    let mut consumers = Consumers::new(false);
    let one = consumers.add(terms(0, 3), ()).unwrap();
    assert_eq!(serve(&mut consumers, 9), [1, 1, 1]);
    assert!(!consumers.set_blocked(one, true));
    assert!(!consumers.settled(one, 3), "it is blocked");
    assert_eq!(consumers.next(), None);
    assert!(consumers.set_blocked(one, false));
    assert_eq!(serve(&mut consumers, 9), [1, 1, 1]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut consumers = Consumers::new(false);
    let exclusive = Terms {
        exclusive: true,
        ..Terms::default()
    };
    let first = consumers.add(exclusive, ()).unwrap();
    assert_eq!(consumers.add(Terms::default(), ()), Err(InExclusiveUse));
    consumers.remove(first);
    consumers.add(Terms::default(), ()).unwrap();
    assert_eq!(consumers.add(exclusive, ()), Err(InExclusiveUse));
}

#[test]
fn a_single_active_consumer_is_followed_by_the_oldest_of_the_highest_priority() {
    let mut consumers = Consumers::new(true);
    let first = consumers.add(terms(0, 0), ()).unwrap();
    for priority in [0, 5, 5] {
        consumers.add(terms(priority, 0), ()).unwrap();
    }
    assert_eq!(serve(&mut consumers, 2), [1, 1]);
    consumers.remove(first);
    assert!(consumers.is_active(ConsumerId(3)));
    assert_eq!(serve(&mut consumers, 2), [3, 3]);
    consumers.remove(ConsumerId(2));
    assert_eq!(serve(&mut consumers, 1), [3]);
    assert_eq!(
        consumers.add(
            Terms {
                exclusive: true,
                ..Terms::default()
            },
            ()
        ),
        Err(InExclusiveUse)
    );
}

#[test]
fn who_goes_is_served_no_more() {
    let mut consumers = Consumers::new(false);
    let ids: Vec<_> = (0..3).map(|_| consumers.add(terms(0, 0), ()).unwrap()).collect();
    consumers.remove(ids[0]);
    assert_eq!(serve(&mut consumers, 4), [2, 3, 2, 3]);
    consumers.remove(ids[2]);
    consumers.remove(ids[1]);
    assert_eq!(consumers.next(), None);
    assert!(consumers.is_empty());
}

#[test]
fn a_hundred_thousand_consumers_go_at_once_and_whoever_stays_keeps_his_turn() {
    const MANY: u64 = 100_000;
    let mut consumers = Consumers::new(false);
    for _ in 0..MANY {
        consumers.add(terms(0, 0), ()).unwrap();
    }
    let started = std::time::Instant::now();
    // From the inside to both ends.
    for near in 0..MANY / 2 - 2 {
        consumers.set_blocked(ConsumerId(MANY / 2 - near), true);
        consumers.remove(ConsumerId(MANY / 2 - near));
        consumers.remove(ConsumerId(MANY / 2 + 1 + near));
    }
    // Some ten milliseconds with optimisation; with each looking at all others it would be minutes.
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!(serve(&mut consumers, 5), [1, 2, MANY - 1, MANY, 1]);
}

#[test]
fn who_follows_a_single_active_consumer_is_not_searched_for_among_all() {
    assert_grows_with(10_000, |many| {
        let mut consumers = Consumers::new(true);
        for number in 0..many {
            consumers.add(terms((number % 3) as i32, 0), ()).unwrap();
        }
        let took = effort(|| {
            while let Some(active) = consumers.next() {
                consumers.remove(active);
            }
        });
        assert!(consumers.is_empty());
        took
    });
}

#[test]
fn who_loses_his_turn_has_one_again_behind_all_others_and_only_one() {
    let mut consumers = Consumers::new(false);
    for _ in 0..3 {
        consumers.add(terms(0, 0), ()).unwrap();
    }
    for _ in 0..100 {
        consumers.set_blocked(ConsumerId(2), true);
        assert!(consumers.set_blocked(ConsumerId(2), false));
    }
    assert!(
        consumers.rings.values().all(|ring| ring.len() <= 6),
        "nobody serves"
    );
    assert_eq!(serve(&mut consumers, 6), [1, 3, 2, 1, 3, 2]);
    for id in [2, 1, 3] {
        consumers.remove(ConsumerId(id));
    }
    assert!(consumers.rings.is_empty());
}
