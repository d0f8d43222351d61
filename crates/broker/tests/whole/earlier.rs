//! Data directories that earlier versions left are opened, with everything in them: metadata, messages, what became of them. A version that is
//! written by a release stays here for ever.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use warren_amqp::content::{DeliveryMode, Properties};
use warren_amqp::hot::Publish;
use warren_amqp::{Table, Value as Field, queue};
use warren_broker::{Member, Node, Settings};
use warren_model::meta::{Author, Binding, Command, Destination, LimitChanges, PasswordHash};
use warren_model::{Meta, Name};
use warren_store::{Disk, Log, Options, RealDisk, StreamId};

use super::broker::Broker;
use super::client::{Client, short};
use super::words::{body, headers, table};

/// By `rabbitmqctl export_definitions` of 3.10.8: users, vhosts, rights, limits, policies and parameters.
const FILE: &str = include_str!("../../../model/tests/definitions/rabbitmqctl.json");

/// And how many kinds of commands it knew.
const VERSIONS: [(&str, u8); 2] = [("v1", 23), ("v2", 28)];

fn fixture(version: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(version)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

/// With small files, so that the fixture is small.
fn options() -> Options {
    Options {
        segment_octets: 64 << 10,
        ..Options::default()
    }
}

fn open(directory: &Path) -> Broker {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Broker::of(|| {
        let member = Member::alone_on(disk, directory, options()).unwrap();
        let opened = Node::open("rabbit@test".to_owned(), Settings::default(), member);
        opened.unwrap().0
    })
}

/// Something of every kind that can be in metadata.
fn everything() -> Value {
    let exchange = |name: &str, kind: &str, arguments: Value| {
        json!({"name": name, "vhost": "/", "type": kind, "durable": true, "auto_delete": false,
            "internal": name == "i", "arguments": arguments})
    };
    let queue = |name: &str, arguments: Value| json!({"name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments});
    let bind = |from: &str, to: &str, kind: &str, key: &str, arguments: Value| {
        json!({"source": from, "vhost": "/", "destination": to, "destination_type": kind, "routing_key": key,
            "arguments": arguments})
    };
    json!({
        "exchanges": [
            exchange("d", "direct", json!({"alternate-exchange": "f"})), exchange("f", "fanout", json!({})),
            exchange("t", "topic", json!({})), exchange("h", "headers", json!({})),
            exchange("c", "x-consistent-hash", json!({"hash-header": "x"})), exchange("m", "x-modulus-hash", json!({})),
            exchange("r", "x-random", json!({})), exchange("l", "x-delayed-message", json!({"x-delayed-type": "direct"})),
            exchange("i", "direct", json!({})), exchange("gone", "direct", json!({})),
        ],
        "queues": [
            queue("kept", json!({"x-max-length": 1000, "x-overflow": "reject-publish", "x-dead-letter-exchange": ""})),
            queue("also", json!({"x-max-priority": 5})), queue("counted", json!({"x-queue-type": "quorum"})),
            queue("gone", json!({"x-expires": 3_600_000})), queue("removed", json!({})),
        ],
        "bindings": [
            bind("f", "kept", "queue", "", json!({})), bind("f", "also", "queue", "", json!({})),
            bind("t", "d", "exchange", "a.*.#", json!({})), bind("c", "kept", "queue", "3", json!({})),
            bind("h", "also", "queue", "", json!({"x-match": "any", "a": 1, "b": [true, {"c": "d"}]})),
            bind("d", "gone", "queue", "k", json!({})), bind("d", "kept", "queue", "gone", json!({})),
        ],
        "vhosts": [{"name": "gone"}, {"name": "typed", "default_queue_type": "quorum", "tags": ["x"]}],
        "users": [{"name": "gone", "password_hash": "", "tags": []}],
        "permissions": [{"user": "gone", "vhost": "/", "configure": "", "write": "", "read": ""}],
        "topic_permissions": [{"user": "gone", "vhost": "/", "exchange": "t", "write": "", "read": ""}],
        "policies": [{"name": "gone", "vhost": "/", "pattern": "^x", "definition": {"max-length": 1}, "priority": 1}],
        "parameters": [{"component": "federation-upstream", "vhost": "/", "name": "gone", "value": {"uri": "amqp://"}}],
        "global_parameters": [{"name": "kept", "value": [1, "two", {"three": null}]}],
    })
}

/// What operators do with users that files do not: each kind once.
fn users() -> [Command; 4] {
    let user = || name("added");
    [
        Command::AddUser {
            name: user(),
            password: None,
        },
        Command::SetPassword {
            user: user(),
            password: Some(PasswordHash {
                algorithm: PasswordHash::SHA256.to_owned(),
                hash: "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR".to_owned(),
            }),
        },
        Command::SetUserTags {
            user: user(),
            tags: vec![name("monitoring")],
        },
        Command::ChangeUserLimits {
            user: user(),
            limits: LimitChanges {
                connections: Some(Some(7)),
                channels: None,
            },
        },
    ]
}

/// What takes something away, each kind once.
fn gone() -> [Command; 9] {
    let (vhost, it, user) = (|| name("/"), || name("gone"), || name("gone"));
    [
        Command::ClearParameter {
            vhost: Some(vhost()),
            component: name("federation-upstream"),
            name: it(),
        },
        Command::ClearPolicy {
            vhost: vhost(),
            name: it(),
            author: Author::User,
        },
        Command::ClearTopicPermissions {
            user: user(),
            vhost: vhost(),
            exchange: Some(name("t")),
        },
        Command::ClearPermissions {
            user: user(),
            vhost: vhost(),
        },
        Command::DeleteUser { name: user() },
        Command::Unbind {
            vhost: vhost(),
            binding: Binding {
                source: name("d"),
                destination: Destination::Queue(name("kept")),
                key: it(),
                arguments: Table::new(),
            },
        },
        Command::DeleteQueue {
            vhost: vhost(),
            name: it(),
        },
        Command::DeleteExchange {
            vhost: vhost(),
            name: it(),
            if_unused: false,
        },
        Command::DeleteVhost { name: it() },
    ]
}

fn exported(node: &Node) -> Value {
    node.export_definitions(None).unwrap().definitions
}

/// What the fixture is. In one life all that there is comes and some of it goes, messages are settled and come back, and the node stops; in another
/// more messages come and are settled, and it is killed.
fn write(directory: &Path) -> (PathBuf, Value) {
    let broker = open(directory);
    // So much that the next start writes anew what is left of it.
    for number in 0..1100 {
        let command = Command::SetParameter {
            vhost: None,
            component: name(""),
            name: name("often"),
            value: json!(number),
        };
        broker.node.apply(command).unwrap();
    }
    broker.stop();
    let broker = open(directory);
    for file in [FILE, &everything().to_string()] {
        let imported = broker.node.import_definitions(file, None).unwrap();
        assert_eq!(imported.refused, [""; 0]);
    }
    let queue = |meta: &Meta| {
        meta.vhost("/")
            .and_then(|vhost| vhost.queue("removed"))
            .map(|queue| queue.id)
    };
    let id = broker.node.read(queue).unwrap();
    let removed = Command::RemoveQueue { id };
    for command in users().into_iter().chain(gone()).chain([removed]) {
        assert!(!broker.node.apply(command).unwrap().changes.is_empty());
    }
    let mut client = publish(&broker, 0..6);
    for _ in 0..3 {
        let message = client.wait_for_unacked("counted", false);
        client.reject(message.get_ok().unwrap().delivery_tag, true);
    }
    assert_eq!(
        client.take("kept").map(|message| body(&message)).as_deref(),
        Some("0")
    );
    assert_eq!(client.end(1), None);
    broker.stop();
    let broker = open(directory);
    let mut client = publish(&broker, 6..8);
    assert_eq!(
        client.take("also").map(|message| body(&message)).as_deref(),
        Some("0")
    );
    // What was settled before is on disk when something later is.
    client.put("kept", &Properties::of(DeliveryMode::Persistent), "last");
    client.hear(5);
    let killed = directory.with_extension("killed");
    copy(directory, &killed);
    (killed, exported(&broker.node))
}

/// To `kept` and `also` together, and each by itself to `counted`; confirmed.
fn publish(broker: &Broker, numbers: std::ops::Range<u64>) -> Client {
    let mut client = Client::open(broker.at);
    client.select_confirms();
    let last = 2 * (numbers.end - numbers.start);
    for number in numbers {
        let properties = Properties {
            headers: Some(table([("number", Field::I64(number as i64))])),
            ..Properties::of(DeliveryMode::Persistent)
        };
        for (exchange, routing_key) in [(&b"f"[..], &b""[..]), (b"", b"counted")] {
            let publish = Publish {
                exchange,
                routing_key,
                ..Publish::default()
            };
            client.publish(&publish, &properties, number.to_string().as_bytes());
        }
    }
    client.hear(last);
    client
}

#[test]
#[ignore = "writes the fixture of a new version: NEW=v3"]
fn write_fixture() {
    let (new, directory) = (
        fixture(&std::env::var("NEW").unwrap()),
        tempfile::tempdir().unwrap(),
    );
    let (killed, definitions) = write(&directory.path().join("data"));
    fs::create_dir_all(&new).unwrap();
    for entry in fs::read_dir(killed).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if file == "lock" || file.ends_with("spare") {
            continue;
        }
        let mut octets = fs::read(&path).unwrap();
        if file.ends_with("segment") {
            // Without most of the room behind what was written, which ends with zeros itself.
            octets.truncate(octets.iter().rposition(|octet| *octet != 0).unwrap() + 64);
        }
        fs::write(new.join(file), octets).unwrap();
    }
    let text = serde_json::to_string_pretty(&definitions).unwrap();
    fs::write(new.with_extension("json"), text + "\n").unwrap();
}

#[test]
fn what_earlier_versions_left_is_there_with_all_that_was_in_it() {
    for (version, _) in VERSIONS {
        is_there(version);
    }
}

fn is_there(version: &str) {
    let directory = tempfile::tempdir().unwrap();
    copy(&fixture(version), directory.path());
    let broker = Broker::on(directory.path());
    let recorded = fs::read_to_string(fixture(version).with_extension("json")).unwrap();
    assert_eq!(
        exported(&broker.node),
        serde_json::from_str::<Value>(&recorded).unwrap()
    );
    let mut client = Client::open(broker.at);
    let mut all = |queue: &str| -> Vec<(String, Option<i64>, bool)> {
        let messages = std::iter::from_fn(|| client.take(queue));
        let seen = messages.map(|message| {
            let headers = message.header().headers().map(|_| headers(&message));
            let count = match headers.unwrap_or_default().get("x-delivery-count") {
                Some(Field::I64(count)) => Some(*count),
                _ => None,
            };
            (body(&message), count, message.get_ok().unwrap().redelivered)
        });
        seen.collect()
    };
    // It was killed: everything may have been seen.
    let seen = |numbers: std::ops::Range<u64>| numbers.map(|number| (number.to_string(), None, true));
    let last = ("last".to_owned(), None, true);
    assert_eq!(all("kept"), seen(1..8).chain([last]).collect::<Vec<_>>());
    assert_eq!(all("also"), seen(1..8).collect::<Vec<_>>());
    let counts: Vec<_> = all("counted")
        .into_iter()
        .map(|(body, count, _)| (body, count))
        .collect();
    let expected = (0..8).map(|number: u64| (number.to_string(), Some(if number == 0 { 3 } else { 0 })));
    assert_eq!(counts, expected.collect::<Vec<_>>());
    let declare = queue::Declare {
        queue: short("kept"),
        passive: true,
        ..queue::Declare::default()
    };
    assert_eq!(client.declare(declare).message_count, 0);
}

/// The number of a command's kind is the first octet of what is kept of it.
#[test]
fn every_kind_of_command_that_a_version_knew_is_in_what_it_left() {
    for (version, kinds) in VERSIONS {
        let directory = tempfile::tempdir().unwrap();
        copy(&fixture(version), directory.path());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (log, _) = Log::open(directory.path(), disk, options(), |_| {}).unwrap();
        let commands = log.fetch(StreamId::METADATA, 0, usize::MAX, u64::MAX).unwrap();
        let found: BTreeSet<u8> = commands.iter().map(|stored| stored.body[0]).collect();
        assert_eq!(found, (0..kinds).collect(), "{version}");
    }
}
