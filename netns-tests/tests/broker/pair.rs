//! Two hosts with one data directory on storage that they share, behind the tutorial's proxy: the second goes on with what the
//! first has left.

use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Network, Process, Proxy, ProxyFlavour, eventually, warren_binary};

const PATIENCE: Duration = Duration::from_secs(30);
/// Two checks, five seconds apart, and the time to find the first one dead.
const NOTICED: Duration = Duration::from_secs(40);

/// The tutorial's server starts with this file; both of a pair are one node, and go by one name.
const CONFIGURATION: &str = "default_user = shop\ndefault_pass = secret\n";

/// Publishes as many numbers as it is told, each confirmed before the next: only these have to be there after a kill.
const PUBLISH: &str = r#"
import sys, pika
channel = pika.BlockingConnection(pika.ConnectionParameters(
    '127.0.0.1', 5680, '/', pika.PlainCredentials('shop', 'secret'))).channel()
channel.confirm_delivery()
for number in range(int(sys.argv[1])):
    channel.basic_publish('', 'orders', b'%d' % number, pika.BasicProperties(delivery_mode=2), mandatory=True)
"#;

fn start(host: &Host, data: &std::path::Path) -> Process {
    let file = host.write("rabbitmq.conf", CONFIGURATION);
    let mut command = Command::new(warren_binary());
    command.args(["broker", "-f"]).arg(file).arg("--data").arg(data);
    command.env("RABBITMQ_NODENAME", "rabbit@warren");
    host.spawn_command(command)
}

fn says(process: &Process, words: &str) {
    eventually(PATIENCE, &format!("it says {words:?}"), || {
        let log = process.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

fn field(data: &std::path::Path, name: &str) -> String {
    let text = std::fs::read_to_string(data.join("node")).expect("the node has a file");
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
        .to_owned()
}

#[test]
fn the_second_of_a_pair_goes_on_with_what_the_first_has_left() {
    let network = Network::new();
    let proxy_host = network.host_with("proxy", &["172.17.0.1/16"]);
    let [first, second] = [("rabbit", 3), ("backup", 6)]
        .map(|(name, last)| network.host_with(name, &[&format!("172.17.0.{last}/16")]));
    // Every host sees every directory: that is the storage they share.
    let storage = network.host("storage");
    let data = storage.directory().join("data");

    let mut broker = start(&first, &data);
    says(&broker, "ready");
    let identity = field(&data, "id");
    let cookie = std::fs::read_to_string(data.join(".erlang.cookie")).expect("a cookie");

    // What is open on one host cannot be opened on the other, whoever tries.
    let mut early = start(&second, &data);
    assert_eq!(early.wait(PATIENCE).code(), Some(1), "{}", early.log());
    let said = early.log();
    assert!(
        said.contains("pid ") && said.contains(" on "),
        "it names the holder: {said}"
    );
    assert_eq!(field(&data, "starts"), "1", "who was refused changed nothing");

    // Its socket is in a directory of this test's own.
    let sockets = format!("{}/", proxy_host.directory().display());
    let proxy_cfg = include_str!("../../fixtures/seed-004-haproxy-backup.cfg").replace("/tmp/", &sockets);
    let _proxy = Proxy::start_without_waiting(ProxyFlavour::Warren, &proxy_host, &proxy_cfg);
    let url = "--url=amqp://shop:secret@127.0.0.1:5680";
    eventually(PATIENCE, "a queue through the proxy", || {
        let output = proxy_host.try_sh(&format!("amqp-declare-queue {url} -d -q orders"));
        if output.status.success() {
            Ok(())
        } else {
            Err(output)
        }
    });
    let mut publisher = Command::new("/usr/bin/python3");
    publisher.args(["-c", PUBLISH, "50"]);
    let mut publisher = proxy_host.spawn_command(publisher);
    assert!(publisher.wait(PATIENCE).success(), "{}", publisher.log());
    broker.kill();

    let broker = start(&second, &data);
    says(&broker, "ready");
    assert_eq!(field(&data, "id"), identity);
    assert_eq!(field(&data, "starts"), "2");
    assert_eq!(
        std::fs::read_to_string(data.join(".erlang.cookie")).expect("a cookie"),
        cookie
    );
    proxy_host.write("take", "cat\necho\n");
    let take = proxy_host.directory().join("take");
    let taken = eventually(NOTICED, "the messages come from the second", || {
        let output = proxy_host.try_sh(&format!(
            "timeout 10 amqp-consume {url} -q orders -c 50 sh {}",
            take.display()
        ));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.is_empty() { Err(output) } else { Ok(text) }
    });
    let taken: Vec<String> = taken.lines().map(str::to_owned).collect();
    let sent: Vec<String> = (0..50).map(|number: u32| number.to_string()).collect();
    assert_eq!(taken, sent, "all of them, in order");
    let status = second.sh(&format!("{} ctl -q status", warren_binary().display()));
    assert!(status.contains("rabbit@warren"), "{status}");

    // The first host is back and starts its broker, as its unit would: it waits outside.
    let mut late = start(&first, &data);
    assert_eq!(late.wait(PATIENCE).code(), Some(1), "{}", late.log());
    drop(broker);
    let broker = start(&first, &data);
    says(&broker, "ready");
    assert_eq!(field(&data, "starts"), "3");
}
