//! What a restart finds of a queue, and what it leaves to the next process.

use warren_model::queue::{Entry, Position, Run};

use super::{Past, Queue, State};

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
        let State { machine, past, .. } = &mut *state;
        machine.recover_entries(entries.into_iter().map(|mut entry| {
            past.tell(&mut entry);
            entry
        }));
    }

    /// What has to be known of its messages when a later process reads them. `stop`: nobody gets any from now on.
    pub fn past(&self, stop: bool) -> Past {
        let mut state = self.state.lock();
        state.stopped |= stop;
        let counts = self.counts(state.machine.limits());
        state.past.clone().then(&state.machine, counts)
    }
}
