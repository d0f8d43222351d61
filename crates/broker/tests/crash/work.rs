//! What clients do until their broker is gone: publish, consume, purge, delete, go away.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::prelude::*;
use warren_amqp::client::{Confirms, Event};
use warren_amqp::content::Message;
use warren_amqp::{Method, Table, Value, basic, channel, queue};

use crate::client::{Client, Gone, short};
use crate::record::{Id, Order, Record};

const FANOUT: &str = "fan";
/// Takes what is published only to know that everything before it is on disk.
const MARKS: &str = "marks";
/// Nobody consumes from it before the end.
const DEEP: &str = "deep";
const PURGED: &str = "purged";
const DELETED: &str = "deleted";
const PRIORITIES: &str = "priorities";
const QUORUM: &str = "quorum";
pub(crate) const QUEUES: [&str; 8] = [
    "classic", QUORUM, PRIORITIES, "fan-a", "fan-b", PURGED, DELETED, DEEP,
];
/// How many messages a publisher has out.
const OUTSTANDING: usize = 300;

/// What all clients know.
pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    pub(crate) record: Arc<Record>,
    pub(crate) publishers: Arc<AtomicU32>,
}

fn arguments(queue: &str) -> Table {
    match queue {
        QUORUM => Table::new().with("x-queue-type", Value::text("quorum")),
        PRIORITIES => Table::new().with("x-max-priority", Value::I32(3)),
        _ => Table::new(),
    }
}

/// Makes what there is to be, if it is not there.
pub(crate) async fn furnish(address: SocketAddr) -> Result<(), Gone> {
    let mut client = Client::open(address).await?;
    for queue in QUEUES {
        client.declare(queue, arguments(queue)).await?;
    }
    client
        .declare(MARKS, Table::new().with("x-max-length", Value::I32(5)))
        .await?;
    for queue in ["fan-a", "fan-b"] {
        client.bind(FANOUT, queue).await?;
    }
    client.close().await
}

/// Queues that a message goes to, with its exchange and key.
fn target(rng: &mut StdRng) -> (&'static str, &'static str, &'static [&'static str]) {
    match rng.random_range(0..10) {
        0 | 1 => ("", "classic", &["classic"]),
        2 => ("", QUORUM, &[QUORUM]),
        3 => ("", PRIORITIES, &[PRIORITIES]),
        4 | 5 => (FANOUT, "any", &["fan-a", "fan-b"]),
        6 => ("", PURGED, &[PURGED]),
        7 => ("", DELETED, &[DELETED]),
        _ => ("", DEEP, &[DEEP]),
    }
}

/// Publishes and waits for confirms until the broker is gone.
pub(crate) async fn publish(scene: Arc<Scene>, mut rng: StdRng) -> Result<(), Gone> {
    let mut client = Client::open(scene.address).await?;
    client.confirms().await?;
    let publisher = scene.publishers.fetch_add(1, Ordering::Relaxed);
    let mut confirms = Confirms::default();
    let mut sent: HashMap<u64, (Id, &'static [&'static str])> = HashMap::new();
    loop {
        let (exchange, key, queues) = target(&mut rng);
        for _ in 0..rng.random_range(1..40) {
            let number = confirms.published();
            let id = Id {
                publisher,
                number: u32::try_from(number).unwrap(),
                priority: if key == PRIORITIES {
                    rng.random_range(0..4)
                } else {
                    0
                },
            };
            let padding = match rng.random_range(0..200) {
                0 => rng.random_range(0..200_000),
                1..20 => rng.random_range(0..5000),
                _ => rng.random_range(0..100),
            };
            queues.iter().for_each(|queue| scene.record.published(queue, id));
            sent.insert(number, (id, queues));
            client.publish(exchange, key, Some(id.priority), id.body(padding));
        }
        client.send().await?;
        while confirms.count() > OUTSTANDING {
            let Event::Method { method, .. } = client.event().await? else {
                continue;
            };
            let settled = match method {
                Method::Basic(basic::Method::Ack(ack)) => confirms.settle(ack.delivery_tag, ack.multiple),
                Method::Basic(basic::Method::Nack(nack)) => {
                    for number in confirms.settle(nack.delivery_tag, nack.multiple) {
                        let (id, queues) = sent.remove(&number).unwrap();
                        queues.iter().for_each(|queue| scene.record.refused(queue, id));
                    }
                    continue;
                }
                // There is no room, or there is again.
                Method::Connection(_) => continue,
                other => panic!("{other:?}"),
            };
            for number in settled {
                let (id, queues) = sent.remove(&number).unwrap();
                queues.iter().for_each(|queue| scene.record.confirmed(queue, id));
            }
        }
        if rng.random_ratio(1, 50) {
            // Whatever is unconfirmed may or may not be there.
            return if rng.random() {
                client.close().await
            } else {
                Ok(())
            };
        }
    }
}

/// Consumes until the broker is gone.
pub(crate) async fn consume(scene: Arc<Scene>, mut rng: StdRng) -> Result<(), Gone> {
    let mut client = Client::open(scene.address).await?;
    client.confirms().await?;
    let queue = *QUEUES[..QUEUES.len() - 1].choose(&mut rng).unwrap();
    let (record, mut order) = (&scene.record, Order::default());
    // What the channel has, by tag; what was settled; and how much of that when a mark was published.
    let mut has: Vec<(u64, Id)> = Vec::new();
    let mut settled: Vec<Id> = Vec::new();
    let mut marked: Option<usize> = None;
    record.opened(queue);
    start(&mut client, queue, &mut rng).await?;
    loop {
        match client.event().await? {
            Event::Message { message, .. } => {
                let (id, count) = (Id::of(&message.whole_body()), count(queue, &message));
                let deliver = message.deliver().unwrap();
                record.delivered(queue, id, deliver.redelivered, count, &mut order);
                has.push((deliver.delivery_tag, id));
            }
            Event::Method {
                method: Method::Basic(basic::Method::Ack(_)),
                ..
            } => {
                for id in settled.drain(..marked.take().unwrap_or_default()) {
                    record.flushed(queue, id);
                }
            }
            Event::Method {
                method: Method::Basic(basic::Method::Nack(_)),
                ..
            } => marked = None,
            Event::Method {
                method: Method::Connection(_),
                ..
            } => {}
            // The queue is gone.
            _ => return client.close().await,
        }
        match rng.random_range(0..100) {
            0..30 if !has.is_empty() => {
                let multiple = rng.random();
                let at = rng.random_range(0..has.len());
                let tag = has[at].0;
                let done: Vec<_> = match multiple {
                    true => has.drain(..=at).collect(),
                    false => vec![has.remove(at)],
                };
                match rng.random_range(0..10) {
                    0 => client.nack(tag, multiple, true),
                    what => {
                        for (_, id) in done {
                            record.settled(queue, id);
                            settled.push(id);
                        }
                        match what {
                            1 => client.nack(tag, multiple, false),
                            _ => client.ack(tag, multiple),
                        }
                    }
                }
            }
            30..35 if marked.is_none() && !settled.is_empty() => {
                marked = Some(settled.len());
                client.publish("", MARKS, None, bytes::Bytes::from_static(b"mark"));
            }
            35 if rng.random_ratio(1, 4) => {
                // What the channel has goes back, without a word.
                client.call(channel::Close::default()).await?;
                client.call(channel::Open::default()).await?;
                client.confirms().await?;
                has.clear();
                (settled, marked) = (Vec::new(), None);
                order = Order::default();
                record.opened(queue);
                start(&mut client, queue, &mut rng).await?;
            }
            36 if rng.random_ratio(1, 4) => {
                return if rng.random() {
                    client.close().await
                } else {
                    Ok(())
                };
            }
            _ => {}
        }
        client.send().await?;
    }
}

/// Fetches messages where it is counted how often they were, and keeps them until the broker is gone, or gives them back.
pub(crate) async fn keep(scene: Arc<Scene>, mut rng: StdRng) -> Result<(), Gone> {
    let mut client = Client::open(scene.address).await?;
    client.confirms().await?;
    scene.record.opened(QUORUM);
    loop {
        let mut kept: Vec<(Id, u32)> = Vec::new();
        for _ in 0..rng.random_range(1..20) {
            let get = basic::Get {
                queue: short(QUORUM),
                ..basic::Get::default()
            };
            let Some(message) = client.get(get).await? else {
                break;
            };
            let (id, count) = (Id::of(&message.whole_body()), count(QUORUM, &message));
            let redelivered = message.get_ok().unwrap().redelivered;
            let order = &mut Order::default();
            scene.record.delivered(QUORUM, id, redelivered, count, order);
            kept.extend(count.map(|count| (id, count)));
        }
        client.publish("", MARKS, None, bytes::Bytes::from_static(b"mark"));
        loop {
            let Event::Method { method, .. } = client.event().await? else {
                continue;
            };
            match method {
                Method::Basic(basic::Method::Ack(_)) => {
                    for (id, count) in kept {
                        scene.record.counted(QUORUM, id, count + 1);
                    }
                    break;
                }
                Method::Basic(basic::Method::Nack(_)) => break,
                _ => {}
            }
        }
        match rng.random_range(0..4) {
            0 => client.nack(0, true, true),
            1 => return client.close().await,
            // Nothing comes but the end.
            2 => drop(client.event().await?),
            _ => {}
        }
    }
}

/// How often a message came back, of a queue that counts.
fn count(queue: &str, message: &Message) -> Option<u32> {
    let headers = message.header().properties().headers;
    match headers.unwrap_or_default().get("x-delivery-count") {
        Some(Value::I64(count)) => Some(u32::try_from(*count).unwrap()),
        // It is new, or its queue does not count.
        None => (queue == QUORUM).then_some(0),
        other => panic!("{queue} says {other:?}"),
    }
}

async fn start(client: &mut Client, queue: &str, rng: &mut StdRng) -> Result<(), Gone> {
    let prefetch_count = rng.random_range(20..400);
    client
        .call(basic::Qos {
            prefetch_count,
            ..basic::Qos::default()
        })
        .await?;
    let consume = basic::Consume {
        queue: short(queue),
        ..basic::Consume::default()
    };
    client.call(consume).await.map(drop)
}

/// Purges one queue and deletes another, now and then, until the broker is gone.
pub(crate) async fn wipe(scene: Arc<Scene>, mut rng: StdRng) -> Result<(), Gone> {
    let mut client = Client::open(scene.address).await?;
    loop {
        let pause = rng.random_range(20..200);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        // What is published from now on may be gone as well as what was before: until the answer nobody knows.
        if rng.random() {
            scene.record.wiped(PURGED);
            let purge = queue::Purge {
                queue: short(PURGED),
                ..queue::Purge::default()
            };
            let purged = client.call(purge).await;
            scene.record.wiped(PURGED);
            purged?;
        } else {
            // Nobody remembers it, but it had a number.
            let exclusive = queue::Declare {
                exclusive: true,
                durable: true,
                ..queue::Declare::default()
            };
            client.call(exclusive).await?;
            scene.record.set_absent(DELETED, true);
            scene.record.wiped(DELETED);
            let delete = queue::Delete {
                queue: short(DELETED),
                ..queue::Delete::default()
            };
            let deleted = client.call(delete).await;
            let declared = client.declare(DELETED, arguments(DELETED)).await;
            // A broker that ends may do so between the two.
            scene.record.set_absent(DELETED, declared.is_err());
            scene.record.wiped(DELETED);
            deleted.and(declared)?;
        }
    }
}

/// Takes everything that a queue has, and settles it.
pub(crate) async fn drain(scene: &Scene, queue: &'static str) -> Result<Vec<Id>, Gone> {
    let mut client = Client::open(scene.address).await?;
    let (mut drained, mut order) = (Vec::new(), Order::default());
    let declare = queue::Declare {
        queue: short(queue),
        passive: true,
        ..queue::Declare::default()
    };
    let Method::Queue(queue::Method::DeclareOk(declared)) = client.call(declare).await? else {
        return Err(Gone);
    };
    let all = declared.message_count as usize;
    client
        .call(basic::Qos {
            prefetch_count: 1000,
            ..basic::Qos::default()
        })
        .await?;
    let consume = basic::Consume {
        queue: short(queue),
        ..basic::Consume::default()
    };
    scene.record.opened(queue);
    client.call(consume).await?;
    while drained.len() < all {
        let Event::Message { message, .. } = client.event().await? else {
            return Err(Gone);
        };
        let deliver = message.deliver().unwrap();
        let (id, count) = (Id::of(&message.whole_body()), count(queue, &message));
        let redelivered = deliver.redelivered;
        scene.record.delivered(queue, id, redelivered, count, &mut order);
        drained.push(id);
        scene.record.settled(queue, id);
        client.ack(deliver.delivery_tag, false);
    }
    client.close().await?;
    Ok(drained)
}
