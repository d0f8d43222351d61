//! A process with a real disk, killed.

use std::ffi::OsStr;

use super::*;
use crate::process::{Broker, DIRECTORY};
use warren_store::RealDisk;

const TEST: &str = "killed::nothing_confirmed_is_lost_when_the_broker_is_killed";

/// The broker: this test, started again.
fn serve(directory: &Path) -> ! {
    runtime(2).block_on(async {
        let (node, address) = start(directory, Arc::new(RealDisk)).await;
        println!("listens {address}");
        let mut failure = node.failure();
        failure.changed().await.ok();
        panic!("{:?}", failure.borrow());
    })
}

/// The broker as a process of its own, with `environment` besides what there is.
pub(crate) fn spawn(directory: &Path, environment: &[(&str, &OsStr)]) -> Broker {
    Broker::of(TEST, directory, environment)
}

#[test]
fn nothing_confirmed_is_lost_when_the_broker_is_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        serve(Path::new(&directory));
    }
    let seed = number("SEED", 1);
    let directory = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let record = Arc::new(Record::with_room());
    let publishers = Arc::<AtomicU32>::default();
    let runtime = runtime(2);
    let scene = |address| Scene {
        address,
        record: Arc::clone(&record),
        publishers: Arc::clone(&publishers),
    };
    for _ in 0..number("ROUNDS", 100) {
        let broker = spawn(directory.path(), &[]);
        let life = Duration::from_millis(rng.random_range(0..500));
        runtime.block_on(play(&Arc::new(scene(broker.at)), &mut rng, async {
            tokio::time::sleep(life).await;
            drop(broker);
        }));
    }
    let broker = spawn(directory.path(), &[]);
    runtime.block_on(check(&scene(broker.at)));
    let [published, confirmed, delivered, flushed, _] = record.sums();
    println!(
        "published {published}, confirmed {confirmed}, delivered {delivered}, settled for sure {flushed}, compared {}",
        record.compared()
    );
    assert!(confirmed > 0 && delivered > 0 && flushed > 0 && record.compared() > 0);
}
