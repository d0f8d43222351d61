//! What becomes of messages when a channel ends that has some.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use warren_amqp::client::Event;
use warren_amqp::{Method, MethodId, ShortString, basic, channel};
use warren_model::queue::Counts;

use crate::node::Node;
use crate::testing::{Client, eventually, node};

const QUEUE: &str = "left";

fn counts(node: &Node) -> Counts {
    node.queues()
        .0
        .iter()
        .map(|queue| queue.snapshot().counts)
        .next()
        .unwrap()
}

/// Hears what comes on a channel until that is a certain method, and counts messages.
async fn until(client: &mut Client, on: u16, id: MethodId) -> usize {
    let mut messages = 0;
    loop {
        match client.event().await {
            Event::Method { channel, method } if channel == on && method.id() == id => return messages,
            Event::Message { .. } => messages += 1,
            Event::Method {
                method: Method::Basic(basic::Method::ConsumeOk(_) | basic::Method::QosOk(_)),
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn open(client: &mut Client, number: u16) {
    client.cast_on(number, channel::Open::default()).await;
    until(client, number, channel::OpenOk::ID).await;
}

async fn consume(client: &mut Client, number: u16, tag: &'static str) {
    let consume = basic::Consume {
        queue: ShortString::from_static(QUEUE),
        consumer_tag: ShortString::from_static(tag),
        ..basic::Consume::default()
    };
    client.cast_on(number, consume).await;
}

#[tokio::test]
async fn a_channel_that_ends_gives_back_all_it_had_and_none_of_it_to_itself() {
    let (node, address) = node().await;
    let mut publisher = Client::open(address).await;
    publisher.declare(QUEUE).await;
    for _ in 0..10 {
        publisher.publish(QUEUE, false, b"some").await;
    }
    let mut client = Client::open(address).await;
    open(&mut client, 2).await;
    for tag in ["one", "another", "a third"] {
        consume(&mut client, 2, tag).await;
    }
    eventually("all have been delivered", || counts(&node).unacked == 10).await;
    client.cast_on(2, channel::Close::default()).await;
    assert_eq!(until(&mut client, 2, channel::CloseOk::ID).await, 10);
    let left = counts(&node);
    assert_eq!((left.ready, left.unacked), (10, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_to_channels_that_end_while_others_publish() {
    const ROUNDS: usize = 200;
    let (node, address) = node().await;
    let mut publisher = Client::open(address).await;
    publisher.declare(QUEUE).await;
    let enough = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let enough = Arc::clone(&enough);
        async move {
            let mut count = 0;
            while !enough.load(Ordering::Relaxed) {
                publisher.publish(QUEUE, false, b"some").await;
                count += 1;
            }
            (publisher, count)
        }
    });
    let consuming: Vec<_> = (0..2)
        .map(|_| tokio::spawn(come_and_go(address, ROUNDS)))
        .collect();
    for consumer in consuming {
        consumer.await.unwrap();
    }
    enough.store(true, Ordering::Relaxed);
    let (_publisher, count) = publishing.await.unwrap();
    eventually("all of them are there again", || {
        let left = counts(&node);
        (left.ready, left.unacked) == (count, 0)
    })
    .await;
}

/// Channels with two consumers each, that get some messages and end, or their connection does.
async fn come_and_go(address: SocketAddr, rounds: usize) {
    let mut client = Client::open(address).await;
    for round in 0..rounds {
        open(&mut client, 2).await;
        let qos = basic::Qos {
            prefetch_count: 10,
            ..basic::Qos::default()
        };
        client.cast_on(2, qos).await;
        consume(&mut client, 2, "one").await;
        consume(&mut client, 2, "another").await;
        let mut messages = 0;
        while messages < round % 5 {
            messages += usize::from(matches!(client.event().await, Event::Message { .. }));
        }
        match round % 16 {
            0 => client = Client::open(address).await,
            _ => {
                client.cast_on(2, channel::Close::default()).await;
                until(&mut client, 2, channel::CloseOk::ID).await;
            }
        }
    }
}
