//! Messages that left queues without having been settled: by type of queue, by why, and by whether they went anywhere.

use std::sync::atomic::{AtomicU64, Ordering};

use warren_model::arguments::QueueType;
use warren_model::queue::Reason;

/// How many there were since the node started.
#[derive(Debug, Default)]
pub struct Deaths([[[AtomicU64; 2]; 4]; 2]);

impl Deaths {
    /// One more. `published`: to the dead-letter exchange of its queue; else that has none.
    pub(crate) fn add(&self, kind: QueueType, reason: Reason, published: bool) {
        self.of(kind, reason, published).fetch_add(1, Ordering::Relaxed);
    }

    /// So many.
    #[must_use]
    pub fn get(&self, kind: QueueType, reason: Reason, published: bool) -> u64 {
        self.of(kind, reason, published).load(Ordering::Relaxed)
    }

    const fn of(&self, kind: QueueType, reason: Reason, published: bool) -> &AtomicU64 {
        let [classic, quorum] = &self.0;
        let of_kind = match kind {
            QueueType::Classic => classic,
            QueueType::Quorum => quorum,
        };
        let [expired, max_length, rejected, delivery_limit] = of_kind;
        let [disabled, at_most_once] = match reason {
            Reason::Expired => expired,
            Reason::MaxLength => max_length,
            Reason::Rejected => rejected,
            Reason::DeliveryLimit => delivery_limit,
        };
        match published {
            true => at_most_once,
            false => disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_death_is_counted_for_itself() {
        let deaths = Deaths::default();
        let reasons = [
            Reason::Expired,
            Reason::MaxLength,
            Reason::Rejected,
            Reason::DeliveryLimit,
        ];
        let all = [QueueType::Classic, QueueType::Quorum]
            .into_iter()
            .flat_map(|kind| reasons.map(|reason| [false, true].map(|published| (kind, reason, published))))
            .flatten();
        let all: Vec<_> = all.collect();
        for (count, (kind, reason, published)) in (1..).zip(all.iter().copied()) {
            (0..count).for_each(|_| deaths.add(kind, reason, published));
        }
        let counted = all
            .iter()
            .map(|(kind, reason, published)| deaths.get(*kind, *reason, *published));
        assert!(counted.eq(1..=16));
    }
}
