//! What a publisher notices of somebody's much work on the metadata, in which each of its messages is looked up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use warren_amqp::client::Event;
use warren_amqp::{Method, Table, basic, confirm};
use warren_model::meta::{ApplyTo, Author, Binding, Command, Destination, Policy};
use warren_model::routing::Kind;

use super::Node;
use crate::testing::{Client, declare, eventually, name, node};

const MANY: usize = 10_000;

/// Binds one queue very often.
fn bind(node: &Node, kind: Kind) {
    let vhost = || name("/");
    let exchange = Command::DeclareExchange {
        vhost: vhost(),
        name: name("much"),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::new(),
    };
    node.apply(exchange).unwrap();
    node.apply(declare("/", "bound")).unwrap();
    for number in 0..MANY {
        let binding = Binding {
            source: name("much"),
            destination: Destination::Queue(name("bound")),
            key: name("1"),
            arguments: Table::new().with("n", warren_amqp::Value::I64(number as i64)),
        };
        let vhost = vhost();
        node.apply(Command::Bind { vhost, binding }).unwrap();
    }
}

fn many_queues(node: &Node, vhost: &str) {
    for number in 0..MANY {
        node.apply(declare(vhost, &format!("q{number}"))).unwrap();
    }
}

/// Publishes one message after another, none of which goes where an earlier one went.
struct Publisher {
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    confirmed: AtomicU64,
    /// Nanoseconds that the slowest confirm took.
    longest: AtomicU64,
    over: AtomicBool,
}

impl Publisher {
    async fn start(address: SocketAddr) -> Self {
        let mut client = Client::open(address).await;
        client.call(confirm::Select::default()).await;
        let seen = Arc::<Seen>::default();
        let task = tokio::spawn(publish(client, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// How long something took, and the longest that a confirm took meanwhile, the one included that came after it.
    async fn during(&self, work: impl FnOnce()) -> (Duration, Duration) {
        self.seen.longest.store(0, Relaxed);
        let started = Instant::now();
        tokio::task::block_in_place(work);
        let took = started.elapsed();
        let confirmed = self.seen.confirmed.load(Relaxed);
        eventually("there is another confirm", || {
            self.seen.confirmed.load(Relaxed) > confirmed
        })
        .await;
        (took, Duration::from_nanos(self.seen.longest.load(Relaxed)))
    }

    async fn stop(self) {
        self.seen.over.store(true, Relaxed);
        self.task.await.unwrap();
    }
}

async fn publish(mut client: Client, seen: Arc<Seen>) {
    while !seen.over.load(Relaxed) {
        let started = Instant::now();
        let number = seen.confirmed.load(Relaxed);
        client.publish(&format!("to nobody {number}"), false, b"?").await;
        let event = client.event().await;
        let confirmed = matches!(
            event,
            Event::Method {
                method: Method::Basic(basic::Method::Ack(_)),
                ..
            }
        );
        assert!(confirmed, "{event:?}");
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap();
        seen.longest.fetch_max(took, Relaxed);
        seen.confirmed.fetch_add(1, Relaxed);
    }
}

/// A publisher does not wait for the whole of a long work, nor for much of it: some times longer than when nothing is done, or a small
/// part of what it takes. Others use the machine, so there are some attempts.
async fn hardly_noticed(prepare: impl Fn(&Node), work: impl Fn(&Node)) {
    let mut seen = Vec::new();
    for _ in 0..8 {
        let (node, address) = node().await;
        tokio::task::block_in_place(|| prepare(&node));
        let publisher = Publisher::start(address).await;
        let (took, noticed) = publisher.during(|| work(&node)).await;
        let (_, quiet) = publisher.during(|| std::thread::sleep(took)).await;
        publisher.stop().await;
        if noticed <= took / 4 || noticed <= quiet * 4 {
            return;
        }
        seen.push((took, noticed, quiet));
    }
    panic!("took, noticed, quiet: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_waits_until_a_queue_with_ten_thousand_bindings_is_gone() {
    for kind in [Kind::Headers, Kind::ConsistentHash] {
        let delete = |node: &Node| {
            let (vhost, name) = (name("/"), name("bound"));
            node.apply(Command::DeleteQueue { vhost, name }).unwrap();
        };
        hardly_noticed(|node| bind(node, kind.clone()), delete).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_waits_until_an_exchange_with_ten_thousand_bindings_is_gone() {
    let delete = |node: &Node| {
        let deleted = Command::DeleteExchange {
            vhost: name("/"),
            name: name("much"),
            if_unused: false,
        };
        node.apply(deleted).unwrap();
    };
    hardly_noticed(|node| bind(node, Kind::Headers), delete).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_waits_until_ten_thousand_queues_have_another_policy() {
    let set = |node: &Node| {
        let definition = serde_json::json!({"max-length": 3}).as_object().unwrap().clone();
        let set = Command::SetPolicy {
            vhost: name("/"),
            name: name("p"),
            author: Author::User,
            policy: Policy::new(Author::User, "^q", ApplyTo::All, definition, 0).unwrap(),
        };
        node.apply(set).unwrap();
    };
    hardly_noticed(|node| many_queues(node, "/"), set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nobody_waits_until_ten_thousand_queues_are_imported_or_gone_with_their_vhost() {
    let import = |node: &Node| {
        let queues: Vec<_> = (0..MANY)
            .map(|number| serde_json::json!({"name": format!("q{number}"), "vhost": "v"}))
            .collect();
        let file = serde_json::json!({"vhosts": [{"name": "v"}], "queues": queues});
        let imported = node.import_definitions(&file.to_string(), None).unwrap();
        assert_eq!(imported.done, MANY + 1);
    };
    hardly_noticed(|_| {}, import).await;
    hardly_noticed(import, |node| {
        node.apply(Command::DeleteVhost { name: name("v") }).unwrap();
        assert!(node.queues().0.is_empty());
    })
    .await;
}
