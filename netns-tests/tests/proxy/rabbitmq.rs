//! Real brokers: three RabbitMQ nodes from the distribution, a client library that others use, the tutorial's file unchanged.
//!
//! One test, because a node takes seconds to start and a core while it does.

mod rebalance;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use warren_lab::{Host, Network, Process, Proxy, ProxyFlavour, eventually};

use super::PATIENCE;

/// Erlang on a busy machine.
const START: Duration = Duration::from_secs(120);
/// Three checks, five seconds apart.
const NOTICED: Duration = Duration::from_secs(25);

/// A node that is a host of its own, with its own epmd, data and cookie.
struct Node {
    _process: Process,
    host: Host,
}

impl Node {
    fn start(network: &Network, name: &str, last: u8) -> Self {
        let host = network.host_with(name, &[&format!("192.168.125.{last}/24")]);
        let hosts = host.write(
            "hosts",
            &format!("127.0.0.1 localhost\n192.168.125.{last} {name}\n"),
        );
        host.sh(&format!("mount --bind {} /etc/hosts", hosts.display()));
        host.write(
            "rabbitmq.conf",
            "default_user = clay_admin\ndefault_pass = clay_admin_123\ndefault_vhost = clay_vhost\nloopback_users = none\n\
             default_permissions.configure = .*\ndefault_permissions.read = .*\ndefault_permissions.write = .*\n",
        );
        host.write("enabled_plugins", "[].\n");
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        Self::environment(&host, name, &mut command);
        let process = host.spawn_command(command);
        Self {
            _process: process,
            host,
        }
    }

    fn environment(host: &Host, name: &str, command: &mut Command) {
        let path = |file: &str| host.directory().join(file);
        command
            .env("HOME", host.directory())
            .env("RABBITMQ_NODENAME", format!("rabbit@{name}"))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            // One scheduler that does not spin: there are three nodes on few cores.
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none");
    }

    #[track_caller]
    fn control(&self, words: &str) -> String {
        let name = self.host.name();
        self.host.sh(&format!(
            "HOME={} RABBITMQ_NODENAME=rabbit@{name} /usr/lib/rabbitmq/bin/rabbitmqctl {words} 2>&1",
            self.host.directory().display()
        ))
    }
}

/// Publishes and consumes through the proxy, tells where it is, and goes on elsewhere when its connection ends.
const CLIENT: &str = r#"
import sys, time, pika
vip = sys.argv[1]
parameters = pika.ConnectionParameters(vip, 5670, 'clay_vhost', pika.PlainCredentials('clay_admin', 'clay_admin_123'),
                                       socket_timeout=10, blocked_connection_timeout=10)
def work(connection, number):
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare('', exclusive=True).method.queue
    for n in range(200):
        channel.basic_publish('', queue, ('%d/%d ' % (number, n)).encode() + b'x' * (n * 50))
    for n in range(200):
        got = channel.basic_get(queue, auto_ack=True)[2]
        assert got == ('%d/%d ' % (number, n)).encode() + b'x' * (n * 50), (n, got[:20])
    print('worked', number, flush=True)
number = 0
while number < 3:
    try:
        connection = pika.BlockingConnection(parameters)
        work(connection, number)
        number += 1
        while number < 3:
            connection.process_data_events(time_limit=1)
        connection.close()
    except (pika.exceptions.AMQPConnectionError, pika.exceptions.AMQPChannelError) as error:
        print('lost', type(error).__name__, getattr(error, 'reply_code', ''), flush=True)
        time.sleep(0.5)
print('done', flush=True)
"#;

#[test]
fn rabbitmq_behind_haproxy() {
    serves_rabbitmq(ProxyFlavour::Haproxy);
}

#[test]
fn rabbitmq_behind_warren() {
    serves_rabbitmq(ProxyFlavour::Warren);
}

fn serves_rabbitmq(flavour: ProxyFlavour) {
    let network = Network::new();
    let nodes: Vec<Node> = [("rabbitmq1", 26), ("rabbitmq2", 190), ("rabbitmq3", 176)]
        .map(|(name, last)| Node::start(&network, name, last))
        .into();
    let host = network.host_with("proxy", &["192.168.125.222/24"]);
    super::seeds::names(&host);
    let client = network.host_with("client", &["192.168.125.99/24"]);
    for node in &nodes {
        eventually(START, "the node listens", || {
            let at: SocketAddr = "127.0.0.1:5672".parse().unwrap();
            node.host
                .enter(|| std::net::TcpStream::connect_timeout(&at, PATIENCE))
        });
    }
    let _proxy = Proxy::start_without_waiting(
        flavour,
        &host,
        include_str!("../../fixtures/seed-001-haproxy.cfg"),
    );
    let page = || client.sh("curl -s -u admin:admin123 'http://192.168.125.222:8100/;csv' || true");
    let field = |server: &str, place: usize| {
        let text = page();
        let row = text
            .lines()
            .find(|line| line.starts_with(&format!("rabbitmq,{server},")))
            .map(str::to_owned);
        row.and_then(|row| row.split(',').nth(place).map(str::to_owned))
            .unwrap_or(text)
    };
    let eventually_status = |server: &str, wanted: &str| {
        eventually(NOTICED, &format!("{server} is {wanted}"), || {
            let status = field(server, 17);
            if status == wanted { Ok(()) } else { Err(status) }
        });
    };
    for node in &nodes {
        eventually_status(node.host.name(), "UP");
    }

    let script = client.write("client.py", CLIENT);
    let work = client.spawn(
        "/usr/bin/python3",
        &[script.as_os_str(), "192.168.125.222".as_ref()],
    );
    let worked = |number: usize| {
        eventually(START, &format!("the client has worked {number} times"), || {
            let log = work.log();
            if log.contains(&format!("worked {number}")) {
                Ok(log)
            } else {
                Err(log)
            }
        })
    };
    let serving = || nodes.iter().find(|node| field(node.host.name(), 4) == "1");
    worked(0);
    let first = eventually(PATIENCE, "one server has a session", || {
        serving().ok_or_else(page)
    });
    // As in the tutorial: the application is stopped, the page is watched, the client goes on at another node.
    first.control("stop_app");
    let log = worked(1);
    assert!(log.contains("lost ConnectionClosedByBroker 320"), "{log}");
    eventually_status(first.host.name(), "DOWN");
    let second = eventually(PATIENCE, "another server has the session", || {
        serving().ok_or_else(page)
    });
    assert_ne!(second.host.name(), first.host.name());
    first.control("start_app");
    eventually_status(first.host.name(), "UP");
    second.control("close_all_connections --global 'by the operator'");
    worked(2);
    eventually(PATIENCE, "the client ends in order", || {
        let log = work.log();
        if log.contains("done") { Ok(()) } else { Err(log) }
    });
    no_complaints(&nodes);
}

/// Checks must not fill the broker's log with errors of their own.
fn no_complaints(nodes: &[Node]) {
    for node in nodes {
        let output: Output = node.host.try_sh(&format!(
            "cat {}/rabbitmq-server-*.log",
            node.host.directory().display()
        ));
        let log = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(log.contains("Server startup complete"), "{log}");
        // The client's own connection is ended twice, by the operator and with the application.
        let of_client =
            |line: &&str| line.contains("user: 'clay_admin'") || line.contains("connection_forced");
        let errors = log.lines().filter(|line| line.contains("[error]"));
        let errors: Vec<&str> = errors.filter(|line| !of_client(line)).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", node.host.name());
    }
}
