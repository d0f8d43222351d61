//! What a deep backlog and many queues cost, in memory and at a start after SIGKILL. Figures for people; the limits only
//! keep out what is far off.

use std::time::Instant;

use super::*;
use crate::client::{Client, short};
use crate::killed;
use crate::process::Broker;
use warren_amqp::client::{Confirms, Event};
use warren_amqp::{Method, Table, basic, queue};

const BODY: usize = 1024;

/// Resident memory of a process, in MB.
fn resident(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.process.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

async fn declare_all(address: SocketAddr, count: u64) {
    let mut tasks = JoinSet::new();
    for part in 0..20 {
        tasks.spawn(async move {
            let mut client = Client::open(address).await.unwrap();
            for number in (part..count).step_by(20) {
                client
                    .declare(&format!("many-{number}"), Table::new())
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn fill(address: SocketAddr, count: u64) {
    let mut client = Client::open(address).await.unwrap();
    client.confirms().await.unwrap();
    client.declare("deep", Table::new()).await.unwrap();
    let body = bytes::Bytes::from(vec![b'.'; BODY]);
    let mut confirms = Confirms::default();
    for number in 1..=count {
        client.publish("", "deep", None, body.clone());
        confirms.published();
        if number % 100 == 0 {
            client.send().await.unwrap();
        }
        while confirms.count() > 5000 || (number == count && confirms.count() > 0) {
            if let Event::Method {
                method: Method::Basic(basic::Method::Ack(ack)),
                ..
            } = client.event().await.unwrap()
            {
                confirms.settle(ack.delivery_tag, ack.multiple);
            }
        }
    }
}

async fn drain(address: SocketAddr, count: u64) {
    let mut client = Client::open(address).await.unwrap();
    let declare = queue::Declare {
        queue: short("deep"),
        passive: true,
        ..queue::Declare::default()
    };
    let Method::Queue(queue::Method::DeclareOk(found)) = client.call(declare).await.unwrap() else {
        panic!("the queue is there");
    };
    assert_eq!(u64::from(found.message_count), count);
    client
        .call(basic::Qos {
            prefetch_count: 2000,
            ..basic::Qos::default()
        })
        .await
        .unwrap();
    let consume = basic::Consume {
        queue: short("deep"),
        ..basic::Consume::default()
    };
    client.call(consume).await.unwrap();
    for number in 1..=count {
        let Event::Message { message, .. } = client.event().await.unwrap() else {
            panic!("only messages are due")
        };
        if number % 500 == 0 || number == count {
            client.ack(message.deliver().unwrap().delivery_tag, true);
        }
    }
    // So that the last acknowledgement has been read.
    client.call(basic::Qos::default()).await.unwrap();
}

#[test]
#[ignore = "measures, and takes minutes: for docs/benchmarks/broker.md, in release mode"]
fn a_deep_backlog_and_many_queues_cost_little() {
    let (messages, queues) = (number("MESSAGES", 1_000_000), number("QUEUES", 100_000));
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(2);
    let environment: [(&str, &std::ffi::OsStr); 1] = [(LARGE, "yes".as_ref())];
    let start = |what: &str| {
        let begun = Instant::now();
        let broker = killed::spawn(directory.path(), &environment);
        // Somebody can use it.
        runtime.block_on(async { Client::open(broker.at).await.unwrap() });
        println!(
            "{what}: ready after {:?}, {} MB",
            begun.elapsed(),
            resident(&broker)
        );
        broker
    };
    let broker = start("empty");
    let begun = Instant::now();
    runtime.block_on(declare_all(broker.at, 2000));
    println!(
        "2000 durable queues over 20 connections: {:?}, {} MB",
        begun.elapsed(),
        resident(&broker)
    );
    let begun = Instant::now();
    runtime.block_on(fill(broker.at, messages));
    println!(
        "{messages} messages of {BODY} octets: {:?}, {} MB",
        begun.elapsed(),
        resident(&broker)
    );
    drop(broker);
    let broker = start("backlog, after SIGKILL");
    let begun = Instant::now();
    runtime.block_on(declare_all(broker.at, queues));
    println!(
        "{queues} durable queues: {:?}, {} MB",
        begun.elapsed(),
        resident(&broker)
    );
    drop(broker);
    let broker = start("backlog and queues, after SIGKILL");
    let begun = Instant::now();
    runtime.block_on(drain(broker.at, messages));
    println!("drained: {:?}, {} MB", begun.elapsed(), resident(&broker));
}
