//! What all nodes agree on besides messages, and how it changes: by one command after another, whoever proposes it.
//!
//! ```text
//!   propose ──▶ MetaStore: agreed, written ──▶ MetadataView: this node's copy ──▶ Follower: queues come and go
//!                 └─ ticket: safe when …          read by whoever routes and lists
//! ```

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use warren_model::meta::{Change, Command, Done, Work};
use warren_model::{Meta, QueueId, Refusal};

use crate::lock::{self, CHANGE, METADATA, Mutex, RwLock};
use crate::{Aftermath, ConfirmTicket, StorageError};

/// Takes commands, and carries them out on this node as on every other in the same order.
pub trait MetaStore: Send + Sync {
    /// Makes the metadata what it was when the node ended, and tells somebody of every change that leads there, and of
    /// every later one. Once, before anything is proposed. Says whether there was anything.
    ///
    /// # Errors
    /// What was kept cannot be read.
    fn start(&self, follower: Weak<dyn Follower>) -> Result<Found, StorageError>;

    /// Changes the metadata; this node's copy is changed when this returns. What has to outlive a restart does when the ticket is
    /// safe ([`LogStore::is_safe`](crate::LogStore::is_safe)), and then so do all changes before it; no ticket: it does not have to, or is safe already.
    ///
    /// # Errors
    /// What the command asks for cannot be, or cannot be written.
    fn propose(&self, command: Command) -> Result<(Done, Option<ConfirmTicket>), Refusal>;

    /// The last change, as long as it is not safe: what became of a message by it is not for ever yet.
    fn under_way(&self) -> Option<ConfirmTicket>;
}

/// What a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the node is new.
    Nothing,
    /// What it had before.
    Metadata,
}

/// Keeps on this node what metadata speaks of: queues, timers, what was remembered about users.
pub trait Follower: Send + Sync {
    /// A queue has been declared: nobody sees one in the metadata that is not there. Everybody else waits.
    fn open_queue(&self, meta: &Meta, id: QueueId);

    /// Something is different, in the order of changes. Others read the metadata meanwhile, but nobody changes it: what waits or takes
    /// long is left to be done later.
    fn follow(&self, meta: &Meta, change: &Change, after: &mut Aftermath);

    /// Does what following left to be done. Nothing is locked.
    fn followed(&self, after: Aftermath);
}

/// This node's copy of the metadata.
#[derive(Debug, Default)]
pub struct MetadataView {
    /// Held for the whole of a change, also while others may read.
    changing: Mutex<CHANGE, ()>,
    meta: RwLock<METADATA, Meta>,
    version: AtomicU64,
}

/// How a command is written down.
pub type Write<'a> = dyn FnMut(&Command) -> Result<ConfirmTicket, Refusal> + 'a;

impl MetadataView {
    /// Reads it. Short: everybody else waits.
    pub fn read<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        look(&self.meta.read())
    }

    /// A number that is another one after every change: what was derived from an older one has to be derived anew.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Something else that is derived together with it has changed.
    pub fn outdate(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Commands that were written down are carried out again.
    pub fn again<T>(&self, carry_out: impl FnOnce() -> T) -> T {
        self.meta.write().again(true);
        let done = carry_out();
        self.meta.write().again(false);
        done
    }

    /// Carries out a command, one after another. One that has to outlive a restart is given to `write` before anything changes: what
    /// cannot be written has not happened. What is much work is done in pieces, between which others look.
    ///
    /// # Errors
    /// What the command asks for cannot be, or cannot be written.
    pub fn apply(
        &self,
        command: Command,
        follower: &dyn Follower,
        write: Option<&mut Write<'_>>,
    ) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        let mut after = Aftermath::default();
        let applied = self.apply_in_order(command, follower, write, &mut after)?;
        follower.followed(after);
        Ok(applied)
    }

    fn apply_in_order(
        &self,
        command: Command,
        follower: &dyn Follower,
        mut write: Option<&mut Write<'_>>,
        after: &mut Aftermath,
    ) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        // Who has it may wait for the disk.
        let _order = self
            .changing
            .try_lock()
            .unwrap_or_else(|| lock::blocking(|| self.changing.lock()));
        let checked = {
            let meta = self.meta.read();
            let is_durable = meta.is_durable(&command);
            meta.check(command)?.map(|work| (work, is_durable))
        };
        let Some((mut work, is_durable)) = checked else {
            return Ok((Done::default(), None));
        };
        let written = work.command().filter(|_| is_durable).zip(write.as_mut());
        let mut ticket = written.map(|(command, write)| write(command)).transpose()?;
        let mut changes = Vec::new();
        let mut piece = || self.apply_piece(&mut work, follower, &mut changes, after);
        if !piece()? {
            // Who else is served by this thread does not wait for the rest.
            lock::blocking(|| {
                while !piece()? {}
                Ok(())
            })?;
        }
        if let Some(write) = write {
            for consequence in work.consequences() {
                // If it cannot be written the exchange is there again at the next start, with nothing bound to it.
                ticket = write(consequence).ok().or(ticket);
            }
        }
        Ok((Done { changes }, ticket))
    }

    /// True: that was the last.
    fn apply_piece(
        &self,
        work: &mut Work,
        follower: &dyn Follower,
        changes: &mut Vec<Change>,
        after: &mut Aftermath,
    ) -> Result<bool, Refusal> {
        let mut meta = self.meta.write();
        let before = changes.len();
        let done = meta.carry_on(work, changes)?;
        let new = changes.get(before..).unwrap_or_default();
        for change in new {
            if let Change::QueueAdded(id) = change {
                follower.open_queue(&meta, *id);
            }
        }
        if done {
            self.outdate();
        }
        // Whoever waits to look has a look before the next piece.
        meta.unlock_fair();
        let meta = self.meta.read();
        for change in new {
            follower.follow(&meta, change, after);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc;
    use std::time::Duration;

    use warren_amqp::Table;
    use warren_model::Name;
    use warren_model::meta::{Binding, Destination};

    use super::*;

    const BINDINGS: usize = 4000;

    /// Lets somebody else look whenever something is different.
    struct Shown<'a> {
        view: &'a MetadataView,
        seen: parking_lot::Mutex<Vec<usize>>,
    }

    impl Follower for Shown<'_> {
        fn open_queue(&self, _meta: &Meta, _id: QueueId) {}

        fn follow(&self, _meta: &Meta, _change: &Change, _after: &mut Aftermath) {
            let look = || {
                self.view.read(|meta| {
                    let exchange = meta.vhost("/").and_then(|vhost| vhost.exchange("amq.topic"));
                    exchange.map_or(0, |exchange| exchange.bindings())
                })
            };
            let seen = std::thread::scope(|scope| scope.spawn(look).join().unwrap());
            self.seen.lock().push(seen);
        }

        fn followed(&self, _after: Aftermath) {}
    }

    /// Lets no queue go before somebody else has been served.
    struct Patient {
        served: parking_lot::Mutex<mpsc::Receiver<()>>,
        waited: AtomicBool,
    }

    impl Follower for Patient {
        fn open_queue(&self, _meta: &Meta, _id: QueueId) {}

        fn follow(&self, _meta: &Meta, change: &Change, _after: &mut Aftermath) {
            if matches!(change, Change::QueueRemoved(_)) {
                let served = self.served.lock().recv_timeout(Duration::from_secs(10));
                self.waited.store(served.is_ok(), Ordering::Release);
            }
        }

        fn followed(&self, _after: Aftermath) {}
    }

    fn name(text: &str) -> Name {
        Name::try_from(text).unwrap()
    }

    #[test]
    fn who_looks_while_a_queue_with_many_bindings_goes_sees_it_going() {
        let view = MetadataView::default();
        let shown = Shown {
            view: &view,
            seen: parking_lot::Mutex::default(),
        };
        let apply = |command| drop(view.apply(command, &shown, None).unwrap());
        bind(apply);
        assert_eq!(shown.seen.lock().last(), Some(&BINDINGS));
        shown.seen.lock().clear();
        apply(delete());
        let seen = shown.seen.lock();
        assert!(matches!(seen.first(), Some(1..BINDINGS)), "{seen:?}");
        assert_eq!(seen.last(), Some(&0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_thread_that_changes_much_keeps_nobody_else_waiting() {
        let (serve, served) = mpsc::sync_channel(1);
        let patient = Patient {
            served: parking_lot::Mutex::new(served),
            waited: AtomicBool::new(false),
        };
        let changing = tokio::spawn(async move {
            let view = MetadataView::default();
            let apply = |command| drop(view.apply(command, &patient, None).unwrap());
            bind(apply);
            let other = tokio::spawn(async move { serve.send(()) });
            apply(delete());
            other.await.unwrap().unwrap();
            patient.waited.load(Ordering::Acquire)
        });
        assert!(changing.await.unwrap(), "the thread served nobody else");
    }

    fn delete() -> Command {
        Command::DeleteQueue {
            vhost: name("/"),
            name: name("bound"),
        }
    }

    /// A queue with many bindings.
    fn bind(apply: impl Fn(Command)) {
        apply(Command::AddVhost {
            name: name("/"),
            description: String::new(),
        });
        apply(Command::DeclareQueue {
            vhost: name("/"),
            name: name("bound"),
            id: None,
            durable: false,
            auto_delete: false,
            exclusive: None,
            arguments: Table::new(),
        });
        for number in 0..BINDINGS {
            let binding = Binding {
                source: name("amq.topic"),
                destination: Destination::Queue(name("bound")),
                key: name(&format!("k.{number}.*")),
                arguments: Table::new(),
            };
            apply(Command::Bind {
                vhost: name("/"),
                binding,
            });
        }
    }
}
