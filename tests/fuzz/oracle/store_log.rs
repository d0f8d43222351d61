//! What must hold for whatever is found in a data directory. Shared by the fuzz target and by the test that replays its corpus.
//!
//! The first octet of an input says what the rest is:
//! - `d`: descriptors of a batch, put into a frame and a segment whose sums are right;
//! - `c`: a checkpoint, except that its magic, version and sum are made right;
//! - anything else: what is done to the files of a healthy log, four octets each: file, offset (two), bits to flip.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use warren_store::{
    Batch, Disk, Log, Message, MessageId, OpenError, Options, Place, Recovered, SimulatedDisk, StreamId,
};

/// Whether the log opened with all that it had been. Panics if something does not add up then.
pub(crate) fn accepted(input: &[u8]) -> bool {
    let (kind, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut disk = healthy().copy();
    match kind {
        b'd' => {
            // A directory that promises nothing.
            disk = SimulatedDisk::default();
            drop(open(&disk).unwrap());
            disk.put(Path::new("/data/00000001.segment"), segment(rest));
        }
        b'c' => {
            let mut checkpoint = [b"WarrnChk\x01\0\0\0\0\0\0\0", rest].concat();
            let crc = crc32c::crc32c(&checkpoint[16..]).to_le_bytes();
            checkpoint[12..16].copy_from_slice(&crc);
            disk.put(Path::new("/data/checkpoint"), checkpoint);
        }
        _ => {
            let files = disk.files().into_iter().map(|(path, _)| path);
            // There are more or fewer spares, as it happens.
            let files: Vec<PathBuf> = files
                .filter(|path| !path.to_string_lossy().ends_with("spare"))
                .collect();
            for change in rest.chunks_exact(4) {
                let path = &files[usize::from(change[0]) % files.len()];
                let at = usize::from(u16::from_le_bytes([change[1], change[2]]));
                disk.damage(path, |octets| {
                    if let Some(octet) = octets.get_mut(at) {
                        *octet ^= change[3];
                    }
                });
            }
        }
    }
    let Ok((log, recovered)) = open(&disk) else {
        return false;
    };
    let messages = count(&log, &recovered);
    drop(log);
    // What opened once opens again and says the same, unless a message in it is damaged.
    let (log, again) = open(&disk).unwrap();
    assert_eq!(again.streams, recovered.streams);
    assert_eq!(count(&log, &again), messages);
    // And it can be emptied.
    for stream in &again.streams {
        log.wait(log.settle(stream.stream, &[0..=u64::MAX]).unwrap())
            .unwrap();
    }
    assert_eq!(log.statistics().live, 0);
    recovered.torn.is_none()
}

fn open(disk: &SimulatedDisk) -> Result<(Log, Recovered), OpenError> {
    let options = Options {
        segment_octets: 64 << 10,
        ..Options::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(Path::new("/data"), disk, options, |_| {})
}

/// Messages of all streams; `None` if one cannot be read.
fn count(log: &Log, recovered: &Recovered) -> Option<u64> {
    let mut messages = 0;
    for state in &recovered.streams {
        let (mut from, mut found) = (0, 0);
        while let Some(last) = log.fetch(state.stream, from, 100, 10_000).ok()?.last() {
            assert!(last.position >= from && last.position < state.next);
            found += 1;
            let stored = log.fetch(state.stream, from, 1, 0).ok()?;
            from = stored[0].position + 1;
        }
        assert_eq!(found, state.messages);
        messages += found;
    }
    Some(messages)
}

/// A log with a sealed segment and an open one.
fn healthy() -> &'static SimulatedDisk {
    static HEALTHY: OnceLock<SimulatedDisk> = OnceLock::new();
    HEALTHY.get_or_init(|| {
        let disk = SimulatedDisk::default();
        let append = |log: &Log, position| {
            let mut batch = Batch::new();
            batch.message(Message {
                id: MessageId::default(),
                places: &[1, 2].map(|stream| Place {
                    stream: StreamId(stream),
                    position,
                    tag: 0,
                }),
                head: &[b"head"],
                body: &[Bytes::from_static(b"body")],
            });
            log.wait(log.append(batch).unwrap()).unwrap();
        };
        let (log, _) = open(&disk).unwrap();
        (0..5).for_each(|position| append(&log, position));
        drop(log);
        let (log, _) = open(&disk).unwrap();
        (5..9).for_each(|position| append(&log, position));
        log.wait(log.settle(StreamId(1), &[2..=6]).unwrap()).unwrap();
        let copy = disk.copy();
        drop(log);
        copy
    })
}

/// A segment with one frame, as `format` in the crate draws it. Its messages have no content but their heads' zeros.
fn segment(descriptors: &[u8]) -> Vec<u8> {
    let (mut content, mut count, mut rest) = (Vec::new(), 0_u32, descriptors);
    while rest.len() >= 16 {
        let number = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let width = match rest[0] {
            1 | 4 => {
                let mut block = [0; 32];
                let crc = crc32c::crc32c(&block[4..]).to_le_bytes();
                block[..4].copy_from_slice(&crc);
                content.extend_from_slice(&block);
                20
            }
            2 => 16,
            _ => 0,
        };
        let end = (number(4) as usize).saturating_mul(width).saturating_add(16);
        rest = rest.get(end..).unwrap_or_default();
        count += 1;
    }
    let sum = |octets: &mut [u8], at: usize, from: &[std::ops::Range<usize>]| {
        let crc = from
            .iter()
            .fold(0, |crc, range| crc32c::crc32c_append(crc, &octets[range.clone()]));
        octets[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    };
    let mut header = [0; 48];
    header[..8].copy_from_slice(b"WarrnLog");
    header[8] = 1;
    header[16..32].copy_from_slice(b"simulated octets");
    header[32] = 1;
    sum(&mut header, 12, &[0..12, 16..48]);
    let mut frame = [0; 48];
    frame[..4].copy_from_slice(b"\xF5Wfr");
    frame[8] = 1;
    frame[12..16].copy_from_slice(&count.to_le_bytes());
    frame[32..36].copy_from_slice(&(descriptors.len() as u32).to_le_bytes());
    frame[36..40].copy_from_slice(&(content.len() as u32).to_le_bytes());
    frame[40..44].copy_from_slice(&crc32c::crc32c(descriptors).to_le_bytes());
    sum(&mut frame, 4, &[8..8, 8..48]);
    [&header, &frame, descriptors, &content[..]].concat()
}
