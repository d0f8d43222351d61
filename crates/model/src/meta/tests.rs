use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use warren_amqp::content::{Header, Properties};
use warren_amqp::{Table, Value};

use super::{
    Access, ApplyTo, Author, Binding, Change, Command, Destination, Meta, Permissions, Policy, Vhost,
    VhostLimits,
};
use crate::definitions;
use crate::effort::{assert_grows_with, effort};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::routing::{Kind, QueueId, Said};

pub(super) fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

pub(super) fn new() -> Meta {
    let mut meta = Meta::default();
    meta.apply(Command::AddVhost {
        name: name("/"),
        description: String::new(),
    })
    .unwrap();
    meta
}

pub(super) fn exchange(exchange: &str, kind: Kind) -> Command {
    Command::DeclareExchange {
        vhost: name("/"),
        name: name(exchange),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::new(),
    }
}

pub(super) fn queue(queue: &str, arguments: Table) -> Command {
    Command::DeclareQueue {
        vhost: name("/"),
        name: name(queue),
        id: None,
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments,
    }
}

#[test]
fn a_queue_that_goes_by_its_number_takes_no_other_of_its_name_with_it() {
    let mut meta = new();
    all(&mut meta, [queue("q", Table::new())]);
    let id = meta.vhost("/").unwrap().queue("q").unwrap().id;
    all(&mut meta, [Command::RemoveQueue { id }, queue("q", Table::new())]);
    assert!(meta.queue(id).is_none());
    let again = meta.apply(Command::RemoveQueue { id }).unwrap();
    assert!(again.changes.is_empty());
    assert!(meta.vhost("/").unwrap().queue("q").is_some());
}

fn binding(source: &str, destination: Destination, key: &str) -> Binding {
    Binding {
        source: name(source),
        destination,
        key: name(key),
        arguments: Table::new(),
    }
}

pub(super) fn bind(source: &str, queue: &str, key: &str) -> Command {
    Command::Bind {
        vhost: name("/"),
        binding: binding(source, Destination::Queue(name(queue)), key),
    }
}

fn bind_exchange(source: &str, exchange: &str, key: &str) -> Command {
    Command::Bind {
        vhost: name("/"),
        binding: binding(source, Destination::Exchange(name(exchange)), key),
    }
}

pub(super) fn all(meta: &mut Meta, commands: impl IntoIterator<Item = Command>) {
    for command in commands {
        meta.apply(command).unwrap();
    }
}

pub(super) fn route(meta: &Meta, exchange: &str, key: &str) -> Vec<String> {
    let vhost = meta.vhost("/").unwrap();
    let mut found = Vec::new();
    vhost.route(exchange, &Said::new(key.as_bytes(), None, 0), &mut found);
    found
        .into_iter()
        .map(|id| vhost.queue_name(id).unwrap().to_string())
        .collect()
}

fn route_with(meta: &Meta, exchange: &str, key: &str, headers: Table) -> Vec<String> {
    let vhost = meta.vhost("/").unwrap();
    let properties = Properties {
        headers: Some(headers),
        ..Properties::default()
    }
    .header(0);
    let mut found = Vec::new();
    let said = Said::new(key.as_bytes(), Header::read(&properties).ok(), 0);
    vhost.route(exchange, &said, &mut found);
    let names = found.into_iter().map(|id| vhost.queue_name(id).unwrap());
    names.map(ToString::to_string).collect()
}

pub(super) fn refusal(meta: &mut Meta, command: Command) -> String {
    meta.apply(command).unwrap_err().to_string()
}

#[test]
fn a_message_reaches_each_queue_once_through_exchanges_in_a_circle() {
    let mut meta = new();
    all(&mut meta, ["a", "b", "c"].map(|it| exchange(it, Kind::Fanout)));
    all(&mut meta, ["one", "two"].map(|it| queue(it, Table::new())));
    all(
        &mut meta,
        [
            bind_exchange("a", "b", ""),
            bind_exchange("b", "c", ""),
            bind_exchange("c", "a", ""),
        ],
    );
    all(
        &mut meta,
        [bind("a", "one", ""), bind("b", "two", ""), bind("c", "two", "x")],
    );
    assert_eq!(route(&meta, "a", "k"), ["one", "two"]);
    assert_eq!(route(&meta, "", "one"), ["one"]);
    assert!(route(&meta, "", "none").is_empty());
}

#[test]
fn a_message_passes_ten_thousand_exchanges_at_once() {
    assert_grows_with(10_000, |exchanges| {
        let meta = in_a_row(exchanges);
        let route = || effort(|| assert_eq!(route(&meta, "all", "key"), ["q"]));
        std::iter::repeat_with(route).take(5).min().unwrap()
    });
}

/// Exchanges that all messages of one pass to the same queue.
fn in_a_row(exchanges: u32) -> Meta {
    let mut meta = new();
    all(
        &mut meta,
        [exchange("all", Kind::Fanout), queue("q", Table::new())],
    );
    for number in 0..exchanges {
        let name = format!("e{number}");
        all(
            &mut meta,
            [
                exchange(&name, Kind::Fanout),
                bind_exchange("all", &name, ""),
                bind(&name, "q", ""),
            ],
        );
    }
    meta
}

#[test]
fn an_alternate_exchange_is_asked_when_nothing_matched() {
    let mut meta = new();
    let arguments = Table::new().with("alternate-exchange", Value::text("last"));
    all(
        &mut meta,
        [
            exchange("last", Kind::Fanout),
            queue("q", Table::new()),
            queue("lost", Table::new()),
        ],
    );
    meta.apply(Command::DeclareExchange {
        vhost: name("/"),
        name: name("e"),
        kind: Kind::Direct,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    })
    .unwrap();
    all(&mut meta, [bind("e", "q", "k"), bind("last", "lost", "")]);
    assert_eq!(route(&meta, "e", "k"), ["q"]);
    assert_eq!(route(&meta, "e", "other"), ["lost"]);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let mut meta = new();
    meta.apply(Command::DeclareExchange {
        vhost: name("/"),
        name: name("e"),
        kind: Kind::Direct,
        durable: true,
        auto_delete: true,
        internal: false,
        arguments: Table::new(),
    })
    .unwrap();
    all(
        &mut meta,
        [
            exchange("before", Kind::Direct),
            queue("q", Table::new()),
            bind_exchange("before", "e", ""),
        ],
    );
    assert!(
        meta.vhost("/").unwrap().exchange("e").is_some(),
        "never before the first"
    );
    all(&mut meta, [bind("e", "q", "a"), bind("e", "q", "b")]);
    let done = meta
        .apply(Command::DeleteQueue {
            vhost: name("/"),
            name: name("q"),
        })
        .unwrap();
    assert!(
        done.changes
            .contains(&Change::ExchangeRemoved(name("/"), name("e"))),
        "{done:?}"
    );
    assert_eq!(meta.vhost("/").unwrap().exchange("before").unwrap().bindings(), 0);
}

#[test]
fn what_is_declared_twice_has_to_be_the_same() {
    let mut meta = new();
    all(&mut meta, [queue("q", Table::new()), exchange("e", Kind::Direct)]);
    assert!(meta.apply(queue("q", Table::new())).unwrap().changes.is_empty());
    let other = queue("q", Table::new().with("x-message-ttl", Value::I32(5)));
    assert_eq!(
        refusal(&mut meta, other),
        "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none"
    );
    assert_eq!(
        refusal(&mut meta, exchange("e", Kind::Fanout)),
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'fanout' but current is 'direct'"
    );
    let nonsense = queue("q", Table::new().with("x-nonsense", Value::I32(5)));
    assert!(
        meta.apply(nonsense).is_ok(),
        "arguments that nobody knows do not count"
    );
    let wide = |value| queue("w", Table::new().with("x-max-length", value));
    all(&mut meta, [wide(Value::I64(7)), wide(Value::U8(7))]);
}

#[test]
fn refusals_are_rabbitmqs() {
    let mut meta = new();
    all(
        &mut meta,
        [
            exchange("e", Kind::Direct),
            queue("q", Table::new()),
            bind("e", "q", ""),
        ],
    );
    let delete = |exchange: &str, if_unused| Command::DeleteExchange {
        vhost: name("/"),
        name: name(exchange),
        if_unused,
    };
    for (command, text) in [
        (
            exchange("amq.rt", Kind::Direct),
            "ACCESS_REFUSED - exchange name 'amq.rt' contains reserved prefix 'amq.*'",
        ),
        (
            exchange("", Kind::Direct),
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            delete("amq.direct", false),
            "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
        ),
        (
            delete("", false),
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            delete("e", true),
            "PRECONDITION_FAILED - exchange 'e' in vhost '/' in use",
        ),
        (
            bind("", "q", "k"),
            "ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (bind("e", "none", "k"), "NOT_FOUND - no queue 'none' in vhost '/'"),
        (
            bind("none", "q", "k"),
            "NOT_FOUND - no exchange 'none' in vhost '/'",
        ),
        (
            queue("b", Table::new().with("x-expires", Value::I32(0))),
            "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'b' in vhost '/': {value_zero,0}",
        ),
        (
            queue("b", Table::new().with("x-max-priority", Value::I32(256))),
            "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'b' in vhost '/': {max_value_exceeded,256}",
        ),
    ] {
        assert_eq!(refusal(&mut meta, command), text);
    }
    assert!(meta.apply(delete("none", true)).is_ok());
}

#[test]
fn permissions_are_by_vhost_and_name() {
    let mut meta = new();
    meta.apply(Command::PutUser {
        name: name("ann"),
        password: None,
        tags: Vec::new(),
    })
    .unwrap();
    let permissions = Permissions {
        configure: Pattern::new("^ann-").unwrap(),
        write: Pattern::new(r"^(ann-.*|amq\.default)$").unwrap(),
        read: Pattern::new("").unwrap(),
    };
    meta.apply(Command::SetPermissions {
        user: name("ann"),
        vhost: name("/"),
        permissions,
    })
    .unwrap();
    let ann = meta.user("ann").unwrap();
    assert!(ann.check(Access::Configure, "queue", "ann-1", "/", "ann").is_ok());
    assert!(ann.check(Access::Write, "exchange", "", "/", "ann").is_ok());
    assert_eq!(
        ann.check(Access::Read, "queue", "ann-1", "/", "ann")
            .unwrap_err()
            .to_string(),
        "ACCESS_REFUSED - access to queue 'ann-1' in vhost '/' refused for user 'ann'"
    );
    assert!(
        ann.check(Access::Configure, "queue", "ann-1", "other", "ann")
            .is_err()
    );
}

#[test]
fn a_queue_with_ten_thousand_bindings_goes_at_once() {
    for kind in [Kind::Direct, Kind::Fanout, Kind::Topic, Kind::Headers] {
        let mut meta = new();
        all(
            &mut meta,
            [
                exchange("e", kind.clone()),
                queue("q", Table::new()),
                queue("r", Table::new()),
            ],
        );
        let bindings = (0..10_000).flat_map(|number| ["q", "r"].map(|queue| (number, queue)));
        let commands = bindings.map(|(number, queue)| Command::Bind {
            vhost: name("/"),
            binding: Binding {
                arguments: Table::new().with("number", Value::I32(number)),
                ..binding("e", Destination::Queue(name(queue)), &format!("a.{number}"))
            },
        });
        all(&mut meta, commands);
        assert_eq!(meta.vhost("/").unwrap().bindings().count(), 20_002);
        let started = std::time::Instant::now();
        let done = meta
            .apply(Command::DeleteQueue {
                vhost: name("/"),
                name: name("q"),
            })
            .unwrap();
        // Some ten milliseconds with optimisation; with each looking at all others it would be minutes.
        assert!(
            started.elapsed().as_secs() < 5,
            "{kind:?}: {:?}",
            started.elapsed()
        );
        assert_eq!(done.changes.len(), 2, "{:?}", done.changes);
        assert_eq!(meta.vhost("/").unwrap().bindings().count(), 10_001);
        let headers = Table::new().with("number", Value::I32(77));
        let found = route_with(&meta, "e", "a.77", headers);
        assert_eq!(found, ["r"], "{kind:?}");
    }
}

fn command() -> impl Strategy<Value = Command> {
    let some = || prop_oneof![Just("a"), Just("b"), Just("c"), Just("amq.topic")];
    let vhost = || prop_oneof![Just(name("/")), Just(name("v"))];
    let kind = prop_oneof![Just(Kind::Direct), Just(Kind::Topic), Just(Kind::Headers)];
    let destination = move || {
        prop_oneof![
            some().prop_map(|it| Destination::Queue(name(it))),
            some().prop_map(|it| Destination::Exchange(name(it)))
        ]
    };
    let binding = move || {
        (some(), destination(), some())
            .prop_map(|(source, destination, key)| binding(source, destination, key))
    };
    prop_oneof![
        1 => vhost().prop_map(|name| Command::AddVhost { name, description: "d".to_owned() }),
        1 => vhost().prop_map(|name| Command::DeleteVhost { name }),
        4 => (vhost(), some(), kind, any::<bool>(), any::<bool>()).prop_map(|(vhost, it, kind, durable, auto_delete)| {
            Command::DeclareExchange { vhost, name: name(it), kind, durable, auto_delete, internal: false, arguments: Table::new() }
        }),
        1 => (vhost(), some(), any::<bool>()).prop_map(|(vhost, it, if_unused)| {
            Command::DeleteExchange { vhost, name: name(it), if_unused }
        }),
        4 => (vhost(), some(), any::<bool>(), prop::option::of(0..3_u64)).prop_map(|(vhost, it, durable, exclusive)| {
            let arguments = Table::new().with("x-max-length", Value::I32(3));
            Command::DeclareQueue { vhost, name: name(it), id: None, durable, auto_delete: false, exclusive, arguments }
        }),
        1 => (vhost(), some()).prop_map(|(vhost, it)| Command::DeleteQueue { vhost, name: name(it) }),
        1 => (1..20_u64).prop_map(|id| Command::RemoveQueue { id: QueueId(id) }),
        6 => (vhost(), binding()).prop_map(|(vhost, binding)| Command::Bind { vhost, binding }),
        2 => (vhost(), binding()).prop_map(|(vhost, binding)| Command::Unbind { vhost, binding }),
        2 => (vhost(), some(), any::<bool>(), 0..3_i64).prop_map(|(vhost, it, operator, priority)| {
            let author = if operator { Author::Operator } else { Author::User };
            let definition = serde_json::json!({"max-length": priority}).as_object().unwrap().clone();
            let policy = Policy::new(author, it, ApplyTo::All, definition, priority).unwrap();
            Command::SetPolicy { vhost, name: name(it), author, policy }
        }),
        1 => (vhost(), some()).prop_map(|(vhost, it)| Command::ClearPolicy { vhost, name: name(it), author: Author::User }),
        1 => (vhost(), -1..3_i64).prop_map(|(vhost, queues)| {
            Command::SetVhostLimits { vhost, limits: VhostLimits { connections: None, queues: Some(queues) } }
        }),
        1 => (vhost(), some()).prop_map(|(vhost, it)| Command::SetParameter {
            vhost: Some(vhost),
            component: name("federation-upstream"),
            name: name(it),
            value: serde_json::json!({"uri": "amqp://"}),
        }),
        1 => Just(Command::PutUser { name: name("u"), password: None, tags: vec![name("administrator")] }),
        1 => vhost().prop_map(|vhost| Command::SetPermissions {
            user: name("u"),
            vhost,
            permissions: Permissions {
                configure: Pattern::new(".*").unwrap(),
                write: Pattern::new("").unwrap(),
                read: Pattern::new("^a").unwrap(),
            },
        }),
    ]
}

fn written(meta: &Meta) -> Vec<Vec<u8>> {
    meta.durable()
        .map(|command| postcard::to_stdvec(&command).unwrap())
        .collect()
}

proptest! {
    /// What is written down makes the same again, and so does the log of the commands that had to be written.
    #[test]
    fn a_restart_finds_what_was_durable(commands in prop::collection::vec(command(), 1..60)) {
        let mut meta = new();
        let mut log: Vec<Vec<u8>> = vec![postcard::to_stdvec(&Command::AddVhost { name: name("/"), description: String::new() }).unwrap()];
        for command in commands {
            // Written as it is when it has been checked: with the number of a queue that it makes.
            let is_durable = meta.is_durable(&command);
            let Ok(Some(mut work)) = meta.check(command) else { continue };
            let write = |command: &Command| postcard::to_stdvec(command).unwrap();
            log.extend(work.command().filter(|_| is_durable).map(write));
            while !meta.carry_on(&mut work, &mut Vec::new()).unwrap() {}
            log.extend(work.consequences().iter().map(write));
        }
        for octets in [written(&meta), log] {
            let mut again = Meta::default();
            again.again(true);
            for command in octets {
                again.apply(postcard::from_bytes(&command).unwrap()).ok();
            }
            let ids = |meta: &Meta| -> Vec<String> {
                meta.vhosts().flat_map(|(vhost, it)| it.queues().filter(|(_, queue)| queue.outlives_restarts()).map(move |(name, _)| format!("{vhost} {name}"))).collect()
            };
            prop_assert_eq!(ids(&again), ids(&meta));
            let exchanges = |meta: &Meta| -> Vec<String> {
                meta.vhosts().flat_map(|(vhost, it)| it.exchanges().filter(|(_, exchange)| exchange.durable).map(move |(name, _)| format!("{vhost} {name}"))).collect()
            };
            prop_assert_eq!(exchanges(&again), exchanges(&meta));
            let bindings = |meta: &Meta| meta.durable().filter(|command| matches!(command, Command::Bind { .. })).count();
            prop_assert_eq!(bindings(&again), bindings(&meta));
        }
        let mut again = Meta::default();
        for command in meta.durable() {
            prop_assert!(again.apply(command).is_ok());
        }
        prop_assert_eq!(written(&again), written(&meta));
    }
}

proptest! {
    /// What was checked is carried out, and what is refused has changed nothing.
    #[test]
    fn a_check_says_what_becomes_of_a_command(commands in prop::collection::vec(command(), 1..60)) {
        let mut meta = new();
        for command in commands {
            let before = written(&meta);
            let checked = meta.check(command.clone()).map(|work| work.is_some());
            match meta.apply(command) {
                Ok(done) => prop_assert_eq!(checked, Ok(!done.changes.is_empty())),
                Err(refusal) => {
                    prop_assert_eq!(checked, Err(refusal));
                    prop_assert_eq!(written(&meta), before);
                }
            }
            let queues = || meta.vhosts().flat_map(|(vhost, it)| it.queues().map(move |(name, queue)| (vhost, name, queue.id)));
            for (vhost, name, id) in queues() {
                let found = meta.queue(id).map(|(vhost, name, _)| (vhost, name));
                prop_assert_eq!(found, Some((vhost, name)));
            }
            prop_assert_eq!(meta.homes.len(), queues().count());
        }
    }
}

/// Metadata that somebody changes whenever it has been looked at.
struct Changing {
    meta: RefCell<Meta>,
    commands: RefCell<std::vec::IntoIter<Command>>,
    /// What was there at each look.
    throughout: RefCell<Option<BTreeSet<String>>>,
}

impl definitions::Look for Changing {
    fn look<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        let mut meta = self.meta.borrow_mut();
        let there = things(&meta);
        let throughout = self.throughout.take().map(|before| &before & &there);
        self.throughout.replace(Some(throughout.unwrap_or(there)));
        let seen = look(&meta);
        for command in self.commands.borrow_mut().by_ref().take(2) {
            meta.apply(command).ok();
        }
        seen
    }
}

/// What definitions have a place for, bindings with the numbers of their queues.
fn things(meta: &Meta) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (vhost, it) in meta.vhosts() {
        let queues = it.queues().filter(|(_, queue)| queue.exclusive.is_none());
        all.extend(queues.map(|(queue, _)| format!("queues {vhost} {queue}")));
        let exchanges = it.exchanges().map(|(exchange, _)| exchange);
        let exchanges = exchanges.filter(|name| !name.is_empty() && !name.starts_with("amq."));
        all.extend(exchanges.map(|exchange| format!("exchanges {vhost} {exchange}")));
        for binding in it.bindings().filter(|binding| !binding.source.is_empty()) {
            let (kind, to, id) = match &binding.destination {
                Destination::Queue(name) => match it.queue(name) {
                    Some(queue) if queue.exclusive.is_none() => ("queue", name, queue.id.0),
                    _ => continue,
                },
                Destination::Exchange(name) => ("exchange", name, 0),
            };
            all.insert(format!(
                "bindings {vhost} {} {kind} {to} {} {id}",
                binding.source, binding.key
            ));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it changes between two pieces.
    #[test]
    fn an_export_has_what_stays_once_and_nothing_without_what_it_needs(
        before in prop::collection::vec(command(), 1..60),
        meanwhile in prop::collection::vec(command(), 1..60),
    ) {
        // With limits that came later than what is beyond them no import would have all.
        let unlimited = |command: &Command| !matches!(command, Command::SetVhostLimits { .. });
        let mut meta = new();
        for command in before.into_iter().filter(unlimited) {
            meta.apply(command).ok();
        }
        let meanwhile: Vec<Command> = meanwhile.into_iter().filter(unlimited).collect();
        let changing = Changing {
            meta: RefCell::new(meta),
            commands: RefCell::new(meanwhile.into_iter()),
            throughout: RefCell::new(None),
        };
        let written = definitions::export(&changing).definitions;
        let text = |object: &serde_json::Value, field: &str| object[field].as_str().unwrap().to_owned();
        let count = |thing: &str| {
            let words: Vec<&str> = thing.split(' ').collect();
            let fields: &[&str] = match words[0] {
                "bindings" => &["vhost", "source", "destination_type", "destination", "routing_key"],
                _ => &["vhost", "name"],
            };
            let list = written[words[0]].as_array().unwrap().iter();
            list.filter(|object| fields.iter().zip(&words[1..]).all(|(field, word)| text(object, field) == *word)).count()
        };
        for thing in changing.throughout.take().unwrap() {
            prop_assert_eq!(count(&thing), 1, "{}", thing);
        }
        for list in ["queues", "exchanges"] {
            for object in written[list].as_array().unwrap() {
                let thing = format!("{list} {} {}", text(object, "vhost"), text(object, "name"));
                prop_assert_eq!(count(&thing), 1, "{}", thing);
            }
        }
        let mut again = Meta::default();
        let read = definitions::read(&written.to_string(), None, &mut |_| unreachable!("no passwords")).unwrap();
        for (object, command) in read.commands {
            prop_assert!(again.apply(command).is_ok(), "{}", object);
        }
    }
}

/// Carries out a command, and says how many pieces it took and the most that became different in one.
fn pieces(meta: &mut Meta, command: Command, size: impl Fn(&Meta) -> usize) -> (usize, usize) {
    let mut work = meta.check(command).unwrap().unwrap();
    let (mut changes, mut count, mut most) = (Vec::new(), 0, 0);
    loop {
        let (before, so_far) = (size(meta), changes.len());
        let done = meta.carry_on(&mut work, &mut changes).unwrap();
        count += 1;
        most = most.max(before.abs_diff(size(meta)).max(changes.len() - so_far));
        if done {
            return (count, most);
        }
    }
}

#[test]
fn much_work_is_done_in_pieces() {
    const MANY: usize = 2000;
    let mut meta = new();
    let bindings = |meta: &Meta| {
        let exchange = meta.vhost("/").and_then(|vhost| vhost.exchange("x"));
        exchange.map_or(0, |exchange| exchange.bindings())
    };
    let piece = super::vhost::PIECE + 1;
    for kind in [
        Kind::Direct,
        Kind::Fanout,
        Kind::Topic,
        Kind::Headers,
        Kind::ConsistentHash,
    ] {
        for command in [
            Command::DeleteQueue {
                vhost: name("/"),
                name: name("bound"),
            },
            Command::DeleteExchange {
                vhost: name("/"),
                name: name("x"),
                if_unused: false,
            },
        ] {
            all(
                &mut meta,
                [exchange("x", kind.clone()), queue("bound", Table::new())],
            );
            for number in 0..MANY {
                let mut bind = bind("x", "bound", &(number % 10 + 1).to_string());
                if let Command::Bind { binding, .. } = &mut bind {
                    binding.arguments = Table::new().with("n", Value::I64(number as i64));
                }
                meta.apply(bind).unwrap();
            }
            let (count, most) = pieces(&mut meta, command, bindings);
            assert!(
                count >= MANY / piece && most <= piece,
                "{kind:?}: {count}, {most}"
            );
            assert_eq!(bindings(&meta), 0);
        }
        let deleted = Command::DeleteExchange {
            vhost: name("/"),
            name: name("x"),
            if_unused: true,
        };
        meta.apply(deleted).unwrap();
    }
    all(
        &mut meta,
        (0..MANY).map(|number| queue(&format!("q{number}"), Table::new())),
    );
    let definition = serde_json::json!({"max-length": 3}).as_object().unwrap().clone();
    let set = Command::SetPolicy {
        vhost: name("/"),
        name: name("p"),
        author: Author::User,
        policy: Policy::new(Author::User, "^q", ApplyTo::All, definition, 0).unwrap(),
    };
    let limited = |meta: &Meta| {
        let queues = meta.vhost("/").unwrap().queues();
        queues.filter(|(_, queue)| queue.applied.is_some()).count()
    };
    let (count, most) = pieces(&mut meta, set, limited);
    assert!(count >= MANY / piece && most <= piece, "policy: {count}, {most}");
    assert_eq!(limited(&meta), MANY);
    all(
        &mut meta,
        (0..MANY).map(|number| exchange(&format!("e{number}"), Kind::Direct)),
    );
    let definition = serde_json::json!({"alternate-exchange": "a"});
    let definition = definition.as_object().unwrap().clone();
    let set = Command::SetPolicy {
        vhost: name("/"),
        name: name("x"),
        author: Author::User,
        policy: Policy::new(Author::User, "^e", ApplyTo::Exchanges, definition, 0).unwrap(),
    };
    let limited = |meta: &Meta| {
        let exchanges = meta.vhost("/").unwrap().exchanges();
        exchanges
            .filter(|(_, exchange)| exchange.applied.is_some())
            .count()
    };
    let (count, most) = pieces(&mut meta, set, limited);
    assert!(count >= MANY / piece && most <= piece, "policy: {count}, {most}");
    assert_eq!(limited(&meta), MANY);
    let clear = Command::ClearPolicy {
        vhost: name("/"),
        name: name("x"),
        author: Author::User,
    };
    let (count, most) = pieces(&mut meta, clear, limited);
    assert!(count >= MANY / piece && most <= piece, "policy: {count}, {most}");
    assert_eq!(limited(&meta), 0);
    let things = |meta: &Meta| {
        let count = |vhost: &Vhost| vhost.queues().count() + vhost.exchanges().count();
        meta.vhost("/").map_or(0, count)
    };
    let (count, most) = pieces(&mut meta, Command::DeleteVhost { name: name("/") }, things);
    assert!(
        count >= 2 * MANY / piece && most <= piece,
        "vhost: {count}, {most}"
    );
    assert!(meta.vhost("/").is_none());
}

/// Each exchange of a long chain goes with its last binding, which is to the one behind it: more than a stack has room for, and in pieces.
#[test]
fn a_long_chain_of_exchanges_goes_when_its_end_goes() {
    const LONG: usize = 8000;
    let is_there = |meta: &Meta| meta.vhost("/").unwrap().exchanges().count();
    for command in [
        Command::DeleteQueue {
            vhost: name("/"),
            name: name("end"),
        },
        Command::RemoveQueue { id: QueueId(1) },
        Command::Unbind {
            vhost: name("/"),
            binding: binding("e0", Destination::Queue(name("end")), ""),
        },
        Command::DeleteExchange {
            vhost: name("/"),
            name: name("e0"),
            if_unused: false,
        },
    ] {
        let mut meta = new();
        let before = is_there(&meta);
        let chain = (0..LONG).map(|number| Command::DeclareExchange {
            vhost: name("/"),
            name: name(&format!("e{number}")),
            kind: Kind::Fanout,
            durable: true,
            auto_delete: true,
            internal: false,
            arguments: Table::new(),
        });
        all(
            &mut meta,
            chain.chain([queue("end", Table::new()), bind("e0", "end", "")]),
        );
        let links =
            (1..LONG).map(|number| bind_exchange(&format!("e{number}"), &format!("e{}", number - 1), ""));
        all(&mut meta, links);
        let text = format!("{command:?}");
        let (_, most) = pieces(&mut meta, command, is_there);
        // Of each: it has other bindings, and it goes.
        assert!(most <= 2 * (super::vhost::PIECE + 1), "{text}: {most}");
        assert_eq!(is_there(&meta), before, "{text}");
    }
}

#[test]
fn a_queue_keeps_its_number_over_restarts_and_no_other_gets_it() {
    let mut meta = new();
    all(&mut meta, [queue("a", Table::new()), queue("b", Table::new())]);
    let mut transient = queue("t", Table::new());
    if let Command::DeclareQueue { durable, .. } = &mut transient {
        *durable = false;
    }
    all(&mut meta, [transient, queue("z", Table::new())]);
    meta.apply(Command::DeleteQueue {
        vhost: name("/"),
        name: name("z"),
    })
    .unwrap();
    let commands: Vec<Command> = meta.durable().collect();
    let mut again = Meta::default();
    all(&mut again, commands);
    assert_eq!(again.vhost("/").unwrap().queue("b").unwrap().id, QueueId(2));
    again.apply(queue("c", Table::new())).unwrap();
    assert_eq!(
        again.vhost("/").unwrap().queue("c").unwrap().id,
        QueueId(5),
        "neither that of the queue that did not outlive the restart nor that of the deleted one"
    );
    again.apply(Command::NumberQueuesAfter { last: 900 }).unwrap();
    again.apply(queue("d", Table::new())).unwrap();
    assert_eq!(again.vhost("/").unwrap().queue("d").unwrap().id, QueueId(901));
}
