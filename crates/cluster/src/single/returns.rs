//! What has to be known of messages after a restart and changes while they lie on disk: how often they came back, and who may
//! have seen them. It is in a stream of the log of its own.
//!
//! ```text
//!   messages go out      ──▶ Tries, with what else their batch writes      only where it is counted: x-delivery-count, x-delivery-limit
//!   an orderly end       ──▶ Stopped: which messages nobody saw            the next start reads it, and it is no more
//! ```
//!
//! How often a message was given out is how often it came back, once nobody has it any more: when its client gave it back, and when the
//! process was killed. So nothing is written when it comes back, and what was settled needs nothing. Nobody waits for these
//! records: what went out less than a write before the process was killed may not be counted, unless its message was written just then,
//! too, and a power cut can take some more.
//!
//! As with RabbitMQ's classic queues, everything counts as seen after an end that was not orderly, where deliveries are not written down
//! and where they are: the flag promises that nobody else has seen the message, and for that somebody would have to wait.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use warren_model::{Position, QueueId};
use warren_store::{AppendError, Batch, Log, Place, ReadError, Stored, StreamId, Ticket};

use super::stored::FOR_EVER;
use crate::queue::{Past, Tries};

/// No queue has this number.
pub(super) const STREAM: StreamId = StreamId(u64::MAX);
/// Rows of messages written down as given out, from which on those are written anew that are still there, unless there were a quarter
/// as many the last time. Until then they keep the parts of the log that they are in: a hundred messages may have come with each.
const REWRITE: u64 = 1 << 10;
/// Records read at once, and octets of them.
const RECORDS: usize = 1024;
const RECORD_OCTETS: u64 = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    /// Queues, positions, and how often they came back by then: as it was written before `Tries`.
    Returned(Vec<(u64, u64, u32)>),
    /// All that nobody had seen when the process ended in order.
    Stopped(Vec<Unseen>),
    /// Queues, first and last positions, and how often they went out by then.
    Tries(Vec<(u64, u64, u64, u32)>),
}

/// Of one queue everything before some message has been seen, but for these.
#[derive(Debug, Serialize, Deserialize)]
struct Unseen {
    queue: u64,
    before: u64,
    runs: Vec<(u64, u64)>,
}

/// The stream.
#[derive(Debug, Default)]
pub(super) struct Returns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Position of the next record.
    next: u64,
    /// Rows written down since all were written anew, and how many those were.
    since: u64,
    kept: u64,
}

/// What the last process left. Asked queue by queue.
#[derive(Debug, Default)]
pub(super) struct Left {
    any: bool,
    tries: HashMap<QueueId, Vec<Tries>>,
    /// It ended in order.
    unseen: Option<HashMap<QueueId, Unseen>>,
}

impl Returns {
    /// Reads what the last process left. `next`: where new records go.
    pub(super) fn read(&self, log: &Log, next: u64) -> Result<Left, ReadError> {
        self.0.lock().next = next;
        let (mut left, mut from) = (Left::default(), 0);
        loop {
            let read = log.fetch(STREAM, from, RECORDS, RECORD_OCTETS)?;
            let Some(last) = read.last() else { return Ok(left) };
            from = last.position + 1;
            read.iter().for_each(|stored| left.add(stored));
        }
    }

    /// Puts into a batch that messages went out.
    pub(super) fn push(&self, batch: &mut Batch, tries: &mut Vec<(QueueId, Tries)>) {
        let tries = tries.drain(..).map(numbers).collect();
        self.record(batch, &Record::Tries(tries));
    }

    /// Is it time to write anew what is still there? Once for each time: all records before this one can go then.
    pub(super) fn are_many(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let many = state.since >= REWRITE.max(state.kept * 4);
        many.then(|| {
            state.since = 0;
            state.next
        })
    }

    /// Writes anew what is still there, in place of all records before one.
    pub(super) fn rewrite(
        &self,
        log: &Log,
        before: u64,
        tries: Vec<(QueueId, Tries)>,
    ) -> Result<Ticket, AppendError> {
        let mut batch = Batch::new();
        batch.settle(STREAM, &[0..=before.saturating_sub(1)]);
        batch.essential();
        self.0.lock().kept = tries.len() as u64;
        if !tries.is_empty() {
            let tries = tries.into_iter().map(numbers).collect();
            self.record(&mut batch, &Record::Tries(tries));
            self.0.lock().since = 0;
        }
        log.append(batch)
    }

    /// Where the next record goes.
    pub(super) fn next(&self) -> u64 {
        self.0.lock().next
    }

    /// Writes that the process ends in order, and what nobody saw.
    pub(super) fn stop(&self, log: &Log, pasts: &[(QueueId, Past)]) -> Result<Ticket, AppendError> {
        let unseen = pasts.iter().map(|(queue, past)| Unseen {
            queue: queue.0,
            before: past.before.0,
            runs: past
                .unseen
                .iter()
                .map(|(first, last)| (first.0, last.0))
                .collect(),
        });
        let mut batch = Batch::new();
        batch.essential();
        self.record(&mut batch, &Record::Stopped(unseen.collect()));
        log.append(batch)
    }

    fn record(&self, batch: &mut Batch, record: &Record) {
        let octets = match postcard::to_stdvec(record) {
            Ok(octets) => octets,
            Err(error) => return tracing::error!(%error, "how often messages were given out is not written"),
        };
        let mut state = self.0.lock();
        if let Record::Tries(tries) = record {
            state.since += tries.len() as u64;
        }
        batch.message(warren_store::Message {
            id: warren_store::MessageId::default(),
            places: &[Place {
                stream: STREAM,
                position: state.next,
                tag: FOR_EVER,
            }],
            head: &[],
            body: &[octets.into()],
        });
        state.next += 1;
    }
}

const fn numbers((queue, tries): (QueueId, Tries)) -> (u64, u64, u64, u32) {
    (queue.0, tries.first.0, tries.last.0, tries.count)
}

impl Left {
    /// There was nothing to be known.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    fn add(&mut self, stored: &Stored) {
        self.any = true;
        match postcard::from_bytes(&stored.body) {
            Ok(Record::Returned(counts)) => {
                for (queue, position, count) in counts {
                    self.add_tries(queue, position, position, count);
                }
            }
            Ok(Record::Tries(tries)) => {
                for (queue, first, last, count) in tries {
                    self.add_tries(queue, first, last, count);
                }
            }
            Ok(Record::Stopped(unseen)) => {
                let unseen = unseen.into_iter();
                self.unseen = Some(unseen.map(|unseen| (QueueId(unseen.queue), unseen)).collect());
            }
            // Messages are as good without it.
            Err(error) => {
                tracing::error!(%error, position = stored.position, "how often messages came back cannot be understood");
            }
        }
    }

    fn add_tries(&mut self, queue: u64, first: u64, last: u64, count: u32) {
        self.tries.entry(QueueId(queue)).or_default().push(Tries {
            first: Position(first),
            last: Position(last),
            count,
        });
    }

    /// What is known of a queue whose first message is at `first`, and where new ones go to `next`.
    pub(super) fn of(&mut self, queue: QueueId, first: Position, next: Position) -> Past {
        let mut tries = self.tries.remove(&queue).unwrap_or_default();
        tries.retain_mut(|tries| {
            // What went out may not have come to the disk, and its position is another's then.
            tries.last = tries.last.min(Position(next.0.saturating_sub(1)));
            first.max(tries.first) <= tries.last
        });
        let tries = Tries::highest(tries);
        // One that was declared when the record was made already is not in it.
        let Some(unseen) = self.unseen.as_mut().and_then(|all| all.remove(&queue)) else {
            return Past {
                before: next,
                tries,
                ..Past::default()
            };
        };
        let runs = unseen.runs.into_iter();
        Past {
            before: Position(unseen.before),
            unseen: runs
                .map(|(first, last)| (Position(first), Position(last)))
                .collect(),
            tries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use warren_store::{Options, SimulatedDisk};

    fn tries(first: u64, last: u64, count: u32) -> Tries {
        Tries {
            first: Position(first),
            last: Position(last),
            count,
        }
    }

    fn of_seven(first: u64, last: u64, count: u32) -> (QueueId, Tries) {
        (QueueId(7), tries(first, last, count))
    }

    fn open(disk: &SimulatedDisk) -> (Log, Returns, Left, usize) {
        let directory = std::path::Path::new("/data");
        let opened = Log::open(directory, Arc::new(disk.clone()), Options::default(), |_| {});
        let (log, recovered) = opened.unwrap();
        let state = recovered.streams.iter().find(|state| state.stream == STREAM);
        let returns = Returns::default();
        let left = returns.read(&log, state.map_or(1, |state| state.next)).unwrap();
        let records = log.fetch(STREAM, 0, 100, 1 << 20).unwrap().len();
        (log, returns, left, records)
    }

    #[test]
    fn the_highest_count_holds_and_takes_the_place_of_all_before() {
        let disk = SimulatedDisk::default();
        let (log, returns, left, _) = open(&disk);
        assert!(left.is_empty());
        for count in [1, 3, 2] {
            let mut batch = Batch::new();
            returns.push(&mut batch, &mut vec![of_seven(3, 5, count), of_seven(9, 30, 1)]);
            log.append(batch).unwrap();
        }
        drop(log);
        let (log, returns, mut left, records) = open(&disk);
        assert_eq!(records, 3);
        let past = left.of(QueueId(7), Position(6), Position(20));
        assert_eq!(past.before, Position(20), "the process did not end in order");
        // Neither what is gone, nor what did not come to the disk.
        assert_eq!(past.tries, [tries(9, 19, 1)]);
        returns
            .rewrite(&log, returns.next(), vec![of_seven(9, 19, 1)])
            .unwrap();
        drop(log);
        let (log, returns, left, records) = open(&disk);
        assert!(records == 1 && !left.is_empty());
        returns.rewrite(&log, returns.next(), Vec::new()).unwrap();
        drop(log);
        let (.., left, records) = open(&disk);
        assert!(records == 0 && left.is_empty());
    }

    #[test]
    fn records_are_written_as_every_version_reads_them() {
        let unseen = Unseen {
            queue: 7,
            before: 9,
            runs: vec![(4, 8)],
        };
        for (record, octets) in [
            (Record::Returned(vec![(7, 5, 3)]), &[0, 1, 7, 5, 3][..]),
            (Record::Stopped(vec![unseen]), &[1, 1, 7, 9, 1, 4, 8]),
            (Record::Tries(vec![(7, 5, 9, 2)]), &[2, 1, 7, 5, 9, 2]),
        ] {
            assert_eq!(postcard::to_stdvec(&record).unwrap(), octets, "{record:?}");
        }
    }

    #[test]
    fn what_came_back_is_known_as_it_was_written_once() {
        let disk = SimulatedDisk::default();
        let (log, returns, ..) = open(&disk);
        let mut batch = Batch::new();
        returns.record(&mut batch, &Record::Returned(vec![(7, 5, 3), (7, 6, 1)]));
        returns.push(&mut batch, &mut vec![of_seven(6, 8, 2)]);
        log.append(batch).unwrap();
        drop(log);
        let (.., mut left, _) = open(&disk);
        let past = left.of(QueueId(7), Position(1), Position(9));
        assert_eq!(past.tries, [tries(5, 5, 3), tries(6, 8, 2)]);
    }

    #[test]
    fn of_a_queue_that_an_orderly_end_does_not_speak_of_everything_has_been_seen() {
        let disk = SimulatedDisk::default();
        let (log, returns, ..) = open(&disk);
        let known = Past {
            before: Position(9),
            unseen: vec![(Position(4), Position(8))],
            ..Past::default()
        };
        returns.stop(&log, &[(QueueId(7), known.clone())]).unwrap();
        drop(log);
        let (_log, _, mut left, _) = open(&disk);
        assert_eq!(left.of(QueueId(7), Position(4), Position(9)), known);
        let other = left.of(QueueId(8), Position(1), Position(5));
        assert_eq!((other.before, other.unseen), (Position(5), Vec::new()));
    }

    #[test]
    fn it_is_time_to_write_anew_when_much_was_written() {
        let disk = SimulatedDisk::default();
        let (log, returns, ..) = open(&disk);
        let record = |count: u64| {
            let mut batch = Batch::new();
            let mut all = (0..count)
                .map(|position| of_seven(position, position, 1))
                .collect();
            returns.push(&mut batch, &mut all);
            log.append(batch).unwrap();
            returns.are_many()
        };
        assert_eq!(record(REWRITE - 1), None);
        assert_eq!(record(1), Some(3));
        assert_eq!(record(1), None, "once for each time");
    }
}
