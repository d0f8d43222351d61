use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use warren_amqp::client::Event;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::{Method, ShortString, basic, channel, confirm, connection, queue};
use warren_cluster::Member;
use warren_store::{Options, SimulatedDisk, Weather};

use super::State;
use crate::testing::{Client, eventually, listen, node};
use crate::{Node, Settings};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_connection_is_listed_while_it_is_open_and_its_counts_stay_in_the_sums() {
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    client.declare("q").await;
    client.publish("q", false, b"one").await;
    client.publish("nowhere", false, b"lost").await;
    client.publish("nowhere", true, b"back").await;
    let returned = client.event().await;
    assert!(matches!(returned, Event::Message { .. }), "{returned:?}");

    let all = node.registry.connections();
    let [entry] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(entry.facts.name(), format!("{} -> {address}", client.address()));
    assert_eq!((&*entry.facts.user, &*entry.facts.vhost), ("guest", "/"));
    assert_eq!(entry.facts.properties().text("product").as_deref(), Some("test"));
    assert_eq!(entry.state(), State::Running);
    let counts = &entry.counts;
    let messages = (
        counts.published.count(),
        counts.routed.get(),
        counts.dropped.get(),
        counts.returned.get(),
    );
    assert_eq!(messages, (3, 1, 1, 1));
    assert_eq!((counts.channels.get(), counts.publishers.get()), (1, 1));
    assert!(counts.octets_received.get() > 0 && counts.octets_sent.get() > 0);

    drop(client);
    eventually("the connection is not listed", || node.registry.count() == 0).await;
    let totals = node.registry.totals();
    assert_eq!(
        (totals.published.count(), totals.published.octets),
        (3, 11),
        "one, lost, back"
    );
    assert_eq!((totals.routed, totals.dropped), (1, 1));
    let churn = &node.registry.churn;
    for counter in [
        &churn.connections_opened,
        &churn.connections_closed,
        &churn.channels_opened,
        &churn.channels_closed,
        &churn.queues_created,
        &churn.queues_declared,
    ] {
        assert_eq!(counter.load(std::sync::atomic::Ordering::Relaxed), 1, "{churn:?}");
    }
}

#[tokio::test]
async fn a_connection_says_what_its_channels_are_like() {
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    client.declare("q").await;
    client.call(confirm::Select::default()).await;
    let qos = basic::Qos {
        prefetch_count: 7,
        ..basic::Qos::default()
    };
    client.call(qos).await;
    let consume = basic::Consume {
        queue: ShortString::from_static("q"),
        consumer_tag: ShortString::from_static("tag"),
        ..basic::Consume::default()
    };
    client.call(consume).await;
    client.publish("q", false, b"one").await;
    // The confirm and the message, in whatever order.
    client.event().await;
    client.event().await;

    let listed = node.registry.channels(PATIENCE).await;
    let [(_, channels)] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    let [channel] = channels.as_slice() else {
        panic!("{channels:?}")
    };
    assert_eq!(
        (channel.number, channel.confirm, channel.transactional),
        (1, true, false)
    );
    assert_eq!((channel.prefetch, channel.prefetch_global), (7, 0));
    assert_eq!((channel.unsettled, channel.unconfirmed), (1, 0));
    let [consumer] = channel.consumers.as_slice() else {
        panic!("{channel:?}")
    };
    assert_eq!(
        (&*consumer.tag, &*consumer.queue_name, consumer.no_ack),
        (&b"tag"[..], "q", false)
    );
    assert_eq!(node.registry.totals().confirmed, 1);
}

#[tokio::test]
async fn a_client_hears_why_its_connection_is_closed() {
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    let number = node.registry.connections()[0].facts.number;
    assert!(!node.registry.close_connection(number + 1, "nobody"));
    assert!(node.registry.close_connection(number, "out of the way"));
    let Event::Method { method, .. } = client.event().await else {
        panic!("a method")
    };
    let Method::Connection(connection::Method::Close(close)) = method else {
        panic!("{method:?}")
    };
    assert_eq!(close.reply_code, 320);
    assert_eq!(close.reply_text.to_text(), "CONNECTION_FORCED - out of the way");
    eventually("the connection is not listed", || node.registry.count() == 0).await;
}

#[tokio::test]
async fn a_channel_that_ended_for_an_error_is_counted_once() {
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    let entry = node.registry.connections().remove(0);
    let delete = queue::Purge {
        queue: ShortString::from_static("nowhere"),
        ..queue::Purge::default()
    };
    let answer = client.call(delete).await;
    assert!(
        matches!(answer, Method::Channel(channel::Method::Close(_))),
        "{answer:?}"
    );
    eventually("no channel is open", || entry.counts.channels.get() == 0).await;
    drop(client);
    eventually("the connection is not listed", || node.registry.count() == 0).await;
    let closed = &node.registry.churn.channels_closed;
    assert_eq!(closed.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stop_ends_every_connection_with_a_word() {
    let (node, address) = node().await;
    let mut early = Client::open(address).await;
    node.registry.stop();
    let farewell = async |client: &mut Client| match client.event().await {
        Event::Method {
            method: Method::Connection(connection::Method::Close(close)),
            ..
        } => close.reply_text.to_text(),
        other => panic!("{other:?}"),
    };
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(farewell(&mut early).await, text);
    node.registry.none().await;
}

/// A client whose messages are not on disk yet hears of them first, and what it says meanwhile is not heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_what_was_published_and_takes_no_more() {
    let disk = SimulatedDisk::default();
    let member = Member::alone_on(Arc::new(disk.clone()), Path::new("/data"), Options::default()).unwrap();
    let (node, _) = Node::open("rabbit@test".to_owned(), Settings::default(), member).unwrap();
    let address = listen(&node).await;
    let (mut idle, mut publisher) = (Client::open(address).await, Client::open(address).await);
    let declare = queue::Declare {
        queue: ShortString::from_static("kept"),
        durable: true,
        ..queue::Declare::default()
    };
    publisher.call(declare).await;
    publisher.call(confirm::Select::default()).await;
    disk.set_weather(Weather {
        syncs_wait: true,
        ..Weather::default()
    });
    let persistent = Properties::of(DeliveryMode::Persistent);
    publisher.publish_with("kept", &persistent, b"before").await;
    let there = || node.queues().0[0].snapshot().counts.ready;
    eventually("it is there", || there() == 1).await;
    node.registry.stop();
    let goodbye = idle.event().await;
    assert!(
        matches!(
            &goodbye,
            Event::Method {
                method: Method::Connection(connection::Method::Close(_)),
                ..
            }
        ),
        "{goodbye:?}"
    );
    publisher.publish_with("kept", &persistent, b"too late").await;
    eventually("the other one has gone", || node.registry.count() == 1).await;
    disk.set_weather(Weather::default());
    let heard = [publisher.event().await, publisher.event().await];
    let [
        Event::Method { method: first, .. },
        Event::Method { method: last, .. },
    ] = heard
    else {
        panic!("{heard:?}")
    };
    assert!(
        matches!(&first, Method::Basic(basic::Method::Ack(ack)) if ack.delivery_tag == 1),
        "{first:?}"
    );
    assert!(
        matches!(last, Method::Connection(connection::Method::Close(_))),
        "{last:?}"
    );
    assert_eq!(there(), 1);
}
