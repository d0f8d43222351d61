//! Clients that do not play along, and what others notice of it.

mod encrypted;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Buf;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren_amqp::client::Event;
use warren_amqp::content::{self, Header, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, basic, channel, confirm, connection, exchange, queue};
use warren_cluster::{Aftermath, Delivery, DeliverySink, Room};
use warren_model::consumers::Terms;
use warren_model::{Message, MessageId};

use super::ANSWERS_MAX;
use crate::clock::now;
use crate::node::{Node, Settings};
use crate::registry::State;
use crate::testing::{Client, eventually, node};

/// What others may notice: more than on an idle machine, and far less than what a stuck broker takes.
const NOTICED: Duration = Duration::from_secs(1);

/// The slowest of some answers that a client waits for.
async fn slowest(client: &mut Client) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        // Looks at the metadata, as whoever publishes after a change.
        let declare = exchange::Declare {
            exchange: super::short("amq.topic"),
            passive: true,
            ..exchange::Declare::default()
        };
        let answer = client.call(declare).await;
        assert!(
            matches!(answer, Method::Exchange(exchange::Method::DeclareOk(_))),
            "{answer:?}"
        );
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

async fn half_open(address: SocketAddr, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn who_says_half_a_hello_is_cut_off_in_time_and_others_do_not_notice() {
    const COUNT: usize = 150;
    let (node, address) = node().await;
    let mut other = Client::open(address).await;
    let quiet = slowest(&mut other).await;
    node.change_settings(Settings {
        handshake_timeout: Duration::from_millis(500),
        ..Settings::default()
    });
    let mut streams = half_open(address, COUNT, b"").await;
    streams.extend(half_open(address, COUNT, b"AMQP\0").await);
    streams.extend(half_open(address, COUNT, b"AMQP\0\0\x09\x01\x01\0\0").await);
    let noticed = slowest(&mut other).await;
    assert!(noticed < quiet + NOTICED, "{noticed:?} instead of {quiet:?}");
    for mut stream in streams {
        let mut heard = Vec::new();
        // Cut off, however that looks.
        let _ = stream.read_to_end(&mut heard).await;
    }
    let churn = &node.registry.churn;
    eventually("all are counted", || {
        churn.handshakes_too_long.load(Ordering::Relaxed) == 3 * COUNT as u64
    })
    .await;
    assert_eq!(node.registry.count(), 1);
}

fn entry_of(node: &Arc<Node>, client: &Client) -> Arc<crate::registry::Entry> {
    let all = node.registry.connections();
    all.into_iter()
        .find(|entry| entry.facts.peer == client.address())
        .unwrap()
}

#[tokio::test]
async fn who_never_reads_what_he_asks_for_is_not_heard_any_more() {
    let (node, address) = node().await;
    let mut other = Client::open(address).await;
    let mut deaf = Client::open(address).await;
    let entry = entry_of(&node, &deaf);
    // Every message comes back.
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let lost = Publish {
        routing_key: b"nowhere",
        mandatory: true,
        ..Publish::default()
    };
    let body = vec![7; 4096].into();
    for _ in 0..64 {
        outbox.publish(1, &lost, &Properties::default(), &body).unwrap();
    }
    let octets = outbox.copy_to_bytes(outbox.remaining());
    let stream = deaf.stream();
    let mut sent = 0;
    // Until nobody takes any more.
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&octets)).await {
        written.unwrap();
        sent += octets.len();
        assert!(sent < 1 << 30, "it is heard for ever");
    }
    assert_eq!(entry.state(), State::Flow);
    assert!(entry.unsent() < 4 * ANSWERS_MAX as u64, "{}", entry.unsent());
    assert!(slowest(&mut other).await < NOTICED);
    drop(deaf);
    eventually("it is gone", || node.registry.count() == 1).await;
}

#[tokio::test]
async fn who_asks_for_many_messages_at_once_has_them_as_he_reads_them() {
    const COUNT: usize = 400;
    static BODY: [u8; 128 << 10] = [b'x'; 128 << 10];
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    client.declare("much").await;
    for _ in 0..COUNT {
        client.publish("much", false, &BODY).await;
    }
    let ready = || {
        node.queues()
            .0
            .iter()
            .map(|queue| queue.snapshot().counts.ready)
            .sum::<u64>()
    };
    eventually("all are there", || ready() == COUNT as u64).await;
    let entry = node.registry.connections().pop().unwrap();
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    for _ in 0..COUNT {
        let get = basic::Get {
            queue: super::short("much"),
            no_ack: true,
            ..basic::Get::default()
        };
        outbox.method(1, get).unwrap();
    }
    client.stream().write_all_buf(&mut outbox).await.unwrap();
    eventually("it waits for who asked", || entry.state() == State::Flow).await;
    // What sockets take, what is being written and what waits for that: not all of fifty million octets.
    assert!(ready() > COUNT as u64 / 3, "{} are left", ready());
    for _ in 0..COUNT {
        let event = client.event().await;
        assert!(matches!(event, Event::Message { .. }), "{event:?}");
    }
    assert_eq!(ready(), 0);
    slowest(&mut client).await;
}

#[tokio::test]
async fn a_body_of_any_size_arrives_as_it_was_sent_however_it_was_cut() {
    let (_node, address) = node().await;
    let mut client = Client::open(address).await;
    client.declare("bodies").await;
    client.consume("bodies").await;
    let to = Publish {
        routing_key: b"bodies",
        ..Publish::default()
    };
    let mut cuts = [700, 40_000, 131_072, usize::MAX].into_iter().cycle();
    // Around what is read elsewhere, what fits into a frame, and what needs several.
    for size in [
        0, 1, 32_760, 32_768, 32_900, 65_536, 131_063, 131_064, 131_065, 196_700, 262_200, 600_000,
    ] {
        let body: Vec<u8> = (0..size).map(|at: u32| (at % 251) as u8).collect();
        let mut outbox = Outbox::new(FrameMax::DEFAULT);
        // Both in one go: the end of the first is read with the beginning of the second.
        for _ in 0..2 {
            let properties = Properties::default();
            outbox.publish(1, &to, &properties, &body.clone().into()).unwrap();
        }
        let octets = outbox.copy_to_bytes(outbox.remaining());
        for piece in octets.chunks(cuts.next().unwrap_or(1)) {
            client.stream().write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            match client.event().await {
                Event::Message { message, .. } => {
                    assert!(message.whole_body() == body, "{size} octets");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_one_read_brings_leaves_in_one_write_to_each_who_hears_of_it() {
    const COUNT: u64 = 200;
    let (node, address) = node().await;
    let (mut publisher, mut consumer) = (Client::open(address).await, Client::open(address).await);
    publisher.declare("together").await;
    publisher.call(confirm::Select::default()).await;
    consumer.consume("together").await;
    let entries = [entry_of(&node, &publisher), entry_of(&node, &consumer)];
    let reads = || entries[0].counts.reads.get();
    let writes = || entries.each_ref().map(|entry| entry.counts.writes.get());
    let before = (reads(), writes());
    let to = Publish {
        routing_key: b"together",
        ..Publish::default()
    };
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    for _ in 0..COUNT {
        let properties = Properties::default();
        outbox.publish(1, &to, &properties, &"some".into()).unwrap();
    }
    let octets = outbox.copy_to_bytes(outbox.remaining());
    publisher.stream().write_all(&octets).await.unwrap();
    for _ in 0..COUNT {
        let message = consumer.event().await;
        assert!(matches!(message, Event::Message { .. }), "{message:?}");
    }
    let mut confirmed = 0;
    while confirmed < COUNT {
        match publisher.event().await {
            Event::Method {
                method: Method::Basic(basic::Method::Ack(ack)),
                ..
            } => confirmed = ack.delivery_tag,
            other => panic!("{other:?}"),
        }
    }
    eventually("both were written to", || {
        let written = writes();
        written.iter().zip(before.1).all(|(now, before)| *now > before)
    })
    .await;
    let reads = reads() - before.0;
    for (now, before) in writes().into_iter().zip(before.1) {
        assert!(now - before <= reads, "{} writes for {reads} reads", now - before);
    }
    assert!(reads < COUNT / 10, "{reads} reads: nothing came together");
}

#[tokio::test]
async fn a_client_has_so_many_channels_and_no_more() {
    let (node, address) = node().await;
    let mut other = Client::open(address).await;
    let mut greedy = Client::open(address).await;
    let most = node.settings().channel_max;
    for number in 2..=most {
        greedy.cast_on(number, channel::Open::default()).await;
    }
    for _ in 2..=most {
        let opened = greedy.event().await;
        assert!(
            matches!(
                opened,
                Event::Method {
                    method: Method::Channel(channel::Method::OpenOk(_)),
                    ..
                }
            ),
            "{opened:?}"
        );
    }
    assert!(slowest(&mut other).await < NOTICED);
    greedy.cast_on(most + 1, channel::Open::default()).await;
    let refused = greedy.event().await;
    let Event::Method {
        method: Method::Connection(connection::Method::Close(close)),
        ..
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(close.reply_code, 530);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_end_at_once_with_their_queues_hold_up_nobody() {
    const COUNT: usize = 150;
    let (node, address) = node().await;
    let mut other = Client::open(address).await;
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let mut client = Client::open(address).await;
        let declare = queue::Declare {
            exclusive: true,
            ..queue::Declare::default()
        };
        client.call(declare).await;
        clients.push(client);
    }
    assert_eq!(node.queues().0.len(), COUNT);
    let quiet = slowest(&mut other).await;
    drop(clients);
    let noticed = slowest(&mut other).await;
    assert!(noticed < quiet + NOTICED, "{noticed:?} instead of {quiet:?}");
    eventually("they are gone with their queues", || {
        node.queues().0.is_empty() && node.registry.count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_ten_thousand_bindings_goes_without_holding_up_others() {
    let (node, address) = node().await;
    let mut other = Client::open(address).await;
    let mut owner = Client::open(address).await;
    owner.declare("bound").await;
    for number in 0..10_000_u32 {
        let routing_key = format!("k.{number}.*");
        let bind = queue::Bind {
            queue: super::short("bound"),
            exchange: super::short("amq.topic"),
            routing_key: super::short(&routing_key),
            no_wait: true,
            ..queue::Bind::default()
        };
        owner.cast(bind).await;
    }
    owner.call(basic::Qos::default()).await;
    let bindings =
        |node: &Node| node.read(|meta| meta.vhost("/").map_or(0, |vhost| vhost.bindings().count()));
    // One is that to the default exchange.
    assert_eq!(bindings(&node), 10_001);
    let quiet = slowest(&mut other).await;
    let delete = queue::Delete {
        queue: super::short("bound"),
        no_wait: true,
        ..queue::Delete::default()
    };
    owner.cast(delete).await;
    let noticed = slowest(&mut other).await;
    println!("{noticed:?} instead of {quiet:?}");
    assert!(noticed < quiet + NOTICED, "{noticed:?} instead of {quiet:?}");
    eventually("it is gone", || bindings(&node) == 0).await;
}

/// Has its queue locked until it is told to go on, as somebody who is given many messages at once.
struct Slow {
    begun: mpsc::SyncSender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl DeliverySink for Slow {
    fn deliver(&self, _: Delivery<'_>) -> Room {
        self.begun.send(()).unwrap();
        self.go_on.lock().recv().unwrap();
        Room::Full
    }

    fn wake(&self) {}

    fn cancel(&self) {}
}

fn message(size: usize) -> Arc<Message> {
    let properties = Properties::default().header(size as u64);
    let header = Header::read(&properties).unwrap();
    let content = content::Message::new(&Publish::default(), header, &[vec![7; size].into()]);
    Arc::new(Message::new(MessageId::default(), content).unwrap())
}

#[tokio::test]
async fn who_closes_and_takes_nothing_of_what_is_left_for_him_is_let_go() {
    const BODY: &[u8] = &[7; 1 << 20];
    let (node, address) = node().await;
    let mut client = Client::open(address).await;
    client.declare("q").await;
    client.consume("q").await;
    let entry = node.registry.connections().remove(0);
    let mut publisher = Client::open(address).await;
    while entry.counts.unwritten.get() == 0 {
        publisher.publish("q", false, BODY).await;
        let declared = queue::Declare {
            queue: super::short("q"),
            passive: true,
            ..queue::Declare::default()
        };
        publisher.call(declared).await;
    }
    client.cast_on(0, connection::Close::default()).await;
    eventually("only the publisher is left", || node.registry.count() == 1).await;
}

/// Whoever gives a client more than he takes has the queue and what waits for the client; whoever ends his channel wants both.
#[test]
fn a_channel_can_end_at_the_moment_at_which_its_client_has_enough() {
    let threads = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    // Threads that wait for each other never end, and would be waited for.
    let (broker, clients) = (std::mem::ManuallyDrop::new(threads()), threads());
    let (node, address) = broker.block_on(node());
    let closed = clients.block_on(async {
        let mut client = Client::open(address).await;
        client.declare("q").await;
        client.consume("q").await;
        let queue = node.queues().0.remove(0);
        let ((begun, has_begun), (tell, go_on)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
        let go_on = Mutex::new(go_on);
        let first = Terms {
            priority: 1,
            ..Terms::default()
        };
        let mut after = Aftermath::default();
        let slow = Arc::new(Slow { begun, go_on });
        let slow = queue.subscribe(now(), first, true, slow).unwrap();
        queue.unblock(now(), slow, &mut after);
        std::thread::spawn(move || {
            queue.publish(now(), [(0, message(1)), (1, message(1 << 20))], &mut after);
            after.tell();
        });
        tokio::task::block_in_place(|| has_begun.recv().unwrap());
        let entry = node.registry.connections().remove(0);
        let received = entry.counts.octets_received.get();
        client.cast(channel::Close::default()).await;
        eventually("the end of the channel is read", || {
            entry.counts.octets_received.get() > received
        })
        .await;
        // What it does next is to ask for the queue, and nobody can see that it waits.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tell.send(()).unwrap();
        loop {
            if let Event::Method { method, .. } = client.event().await {
                return method;
            }
        }
    });
    assert_eq!(closed, channel::CloseOk {}.into());
}
