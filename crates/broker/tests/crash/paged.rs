//! Queues with more messages than fit into their part of the memory, kept on disk or not.

use super::*;
use crate::client::{Client, short};
use crate::record::Id;
use warren_amqp::client::Event;
use warren_amqp::{Table, basic, queue};
use warren_store::RealDisk;

const fn numbered(number: u32) -> Id {
    Id {
        publisher: 1,
        number,
        priority: 0,
    }
}

/// Fills a queue, mostly without its consumer, and takes all out again: in order, none missing, none twice, and never many
/// of them in memory.
fn fill_and_drain(durable: bool, count: u32, padding: usize, in_memory: usize) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(2);
    let done = async {
        let (node, address) = start(directory.path(), Arc::new(RealDisk)).await;
        let mut rng = StdRng::seed_from_u64(number("SEED", 1));
        let mut client = Client::open(address).await?;
        client.confirms().await?;
        client.declare_as(durable, "deep", Table::new()).await?;
        let publish = |client: &mut Client, rng: &mut StdRng, number| {
            client.publish_as(
                rng.random_range(1..3),
                "",
                "deep",
                None,
                numbered(number).body(padding),
            );
        };
        client
            .publish_all(count, |client, number| publish(client, &mut rng, number))
            .await?;
        let deep = node.queues().0.remove(0);
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while deep.snapshot().in_memory > in_memory {
            assert!(tokio::time::Instant::now() < end, "{:?}", deep.snapshot());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let qos = basic::Qos {
            prefetch_count: 1000,
            ..basic::Qos::default()
        };
        client.call(qos).await?;
        let mut expected = 0;
        let consume = basic::Consume {
            queue: short("deep"),
            ..basic::Consume::default()
        };
        client.call(consume).await?;
        while expected < count + 1000 {
            let Event::Message { message, .. } = client.event().await? else {
                continue;
            };
            let deliver = message.deliver().unwrap();
            assert_eq!(Id::of(&message.whole_body()).number, expected);
            assert!(!deliver.redelivered);
            expected += 1;
            client.ack(deliver.delivery_tag, false);
            // More come while there are fewer.
            if expected <= 1000 {
                publish(&mut client, &mut rng, count + expected - 1);
            }
        }
        let declare = queue::Declare {
            queue: short("deep"),
            passive: true,
            ..queue::Declare::default()
        };
        client.call(declare).await?;
        assert_eq!(deep.snapshot().counts.ready, 0);
        Ok::<(), client::Gone>(())
    };
    runtime.block_on(done).expect("the broker lives");
}

#[test]
fn messages_on_disk_and_in_memory_come_in_order() {
    fill_and_drain(true, 90_000, 10, 40_000);
}

#[test]
fn messages_that_nobody_keeps_are_not_lost_for_being_many() {
    fill_and_drain(false, 90_000, 10, 40_000);
}

#[test]
fn large_messages_leave_the_memory_although_they_are_few() {
    fill_and_drain(true, 800, 100_000, 450);
}

#[test]
fn who_asks_for_one_message_after_the_other_gets_those_on_disk_also_after_a_restart() {
    const COUNT: u32 = 30_000;
    let directory = tempfile::tempdir().unwrap();
    let get = async |client: &mut Client| {
        let get = basic::Get {
            queue: short("deep"),
            no_ack: true,
            ..basic::Get::default()
        };
        client.get(get).await
    };
    runtime(2).block_on(async {
        let (node, address) = start(directory.path(), Arc::new(RealDisk)).await;
        let mut client = Client::open(address).await.unwrap();
        client.confirms().await.unwrap();
        client.declare_as(true, "deep", Table::new()).await.unwrap();
        let publish =
            |client: &mut Client, number| client.publish("", "deep", None, numbered(number).body(10));
        client.publish_all(COUNT, publish).await.unwrap();
        drop((client, node));
    });
    runtime(2).block_on(async {
        let (_node, address) = start(directory.path(), Arc::new(RealDisk)).await;
        let mut client = Client::open(address).await.unwrap();
        for number in 0..COUNT {
            let message = get(&mut client).await.unwrap();
            let message = message.unwrap_or_else(|| panic!("{number} of {COUNT} is not there"));
            assert_eq!(Id::of(&message.whole_body()).number, number);
        }
        assert!(get(&mut client).await.unwrap().is_none());
    });
}

#[test]
fn a_message_leaves_the_memory_of_each_of_its_queues_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(2);
    let done = async {
        let (node, address) = start(directory.path(), Arc::new(RealDisk)).await;
        let mut client = Client::open(address).await?;
        client.confirms().await?;
        // One has it in the log, and the other has it nowhere.
        for (durable, queue) in [(true, "kept"), (false, "forgotten")] {
            client.declare_as(durable, queue, Table::new()).await?;
            client.bind("both", queue).await?;
        }
        let count = 80_000;
        let publish =
            |client: &mut Client, number| client.publish("both", "", None, numbered(number).body(10));
        client.publish_all(count, publish).await?;
        for queue in node.queues().0 {
            let end = tokio::time::Instant::now() + Duration::from_secs(30);
            while queue.snapshot().in_memory > 45_000 {
                assert!(tokio::time::Instant::now() < end, "{:?}", queue.snapshot());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        for queue in ["kept", "forgotten"] {
            let mut client = Client::open(address).await?;
            let consume = basic::Consume {
                queue: short(queue),
                no_ack: true,
                ..basic::Consume::default()
            };
            client.call(consume).await?;
            for expected in 0..count {
                let Event::Message { message, .. } = client.event().await? else {
                    panic!("{queue} has no {expected}");
                };
                assert_eq!(Id::of(&message.whole_body()).number, expected, "{queue}");
            }
        }
        Ok::<(), client::Gone>(())
    };
    runtime.block_on(done).expect("the broker lives");
}
