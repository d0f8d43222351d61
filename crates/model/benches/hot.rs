//! What routing and a queue cost for each message: `cargo bench -p warren-model`.
#![allow(missing_docs, reason = "a benchmark has no reader but its output")]

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use warren_amqp::Table;
use warren_amqp::content::{self, Header, Properties};
use warren_amqp::hot::Publish;
use warren_model::consumers::{Consumers, Terms};
use warren_model::meta::{Access, NamedPatterns, TopicPermissions, User};
use warren_model::queue::{Limits, QueueMachine};
use warren_model::routing::{Kind, Routes, Said, Target};
use warren_model::{Message, MessageId, Millis, Name, Pattern, QueueId};

fn main() {
    divan::main();
}

const NOW: Millis = Millis(1);
/// As many as a read brings of small ones.
const BATCH: usize = 512;

fn target(number: u64) -> Target {
    Target::Queue(QueueId(number))
}

fn message() -> Arc<Message> {
    let publish = Publish {
        routing_key: b"work-queue",
        ..Publish::default()
    };
    let header = Properties::default().header(16);
    let body = [Bytes::from_static(&[7; 16])];
    let content = content::Message::new(&publish, Header::read(&header).unwrap(), &body);
    Arc::new(Message::new(MessageId::default(), content).unwrap())
}

/// One key among so many bindings.
#[divan::bench(args = [1, 100, 10_000])]
fn direct(bencher: Bencher<'_, '_>, bindings: u64) {
    let mut routes = Routes::new(&Kind::Direct, &Table::new());
    for number in 0..bindings {
        routes.add(&format!("key.{number}"), &Table::new(), &target(number));
    }
    route(bencher, &routes, b"key.0");
}

/// One pattern that matches among so many that do not.
#[divan::bench(args = [1, 100, 10_000])]
fn topic(bencher: Bencher<'_, '_>, bindings: u64) {
    let mut routes = Routes::new(&Kind::Topic, &Table::new());
    routes.add("*.k0.#", &Table::new(), &target(0));
    for number in 1..bindings {
        routes.add(&format!("site.n{number}.*.f"), &Table::new(), &target(number));
    }
    route(bencher, &routes, b"site.k0.temp.c");
}

#[divan::bench(args = [1, 10, 100])]
fn fanout(bencher: Bencher<'_, '_>, queues: u64) {
    let mut routes = Routes::new(&Kind::Fanout, &Table::new());
    for number in 0..queues {
        routes.add("", &Table::new(), &target(number));
    }
    route(bencher, &routes, b"");
}

fn route(bencher: Bencher<'_, '_>, routes: &Routes, key: &[u8]) {
    bencher.bench_local(|| {
        let mut found = Vec::new();
        routes.route(&Said::new(black_box(key), None, 0), &mut found);
        found.len()
    });
}

/// A message that comes while somebody waits for it.
#[divan::bench]
fn queue_taken_at_once(bencher: Bencher<'_, '_>) {
    let message = message();
    let mut queue = QueueMachine::new(Limits::default(), 0);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let taken = queue.publish_taken(NOW, Arc::clone(&message), true);
            black_box(taken.is_ok());
        }
    });
}

/// Messages that wait, are taken and settled.
#[divan::bench]
fn queue_publish_take_settle(bencher: Bencher<'_, '_>) {
    let message = message();
    let mut queue = QueueMachine::new(Limits::default(), 0);
    let mut removed = Vec::new();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let placed = queue.publish(NOW, Arc::clone(&message), &mut removed);
            black_box(placed.is_ok());
        }
        while let Some(entry) = queue.take(NOW, false, &mut removed) {
            black_box(queue.settle(entry.position).is_some());
        }
    });
}

/// The same with so many priorities (`x-max-priority`), of messages that all have the same or all that there are, and no time to live.
#[divan::bench(args = [(0, false), (10, false), (255, false), (10, true), (255, true)])]
fn queue_with_priorities(bencher: Bencher<'_, '_>, (most, mixed): (u8, bool)) {
    let with = |priority: u8| {
        let properties = Properties {
            priority: Some(priority),
            ..Properties::default()
        };
        let header = properties.header(16);
        let body = [Bytes::from_static(&[7; 16])];
        let content = content::Message::new(&Publish::default(), Header::read(&header).unwrap(), &body);
        Arc::new(Message::new(MessageId::default(), content).unwrap())
    };
    let messages: Vec<_> = (0..=most).map(with).collect();
    let mut queue = QueueMachine::new(Limits::default(), most);
    let mut removed = Vec::new();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let some = messages.iter().rev().take(if mixed { messages.len() } else { 1 });
        for message in some.cycle().take(BATCH) {
            let placed = queue.publish(NOW, Arc::clone(message), &mut removed);
            black_box(placed.is_ok());
            // As a queue is asked after each turn of whoever uses it.
            black_box((queue.deadline(), queue.missing(), queue.pageable()));
        }
        while let Some(entry) = queue.take(NOW, false, &mut removed) {
            black_box(queue.settle(entry.position).is_some());
        }
    });
}

/// Who gets the next one, and room again for him.
#[divan::bench(args = [1, 8, 1000])]
fn consumers_in_turn(bencher: Bencher<'_, '_>, count: usize) {
    let mut consumers = Consumers::new(false);
    let terms = Terms {
        prefetch: Some(10),
        ..Terms::default()
    };
    for _ in 0..count {
        consumers.add(terms, ()).unwrap();
    }
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            let next = consumers.next().unwrap();
            consumers.served(next, true);
            consumers.settled(next, 1);
        }
    });
}

/// May a user use a key? His topic permission has his name in it, as `{username}`; `remembered`: for a message that is not the first.
#[divan::bench(args = [false, true])]
fn topic_permission_with_a_name(bencher: Bencher<'_, '_>, remembered: bool) {
    let name = |text| Name::try_from(text).unwrap();
    let mut user = User::default();
    let permissions = TopicPermissions {
        write: Pattern::new(r"^{username}\.").unwrap(),
        read: Pattern::new("").unwrap(),
    };
    user.topic_permissions
        .insert((name("/"), name("amq.topic")), permissions);
    let mut named = NamedPatterns::default();
    bencher.bench_local(|| {
        if !remembered {
            named = NamedPatterns::default();
        }
        let key = black_box("ann.orders.1");
        user.check_topic(Access::Write, "amq.topic", key, ("/", "ann"), &mut named)
            .is_ok()
    });
}
