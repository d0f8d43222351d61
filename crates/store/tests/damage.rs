//! A log whose files are cut off, changed bit by bit, copied over each other or missing: it opens with everything that was confirmed, or says
//! which file is wrong, where, and what to do. It never opens with less and says nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use warren_store::{
    Batch, Disk, Log, Message, MessageId, OpenError, Options, Place, ReadError, SimulatedDisk, StreamId,
};

const QUEUE: StreamId = StreamId(7);

type Open = Result<(Log, warren_store::Recovered), OpenError>;

fn open(disk: &SimulatedDisk) -> Open {
    let options = Options {
        segment_octets: 64 << 10,
        ..Options::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(Path::new("/data"), disk, options, |_| {})
}

fn append(log: &Log, position: u64, size: usize) {
    let mut batch = Batch::new();
    batch.message(Message {
        id: MessageId::default(),
        places: &[Place {
            stream: QUEUE,
            position,
            tag: 0,
        }],
        head: &[b"head"],
        body: &[Bytes::from(vec![position as u8; size])],
    });
    log.wait(log.append(batch).unwrap()).unwrap();
}

fn positions(log: &Log) -> Vec<u64> {
    let stored = log.fetch(QUEUE, 0, usize::MAX, u64::MAX).unwrap();
    stored.iter().map(|one| one.position).collect()
}

/// The disk of a process that was killed after each of ten small messages had been confirmed.
fn killed() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (log, _) = open(&disk).unwrap();
    for position in 0..10 {
        append(&log, position, 40);
    }
    log.wait(log.settle(QUEUE, &[2..=3]).unwrap()).unwrap();
    append(&log, 10, 40);
    let copy = disk.copy();
    drop(log);
    copy
}

const CONFIRMED: [u64; 9] = [0, 1, 4, 5, 6, 7, 8, 9, 10];

fn segment() -> PathBuf {
    PathBuf::from("/data/00000001.segment")
}

/// End of the last frame.
fn end(disk: &SimulatedDisk) -> usize {
    let mut end = 0;
    disk.damage(&segment(), |octets| {
        end = octets.iter().rposition(|octet| *octet != 0).unwrap() + 1
    });
    end
}

/// Where the last frame begins: only it can be missing without a trace, as nothing behind it tells that it was safe.
fn last_frame(disk: &SimulatedDisk) -> usize {
    let mut last = 0;
    disk.damage(&segment(), |octets| {
        last = octets
            .windows(4)
            .rposition(|four| four == [0xF5, b'W', b'f', b'r'])
            .unwrap()
    });
    last
}

#[test]
fn every_bit_of_a_segment_matters() {
    let disk = killed();
    let (last, end) = (last_frame(&disk), end(&disk));
    let (mut torn, mut refused) = (0, 0);
    for bit in 0..end * 8 {
        let disk = disk.copy();
        disk.damage(&segment(), |octets| octets[bit / 8] ^= 1 << (bit % 8));
        match open(&disk) {
            Ok((log, recovered)) => {
                // The last batch cannot be told from one that was being written.
                assert!(bit / 8 >= last, "bit {bit} changed and nobody noticed");
                assert_eq!(positions(&log), CONFIRMED[..8]);
                torn += u64::from(recovered.torn.is_some());
            }
            Err(error) => {
                assert!(bit / 8 < last, "{error}");
                let text = error.to_string();
                assert!(text.contains("/data/00000001.segment"), "{text}");
                assert!(
                    text.contains("use the program") || text.contains("put back a copy"),
                    "{text}"
                );
                refused += 1;
            }
        }
    }
    assert!(torn > 0 && refused == last * 8, "{torn} {refused} {last}");
}

#[test]
fn every_truncation_is_told_or_harmless() {
    let disk = killed();
    let end = end(&disk);
    let mut told = 0;
    for length in 0..=end {
        let disk = disk.copy();
        disk.damage(&segment(), |octets| octets.truncate(length));
        let log = match open(&disk) {
            Ok((log, _)) => log,
            // That the first batch was synced is known.
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("00000001.segment is damaged at octet"), "{text}");
                told += 1;
                continue;
            }
        };
        // What is behind the cut is gone with all evidence of it: that is what a torn tail is. What is left is a prefix.
        let found = positions(&log);
        assert!(!found.is_empty() && is_prefix(&found), "{found:?}");
        assert!(length < end || found == CONFIRMED);
    }
    assert!(told > 48 && told < 300, "{told}");
}

/// By an operator, by a file system after a crash, or as part of a copy that was never whole.
#[test]
fn a_newest_segment_that_is_lost_is_missed() {
    // As the first of its log, and behind others that a checkpoint has.
    let behind = sealed();
    let (log, _) = open(&behind).unwrap();
    append(&log, 200, 40);
    let both = [killed(), behind.copy()];
    drop(log);
    for disk in both {
        let newest = named(&disk, ".segment").pop().unwrap();
        let empty = |octets: &mut Vec<u8>| octets.clear();
        let zeros = |octets: &mut Vec<u8>| octets.fill(0);
        let only_a_head = |octets: &mut Vec<u8>| octets[48..].fill(0);
        for loss in [
            None,
            Some(&empty as &dyn Fn(&mut Vec<u8>)),
            Some(&zeros),
            Some(&only_a_head),
        ] {
            let disk = disk.copy();
            match loss {
                None => disk.remove(&newest).unwrap(),
                Some(change) => disk.damage(&newest, change),
            }
            // Nor is it forgotten.
            for _ in 0..2 {
                let error = open(&disk).err().expect("confirmed messages are missing");
                assert!(
                    match (&error, loss) {
                        (OpenError::Missing { path, .. }, None) => *path == newest,
                        (OpenError::Corrupt { path, .. }, Some(_)) => *path == newest,
                        _ => false,
                    },
                    "{error}"
                );
            }
        }
        open(&disk).unwrap();
    }
}

/// What the first batches said, and no others.
fn is_prefix(found: &[u64]) -> bool {
    let prefix = |settled: &[u64]| {
        let left = (0..=10).filter(|one| !settled.contains(one));
        left.take(found.len()).collect::<Vec<_>>()
    };
    found == prefix(&[]) || found == prefix(&[2, 3])
}

#[test]
fn a_batch_that_is_there_twice_does_not_count_twice_and_what_it_has_replaced_is_missed() {
    let (disk, mut octets) = (killed(), Vec::new());
    let end = end(&disk);
    disk.damage(&segment(), |all| octets.clone_from(all));
    let is_frame = |at: &usize| octets[*at..].starts_with(&[0xF5, b'W', b'f', b'r']);
    let starts: Vec<usize> = (0..end).filter(is_frame).chain([end]).collect();
    assert_eq!(starts.len(), 13);
    for from in starts.windows(2) {
        let frame = &octets[from[0]..from[1]];
        for (number, to) in starts.iter().enumerate().filter(|(_, to)| **to != from[0]) {
            let disk = disk.copy();
            disk.damage(&segment(), |octets| {
                octets[*to..to + frame.len()].copy_from_slice(frame);
            });
            match open(&disk) {
                Ok((log, _)) => {
                    let found = positions(&log);
                    // Of the last two there may be nothing left that tells of them.
                    assert!(is_prefix(&found) && number >= 10, "{number}: {found:?}");
                    assert!(*to < end || found == CONFIRMED, "{found:?}");
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(*to < end && text.contains("/data/00000001.segment"), "{text}");
                }
            }
        }
    }
}

/// The disk of a log with some sealed segments, closed.
fn sealed() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (log, _) = open(&disk).unwrap();
    for position in 0..200 {
        append(&log, position, 1000);
    }
    drop(log);
    disk
}

fn named(disk: &SimulatedDisk, kind: &str) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.to_str().unwrap().ends_with(kind))
        .collect()
}

#[test]
fn a_segment_under_another_name_is_recognised() {
    let disk = sealed();
    let segments = named(&disk, ".segment");
    assert!(segments.len() > 3);
    let mut contents = BTreeMap::new();
    for path in &segments {
        disk.damage(path, |octets| drop(contents.insert(path.clone(), octets.clone())));
    }
    for from in &segments {
        // Over another one, and behind the last.
        for to in segments
            .iter()
            .filter(|to| *to != from)
            .chain([&PathBuf::from("/data/000000ff.segment")])
        {
            let disk = disk.copy();
            disk.put(to, contents[from].clone());
            let error = open(&disk).err().unwrap().to_string();
            assert!(
                error.contains("it is a copy of segment") && error.contains(to.to_str().unwrap()),
                "{error}"
            );
        }
    }
}

#[test]
fn a_file_that_is_missing_or_short_is_named() {
    let disk = sealed();
    for path in [
        named(&disk, ".segment"),
        named(&disk, ".slots"),
        named(&disk, "checkpoint"),
    ]
    .concat()
    {
        let without = disk.copy();
        without.remove(&path).unwrap();
        let error = open(&without).err().unwrap();
        assert!(
            matches!(&error, OpenError::Missing { path: missing, .. } if *missing == path),
            "{error}"
        );
        let short = disk.copy();
        short.damage(&path, |octets| octets.truncate(octets.len() / 3));
        let error = open(&short).err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn every_octet_of_a_checkpoint_and_of_the_node_file_matters() {
    let disk = sealed();
    for path in [PathBuf::from("/data/checkpoint"), PathBuf::from("/data/node")] {
        let mut length = 0;
        disk.damage(&path, |octets| length = octets.len());
        for at in 0..length {
            let disk = disk.copy();
            disk.damage(&path, |octets| octets[at] ^= 0x10);
            let error = open(&disk)
                .err()
                .unwrap_or_else(|| panic!("octet {at} of {} changed", path.display()));
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }
}

#[test]
fn a_damaged_message_is_named_and_the_others_are_read() {
    let disk = sealed();
    let path = &named(&disk, ".segment")[0];
    // Inside the body of the second message or so.
    disk.damage(path, |octets| octets[1500] ^= 1);
    let (log, _) = open(&disk).unwrap();
    let before = log.fetch(QUEUE, 0, 10, u64::MAX).unwrap();
    let bad = before.last().unwrap().position + 1;
    let error = log.fetch(QUEUE, bad, 10, u64::MAX).unwrap_err();
    let ReadError::Corrupt {
        path: named,
        position,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((named, *position), (path, bad));
    assert_eq!(log.statistics().damaged, 1);
    assert_eq!(
        log.fetch(QUEUE, bad + 1, 1000, u64::MAX)
            .unwrap()
            .last()
            .unwrap()
            .position,
        199
    );
}

#[test]
fn a_data_directory_of_another_node_is_refused() {
    let (one, other) = (sealed(), sealed());
    // The simulated disk gives every node the same name.
    one.damage(Path::new("/data/node"), |octets| {
        *octets = summed(&std::str::from_utf8(octets).unwrap().replace("id 73", "id 74"));
    });
    let error = open(&one).err().unwrap().to_string();
    assert!(error.contains("belongs to another node"), "{error}");
    assert!(open(&other).is_ok());
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    type Newer = fn(&mut Vec<u8>);
    let checkpoint: Newer = |octets| octets[8] = 9;
    let node: Newer = |octets| {
        let text = std::str::from_utf8(octets)
            .unwrap()
            .replace("version 1", "version 9");
        *octets = summed(&text);
    };
    let segment: Newer = |octets| {
        octets[8] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&octets[..12]), &octets[16..48]);
        octets[12..16].copy_from_slice(&crc.to_le_bytes());
    };
    let slots: Newer = |octets| {
        octets[8] = 9;
        let crc = crc32c::crc32c(&octets[..36]);
        octets[36..40].copy_from_slice(&crc.to_le_bytes());
    };
    for (name, newer) in [
        ("checkpoint", checkpoint),
        ("00000001.slots", slots),
        ("node", node),
        ("00000001.segment", segment),
    ] {
        // Nobody reads sealed segments at a start.
        let disk = if name == "00000001.segment" {
            killed()
        } else {
            sealed()
        };
        let file = Path::new("/data").join(name);
        disk.damage(&file, newer);
        let error = open(&disk).err().unwrap();
        assert!(
            matches!(&error, OpenError::Version { found: 9, path, .. } if *path == file),
            "{error}"
        );
        let said = error.to_string();
        assert!(
            said.contains("format version 9, this program reads up to 1") && said.contains("use the program"),
            "{said}"
        );
    }
}

/// A node file with this text and the right sum.
fn summed(text: &str) -> Vec<u8> {
    let text = text.split("crc ").next().unwrap();
    format!("{text}crc {:08x}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}
