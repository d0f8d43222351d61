//! The node in this process, with a disk that loses what was not synced.

use super::*;
use warren_store::{SimulatedDisk, Weather};

/// One node's history: some power cuts, then the end.
fn history(seed: u64) -> [usize; 4] {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut disk = SimulatedDisk::default();
    let (record, publishers) = (Arc::<Record>::default(), Arc::<AtomicU32>::default());
    let clients = runtime(1);
    let scene = |address| Scene {
        address,
        record: Arc::clone(&record),
        publishers: Arc::clone(&publishers),
    };
    let directory = Path::new("/data");
    for _ in 0..rng.random_range(1..5) {
        let broker = runtime(2);
        let (node, address) = broker.block_on(start(directory, Arc::new(disk.clone())));
        let life = disk.operations() + rng.random_range(1..200);
        let weather = match rng.random_range(0..4) {
            0 => Weather {
                sync_fails_at: Some(disk.syncs() + rng.random_range(1..100)),
                ..Weather::default()
            },
            _ => Weather {
                power_cut_at: Some(life),
                ..Weather::default()
            },
        };
        disk.set_weather(weather);
        let mut failure = node.failure();
        clients.block_on(play(&Arc::new(scene(address)), &mut rng, async {
            // The disk fails sooner or later; what is in a disk's memory is lost when the power goes, not when a sync fails.
            let late = tokio::time::timeout(Duration::from_secs(5), failure.changed()).await;
            drop(late);
            let cut = Weather {
                power_cut_at: Some(0),
                ..Weather::default()
            };
            disk.set_weather(cut);
            drop(node);
            broker.shutdown_background();
        }));
        disk = disk.after_power_cut(&mut || rng.random());
    }
    let broker = runtime(2);
    let (_node, address) = broker.block_on(start(directory, Arc::new(disk)));
    clients.block_on(check(&scene(address)));
    record.sums()
}

#[test]
fn nothing_confirmed_is_lost_with_the_power() {
    let first = number("SEED", 1);
    let mut sums = [0; 4];
    for seed in first..first + number("SEEDS", 30) {
        println!("SEED={seed}");
        let more = history(seed);
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    println!("published, confirmed, delivered, settled for sure: {sums:?}");
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
}
