//! Which queues are whose alone: a connection that ends takes them along, however many queues there are besides.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use warren_model::QueueId;

/// Queues of one connection only.
#[derive(Debug, Default)]
pub(crate) struct Exclusive(Mutex<Owned>);

#[derive(Debug, Default)]
struct Owned {
    by_queue: HashMap<QueueId, u64>,
    by_connection: BTreeSet<(u64, QueueId)>,
}

impl Exclusive {
    /// A queue is this connection's alone.
    pub(crate) fn add(&self, queue: QueueId, connection: u64) {
        let mut owned = self.0.lock();
        owned.by_queue.insert(queue, connection);
        owned.by_connection.insert((connection, queue));
    }

    /// A queue is gone, whosever it was.
    pub(crate) fn remove(&self, queue: QueueId) {
        let mut owned = self.0.lock();
        if let Some(connection) = owned.by_queue.remove(&queue) {
            owned.by_connection.remove(&(connection, queue));
        }
    }

    /// What is this connection's alone, oldest first.
    pub(crate) fn of(&self, connection: u64) -> Vec<QueueId> {
        self.0.lock().of(connection).collect()
    }

    /// Is anything?
    pub(crate) fn has(&self, connection: u64) -> bool {
        self.0.lock().of(connection).next().is_some()
    }
}

impl Owned {
    fn of(&self, connection: u64) -> impl Iterator<Item = QueueId> {
        let all = (connection, QueueId(0))..=(connection, QueueId(u64::MAX));
        self.by_connection.range(all).map(|(_, queue)| *queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_own_queues_until_they_are_gone() {
        let exclusive = Exclusive::default();
        for (queue, connection) in [(5, 1), (2, 1), (3, 2), (u64::MAX, 1)] {
            exclusive.add(QueueId(queue), connection);
        }
        assert_eq!(exclusive.of(1), [2, 5, u64::MAX].map(QueueId));
        exclusive.remove(QueueId(5));
        exclusive.remove(QueueId(77));
        assert_eq!(exclusive.of(1), [2, u64::MAX].map(QueueId));
        assert_eq!(exclusive.of(2), [QueueId(3)]);
        assert!(exclusive.of(3).is_empty());
        assert!(exclusive.has(1) && exclusive.has(2) && !exclusive.has(3));
        for queue in [2, 3, u64::MAX] {
            exclusive.remove(QueueId(queue));
        }
        let owned = exclusive.0.lock();
        assert!(owned.by_queue.is_empty() && owned.by_connection.is_empty());
    }
}
