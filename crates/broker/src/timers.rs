//! What queues want to be done at some time: messages that expire, and queues that nobody uses.
//!
//! One task for all queues of the node. A queue asks for one time only, and again when that has come; an earlier one in
//! between is one more entry, and the later finds nothing to do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use warren_cluster::queue::OnlyIf;
use warren_cluster::{Aftermath, Queue, QueueHandle};
use warren_model::queue::Missing;
use warren_model::{Millis, Position, QueueId};

use crate::clock::now;
use crate::node::{Node, NotDeleted};

/// The longest sleep: that the host was suspended is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// What a queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// A message's time is over.
    Messages,
    /// `x-expires`: it may have been out of use for too long.
    Unused,
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The first is the earliest.
    due: Mutex<BinaryHeap<Reverse<(Millis, QueueId, Alarm)>>>,
    /// When queues may have been out of use for too long: one time for each that counts.
    unused: Mutex<HashMap<QueueId, Millis>>,
    /// First messages that a restart found: when their time ends nobody knows yet.
    unseen: Mutex<Vec<(QueueId, Position)>>,
    /// What has to be brought from the disk.
    missing: Mutex<Vec<(Arc<Queue>, Missing)>>,
    /// Something is earlier than all that was waited for.
    earlier: Notify,
    runs: AtomicBool,
}

impl Timers {
    /// Wakes a queue at some time.
    pub(crate) fn set(&self, time: Millis, queue: QueueId, alarm: Alarm) {
        if alarm == Alarm::Unused {
            let mut unused = self.unused.lock();
            if unused.get(&queue).is_some_and(|before| *before <= time) {
                return;
            }
            unused.insert(queue, time);
        }
        let mut due = self.due.lock();
        let first = due.peek().is_none_or(|Reverse((first, ..))| time < *first);
        due.push(Reverse((time, queue, alarm)));
        drop(due);
        if first {
            self.earlier.notify_one();
        }
    }

    /// Finds out soon when a message that a restart found ends.
    pub(crate) fn look(&self, queue: QueueId, first: Position) {
        self.unseen.lock().push((queue, first));
    }

    /// Brings messages from the disk, soon.
    pub(crate) fn fetch(&self, queue: Arc<Queue>, missing: Missing) {
        self.missing.lock().push((queue, missing));
        self.earlier.notify_one();
    }

    /// Starts the task, which ends with the node. Once; after that it does nothing.
    pub(crate) fn start(&self, node: &Arc<Node>) {
        if !self.runs.swap(true, Ordering::AcqRel) {
            let (unseen, seen_by) = (std::mem::take(&mut *self.unseen.lock()), Arc::clone(node));
            tokio::task::spawn_blocking(move || crate::paging::look(&seen_by, unseen));
            tokio::spawn(run(Arc::downgrade(node)));
            tokio::spawn(crate::overdue::run(Arc::downgrade(node)));
            tokio::spawn(crate::server::end_with_session(Arc::downgrade(node)));
        }
    }

    /// What is due now, or how long that takes.
    fn next(&self, now: Millis) -> Result<(QueueId, Alarm), Duration> {
        let mut due = self.due.lock();
        while let Some(Reverse((time, queue, alarm))) = due.peek().copied() {
            if time > now {
                return Err(Duration::from_millis(time.0 - now.0).min(SLEEP_MAX));
            }
            due.pop();
            if alarm == Alarm::Messages || self.is_valid(queue, time) {
                return Ok((queue, alarm));
            }
        }
        Err(SLEEP_MAX)
    }

    /// An earlier time may have taken the place of this one.
    fn is_valid(&self, queue: QueueId, time: Millis) -> bool {
        let mut unused = self.unused.lock();
        let valid = unused.get(&queue) == Some(&time);
        if valid {
            unused.remove(&queue);
        }
        valid
    }
}

async fn run(node: Weak<Node>) {
    let mut after = Aftermath::default();
    loop {
        let Some(node) = node.upgrade() else { return };
        let missing = std::mem::take(&mut *node.timers.missing.lock());
        for (queue, missing) in missing {
            crate::paging::fetch(&node, queue, missing);
        }
        let sleep = loop {
            match node.timers.next(now()) {
                Ok((queue, alarm)) => ring(&node, queue, alarm, &mut after),
                Err(sleep) => break sleep,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = node.timers.earlier.notified() => {}
        }
    }
}

fn ring(node: &Arc<Node>, id: QueueId, alarm: Alarm, after: &mut Aftermath) {
    let Some(queue) = node.queue(id) else { return };
    match alarm {
        Alarm::Messages => {
            queue.expire(now(), after);
            if let Err(error) = node.carry_out(after) {
                tracing::error!(%error, ?queue, "what expired is not on disk");
            }
            after.tell();
        }
        Alarm::Unused => {
            let Some(expires) = expires(node, id) else { return };
            let since = queue.unused_since().unwrap_or_else(now);
            let time = since.after(expires);
            if time > now() {
                return node.timers.set(time, id, alarm);
            }
            let unused = OnlyIf {
                unused: true,
                empty: false,
            };
            match node.delete_queue(&QueueHandle::here(Arc::clone(&queue)), unused) {
                Ok(_) => tracing::info!(?queue, "queue expired: nobody used it"),
                // Somebody began to use it just now.
                Err(NotDeleted::Stays(_)) => node.timers.set(now().after(expires), id, alarm),
                Err(NotDeleted::Refused(refusal)) => {
                    tracing::warn!(%refusal, ?queue, "unused queue stays");
                }
            }
        }
    }
}

fn expires(node: &Node, id: QueueId) -> Option<u64> {
    node.read(|meta| meta.queue(id)?.2.meaning.expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_not_before_its_time() {
        let timers = Timers::default();
        assert_eq!(timers.next(Millis(5)), Err(SLEEP_MAX));
        for (time, queue) in [(30, 3), (10, 1), (20, 2)] {
            timers.set(Millis(time), QueueId(queue), Alarm::Messages);
        }
        assert_eq!(timers.next(Millis(5)), Err(Duration::from_millis(5)));
        assert_eq!(timers.next(Millis(25)), Ok((QueueId(1), Alarm::Messages)));
        assert_eq!(timers.next(Millis(25)), Ok((QueueId(2), Alarm::Messages)));
        assert_eq!(timers.next(Millis(25)), Err(Duration::from_millis(5)));
        assert_eq!(timers.next(Millis(30)), Ok((QueueId(3), Alarm::Messages)));
    }

    #[test]
    fn a_queue_has_one_time_at_which_it_may_be_unused() {
        let timers = Timers::default();
        let (queue, unused) = (QueueId(1), Alarm::Unused);
        for time in [50, 20, 40] {
            timers.set(Millis(time), queue, unused);
        }
        assert_eq!(timers.next(Millis(100)), Ok((queue, unused)));
        assert_eq!(timers.next(Millis(100)), Err(SLEEP_MAX));
        timers.set(Millis(60), queue, unused);
        assert_eq!(timers.next(Millis(100)), Ok((queue, unused)));
    }
}
