//! Logs that earlier versions of the format left are opened. A version that is written by a release stays here for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use warren_store::{Batch, Disk, Log, Message, MessageId, Options, Place, RealDisk, Recovered, StreamId};

fn open(directory: &Path) -> (Log, Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = Options {
        segment_octets: 64 << 10,
        ..Options::default()
    };
    Log::open(directory, disk, options, |_| {}).unwrap()
}

fn fixture(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
}

fn append(log: &Log, position: u64) {
    let mut batch = Batch::new();
    batch.message(Message {
        id: MessageId {
            incarnation: 1,
            sequence: 100 + position,
        },
        places: &[1, 2].map(|stream| Place {
            stream: StreamId(stream),
            position,
            tag: 7,
        }),
        head: &[b"exchange", b"key"],
        body: &[Bytes::from(format!("message {position}"))],
    });
    log.wait(log.append(batch).unwrap()).unwrap();
}

/// What the fixture is: five messages in two queues in a sealed segment, three more and two acknowledgements behind the checkpoint.
fn write(directory: &Path) {
    let (log, _) = open(directory);
    (0..5).for_each(|position| append(&log, position));
    drop(log);
    let (log, _) = open(directory);
    (5..8).for_each(|position| append(&log, position));
    log.wait(log.settle(StreamId(1), &[1..=2, 6..=6]).unwrap())
        .unwrap();
    std::mem::forget(log);
}

#[test]
#[ignore = "writes the fixture of a new version: NEW=v2"]
fn write_fixture() {
    let (new, original) = (
        fixture(&std::env::var("NEW").unwrap()),
        tempfile::tempdir().unwrap(),
    );
    write(original.path());
    fs::create_dir_all(&new).unwrap();
    for entry in fs::read_dir(original.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "lock" || name.ends_with("spare") {
            continue;
        }
        let mut octets = fs::read(&path).unwrap();
        if name.ends_with("segment") {
            // Without most of the room behind what was written, which ends with zeros itself.
            octets.truncate(octets.iter().rposition(|octet| *octet != 0).unwrap() + 64);
        }
        fs::write(new.join(name), octets).unwrap();
    }
}

#[test]
fn version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("v1")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
    }
    let (log, recovered) = open(directory.path());
    assert_eq!(
        (recovered.incarnation, recovered.replayed, recovered.torn),
        (3, 4, None)
    );
    let positions: Vec<_> = [1, 2]
        .map(|stream| {
            let stored = log.fetch(StreamId(stream), 0, 100, u64::MAX).unwrap();
            for one in &stored {
                assert_eq!(one.body, format!("message {}", one.position));
                assert_eq!(
                    (&one.head[..], one.tag, one.id.sequence),
                    (&b"exchangekey"[..], 7, 100 + one.position)
                );
            }
            stored.iter().map(|one| one.position).collect::<Vec<_>>()
        })
        .into();
    assert_eq!(positions, [vec![0, 3, 4, 5, 7], (0..8).collect()]);
}
