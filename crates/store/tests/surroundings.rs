//! A log whose surroundings are not as it wants them: what an operator, another process or a full disk does to its directory.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use warren_store::{
    Batch, Disk, Log, Message, MessageId, OpenError, Options, Place, Progress, RealDisk, SimulatedDisk,
    StreamId, Weather,
};

const QUEUE: StreamId = StreamId(7);

fn small() -> Options {
    Options {
        segment_octets: 64 << 10,
        ..Options::default()
    }
}

fn open(disk: &Arc<dyn Disk>, directory: &Path) -> Log {
    Log::open(directory, disk.clone(), small(), |_| {}).unwrap().0
}

fn message(position: u64, body: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.message(Message {
        id: MessageId {
            incarnation: 1,
            sequence: position,
        },
        places: &[Place {
            stream: QUEUE,
            position,
            tag: 3,
        }],
        head: &[b"exchange", b"key"],
        body: &[Bytes::copy_from_slice(body)],
    });
    batch
}

/// Whoever takes the messages can make room only from a log that opens.
#[test]
fn a_log_on_a_disk_that_is_full_to_the_last_octet_opens_and_has_its_messages() {
    let simulated = SimulatedDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let directory = Path::new("/data");
    let log = open(&disk, directory);
    log.wait(log.append(message(1, b"kept")).unwrap()).unwrap();
    drop(log);
    simulated.set_weather(Weather {
        capacity: Some(simulated.files().iter().map(|(_, size)| size).sum()),
        ..Weather::default()
    });
    let log = open(&disk, directory);
    assert_eq!(&log.fetch(QUEUE, 0, 9, 999).unwrap()[0].body[..], b"kept");
    log.wait(log.settle(QUEUE, &[1..=1]).unwrap()).unwrap();
}

#[test]
fn a_directory_that_has_lost_its_node_file_gets_no_other() {
    let simulated = SimulatedDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let directory = Path::new("/data");
    drop(open(&disk, directory));
    disk.remove(&directory.join("node")).unwrap();
    let before = simulated.files();
    let refused = Log::open(directory, disk, small(), |_| {}).err().unwrap();
    assert!(
        matches!(&refused, OpenError::Missing { path, .. } if path.ends_with("node")),
        "{refused}"
    );
    assert_eq!(simulated.files(), before, "nothing was changed");
}

#[test]
fn a_log_whose_directory_is_taken_away_ends() {
    let away = |directory: &Path| std::fs::rename(directory, directory.with_extension("away")).unwrap();
    let taken = |directory: &Path| {
        // Whoever removes the lock lets a second one in.
        std::fs::remove_file(directory.join("lock")).unwrap();
        drop(Log::open(directory, Arc::new(RealDisk), small(), |_| {}).unwrap());
    };
    for fate in [&away as &dyn Fn(&Path), &taken] {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data");
        let (said, heard) = sync_channel(9);
        let (log, _) = Log::open(&directory, Arc::new(RealDisk), small(), move |what| {
            if let Progress::Failed(why) = what {
                said.send(why.to_string()).unwrap();
            }
        })
        .unwrap();
        fate(&directory);
        let why = heard.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(
            why.contains("data/node") && why.contains("removed or replaced"),
            "{why}"
        );
        // It was said before anybody else can meet it.
        let end = Instant::now() + Duration::from_secs(20);
        while log.append(message(1, b"nobody would find it")).is_ok() {
            assert!(Instant::now() < end, "messages are taken");
        }
    }
}

#[test]
fn an_error_of_the_system_says_what_to_do_about_it() {
    use io::ErrorKind;
    for (source, advice) in [
        (ErrorKind::StorageFull.into(), "df -i"),
        (ErrorKind::ReadOnlyFilesystem.into(), "mount it"),
        (ErrorKind::PermissionDenied.into(), "chown"),
        (io::Error::from_raw_os_error(24), "LimitNOFILE"),
        (ErrorKind::FileTooLarge.into(), "LimitFSIZE"),
        (ErrorKind::WouldBlock.into(), "TasksMax"),
    ] {
        let path = "/data/node".into();
        let said = OpenError::Disk { path, source }.to_string();
        assert!(said.contains(advice), "{said}");
    }
}
