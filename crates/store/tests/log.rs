//! A log with its threads, on a simulated disk and on the real one.

use std::any::Any;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{fs, io};

use bytes::Bytes;
use warren_store::{
    AppendError, Batch, Disk, DiskFile, Durability, Log, Message, MessageId, OpenError, Options, Place,
    Progress, RealDisk, Recovered, SimulatedDisk, StreamId, Ticket, Weather,
};

const QUEUE: StreamId = StreamId(7);

fn small() -> Options {
    Options {
        segment_octets: 64 << 10,
        ..Options::default()
    }
}

fn open(disk: &Arc<dyn Disk>, directory: &Path) -> (Log, Recovered) {
    Log::open(directory, disk.clone(), small(), |_| {}).unwrap()
}

fn add(batch: &mut Batch, stream: StreamId, position: u64, body: &[u8]) {
    batch.message(Message {
        id: MessageId {
            incarnation: 1,
            sequence: position,
        },
        places: &[Place {
            stream,
            position,
            tag: 3,
        }],
        head: &[b"exchange", b"key"],
        body: &[Bytes::copy_from_slice(body)],
    });
}

fn message(position: u64, body: &[u8]) -> Batch {
    let mut batch = Batch::new();
    add(&mut batch, QUEUE, position, body);
    batch
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_was_appended_is_read_back_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (log, recovered) = open(&disk, directory.path());
    assert!(recovered.new && recovered.streams.is_empty());
    let large = vec![5; 300 << 10];
    let mut last = log.append(message(0, b"first")).unwrap();
    for position in 1..1000 {
        last = log
            .append(message(position, &position.to_le_bytes().repeat(40)))
            .unwrap();
    }
    // Larger than a segment.
    last = log.append(message(1000, &large)).unwrap().max(last);
    log.wait(last).unwrap();
    log.wait(log.settle(QUEUE, &[0..=0, 10..=499]).unwrap()).unwrap();
    let check = |log: &Log| {
        let stored = log.fetch(QUEUE, 0, 20, u64::MAX).unwrap();
        let positions: Vec<_> = stored.iter().map(|one| one.position).collect();
        assert_eq!(positions, (1..10).chain(500..511).collect::<Vec<_>>());
        assert_eq!(stored[9].body, Bytes::from(500_u64.to_le_bytes().repeat(40)));
        assert_eq!((&stored[9].head[..], stored[9].tag), (&b"exchangekey"[..], 3));
        assert_eq!(stored[9].id.sequence, 500);
        let stored = log.fetch(QUEUE, 1000, 20, 1).unwrap();
        assert_eq!(stored[0].body, large);
        assert!(log.fetch(QUEUE, 1001, 20, u64::MAX).unwrap().is_empty());
    };
    check(&log);
    drop(log);
    let (log, recovered) = open(&disk, directory.path());
    assert_eq!(
        (recovered.incarnation, recovered.new, recovered.replayed),
        (2, false, 0)
    );
    let [state] = recovered.streams[..] else {
        panic!("{recovered:?}")
    };
    assert_eq!(
        (state.stream, state.messages, state.first, state.next),
        (QUEUE, 510, Some(1), 1001)
    );
    assert_eq!(state.octets, 509 * 320 + (300 << 10));
    check(&log);
}

#[test]
fn recovery_says_how_much_there_is_to_read_and_that_it_has_read_it() {
    let disk = SimulatedDisk::default();
    let path = Path::new("/data");
    let (log, _) = open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), path);
    let mut last = None;
    for position in 0..100 {
        last = Some(log.append(message(position, &[1; 3000])).unwrap());
    }
    log.wait(last.unwrap()).unwrap();
    // A process that was killed leaves segments, one that ended leaves what was said about them.
    let killed = disk.copy();
    drop(log);
    for (disk, at_least) in [(killed, 64 << 10), (disk, 4096)] {
        let options = small();
        assert_eq!(options.recovery.octets(), (0, 0));
        let opened = Log::open(path, Arc::new(disk), options.clone(), |_| {});
        let (read, all) = options.recovery.octets();
        assert!(read == all && all >= at_least, "{read} of {all}");
        drop(opened);
    }
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (_log, _) = open(&disk, directory.path());
    let error = Log::open(directory.path(), disk, small(), |_| {}).err().unwrap();
    let OpenError::Locked { holder, .. } = error else {
        panic!("{error}")
    };
    assert!(
        holder.starts_with(&format!("pid {} on ", std::process::id())),
        "{holder}"
    );
}

#[test]
fn many_batches_share_a_sync_however_fast_the_disk_is() {
    let disk = SimulatedDisk::new(Weather::default());
    let (log, _) = open(&(Arc::new(disk) as Arc<dyn Disk>), Path::new("/data"));
    let tickets: Vec<_> = (0..2000)
        .map(|position| log.append(message(position, &[1; 100])).unwrap())
        .collect();
    log.wait(*tickets.last().unwrap()).unwrap();
    let statistics = log.statistics();
    assert_eq!((statistics.batches, statistics.messages), (2000, 2000));
    assert!(statistics.writes < 500, "{statistics:?}");
}

#[test]
fn progress_tells_the_highest_durable_ticket_once_for_many() {
    let (tell, told) = sync_channel(10_000);
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let log = Log::open(Path::new("/data"), disk, small(), move |progress| {
        tell.send(progress).unwrap()
    });
    let (log, _) = log.unwrap();
    let tickets: Vec<_> = (0..100)
        .map(|position| log.append(message(position, b"")).unwrap())
        .collect();
    let mut calls = 0;
    loop {
        let Progress::Durable(durable) = told.recv().unwrap() else {
            panic!()
        };
        calls += 1;
        if tickets[99].is_durable(durable) {
            break;
        }
        assert!(calls < 100);
    }
}

#[test]
fn a_failed_sync_ends_the_log_and_nothing_is_durable_afterwards() {
    let (tell, told) = sync_channel(10_000);
    let disk = SimulatedDisk::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = Log::open(Path::new("/data"), shared, small(), move |progress| {
        tell.send(progress).unwrap()
    });
    let (log, _) = log.unwrap();
    log.wait(log.append(message(1, b"kept")).unwrap()).unwrap();
    disk.set_weather(Weather {
        sync_fails_at: Some(disk.syncs() + 1),
        ..Weather::default()
    });
    let ticket = log.append(message(2, b"lost")).unwrap();
    let error = log.wait(ticket).unwrap_err();
    assert!(error.to_string().contains("the process has to end"), "{error}");
    assert!(log.append(message(3, b"refused")).is_err());
    assert!(!ticket.is_durable(log.durable()));
    let failed = told
        .try_iter()
        .filter(|one| matches!(one, Progress::Failed(_)))
        .count();
    assert_eq!(failed, 1);
}

#[test]
fn a_thread_of_the_log_that_panics_ends_the_log_for_all_who_wait() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let log = Log::open(Path::new("/data"), disk, small(), |progress| {
        assert!(!matches!(progress, Progress::Durable(_)), "a defect")
    });
    let (log, _) = log.unwrap();
    let mut next = 0..;
    eventually("the log has ended", || {
        let mut batch = message(next.next().unwrap(), b"");
        matches!(log.try_append(&mut batch), Err(AppendError::Fatal(_)))
    });
    assert!(log.wait(Ticket(u64::MAX)).is_err());
}

#[test]
fn what_waits_for_a_disk_that_does_not_write_is_bounded_however_many_append() {
    const APPENDERS: u64 = 32;
    let (disk, limit) = (SimulatedDisk::default(), 512 << 10);
    let options = Options {
        segment_octets: 2 * limit,
        ..Options::default()
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) = Log::open(Path::new("/data"), shared, options, |_| {}).unwrap();
    disk.set_weather(Weather {
        syncs_wait: true,
        ..Weather::default()
    });
    let start = Barrier::new(APPENDERS as usize);
    let append = |appender: u64| {
        start.wait();
        let mut taken = None;
        for position in 0.. {
            let mut batch = Batch::new();
            add(&mut batch, StreamId(appender), position, &[1; 30_000]);
            match log.try_append(&mut batch) {
                Ok(ticket) => taken = Some(ticket),
                Err(AppendError::Busy { waiting }) if log.behind().is_some() => {
                    assert!(waiting as u64 <= limit, "{waiting}");
                    break;
                }
                Err(AppendError::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        taken
    };
    let append = &append;
    let taken: Vec<Ticket> = std::thread::scope(|scope| {
        let appenders: Vec<_> = (1..=APPENDERS)
            .map(|appender| scope.spawn(move || append(appender)))
            .collect();
        let taken = appenders.into_iter().filter_map(|one| one.join().unwrap());
        taken.collect()
    });
    let waiting = log.statistics().waiting;
    assert!(waiting <= limit && waiting > limit / 2, "{waiting}");
    let last = taken.into_iter().max().unwrap();
    assert!(!last.is_durable(log.durable()));
    disk.set_weather(Weather::default());
    log.wait(last).unwrap();
    assert_eq!(log.behind(), None);
}

#[test]
fn a_consumed_backlog_gives_its_segments_back() {
    let disk = SimulatedDisk::default();
    let (log, _) = open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new("/data"));
    for position in 0..3000 {
        log.append(message(position, &[1; 1000])).unwrap();
    }
    let last = log.settle(QUEUE, &[0..=2999]).unwrap();
    log.wait(last).unwrap();
    eventually("fewer than ten files", || disk.files().len() < 10);
    assert!(log.statistics().segments <= 1);
    drop(log);
    let (_, recovered) = open(&(Arc::new(disk) as Arc<dyn Disk>), Path::new("/data"));
    assert_eq!(
        (recovered.streams[0].messages, recovered.streams[0].next),
        (0, 3000)
    );
}

/// A disk that counts the files that were made for segments.
struct Counted {
    disk: RealDisk,
    made: AtomicUsize,
}

impl Disk for Counted {
    fn create(&self, path: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        if size == small().segment_octets {
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        let file = self.disk.create(path, size)?;
        let octets = fs::metadata(path)?.blocks() * 512;
        assert!(octets >= size, "{octets} of {size} octets are there");
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_directory(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        self.disk.free(path)
    }

    fn lock(
        &self,
        path: &Path,
        holder: &str,
    ) -> Result<Box<dyn Any + Send + Sync>, Result<String, io::Error>> {
        self.disk.lock(path, holder)
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }
}

#[test]
fn files_have_their_room_from_the_start_and_are_used_again() {
    const SEGMENTS: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let counted = Arc::new(Counted {
        disk: RealDisk,
        made: AtomicUsize::new(0),
    });
    let disk: Arc<dyn Disk> = counted.clone();
    let (log, _) = open(&disk, directory.path());
    let mut next = 0;
    while log.statistics().segments_used < SEGMENTS {
        for _ in 0..50 {
            log.append(message(next, &[1; 1000])).unwrap();
            next += 1;
        }
        log.wait(log.settle(QUEUE, &[0..=next - 1]).unwrap()).unwrap();
        // A disk that does nothing for a while frees none meanwhile, and others are made.
        eventually("what is settled is freed", || {
            let figures = log.statistics();
            figures.segments_used - figures.segments_freed <= 3
        });
    }
    let made = counted.made.load(Ordering::Relaxed);
    println!("{made} files were made for {SEGMENTS} segments");
    assert!(made < 20, "{made} files were made for {SEGMENTS} segments");
}

#[test]
fn a_few_survivors_do_not_keep_segments() {
    let disk = SimulatedDisk::default();
    let (log, _) = open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), Path::new("/data"));
    let mut next = 0;
    // Every fiftieth message stays: one or two in each segment.
    eventually("old survivors were moved", || {
        for _ in 0..50 {
            log.append(message(next, &[1; 1000])).unwrap();
            next += 1;
        }
        log.wait(log.settle(QUEUE, &[next - 50..=next - 2]).unwrap())
            .unwrap();
        let statistics = log.statistics();
        statistics.moved > 100 && statistics.segments * 4 < statistics.segments_used
    });
    let survivors = |log: &Log| -> Vec<u64> {
        let stored = log.fetch(QUEUE, 0, usize::MAX, u64::MAX).unwrap();
        stored.iter().map(|one| one.position).collect()
    };
    let expected: Vec<_> = (0..next / 50).map(|index| index * 50 + 49).collect();
    assert_eq!(survivors(&log), expected);
    drop(log);
    let (log, recovered) = open(&(Arc::new(disk) as Arc<dyn Disk>), Path::new("/data"));
    assert_eq!(survivors(&log), expected);
    assert_eq!(recovered.streams[0].octets, expected.len() as u64 * 1000);
}

#[test]
fn a_full_disk_refuses_messages_and_takes_acknowledgements() {
    let disk = SimulatedDisk::new(Weather {
        capacity: Some(1 << 20),
        ..Weather::default()
    });
    let (log, _) = open(&(Arc::new(disk) as Arc<dyn Disk>), Path::new("/data"));
    let mut next = 0;
    eventually("messages are refused", || {
        let taken = log.append(message(next, &[1; 1000]));
        let taken = taken.map(|ticket| log.wait(ticket).unwrap());
        next += u64::from(taken.is_ok());
        taken.is_err()
    });
    assert!(next > 500 && log.is_full(), "{next}");
    for position in 0..next {
        log.wait(log.settle(QUEUE, &[position..=position]).unwrap())
            .unwrap();
    }
    eventually("there is room again", || !log.is_full());
    log.wait(log.append(message(next, &[1; 1000])).unwrap()).unwrap();
}

#[test]
fn a_log_that_is_opened_on_a_full_disk_refuses_messages_until_there_is_room() {
    let options = Options {
        durability: Durability::Volatile,
        ..small()
    };
    let disk = SimulatedDisk::new(Weather {
        capacity: Some(32 << 10),
        ..Weather::default()
    });
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) = Log::open(Path::new("/spill"), shared, options, |_| {}).unwrap();
    let refused = log.append(message(1, b"no room"));
    assert!(matches!(refused, Err(AppendError::Full)), "{refused:?}");
    disk.set_weather(Weather::default());
    eventually("there is room", || !log.is_full());
    log.wait(log.append(message(2, b"taken")).unwrap()).unwrap();
}

#[test]
fn a_volatile_log_starts_empty_and_never_syncs() {
    let disk = SimulatedDisk::default();
    let options = || Options {
        durability: Durability::Volatile,
        ..small()
    };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (log, _) = Log::open(Path::new("/spill"), shared.clone(), options(), |_| {}).unwrap();
    let before = disk.syncs();
    for position in 0..1000 {
        log.append(message(position, &[1; 1000])).unwrap();
    }
    log.wait(log.append(message(1000, b"")).unwrap()).unwrap();
    assert_eq!(log.fetch(QUEUE, 5, 1, 1).unwrap()[0].position, 5);
    // Segments are sealed, and become free.
    log.settle(QUEUE, &[0..=900]).unwrap();
    eventually("segments are free", || log.statistics().segments_freed > 5);
    assert_eq!(log.fetch(QUEUE, 950, 1, 1).unwrap()[0].position, 950);
    assert_eq!(disk.syncs(), before);
    drop(log);
    let (_, recovered) = Log::open(Path::new("/spill"), shared, options(), |_| {}).unwrap();
    assert!(recovered.streams.is_empty());
}

#[test]
fn what_left_a_volatile_log_can_come_back_to_it() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let options = Options {
        durability: Durability::Volatile,
        ..small()
    };
    let (log, _) = Log::open(Path::new("/spill"), disk, options, |_| {}).unwrap();
    for position in [2, 4] {
        log.wait(log.append(message(position, b"first")).unwrap())
            .unwrap();
    }
    // Some of these are there, and some never were.
    log.wait(log.settle(QUEUE, &[1..=5]).unwrap()).unwrap();
    assert!(log.fetch(QUEUE, 0, 10, u64::MAX).unwrap().is_empty());
    for position in [4, 2, 3] {
        log.wait(log.append(message(position, b"again")).unwrap())
            .unwrap();
    }
    let found = log.fetch(QUEUE, 0, 10, u64::MAX).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|stored| (stored.position, &stored.body[..]))
        .collect();
    assert_eq!(found, [(2, &b"again"[..]), (3, b"again"), (4, b"again")]);
}

#[test]
fn a_message_in_many_queues_is_stored_once_and_stays_until_the_last_has_settled_it() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let (log, _) = open(&disk, Path::new("/data"));
    let places: Vec<_> = (1..=10)
        .map(|queue| Place {
            stream: StreamId(queue),
            position: 100 * queue,
            tag: queue as u32,
        })
        .collect();
    let mut batch = Batch::new();
    batch.message(Message {
        id: MessageId::default(),
        places: &places,
        head: &[],
        body: &[Bytes::from(vec![9; 10_000])],
    });
    assert!(batch.octets() < 11_000);
    log.wait(log.append(batch).unwrap()).unwrap();
    for queue in 1..=10 {
        let stored = log.fetch(StreamId(queue), 0, 10, u64::MAX).unwrap();
        assert_eq!((stored[0].position, stored[0].tag), (100 * queue, queue as u32));
        assert_eq!(stored[0].body.len(), 10_000);
        log.wait(log.settle(StreamId(queue), &[0..=100 * queue]).unwrap())
            .unwrap();
    }
    assert_eq!(log.statistics().live, 0);
}

#[test]
fn a_removed_stream_is_gone_and_what_comes_late_for_it_is_ignored() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let (log, _) = open(&disk, Path::new("/data"));
    let mut batch = message(1, b"gone");
    batch.remove(QUEUE);
    add(&mut batch, QUEUE, 2, b"late");
    add(&mut batch, StreamId(8), 2, b"other");
    log.wait(log.append(batch).unwrap()).unwrap();
    assert!(log.fetch(QUEUE, 0, 10, 1000).unwrap().is_empty());
    drop(log);
    let (_, recovered) = open(&disk, Path::new("/data"));
    assert_eq!(
        recovered
            .streams
            .iter()
            .map(|state| state.stream)
            .collect::<Vec<_>>(),
        [StreamId(8)]
    );
}

#[test]
fn an_acknowledgement_that_overtakes_its_message_counts() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    let (log, _) = open(&disk, Path::new("/data"));
    log.append(message(1, b"1")).unwrap();
    log.settle(QUEUE, &[3..=3]).unwrap();
    log.append(message(2, b"2")).unwrap();
    log.wait(log.append(message(3, b"3")).unwrap()).unwrap();
    let positions = |log: &Log| -> Vec<u64> {
        let stored = log.fetch(QUEUE, 0, 10, 1000).unwrap();
        stored.iter().map(|one| one.position).collect()
    };
    assert_eq!(positions(&log), [1, 2]);
    drop(log);
    let (log, _) = open(&disk, Path::new("/data"));
    assert_eq!(positions(&log), [1, 2]);
}

#[test]
fn a_position_that_was_only_settled_can_be_used_after_a_restart() {
    let simulated = SimulatedDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let directory = Path::new("/data");
    let (log, _) = open(&disk, directory);
    log.settle(QUEUE, &[0..=9]).unwrap();
    drop(log);
    // Its checkpoint says that the positions are settled, and nothing is behind it.
    let (log, _) = open(&disk, directory);
    log.wait(log.append(message(4, b"new")).unwrap()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(simulated.after_power_cut(&mut || false));
    let (log, recovered) = open(&disk, directory);
    assert_eq!(recovered.streams[0].messages, 1);
    assert_eq!(log.fetch(QUEUE, 0, 9, 999).unwrap()[0].position, 4);
}
