//! Brokers that die in the middle of everything, and what their clients find afterwards.
//!
//! Clients publish with unique ids and confirms, over many connections and to all kinds of queues, consume, settle, give
//! back, go away, purge and delete. The broker is killed at a random moment and started again, many times; at last every
//! queue is emptied. Then: nothing that was confirmed and not settled is missing; nothing comes that was not published; each
//! consumer sees what is new of a publisher in order; what comes twice says so; what was settled, with something confirmed
//! after it on the same connection, does not come back; what was refused nobody ever sees; where it is counted how often a message came
//! back, that is not less than what was on disk of it, and not more than it can have been given out.
//!
//! Once with a process and SIGKILL, once with a disk that loses whatever was not synced. `SEED=` starts with another seed,
//! `ROUNDS=` lasts longer.

mod behind;
mod client;
mod clock;
mod delayed;
mod figures;
mod process;
mod record;
mod work;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rand::prelude::*;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use warren_broker::alarms::DiskLimit;
use warren_broker::{Member, Node, Settings};
use warren_store::{Disk, Options};

use record::Record;
use work::{QUEUES, Scene};

mod killed;
mod paged;
mod simulated;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn runtime(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap()
}

/// Says that segments are as large as they are elsewhere.
const LARGE: &str = "WARREN_CRASH_LARGE";

/// Small segments, so that short histories fill and free many.
fn options() -> Options {
    let mut options = Options::default();
    if std::env::var_os(LARGE).is_none() {
        options.segment_octets = 1 << 20;
    }
    options
}

/// Opens a node, and listens.
async fn start(directory: &Path, disk: Arc<dyn Disk>) -> (Arc<Node>, SocketAddr) {
    open(Member::alone_on(disk, directory, options()).unwrap()).await
}

/// The same with what is under it.
async fn open(member: Member) -> (Arc<Node>, SocketAddr) {
    let settings = Settings {
        // Disks of these tests are small: only a full one is short.
        disk_free_limit: DiskLimit::Octets(0),
        ..Settings::default()
    };
    let (node, _) = Node::open("rabbit@crash".to_owned(), settings, member).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(warren_broker::serve(Arc::clone(&node), listener));
    (node, address)
}

/// Clients, until `end` of the broker.
async fn play(scene: &Arc<Scene>, rng: &mut StdRng, end: impl Future<Output = ()>) {
    scene.record.started();
    // An earlier end may have come between a deletion and the declaration after it.
    let furnished = work::furnish(scene.address).await;
    let mut tasks = JoinSet::new();
    if furnished.is_ok() {
        for _ in 0..3 {
            tasks.spawn(again(Arc::clone(scene), rng.random(), work::publish));
        }
        for _ in 0..5 {
            tasks.spawn(again(Arc::clone(scene), rng.random(), work::consume));
        }
        tasks.spawn(again(Arc::clone(scene), rng.random(), work::keep));
        tasks.spawn(again(Arc::clone(scene), rng.random(), work::wipe));
    }
    end.await;
    while let Some(ended) = tasks.join_next().await {
        if let Err(panicked) = ended {
            std::panic::resume_unwind(panicked.into_panic());
        }
    }
}

/// A client after another, until the broker is gone.
async fn again<F>(scene: Arc<Scene>, seed: u64, client: fn(Arc<Scene>, StdRng) -> F)
where
    F: Future<Output = Result<(), client::Gone>>,
{
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let ended = client(Arc::clone(&scene), StdRng::seed_from_u64(rng.random())).await;
        if ended.is_err() && client::Client::open(scene.address).await.is_err() {
            return;
        }
    }
}

/// Empties all queues, and compares.
async fn check(scene: &Scene) {
    scene.record.started();
    // The end may have come between a deletion and a declaration.
    work::furnish(scene.address).await.unwrap();
    for queue in QUEUES {
        let drained = tokio::time::timeout(Duration::from_secs(60), work::drain(scene, queue)).await;
        let drained = drained.unwrap_or_else(|_| panic!("{queue} does not give what it says it has"));
        scene.record.check_drained(queue, &drained.unwrap());
    }
}
