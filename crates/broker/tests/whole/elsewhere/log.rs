//! Something that keeps messages: in no file, safe late, and in any order.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rand::prelude::*;
use warren_cluster::log_store::{Fetched, Space};
use warren_cluster::queue::{Past, Queue, Tries};
use warren_cluster::{
    Aftermath, ConfirmTicket, LogStore, NotRead, NotWritten, Recovered, RecoveredQueue, Waiter,
};
use warren_model::queue::Run;
use warren_model::{Entry, Position, QueueId};

type Place = (QueueId, Position);

/// What is safe: it is there whatever becomes of the node.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Safe>>);

#[derive(Default)]
struct Safe {
    starts: u64,
    entries: BTreeMap<Place, Entry>,
    /// Where new messages of a queue go.
    next: BTreeMap<QueueId, Position>,
    /// Settled before it was known that they are there.
    early: HashSet<Place>,
}

impl Safe {
    fn place(&mut self, queue: QueueId, entry: Entry) {
        let next = self.next.entry(queue).or_default();
        *next = entry.position.next().max(*next);
        let place = (queue, entry.position);
        if !self.early.remove(&place) {
            self.entries.insert(place, entry);
        }
    }

    fn settle(&mut self, place: Place) {
        if self.entries.remove(&place).is_none() {
            self.early.insert(place);
        }
    }

    fn forget(&mut self, queue: QueueId) {
        self.entries.retain(|(of, _), _| *of != queue);
        self.next.remove(&queue);
    }
}

impl Kept {
    /// What a node finds that starts now.
    pub(super) fn recovered(&self) -> Recovered {
        let mut safe = self.0.lock();
        safe.starts += 1;
        let queues = safe.next.iter().map(|(id, next)| {
            let of = (*id, Position(0))..=(*id, Position(u64::MAX));
            let entries: Vec<&Entry> = safe.entries.range(of).map(|(_, entry)| entry).collect();
            RecoveredQueue {
                id: *id,
                run: entries.first().map(|first| Run {
                    first: first.position,
                    last: Position(next.0 - 1),
                    count: entries.len() as u64,
                    octets: entries.iter().map(|entry| entry.message.size()).sum(),
                }),
                next: *next,
                past: Past {
                    before: *next,
                    ..Past::default()
                },
            }
        });
        Recovered {
            incarnation: safe.starts,
            queues: queues.collect(),
        }
    }
}

/// When what was left becomes safe.
#[derive(Clone, Copy)]
pub(super) enum Release {
    /// Some time, one thing or another.
    AtRandom(u64),
    /// When the test says so.
    ByHand,
}

/// What was left together.
#[derive(Default)]
struct Write {
    ticket: u64,
    /// It is a change of the metadata, and safe after those before it.
    changes: bool,
    placed: Vec<(QueueId, Entry)>,
    settled: Vec<Place>,
    purged: Vec<(QueueId, Position, Position)>,
    gone: Vec<QueueId>,
}

#[derive(Default)]
struct State {
    writes: u64,
    pending: Vec<Write>,
    safe: HashSet<u64>,
    waiting: Vec<(u64, Arc<dyn Waiter>)>,
    /// Not for ever, but not in the node's memory either.
    paged_out: BTreeMap<Place, Entry>,
    /// There is no room for messages.
    full: bool,
    /// Nothing can be left any more.
    broken: bool,
    /// What is to leave the memory waits.
    paging_stops: bool,
    /// Changes of the metadata become safe as messages do, not at once.
    changes_wait: bool,
}

impl State {
    fn ticket(&mut self) -> u64 {
        self.writes += 1;
        // So that nobody finds an order in them.
        self.writes.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

pub(super) struct Elsewhere {
    kept: Kept,
    state: Mutex<State>,
    moved: Condvar,
}

impl Elsewhere {
    pub(super) fn new(kept: Kept, release: Release) -> Arc<Self> {
        let elsewhere = Arc::new(Self {
            kept,
            state: Mutex::default(),
            moved: Condvar::new(),
        });
        if let Release::AtRandom(seed) = release {
            elsewhere.let_changes_wait();
            let node = Arc::downgrade(&elsewhere);
            std::thread::spawn(move || release_at_random(&node, seed));
        }
        elsewhere
    }

    /// How much is not safe yet.
    pub(super) fn pending(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Makes one of the things safe that are not, by when they came.
    pub(super) fn release(&self, which: usize) {
        let mut state = self.state.lock();
        if which >= state.pending.len() {
            // Broken off meanwhile.
            return;
        }
        let which = match state.pending[which].changes {
            true => state
                .pending
                .iter()
                .position(|write| write.changes)
                .unwrap_or(which),
            false => which,
        };
        let write = state.pending.remove(which);
        {
            let mut safe = self.kept.0.lock();
            for (queue, entry) in write.placed {
                safe.place(queue, entry);
            }
            write.settled.into_iter().for_each(|place| safe.settle(place));
            for (queue, first, last) in write.purged {
                (first.0..=last.0).for_each(|at| safe.settle((queue, Position(at))));
            }
            write.gone.into_iter().for_each(|queue| safe.forget(queue));
        }
        state.safe.insert(write.ticket);
        state.waiting.retain(|(ticket, waiter)| {
            let is_safe = *ticket == write.ticket;
            if is_safe {
                waiter.safe();
            }
            !is_safe
        });
        self.moved.notify_all();
    }

    /// From now on.
    pub(super) fn let_changes_wait(&self) {
        self.state.lock().changes_wait = true;
    }

    /// The metadata has changed.
    pub(super) fn change(&self) -> ConfirmTicket {
        let mut state = self.state.lock();
        let ticket = state.ticket();
        match state.changes_wait {
            true => state.pending.push(Write {
                ticket,
                changes: true,
                ..Write::default()
            }),
            false => drop(state.safe.insert(ticket)),
        }
        ConfirmTicket::new(ticket)
    }

    /// The last change that is not safe.
    pub(super) fn change_under_way(&self) -> Option<ConfirmTicket> {
        let state = self.state.lock();
        let last = state.pending.iter().rfind(|write| write.changes);
        last.map(|write| ConfirmTicket::new(write.ticket))
    }

    pub(super) fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// What is not safe by now never will be: it would come to where the next node has put something else.
    pub(super) fn break_off(&self) {
        let mut state = self.state.lock();
        state.broken = true;
        state.pending.clear();
    }

    /// Whatever is to leave the memory waits from now on, or no more.
    pub(super) fn stop_paging(&self, stops: bool) {
        self.state.lock().paging_stops = stops;
        self.moved.notify_all();
    }
}

fn release_at_random(elsewhere: &Weak<Elsewhere>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while let Some(elsewhere) = elsewhere.upgrade() {
        let pending = elsewhere.pending();
        if pending > 0 {
            elsewhere.release(rng.random_range(0..pending));
        }
        drop(elsewhere);
        std::thread::sleep(Duration::from_micros(rng.random_range(0..400)));
    }
}

impl LogStore for Elsewhere {
    fn write(&self, after: &mut Aftermath) -> Result<Option<ConfirmTicket>, NotWritten> {
        let mut state = self.state.lock();
        if state.broken {
            after.forget_kept();
            return Err(NotWritten::Ended("nobody answers".to_owned()));
        }
        let write = Write {
            ticket: state.ticket(),
            changes: false,
            placed: after
                .placed
                .drain(..)
                .map(|one| {
                    let entry = Entry {
                        position: one.position,
                        message: one.message,
                        expires: one.expires,
                        returns: 0,
                        redelivered: false,
                    };
                    (one.queue, entry)
                })
                .collect(),
            settled: std::mem::take(&mut after.settled),
            purged: after
                .purged
                .iter()
                .filter(|it| it.durable)
                .map(|it| (it.queue, it.first, it.last))
                .collect(),
            gone: after.gone.iter().map(|it| it.queue).collect(),
        };
        after.forget_kept();
        let nothing = write.placed.is_empty()
            && write.settled.is_empty()
            && write.purged.is_empty()
            && write.gone.is_empty();
        if nothing {
            return Ok(None);
        }
        let ticket = ConfirmTicket::new(write.ticket);
        state.pending.push(write);
        Ok(Some(ticket))
    }

    fn is_safe(&self, ticket: ConfirmTicket) -> bool {
        self.state.lock().safe.contains(&ticket.number())
    }

    fn when_safe(&self, ticket: ConfirmTicket, waiter: Arc<dyn Waiter>) {
        let mut state = self.state.lock();
        match state.safe.contains(&ticket.number()) {
            true => waiter.safe(),
            false => state.waiting.push((ticket.number(), waiter)),
        }
    }

    fn wait(&self, ticket: ConfirmTicket) -> Result<(), NotWritten> {
        let mut state = self.state.lock();
        while !state.safe.contains(&ticket.number()) {
            self.moved.wait(&mut state);
        }
        Ok(())
    }

    fn behind(&self) -> Option<ConfirmTicket> {
        let state = self.state.lock();
        let last = state.pending.last().filter(|_| state.pending.len() > 100);
        last.map(|write| ConfirmTicket::new(write.ticket))
    }

    fn has_room(&self, _octets: u64) -> bool {
        !self.state.lock().full
    }

    fn statistics(&self) -> Option<warren_cluster::LogStatistics> {
        None
    }

    fn space(&self) -> Option<Space> {
        None
    }

    fn fetch(&self, queue: QueueId, from: Position, count: usize, _octets: u64) -> Result<Fetched, NotRead> {
        let state = self.state.lock();
        let safe = self.kept.0.lock();
        let of = (queue, from)..=(queue, Position(u64::MAX));
        let mut found: BTreeMap<Place, Entry> = BTreeMap::new();
        for entries in [&safe.entries, &state.paged_out] {
            let some = entries.range(of.clone()).take(count);
            found.extend(some.map(|(place, entry)| (*place, entry.clone())));
        }
        let entries: Vec<Entry> = found.into_values().take(count).collect();
        let through = entries.last().map(|entry| entry.position);
        Ok(Fetched { entries, through })
    }

    fn page_out(&self, queue: &Queue, entries: &[Entry]) -> Result<(), NotWritten> {
        let queue = queue.identity().id;
        let entries = entries
            .iter()
            .map(|entry| ((queue, entry.position), entry.clone()));
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |state| state.paging_stops);
        state.paged_out.extend(entries);
        Ok(())
    }

    fn paged_in(&self, queue: QueueId, first: Position, last: Position) {
        let mut state = self.state.lock();
        state
            .paged_out
            .retain(|(of, at), _| *of != queue || !(first..=last).contains(at));
    }

    fn started(&self, _tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        Ok(())
    }

    fn has_many_tries(&self) -> Option<u64> {
        None
    }

    fn rewrite_tries(&self, _before: u64, _tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        Ok(())
    }

    fn stop(&self, _pasts: &[(QueueId, Past)]) -> Result<(), NotWritten> {
        Ok(())
    }
}
