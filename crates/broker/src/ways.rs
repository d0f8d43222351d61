//! Where messages of an exchange and routing key go, as far as a connection remembers it.

use std::sync::Arc;

use bytes::Bytes;
use warren_cluster::QueueHandle;
use warren_model::arguments::QueueType;

use crate::by_address::ByAddress;

/// Ways that are remembered, and queues that they lead to together: a fanout to thousands of queues leads to them by every key. Beyond
/// that all are forgotten.
const WAYS_MAX: usize = 4096;
const QUEUES_MAX: usize = 65_536;

/// Where messages of one exchange and routing key go.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) queues: Vec<QueueHandle>,
    /// What is persistent has to be on disk in one of them.
    pub(crate) durable: bool,
    /// Everything has to be.
    pub(crate) keeps_all: bool,
    /// One of them lets messages go in another order than they came: one that stays would keep in memory what came with it.
    pub(crate) mixed: bool,
    /// Messages come here by the name of the one queue: no binding has led them elsewhere before, or will again.
    pub(crate) by_name: bool,
}

impl Way {
    pub(crate) fn to(queues: Vec<QueueHandle>) -> Self {
        Self {
            durable: queues.iter().any(|queue| queue.identity().durable),
            keeps_all: queues
                .iter()
                .any(|queue| queue.identity().kind == QueueType::Quorum),
            mixed: queues.iter().any(QueueHandle::mixes),
            by_name: false,
            queues,
        }
    }
}

/// Those that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    by_address: ByAddress<Arc<Way>>,
    queues: usize,
}

impl Ways {
    pub(crate) fn get(&self, address: &[u8]) -> Option<(&Bytes, &Arc<Way>)> {
        self.by_address.get_key_value(address)
    }

    pub(crate) fn insert(&mut self, address: Bytes, way: Arc<Way>) {
        self.queues += way.queues.len();
        if self.by_address.len() >= WAYS_MAX || self.queues > QUEUES_MAX {
            self.clear();
            self.queues = way.queues.len();
        }
        self.by_address.insert(address, way);
    }

    pub(crate) fn clear(&mut self) {
        self.by_address.clear();
        self.queues = 0;
    }
}

#[cfg(test)]
mod tests {
    use warren_cluster::Queue;
    use warren_cluster::queue::Identity;
    use warren_model::queue::Limits;
    use warren_model::{Millis, Name, QueueId};

    use super::*;

    #[test]
    fn what_is_remembered_of_ways_is_bounded_however_many_queues_they_lead_to() {
        let name = |text| Name::try_from(text).unwrap();
        let identity = Identity {
            id: QueueId(1),
            vhost: name("/"),
            name: name("q"),
            durable: false,
            kind: QueueType::Classic,
        };
        let queue = Queue::new(identity, Limits::default(), 0, false, Millis(1));
        let queue = QueueHandle::here(Arc::new(queue));
        for (queues, count) in [(0, 2 * WAYS_MAX), (100, 2 * WAYS_MAX), (QUEUES_MAX + 1, 3)] {
            let mut ways = Ways::default();
            let mut most = (0, 0);
            for number in 0..count {
                let address = Bytes::from(number.to_string());
                ways.insert(address.clone(), Arc::new(Way::to(vec![queue.clone(); queues])));
                assert!(ways.get(&address).is_some(), "the last one is");
                most = most.max((ways.by_address.len(), ways.queues));
            }
            let remembered = ways.by_address.values().map(|way| way.queues.len());
            assert_eq!(ways.queues, remembered.sum::<usize>());
            let fit = QUEUES_MAX
                .checked_div(queues)
                .unwrap_or(WAYS_MAX)
                .clamp(1, WAYS_MAX);
            assert_eq!(most, (fit, fit * queues));
        }
    }
}
