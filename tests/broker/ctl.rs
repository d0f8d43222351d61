//! `rabbitmqctl` and its kin against a broker of ours, beside what RabbitMQ 3.10.8's own printed for the same words on a node
//! that had just been reset (`fixtures/ctl`): lines of standard output begin with `1|`, those of standard error with `2|`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use std::time::Instant;

use warren_amqp::client::Event;
use warren_amqp::{Method, Value, confirm, connection, queue};

use super::{Broker, Client};

/// Words, and what they led to.
#[derive(Debug, Default, PartialEq)]
struct Step {
    words: Vec<String>,
    out: Vec<String>,
    err: Vec<String>,
    status: i32,
}

fn recorded(file: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ctl/{file}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let (mut steps, mut step) = (Vec::new(), Step::default());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("$ ") {
            step.words = words.split_whitespace().skip(1).map(str::to_owned).collect();
        } else if let Some(said) = line.strip_prefix("1|") {
            step.out.push(said.to_owned());
        } else if let Some(said) = line.strip_prefix("2|") {
            step.err.push(said.to_owned());
        } else {
            let status = line.strip_prefix("rc=").unwrap_or_else(|| panic!("{line}"));
            step.status = status.parse().unwrap();
            steps.push(std::mem::take(&mut step));
        }
    }
    steps
}

/// A broker, and the program under the names of RabbitMQ's tools.
struct Place {
    directory: tempfile::TempDir,
    broker: Broker,
}

impl Place {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [&["--node-name", "rabbit@vm"], arguments].concat();
        let broker = Broker::start(directory.path(), &arguments);
        for name in [
            "rabbitmqctl",
            "rabbitmq-diagnostics",
            "rabbitmq-plugins",
            "rabbitmq-queues",
            "rabbitmq-upgrade",
        ] {
            symlink(env!("CARGO_BIN_EXE_warren"), directory.path().join(name)).unwrap();
        }
        Self { directory, broker }
    }

    fn run(&self, tool: &str, words: &[&str]) -> Output {
        Command::new(self.directory.path().join(tool))
            .args(words)
            .env("RUNTIME_DIRECTORY", self.directory.path().join("run"))
            .output()
            .unwrap()
    }

    fn warren(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_warren"))
            .args(words)
            .env("RUNTIME_DIRECTORY", self.directory.path().join("run"))
            .output()
            .unwrap()
    }

    fn step(&self, tool: &str, words: &[String]) -> Step {
        let words_of_it: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.run(tool, &words_of_it);
        let lines = |octets: Vec<u8>| {
            let text = String::from_utf8(octets).unwrap();
            text.lines().map(str::to_owned).collect()
        };
        Step {
            words: words.to_vec(),
            out: lines(output.stdout),
            err: lines(output.stderr),
            status: output.status.code().unwrap(),
        }
    }
}

/// RabbitMQ's rows come in no order, commas before all rows of JSON but the first, and there may be empty lines at the end.
fn comparable(mut step: Step) -> Step {
    step.out.retain(|line| !line.is_empty());
    for line in &mut step.out {
        *line = line.trim_start_matches(',').to_owned();
    }
    step.out.sort_unstable();
    while step.err.last().is_some_and(String::is_empty) {
        step.err.pop();
    }
    step
}

#[track_caller]
fn compare(tool: &str, file: &str) {
    let place = Place::new();
    let steps = recorded(file);
    assert!(steps.len() > 5, "only {} steps were recorded", steps.len());
    let mut different = Vec::new();
    for recorded in steps {
        let ours = comparable(place.step(tool, &recorded.words));
        if recorded
            .words
            .first()
            .is_some_and(|word| word == "set_disk_free_limit")
        {
            // Whether this machine has as much is no matter of what is said next.
            place.run(tool, &["set_disk_free_limit", "50MB"]);
        }
        let theirs = comparable(recorded);
        if ours != theirs {
            different.push(format!("theirs {theirs:#?}\nours {ours:#?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn rabbitmqctl_says_and_returns_what_rabbitmqs_does() {
    compare("rabbitmqctl", "rabbitmqctl");
    compare("rabbitmqctl", "policies");
    compare("rabbitmqctl", "topic-permissions");
    compare("rabbitmqctl", "limits");
    compare("rabbitmqctl", "parameters");
    compare("rabbitmqctl", "configuration");
    compare("rabbitmqctl", "queue-types");
}

#[test]
fn diagnostics_say_and_return_what_rabbitmqs_do() {
    compare("rabbitmq-diagnostics", "rabbitmq-diagnostics");
}

#[test]
fn tools_for_queues_and_upgrades_say_and_return_what_rabbitmqs_do() {
    compare("rabbitmq-queues", "rabbitmq-queues");
    compare("rabbitmq-upgrade", "rabbitmq-upgrade");
}

#[test]
fn whoever_reads_json_gets_what_rabbitmq_answers() {
    let place = Place::new();
    let grant = "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.";
    let port = place.broker.address.port().to_string();
    let done = serde_json::json!({"node": "rabbit@vm", "result": "ok"});
    let with = |more: serde_json::Value| {
        let mut all = done.clone();
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    let running = "RabbitMQ on node rabbit@vm is fully booted and running";
    let alone = "Target node seems to be the only one in a single node cluster, the check does not apply";
    for (tool, words, answer) in [
        ("rabbitmqctl", "add_vhost v1", done.clone()),
        (
            "rabbitmqctl",
            "add_user ann secret",
            serde_json::json!({"message": grant, "node": "rabbit@vm", "status": "ok"}),
        ),
        (
            "rabbitmqctl",
            "authenticate_user ann secret",
            serde_json::json!({"message": "Success"}),
        ),
        ("rabbitmqctl", "set_user_tags ann administrator", done.clone()),
        ("rabbitmqctl", "set_permissions ann .* .* .*", done.clone()),
        ("rabbitmqctl", r#"set_policy p ^a {"max-length":3}"#, done.clone()),
        (
            "rabbitmqctl",
            "trace_on",
            with(serde_json::json!({"value": "Trace enabled for vhost /"})),
        ),
        ("rabbitmqctl", "set_vm_memory_high_watermark 0.5", done.clone()),
        ("rabbitmqctl", "delete_user ann", done.clone()),
        (
            "rabbitmqctl",
            "close_all_connections --global bye",
            with(serde_json::json!({"value": "Closed 0 connections"})),
        ),
        ("rabbitmqctl", "list_queues --offline", serde_json::json!([])),
        (
            "rabbitmq-diagnostics",
            "alarms",
            with(serde_json::json!({"alarms": []})),
        ),
        ("rabbitmq-diagnostics", "check_alarms", done.clone()),
        ("rabbitmq-diagnostics", "check_local_alarms", done.clone()),
        (
            "rabbitmq-diagnostics",
            "is_running",
            serde_json::json!({"message": running, "result": true}),
        ),
        (
            "rabbitmq-diagnostics",
            "ping",
            serde_json::json!({"message": "Ping succeeded"}),
        ),
        (
            "rabbitmq-diagnostics",
            "check_if_node_is_quorum_critical",
            serde_json::json!({"message": alone, "result": "ok"}),
        ),
        (
            "rabbitmq-diagnostics",
            "server_version",
            with(serde_json::json!({"value": "3.10.8"})),
        ),
        (
            "rabbitmq-diagnostics",
            &format!("check_port_listener {port}"),
            with(serde_json::json!({"port": port})),
        ),
        (
            "rabbitmq-diagnostics",
            "check_protocol_listener amqp",
            with(serde_json::json!({"protocol": "amqp"})),
        ),
    ] {
        let mut all: Vec<&str> = words.split(' ').collect();
        all.extend(["--formatter", "json"]);
        let output = place.run(tool, &all);
        let ours: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{words}: {error}: {output:?}"));
        assert_eq!(ours, answer, "{words}");
        assert!(output.status.success(), "{words}");
    }
}

/// As a live 3.10.8 answered, on standard error and with status 69. What is not here it says in the same words as without JSON.
#[test]
fn whoever_reads_json_is_told_what_went_wrong_as_rabbitmq_tells_it() {
    let place = Place::new();
    let port = place.broker.address.port();
    let told =
        |message: &str| serde_json::json!({"message": message, "node": "rabbit@vm", "result": "error"});
    let listener = serde_json::json!({
        "interface": "127.0.0.1", "node": "rabbit@vm", "port": port, "protocol": "amqp", "purpose": "AMQP 0-9-1",
    });
    let ask = |tool: &str, words: &str| {
        let mut all: Vec<&str> = words.split(' ').collect();
        all.extend(["--formatter", "json"]);
        let output = place.run(tool, &all);
        assert_eq!(output.stdout, b"", "{words}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let check = |tool: &str, words: &str, answer: &serde_json::Value| {
        let (status, text) = ask(tool, words);
        let ours: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words}: {error}: {text}"));
        assert_eq!((status, &ours), (Some(69), answer), "{words}");
    };
    for (words, message) in [
        ("add_user guest x", "User guest already exists"),
        ("delete_user nobody", "User nobody does not exists"),
        ("change_password nobody x", "User nobody does not exists"),
        ("set_user_tags nobody x", "User nobody does not exists"),
        ("set_permissions nobody a b c", "User nobody does not exist"),
        ("clear_permissions nobody", "User nobody does not exist"),
        (
            "set_permissions -p none guest a b c",
            "Virtual host none does not exist",
        ),
        (
            "clear_permissions -p none guest",
            "Virtual host none does not exist",
        ),
        (
            "set_topic_permissions nobody amq.topic b c",
            "User nobody does not exist",
        ),
        ("clear_topic_permissions nobody", "User nobody does not exist"),
        ("set_vhost_tags none a", "Virtual host \"none\" does not exists"),
    ] {
        check("rabbitmqctl", words, &told(message));
    }
    for (words, status, text) in [
        ("delete_queue none", 64, "Error:\nQueue not found\n"),
        ("delete_vhost none", 65, "Virtual host 'none' does not exist\n"),
        ("clear_policy none", 69, "Error:\nParameter does not exist\n"),
        (
            "clear_password nobody",
            69,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
        (
            "list_user_permissions nobody",
            69,
            "Error:\n{:no_such_user, \"nobody\"}\n",
        ),
        (
            "set_log_level loud",
            69,
            "Error:\nlevel loud is not supported. Try one of debug, info, warning, error, critical, none\n",
        ),
    ] {
        assert_eq!(
            ask("rabbitmqctl", words),
            (Some(status), text.to_owned()),
            "{words}"
        );
    }
    let checks = "rabbitmq-diagnostics";
    let without = |key: &str, missing: &str, there: serde_json::Value| serde_json::json!({"listeners": [listener], "missing": missing, key: there, "result": "error"});
    let ports = without("ports", "9", serde_json::json!([port]));
    check(checks, "check_port_listener 9", &ports);
    let protocols = without("protocols", "nope", serde_json::json!(["amqp"]));
    check(checks, "check_protocol_listener nope", &protocols);
    let output = place.run("rabbitmqctl", &["suspend_listeners"]);
    assert!(output.status.success(), "{output:?}");
    let failures = serde_json::json!({"failures": [listener], "node": "rabbit@vm", "result": "error"});
    check(checks, "check_port_connectivity", &failures);
    let output = place.run("rabbitmqctl", &["set_vm_memory_high_watermark", "0.000001"]);
    assert!(output.status.success(), "{output:?}");
    let alarm = "Memory alarm on node rabbit@vm";
    let deadline = Instant::now() + super::PATIENCE;
    while place.run(checks, &["check_alarms"]).status.success() {
        assert!(Instant::now() < deadline, "no alarm");
    }
    let mut alarms = serde_json::json!({
        "global": [], "local": [alarm], "message": "Node rabbit@vm reported alarms", "result": "error",
    });
    check(checks, "check_alarms", &alarms);
    let local = serde_json::json!({
        "local": [alarm], "message": "Node rabbit@vm reported local alarms", "result": "error",
    });
    check(checks, "check_local_alarms", &local);
    alarms["result"] = "ok".into();
    let output = place.run(checks, &["alarms", "--formatter", "json"]);
    let ours: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ours, alarms);
}

#[test]
fn ports_that_are_listened_on_can_be_connected_to() {
    let place = Place::new();
    let output = place.run("rabbitmq-diagnostics", &["check_port_connectivity"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\nSuccessfully connected to ports "), "{text}");
    let output = place.run("rabbitmq-diagnostics", &["check_port_listener", "1"]);
    assert_eq!(output.status.code(), Some(69));
}

/// Whether somebody takes clients there.
fn is_open(address: std::net::SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn a_node_that_is_drained_tells_its_clients_to_go_and_lets_nobody_in_until_it_is_revived() {
    let place = Place::new();
    let address = place.broker.address;
    let mut client = Client::connect(address, "guest", "guest", "/").unwrap();
    let output = place.run("rabbitmq-upgrade", &["drain"]);
    assert!(output.status.success(), "{output:?}");
    let Some(Event::Method {
        method: Method::Connection(connection::Method::Close(close)),
        ..
    }) = client.next().unwrap()
    else {
        panic!("no connection.close")
    };
    assert_eq!(
        (close.reply_code, &*close.reply_text.to_text()),
        (320, "CONNECTION_FORCED - Node was put into maintenance mode")
    );
    assert!(!is_open(address));
    let output = place.run("rabbitmq-diagnostics", &["check_port_connectivity"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let output = place.run("rabbitmqctl", &["cluster_status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("status: marked for maintenance"), "{text}");
    let output = place.run("rabbitmq-upgrade", &["revive"]);
    assert!(output.status.success(), "{output:?}");
    assert!(Client::connect(address, "guest", "guest", "/").is_ok());
}

#[test]
fn a_connection_is_closed_by_its_name_only_if_no_other_has_it() {
    let place = Place::new();
    let close = || place.run("rabbitmqctl", &["close_connection", "worker", "bye"]);
    let first = Client::connect_as(place.broker.address, "worker");
    let second = Client::connect_as(place.broker.address, "worker");
    let output = close();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("2 connections are called worker: name one by its pid"),
        "{said}"
    );
    drop(first);
    let deadline = Instant::now() + super::PATIENCE;
    while !close().status.success() {
        assert!(Instant::now() < deadline, "the first one has gone");
    }
    drop(second);
}

#[test]
fn a_user_who_is_deleted_hears_so_and_the_log_says_what_operators_change() {
    let mut place = Place::new();
    for words in [
        &["add_user", "eve", "topsecret"][..],
        &["set_permissions", "eve", "", "", ".*"],
    ] {
        assert!(place.run("rabbitmqctl", words).status.success());
    }
    let mut client = Client::connect(place.broker.address, "eve", "topsecret", "/").unwrap();
    let mut other = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    assert!(place.run("rabbitmqctl", &["delete_user", "eve"]).status.success());
    let Some(Event::Method {
        channel: 0,
        method: Method::Connection(connection::Method::Close(close)),
    }) = client.next().unwrap()
    else {
        panic!("he may stay")
    };
    assert_eq!(
        close.reply_text.to_text(),
        "CONNECTION_FORCED - user 'eve' is deleted"
    );
    other.open_channel();
    for deed in ["add_user eve", "set_permissions -p / eve", "delete_user eve"] {
        let line = super::await_line(&mut place.broker.log, "changed by an operator");
        assert!(line.contains(deed) && line.contains("uid="), "{line}");
        assert!(!line.contains("topsecret"), "{line}");
    }
}

#[test]
fn while_listeners_are_suspended_those_who_are_in_stay() {
    let place = Place::new();
    let address = place.broker.address;
    let mut client = Client::connect(address, "guest", "guest", "/").unwrap();
    for (verb, open) in [("suspend_listeners", false), ("resume_listeners", true)] {
        for _ in 0..2 {
            let output = place.run("rabbitmqctl", &[verb]);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(is_open(address), open, "{verb}");
        }
    }
    place.run("rabbitmqctl", &["close_all_connections", "bye"]);
    assert!(matches!(client.next(), Ok(Some(Event::Method { .. }))));
}

#[test]
fn limits_of_memory_and_disk_count_at_once() {
    let place = Place::new();
    for (words, alarm) in [
        (&["set_vm_memory_high_watermark", "absolute", "1"][..], true),
        (&["set_vm_memory_high_watermark", "0.9"], false),
        (&["set_disk_free_limit", "1000TB"], true),
        (&["set_disk_free_limit", "1"], false),
    ] {
        let output = place.run("rabbitmqctl", words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        let deadline = Instant::now() + super::PATIENCE;
        while place
            .run("rabbitmq-diagnostics", &["check_local_alarms"])
            .status
            .success()
            == alarm
        {
            assert!(Instant::now() < deadline, "{words:?} led to nothing");
        }
    }
}

#[test]
fn a_cluster_has_the_name_it_was_given_and_an_id_for_ever() {
    let place = Place::new();
    let said = |words: &[&str]| String::from_utf8(place.run("rabbitmqctl", words).stdout).unwrap();
    let parameters = said(&["list_global_parameters"]);
    let id = parameters
        .lines()
        .find(|line| line.starts_with("internal_cluster_id\t\"rabbitmq-cluster-id-"));
    assert!(id.is_some(), "{parameters}");
    assert!(said(&["cluster_status"]).contains("Cluster name: rabbit@vm\n"));
    said(&["set_cluster_name", "shop"]);
    assert!(said(&["cluster_status"]).contains("Cluster name: shop\n"));
    assert!(said(&["list_global_parameters"]).contains(id.unwrap()));
}

#[test]
fn whoever_asks_for_help_can_show_everything() {
    let place = Place::new();
    let output = place.run("rabbitmqctl", &["report"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "Status of node",
        "{rabbit,",
        "vm_memory_high_watermark,0.4",
        "amq.topic",
        "guest",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let output = place.run("rabbitmqctl", &["environment", "--formatter", "json"]);
    let environment: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(environment["rabbit"]["heartbeat"], 60);
    let output = place.run("rabbitmqctl", &["eval", "rabbit_mnesia:status()."]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no Erlang"));
    for (tool, verb, status, said) in [
        (
            "rabbitmq-diagnostics",
            "cipher_suites",
            0,
            "TLS_AES_256_GCM_SHA384",
        ),
        ("rabbitmq-diagnostics", "resolver_info", 69, "no Erlang"),
        ("rabbitmq-diagnostics", "log_tail", 69, "journalctl"),
        ("rabbitmqctl", "encode", 69, "not encrypted"),
        ("rabbitmq-plugins", "directories", 0, "built in"),
    ] {
        let output = place.run(tool, &[verb]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{verb}: {text}");
        assert!(text.contains(said), "{verb}: {text}");
    }
}

#[test]
fn why_says_what_is_short_who_waits_and_which_queue_nobody_reads() {
    let place = Place::new();
    let why = || {
        let output = place.warren(&["broker", "why", "--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Vec<String>>(&output.stdout).unwrap()
    };
    let about = |words: &str| {
        let said = why();
        assert!(
            said.iter().any(|sentence| sentence.contains(words)),
            "no {words:?} in {said:?}"
        );
    };
    about("nothing is short");
    let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("orders", 3);
    about("Queue orders in vhost / has 3 messages (15 B) and no consumer");
    for _ in 0..6 {
        assert!(Client::connect(place.broker.address, "guest", "bad", "/").is_err());
    }
    about("Logins from 127.0.0.1 have failed 6 times");
    place.run("rabbitmqctl", &["set_vm_memory_high_watermark", "absolute", "1"]);
    let deadline = Instant::now() + super::PATIENCE;
    while !why()[0].starts_with("Memory has been short for") {
        assert!(Instant::now() < deadline, "no alarm");
    }
    client.publish("orders");
    while !why()
        .iter()
        .any(|sentence| sentence.contains("of user guest in vhost / published while"))
    {
        assert!(Instant::now() < deadline, "nobody is blocked");
    }
    place.run("rabbitmqctl", &["set_vm_memory_high_watermark", "0.9"]);
    let output = place.warren(&["broker", "drain"]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 clients were told to go"),
        "{output:?}"
    );
    about("rabbit@vm is in maintenance");
    let output = place.warren(&["broker", "status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("rabbit@vm  in maintenance  up "), "{text}");
    assert!(place.warren(&["broker", "resume"]).status.success());
    let output = place.warren(&["broker", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&status["node"], &status["maintenance"]),
        (&"rabbit@vm".into(), &false.into())
    );
}

#[test]
fn the_log_level_can_be_changed_while_the_broker_runs() {
    let mut place = Place::new();
    assert!(
        place
            .run("rabbitmqctl", &["set_log_level", "debug"])
            .status
            .success()
    );
    super::await_line(&mut place.broker.log, "DEBUG");
}

#[test]
fn what_is_published_and_delivered_goes_to_the_firehose_while_it_is_on() {
    let place = Place::new();
    let tracing = |verb: &str| assert!(place.run("rabbitmqctl", &[verb]).status.success());
    let mut watcher = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    watcher.open_channel();
    watcher.declare_and_publish("seen", 0);
    watcher.call(queue::Bind {
        queue: "seen".try_into().unwrap(),
        exchange: "amq.rabbitmq.trace".try_into().unwrap(),
        routing_key: "#".try_into().unwrap(),
        ..queue::Bind::default()
    });
    let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("orders", 1);
    tracing("trace_on");
    client.publish("orders");
    assert_eq!(client.get("orders").unwrap().2, "hello");
    tracing("trace_off");
    client.declare_and_publish("later", 1);
    assert!(client.get("later").is_some());
    let mut seen = Vec::new();
    let deadline = Instant::now() + super::PATIENCE;
    while seen.len() < 2 {
        assert!(Instant::now() < deadline, "{seen:?}");
        seen.extend(watcher.get("seen"));
    }
    let (key, headers, body) = &seen[0];
    assert_eq!((key.as_str(), &body[..]), ("publish.", &b"hello"[..]));
    for (name, value) in [
        ("node", "rabbit@vm"),
        ("vhost", "/"),
        ("user", "guest"),
        ("exchange_name", ""),
    ] {
        assert_eq!(headers.text(name).as_deref(), Some(value), "{headers:?}");
    }
    let orders = Value::Array(vec![Value::text("orders")]);
    assert_eq!(headers.get("routed_queues"), Some(&orders));
    assert_eq!(headers.get("routing_keys"), Some(&orders));
    assert_eq!(headers.get("channel"), Some(&Value::I32(1)));
    let (key, headers, body) = &seen[1];
    assert_eq!((key.as_str(), &body[..]), ("deliver.orders", &b"hello"[..]));
    assert_eq!(headers.get("redelivered"), Some(&Value::I32(0)));
    assert!(
        watcher.get("seen").is_none(),
        "the firehose is off and does not see itself"
    );
}

#[test]
fn messages_that_die_are_counted_by_what_they_died_of() {
    let place = Place::with(&["--metrics", "127.0.0.1:0"]);
    let policy = ["set_policy", "short", "^short$", r#"{"max-length":1}"#];
    assert!(place.run("rabbitmqctl", &policy).status.success());
    let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("short", 3);
    let page = scrape(&place, "/metrics");
    let line = "rabbitmq_global_messages_dead_lettered_maxlen_total{queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"disabled\"} 2";
    assert!(page.lines().any(|it| it == line), "{page}");
}

#[test]
fn what_the_log_did_can_be_seen() {
    let place = Place::with(&["--metrics", "127.0.0.1:0"]);
    let added = place.run("rabbitmqctl", &["add_vhost", "one"]);
    assert!(added.status.success());
    let page = scrape(&place, "/metrics");
    let figure = |name: &str| {
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("warren_log_{name} ")));
        line.unwrap_or_else(|| panic!("no {name}: {page}"))
            .parse::<f64>()
            .unwrap()
    };
    assert!(figure("syncs_total") > 0.0);
    assert!(figure("sync_seconds_total") > 0.0);
    assert!(figure("bytes_total") > 0.0);
    assert!(figure("segments") >= 1.0);
    assert_eq!((figure("damaged_total"), figure("full")), (0.0, 0.0));
}

#[test]
fn who_relies_on_the_kernel_does_not_wait_for_the_disk_and_loses_nothing_when_killed() {
    const COUNT: u64 = 200;
    let files = tempfile::tempdir().unwrap();
    for (durability, waits) in [("disk", true), ("os", false)] {
        let file = files.path().join("warren.toml");
        std::fs::write(&file, format!("[broker]\ndurability = \"{durability}\"\n")).unwrap();
        let arguments = ["--metrics", "127.0.0.1:0", "--config", file.to_str().unwrap()];
        let mut place = Place::with(&arguments);
        let syncs = || {
            let page = scrape(&place, "/metrics");
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("warren_log_syncs_total "));
            line.unwrap().parse::<u64>().unwrap()
        };
        let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
        client.open_channel();
        client.declare_and_publish("kept", 0);
        client.call(confirm::Select::default());
        let (before, started) = (syncs(), Instant::now());
        for _ in 0..COUNT {
            client.publish_persistent("kept");
            let confirmed = client.next().unwrap();
            assert!(
                matches!(confirmed, Some(Event::Method { channel: 1, .. })),
                "{confirmed:?}"
            );
        }
        let (more, seconds) = (syncs() - before, started.elapsed().as_secs());
        match waits {
            true => assert!(more >= COUNT, "{more}"),
            // Once in a second; and the open file may be finished.
            false => assert!(more <= seconds + 3, "{more} in {seconds} s"),
        }
        place.broker.process.kill().unwrap();
        place.broker.process.wait().unwrap();
        place.broker = Broker::start(place.directory.path(), &["--node-name", "rabbit@vm"]);
        let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
        client.open_channel();
        let found = std::iter::from_fn(|| client.get("kept")).count();
        assert_eq!(found as u64, COUNT, "{durability}");
    }
}

#[test]
fn logins_are_counted_until_that_is_reset() {
    let place = Place::new();
    let address = place.broker.address;
    assert!(Client::connect(address, "guest", "guest", "/").is_ok());
    assert!(Client::connect(address, "guest", "bad", "/").is_err());
    let stats = || {
        let output = place.run("rabbitmq-diagnostics", &["-q", "list_node_auth_attempt_stats"]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        stats(),
        "protocol\tauth_attempts\tauth_attempts_failed\tauth_attempts_succeeded\namqp091\t2\t1\t1\n"
    );
    place.run("rabbitmq-diagnostics", &["reset_node_auth_attempt_metrics"]);
    assert_eq!(
        stats(),
        "Node rabbit@vm reported no authentication attempt stats\n"
    );
}

#[test]
fn without_a_broker_the_status_is_that_of_an_unreachable_node() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_warren"))
        .args(["ctl", "status", "--runtime-dir"])
        .arg(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(
        text.starts_with("Error: unable to perform an operation on node"),
        "{text}"
    );
}

#[test]
fn another_node_is_not_mistaken_for_this_one() {
    let place = Place::new();
    let output = place.run("rabbitmqctl", &["-n", "rabbit@other", "list_users"]);
    assert_eq!(output.status.code(), Some(69));
    let output = place.run("rabbitmqctl", &["-n", "rabbit@vm", "list_users"]);
    assert!(output.status.success());
}

#[test]
fn plugins_of_tutorials_are_accepted_and_unknown_ones_are_not() {
    let place = Place::new();
    let output = place.run("rabbitmq-plugins", &["enable", "rabbitmq_management"]);
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("not part of this version")
    );
    let output = place.run("rabbitmq-plugins", &["enable", "rabbitmq_nonsense"]);
    assert_eq!(output.status.code(), Some(70));
}

#[test]
fn a_broker_that_is_told_to_stop_has_ended_when_that_is_done() {
    let place = Place::new();
    let output = place.run("rabbitmqctl", &["shutdown"]);
    assert!(output.status.success(), "{output:?}");
    let run = place.directory.path().join("run");
    let output = place.run("rabbitmqctl", &["ping", "--runtime-dir", run.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(69));
}

#[test]
fn definitions_that_were_exported_are_taken_by_another_broker() {
    let (one, other) = (Place::new(), Place::new());
    let file = one.directory.path().join("definitions.json");
    let file = file.to_str().unwrap();
    for words in [
        &["add_user", "admin", "123"][..],
        &["set_permissions", "-p", "/", "admin", ".*", ".*", ".*"],
        &["set_policy", "-p", "/", "ha-all", ".+", r#"{"ha-mode": "all"}"#],
        &["export_definitions", file],
    ] {
        let output = one.run("rabbitmqctl", words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    let output = other.run("rabbitmqctl", &["import_definitions", file]);
    assert!(output.status.success(), "{output:?}");
    let output = other.run("rabbitmqctl", &["-q", "authenticate_user", "admin", "123"]);
    assert_eq!(output.stdout, b"Success\n");
    for words in [&["list_permissions"][..], &["list_policies"], &["list_users"]] {
        assert_eq!(
            one.run("rabbitmqctl", words).stdout,
            other.run("rabbitmqctl", words).stdout
        );
    }
}

/// What RabbitMQ's dashboards and alert rules ask for.
const MUST: [&str; 56] = [
    "build_info",
    "identity_info",
    "connections",
    "channels",
    "consumers",
    "queues",
    "connections_opened_total",
    "connections_closed_total",
    "channels_opened_total",
    "channels_closed_total",
    "queues_declared_total",
    "queues_created_total",
    "queues_deleted_total",
    "queue_messages",
    "queue_messages_ready",
    "queue_messages_unacked",
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_open_tcp_sockets",
    "process_max_tcp_sockets",
    "resident_memory_limit_bytes",
    "disk_space_available_bytes",
    "disk_space_available_limit_bytes",
    "erlang_uptime_seconds",
    "alarms_memory_used_watermark",
    "alarms_free_disk_space_watermark",
    "alarms_file_descriptor_limit",
    "auth_attempts_total",
    "auth_attempts_succeeded_total",
    "auth_attempts_failed_total",
    "global_consumers",
    "global_publishers",
    "global_messages_received_total",
    "global_messages_received_confirm_total",
    "global_messages_routed_total",
    "global_messages_unroutable_dropped_total",
    "global_messages_unroutable_returned_total",
    "global_messages_confirmed_total",
    "global_messages_delivered_total",
    "global_messages_delivered_consume_auto_ack_total",
    "global_messages_delivered_consume_manual_ack_total",
    "global_messages_delivered_get_auto_ack_total",
    "global_messages_delivered_get_manual_ack_total",
    "global_messages_get_empty_total",
    "global_messages_redelivered_total",
    "global_messages_acknowledged_total",
    "queue_messages_published_total",
    "global_messages_dead_lettered_expired_total",
    "global_messages_dead_lettered_rejected_total",
    "global_messages_dead_lettered_maxlen_total",
    "global_messages_dead_lettered_delivery_limit_total",
    "global_messages_dead_lettered_confirmed_total",
    "message_size_bytes_bucket",
    "message_size_bytes_count",
    "message_size_bytes_sum",
];

fn scrape(place: &Place, path: &str) -> String {
    let output = place.run("rabbitmq-diagnostics", &["listeners", "-q"]);
    let listeners = String::from_utf8(output.stdout).unwrap();
    let line = listeners
        .lines()
        .find(|line| line.contains("prometheus"))
        .unwrap();
    let port = line.split("port: ").nth(1).unwrap().split(',').next().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn dashboards_of_rabbitmq_find_their_metrics() {
    let place = Place::with(&["--metrics", "127.0.0.1:0"]);
    let mut client = Client::connect(place.broker.address, "guest", "guest", "/").unwrap();
    client.open_channel();
    client.declare_and_publish("sizes", 3);
    let page = scrape(&place, "/metrics");
    for sum in [
        "bucket{protocol=\"amqp091\",le=\"100\"} 3",
        "sum{protocol=\"amqp091\"} 15",
    ] {
        assert!(
            page.contains(&format!("\nrabbitmq_message_size_bytes_{sum}\n")),
            "{page}"
        );
    }
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for name in MUST {
        let line = |line: &&str| {
            line.strip_prefix("rabbitmq_")
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert!(page.lines().any(|it| line(&it)), "no rabbitmq_{name}");
    }
    assert!(scrape(&place, "/nothing").starts_with("HTTP/1.1 404"));
    let detailed = scrape(&place, "/metrics/detailed?family=queue_coarse_metrics");
    assert!(
        detailed.contains("# TYPE rabbitmq_detailed_queue_messages gauge"),
        "{detailed}"
    );
    assert!(!detailed.contains("detailed_connection"), "{detailed}");
}
