//! Metadata that others have to agree to: another thread carries commands out, one after another, some time after they
//! were proposed. Those that have to outlive a restart are safe when [`Elsewhere`] says so.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use warren_broker::StorageError;
use warren_cluster::meta_store::Found;
use warren_cluster::{ConfirmTicket, Follower, MetaStore, MetadataView};
use warren_model::Refusal;
use warren_model::meta::{Command, Done};

use super::log::Elsewhere;

/// All that was agreed and has to be there after a restart.
#[derive(Clone, Default)]
pub(super) struct Commands(Arc<Mutex<Vec<Command>>>);

/// What was proposed, and who waits for what became of it.
type Proposal = (Command, SyncSender<Result<Applied, Refusal>>);
type Applied = (Done, Option<ConfirmTicket>);

pub(super) struct Agreed {
    view: Arc<MetadataView>,
    commands: Commands,
    log: Arc<Elsewhere>,
    propose: Mutex<Option<SyncSender<Proposal>>>,
}

impl Agreed {
    pub(super) fn new(commands: Commands, log: Arc<Elsewhere>) -> Self {
        Self {
            view: Arc::default(),
            commands,
            log,
            propose: Mutex::new(None),
        }
    }

    pub(super) fn view(&self) -> Arc<MetadataView> {
        Arc::clone(&self.view)
    }
}

impl MetaStore for Agreed {
    fn start(&self, follower: Weak<dyn Follower>) -> Result<Found, StorageError> {
        let before = self.commands.0.lock().clone();
        let is_new = before.is_empty();
        if let Some(follower) = follower.upgrade() {
            self.view.again(|| {
                for command in before {
                    self.view.apply(command, &*follower, None).ok();
                }
            });
        }
        let (propose, proposed) = sync_channel::<Proposal>(16);
        *self.propose.lock() = Some(propose);
        let (view, commands, log) = (self.view(), self.commands.clone(), Arc::clone(&self.log));
        std::thread::spawn(move || {
            for (command, answer) in proposed {
                std::thread::sleep(Duration::from_micros(300));
                let Some(follower) = follower.upgrade() else {
                    return;
                };
                let mut write = |command: &Command| {
                    commands.0.lock().push(command.clone());
                    Ok(log.change())
                };
                let applied = view.apply(command, &*follower, Some(&mut write));
                // Not under anybody who waits for the answer: the last one who knows the node ends it.
                drop(follower);
                answer.send(applied).ok();
            }
        });
        Ok(if is_new { Found::Nothing } else { Found::Metadata })
    }

    fn propose(&self, command: Command) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        let propose = self.propose.lock().clone().expect("it has started");
        let (answer, answered) = sync_channel(1);
        propose.send((command, answer)).expect("there is who agrees");
        answered.recv().expect("an answer")
    }

    fn under_way(&self) -> Option<ConfirmTicket> {
        self.log.change_under_way()
    }
}
