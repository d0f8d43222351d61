//! Client libraries that others wrote, unchanged, while the broker is killed and started again: see `clients/README.md`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Network, Process, eventually};

use super::node::{Flavour, Node};

/// Longer than any of them waits for anything.
const PATIENCE: Duration = Duration::from_secs(150);

/// What each client does.
const ALL: [&str; 9] = [
    "confirms",
    "returns",
    "cancel",
    "prefetch",
    "exclusive",
    "dead-letters",
    "ttl",
    "rpc",
    "restart",
];

/// A client: its name, how it is called, and what it does.
struct Client {
    name: &'static str,
    words: &'static [&'static str],
    does: &'static [&'static str],
}

/// Paths are those below `target/clients`.
const CLIENTS: [Client; 7] = [
    client("pika", &["python/bin/python", "pika_client.py"]),
    client("py-amqp", &["python/bin/python", "amqp_client.py"]),
    client("kombu", &["python/bin/python", "kombu_client.py"]),
    client("amqplib", &["/usr/bin/env", "node", "node/amqplib_client.mjs"]),
    client("php-amqplib", &["/usr/bin/env", "php", "php_client.php"]),
    client("librabbitmq", &["librabbitmq_client"]),
    client("lapin", &["lapin/debug/lapin-client"]),
];

const TOOLS: Client = Client {
    name: "amqp-tools",
    words: &["/usr/bin/env", "sh", "tools_client.sh"],
    does: &["declare", "consume", "bind", "restart"],
};

const fn client(name: &'static str, words: &'static [&'static str]) -> Client {
    Client {
        name,
        words,
        does: &ALL,
    }
}

#[test]
fn clients_do_with_warren_what_they_do_with_rabbitmq() {
    clients_do_all_that_they_do(Flavour::Warren);
}

#[test]
fn clients_do_with_rabbitmq_what_they_are_expected_to_do() {
    clients_do_all_that_they_do(Flavour::RabbitMq);
}

#[test]
fn the_table_says_what_each_client_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");
    let page = std::fs::read_to_string(path).expect("a page about clients");
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let columns = page.lines().find(|line| line.starts_with("| client | version"));
    let columns = cells(columns.expect("a table"));
    for client in CLIENTS.iter().chain([&TOOLS]) {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| {} |", client.name)));
        let row = cells(row.unwrap_or_else(|| panic!("{} is not in the table", client.name)));
        let said: Vec<&str> = ALL
            .into_iter()
            .filter(|name| {
                let column = columns.iter().position(|column| column == name);
                let column = column.unwrap_or_else(|| panic!("{name} is no column"));
                row.get(column).is_some_and(|cell| cell == "yes")
            })
            .collect();
        let does: Vec<&str> = client
            .does
            .iter()
            .copied()
            .filter(|name| ALL.contains(name))
            .collect();
        assert_eq!(said, does, "{}", client.name);
    }
}

fn clients_do_all_that_they_do(flavour: Flavour) {
    let network = Network::new();
    let host = network.host_with("broker", &["192.168.5.1/24"]);
    let mut node = Node::start(flavour, &host);
    let mut running: Vec<(&Client, Process)> = CLIENTS
        .iter()
        .chain([&TOOLS])
        .map(|client| (client, run(client, &host)))
        .collect();
    for (client, process) in &mut running {
        let what = format!("{} waits for a restart", client.name);
        eventually(PATIENCE, &what, || {
            let log = process.log();
            match log.lines().any(|line| line == "restart") {
                true => Ok(()),
                false if process.is_running() => Err(log),
                false => panic!("{} gave up:\n{log}", client.name),
            }
        });
    }
    node.kill_and_start();
    host.write("restarted", "");
    for (client, mut process) in running {
        let status = process.wait(PATIENCE);
        let log = process.log();
        assert!(
            status.success(),
            "{}: {status}\n{log}\n{}",
            client.name,
            node.log()
        );
        let did: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("did ")).collect();
        assert_eq!(did, client.does, "{}:\n{log}", client.name);
    }
}

fn run(client: &Client, host: &Host) -> Process {
    let directory = directory();
    let mut words = client.words.iter();
    let mut command = Command::new(directory.join(words.next().expect("a program")));
    command
        .args(words)
        .args(["127.0.0.1", "5672"])
        .arg(host.directory().join("restarted"))
        .current_dir(directory);
    host.spawn_command(command)
}

/// Where the libraries are, beside the programs under test.
fn directory() -> PathBuf {
    let binary = warren_lab::warren_binary();
    let directory = binary
        .ancestors()
        .nth(2)
        .expect("a target directory")
        .join("clients");
    assert!(
        directory.is_dir(),
        "{} is missing: run netns-tests/clients/setup",
        directory.display()
    );
    directory
}
