//! What the log costs: appending with group commit, settling, reading back, recovery.
//!
//! `cargo bench -p warren-store`; on another disk with `TMPDIR=/dev/shm`. The benches on the machine's disk mostly measure that disk: the
//! encoding and a simulated disk tell what is ours.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use warren_store::{
    Batch, Disk, Log, Message, MessageId, Options, Place, RealDisk, Recovered, SimulatedDisk, StreamId,
};

fn main() {
    divan::main();
}

const QUEUE: StreamId = StreamId(1);
const LAST: StreamId = StreamId(u64::MAX);

fn open(disk: &Arc<dyn Disk>, directory: &Path) -> (Log, Recovered) {
    Log::open(directory, disk.clone(), Options::default(), |_| {}).unwrap()
}

fn message(batch: &mut Batch, stream: StreamId, position: u64, body: &Bytes) {
    batch.message(Message {
        id: MessageId {
            incarnation: 1,
            sequence: position,
        },
        places: &[Place {
            stream,
            position,
            tag: 0,
        }],
        head: &[b"exchange", b"routing.key", &[0; 24]],
        body: std::slice::from_ref(body),
    });
}

fn batch(log: &Log, from: u64, count: u64, body: &Bytes) -> Batch {
    let mut batch = log.batch();
    for position in from..from + count {
        message(&mut batch, QUEUE, position, body);
    }
    batch
}

/// Encoding and summing, in the appender's thread.
#[divan::bench(args = [16, 1024, 65536])]
fn encode_64_messages(bencher: Bencher<'_, '_>, size: usize) {
    let body = Bytes::from(vec![7; size]);
    let mut batch = Batch::new();
    bencher.counter(ItemsCount::new(64_usize)).bench_local(|| {
        batch.clear();
        for position in 0..64 {
            message(&mut batch, QUEUE, position, &body);
        }
        batch.octets()
    });
}

/// Appends, consumes and settles 16 384 messages of 1 KiB, `count` in a batch, with up to 1000 of them on their way.
fn publish_and_settle(log: &Log, next: &mut u64, count: u64) {
    let body = Bytes::from(vec![7; 1024]);
    let mut tickets = std::collections::VecDeque::new();
    for _ in 0..16_384 / count {
        tickets.push_back(log.append(batch(log, *next, count, &body)).unwrap());
        *next += count;
        if tickets.len() as u64 * count > 1000 {
            log.wait(tickets.pop_front().unwrap()).unwrap();
        }
        if next.is_multiple_of(128) {
            log.settle(QUEUE, &[0..=next.saturating_sub(1000)]).unwrap();
        }
    }
    log.wait(*tickets.back().unwrap()).unwrap();
}

#[divan::bench(args = [1, 16, 64], sample_count = 10)]
fn append_1_kib_real_disk(bencher: Bencher<'_, '_>, count: u64) {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory.path());
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(16_384_usize))
        .bench_local(|| publish_and_settle(&log, &mut next, count));
}

#[divan::bench(args = [1, 16, 64], sample_count = 10)]
fn append_1_kib_fast_disk(bencher: Bencher<'_, '_>, count: u64) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (log, _) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory.path());
    let mut next = 0;
    bencher
        .counter(ItemsCount::new(16_384_usize))
        .bench_local(|| publish_and_settle(&log, &mut next, count));
}

/// One message, durable, and then the next: one fdatasync and what we add.
#[divan::bench(sample_count = 200, sample_size = 1)]
fn one_durable_message_real_disk(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory.path());
    let body = Bytes::from(vec![7; 128]);
    let mut next = 0;
    bencher.bench_local(|| {
        next += 1;
        log.wait(log.append(batch(&log, next, 1, &body)).unwrap())
            .unwrap();
    });
}

fn filled(directory: &Path, messages: u64, size: usize) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (log, _) = open(&disk, directory);
    let body = Bytes::from(vec![7; size]);
    for from in (0..messages).step_by(64) {
        log.append(batch(&log, from, 64, &body)).unwrap();
    }
    kill(log, directory);
}

/// Leaves the directory as a kill does at the worst moment: with nearly a segment behind the checkpoint.
fn kill(log: Log, directory: &Path) {
    drop(log);
    let (log, _) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory);
    let body = Bytes::from(vec![7; 1024]);
    for from in (0..28_000).step_by(100) {
        let mut batch = Batch::new();
        (from..from + 100).for_each(|position| message(&mut batch, LAST, position, &body));
        log.append(batch).unwrap();
    }
    log.wait(log.append(Batch::new()).unwrap()).unwrap();
    // Without the checkpoint of a clean end.
    std::mem::forget(log);
}

/// 256 messages of 1 KiB out of a backlog, one after another.
#[divan::bench(sample_count = 100)]
fn fetch_256_from_a_backlog(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (log, _) = open(&disk, directory.path());
    let body = Bytes::from(vec![7; 1024]);
    for from in (0..200_000).step_by(64) {
        log.append(batch(&log, from, 64, &body)).unwrap();
    }
    log.wait(log.append(Batch::new()).unwrap()).unwrap();
    let mut from = 0;
    bencher.counter(ItemsCount::new(256_usize)).bench_local(|| {
        let stored = log.fetch(QUEUE, from, 256, u64::MAX).unwrap();
        from = (from + 256) % 199_000;
        assert_eq!(stored.len(), 256);
        stored
    });
}

/// Recovery after a kill, with a million messages of 1 KiB in one queue.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn recover_a_million_of_1_kib(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 1_000_000, 1024);
    recover(bencher, directory.path());
}

/// The same for 100 000 queues with ten small messages each.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn recover_100_000_queues_of_ten(bencher: Bencher<'_, '_>) {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory.path());
    let body = Bytes::from(vec![7; 128]);
    for position in 0..10 {
        for from in (0..100_000).step_by(100) {
            let mut batch = Batch::new();
            (from..from + 100).for_each(|stream| message(&mut batch, StreamId(stream), position, &body));
            log.append(batch).unwrap();
        }
    }
    kill(log, directory.path());
    recover(bencher, directory.path());
}

/// Opens a copy of the directory each time, as opening changes it, though not the segments. The log that was forgotten has the lock of the original.
fn recover(bencher: Bencher<'_, '_>, original: &Path) {
    // Beside it, on the same file system.
    let copies = tempfile::tempdir_in(original.parent().unwrap()).unwrap();
    bencher
        .with_inputs(|| {
            let copy = tempfile::tempdir_in(&copies).unwrap();
            for entry in std::fs::read_dir(original).unwrap() {
                let (from, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
                let copied = match from.extension().is_some_and(|kind| kind == "segment") {
                    true => std::fs::hard_link(from, copy.path().join(name)),
                    false => std::fs::copy(from, copy.path().join(name)).map(drop),
                };
                // The log that was forgotten still prepares empty segments, which get another name when they are ready.
                match copied {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    copied => copied.unwrap(),
                }
            }
            copy
        })
        .bench_local_values(|copy| {
            let (log, recovered) = open(&(Arc::new(RealDisk) as Arc<dyn Disk>), copy.path());
            assert_eq!(
                recovered.streams.iter().map(|one| one.messages).sum::<u64>(),
                1_028_000
            );
            // Only the start is measured.
            (log, copy)
        });
}

/// Settling one message after another out of the middle of a million, as slow consumers do.
#[divan::bench]
fn settle_single_positions(bencher: Bencher<'_, '_>) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let (log, _) = open(&disk, Path::new("/data"));
    let body = Bytes::new();
    for from in (0..1_000_000).step_by(1000) {
        log.append(batch(&log, from, 1000, &body)).unwrap();
    }
    let mut next = 0;
    bencher.counter(ItemsCount::new(64_usize)).bench_local(|| {
        let mut batch = Batch::new();
        for _ in 0..64 {
            next = (next + 7919) % 1_000_000;
            batch.settle(QUEUE, &[next..=next]);
        }
        log.wait(log.append(batch).unwrap()).unwrap();
    });
}
