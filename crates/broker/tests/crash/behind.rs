//! A disk that does not write for a while, and many who publish: what waits for it is bounded, and so are the threads that do.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::client::{Client, short};
use warren_amqp::client::{Confirms, Event};
use warren_amqp::{Method, Table, Value, basic};
use warren_broker::registry::{Entry, State};
use warren_store::{SimulatedDisk, Weather};

const PUBLISHERS: usize = 64;
/// So many persistent messages come from each: together more than a hundred times as much as may wait.
const MESSAGES: u64 = 20;
const BODY: usize = 50_000;
/// Messages of each that are out.
const OUTSTANDING: usize = 5;
/// So many declare a queue meanwhile, of which this is said: together more than what may wait.
const DECLARERS: usize = 10;
const ARGUMENT: usize = 60_000;

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Publishes `count` messages, and waits until all are confirmed.
async fn publish(
    client: &mut Client,
    confirms: &mut Confirms,
    mode: u8,
    count: u64,
    confirmed: &AtomicUsize,
) {
    let mut sent = 0;
    while sent < count || confirms.count() > 0 {
        while sent < count && confirms.count() < OUTSTANDING {
            client.publish_as(mode, "", "behind", None, bytes::Bytes::from(vec![7; BODY]));
            confirms.published();
            sent += 1;
        }
        let Event::Method {
            method: Method::Basic(basic::Method::Ack(ack)),
            ..
        } = client.event().await.expect("the broker lives")
        else {
            panic!("only confirms are due");
        };
        let settled = confirms.settle(ack.delivery_tag, ack.multiple);
        confirmed.fetch_add(settled.len(), Ordering::Relaxed);
    }
}

#[test]
fn publishers_wait_for_a_disk_that_does_not_write_and_what_waits_for_it_is_bounded() {
    let disk = SimulatedDisk::default();
    let (broker, clients) = (runtime(2), runtime(1));
    let member = Member::alone_on(Arc::new(disk.clone()), Path::new("/data"), options()).unwrap();
    let (log, limit) = (Arc::clone(&member.log), options().segment_octets / 2);
    let (node, address) = broker.block_on(open(member));
    clients.block_on(async {
        let mut other = Client::open(address).await.unwrap();
        other.declare("behind", Table::new()).await.unwrap();
        other.confirms().await.unwrap();
        let (mut of_other, transient) = (Confirms::default(), AtomicUsize::new(0));
        publish(&mut other, &mut of_other, 1, 1, &transient).await;
        disk.set_weather(Weather {
            syncs_wait: true,
            ..Weather::default()
        });
        let confirmed = Arc::<AtomicUsize>::default();
        let mut publishers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let confirmed = Arc::clone(&confirmed);
            publishers.spawn(async move {
                let mut client = Client::open(address).await.unwrap();
                client.confirms().await.unwrap();
                publish(&mut client, &mut Confirms::default(), 2, MESSAGES, &confirmed).await;
            });
        }
        let in_flow = || {
            let connections = node.registry.connections();
            connections
                .iter()
                .filter(|entry| entry.state() == State::Flow)
                .count()
        };
        // All but those whose message is being written, or that are in a thread which waits for room.
        eventually("nearly all are held back", || in_flow() > PUBLISHERS - 10).await;
        let waiting = log.statistics().unwrap().waiting;
        assert!(waiting > limit / 2 && waiting <= limit, "{waiting}");
        assert_eq!(confirmed.load(Ordering::Relaxed), 0);
        // Who needs no disk does not wait for it, nor who has only come.
        publish(&mut other, &mut of_other, 1, MESSAGES, &transient).await;
        let mut newcomer = Client::open(address).await.unwrap();
        newcomer.declare("behind", Table::new()).await.unwrap();
        newcomer.confirms().await.unwrap();
        publish(&mut newcomer, &mut Confirms::default(), 1, 1, &transient).await;
        // Who changes the metadata does, and does not take the place of others meanwhile.
        let mut declarers = JoinSet::new();
        for number in 0..DECLARERS {
            declarers.spawn(async move {
                let mut client = Client::open(address).await.unwrap();
                let said = Table::new().with("said", Value::text(&"s".repeat(ARGUMENT)));
                client.declare(&format!("declared-{number}"), said).await.unwrap();
            });
        }
        let declared = |entry: &Arc<Entry>| entry.counts.octets_received.get() > ARGUMENT as u64;
        let declarers_are_heard = || {
            let connections = node.registry.connections();
            let newest = connections.iter().rev().take(DECLARERS);
            connections.len() == 2 + PUBLISHERS + DECLARERS
                && newest.filter(|entry| declared(entry)).count() == DECLARERS
        };
        eventually("those who declare are heard", declarers_are_heard).await;
        for _ in 0..MESSAGES {
            let get = basic::Get {
                ticket: 0,
                queue: short("behind"),
                no_ack: false,
            };
            assert!(other.get(get).await.unwrap().is_some());
        }
        disk.set_weather(Weather::default());
        while let Some(ended) = publishers.join_next().await {
            ended.unwrap();
        }
        assert_eq!(confirmed.load(Ordering::Relaxed), PUBLISHERS * MESSAGES as usize);
        while let Some(ended) = declarers.join_next().await {
            ended.unwrap();
        }
    });
    broker.shutdown_background();
}
