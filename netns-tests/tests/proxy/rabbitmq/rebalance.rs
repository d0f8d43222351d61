//! What rebalancing never moves, tried with a broker and a client library that are not ours: deliveries that nobody has
//! acknowledged, exclusive queues, open transactions. With several workers, each of which has only some of the sessions.

use std::process::Command;

use warren_lab::{Network, eventually, warren_binary};

use super::{Node, PATIENCE, START};

/// Connections of every kind, and what each of them does once it has been left alone.
const CLIENT: &str = r#"
import os, sys, time, pika
parameters = pika.ConnectionParameters(sys.argv[1], 5670, 'clay_vhost',
                                       pika.PlainCredentials('clay_admin', 'clay_admin_123'), socket_timeout=10)
EACH = 6
def idle(channel):
    channel.queue_declare('shared')
    return lambda: None
def settled(channel):
    queue = channel.queue_declare('').method.queue
    channel.basic_publish('', queue, b'read and acknowledged')
    tag = channel.basic_get(queue)[0].delivery_tag
    channel.basic_ack(tag)
    channel.queue_delete(queue)
    return lambda: None
def unacknowledged(channel):
    queue = channel.queue_declare('').method.queue
    for n in range(3):
        channel.basic_publish('', queue, b'%d' % n)
    tags = [channel.basic_get(queue)[0].delivery_tag for n in range(3)]
    # Two of three are not all.
    channel.basic_ack(tags[1], multiple=True)
    def go_on():
        channel.basic_ack(tags[2])
        assert channel.queue_declare(queue, passive=True).method.message_count == 0
        assert not channel.basic_get(queue)[0]
        channel.queue_delete(queue)
    return go_on
def exclusive(channel):
    queue = channel.queue_declare('', exclusive=True).method.queue
    channel.basic_publish('', queue, b'mine')
    def go_on():
        assert channel.basic_get(queue, auto_ack=True)[2] == b'mine'
    return go_on
def transaction(channel):
    queue = channel.queue_declare('').method.queue
    channel.tx_select()
    channel.basic_publish('', queue, b'perhaps')
    def go_on():
        assert channel.basic_get(queue, auto_ack=True)[2] is None
        channel.tx_commit()
        assert channel.basic_get(queue, auto_ack=True)[2] == b'perhaps'
        channel.tx_commit()
        channel.queue_delete(queue)
    return go_on
kinds = [idle, settled, unacknowledged, exclusive, transaction]
connections = []
for n in range(EACH):
    for kind in kinds:
        connection = pika.BlockingConnection(parameters)
        connections.append((kind, connection, kind(connection.channel())))
print('connected', flush=True)
moved = {kind: 0 for kind in kinds}
while not os.path.exists(sys.argv[2]):
    for kind, connection, go_on in connections:
        if connection.is_open:
            try:
                connection.process_data_events(time_limit=0)
            except pika.exceptions.ConnectionClosedByBroker as error:
                assert error.reply_code == 320, error
                moved[kind] += 1
                print('moved', ' '.join('%s=%d' % (kind.__name__, moved[kind]) for kind in kinds), flush=True)
    time.sleep(0.01)
for kind, connection, go_on in connections:
    if connection.is_open:
        go_on()
        connection.close()
print('done', flush=True)
"#;

#[test]
fn what_is_under_way_at_a_broker_is_never_moved() {
    let network = Network::new();
    let node = Node::start(&network, "rabbitmq1", 26);
    let host = network.host_with("proxy", &["192.168.125.222/24"]);
    let client = network.host_with("client", &["192.168.125.99/24"]);
    node.host.sh("ip address add 192.168.125.27/24 dev eth0");
    eventually(START, "the node listens", || {
        let at: std::net::SocketAddr = "127.0.0.1:5672".parse().unwrap();
        node.host
            .enter(|| std::net::TcpStream::connect_timeout(&at, PATIENCE))
    });
    // One broker at two addresses is two servers.
    let file = host.write(
        "warren.toml",
        "[proxy]\nthreads = 3\n[proxy.listen.rabbitmq]\nbind = \"*:5670\"\n\
         rebalance = { after = \"1s\", rate = 20, idle = \"200ms\" }\n[proxy.listen.rabbitmq.servers]\n\
         one = \"192.168.125.26:5672\"\nother = \"192.168.125.27:5672\"\n",
    );
    let mut command = Command::new(warren_binary());
    command.args(["proxy", "--config"]).arg(file);
    command.args(["--runtime-dir", "/run/warren"]);
    let proxy = host.spawn_command(command);
    let type_in = |words: &str| {
        let binary = warren_binary();
        host.sh(&format!(
            "{} proxy {words} --runtime-dir /run/warren",
            binary.display()
        ))
    };
    eventually(PATIENCE, "the proxy is ready", || {
        let log = proxy.log();
        if log.contains("ready") { Ok(()) } else { Err(log) }
    });
    type_in("drain rabbitmq/other");
    let (script, go_on) = (
        client.write("client.py", CLIENT),
        client.directory().join("go_on"),
    );
    let work = client.spawn(
        "/usr/bin/python3",
        &[script.as_os_str(), "192.168.125.222".as_ref(), go_on.as_os_str()],
    );
    let says = |what: &str| {
        eventually(START, &format!("the client says {what:?}"), || {
            let log = work.log();
            if log.contains(what) { Ok(log) } else { Err(log) }
        })
    };
    says("connected");
    type_in("resume rabbitmq/other");
    // Fifteen of thirty would have to go; twelve may.
    says("moved idle=6 settled=6 unacknowledged=0 exclusive=0 transaction=0");
    // A round a second, and each looks at all that are left.
    std::thread::sleep(std::time::Duration::from_secs(4));
    std::fs::write(&go_on, "").unwrap();
    let log = says("done");
    let last = log.lines().rfind(|line| line.starts_with("moved")).unwrap();
    assert!(
        last.ends_with("unacknowledged=0 exclusive=0 transaction=0"),
        "{log}"
    );
}
