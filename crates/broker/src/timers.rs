//! What queues want to be done at some time: messages that expire, and queues that nobody uses.
//!
//! One task for all queues of the node. A queue asks for one time only, and again when that has come; an earlier one takes the
//! place of a later one, and with the queue it goes.

use std::collections::{BTreeSet, HashMap};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Alarm {
    /// A message's time is over.
    Messages,
    /// `x-expires`: it may have been out of use for too long.
    Unused,
}

/// All that is waited for.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: Mutex<Due>,
    /// First messages that a restart found: when their time ends nobody knows yet.
    unseen: Mutex<Vec<(QueueId, Position)>>,
    /// What has to be brought from the disk.
    missing: Mutex<Vec<(Arc<Queue>, Missing)>>,
    /// Something is earlier than all that was waited for.
    earlier: Notify,
    runs: AtomicBool,
}

/// One time at most for each alarm of a queue.
#[derive(Debug, Default)]
struct Due {
    by_time: BTreeSet<(Millis, QueueId, Alarm)>,
    times: HashMap<(QueueId, Alarm), Millis>,
}

impl Due {
    fn remove(&mut self, queue: QueueId, alarm: Alarm) {
        if let Some(time) = self.times.remove(&(queue, alarm)) {
            self.by_time.remove(&(time, queue, alarm));
        }
    }
}

impl Timers {
    /// Wakes a queue at some time, if it would not be earlier.
    pub(crate) fn set(&self, time: Millis, queue: QueueId, alarm: Alarm) {
        let mut due = self.due.lock();
        if due
            .times
            .get(&(queue, alarm))
            .is_some_and(|before| *before <= time)
        {
            return;
        }
        due.remove(queue, alarm);
        let first = due.by_time.first().is_none_or(|(first, ..)| time < *first);
        due.times.insert((queue, alarm), time);
        due.by_time.insert((time, queue, alarm));
        drop(due);
        if first {
            self.earlier.notify_one();
        }
    }

    /// The queue is gone.
    pub(crate) fn forget(&self, queue: QueueId) {
        let mut due = self.due.lock();
        due.remove(queue, Alarm::Messages);
        due.remove(queue, Alarm::Unused);
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
        let Some((time, queue, alarm)) = due.by_time.first().copied() else {
            return Err(SLEEP_MAX);
        };
        if time > now {
            return Err(Duration::from_millis(time.0 - now.0).min(SLEEP_MAX));
        }
        due.remove(queue, alarm);
        Ok((queue, alarm))
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
    fn a_queue_has_one_time_for_each_alarm_and_none_when_it_is_gone() {
        let timers = Timers::default();
        let queue = QueueId(1);
        for alarm in [Alarm::Messages, Alarm::Unused] {
            for time in [50, 20, 40] {
                timers.set(Millis(time), queue, alarm);
            }
            assert_eq!(timers.next(Millis(100)), Ok((queue, alarm)));
            assert_eq!(timers.next(Millis(100)), Err(SLEEP_MAX));
            timers.set(Millis(60), queue, alarm);
            assert_eq!(timers.next(Millis(100)), Ok((queue, alarm)));
        }
        for queue in [queue, QueueId(2)] {
            timers.set(Millis(70), queue, Alarm::Messages);
            timers.set(Millis(70), queue, Alarm::Unused);
        }
        timers.forget(queue);
        assert_eq!(timers.next(Millis(100)), Ok((QueueId(2), Alarm::Messages)));
        timers.forget(QueueId(2));
        assert_eq!(timers.next(Millis(100)), Err(SLEEP_MAX));
        let due = timers.due.lock();
        assert!(due.by_time.is_empty() && due.times.is_empty());
    }
}
