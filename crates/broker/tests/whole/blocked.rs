//! Memory or disk is short: who is told, when, and in which words. The same is asked of us and of RabbitMQ.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use warren_amqp::client::{Event, Login};
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::outbox::Outbox;
use warren_amqp::{FrameMax, Method, Table, basic, connection};
use warren_broker::Settings;
use warren_broker::alarms::{DiskLimit, MemoryLimit, Short};

use super::broker::Broker;
use super::client::{Client, queue};
use super::rabbitmq::RabbitMq;
use super::words::PATIENCE;

const FINE: Short = Short {
    memory: false,
    disk: false,
};
const MEMORY: Short = Short {
    memory: true,
    disk: false,
};
const DISK: Short = Short {
    memory: false,
    disk: true,
};
const BOTH: Short = Short {
    memory: true,
    disk: true,
};

/// A publisher with channel 1 in confirm mode, and what it does.
struct Publisher(Client);

impl Publisher {
    fn new(at: SocketAddr) -> Self {
        Self::of(Client::open(at))
    }

    /// One that cannot be told anything.
    fn mute(at: SocketAddr) -> Self {
        let mut login = Login::plain("guest", "guest", "/", "mute").unwrap();
        login.properties = Table::new();
        let mut client = Client::log_in(at, login).unwrap();
        client.open_channel(1);
        Self::of(client)
    }

    fn of(mut client: Client) -> Self {
        client.select_confirms();
        Self(client)
    }

    fn publish(&mut self) {
        self.0.put("bl.queue", &Properties::default(), "message");
    }

    /// What comes next, and has to.
    fn hears(&mut self) -> String {
        match self.0.next() {
            Ok(Event::Method { channel: 0, method }) => match method {
                Method::Connection(connection::Method::Blocked(blocked)) => blocked.reason.to_text(),
                Method::Connection(connection::Method::Unblocked(_)) => "unblocked".to_owned(),
                other => panic!("{other:?}"),
            },
            Ok(Event::Method { channel: 1, method }) if method.id() == basic::Ack::ID => "ack".to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

fn large() -> Bytes {
    let publish = Publish {
        routing_key: b"bl.queue",
        ..Publish::default()
    };
    let mut frames = Outbox::new(FrameMax::DEFAULT);
    let body = vec![b'x'; 300_000].into();
    frames
        .publish(1, &publish, &Properties::default(), &body)
        .unwrap();
    frames.copy_to_bytes(frames.remaining())
}

/// Nothing has come, and the connection is read and answered.
fn goes_on(client: &mut Client) {
    client.call(1, basic::Qos::default(), basic::QosOk::ID);
}

/// `becomes` makes these short, no others, and returns when they are.
fn who_publishes_is_told_what_is_short_and_when_it_is_not(at: SocketAddr, becomes: &dyn Fn(Short)) {
    let mut early = Publisher::new(at);
    let mut consumer = Client::open(at);
    consumer.declare(queue("bl.queue"));
    for _ in 0..2 {
        early.publish();
        assert_eq!(early.hears(), "ack");
    }
    let [mut first, mut second, mut third, mut mute] = [
        Publisher::new(at),
        Publisher::new(at),
        Publisher::new(at),
        Publisher::mute(at),
    ];

    // A message of several frames, and where it is cut.
    let mut midway = Publisher::new(at);
    let large = large();
    let (begun, rest) = large.split_at(200_000);
    midway.0.send_raw(begun);

    becomes(MEMORY);
    midway.0.send_raw(rest);
    assert_eq!(midway.hears(), "low on memory");
    // Those who consume, and those who published before, hear nothing of it.
    goes_on(&mut consumer);
    assert!(consumer.get("bl.queue", true).is_some());
    goes_on(&mut early.0);
    first.publish();
    assert_eq!(first.hears(), "low on memory");
    mute.publish();
    // Who comes now is let in.
    let mut late = Publisher::new(at);
    late.publish();
    assert_eq!(late.hears(), "low on memory");

    becomes(BOTH);
    second.publish();
    assert_eq!(second.hears(), "low on disk & memory");

    becomes(DISK);
    third.publish();
    assert_eq!(third.hears(), "low on disk");
    assert!(consumer.get("bl.queue", true).is_some());
    assert!(
        consumer.get("bl.queue", true).is_none(),
        "what was published waits"
    );

    becomes(FINE);
    // Once each, whatever was short in between.
    for publisher in [&mut midway, &mut first, &mut second, &mut third, &mut late] {
        assert_eq!([publisher.hears(), publisher.hears()], ["unblocked", "ack"]);
        goes_on(&mut publisher.0);
    }
    assert_eq!(mute.hears(), "ack");
    goes_on(&mut mute.0);
    goes_on(&mut early.0);
    goes_on(&mut consumer);
    for publisher in [&mut early, &mut first, &mut mute] {
        publisher.publish();
        assert_eq!(publisher.hears(), "ack");
    }
    consumer.delete("bl.queue");
}

#[test]
fn who_publishes_to_us_is_told_what_is_short_and_when_it_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    who_publishes_is_told_what_is_short_and_when_it_is_not(broker.at, &|short| {
        broker.node.change_settings(Settings {
            memory_limit: match short.memory {
                true => MemoryLimit::Octets(1),
                false => MemoryLimit::DEFAULT,
            },
            disk_free_limit: match short.disk {
                true => DiskLimit::Octets(u64::MAX),
                false => DiskLimit::Octets(1),
            },
            ..Settings::default()
        });
        let started = Instant::now();
        while broker.node.alarms.short() != short {
            assert!(started.elapsed() < PATIENCE, "{:?}", broker.node.alarms);
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn who_publishes_to_rabbitmq_is_told_what_is_short_and_when_it_is_not() {
    let Some(rabbitmq) = RabbitMq::start() else {
        return;
    };
    who_publishes_is_told_what_is_short_and_when_it_is_not(rabbitmq.at, &|short| {
        let memory = if short.memory { "0.0" } else { "0.9" };
        let disk = if short.disk { "1000000000000000000" } else { "1" };
        let count = usize::from(short.memory) + usize::from(short.disk);
        rabbitmq.eval(&format!(
            "vm_memory_monitor:set_vm_memory_high_watermark({memory}), rabbit_disk_monitor:set_disk_free_limit({disk}), \
             Wait = fun Wait(0) -> exit(rabbit_alarm:get_alarms()); \
             Wait(N) -> case length(rabbit_alarm:get_alarms()) of {count} -> ok; _ -> timer:sleep(20), Wait(N - 1) end end, \
             Wait(1000)."
        ));
    });
}
