//! What the machine does not have, or has no longer, while the broker runs.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, basic, confirm};

use super::{Broker, Client, Event, await_line};

/// A broker that may open no more files than that.
fn with_files(count: u32, directory: &Path) -> Broker {
    let mut command = Command::new("prlimit");
    command.args([
        &format!("--nofile={count}:{count}"),
        env!("CARGO_BIN_EXE_warren"),
        "broker",
    ]);
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(directory.join("data"));
    command.arg("--runtime-dir").arg(directory.join("run"));
    Broker::run(&mut command)
}

/// Publishes so many messages of a megabyte each, one after the other is safe.
fn publish_large(client: &mut Client, queue: &str, count: usize) {
    let body = Bytes::from(vec![7; 1 << 20]);
    let publish = Publish {
        routing_key: queue.as_bytes(),
        ..Publish::default()
    };
    for _ in 0..count {
        let persistent = Properties::of(DeliveryMode::Persistent);
        client
            .connection
            .outbox()
            .publish(1, &publish, &persistent, &body)
            .unwrap();
        let answer = client.next().unwrap();
        let Some(Event::Method {
            method: Method::Basic(basic::Method::Ack(_)),
            ..
        }) = answer
        else {
            panic!("{answer:?}")
        };
    }
}

#[test]
fn a_crowd_that_has_all_file_descriptors_of_clients_leaves_some_to_the_log_and_to_operators() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = with_files(100, directory.path());
    let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("kept", 0);
    client.call(confirm::Select::default());
    let crowd: Vec<_> = (0..150)
        .map(|_| TcpStream::connect(broker.address).unwrap())
        .collect();
    let said = await_line(&mut broker.log, "could not accept a client");
    assert!(said.contains("raise LimitNOFILE"), "{said}");
    // Several files of the log.
    publish_large(&mut client, "kept", 60);
    let mut status = Command::new(env!("CARGO_BIN_EXE_warren"));
    status
        .args(["broker", "status"])
        .env("RUNTIME_DIRECTORY", directory.path().join("run"));
    let answer = status.output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    drop(crowd);
    let later = Client::connect(broker.address, "guest", "guest", "/");
    assert!(later.is_ok(), "there is room again");
}
