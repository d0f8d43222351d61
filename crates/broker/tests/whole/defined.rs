//! What users and vhosts are defined to be: our definitions, and what they mean to us and to RabbitMQ.

use std::net::SocketAddr;

use warren_amqp::client::Login;
use warren_amqp::content::Properties;
use warren_amqp::hot::Publish;
use warren_amqp::{Value, basic, exchange, queue};
use warren_broker::Node;
use warren_model::arguments::QueueType;
use warren_model::meta::{Access, Command, Permissions};
use warren_model::{Name, Pattern};

use super::broker::Broker;
use super::client::{Client, exchange, queue, short};
use super::rabbitmq::RabbitMq;
use super::replies::words;
use super::words::{headers, table};

/// What somebody does, and what he needs for it: which right, to what.
struct Act {
    name: &'static str,
    act: fn(&mut Client),
    needs: &'static [(Access, &'static str, &'static str)],
    method: (u16, u16),
}

const QUEUE: &str = "queue";
const EXCHANGE: &str = "exchange";
use Access::{Configure, Read, Write};

fn bind(client: &mut Client) {
    client.send(
        1,
        queue::Bind {
            queue: short("de.q"),
            exchange: short("de.x"),
            ..queue::Bind::default()
        },
    );
}

fn declare_dead(client: &mut Client) {
    let declare = queue::Declare {
        arguments: table([("x-dead-letter-exchange", Value::text("de.y"))]),
        ..queue("de.dead")
    };
    client.send(1, declare);
}

fn declare_alternate(client: &mut Client) {
    let declare = exchange::Declare {
        arguments: table([("alternate-exchange", Value::text("de.y"))]),
        ..exchange("de.alternate")
    };
    client.send(1, declare);
}

const ACTS: &[Act] = &[
    Act {
        name: "declare",
        act: |client| client.send(1, queue("de.q")),
        needs: &[(Configure, QUEUE, "de.q")],
        method: (50, 10),
    },
    Act {
        name: "ask",
        act: |client| {
            client.send(
                1,
                queue::Declare {
                    passive: true,
                    ..queue("de.q")
                },
            );
        },
        needs: &[],
        method: (50, 10),
    },
    Act {
        name: "declare-dead",
        act: declare_dead,
        needs: &[
            (Configure, QUEUE, "de.dead"),
            (Read, QUEUE, "de.dead"),
            (Write, EXCHANGE, "de.y"),
        ],
        method: (50, 10),
    },
    Act {
        name: "declare-dead-again",
        act: declare_dead,
        needs: &[(Configure, QUEUE, "de.dead")],
        method: (50, 10),
    },
    Act {
        name: "delete",
        act: |client| {
            client.send(
                1,
                queue::Delete {
                    queue: short("de.none"),
                    ..queue::Delete::default()
                },
            );
        },
        needs: &[(Configure, QUEUE, "de.none")],
        method: (50, 40),
    },
    Act {
        name: "bind",
        act: bind,
        needs: &[(Write, QUEUE, "de.q"), (Read, EXCHANGE, "de.x")],
        method: (50, 20),
    },
    Act {
        name: "unbind",
        act: |client| {
            client.send(
                1,
                queue::Unbind {
                    queue: short("de.q"),
                    exchange: short("de.x"),
                    routing_key: short("none"),
                    ..queue::Unbind::default()
                },
            );
        },
        needs: &[(Write, QUEUE, "de.q"), (Read, EXCHANGE, "de.x")],
        method: (50, 50),
    },
    Act {
        name: "purge",
        act: |client| {
            client.send(
                1,
                queue::Purge {
                    queue: short("de.q"),
                    ..queue::Purge::default()
                },
            );
        },
        needs: &[(Read, QUEUE, "de.q")],
        method: (50, 30),
    },
    Act {
        name: "get",
        act: |client| {
            client.send(
                1,
                basic::Get {
                    queue: short("de.q"),
                    ..basic::Get::default()
                },
            );
        },
        needs: &[(Read, QUEUE, "de.q")],
        method: (60, 70),
    },
    Act {
        name: "consume",
        act: |client| {
            client.send(
                1,
                basic::Consume {
                    queue: short("de.q"),
                    ..basic::Consume::default()
                },
            );
        },
        needs: &[(Read, QUEUE, "de.q")],
        method: (60, 20),
    },
    Act {
        name: "publish",
        act: |client| client.publish_at("de.x", "", b"x"),
        needs: &[(Write, EXCHANGE, "de.x")],
        method: (60, 40),
    },
    Act {
        name: "publish-default",
        act: |client| client.publish_to("de.none", b"x"),
        needs: &[(Write, EXCHANGE, "amq.default")],
        method: (60, 40),
    },
    Act {
        name: "exchange",
        act: |client| client.send(1, exchange("de.x")),
        needs: &[(Configure, EXCHANGE, "de.x")],
        method: (40, 10),
    },
    Act {
        name: "exchange-alternate",
        act: declare_alternate,
        needs: &[
            (Configure, EXCHANGE, "de.alternate"),
            (Read, EXCHANGE, "de.alternate"),
            (Write, EXCHANGE, "de.y"),
        ],
        method: (40, 10),
    },
    Act {
        name: "exchange-alternate-again",
        act: declare_alternate,
        needs: &[(Configure, EXCHANGE, "de.alternate")],
        method: (40, 10),
    },
    Act {
        name: "exchange-delete",
        act: |client| {
            client.send(
                1,
                exchange::Delete {
                    exchange: short("de.none"),
                    ..exchange::Delete::default()
                },
            );
        },
        needs: &[(Configure, EXCHANGE, "de.none")],
        method: (40, 20),
    },
    Act {
        name: "exchange-bind",
        act: |client| {
            client.send(
                1,
                exchange::Bind {
                    source: short("de.x"),
                    destination: short("de.y"),
                    ..exchange::Bind::default()
                },
            );
        },
        needs: &[(Write, EXCHANGE, "de.y"), (Read, EXCHANGE, "de.x")],
        method: (40, 30),
    },
    Act {
        name: "exchange-unbind",
        act: |client| {
            client.send(
                1,
                exchange::Unbind {
                    source: short("de.x"),
                    destination: short("de.y"),
                    routing_key: short("none"),
                    ..exchange::Unbind::default()
                },
            );
        },
        needs: &[(Write, EXCHANGE, "de.y"), (Read, EXCHANGE, "de.x")],
        method: (40, 40),
    },
];

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn add(node: &Node, user: &str, tags: &[&str], permissions: Option<Permissions>) {
    node.apply(Command::PutUser {
        name: name(user),
        password: Some(node.hash_password("secret")),
        tags: tags.iter().map(|tag| name(tag)).collect(),
    })
    .unwrap();
    if let Some(permissions) = permissions {
        let (user, vhost) = (name(user), name("/"));
        let command = Command::SetPermissions {
            user,
            vhost,
            permissions,
        };
        node.apply(command).unwrap();
    }
}

/// All that an act needs but one, or all.
fn allowed(act: &Act, without: Option<usize>) -> Permissions {
    let of = |access: Access| {
        let needs = act.needs.iter().enumerate();
        let names = needs.filter(|(index, need)| need.0 == access && Some(*index) != without);
        let names: Vec<&str> = names.map(|(_, need)| need.2).collect();
        Pattern::new(&match names.is_empty() {
            true => String::new(),
            false => format!("^({})$", names.join("|").replace('.', "\\.")),
        })
        .unwrap()
    };
    Permissions {
        configure: of(Configure),
        write: of(Write),
        read: of(Read),
    }
}

fn user(act: &Act, without: Option<usize>) -> String {
    format!(
        "{}-{}",
        act.name,
        without.map_or_else(|| "all".to_owned(), |index| index.to_string())
    )
}

/// For each act, each of its needs left out, then nothing.
fn cases() -> impl Iterator<Item = (&'static Act, Option<usize>)> {
    ACTS.iter().flat_map(|act| {
        (0..act.needs.len())
            .map(Some)
            .chain([None])
            .map(move |it| (act, it))
    })
}

fn log_in(at: SocketAddr, user: &str, vhost: &str) -> Result<Client, super::client::Ended> {
    let mut client = Client::log_in(at, Login::plain(user, "secret", vhost, "test").unwrap())?;
    client.open_channel(1);
    Ok(client)
}

fn each_method_needs_what_it_needs(at: SocketAddr) {
    let mut guest = Client::open(at);
    guest.call(1, queue("de.q"), queue::DeclareOk::ID);
    for name in ["de.x", "de.y"] {
        guest.call(1, exchange(name), exchange::DeclareOk::ID);
    }
    for (act, without) in cases() {
        let user = user(act, without);
        let mut client = log_in(at, &user, "/").unwrap();
        (act.act)(&mut client);
        let expected = match without.and_then(|index| act.needs.get(index)) {
            None => "nothing within 4 s".to_owned(),
            Some((_, kind, name)) => format!(
                "channel 403 \"ACCESS_REFUSED - access to {kind} '{name}' in vhost '/' refused for user '{user}'\" ({},{})",
                act.method.0, act.method.1
            ),
        };
        assert_eq!(words(client.end(1).as_ref()), expected, "{user}");
    }
    let refused = log_in(at, "nobody", "/").err();
    assert_eq!(
        words(refused.as_ref()),
        "connection 530 \"NOT_ALLOWED - access to vhost '/' refused for user 'nobody'\" (10,40)"
    );
    let mut client = log_in(at, "impersonator", "/").unwrap();
    let properties = Properties {
        user_id: Some(short("guest")),
        ..Properties::default()
    };
    client.publish(&Publish::default(), &properties, b"x");
    assert_eq!(client.end(1), None, "he may speak for others");
}

#[test]
fn each_method_needs_what_it_needs_with_rabbitmq() {
    let broker = Broker::start();
    let node = &broker.node;
    for (act, without) in cases() {
        add(node, &user(act, without), &[], Some(allowed(act, without)));
    }
    add(node, "nobody", &[], None);
    let all = || Pattern::new(".*").unwrap();
    let permissions = Permissions {
        configure: all(),
        write: all(),
        read: all(),
    };
    add(node, "impersonator", &["impersonator"], Some(permissions));
    let written = node.export_definitions(None).unwrap();
    each_method_needs_what_it_needs(broker.at);
    if let Some(rabbitmq) = RabbitMq::with_definitions(&written.definitions.to_string()) {
        each_method_needs_what_it_needs(rabbitmq.at);
    }
}

/// What the vhosts `de-quorum` and `de-classic` have as the type of queues that say none.
fn queues_have_the_type_of_their_vhost(at: SocketAddr) {
    let guest = |vhost| {
        let mut client = Client::log_in(at, Login::plain("guest", "guest", vhost, "test").unwrap()).unwrap();
        client.open_channel(1);
        client
    };
    let durable = |name| queue::Declare {
        durable: true,
        ..queue(name)
    };
    let of = |kind, declare: queue::Declare| queue::Declare {
        arguments: table([("x-queue-type", Value::text(kind))]),
        ..declare
    };
    let mut client = guest("de-quorum");
    for _ in 0..2 {
        client.declare(durable("it"));
    }
    client.declare(of("quorum", durable("it")));
    // It is one: only quorum queues know how often a message came.
    client.put("it", &Properties::default(), "x");
    let message = client.wait_for("it");
    assert_eq!(headers(&message).get("x-delivery-count"), Some(&Value::I64(0)));
    // What cannot be of that type is not, and what says another one has that.
    for declare in [
        queue("transient"),
        queue::Declare {
            exclusive: true,
            ..durable("own")
        },
        queue::Declare {
            auto_delete: true,
            ..durable("auto")
        },
        of("classic", durable("classic")),
    ] {
        let name = declare.queue.to_text();
        client.declare(declare);
        client.put(&name, &Properties::default(), "x");
        assert!(client.wait_for(&name).header().headers().is_none(), "{name}");
    }
    client.send(1, durable("classic"));
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'classic' in vhost 'de-quorum': received \
         'quorum' but current is 'classic'\" (50,10)"
    );
    let mut client = guest("de-classic");
    client.declare(durable("it"));
    client.declare(of("classic", durable("it")));
    client.send(1, of("quorum", durable("it")));
    assert_eq!(
        words(client.end(1).as_ref()),
        "channel 406 \"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'it' in vhost 'de-classic': received \
         'quorum' but current is 'classic'\" (50,10)"
    );
}

#[test]
fn queues_have_the_type_of_their_vhost_unless_they_say_one() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::on(directory.path());
    for kind in ["quorum", "classic"] {
        let (user, vhost) = (name("guest"), name(&format!("de-{kind}")));
        let (description, kind) = (String::new(), Some(name(kind)));
        let all = Pattern::new(".*").unwrap();
        let permissions = Permissions {
            configure: all.clone(),
            write: all.clone(),
            read: all,
        };
        for command in [
            Command::AddVhost {
                name: vhost.clone(),
                description,
            },
            Command::SetDefaultQueueType {
                vhost: vhost.clone(),
                kind,
            },
            Command::SetPermissions {
                user,
                vhost,
                permissions,
            },
        ] {
            broker.node.apply(command).unwrap();
        }
    }
    let written = broker
        .node
        .export_definitions(None)
        .unwrap()
        .definitions
        .to_string();
    queues_have_the_type_of_their_vhost(broker.at);
    broker.stop();
    // After a restart, and where it was imported.
    let broker = Broker::on(directory.path());
    assert_eq!(
        broker
            .node
            .read(|meta| meta.vhost("de-quorum").unwrap().default_queue_type),
        Some(QueueType::Quorum)
    );
    let other = Broker::start();
    assert_eq!(
        other.node.import_definitions(&written, None).unwrap().refused,
        [""; 0]
    );
    queues_have_the_type_of_their_vhost(other.at);
    if let Some(rabbitmq) = RabbitMq::with_definitions(&written) {
        queues_have_the_type_of_their_vhost(rabbitmq.at);
    }
}
