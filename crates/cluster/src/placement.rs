//! Where queues are. Of a node that is alone: all of them here.

use std::collections::HashMap;
use std::sync::Arc;

use warren_model::QueueId;

use crate::lock::{PLACEMENT, RwLock};
use crate::{Queue, QueueHandle};

/// Finds queues by their numbers: the way to any, and those that this node has itself.
#[derive(Debug, Default)]
pub struct Placement {
    here: RwLock<PLACEMENT, HashMap<QueueId, Arc<Queue>>>,
}

impl Placement {
    /// A queue that was declared is on this node.
    pub fn open(&self, queue: Queue) {
        let id = queue.identity().id;
        self.here.write().insert(id, Arc::new(queue));
    }

    /// A queue was deleted. If it was on this node, `last` is done before anybody counts queues again.
    pub fn close(&self, id: QueueId, last: impl FnOnce(&Queue)) {
        let mut here = self.here.write();
        if let Some(queue) = here.remove(&id) {
            last(&queue);
        }
    }

    /// The way to a queue, wherever it is.
    #[must_use]
    pub fn way(&self, id: QueueId) -> Option<QueueHandle> {
        self.here(id).map(QueueHandle::here)
    }

    /// A queue of this node.
    #[must_use]
    pub fn here(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.here.read().get(&id).cloned()
    }

    /// All queues of this node, in no order, and something else that is counted at the same moment.
    pub fn all_here<T>(&self, count: impl FnOnce() -> T) -> (Vec<Arc<Queue>>, T) {
        let here = self.here.read();
        (here.values().cloned().collect(), count())
    }
}
