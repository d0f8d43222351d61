//! A broker whose metadata and messages are somewhere else than in its log: it must not notice, and its clients neither.
//!
//! Commands are agreed on by another thread before they count ([`metadata`]). Messages are kept by something that calls them safe late and in
//! any order ([`log`]), as several groups of replicas do.

mod log;
mod metadata;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use warren_amqp::client::Event;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, basic, queue};
use warren_broker::{Member, Node, Settings};
use warren_cluster::Session;

use super::agreement::disagreements;
use super::broker::Broker;
use super::client::{self, Client, Ended, short};
use super::words::{Heard, PATIENCE, body};
use log::{Elsewhere, Kept, Release};
use metadata::{Agreed, Commands};

/// What is there when a node is not.
#[derive(Clone, Default)]
struct World {
    commands: Commands,
    kept: Kept,
}

impl World {
    fn start(&self, release: Release) -> (Broker, Arc<Elsewhere>) {
        self.start_with(release, Session::default())
    }

    fn start_with(&self, release: Release, session: Session) -> (Broker, Arc<Elsewhere>) {
        let log = Elsewhere::new(self.kept.clone(), release);
        let metadata = Agreed::new(self.commands.clone(), log.clone());
        let member = Member {
            view: metadata.view(),
            metadata: Box::new(metadata),
            log: log.clone(),
            session,
            recovered: self.kept.recovered(),
        };
        let broker = Broker::of(|| {
            let opened = Node::open("rabbit@test".to_owned(), Settings::default(), member);
            opened.unwrap().0
        });
        (broker, log)
    }
}

fn persistent() -> Properties {
    Properties::of(DeliveryMode::Persistent)
}

fn confirming(broker: &Broker, name: &str) -> Client {
    let mut client = Client::open(broker.at);
    client.declare(queue::Declare {
        queue: short(name),
        durable: true,
        ..queue::Declare::default()
    });
    client.select_confirms();
    client
}

/// Waits until something is the case.
fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// So many messages are confirmed, or a few more: how many.
fn confirmed(client: &mut Client, at_least: u64) -> usize {
    let mut last = 0;
    while last < at_least {
        match client.next() {
            Ok(Event::Method {
                method: Method::Basic(basic::Method::Ack(ack)),
                ..
            }) => last = ack.delivery_tag,
            other => panic!("{other:?}"),
        }
    }
    usize::try_from(last).unwrap()
}

/// The code with which the connection ends, next of all.
fn end(client: &mut Client) -> u16 {
    match client.next() {
        Err(Ended::Closed { channel: 0, code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clients_find_all_rules_kept() {
    let (broker, _log) = World::default().start(Release::AtRandom(7));
    let wrong = disagreements(broker.at);
    assert!(wrong.is_empty(), "it makes a difference to {wrong:?}");
}

#[test]
fn confirms_keep_their_order_when_messages_become_safe_in_another() {
    let (broker, log) = World::default().start(Release::ByHand);
    let mut client = confirming(&broker, "ordered");
    let mut other = confirming(&broker, "other");
    for (body, pending) in [("first", 1), ("second", 2), ("third", 3)] {
        client.put("ordered", &persistent(), body);
        eventually(|| log.pending() == pending);
    }
    log.release(2);
    log.release(1);
    // Both were looked at by now, and nothing was said: neither is that of a bystander held up.
    other.put("other", &persistent(), "aside");
    eventually(|| log.pending() == 2);
    log.release(1);
    assert_eq!(other.hear(1), [Heard::Ack(1)]);
    assert_eq!(
        client.end(1),
        None,
        "nothing may be confirmed before the first is safe"
    );
    log.release(0);
    assert_eq!(client.hear(3), [Heard::Ack(3)]);
}

#[test]
fn what_is_not_safe_is_not_confirmed_however_long_it_takes() {
    let (broker, log) = World::default().start(Release::ByHand);
    let mut client = confirming(&broker, "slow");
    client.put("slow", &persistent(), "delivered at once");
    let mut reader = Client::open(broker.at);
    // Whether it is safe is between broker and publisher.
    assert_eq!(body(&reader.wait_for_unacked("slow", false)), "delivered at once");
    assert_eq!(client.end(1), None);
    assert_eq!(log.pending(), 1);
    log.release(0);
    assert_eq!(client.hear(1), [Heard::Ack(1)]);
}

/// Nothing else that its client says is done before, nobody else waits, and whoever ends the connection need not wait either.
#[test]
fn what_is_declared_is_answered_when_it_is_safe() {
    let (broker, log) = World::default().start(Release::ByHand);
    let mut other = confirming(&broker, "before");
    let mut clients = [Client::open(broker.at), Client::open(broker.at)];
    log.let_changes_wait();
    for (pending, (client, name)) in (1..).zip(clients.iter_mut().zip(["first", "second"])) {
        let declare = queue::Declare {
            queue: short(name),
            durable: true,
            ..queue::Declare::default()
        };
        client.send(1, declare);
        client.publish_to("before", name.as_bytes());
        client.send(1, basic::Qos::default());
        eventually(|| log.pending() == pending);
    }
    assert_eq!(other.count("first") + other.count("before"), 0);
    let [first, second] = &mut clients;
    let connections = broker.node.registry.connections();
    let last = connections.iter().max_by_key(|entry| entry.facts.number).unwrap();
    last.close("not needed");
    assert_eq!(end(second), 320);
    log.release(1);
    let mut answers = || match first.next() {
        Ok(Event::Method { method, .. }) => method.id(),
        other => panic!("{other:?}"),
    };
    assert_eq!([answers(), answers()], [queue::DeclareOk::ID, basic::QosOk::ID]);
    assert_eq!(other.drain("before"), ["first"]);
    assert_eq!(log.pending(), 1, "they are safe in the order in which they came");
}

#[test]
fn what_there_is_no_room_for_is_refused_and_reaches_nobody() {
    let (broker, log) = World::default().start(Release::AtRandom(3));
    let mut client = confirming(&broker, "full");
    client.put("full", &persistent(), "fits");
    assert_eq!(client.hear(1), [Heard::Ack(1)]);
    log.set_full(true);
    client.put("full", &persistent(), "does not");
    assert_eq!(client.hear(2), [Heard::Nack(2)]);
    log.set_full(false);
    client.put("full", &persistent(), "does again");
    assert_eq!(client.hear(3), [Heard::Ack(3)]);
    assert_eq!(client.drain("full"), ["fits", "does again"]);
}

#[test]
fn when_nothing_is_kept_any_more_nothing_is_confirmed_and_the_connection_ends() {
    let (broker, log) = World::default().start(Release::AtRandom(4));
    let mut client = confirming(&broker, "broken");
    log.break_off();
    client.put("broken", &persistent(), "lost");
    assert_eq!(end(&mut client), 541);
}

#[test]
fn a_node_that_may_not_serve_any_more_sends_everybody_away_and_confirms_nothing() {
    let session = Session::default();
    let (broker, log) = World::default().start_with(Release::ByHand, session.clone());
    let mut client = confirming(&broker, "fenced");
    let mut idle = Client::open(broker.at);
    client.put("fenced", &persistent(), "not safe");
    eventually(|| log.pending() == 1);
    session.end("others may believe that this node is dead");
    for client in [&mut client, &mut idle] {
        assert_eq!(end(client), 320);
    }
    let mut late = Client::connect(broker.at);
    assert_eq!(end(&mut late), 320);
}

/// Nodes that end at any moment, with whatever is not safe: those after them have all that was confirmed and not taken.
#[test]
fn nothing_confirmed_is_missing_after_a_node_that_lost_what_was_not_safe() {
    for seed in 0..20 {
        let world = World::default();
        let mut safe: Vec<String> = Vec::new();
        let mut number = 0;
        for life in 0..3 {
            let (broker, log) = world.start(Release::AtRandom(seed * 10 + life));
            let mut client = confirming(&broker, "kept");
            let mut sent = Vec::new();
            for _ in 0..20 {
                let body = format!("{number:04}");
                number += 1;
                client.put("kept", &persistent(), &body);
                sent.push(body);
            }
            // As many as are confirmed by some time, and then no more.
            safe.extend(sent.into_iter().take(confirmed(&mut client, 1 + seed % 15)));
            log.break_off();
            drop(client);
            drop(broker);
        }
        let (broker, _log) = world.start(Release::AtRandom(seed));
        let mut client = Client::open(broker.at);
        let mut found = Vec::new();
        while client.count("kept") > 0 {
            found.extend(client.drain("kept"));
        }
        let missing: Vec<_> = safe.iter().filter(|one| !found.contains(one)).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?} of {found:?}");
        let mut ordered = found.clone();
        ordered.sort();
        ordered.dedup();
        assert_eq!(found, ordered, "seed {seed}: once each, and in order");
    }
}

/// More than a queue may have in memory while others wait to leave it, and what a publisher may have sent before he waits.
const CROWDED: usize = 65_536;

/// Nothing leaves the memory, until this is dropped.
struct PagingStopped<'a>(&'a Elsewhere);

impl<'a> PagingStopped<'a> {
    fn of(log: &'a Elsewhere) -> Self {
        log.stop_paging(true);
        Self(log)
    }
}

impl Drop for PagingStopped<'_> {
    fn drop(&mut self) {
        self.0.stop_paging(false);
    }
}

#[test]
fn who_publishes_more_than_leaves_the_memory_waits_and_nobody_else() {
    const BURST: usize = 1000;
    let (broker, log) = World::default().start(Release::AtRandom(5));
    let paging = PagingStopped::of(&log);
    let mut consumer = Client::open(broker.at);
    consumer.declare(client::queue("crowded"));
    let mut publisher = Client::open(broker.at);
    let mut burst = Outbox::new(FrameMax::DEFAULT);
    let to = Publish {
        routing_key: b"crowded",
        ..Publish::default()
    };
    for _ in 0..BURST {
        let transient = Properties::of(DeliveryMode::Transient);
        burst
            .publish(1, &to, &transient, &Bytes::from_static(b"some"))
            .unwrap();
    }
    let bursts = 4 * CROWDED / BURST;
    let publishing = std::thread::spawn(move || {
        (0..bursts).for_each(|_| publisher.send_all(&mut burst.clone()));
        publisher
    });
    let in_memory = || {
        let queues = broker.node.queues().0;
        queues
            .iter()
            .map(|queue| queue.snapshot().in_memory)
            .sum::<usize>()
    };
    let states = || {
        let connections = broker.node.registry.connections();
        let states = connections.iter().map(|connection| connection.state().name());
        states.collect::<Vec<_>>()
    };
    eventually(|| states() == ["running", "flow"]);
    assert!(in_memory() < CROWDED, "{}", in_memory());
    // Those who take messages are served as ever.
    for _ in 0..100 {
        let message = consumer.get("crowded", false).unwrap();
        let delivery_tag = message.get_ok().unwrap().delivery_tag;
        consumer.send(
            1,
            basic::Ack {
                delivery_tag,
                multiple: false,
            },
        );
    }
    assert_eq!(states(), ["running", "flow"]);
    assert!(
        !publishing.is_finished() && in_memory() < CROWDED,
        "{}",
        in_memory()
    );
    drop(paging);
    let mut publisher = publishing.join().unwrap();
    assert_eq!(publisher.end(1), None);
    let all = (bursts * BURST - 100) as u64;
    eventually(|| broker.node.queues().0[0].snapshot().counts.ready == all);
    eventually(|| in_memory() < CROWDED && states() == ["running", "running"]);
}
