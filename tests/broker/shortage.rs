//! What the machine does not have, or has no longer, while the broker runs.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use bytes::Bytes;
use nix::sys::signal::Signal;
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Method, basic, confirm};

use super::disk::Disk;
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

/// What an operator asks of the broker with its sockets there.
fn tool(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(words)
        .env("RUNTIME_DIRECTORY", directory.join("run"));
    command.output().unwrap()
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
    let answer = tool(directory.path(), &["broker", "status"]);
    assert!(answer.status.success(), "{answer:?}");
    drop(crowd);
    let later = Client::connect(broker.address, "guest", "guest", "/");
    assert!(later.is_ok(), "there is room again");
}

#[test]
fn thousands_who_get_no_connection_do_not_make_thousands_of_lines() {
    let directory = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(directory.path(), &[]);
    let begun = Instant::now();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(broker.address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        // Answered, and closed.
        while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    }
    broker.signal(Signal::SIGTERM);
    let mut said = String::new();
    broker.log.read_to_string(&mut said).unwrap();
    let lines = said.matches("connection was not opened").count() as u64;
    let most = 100 * (1 + begun.elapsed().as_secs() / 10);
    assert!(lines > 0 && lines <= most, "{lines} lines, {most} at most");
}

#[test]
fn a_limit_on_the_size_of_files_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command.args([
        "--fsize=1000000",
        env!("CARGO_BIN_EXE_warren"),
        "broker",
        "--listen",
        "127.0.0.1:0",
        "--data",
    ]);
    command
        .arg(directory.path().join("data"))
        .arg("--runtime-dir")
        .arg(directory.path().join("run"));
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("raise LimitFSIZE"), "{said}");
}

/// Without a word of its own a runtime that gets no thread panics, or what waits for a thread waits for ever.
#[test]
fn a_limit_on_threads_ends_the_start_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    let configuration = path.join("haproxy.cfg");
    let listen = format!(
        "listen a\n bind {}\n server a 127.0.0.1:1\n",
        path.join("door").display()
    );
    std::fs::write(&configuration, listen).unwrap();
    // Root has no such limit. An ordinary user may have other processes: then not even one thread more.
    let is_root = nix::unistd::geteuid().is_root();
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_warren"));
    let mut limited = vec!["--nproc=1:1"];
    if is_root {
        limited = vec![
            "--nproc=4:4",
            "setpriv",
            "--reuid=54321",
            "--regid=54321",
            "--clear-groups",
        ];
        // He may not get to where it was built.
        let copied = path.join("warren");
        std::fs::copy(&program, &copied).unwrap();
        program = copied;
    }
    let broker = ["broker", "--listen", "127.0.0.1:0", "--data", "data"];
    for role in [&broker[..], &["proxy", "-f", "haproxy.cfg"]] {
        let mut command = Command::new("prlimit");
        command.args(&limited).arg(&program).args(role);
        command.arg("--runtime-dir").arg(path.join("run"));
        let ended = command.current_dir(path).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains("raise LimitNPROC of the unit, or ulimit -u"),
            "{said}"
        );
        assert!(said.contains("threads that are needed"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn data_that_were_last_used_under_another_name_are_served_and_both_names_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let start = |name: &str, data: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
        command
            .args(["broker", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path().join(data));
        command.arg("--runtime-dir").arg(directory.path().join("run"));
        command.env("RABBITMQ_NODENAME", name).stderr(Stdio::piped());
        let mut broker = command.spawn().unwrap();
        let mut log = BufReader::new(broker.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(" ready") {
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
        }
        broker.kill().unwrap();
        broker.wait().unwrap();
        said
    };
    for _ in 0..2 {
        let said = start("rabbit@first", "data");
        assert!(!said.contains("under another name"), "{said}");
    }
    let said = start("rabbit@second", "data");
    let line = said.lines().find(|line| line.contains("under another name"));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(
        line.contains(r#"node="rabbit@second""#) && line.contains(r#"before="rabbit@first""#),
        "{line}"
    );
    assert!(!start("rabbit@second", "data").contains("under another name"));
    // As RabbitMQ's own commands place them: a directory for each name.
    assert!(!start("rabbit@first", "nodes/rabbit@first").contains("beside"));
    let said = start("rabbit@second", "nodes/rabbit@second");
    assert!(said.contains("data of other names lie beside"), "{said}");
    assert!(said.contains(r#"others="rabbit@first""#), "{said}");
    assert!(!start("rabbit@second", "nodes/rabbit@second").contains("beside"));
}

#[test]
fn a_disk_that_does_not_answer_is_spoken_of_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_warren"));
    command
        .args(["broker", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path().join("data"));
    command.arg("--runtime-dir").arg(directory.path().join("run"));
    disk.put_under(&mut command);
    let mut broker = Broker::run(&mut command);
    let mut client = Client::connect(broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("kept", 0);
    client.call(confirm::Select::default());
    disk.waits();
    client.publish_persistent("kept");
    await_line(&mut broker.log, "the disk does not answer");
    let why = tool(directory.path(), &["broker", "why"]);
    let why = String::from_utf8_lossy(&why.stdout);
    assert!(why.contains("The disk has not answered for"), "{why}");
    for status in [&["broker", "status"][..], &["ctl", "status"]] {
        let said = tool(directory.path(), status);
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("disk has not answered for"), "{said}");
    }
    disk.works();
    let answer = client.next().unwrap();
    assert!(matches!(
        answer,
        Some(Event::Method {
            method: Method::Basic(basic::Method::Ack(_)),
            ..
        })
    ));
    await_line(&mut broker.log, "the disk answers again");
    let why = tool(directory.path(), &["broker", "status"]);
    let why = String::from_utf8_lossy(&why.stdout);
    assert!(!why.contains("has not answered"), "{why}");
}
