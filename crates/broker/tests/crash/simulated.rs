//! The node in this process, with a disk that loses what was not synced, fails, and fills up.

use super::*;
use crate::client::{Client, short};
use warren_amqp::client::Event;
use warren_amqp::{Method, Table, basic, connection, queue};
use warren_store::{SimulatedDisk, Weather};

/// One node's history: some power cuts, then the end.
fn history(seed: u64) -> [usize; 5] {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut disk = SimulatedDisk::default();
    let (record, publishers) = (Arc::<Record>::default(), Arc::<AtomicU32>::default());
    let clients = runtime(1);
    let scene = |address| Scene {
        address,
        record: Arc::clone(&record),
        publishers: Arc::clone(&publishers),
    };
    let directory = Path::new("/data");
    for _ in 0..rng.random_range(1..5) {
        let broker = runtime(2);
        let (node, address) = broker.block_on(start(directory, Arc::new(disk.clone())));
        let life = rng.random_range(1..200);
        let orderly = rng.random_ratio(1, 3);
        let mut weather = Weather::default();
        match rng.random_range(0..4) {
            0 => weather.sync_fails_at = Some(disk.syncs() + life / 2),
            _ if orderly => {}
            _ => weather.power_cut_at = Some(disk.operations() + life),
        }
        if rng.random_ratio(1, 3) {
            // Soon there is no room for messages; what settles and declares has to be taken all the same.
            let used: u64 = disk.files().iter().map(|(_, octets)| octets).sum();
            weather.capacity = Some(used + rng.random_range(0..3 << 20));
        }
        disk.set_weather(weather);
        let mut failure = node.failure();
        clients.block_on(play(&Arc::new(scene(address)), &mut rng, async {
            // The disk fails sooner or later; what is in a disk's memory is lost when the power goes, not when a sync fails.
            let patience = Duration::from_millis(if orderly { 100 } else { 2000 });
            let late = tokio::time::timeout(patience, failure.changed()).await;
            drop(late);
            if orderly {
                // Says who has seen what, and is believed: nothing is delivered after that.
                node.stop();
            }
            let cut = Weather {
                power_cut_at: Some(0),
                ..Weather::default()
            };
            disk.set_weather(cut);
            drop(node);
            broker.shutdown_background();
        }));
        disk = disk.after_power_cut(&mut || rng.random());
    }
    let broker = runtime(2);
    let (_node, address) = broker.block_on(start(directory, Arc::new(disk)));
    clients.block_on(check(&scene(address)));
    record.sums()
}

#[test]
fn nothing_confirmed_is_lost_with_the_power() {
    let first = number("SEED", 1);
    let mut sums = [0; 5];
    for seed in first..first + number("SEEDS", 30) {
        println!("SEED={seed}");
        let more = history(seed);
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    println!("published, confirmed, delivered, settled for sure, refused: {sums:?}");
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
}

/// Publishes persistent messages until one is confirmed (or refused, or the broker says that there is no room).
async fn publish_until(client: &mut Client, confirmed: bool) {
    for _ in 0..1000 {
        client.publish("", "full", None, bytes::Bytes::from(vec![7; 60_000]));
        let is_confirmed = loop {
            match client.event().await.unwrap() {
                Event::Method {
                    method: Method::Basic(basic::Method::Ack(_)),
                    ..
                } => break true,
                Event::Method {
                    method: Method::Basic(basic::Method::Nack(_)),
                    ..
                } => break false,
                Event::Method {
                    method: Method::Connection(connection::Method::Blocked(_)),
                    ..
                } if !confirmed => break false,
                _ => {}
            }
        };
        if is_confirmed == confirmed {
            return;
        }
        if confirmed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("a thousand messages, and none was confirmed: {confirmed}");
}

#[test]
fn a_full_disk_refuses_messages_and_nothing_else() {
    // The reserve of three segments and two more: the least with which a log goes on for ever.
    let disk = SimulatedDisk::new(Weather {
        capacity: Some((5 << 20) + (64 << 10)),
        ..Weather::default()
    });
    let runtime = runtime(2);
    runtime.block_on(async {
        let (_node, address) = start(Path::new("/data"), Arc::new(disk)).await;
        let mut client = Client::open(address).await.unwrap();
        client.confirms().await.unwrap();
        client.declare("full", Table::new()).await.unwrap();
        publish_until(&mut client, false).await;
        let mut other = Client::open(address).await.unwrap();
        other.declare("another", Table::new()).await.unwrap();
        other.bind("fan", "another").await.unwrap();
        let delete = queue::Delete {
            queue: short("another"),
            ..queue::Delete::default()
        };
        assert!(matches!(
            other.call(delete).await.unwrap(),
            Method::Queue(queue::Method::DeleteOk(_))
        ));
        // Whoever takes what is there makes room.
        let consume = basic::Consume {
            queue: short("full"),
            ..basic::Consume::default()
        };
        let mut consumer = Client::open(address).await.unwrap();
        consumer.call(consume).await.unwrap();
        tokio::spawn(async move {
            while let Ok(event) = consumer.event().await {
                if let Event::Message { message, .. } = event {
                    consumer.ack(message.deliver().unwrap().delivery_tag, false);
                }
            }
        });
        publish_until(&mut client, true).await;
    });
    runtime.shutdown_background();
}

/// Was a message taken, or refused? Nothing if nobody knows.
async fn hear(client: &mut Client) -> Option<bool> {
    loop {
        match client.event().await.ok()? {
            Event::Method {
                method: Method::Basic(basic::Method::Ack(_)),
                ..
            } => return Some(true),
            Event::Method {
                method: Method::Basic(basic::Method::Nack(_)),
                ..
            } => return Some(false),
            // The node has seen that there is no room, and reads no more.
            Event::Method {
                method: Method::Connection(connection::Method::Blocked(_)),
                ..
            } => return None,
            _ => {}
        }
    }
}

#[test]
fn what_a_full_disk_refuses_nobody_gets() {
    // The node may see that there is no room before it has had to refuse anything.
    assert!((0..10).any(|_| refused_by_a_full_disk() > 0));
}

/// Fills a disk, sees that what was taken comes and nothing else does, and says how much was refused.
fn refused_by_a_full_disk() -> u32 {
    let disk = SimulatedDisk::default();
    let runtime = runtime(2);
    let refused = runtime.block_on(async {
        let (_node, address) = start(Path::new("/data"), Arc::new(disk.clone())).await;
        let used: u64 = disk.files().iter().map(|(_, octets)| octets).sum();
        disk.set_weather(Weather {
            capacity: Some(used + (2 << 20)),
            ..Weather::default()
        });
        let mut client = Client::open(address).await.unwrap();
        client.confirms().await.unwrap();
        client.declare("taken", Table::new()).await.unwrap();
        // Whoever waits for messages gets them from whoever publishes, before anything is written.
        let mut consumer = Client::open(address).await.unwrap();
        let consume = basic::Consume {
            queue: short("taken"),
            ..basic::Consume::default()
        };
        consumer.call(consume).await.unwrap();
        let (mut taken, mut refused) = (Vec::new(), 0);
        for number in 0..1000_u32 {
            // The largest need a segment to themselves, for which there may be no room though there is for others.
            let size = if number % 10 == 9 { 3 << 20 } else { 50_000 };
            let mut body = number.to_be_bytes().to_vec();
            body.resize(size, 7);
            client.publish("", "taken", None, body.into());
            match hear(&mut client).await {
                Some(true) => taken.push(number),
                Some(false) => refused += 1,
                None => break,
            }
            if refused == 50 {
                break;
            }
        }
        assert!(!taken.is_empty());
        for expected in taken {
            let Event::Message { message, .. } = consumer.event().await.unwrap() else {
                panic!("no message");
            };
            let body = message.whole_body();
            assert_eq!(
                body[..4],
                expected.to_be_bytes(),
                "refused, and delivered all the same"
            );
        }
        // Nothing comes behind them: the next answer is that of the next question.
        let qos = basic::Qos::default();
        let answer = consumer.ask(qos, |event| {
            panic!("refused, and delivered all the same: {event:?}")
        });
        assert!(matches!(
            answer.await.unwrap(),
            Method::Basic(basic::Method::QosOk(_))
        ));
        refused
    });
    runtime.shutdown_background();
    refused
}
