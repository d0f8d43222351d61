//! What has to be known of messages after a restart and changes while they lie on disk: how often they came back, and who may
//! have seen them. It is in a stream of the log of its own.
//!
//! ```text
//!   a message comes back ──▶ Returned, with what else its batch writes     only where it is counted: x-delivery-count, x-delivery-limit
//!   an orderly end       ──▶ Stopped: which messages nobody saw            the next start reads it, and it is no more
//! ```
//!
//! As with RabbitMQ's classic queues, everything counts as seen after an end that was not orderly: to write each delivery
//! down would cost a write for each, and the flag promises only that somebody may have seen the message.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use warren_model::{Position, QueueId};
use warren_store::{AppendError, Batch, Log, Place, ReadError, Stored, StreamId, Ticket};

use super::stored::FOR_EVER;
use crate::queue::{Past, Returned};

/// No queue has this number.
pub(super) const STREAM: StreamId = StreamId(u64::MAX);
/// Messages written down as having come back, from which on those are written anew that are still there, unless there were a
/// quarter as many the last time.
const REWRITE: u64 = 1 << 14;
/// Records read at once, and octets of them.
const RECORDS: usize = 1024;
const RECORD_OCTETS: u64 = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
enum Record {
    /// Queues, positions, and how often they came back by then.
    Returned(Vec<(u64, u64, u32)>),
    /// All that nobody had seen when the process ended in order.
    Stopped(Vec<Unseen>),
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
    /// Messages written down since all were written anew, and how many those were.
    since: u64,
    kept: u64,
}

/// What the last process left. Asked queue by queue.
#[derive(Debug, Default)]
pub(super) struct Left {
    any: bool,
    returns: HashMap<QueueId, BTreeMap<Position, u32>>,
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

    /// Puts into a batch that messages came back.
    pub(super) fn push(&self, batch: &mut Batch, returned: &mut Vec<Returned>) {
        let counts = returned.drain(..).map(numbers).collect();
        self.record(batch, &Record::Returned(counts));
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
        counts: Vec<Returned>,
    ) -> Result<Ticket, AppendError> {
        let mut batch = Batch::new();
        batch.settle(STREAM, &[0..=before.saturating_sub(1)]);
        batch.essential();
        self.0.lock().kept = counts.len() as u64;
        if !counts.is_empty() {
            let counts = counts.into_iter().map(numbers).collect();
            self.record(&mut batch, &Record::Returned(counts));
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
            Err(error) => return tracing::error!(%error, "how often messages came back is not written"),
        };
        let mut state = self.0.lock();
        if let Record::Returned(counts) = record {
            state.since += counts.len() as u64;
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

const fn numbers(returned: Returned) -> (u64, u64, u32) {
    (returned.queue.0, returned.position.0, returned.returns)
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
                for (queue, position, returns) in counts {
                    let of_queue = self.returns.entry(QueueId(queue)).or_default();
                    let count = of_queue.entry(Position(position)).or_default();
                    // Records may overtake each other, and counts only grow.
                    *count = returns.max(*count);
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

    /// What is known of a queue whose first message is at `first`, and where new ones go to `next`.
    pub(super) fn of(&mut self, queue: QueueId, first: Position, next: Position) -> Past {
        let mut returns = self.returns.remove(&queue).unwrap_or_default();
        let returns = returns.split_off(&first);
        // One that was declared when the record was made already is not in it.
        let Some(unseen) = self.unseen.as_mut().and_then(|all| all.remove(&queue)) else {
            return Past {
                before: next,
                returns,
                ..Past::default()
            };
        };
        let runs = unseen.runs.into_iter();
        Past {
            before: Position(unseen.before),
            unseen: runs
                .map(|(first, last)| (Position(first), Position(last)))
                .collect(),
            returns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use warren_store::{Options, SimulatedDisk};

    fn returned(queue: u64, position: u64, returns: u32) -> Returned {
        Returned {
            queue: QueueId(queue),
            position: Position(position),
            returns,
        }
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
            returns.push(&mut batch, &mut vec![returned(7, 5, count), returned(7, 9, 1)]);
            log.append(batch).unwrap();
        }
        drop(log);
        let (log, returns, mut left, records) = open(&disk);
        assert_eq!(records, 3);
        let past = left.of(QueueId(7), Position(6), Position(20));
        assert_eq!(past.before, Position(20), "the process did not end in order");
        assert_eq!(past.returned(QueueId(7)).collect::<Vec<_>>(), [returned(7, 9, 1)]);
        returns
            .rewrite(&log, returns.next(), vec![returned(7, 9, 1)])
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
            let mut all = (0..count).map(|position| returned(7, position, 1)).collect();
            returns.push(&mut batch, &mut all);
            log.append(batch).unwrap();
            returns.are_many()
        };
        assert_eq!(record(REWRITE - 1), None);
        assert_eq!(record(1), Some(3));
        assert_eq!(record(1), None, "once for each time");
    }
}
