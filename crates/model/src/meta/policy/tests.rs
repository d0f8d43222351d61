use serde_json::json;
use warren_amqp::{Table, Value};

use super::{ApplyTo, Author, Policy};
use crate::meta::tests::{all, bind, exchange, name, new, queue, refusal, route};
use crate::meta::{Change, Command, Meta, NamedPatterns, Queue, VhostLimits};
use crate::queue::Overflow;
use crate::routing::Kind;

fn policy(
    author: Author,
    named: &str,
    pattern: &str,
    definition: &serde_json::Value,
    priority: i64,
) -> Command {
    let definition = definition.as_object().unwrap().clone();
    Command::SetPolicy {
        vhost: name("/"),
        name: name(named),
        author,
        policy: Policy::new(author, pattern, ApplyTo::All, definition, priority).unwrap(),
    }
}

fn clear(author: Author, named: &str) -> Command {
    Command::ClearPolicy {
        vhost: name("/"),
        name: name(named),
        author,
    }
}

fn of<'a>(meta: &'a Meta, queue: &str) -> &'a Queue {
    meta.vhost("/").unwrap().queue(queue).unwrap()
}

fn policies_of(meta: &Meta, queue: &str) -> (Option<String>, Option<String>) {
    let applied = of(meta, queue).applied.clone().unwrap_or_default();
    let text = |name: &Option<crate::Name>| name.as_ref().map(ToString::to_string);
    (text(&applied.policy), text(&applied.operator_policy))
}

#[test]
fn a_policy_sets_limits_of_queues_that_are_there_and_of_those_to_come_and_takes_them_back() {
    let mut meta = new();
    all(
        &mut meta,
        [queue("orders", Table::new()), queue("other", Table::new())],
    );
    let done = meta
        .apply(policy(
            Author::User,
            "p",
            "^ord",
            &json!({"max-length": 5, "message-ttl": 9}),
            0,
        ))
        .unwrap();
    let id = of(&meta, "orders").id;
    assert_eq!(
        done.changes,
        [Change::VhostChanged(name("/")), Change::QueueSettingsChanged(id)]
    );
    assert_eq!(of(&meta, "orders").meaning.limits.length, Some(5));
    assert_eq!(of(&meta, "orders").meaning.limits.message_ttl, Some(9));
    assert_eq!(of(&meta, "other").meaning.limits.length, None);
    all(&mut meta, [queue("orders-2", Table::new())]);
    assert_eq!(of(&meta, "orders-2").meaning.limits.length, Some(5));
    let again = policy(
        Author::User,
        "p",
        "^ord",
        &json!({"max-length": 5, "message-ttl": 9}),
        0,
    );
    assert!(
        meta.apply(again).unwrap().changes.is_empty(),
        "nothing is different"
    );
    all(&mut meta, [clear(Author::User, "p")]);
    assert_eq!(of(&meta, "orders").meaning.limits.length, None);
    assert_eq!(policies_of(&meta, "orders-2"), (None, None));
    assert_eq!(
        refusal(&mut meta, clear(Author::User, "p")),
        "NOT_FOUND - Parameter does not exist"
    );
}

#[test]
fn of_numbers_the_lower_counts_and_of_words_that_of_the_arguments() {
    let mut meta = new();
    let arguments = Table::new()
        .with("x-max-length", Value::I32(10))
        .with("x-message-ttl", Value::I32(10))
        .with("x-overflow", Value::text("reject-publish"))
        .with("x-dead-letter-exchange", Value::text("mine"));
    all(&mut meta, [queue("q", arguments)]);
    let definition = json!({
        "max-length": 5, "message-ttl": 50, "expires": 7, "overflow": "drop-head",
        "dead-letter-exchange": "theirs", "dead-letter-routing-key": "k", "delivery-limit": 3,
    });
    all(&mut meta, [policy(Author::User, "p", ".*", &definition, 0)]);
    let meaning = &of(&meta, "q").meaning;
    assert_eq!(
        (meaning.limits.length, meaning.limits.message_ttl),
        (Some(5), Some(10))
    );
    assert_eq!((meaning.expires, meaning.limits.deliveries), (Some(7), Some(3)));
    assert_eq!(meaning.limits.overflow, Overflow::RejectPublish);
    assert_eq!(meaning.dead_letter_exchange, Some(name("mine")));
    assert_eq!(meaning.dead_letter_key, Some(name("k")));
}

#[test]
fn the_highest_priority_counts_alone() {
    let mut meta = new();
    all(
        &mut meta,
        [
            queue("q", Table::new()),
            policy(
                Author::User,
                "low",
                "q",
                &json!({"max-length": 1, "message-ttl": 1}),
                -1,
            ),
            policy(Author::User, "b", "q", &json!({"max-length": 2}), 7),
            policy(Author::User, "a", "q", &json!({"max-length": 3}), 7),
            policy(Author::User, "elsewhere", "z", &json!({"max-length": 4}), 9),
        ],
    );
    assert_eq!(
        policies_of(&meta, "q").0.as_deref(),
        Some("a"),
        "the first by name of equal ones"
    );
    let limits = of(&meta, "q").meaning.limits;
    assert_eq!(
        (limits.length, limits.message_ttl),
        (Some(3), None),
        "they are not added up"
    );
    all(&mut meta, [clear(Author::User, "a"), clear(Author::User, "b")]);
    assert_eq!(policies_of(&meta, "q").0.as_deref(), Some("low"));
}

#[test]
fn an_operator_policy_lowers_what_a_user_sets_and_never_raises_it() {
    let mut meta = new();
    all(
        &mut meta,
        [
            queue("q", Table::new()),
            policy(
                Author::User,
                "p",
                "",
                &json!({"max-length": 10, "message-ttl": 5, "overflow": "reject-publish"}),
                0,
            ),
            policy(
                Author::Operator,
                "o",
                "^q$",
                &json!({"max-length": 3, "message-ttl": 100, "max-length-bytes": 9}),
                0,
            ),
        ],
    );
    assert_eq!(policies_of(&meta, "q"), (Some("p".into()), Some("o".into())));
    let limits = of(&meta, "q").meaning.limits;
    assert_eq!(
        (limits.length, limits.message_ttl, limits.octets),
        (Some(3), Some(5), Some(9))
    );
    assert_eq!(limits.overflow, Overflow::RejectPublish);
    let applied = of(&meta, "q").applied.clone().unwrap();
    assert_eq!(
        serde_json::Value::Object(applied.definition.clone()),
        json!({"max-length": 3, "message-ttl": 5, "max-length-bytes": 9, "overflow": "reject-publish"})
    );
    all(&mut meta, [clear(Author::User, "p")]);
    assert_eq!(of(&meta, "q").meaning.limits.message_ttl, Some(100));
}

#[test]
fn an_exchange_gets_its_alternate_from_a_policy_unless_it_has_one() {
    let mut meta = new();
    all(
        &mut meta,
        [
            exchange("e", Kind::Direct),
            exchange("last", Kind::Fanout),
            queue("lost", Table::new()),
            bind("last", "lost", ""),
        ],
    );
    assert!(route(&meta, "e", "nowhere").is_empty());
    let done = meta
        .apply(policy(
            Author::User,
            "ae",
            "^e$",
            &json!({"alternate-exchange": "last"}),
            0,
        ))
        .unwrap();
    assert!(
        done.changes
            .contains(&Change::ExchangeSettingsChanged(name("/"), name("e")))
    );
    assert_eq!(route(&meta, "e", "nowhere"), ["lost"]);
    all(&mut meta, [clear(Author::User, "ae")]);
    assert!(route(&meta, "e", "nowhere").is_empty());
}

#[test]
fn a_policy_for_mirrors_is_shown_and_is_not_for_quorum_queues() {
    let mut meta = new();
    let quorum = Table::new().with("x-queue-type", Value::text("quorum"));
    all(
        &mut meta,
        [
            queue("c", Table::new()),
            queue("q", quorum),
            policy(Author::User, "ha-all", ".+", &json!({"ha-mode": "all"}), 0),
        ],
    );
    assert_eq!(policies_of(&meta, "c").0.as_deref(), Some("ha-all"));
    assert_eq!(policies_of(&meta, "q").0, None);
}

#[test]
fn a_vhost_has_no_more_queues_than_it_may_have() {
    let mut meta = new();
    let limits = VhostLimits {
        connections: None,
        queues: Some(1),
    };
    all(
        &mut meta,
        [
            Command::SetVhostLimits {
                vhost: name("/"),
                limits,
            },
            queue("one", Table::new()),
            queue("one", Table::new()),
        ],
    );
    assert_eq!(
        refusal(&mut meta, queue("two", Table::new())),
        "PRECONDITION_FAILED - cannot declare queue 'two': queue limit in vhost '/' (1) is reached"
    );
}

#[test]
fn topic_permissions_are_for_keys_of_one_exchange() {
    use crate::meta::{Access, TopicPermissions};
    use crate::pattern::Pattern;
    let mut meta = new();
    let permissions = TopicPermissions {
        write: Pattern::new(r"^{username}\.").unwrap(),
        read: Pattern::new("").unwrap(),
    };
    all(
        &mut meta,
        [
            Command::PutUser {
                name: name("a.n"),
                password: None,
                tags: Vec::new(),
            },
            Command::SetTopicPermissions {
                user: name("a.n"),
                vhost: name("/"),
                exchange: name("amq.topic"),
                permissions,
            },
        ],
    );
    let user = meta.user("a.n").unwrap();
    let mut named = NamedPatterns::default();
    let mut check = |access, exchange, key| user.check_topic(access, exchange, key, ("/", "a.n"), &mut named);
    assert!(check(Access::Write, "amq.topic", "a.n.x").is_ok());
    assert_eq!(
        check(Access::Write, "amq.topic", "abn.x")
            .unwrap_err()
            .to_string(),
        "ACCESS_REFUSED - access to topic 'abn.x' in exchange 'amq.topic' in vhost '/' refused for user 'a.n'"
    );
    assert!(check(Access::Read, "amq.topic", "a.n.x").is_err());
    assert!(check(Access::Write, "another", "x").is_ok());
}
