//! A process with a log is killed in the middle of its work, again and again: what it had said was durable is there. The process is this
//! test, started a second time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use warren_store::{Batch, Disk, Log, Message, MessageId, Options, Place, RealDisk, Recovered, StreamId};

const DIRECTORY: &str = "WARREN_STORE_KILL_DIRECTORY";
const QUEUE: StreamId = StreamId(1);

fn open(directory: &Path) -> (Log, Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = Options {
        segment_octets: 256 << 10,
        ..Options::default()
    };
    Log::open(directory, disk, options, |_| {}).unwrap()
}

fn body(position: u64) -> Vec<u8> {
    position.to_le_bytes().repeat(1 + position as usize % 300)
}

/// Appends and settles, and says so only when it is durable: `+ position`, `- position`.
fn work(directory: &Path) -> ! {
    let (log, recovered) = open(directory);
    let mut next = recovered.streams.first().map_or(0, |state| state.next);
    let mut settled = recovered
        .streams
        .first()
        .and_then(|state| state.first)
        .unwrap_or(0);
    let mut out = std::io::stdout().lock();
    loop {
        let mut tickets = Vec::new();
        for position in next..next + 20 {
            let mut batch = Batch::new();
            batch.message(Message {
                id: MessageId {
                    incarnation: recovered.incarnation,
                    sequence: position,
                },
                places: &[Place {
                    stream: QUEUE,
                    position,
                    tag: 0,
                }],
                head: &[],
                body: &[Bytes::from(body(position))],
            });
            tickets.push(log.append(batch).unwrap());
        }
        next += 20;
        // Every seventh stays for good.
        let done: Vec<_> = (settled..next - 15).filter(|position| position % 7 > 0).collect();
        settled = next - 15;
        let mut batch = Batch::new();
        batch.settle_each(done.iter().map(|position| (QUEUE, *position)));
        tickets.push(log.append(batch).unwrap());
        for (position, ticket) in (next - 20..next).zip(&tickets) {
            log.wait(*ticket).unwrap();
            writeln!(out, "+ {position}").unwrap();
        }
        log.wait(tickets[20]).unwrap();
        done.iter()
            .for_each(|position| writeln!(out, "- {position}").unwrap());
        out.flush().unwrap();
    }
}

#[test]
fn what_was_durable_survives_thirty_kills() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        work(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut appended, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..30 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_was_durable_survives_thirty_kills", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // At a moment that is another one in every round, in the middle of whatever it does.
        let mut said = |line: &str| {
            let (kind, position) = line.split_at_checked(2).unwrap_or_default();
            let set = match kind {
                "+ " => &mut appended,
                "- " => &mut settled,
                _ => return,
            };
            set.insert(position.parse::<u64>().unwrap());
        };
        for line in lines.by_ref().take(50 + round * 37) {
            said(&line.unwrap());
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // The last line may have been cut off.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        rest.iter().rev().skip(1).for_each(|line| said(line));

        let (log, recovered) = open(directory.path());
        assert_eq!(recovered.incarnation, 2 * round as u64 + 2);
        let stored = log.fetch(QUEUE, 0, usize::MAX, u64::MAX).unwrap();
        let found: BTreeSet<_> = stored.iter().map(|one| one.position).collect();
        assert_eq!(found.len(), stored.len());
        assert!(
            stored.iter().all(|one| one.body == body(one.position)),
            "another body"
        );
        let lost: Vec<_> = appended
            .difference(&settled)
            .filter(|one| !found.contains(one) && *one % 7 == 0)
            .collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        let back: Vec<_> = settled.intersection(&found).collect();
        assert!(back.is_empty(), "came back {back:?}");
        // Those that may have been settled just before: at the end, and nowhere else.
        let unsure = appended
            .difference(&settled)
            .filter(|one| !found.contains(one))
            .count();
        assert!(unsure <= 40, "{unsure} are gone that nobody settled");
    }
    assert!(settled.len() > 1000, "only {} settled", settled.len());
}
