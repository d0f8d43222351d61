//! A deep backlog: what it costs in memory and at a start. A process of its own, because it measures itself.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use warren_store::{Batch, Disk, Log, Message, MessageId, Options, Place, RealDisk, Recovered, StreamId};

const MESSAGES: u64 = 1_000_000;
const QUEUE: StreamId = StreamId(1);

fn open(directory: &Path) -> (Log, Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Log::open(directory, disk, Options::default(), |_| {}).unwrap()
}

/// Octets of a line of `/proc/self/status`.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_million_messages_cost_neither_memory_nor_time_at_the_next_start() {
    // `SIZE=1024` is the figure of the benchmarks; small ones are harder on the index.
    let size = std::env::var("SIZE").map_or(64, |size| size.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let before = memory("VmRSS:");
    let (log, _) = open(directory.path());
    let body = Bytes::from(vec![7; size]);
    for from in (0..MESSAGES).step_by(100) {
        let mut batch = Batch::new();
        for position in from..from + 100 {
            batch.message(Message {
                id: MessageId::default(),
                places: &[Place {
                    stream: QUEUE,
                    position,
                    tag: 0,
                }],
                head: &[b"exchange and key"],
                body: std::slice::from_ref(&body),
            });
        }
        log.append(batch).unwrap();
    }
    log.wait(log.append(Batch::new()).unwrap()).unwrap();
    let filled = memory("VmRSS:").saturating_sub(before);
    // All of it is read, a little at a time.
    let mut next = 0;
    while let Some(last) = log.fetch(QUEUE, next, 500, 1 << 20).unwrap().last() {
        next = last.position + 1;
    }
    assert_eq!(next, MESSAGES);
    let peak = memory("VmHWM:").saturating_sub(before);
    drop(log);
    let (_log, recovered) = open(directory.path());
    assert_eq!(recovered.streams[0].octets, MESSAGES * size as u64);
    println!(
        "{filled} octets after filling, {peak} at most, start in {:?}",
        recovered.elapsed
    );
    assert!(filled < 40 << 20, "{filled} octets after filling");
    assert!(peak < 64 << 20, "{peak} octets at most");
    // A start reads none of the messages: seconds would mean that it does.
    assert!(recovered.elapsed.as_millis() < 1000, "{:?}", recovered.elapsed);
}
