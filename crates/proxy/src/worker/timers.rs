//! One deadline for each session, kept lazily.
//!
//! A session that reads only notes when it did. Its timer stays where it is and finds out, when it goes off, that there
//! is nothing to do yet. So in steady state no timer is touched at all.
//!
//! A hierarchical wheel with a resolution of one millisecond: arming, disarming and expiring are O(1), a session that
//! ends leaves nothing behind. The farther away a deadline is the coarser it is kept, so that those of thousands of idle
//! sessions are due together and wake the worker once.

/// Deadlines go off later by at most one part in two to the power of this of the time until then.
const PRECISION: u32 = 6;
/// Levels of the wheel.
const LEVELS: usize = 6;
/// Slots of a level, as a power of two.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// The farthest a deadline can be, about two years; what is farther goes off then and is armed again. Not quite a whole
/// turn of the coarsest level, or the list of the present would also be that of the farthest future.
const FARTHEST: u64 = ((SLOTS as u64 - 1) << (BITS * (LEVELS as u32 - 1))) - 1;

const NOBODY: u32 = u32::MAX;

/// The deadlines of a worker's sessions, by their slots in its slab.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Everything before has gone off. Milliseconds.
    now: u64,
    /// First of each list.
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    /// Which lists are not empty.
    occupied: [u64; LEVELS],
    nodes: Vec<Node>,
    /// Gone off, not fetched yet.
    due: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: u64,
    previous: u32,
    next: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Due,
    List(u8, u8),
}

const UNARMED: Node = Node {
    deadline: 0,
    previous: NOBODY,
    next: NOBODY,
    place: Place::Nowhere,
};

impl Timers {
    pub(crate) fn new(now: u64) -> Self {
        Self {
            now,
            heads: Box::new([[NOBODY; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            nodes: Vec::new(),
            due: Vec::new(),
        }
    }

    /// `slot` is to be woken at `deadline`, or soon after that if it is far away. Nothing happens if it will be by then
    /// already.
    pub(crate) fn arm(&mut self, slot: u32, deadline: u64) {
        let deadline = coarse(self.now, deadline);
        let index = slot as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, UNARMED);
        }
        match self.nodes[index].place {
            Place::Nowhere => {}
            Place::List(..) if self.nodes[index].deadline > deadline => self.unlink(slot),
            Place::List(..) | Place::Due => return,
        }
        self.nodes[index].deadline = deadline;
        self.link(slot);
    }

    /// `slot` is not to be woken any more.
    pub(crate) fn disarm(&mut self, slot: u32) {
        match self.nodes.get(slot as usize).map(|node| node.place) {
            Some(Place::List(..)) => self.unlink(slot),
            // Its entry in the list of the due is passed over.
            Some(Place::Due) => self.nodes[slot as usize].place = Place::Nowhere,
            Some(Place::Nowhere) | None => {}
        }
    }

    /// When [`Timers::expired`] has to be called next: not after the earliest deadline as it is kept.
    pub(crate) fn next(&self) -> Option<u64> {
        if self.due.is_empty() {
            self.next_list().map(|(.., at)| at)
        } else {
            Some(self.now)
        }
    }

    /// A slot whose deadline is over. To be called until there is none.
    pub(crate) fn expired(&mut self, now: u64) -> Option<u32> {
        loop {
            while let Some(slot) = self.due.pop() {
                if self.nodes[slot as usize].place == Place::Due {
                    self.nodes[slot as usize].place = Place::Nowhere;
                    return Some(slot);
                }
            }
            match self.next_list() {
                Some((level, list, at)) if at <= now => {
                    self.now = at.max(self.now);
                    self.take_list(level, list);
                }
                Some(_) | None => {
                    self.now = now.max(self.now);
                    return None;
                }
            }
        }
    }

    /// What is due leaves the list; the rest moves to finer lists.
    fn take_list(&mut self, level: usize, list: usize) {
        let mut slot = std::mem::replace(&mut self.heads[level][list], NOBODY);
        self.occupied[level] &= !(1 << list);
        while slot != NOBODY {
            let node = &mut self.nodes[slot as usize];
            let next = node.next;
            if node.deadline <= self.now {
                node.place = Place::Due;
                self.due.push(slot);
            } else {
                self.link(slot);
            }
            slot = next;
        }
    }

    /// The list that comes next, and when. Lists of a finer level always come before those of a coarser one.
    fn next_list(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|lists| *lists != 0)?;
        let shift = BITS * level as u32;
        let current = (self.now >> shift) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(current).trailing_zeros();
        let list = (current + ahead) as usize % SLOTS;
        let at = ((self.now >> shift) + u64::from(ahead)) << shift;
        Some((level, list, at))
    }

    fn link(&mut self, slot: u32) {
        let node = &mut self.nodes[slot as usize];
        let deadline = node.deadline.clamp(self.now, self.now + FARTHEST);
        // The coarsest digit in which now and then differ; its value names the list.
        let level = (63 - ((self.now ^ deadline) | 1).leading_zeros()) / BITS;
        let level = level.min(LEVELS as u32 - 1);
        let list = (deadline >> (BITS * level)) as usize % SLOTS;
        let level = level as usize;
        let next = std::mem::replace(&mut self.heads[level][list], slot);
        node.next = next;
        node.previous = NOBODY;
        node.place = Place::List(level as u8, list as u8);
        if next != NOBODY {
            self.nodes[next as usize].previous = slot;
        }
        self.occupied[level] |= 1 << list;
    }

    fn unlink(&mut self, slot: u32) {
        let node = std::mem::replace(&mut self.nodes[slot as usize], UNARMED);
        let Place::List(level, list) = node.place else {
            return;
        };
        if node.next != NOBODY {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if node.previous != NOBODY {
            self.nodes[node.previous as usize].next = node.next;
        } else {
            self.heads[level as usize][list as usize] = node.next;
            if node.next == NOBODY {
                self.occupied[level as usize] &= !(1 << list);
            }
        }
    }
}

/// A deadline as it is kept: a multiple of a power of two, which most lists begin with.
fn coarse(now: u64, deadline: u64) -> u64 {
    let allowed = deadline.saturating_sub(now) >> PRECISION;
    let grain = 1 << (allowed | 1).ilog2();
    deadline.checked_next_multiple_of(grain).unwrap_or(deadline)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_later_deadline_leaves_the_timer_alone_and_an_earlier_one_moves_it() {
        let mut timers = Timers::new(1000);
        timers.arm(3, 1060);
        timers.arm(3, 1090);
        assert_eq!(timers.expired(1059), None);
        assert_eq!(timers.expired(1060), Some(3));
        timers.arm(3, 1090);
        timers.arm(3, 1070);
        assert_eq!((timers.expired(1070), timers.expired(20_000)), (Some(3), None));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn whoever_ends_while_due_is_not_woken() {
        let mut timers = Timers::new(0);
        timers.arm(0, 5);
        timers.arm(1, 5);
        let first = timers.expired(5).unwrap();
        timers.disarm(1 - first);
        assert_eq!(timers.expired(5), None);
    }

    /// Heartbeats of a minute, which move deadlines of three.
    #[test]
    fn wake_ups_do_not_grow_with_the_number_of_idle_sessions() {
        const SILENCE: u64 = 180_000;
        let wake_ups = |sessions: u32| {
            let mut timers = Timers::new(0);
            let mut count = 0;
            for slot in 0..sessions {
                timers.arm(slot, SILENCE + u64::from(slot) * SILENCE / u64::from(sessions));
            }
            while let Some(now) = timers.next().filter(|now| *now < 10 * SILENCE) {
                count += 1;
                while let Some(slot) = timers.expired(now) {
                    timers.arm(slot, now + SILENCE);
                }
            }
            count
        };
        // One for each multiple of two seconds, in half an hour, and one for each turn of a list.
        let bound = 10 * SILENCE / 2048 + 10 * SILENCE / 4096;
        for sessions in [400, 4_000, 40_000] {
            assert!(
                wake_ups(sessions) <= bound,
                "{sessions}: {}, {bound}",
                wake_ups(sessions)
            );
        }
    }

    proptest! {
        #[test]
        fn a_deadline_is_kept_to_a_sixty_fourth_of_the_time_until_then_and_never_early(
            now in any::<u32>(), distance in 0..1_u64 << 50,
        ) {
            let now = u64::from(now);
            let kept = coarse(now, now + distance);
            prop_assert!((now + distance..=now + distance + distance / 64).contains(&kept));
        }

        #[test]
        fn everybody_is_woken_at_his_deadline_as_it_is_kept_and_nobody_before(
            steps in prop::collection::vec((0..4_u8, 0..24_u32, 0..30_u32, any::<u32>()), 1..300),
        ) {
            let mut timers = Timers::new(7);
            let mut model = BTreeMap::<u32, u64>::new();
            let mut now = 7;
            for (step, slot, magnitude, random) in steps {
                let distance = u64::from(random) & ((1 << magnitude) - 1);
                match step {
                    0 | 1 => {
                        timers.arm(slot, now + distance);
                        let kept = coarse(now, now + distance);
                        let armed = model.entry(slot).or_insert(kept);
                        *armed = (*armed).min(kept);
                    }
                    2 => {
                        timers.disarm(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        let earliest = model.values().min().copied();
                        if let (Some(earliest), Some(next)) = (earliest, timers.next()) {
                            prop_assert!(next <= earliest.max(now));
                        }
                        prop_assert_eq!(timers.next().is_some(), earliest.is_some());
                        now += distance;
                        let mut woken = Vec::new();
                        while let Some(slot) = timers.expired(now) {
                            woken.push(slot);
                        }
                        woken.sort_unstable();
                        let due: Vec<u32> = model.iter().filter(|(_, at)| **at <= now).map(|(slot, _)| *slot).collect();
                        model.retain(|_, at| *at > now);
                        prop_assert_eq!(woken, due);
                    }
                }
            }
        }
    }
}
