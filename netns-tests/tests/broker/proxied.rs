//! A broker behind a proxy that says whose connection it is, as RabbitMQ is behind HAProxy: what the broker makes of
//! clients' addresses, what checks make of the broker, and what publishers notice when it dies.

use std::process::Command;
use std::time::Duration;

use warren_lab::{Host, Network, Process, Proxy, ProxyFlavour, eventually, warren_binary};

use super::node::{Flavour, Node};

/// How long anything may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Somebody who may come from everywhere, beside guest.
const CONFIGURATION: &str = "\
proxy_protocol = true
default_user = shop
default_pass = secret
";

/// Logs in as each of these and says what came of it; the last one stays until its input ends.
const LOG_IN: &str = r#"
import sys, pika
address, port, users = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for number, user in enumerate(users):
    name, password = user.split(':')
    try:
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            address, port, '/', pika.PlainCredentials(name, password), socket_timeout=10))
        print(name, 'is in', flush=True)
        if number == len(users) - 1:
            sys.stdin.read()
        connection.close()
    except pika.exceptions.AMQPConnectionError as error:
        print(name, str(error) or repr(error), flush=True)
"#;

/// A broker's host (10.77.0.1), a proxy's (.2) and a client's (.3).
struct Place {
    broker: Host,
    proxy: Host,
    client: Host,
    _network: Network,
}

impl Place {
    fn new() -> Self {
        let network = Network::new();
        Self {
            broker: network.host("broker"),
            proxy: network.host("proxy"),
            client: network.host("client"),
            _network: network,
        }
    }

    /// Ours with a warren.toml on a host; `check` is what the table of that name has.
    fn warren_proxy(&self, host: &Host, check: &str) -> Process {
        Self::warren_proxy_to("10.77.0.1:5672", host, check)
    }

    fn warren_proxy_to(server: &str, host: &Host, check: &str) -> Process {
        let file = host.write(
            "warren.toml",
            &format!(
                "[proxy.listen.rabbitmq]\nbind = \"*:5670\"\nmode = \"amqp\"\ntimeouts = {{ check = \"2s\" }}\n\
                 [proxy.listen.rabbitmq.server_defaults]\nsend_proxy = \"v2\"\n\
                 check = {{ interval = \"200ms\", {check} }}\n\
                 [proxy.listen.rabbitmq.servers]\nbroker = \"{server}\"\n"
            ),
        );
        let mut command = Command::new(warren_binary());
        command.args(["proxy", "--config"]).arg(file);
        let proxy = host.spawn_command(command);
        eventually(PATIENCE, "the proxy is ready", || {
            let log = proxy.log();
            if log.contains("ready") { Ok(()) } else { Err(log) }
        });
        proxy
    }

    /// The haproxy.cfg of it.
    fn haproxy_cfg(&self, host: &Host) -> String {
        format!(
            "global\n    stats socket {} mode 600 level admin\n\
             defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n\
             listen rabbitmq\n    bind *:5670\n    server broker 10.77.0.1:5672 send-proxy-v2 check inter 200ms\n",
            Proxy::socket(host).display()
        )
    }

    /// A client on a host: [`LOG_IN`].
    fn log_in(&self, from: &Host, at: &str, users: &[&str]) -> Process {
        let (address, port) = at.split_once(':').expect("an address with a port");
        let mut command = Command::new("sh");
        // Its input lasts as long as the process that it would read from.
        let line = format!(
            "sleep 1000 | exec /usr/bin/python3 -c \"$0\" {address} {port} {}",
            users.join(" ")
        );
        command.args(["-c", &line, LOG_IN]);
        from.spawn_command(command)
    }

    /// What such a client is told, a line for each user.
    #[track_caller]
    fn told(&self, from: &Host, at: &str, users: &[&str]) -> Vec<String> {
        let client = self.log_in(from, at, users);
        eventually(PATIENCE, "the client was told everything", || {
            let lines: Vec<String> = client.log().lines().map(str::to_owned).collect();
            if lines.len() == users.len() {
                Ok(lines)
            } else {
                Err(lines)
            }
        })
    }

    fn is_up(&self, entry: &str) {
        eventually(PATIENCE, "the proxy has a server", || {
            let told = self.told(&self.client, entry, &["shop:secret"]);
            if told == ["shop is in"] { Ok(()) } else { Err(told) }
        });
    }
}

#[test]
fn warren_behind_every_proxy_knows_its_clients() {
    clients_are_who_they_are(Flavour::Warren);
}

#[test]
fn rabbitmq_behind_every_proxy_knows_its_clients() {
    clients_are_who_they_are(Flavour::RabbitMq);
}

fn clients_are_who_they_are(flavour: Flavour) {
    let place = Place::new();
    let node = Node::start_with(flavour, &place.broker, CONFIGURATION);
    node.control("add_user guest guest");
    node.control("set_permissions guest '.*' '.*' '.*'");
    let through = |what: &str, entry: &str| {
        place.is_up(entry);
        let told = place.told(&place.client, entry, &["guest:guest"]);
        let [told] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(
            told.contains(
                "403, 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                 For details see the broker logfile.'"
            ) || told.contains("(403) 'ACCESS_REFUSED - Login was refused"),
            "{what}: {told}"
        );
        let client = place.log_in(&place.client, entry, &["shop:secret"]);
        let listed = eventually(PATIENCE, "the client is listed", || {
            let listed = node.control("-q list_connections user peer_host state");
            let rows = listed.lines().filter(|line| line.starts_with("shop")).count();
            if rows == 1 {
                Ok(listed)
            } else {
                Err((listed, client.log()))
            }
        });
        assert!(listed.contains("shop\t10.77.0.3\trunning"), "{what}: {listed}");
        drop(client);
        eventually(PATIENCE, "the client has gone", || {
            let listed = node.control("-q list_connections user");
            if listed.contains("shop") {
                Err(listed)
            } else {
                Ok(())
            }
        });
    };
    let check = "kind = \"amqp\"";
    let proxy = place.warren_proxy(&place.proxy, check);
    through("warren.toml", "10.77.0.2:5670");
    drop(proxy);
    for (flavour, what) in [
        (ProxyFlavour::Warren, "haproxy.cfg, ours"),
        (ProxyFlavour::Haproxy, "haproxy.cfg"),
    ] {
        let proxy = Proxy::start(flavour, &place.proxy, &place.haproxy_cfg(&place.proxy));
        through(what, "10.77.0.2:5670");
        drop(proxy);
    }
    // On the broker's own host: who comes through it from elsewhere is still from elsewhere, and who is here is here.
    // RabbitMQ looks at the address that the proxy connected to, and takes everybody for one of its own.
    let proxy = Place::warren_proxy_to("127.0.0.1:5672", &place.broker, check);
    match flavour {
        Flavour::Warren => through("beside the broker", "10.77.0.1:5670"),
        Flavour::RabbitMq => {
            place.is_up("10.77.0.1:5670");
            let told = place.told(&place.client, "10.77.0.1:5670", &["guest:guest"]);
            assert_eq!(told, ["guest is in"]);
        }
    }
    let told = place.told(&place.broker, "127.0.0.1:5670", &["guest:guest"]);
    assert_eq!(told, ["guest is in"]);
    drop(proxy);
}

#[test]
fn who_may_be_a_proxy_is_not_of_this_host_unless_a_header_says_so() {
    let place = Place::new();
    let _node = Node::start_with(Flavour::Warren, &place.broker, "proxy_protocol = true\n");
    let told = place.told(&place.broker, "127.0.0.1:5672", &["guest:guest"]);
    assert!(told[0].contains("403"), "{told:?}");
    drop(place);

    // The same without a list of proxies.
    let place = Place::new();
    let _node = Node::start(Flavour::Warren, &place.broker);
    let told = place.told(&place.broker, "127.0.0.1:5672", &["guest:guest"]);
    assert_eq!(told, ["guest is in"]);
}

#[test]
fn checks_of_every_kind_judge_the_broker_as_it_is() {
    let place = Place::new();
    let mut node = Node::start_with(Flavour::Warren, &place.broker, CONFIGURATION);
    let login = |password: &str, vhost: &str| {
        format!(
            "kind = \"amqp\", level = \"login\", user = \"shop\", password = \"{password}\", vhost = \"{vhost}\""
        )
    };
    let status = || {
        let said = place
            .proxy
            .sh(&format!("{} proxy status --json", warren_binary().display()));
        let value: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        value.to_string()
    };
    for (check, up, words) in [
        ("kind = \"tcp\"".to_owned(), true, "L4OK"),
        ("kind = \"amqp\"".to_owned(), true, "L7OK"),
        ("kind = \"amqp\", level = \"greeting\"".to_owned(), true, "L7OK"),
        (login("secret", "/"), true, "L7OK"),
        (login("wrong", "/"), false, "ACCESS_REFUSED"),
        (
            login("secret", "nowhere"),
            false,
            "NOT_ALLOWED - vhost nowhere not found",
        ),
    ] {
        let _proxy = place.warren_proxy(&place.proxy, &check);
        let wanted = if up {
            "\"status\":\"UP\""
        } else {
            "\"status\":\"DOWN\""
        };
        let is_judged = |what: &str, wanted: &str, words: &str| {
            eventually(PATIENCE, &format!("{what}: {wanted}, {words}"), || {
                let status = status();
                if status.contains(wanted) && status.contains(words) {
                    Ok(())
                } else {
                    Err(status)
                }
            });
        };
        is_judged(&check, wanted, words);
        if up && check.contains("level = \"login\"") {
            node.kill();
            is_judged("dead", "\"status\":\"DOWN\"", "L4CON");
            node.kill_and_start();
            is_judged("back", wanted, words);
        }
    }
}

/// Publishes numbers with confirms until it is told to stop, connecting again whenever it has to, and writes down those
/// that were confirmed.
const PUBLISH: &str = r#"
import sys, os, pika
address, confirmed, stop = sys.argv[1:]
parameters = pika.ConnectionParameters(address, 5670, '/', pika.PlainCredentials('shop', 'secret'), socket_timeout=5,
                                       blocked_connection_timeout=20, connection_attempts=50, retry_delay=0.1)
persistent = pika.BasicProperties(delivery_mode=2)
number = 0
with open(confirmed, 'a', 1) as log:
    while not os.path.exists(stop):
        try:
            channel = pika.BlockingConnection(parameters).channel()
            channel.confirm_delivery()
            channel.queue_declare('numbers', durable=True)
            print('publishing', flush=True)
            while not os.path.exists(stop):
                number += 1
                channel.basic_publish('', 'numbers', b'%d' % number, persistent, mandatory=True)
                log.write('%d\n' % number)
        except (pika.exceptions.AMQPError, OSError) as error:
            print('again', type(error).__name__, flush=True)
print('done', flush=True)
"#;

/// Takes everything out of the queue.
const DRAIN: &str = r#"
import sys, pika
channel = pika.BlockingConnection(pika.ConnectionParameters(
    sys.argv[1], 5670, '/', pika.PlainCredentials('shop', 'secret'))).channel()
for method, _, body in channel.consume('numbers', inactivity_timeout=3):
    if method is None:
        break
    print(body.decode())
    channel.basic_ack(method.delivery_tag)
"#;

#[test]
fn nothing_that_was_confirmed_through_the_proxy_is_missing_after_kills() {
    const KILLS: usize = 5;
    let place = Place::new();
    let mut node = Node::start_with(Flavour::Warren, &place.broker, CONFIGURATION);
    let _proxy = place.warren_proxy(&place.proxy, "rise = 1, fall = 1");
    place.is_up("10.77.0.2:5670");
    let (confirmed, stop) = (
        place.client.directory().join("confirmed"),
        place.client.directory().join("stop"),
    );
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(["-c", PUBLISH, "10.77.0.2"])
        .arg(&confirmed)
        .arg(&stop);
    let publisher = place.client.spawn_command(command);
    let so_far = || {
        let text = std::fs::read_to_string(&confirmed).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<String>>()
    };
    for _ in 0..KILLS {
        let before = so_far().len();
        eventually(PATIENCE, "a hundred more are confirmed", || {
            let count = so_far().len();
            if count >= before + 100 {
                Ok(())
            } else {
                Err((count, publisher.log()))
            }
        });
        node.kill_and_start();
    }
    let before = so_far().len();
    eventually(PATIENCE, "publishing goes on", || {
        let count = so_far().len();
        if count >= before + 100 {
            Ok(())
        } else {
            Err((count, publisher.log()))
        }
    });
    std::fs::write(&stop, "").expect("a file");
    eventually(PATIENCE, "the publisher ends", || {
        let log = publisher.log();
        if log.ends_with("done\n") { Ok(()) } else { Err(log) }
    });
    let again = publisher.log().matches("again").count();
    assert!(again >= KILLS, "every kill was noticed: {}", publisher.log());

    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", DRAIN, "10.77.0.2"]);
    let mut drain = place.client.spawn_command(command);
    assert!(drain.wait(PATIENCE * 3).success(), "{}", drain.log());
    let found: std::collections::BTreeSet<String> = drain.log().lines().map(str::to_owned).collect();
    let confirmed = so_far();
    let missing: Vec<&String> = confirmed
        .iter()
        .filter(|number| !found.contains(*number))
        .collect();
    assert!(
        missing.is_empty(),
        "of {} confirmed are missing: {missing:?}",
        confirmed.len()
    );
    println!(
        "{} confirmed over {KILLS} kills, {} found",
        confirmed.len(),
        found.len()
    );
}
