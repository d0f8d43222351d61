//! What a restart finds of a queue, and what it leaves to the next process.

use warren_model::queue::{Entry, Position, Run};

use super::{Past, Queue, State, Tries};

impl Queue {
    /// Messages that a restart found, and where new ones go. Only before anybody uses the queue.
    pub fn recover(&self, next: Position, past: Past, runs: impl IntoIterator<Item = Run>) {
        let mut state = self.state.lock();
        for run in runs {
            state.machine.recover(run);
        }
        state.machine.skip_to(next);
        state.past = past;
    }

    /// Messages that a restart found, of a queue whose messages are not served in the order in which they came. After
    /// [`Queue::recover`].
    pub fn recover_entries(&self, entries: Vec<Entry>) {
        let mut state = self.state.lock();
        let State {
            machine,
            past,
            removed,
            ..
        } = &mut *state;
        let entries = entries.into_iter().map(|mut entry| {
            past.tell(&mut entry);
            entry
        });
        machine.recover_entries(entries, removed);
    }

    /// Did messages come back too often when the last process ended? They leave when they are read.
    #[must_use]
    pub fn came_too_often(&self) -> bool {
        let state = self.state.lock();
        let limits = state.machine.limits();
        state
            .past
            .tries
            .iter()
            .any(|tries| limits.came_too_often(tries.count))
    }

    /// How often its messages were given out, if that has to be known when a later process reads them.
    #[must_use]
    pub fn tries(&self) -> Vec<Tries> {
        let state = self.state.lock();
        if !self.counts(state.machine.limits()) {
            return Vec::new();
        }
        let before = state.past.tries.iter().copied();
        let own = state.machine.tries();
        Tries::highest(
            before
                .chain(own.map(|(position, count)| Tries::one(position, count)))
                .collect(),
        )
    }

    /// Nobody gets messages from now on. Who has seen which, for a later process.
    pub fn stop(&self) -> Past {
        let mut state = self.state.lock();
        state.stopped = true;
        state.past.clone().then(&state.machine)
    }
}
