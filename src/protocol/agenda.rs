//! Which router is due when.
//!
//! A router in Backup moves its deadline with every advert it hears. Instead of moving an entry each time, an entry
//! that comes up too early is put back with the deadline that then holds: one entry per router, whatever arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use warren_vrrp::Instant;

use super::Slot;

#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(Instant, Slot)>>,
    /// The earliest entry of each slot that is in the heap.
    scheduled: Vec<Option<Instant>>,
}

impl Agenda {
    /// Prepares for this many slots, so that nothing is allocated later.
    pub(super) fn make_room(&mut self, slots: usize) {
        self.scheduled.resize(slots.max(self.scheduled.len()), None);
        // Rescheduling to an earlier time leaves the later entry behind until it comes up: twice is ample.
        self.heap.reserve((2 * slots).saturating_sub(self.heap.len()));
    }

    /// Makes sure that `slot` comes up at `at` or before.
    pub(super) fn schedule(&mut self, slot: Slot, at: Instant) {
        let Some(scheduled) = self.scheduled.get_mut(usize::from(slot)) else {
            return;
        };
        if scheduled.is_none_or(|earlier| at < earlier) {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, slot)));
        }
    }

    /// When the next entry comes up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an entry that has come up. The caller looks at the router's real deadline and schedules it again.
    pub(super) fn due(&mut self, now: Instant) -> Option<Slot> {
        loop {
            let Reverse((at, slot)) = *self.heap.peek()?;
            if at > now {
                return None;
            }
            self.heap.pop();
            let scheduled = self.scheduled.get_mut(usize::from(slot))?;
            // An entry that an earlier one has overtaken is left over; skip it.
            if *scheduled == Some(at) {
                *scheduled = None;
                return Some(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_slot_comes_up_once_at_its_earliest_time() {
        let mut agenda = Agenda::default();
        agenda.make_room(3);
        agenda.schedule(1, at(50));
        agenda.schedule(1, at(30));
        agenda.schedule(1, at(40));
        agenda.schedule(2, at(35));
        assert_eq!(agenda.next(), Some(at(30)));
        assert_eq!(agenda.due(at(29)), None);
        assert_eq!(agenda.due(at(60)), Some(1));
        assert_eq!(agenda.due(at(60)), Some(2));
        assert_eq!(agenda.due(at(60)), None);
    }

    #[test]
    fn moving_a_deadline_with_every_packet_does_not_grow_the_heap() {
        let mut agenda = Agenda::default();
        agenda.make_room(1);
        for packet in 0..10_000 {
            agenda.schedule(0, at(1_000 + packet));
        }
        assert_eq!(agenda.heap.len(), 1);
    }
}
