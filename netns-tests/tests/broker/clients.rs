//! Client libraries that others wrote, unchanged, while the broker is killed and started again: see `clients/README.md`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Network, Process, eventually, warren_binary};

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

/// What each does over TLS besides, in a column of its own.
const OVER_TLS: &str = "confirms";

/// A client: its name, how it is called, what it does, and whether it can do so over TLS.
struct Client {
    name: &'static str,
    words: &'static [&'static str],
    does: &'static [&'static str],
    tls: bool,
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
    tls: false,
};

const fn client(name: &'static str, words: &'static [&'static str]) -> Client {
    Client {
        name,
        words,
        does: &ALL,
        tls: true,
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

/// What the broker has: which certificates, of which the second is the one that clients ask for, and a user who is called
/// like theirs.
const TLS: &str = "\
[broker]
listen = []
tls_listen = [\"5671\"]
tls = { certificates = [\"other.test.pem\", \"localhost.pem\"], client_ca = \"authority.pem\", clients = \"required\" }
first = { user = \"CN=client\" }
";

/// An authority, and what it has signed.
const SIGN: &str = "\
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout authority.pem.key -out authority.pem
for name in other.test localhost client; do
    openssl req -newkey rsa:2048 -nodes -subj /CN=$name -addext subjectAltName=DNS:$name -keyout $name.pem.key -out $name.csr
    openssl x509 -req -in $name.csr -days 30 -CA authority.pem -CAkey authority.pem.key -copy_extensions copy -out $name.pem
done
";

#[test]
fn over_tls_clients_find_the_name_they_ask_for_and_are_who_their_certificates_say() {
    let network = Network::new();
    let host = network.host_with("broker", &["192.168.5.1/24"]);
    let certificates = host.directory();
    host.sh(&format!("cd {} && {{\n{SIGN}}}", certificates.display()));
    let mut command = Command::new(warren_binary());
    command
        .args(["broker", "--config"])
        .arg(host.write("warren.toml", TLS))
        .arg("--data")
        .arg(host.directory().join("data"))
        .current_dir(certificates);
    let broker = host.spawn_command(command);
    eventually(PATIENCE, "the broker is ready", || {
        let log = broker.log();
        if log.contains("ready") { Ok(()) } else { Err(log) }
    });
    let running: Vec<(&Client, Process)> = CLIENTS
        .iter()
        .filter(|client| client.tls)
        .map(|client| {
            let mut command = command_of(client, ["localhost", "5671"]);
            command.env("CERTIFICATES", certificates);
            (client, host.spawn_command(command))
        })
        .collect();
    for (client, mut process) in running {
        let status = process.wait(PATIENCE);
        let log = process.log();
        assert!(
            status.success() && log.lines().any(|line| line == format!("did {OVER_TLS}")),
            "{}: {status}\n{log}\n{}",
            client.name,
            broker.log()
        );
    }
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
            .chain(["tls"])
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
            .chain(client.tls.then_some("tls"))
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
    let mut command = command_of(client, ["127.0.0.1", "5672"]);
    command.arg(host.directory().join("restarted"));
    host.spawn_command(command)
}

fn command_of(client: &Client, at: [&str; 2]) -> Command {
    let directory = directory();
    let mut words = client.words.iter();
    let mut command = Command::new(directory.join(words.next().expect("a program")));
    command.args(words).args(at).current_dir(directory);
    command
}

/// Where the libraries are, beside the programs under test.
fn directory() -> PathBuf {
    let binary = warren_binary();
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
