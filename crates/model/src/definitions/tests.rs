use serde_json::{Value, json};
use warren_amqp::Table;

use super::{Definitions, InvalidDefinitions, export, export_vhost, read};
use crate::meta::{Author, Binding, Command, Destination, Meta, PasswordHash};
use crate::name::Name;

/// As RabbitMQ 3.10.8 writes it over HTTP, and by `rabbitmqctl`.
const HTTP: &str = include_str!("../../tests/definitions/http.json");
const CTL: &str = include_str!("../../tests/definitions/rabbitmqctl.json");

fn hash(password: &str) -> PasswordHash {
    PasswordHash {
        algorithm: PasswordHash::SHA256.to_owned(),
        hash: format!("hash of {password}"),
    }
}

fn parse(text: &str) -> Definitions {
    read(text, None, &mut hash).unwrap()
}

/// Carries all of it out. Says what was refused.
fn carry_out(meta: &mut Meta, definitions: Definitions) -> Vec<String> {
    let mut refused = Vec::new();
    for (object, command) in definitions.commands {
        if let Err(refusal) = meta.apply(command) {
            refused.push(format!("{object}: {}", refusal.text));
        }
    }
    refused
}

fn wrong(file: &Value) -> String {
    read(&file.to_string(), None, &mut hash).unwrap_err().to_string()
}

#[test]
fn what_rabbitmq_wrote_is_there_but_for_streams() {
    let mut meta = Meta::default();
    let refused = carry_out(&mut meta, parse(HTTP));
    assert_eq!(
        refused,
        [
            "queue 'st' in vhost '/': invalid arg 'x-queue-type' for queue 'st' in vhost '/': \"unsupported queue type 'stream'\""
        ]
    );
    let vhost = meta.vhost("/").unwrap();
    assert_eq!(vhost.queues().count(), 26);
    assert_eq!(vhost.queue("src").unwrap().meaning.limits.length, Some(1));
    assert_eq!(vhost.policies(Author::User).count(), 2);
    assert_eq!(vhost.parameters().count(), 2);
    assert!(meta.user("guest").unwrap().has_tag("administrator"));
    assert_eq!(meta.user("admin").unwrap().permissions.len(), 2);
}

#[test]
fn what_rabbitmqctl_wrote_is_there_however_it_wrote_it() {
    let mut meta = Meta::default();
    assert_eq!(carry_out(&mut meta, parse(CTL)), [""; 0]);
    let vhost = meta.vhost("v1").unwrap();
    assert_eq!(
        (vhost.description.as_str(), vhost.limits.queues),
        ("the first", Some(10))
    );
    assert_eq!(vhost.tags, ["a", "b"].map(|tag| Name::try_from(tag).unwrap()));
    let (_, operator) = vhost.policies(Author::Operator).next().unwrap();
    assert_eq!(
        (operator.priority, &operator.definition["max-length"]),
        (2, &json!(5))
    );
    assert_eq!(meta.user("ann").unwrap().limits.connections, Some(3));
    assert_eq!(meta.user("ann").unwrap().topic_permissions.len(), 1);
    assert_eq!(meta.user("nop").unwrap().password, None);
    let queue = meta.vhost("/").unwrap().queue("d1").unwrap();
    assert_eq!(queue.meaning.dead_letter_exchange.as_deref(), Some("dl"));
}

#[test]
fn what_is_written_and_read_again_is_the_same() {
    for file in [HTTP, CTL] {
        let mut meta = Meta::default();
        carry_out(&mut meta, parse(file));
        let written = export(&meta);
        assert!(written.lost.is_empty());
        let mut again = Meta::default();
        assert_eq!(
            carry_out(&mut again, parse(&written.definitions.to_string())),
            [""; 0]
        );
        assert_eq!(export(&again).definitions, written.definitions);
        let before: Vec<_> = written.definitions["queues"].as_array().unwrap().clone();
        let said: Value = serde_json::from_str(file).unwrap();
        let names = |queues: &[Value]| {
            let mut names: Vec<String> = queues
                .iter()
                .filter(|queue| queue["arguments"]["x-queue-type"] != "stream")
                .map(|queue| queue["name"].to_string() + &queue["arguments"].to_string())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&before), names(said["queues"].as_array().unwrap()));
        assert_eq!(
            carry_out(&mut meta, parse(&written.definitions.to_string())),
            [""; 0],
            "a second time"
        );
    }
}

#[test]
fn a_file_of_one_vhost_goes_into_another() {
    let mut meta = Meta::default();
    carry_out(&mut meta, parse(CTL));
    let mut file = export_vhost(&meta, "/").unwrap();
    for list in file.as_object_mut().unwrap().values_mut() {
        for object in list.as_array_mut().into_iter().flatten() {
            object.as_object_mut().unwrap().remove("vhost");
        }
    }
    assert!(file.get("users").is_none());
    let into = Name::try_from("v1").unwrap();
    let definitions = read(&file.to_string(), Some(&into), &mut hash).unwrap();
    assert_eq!(carry_out(&mut meta, definitions), [""; 0]);
    assert!(meta.vhost("v1").unwrap().queue("d1").is_some());
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_done() {
    assert!(matches!(
        read("{", None, &mut hash),
        Err(InvalidDefinitions::NotJson(_))
    ));
    for (file, text) in [
        (
            json!([]),
            "the definitions are not an object with lists such as \"queues\" in it",
        ),
        (json!({"queues": 5}), "\"queues\" is not a list of objects"),
        (json!({"queues": [5]}), "\"queues\" is not a list of objects"),
        (
            json!({"queues": [{"name": "a", "vhost": "/"}, {"name": "q", "vhost": "/", "durable": "yes"}]}),
            "queues[1] ('q' in vhost '/'): \"durable\" is a text, expected true or false",
        ),
        (
            json!({"queues": [{"name": "q"}]}),
            "queues[0] ('q'): \"vhost\" is missing",
        ),
        (
            json!({"exchanges": [{"name": "e", "vhost": "/", "type": "nosuch"}]}),
            "exchanges[0] ('e' in vhost '/'): unknown exchange type 'nosuch'",
        ),
        (
            json!({"policies": [{"name": "p", "vhost": "/", "pattern": "a", "definition": {"max-length": -1}}]}),
            "policies[0] ('p' in vhost '/'): Validation failed\n\n-1 is not a valid maximum length",
        ),
        (
            json!({"users": [{"name": "u", "password_hash": "x", "hashing_algorithm": "rot13"}]}),
            "users[0] ('u'): \"hashing_algorithm\": nobody knows \"rot13\"",
        ),
        (
            json!({"permissions": [{"user": "u", "vhost": "/", "configure": "(", "write": "", "read": ""}]}),
            "permissions[0] ('u' in vhost '/'): \"configure\": \"(\" is not a regular expression: ",
        ),
        (
            json!({"bindings": [{"source": "a", "vhost": "/", "destination": "b", "destination_type": "x"}]}),
            "bindings[0]: \"destination_type\" is \"x\", expected \"queue\" or \"exchange\"",
        ),
    ] {
        let said = wrong(&file);
        assert!(said.starts_with(text), "{said}");
    }
}

#[test]
fn passwords_are_hashed_and_never_shown() {
    let file = json!({"users": [{"name": "u", "password": "secret", "tags": "monitoring, policymaker"}]});
    let definitions = parse(&file.to_string());
    assert!(!format!("{definitions:?}").contains("secret"));
    let (_, Command::PutUser { password, tags, .. }) = &definitions.commands[0] else {
        panic!("{definitions:?}");
    };
    assert_eq!(password.as_ref().unwrap().hash, "hash of secret");
    assert_eq!(tags.len(), 2);
    let file = json!({"users": [{"name": 5, "password": "secret"}, {"name": "u", "password": ["secret"]}]});
    assert!(!wrong(&file).contains("secret"));
}

#[test]
fn an_export_says_which_passwords_it_cannot_carry() {
    let mut meta = Meta::default();
    meta.apply(Command::PutUser {
        name: Name::try_from("ann").unwrap(),
        password: Some(PasswordHash {
            algorithm: PasswordHash::ARGON2ID.to_owned(),
            hash: "x".to_owned(),
        }),
        tags: Vec::new(),
    })
    .unwrap();
    let written = export(&meta);
    assert_eq!(written.definitions["users"][0]["password_hash"], "");
    assert!(written.lost[0].starts_with("user 'ann': "), "{:?}", written.lost);
}

#[test]
fn what_is_a_connections_own_or_always_there_is_not_exported() {
    let mut meta = Meta::default();
    let file = json!({
        "vhosts": [{"name": "/"}],
        "exchanges": [{"name": "later", "vhost": "/", "type": "x-delayed-message", "arguments": {"x-delayed-type": "direct"}}],
        "queues": [{"name": "kept", "vhost": "/"}],
    });
    assert_eq!(carry_out(&mut meta, parse(&file.to_string())), [""; 0]);
    let vhost = || Name::try_from("/").unwrap();
    let own = Name::try_from("own").unwrap();
    let declare = Command::DeclareQueue {
        vhost: vhost(),
        name: own.clone(),
        id: None,
        durable: true,
        auto_delete: false,
        exclusive: Some(1),
        arguments: Table::new(),
    };
    let bind = Command::Bind {
        vhost: vhost(),
        binding: Binding {
            source: Name::try_from("amq.direct").unwrap(),
            destination: Destination::Queue(own),
            key: Name::try_from("k").unwrap(),
            arguments: Table::new(),
        },
    };
    for command in [declare, bind] {
        meta.apply(command).unwrap();
    }
    let written = export(&meta).definitions;
    let names = |list: &str| -> Vec<&str> {
        let objects = written[list].as_array().unwrap();
        objects
            .iter()
            .filter_map(|object| object["name"].as_str())
            .collect()
    };
    assert_eq!(
        (names("queues"), names("exchanges")),
        (vec!["kept"], vec!["later"])
    );
    assert_eq!(written["bindings"], json!([]), "neither to the default exchange");
}

#[test]
fn what_nobody_knows_in_a_file_is_passed_over() {
    let file = json!({
        "rabbitmq_definition_format": "cluster", "original_cluster_name": "shop", "topics": [{"name": "t"}],
        "vhosts": [{"name": "/", "limits": [], "unheard": {"of": 1}}],
        "queues": [{"name": "q", "vhost": "/", "type": "classic", "unheard": "of",
            "arguments": {"x-queue-mode": "lazy", "x-unheard": "of"}}],
        "policies": [{"name": "p", "vhost": "/", "pattern": "", "apply-to": "all", "priority": 0,
            "definition": {"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic", "queue-mode": "lazy"}}],
    });
    let mut meta = Meta::default();
    assert_eq!(carry_out(&mut meta, parse(&file.to_string())), [""; 0]);
    let written = export(&meta).definitions;
    assert_eq!(written["policies"][0]["definition"]["ha-params"], 2);
    assert_eq!(written["queues"][0]["arguments"]["x-unheard"], "of");
}
