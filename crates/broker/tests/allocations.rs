//! What a message costs in memory that is allocated anew, and a client who comes and goes, anywhere in the process: by the broker in it,
//! whose clients send octets made beforehand, read into one buffer and allocate nothing.
//!
//! All is one test, since whatever else the process does would be counted, too.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use warren_amqp::client::Login;
use warren_amqp::content::Properties;
use warren_amqp::handshake::Tuning;
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, ShortString, basic, channel, confirm, connection, exchange, queue};
use warren_broker::{Member, Node, Settings, serve};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages written at once, and how often before and while it counts.
const CHUNK: usize = 100;
const BEFORE: usize = 50;
const COUNTED: usize = 100;

/// Allocations for a client who comes and goes: no more than these.
const VISIT_MAX: f64 = 34.0;

/// A client that allocates nothing once it is open.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Logs in, opens channel 1 and does all of this.
    fn open(at: SocketAddr, methods: impl IntoIterator<Item = Method>) -> Self {
        let mut outbox = login();
        for method in methods {
            outbox.method(1, method).unwrap();
        }
        // Its answer is the last, and of a size that nothing else has.
        outbox.method(1, channel::Flow { active: true }).unwrap();
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&octets(&mut outbox)).unwrap();
        let (mut buffer, mut heard) = (vec![0; 1 << 20], Vec::new());
        while !heard.ends_with(&[1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 21, 1, 0xce]) {
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&buffer[..count]);
        }
        Self { stream, buffer }
    }

    fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// Reads so many octets.
    fn read(&mut self, octets: usize) {
        self.stream.read_exact(&mut self.buffer[..octets]).unwrap();
    }

    /// Reads acknowledgements until all messages before this number have theirs.
    fn confirmed(&mut self, number: u64) {
        loop {
            self.read(ACK);
            assert_eq!(self.buffer[..11], [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 80]);
            let tag = u64::from_be_bytes(self.buffer[TAG..TAG + 8].try_into().unwrap());
            if tag == number {
                return;
            }
        }
    }
}

/// Octets of the frame of an acknowledgement, and where its tag is.
const ACK: usize = 21;
const TAG: usize = 11;

fn octets(outbox: &mut Outbox) -> Bytes {
    let count = outbox.remaining();
    outbox.copy_to_bytes(count)
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

fn declare(name: &str, durable: bool) -> Method {
    queue::Declare {
        queue: short(name),
        durable,
        ..queue::Declare::default()
    }
    .into()
}

fn consume(name: &str, no_ack: bool) -> Method {
    basic::Consume {
        queue: short(name),
        consumer_tag: short("c"),
        no_ack,
        ..basic::Consume::default()
    }
    .into()
}

/// One chunk of messages with these keys in turn.
fn chunk(exchange: &str, keys: &[String], mode: u8, body: usize) -> Bytes {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    let body = Bytes::from(vec![7; body]);
    for key in keys.iter().cycle().take(CHUNK) {
        let publish = Publish {
            exchange: exchange.as_bytes(),
            routing_key: key.as_bytes(),
            ..Publish::default()
        };
        let properties = Properties {
            delivery_mode: Some(mode),
            ..Properties::default()
        };
        outbox.publish(1, &publish, &properties, &body).unwrap();
    }
    octets(&mut outbox)
}

/// Octets of a delivery of such a message.
fn delivery(exchange: &str, key: &str, body: usize) -> usize {
    let method = 4 + (1 + 1) + 8 + 1 + (1 + exchange.len()) + (1 + key.len());
    let header = 2 + 2 + 8 + 2 + 1;
    (8 + method) + (8 + header) + (8 + body)
}

/// All that a client says until channel 1 is open.
fn login() -> Outbox {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    outbox.octets(b"AMQP\0\0\x09\x01");
    let wanted = Tuning {
        channel_max: 1,
        frame_max: FrameMax::DEFAULT.octets(),
        heartbeat: 0,
    };
    let login = Login::plain("guest", "guest", "/", "test").unwrap();
    for method in (Login { wanted, ..login }).methods() {
        outbox.method(0, method).unwrap();
    }
    outbox.method(1, channel::Open::default()).unwrap();
    outbox
}

/// Acknowledgements of so many deliveries in a row, whose tags are to be set.
fn acks(count: usize) -> Vec<u8> {
    let mut outbox = Outbox::new(FrameMax::DEFAULT);
    (0..count).for_each(|_| outbox.ack(1, 0, count == 1));
    octets(&mut outbox).to_vec()
}

/// Allocations for each message of a chunk, once all is as it stays.
fn allocations(mut round: impl FnMut()) -> f64 {
    (0..BEFORE).for_each(|_| round());
    let region = Region::new(ALLOCATOR);
    (0..COUNTED).for_each(|_| round());
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / (COUNTED * CHUNK) as f64
}

/// Allocations for each client who comes, opens a channel and goes.
fn visits(at: SocketAddr) -> f64 {
    let mut outbox = login();
    outbox.method(0, connection::Close::default()).unwrap();
    let says = octets(&mut outbox);
    let mut heard = vec![0; 1 << 16];
    let visit = || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(&says).unwrap();
        while stream.read(&mut heard).unwrap() > 0 {}
    };
    allocations(visit) * CHUNK as f64
}

/// A broker in this process, and where it listens.
fn broker(member: Option<Member>) -> (Runtime, SocketAddr) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let at = runtime.block_on(async {
        let (name, settings) = ("rabbit@test".to_owned(), Settings::default());
        let node = match member {
            Some(member) => Node::open(name, settings, member).unwrap().0,
            None => Node::new(name, settings),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(serve(Arc::clone(&node), listener));
        at
    });
    (runtime, at)
}

/// 16 octets, one queue, deliveries that settle.
fn automatic(at: SocketAddr) -> f64 {
    let mut publisher = Client::open(at, [declare("automatic", false)]);
    let mut consumer = Client::open(at, [consume("automatic", true)]);
    let messages = chunk("", &["automatic".to_owned()], 1, 16);
    let deliveries = CHUNK * delivery("", "automatic", 16);
    allocations(|| {
        publisher.write(&messages);
        consumer.read(deliveries);
    })
}

/// The same with a prefetch of 100 and an acknowledgement for each.
fn acknowledged(at: SocketAddr) -> f64 {
    let mut publisher = Client::open(at, [declare("acknowledged", false)]);
    let qos = basic::Qos {
        prefetch_count: 100,
        ..basic::Qos::default()
    };
    let mut consumer = Client::open(at, [qos.into(), consume("acknowledged", false)]);
    let messages = chunk("", &["acknowledged".to_owned()], 1, 16);
    let deliveries = CHUNK * delivery("", "acknowledged", 16);
    let (mut acks, mut tag) = (acks(CHUNK), 0_u64);
    allocations(|| {
        publisher.write(&messages);
        consumer.read(deliveries);
        for ack in acks.chunks_exact_mut(ACK) {
            tag += 1;
            ack[TAG..TAG + 8].copy_from_slice(&tag.to_be_bytes());
        }
        consumer.write(&acks);
    })
}

/// 1 KiB, on disk before it is confirmed, an acknowledgement for 100.
fn persistent(at: SocketAddr) -> f64 {
    let select = confirm::Select { no_wait: false };
    let mut publisher = Client::open(at, [declare("persistent", true), select.into()]);
    let mut consumer = Client::open(at, [consume("persistent", false)]);
    let messages = chunk("", &["persistent".to_owned()], 2, 1024);
    let deliveries = CHUNK * delivery("", "persistent", 1024);
    let (mut ack, mut tag) = (acks(1), 0_u64);
    allocations(|| {
        publisher.write(&messages);
        consumer.read(deliveries);
        tag += CHUNK as u64;
        publisher.confirmed(tag);
        ack[TAG..TAG + 8].copy_from_slice(&tag.to_be_bytes());
        consumer.write(&ack);
    })
}

/// 128 octets to ten queues.
fn fanned_out(at: SocketAddr) -> f64 {
    const QUEUES: usize = 10;
    let names: Vec<String> = (0..QUEUES).map(|number| format!("fan-{number}")).collect();
    let fan = exchange::Declare {
        exchange: short("fan"),
        exchange_type: short("fanout"),
        ..exchange::Declare::default()
    };
    let bind = |name: &String| queue::Bind {
        queue: short(name),
        exchange: short("fan"),
        ..queue::Bind::default()
    };
    let bound = names
        .iter()
        .flat_map(|name| [declare(name, false), bind(name).into()]);
    let mut publisher = Client::open(at, [fan.into()].into_iter().chain(bound));
    let mut consumers: Vec<Client> = names
        .iter()
        .map(|name| Client::open(at, [consume(name, true)]))
        .collect();
    let messages = chunk("fan", &[String::new()], 1, 128);
    let deliveries = CHUNK * delivery("fan", "", 128);
    allocations(|| {
        publisher.write(&messages);
        consumers
            .iter_mut()
            .for_each(|consumer| consumer.read(deliveries));
    })
}

/// 128 octets by 1000 patterns of topics to four queues, a hundred keys in turn.
fn by_topic(at: SocketAddr) -> f64 {
    const QUEUES: usize = 4;
    const BINDINGS: usize = 1000;
    let name = |number: usize| format!("topic-{}", number % QUEUES);
    let bind = |number| queue::Bind {
        queue: short(&name(number)),
        exchange: short("amq.topic"),
        routing_key: short(&format!("stock.{number:03}.*")),
        ..queue::Bind::default()
    };
    let queues = (0..QUEUES).map(|number| declare(&name(number), false));
    let mut publisher = Client::open(at, queues.chain((0..BINDINGS).map(|number| bind(number).into())));
    let mut consumers: Vec<Client> = (0..QUEUES)
        .map(|number| Client::open(at, [consume(&name(number), true)]))
        .collect();
    let keys: Vec<String> = (0..CHUNK).map(|number| format!("stock.{number:03}.x")).collect();
    let messages = chunk("amq.topic", &keys, 1, 128);
    let deliveries = CHUNK / QUEUES * delivery("amq.topic", &keys[0], 128);
    allocations(|| {
        publisher.write(&messages);
        consumers
            .iter_mut()
            .for_each(|consumer| consumer.read(deliveries));
    })
}

/// The message itself, which its queues share, and beyond that only what a read, a write to a client and a batch of the log cost: the
/// more there is at once, the less it is for each.
#[test]
fn a_message_costs_one_allocation_and_neither_a_delivery_nor_an_acknowledgement_any() {
    let (in_memory, at) = broker(None);
    let directory = tempfile::tempdir().unwrap();
    let (on_disk, with_disk) = broker(Some(Member::alone(directory.path()).unwrap()));
    let found = [
        ("16 B, auto-ack", automatic(at), 1.25),
        ("16 B, prefetch 100, an ack for each", acknowledged(at), 1.25),
        // Read in two parts, written to ten clients: there is more of what is not the message's.
        (
            "1 KiB persistent, confirms, an ack for 100",
            persistent(with_disk),
            1.75,
        ),
        ("fan-out to 10 queues", fanned_out(at), 1.9),
        ("topic, 1000 bindings", by_topic(at), 1.25),
    ];
    for (what, allocations, bound) in found {
        println!("{allocations:.2} (at most {bound}) allocations for each message: {what}");
    }
    let of_a_visit = visits(at);
    println!("{of_a_visit:.1} (at most {VISIT_MAX}) allocations for each client who comes and goes");
    in_memory.shutdown_background();
    on_disk.shutdown_background();
    for (what, allocations, bound) in found {
        assert!(
            (1.0..bound).contains(&allocations),
            "{what}: {allocations:.2} allocations for each message"
        );
    }
    assert!(
        (1.0..VISIT_MAX).contains(&of_a_visit),
        "{of_a_visit:.1} allocations for each client who comes and goes"
    );
}
