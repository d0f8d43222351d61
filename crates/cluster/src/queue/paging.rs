//! How messages leave the memory, and come back.
//!
//! Whoever finds that there are too many says so once ([`Aftermath::paged`](super::Aftermath::paged)). Then somebody takes some
//! ([`Queue::to_page`]), puts them where they can be fetched, lets them go ([`Queue::page_out`]), and does it again until there are none.
//!
//! ```text
//!   publish ──▶ PAGE or more could leave ──▶ under way ──▶ CROWD or more: publishers wait ──▶ half of that: they go on
//! ```
//!
//! Publishers have to wait only as long as messages do leave: where there is nowhere to put them, and while that fails, the node's memory
//! limit is what holds them up.

use std::sync::Arc;
use std::time::Instant;

use warren_model::Millis;
use warren_model::queue::{Entry, Position, QueueMachine};

use super::{Aftermath, Queue, State};
use crate::Waiter;

/// Entries that are worth a write.
const PAGE: usize = 1024;
/// Octets of their bodies that are.
const PAGE_OCTETS: u64 = 2 << 20;
/// Entries that are written at once, at most.
const PAGED_MAX: usize = 4 * PAGE;
/// Octets of their bodies from which on no more are.
const PAGED_OCTETS_MAX: u64 = 2 * PAGE_OCTETS;
/// Entries that may wait to leave before publishers have to wait, too.
const CROWD: usize = 2 * PAGED_MAX;
/// The same for octets of their bodies.
const CROWD_OCTETS: u64 = 2 * PAGED_OCTETS_MAX;

/// What is known of that.
#[derive(Default)]
pub(super) struct Paging {
    leaving: Leaving,
    /// Publishers have to wait.
    crowded: bool,
    /// Those who do.
    waiting: Vec<Arc<dyn Waiter>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leaving {
    /// There are not too many, as far as is known.
    #[default]
    Not,
    /// It has been said that there are too many.
    UnderWay,
    /// There is nowhere to put them.
    Never,
}

impl Paging {
    /// Looks at what is in memory now. Says whether too many are, which nobody knows yet.
    pub(super) fn look(&mut self, machine: &QueueMachine) -> bool {
        let (count, octets) = (machine.pageable(), machine.pageable_octets());
        self.crowded |= self.leaving == Leaving::UnderWay && (count >= CROWD || octets >= CROWD_OCTETS);
        let begins = self.leaving == Leaving::Not && (count >= PAGE || octets >= PAGE_OCTETS);
        if begins {
            self.leaving = Leaving::UnderWay;
        }
        begins
    }

    pub(super) const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Some have left. Gives publishers who need not wait any more.
    fn relieve(&mut self, machine: &QueueMachine) -> Vec<Arc<dyn Waiter>> {
        match machine.pageable() < CROWD / 2 && machine.pageable_octets() < CROWD_OCTETS / 2 {
            true => self.let_go(),
            false => Vec::new(),
        }
    }

    /// No more leave for now.
    #[must_use]
    pub(super) fn stop(&mut self) -> Vec<Arc<dyn Waiter>> {
        if self.leaving == Leaving::UnderWay {
            self.leaving = Leaving::Not;
        }
        self.let_go()
    }

    fn let_go(&mut self) -> Vec<Arc<dyn Waiter>> {
        self.crowded = false;
        std::mem::take(&mut self.waiting)
    }
}

impl Queue {
    /// Messages that should leave the memory, as many as one wants to write at once. If there are none,
    /// [`Aftermath::paged`] names the queue again when there are.
    #[must_use]
    pub fn to_page(&self) -> Vec<Entry> {
        let mut state = self.state.lock();
        let count = if state.gone { 0 } else { PAGED_MAX };
        let mut octets = 0;
        let within = state.machine.to_page(count).take_while(|entry| {
            let before = octets;
            octets += entry.message.size();
            before < PAGED_OCTETS_MAX
        });
        let entries: Vec<Entry> = within.cloned().collect();
        if entries.is_empty() {
            let released = state.paging.stop();
            drop(state);
            tell(released);
        }
        entries
    }

    /// Messages of [`Queue::to_page`] are on disk, and leave the memory. Says which had left the queue meanwhile.
    pub fn page_out(&self, entries: &[Entry]) -> Vec<Position> {
        let mut state = self.state.lock();
        let gone = match state.gone {
            false => state.machine.page_out(entries),
            true => entries.iter().map(|entry| entry.position).collect(),
        };
        let State { paging, machine, .. } = &mut *state;
        let released = paging.relieve(machine);
        drop(state);
        tell(released);
        gone
    }

    /// They cannot be written: they stay for now.
    pub fn stop_paging(&self) {
        let released = self.state.lock().paging.stop();
        tell(released);
    }

    /// There is nowhere to put them: they stay.
    pub fn keep_in_memory(&self) {
        let released = {
            let mut state = self.state.lock();
            state.paging.leaving = Leaving::Never;
            state.paging.let_go()
        };
        tell(released);
    }

    /// Positions of a level that are missing in memory have been looked for.
    pub fn load(
        self: &Arc<Self>,
        now: Millis,
        level: usize,
        mut entries: Vec<Entry>,
        looked: &[(Position, Position)],
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.fetching = false;
        self.loaded.notify_all();
        if state.gone {
            return;
        }
        entries.iter_mut().for_each(|entry| state.past.tell(entry));
        state.machine.load(level, entries, looked, &mut state.removed);
        self.finish(state, now, after);
    }

    /// Waits until what is missing in memory has been looked for, or until then.
    pub fn wait_for_disk(&self, until: Instant) {
        let mut state = self.state.lock();
        while state.fetching && state.wait_until(&self.loaded, until) {}
    }

    /// More come than leave the memory: publishers have to wait, as long as this is so.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.state.lock().paging.crowded
    }

    /// Tells a publisher when he need not wait any more. Says whether he has to.
    pub fn when_relieved(&self, publisher: Arc<dyn Waiter>) -> bool {
        let mut state = self.state.lock();
        let Paging { crowded, waiting, .. } = &mut state.paging;
        if *crowded && !waiting.iter().any(|other| Arc::ptr_eq(other, &publisher)) {
            waiting.push(publisher);
        }
        *crowded
    }
}

/// The queue is not locked.
pub(super) fn tell(released: Vec<Arc<dyn Waiter>>) {
    released.into_iter().for_each(|publisher| publisher.safe());
}
