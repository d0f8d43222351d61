use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use warren_amqp::content::{self, DeliveryMode, Header, Properties};
use warren_amqp::hot::Publish;

use super::ready::{ASKED_MAX, HEAD_MAX, TAIL_MAX};
use super::{Entry, Limits, Overflow, Position, QueueMachine, Reason, Removed};
use crate::{Message, MessageId, Millis};

const NOW: Millis = Millis(1_000_000);

fn message(size: usize) -> Message {
    let properties = Properties::of(DeliveryMode::Persistent).header(size as u64);
    let body = Bytes::from(vec![b'x'; size]);
    let content = content::Message::new(&Publish::default(), Header::read(&properties).unwrap(), &[body]);
    Message::new(MessageId::default(), content).unwrap()
}

fn publish(queue: &mut QueueMachine, count: usize) {
    let mut removed = Vec::new();
    for _ in 0..count {
        queue.publish(NOW, Arc::new(message(10)), &mut removed).unwrap();
    }
    assert!(removed.is_empty());
}

type Disk = BTreeMap<Position, Entry>;

fn page_out(queue: &mut QueueMachine, count: usize, disk: &mut Disk) {
    let entries: Vec<Entry> = queue.to_page(count).cloned().collect();
    let before = queue.in_memory();
    assert_eq!(queue.page_out(&entries), [], "all of them were still there");
    assert_eq!(queue.in_memory(), before - entries.len());
    disk.extend(entries.into_iter().map(|entry| (entry.position, entry)));
}

/// Brings back what is missing, `count` messages at most. Says whether something was.
fn load(queue: &mut QueueMachine, count: usize, disk: &mut Disk) -> bool {
    let Some(missing) = queue.missing() else {
        return false;
    };
    let (mut entries, mut looked) = (Vec::new(), Vec::new());
    for run in &missing.runs {
        let of_run = disk.range(run.first..=run.last).take(count - entries.len());
        entries.extend(of_run.map(|(_, entry)| entry.clone()));
        let full = entries.len() == count;
        let end = entries.last().filter(|_| full).map(|entry| entry.position);
        looked.push((run.first, end.unwrap_or(run.last)));
        if full {
            break;
        }
    }
    for entry in &entries {
        disk.remove(&entry.position);
    }
    queue.load(missing.level, entries, &looked, &mut Vec::new());
    true
}

fn take_all(queue: &mut QueueMachine) -> Vec<u64> {
    let mut removed = Vec::new();
    std::iter::from_fn(|| queue.take(NOW, false, &mut removed))
        .map(|entry| entry.position.0)
        .collect()
}

fn reasons(removed: &[Removed]) -> Vec<(u64, Reason)> {
    removed
        .iter()
        .map(|gone| (gone.entry.position.0, gone.reason))
        .collect()
}

#[test]
fn messages_leave_in_the_order_in_which_they_came() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    publish(&mut queue, 5);
    assert_eq!(take_all(&mut queue), [1, 2, 3, 4, 5]);
    assert_eq!(
        (
            queue.counts().ready,
            queue.counts().unacked,
            queue.counts().unacked_octets
        ),
        (0, 5, 50)
    );
    assert!(queue.settle(Position(3)).is_some());
    assert!(queue.settle(Position(3)).is_none());
    assert_eq!(queue.counts().unacked, 4);
}

#[test]
fn what_comes_back_goes_to_where_it_was() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    publish(&mut queue, 6);
    let mut removed = Vec::new();
    for _ in 0..4 {
        queue.take(NOW, false, &mut removed);
    }
    queue.requeue(&mut [Position(4)], &mut removed);
    queue.requeue(&mut [Position(1), Position(3)], &mut removed);
    let first = queue.take(NOW, false, &mut removed).unwrap();
    assert!(first.redelivered);
    assert_eq!((first.position, first.returns), (Position(1), 1));
    assert_eq!(take_all(&mut queue), [3, 4, 5, 6]);
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let mut queue = QueueMachine::new(
        Limits {
            length: Some(3),
            ..Limits::default()
        },
        0,
    );
    let mut removed = Vec::new();
    for _ in 0..5 {
        queue.publish(NOW, Arc::new(message(1)), &mut removed).unwrap();
    }
    assert_eq!(
        reasons(&removed),
        [(1, Reason::MaxLength), (2, Reason::MaxLength)]
    );
    assert_eq!(take_all(&mut queue), [3, 4, 5]);
    removed.clear();
    queue.publish(NOW, Arc::new(message(1)), &mut removed).unwrap();
    assert!(removed.is_empty(), "unacked messages do not count");
    let mut all = [Position(3), Position(4), Position(5)];
    queue.requeue(&mut all, &mut removed);
    assert_eq!(reasons(&removed), [(3, Reason::MaxLength)]);
}

#[test]
fn octets_are_limited_too() {
    let mut queue = QueueMachine::new(
        Limits {
            octets: Some(25),
            ..Limits::default()
        },
        0,
    );
    let mut removed = Vec::new();
    for size in [10, 10, 10] {
        queue.publish(NOW, Arc::new(message(size)), &mut removed).unwrap();
    }
    assert_eq!(reasons(&removed), [(1, Reason::MaxLength)]);
}

#[test]
fn a_full_queue_may_refuse() {
    for (overflow, dead_letter) in [
        (Overflow::RejectPublish, false),
        (Overflow::RejectPublishDlx, true),
    ] {
        let mut queue = QueueMachine::new(
            Limits {
                length: Some(1),
                overflow,
                ..Limits::default()
            },
            0,
        );
        publish(&mut queue, 1);
        let refused = queue.publish(NOW, Arc::new(message(1)), &mut Vec::new());
        assert_eq!(refused.unwrap_err().dead_letter, dead_letter);
        let refused = queue.publish_taken(NOW, Arc::new(message(1)), true);
        assert!(refused.is_err(), "even if a consumer would take it");
        assert_eq!(queue.counts().ready, 1);
    }
}

#[test]
fn the_lower_of_two_times_to_live_holds_and_ends_at_the_front() {
    let mut queue = QueueMachine::new(
        Limits {
            message_ttl: Some(100),
            ..Limits::default()
        },
        0,
    );
    let mut removed = Vec::new();
    for expiration in [Some(500), Some(20), None] {
        queue
            .publish(
                NOW,
                Arc::new(Message {
                    expiration,
                    ..message(1)
                }),
                &mut removed,
            )
            .unwrap();
    }
    assert_eq!(queue.deadline(), Some(NOW.after(100)));
    queue.expire(NOW.after(50), &mut removed);
    assert!(removed.is_empty(), "the second has to wait until it is the first");
    queue.expire(NOW.after(100), &mut removed);
    assert_eq!(
        reasons(&removed),
        [(1, Reason::Expired), (2, Reason::Expired), (3, Reason::Expired)]
    );
    assert_eq!(queue.deadline(), None);
}

#[test]
fn nobody_gets_what_has_expired() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    let mut removed = Vec::new();
    queue
        .publish(
            NOW,
            Arc::new(Message {
                expiration: Some(5),
                ..message(1)
            }),
            &mut removed,
        )
        .unwrap();
    queue.publish(NOW, Arc::new(message(1)), &mut removed).unwrap();
    let taken = queue.take(NOW.after(5), false, &mut removed).unwrap();
    assert_eq!(taken.position, Position(2));
    assert_eq!(reasons(&removed), [(1, Reason::Expired)]);
}

#[test]
fn a_higher_priority_goes_first_and_none_is_the_lowest() {
    let mut queue = QueueMachine::new(Limits::default(), 9);
    let mut removed = Vec::new();
    for priority in [None, Some(1), Some(3), Some(200), Some(2), Some(0)] {
        queue
            .publish(
                NOW,
                Arc::new(Message {
                    priority,
                    ..message(1)
                }),
                &mut removed,
            )
            .unwrap();
    }
    assert_eq!(take_all(&mut queue), [4, 3, 5, 2, 1, 6]);
}

#[test]
fn what_comes_back_too_often_leaves() {
    let mut queue = QueueMachine::new(
        Limits {
            deliveries: Some(2),
            ..Limits::default()
        },
        0,
    );
    publish(&mut queue, 1);
    let mut removed = Vec::new();
    for _ in 0..2 {
        queue.take(NOW, false, &mut removed).unwrap();
        queue.requeue(&mut [Position(1)], &mut removed);
    }
    assert!(removed.is_empty());
    queue.take(NOW, false, &mut removed).unwrap();
    queue.requeue(&mut [Position(1)], &mut removed);
    assert_eq!(reasons(&removed), [(1, Reason::DeliveryLimit)]);
    assert_eq!(queue.counts(), super::Counts::default());
}

#[test]
fn what_came_back_too_often_in_an_earlier_life_leaves_when_it_is_read() {
    let limits = Limits {
        deliveries: Some(2),
        ..Limits::default()
    };
    let entries = |positions: std::ops::RangeInclusive<u64>| -> Vec<Entry> {
        let entry = |position| Entry {
            position: Position(position),
            message: Arc::new(message(10)),
            expires: None,
            // The second and the fourth once more than they may.
            returns: if position % 2 == 0 { 3 } else { 2 },
            redelivered: true,
        };
        positions.map(entry).collect()
    };
    let (mut queue, mut removed) = (QueueMachine::new(limits, 0), Vec::new());
    queue.recover(super::Run {
        first: Position(1),
        last: Position(9),
        count: 9,
        octets: 90,
    });
    queue.load(0, entries(1..=5), &[(Position(1), Position(5))], &mut removed);
    let left = [(2, Reason::DeliveryLimit), (4, Reason::DeliveryLimit)];
    assert_eq!(reasons(&removed), left);
    assert_eq!((queue.counts().ready, queue.counts().ready_octets), (7, 70));
    removed.clear();
    let mut queue = QueueMachine::new(limits, 3);
    queue.recover_entries(entries(1..=5), &mut removed);
    assert_eq!(reasons(&removed), left);
    assert_eq!((queue.counts().ready, queue.counts().ready_octets), (3, 30));
    assert_eq!(take_all(&mut queue), [1, 3, 5]);
}

#[test]
fn a_purge_leaves_what_somebody_has() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    publish(&mut queue, 10);
    let mut removed = Vec::new();
    for _ in 0..5 {
        queue.take(NOW, false, &mut removed);
    }
    queue.requeue(&mut [Position(2)], &mut removed);
    let mut gone = Vec::new();
    assert_eq!(queue.purge(&mut gone), 6);
    assert_eq!(gone, [(Position(2), Position(2)), (Position(6), Position(10))]);
    assert_eq!((queue.counts().ready, queue.counts().unacked), (0, 4));
    assert_eq!(queue.next_position(), Position(11));
}

#[test]
fn a_deep_backlog_takes_no_memory() {
    let count = 200_000;
    let mut queue = QueueMachine::new(Limits::default(), 0);
    let mut removed = Vec::new();
    let mut disk = Disk::new();
    for _ in 0..count {
        queue.publish(NOW, Arc::new(message(10)), &mut removed).unwrap();
        if queue.pageable() >= 1000 {
            let count = queue.pageable();
            page_out(&mut queue, count, &mut disk);
        }
    }
    assert_eq!(queue.counts().ready, count);
    assert!(
        queue.in_memory() < HEAD_MAX + TAIL_MAX + 1001,
        "{}",
        queue.in_memory()
    );
    for expected in 1..=count {
        load(&mut queue, 3000, &mut disk);
        assert_eq!(
            queue.take(NOW, true, &mut removed).map(|entry| entry.position),
            Some(Position(expected))
        );
    }
    assert_eq!(queue.counts(), super::Counts::default());
}

#[test]
fn what_the_disk_does_not_have_is_not_counted() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    queue.recover(super::Run {
        first: Position(5),
        last: Position(9),
        count: 5,
        octets: 50,
    });
    let last = queue.missing().unwrap().runs[0].last;
    let entry = Entry {
        position: Position(7),
        message: Arc::new(message(10)),
        expires: None,
        returns: 0,
        redelivered: true,
    };
    queue.load(0, vec![entry], &[(last, last)], &mut Vec::new());
    assert_eq!((queue.counts().ready, queue.counts().ready_octets), (1, 10));
    assert_eq!(take_all(&mut queue), [7]);
    assert_eq!(queue.next_position(), Position(10));
}

#[derive(Clone, Debug)]
enum Step {
    Publish,
    Take,
    TakeSettled,
    Settle(prop::sample::Index),
    Requeue(Vec<prop::sample::Index>),
    Purge,
    Page(usize),
    Load(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Publish),
        4 => Just(Step::Take),
        1 => Just(Step::TakeSettled),
        2 => any::<prop::sample::Index>().prop_map(Step::Settle),
        2 => prop::collection::vec(any::<prop::sample::Index>(), 1..5).prop_map(Step::Requeue),
        1 => (0..50_u8).prop_map(|odds| if odds == 0 { Step::Purge } else { Step::Publish }),
        1 => (1..10_usize).prop_map(Step::Page),
        2 => (1..10_usize).prop_map(Step::Load),
    ]
}

proptest! {
    /// A sorted list is what a queue is; memory and disk must not be seen.
    #[test]
    fn a_queue_is_a_sorted_list(steps in prop::collection::vec(step(), 1..400), highest in prop::sample::select(vec![0_u8, 3])) {
        let mut queue = QueueMachine::new(Limits::default(), highest);
        // By priority, then by position.
        let priority = |position: u64| position.wrapping_mul(0x9e37_79b9) >> 7 & u64::from(highest);
        let order = |position: &u64| (u64::MAX - priority(*position), *position);
        let mut ready: Vec<u64> = Vec::new();
        let mut held: Vec<u64> = Vec::new();
        let mut disk = Disk::new();
        let mut removed = Vec::new();
        for step in steps {
            match step {
                Step::Publish => {
                    let mut message = message(10);
                    message.priority = u8::try_from(priority(queue.next_position().0)).ok();
                    let (position, _) = queue.publish(NOW, Arc::new(message), &mut removed).unwrap();
                    ready.push(position.0);
                    ready.sort_by_key(order);
                }
                Step::Take | Step::TakeSettled => {
                    let settled = matches!(step, Step::TakeSettled);
                    match queue.take(NOW, settled, &mut removed) {
                        Some(entry) => {
                            prop_assert_eq!(entry.position.0, ready.remove(0));
                            if !settled {
                                held.push(entry.position.0);
                            }
                        }
                        None => prop_assert!(ready.is_empty() || queue.missing().is_some()),
                    }
                }
                Step::Settle(which) if !held.is_empty() => {
                    prop_assert!(queue.settle(Position(held.remove(which.index(held.len())))).is_some());
                }
                Step::Requeue(which) if !held.is_empty() => {
                    let mut back: Vec<u64> = which.iter().map(|index| held[index.index(held.len())]).collect();
                    back.sort_unstable();
                    back.dedup();
                    held.retain(|position| !back.contains(position));
                    ready.extend(&back);
                    ready.sort_by_key(order);
                    let mut back: Vec<Position> = back.into_iter().map(Position).collect();
                    queue.requeue(&mut back, &mut removed);
                }
                Step::Purge => {
                    let mut gone = Vec::new();
                    prop_assert_eq!(queue.purge(&mut gone), ready.len() as u64);
                    let covered = |position: &u64| gone.iter().any(|(first, last)| (first.0..=last.0).contains(position));
                    prop_assert!(ready.iter().all(covered));
                    ready.clear();
                    disk.clear();
                }
                Step::Page(count) => page_out(&mut queue, count, &mut disk),
                Step::Load(count) => {
                    load(&mut queue, count, &mut disk);
                }
                Step::Settle(_) | Step::Requeue(_) => {}
            }
            prop_assert!(removed.is_empty());
            prop_assert_eq!(queue.counts().ready, ready.len() as u64);
            prop_assert_eq!(queue.counts().unacked, held.len() as u64);
        }
    }
}

#[test]
fn what_is_fetched_too_late_or_beyond_what_was_asked_for_is_left_out() {
    let mut queue = QueueMachine::new(Limits::default(), 0);
    let run = |first, last| super::Run {
        first: Position(first),
        last: Position(last),
        count: last - first + 1,
        octets: 10 * (last - first + 1),
    };
    let entries = |positions: std::ops::RangeInclusive<u64>| -> Vec<Entry> {
        let entry = |position| Entry {
            position: Position(position),
            message: Arc::new(message(10)),
            expires: None,
            returns: 0,
            redelivered: false,
        };
        positions.map(entry).collect()
    };
    queue.recover(run(1, 5));
    queue.purge(&mut Vec::new());
    queue.recover(run(6, 7));
    queue.load(0, entries(1..=5), &[(Position(1), Position(5))], &mut Vec::new());
    assert_eq!(queue.in_memory(), 0);
    // What is behind the run is in memory, or on its way there.
    queue.load(0, entries(6..=9), &[(Position(6), Position(9))], &mut Vec::new());
    assert_eq!((queue.in_memory(), queue.counts().ready), (2, 2));
}

fn delayed(milliseconds: i64) -> Arc<Message> {
    let properties = Properties {
        headers: Some(warren_amqp::Table::new().with("x-delay", warren_amqp::Value::I64(milliseconds))),
        ..Properties::default()
    }
    .header(1);
    let body = Bytes::from_static(b"x");
    let content = content::Message::new(&Publish::default(), Header::read(&properties).unwrap(), &[body]);
    Arc::new(Message::new(MessageId::default(), content).unwrap())
}

#[test]
fn a_delaying_queue_lets_messages_go_by_their_time() {
    let mut queue = QueueMachine::delaying(Limits {
        message_ttl: Some(1),
        ..Limits::default()
    });
    let mut removed = Vec::new();
    for delay in [300, 100, 200, 100, -5] {
        queue.publish(NOW, delayed(delay), &mut removed).unwrap();
    }
    assert_eq!(queue.counts().ready, 5);
    assert!(queue.take(NOW, true, &mut removed).is_none(), "nobody gets one");
    let mut gone = Vec::new();
    for time in [0, 100, 250, 299, 300] {
        queue.expire(NOW.after(time), &mut removed);
        gone.push(
            removed
                .drain(..)
                .map(|one| one.entry.position.0)
                .collect::<Vec<_>>(),
        );
    }
    // The one that has no delay left when somebody wanted to take one.
    assert_eq!(gone, [vec![5], vec![2, 4], vec![3], vec![], vec![1]]);
    assert_eq!((queue.counts().ready, queue.counts().ready_octets), (0, 0));
    assert_eq!(queue.deadline(), None);
}

#[test]
fn a_delaying_queue_reads_all_that_a_restart_finds() {
    let mut queue = QueueMachine::delaying(Limits::default());
    queue.recover(super::Run {
        first: Position(1),
        last: Position(9),
        count: 4,
        octets: 4,
    });
    queue.skip_to(Position(12));
    let entry = |position: u64, time: u64| Entry {
        position: Position(position),
        message: delayed(1),
        expires: Some(NOW.after(time)),
        returns: 0,
        redelivered: false,
    };
    assert_eq!((queue.counts().ready, queue.deadline()), (4, None));
    queue.load(
        0,
        vec![entry(1, 50), entry(4, 10)],
        &[(Position(1), Position(4))],
        &mut Vec::new(),
    );
    let missing = queue.missing().unwrap().runs[0];
    assert_eq!((missing.first, missing.last), (Position(5), Position(9)));
    queue.load(
        0,
        vec![entry(9, 5)],
        &[(Position(5), Position(9))],
        &mut Vec::new(),
    );
    assert_eq!(queue.missing(), None);
    assert_eq!(queue.counts().ready, 3, "one was not there");
    assert_eq!(queue.deadline(), Some(NOW.after(5)));
    let mut gone = Vec::new();
    assert_eq!(queue.purge(&mut gone), 3);
    assert_eq!(queue.deadline(), None);
    assert_eq!(queue.next_position(), Position(12));
}

#[test]
fn priorities_take_as_much_memory_as_one() {
    let mut queue = QueueMachine::new(Limits::default(), 3);
    let (mut removed, mut disk) = (Vec::new(), Disk::new());
    let count = 20_000;
    for number in 0..count {
        let mut message = message(10);
        message.priority = Some((number % 5) as u8);
        queue.publish(NOW, Arc::new(message), &mut removed).unwrap();
        while queue.pageable() >= 10 {
            page_out(&mut queue, 10, &mut disk);
        }
    }
    assert!(queue.in_memory() < 60, "{}", queue.in_memory());
    let mut last = (u8::MAX, Position(0));
    for _ in 0..count {
        while queue.counts().ready > 0 && load(&mut queue, 10, &mut disk) {}
        let entry = queue.take(NOW, true, &mut removed).unwrap();
        let priority = entry.message.priority.unwrap().min(3);
        assert!(priority < last.0 || (priority == last.0 && entry.position > last.1));
        last = (priority, entry.position);
        assert!(queue.in_memory() < 60, "{}", queue.in_memory());
    }
    assert_eq!(queue.counts(), super::Counts::default());
}

#[test]
fn a_lower_priority_waits_for_what_has_to_be_fetched_of_a_higher() {
    let mut queue = QueueMachine::new(Limits::default(), 1);
    let (mut removed, mut disk) = (Vec::new(), Disk::new());
    let mut publish = |queue: &mut QueueMachine, priority| {
        let mut message = message(10);
        message.priority = Some(priority);
        queue.publish(NOW, Arc::new(message), &mut removed).unwrap();
    };
    publish(&mut queue, 0);
    (0..20).for_each(|_| publish(&mut queue, 1));
    page_out(&mut queue, 100, &mut disk);
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(take_all(&mut queue));
        load(&mut queue, 100, &mut disk);
    }
    taken.extend(take_all(&mut queue));
    let expected: Vec<u64> = (2..=21).chain([1]).collect();
    assert_eq!(taken, expected);
}

#[test]
fn what_waits_long_is_on_disk_and_comes_in_time() {
    let mut queue = QueueMachine::delaying(Limits::default());
    let (mut removed, mut disk) = (Vec::new(), Disk::new());
    let count = 2000_u64;
    // Times in no order, each once.
    let delay = |number: u64| number * 617 % count + 1;
    for number in 0..count {
        queue
            .publish(NOW, delayed(delay(number) as i64), &mut removed)
            .unwrap();
        page_out(&mut queue, 100, &mut disk);
    }
    assert!(queue.in_memory() <= HEAD_MAX, "{}", queue.in_memory());
    assert_eq!(queue.counts().ready, count);
    for time in 1..=count {
        assert_eq!(queue.deadline(), Some(NOW.after(time)));
        queue.expire(NOW.after(time), &mut removed);
        while removed.is_empty() && load(&mut queue, 4, &mut disk) {
            queue.expire(NOW.after(time), &mut removed);
        }
        let gone: Vec<u64> = removed.drain(..).map(|one| one.entry.position.0 - 1).collect();
        assert_eq!(
            gone.iter().map(|number| delay(*number)).collect::<Vec<_>>(),
            [time]
        );
        page_out(&mut queue, 100, &mut disk);
        assert!(queue.in_memory() <= HEAD_MAX + ASKED_MAX);
    }
    assert_eq!(queue.counts(), super::Counts::default());
}

#[test]
fn what_waited_and_is_not_on_disk_any_more_is_not_counted() {
    let mut queue = QueueMachine::delaying(Limits::default());
    let (mut removed, mut disk) = (Vec::new(), Disk::new());
    for number in 0..30 {
        queue.publish(NOW, delayed(number + 1), &mut removed).unwrap();
    }
    page_out(&mut queue, 100, &mut disk);
    assert!(!disk.is_empty());
    disk.clear();
    let mut rounds = 0;
    while queue.counts().ready > 0 {
        queue.expire(NOW.after(1000), &mut removed);
        load(&mut queue, 100, &mut disk);
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(removed.len(), HEAD_MAX);
    assert_eq!(queue.counts(), super::Counts::default());
}
