//! What a broker's node stands on: where its metadata and messages are, and whether it may serve.

use std::sync::Arc;

use warren_model::queue::Run;
use warren_model::{Position, QueueId};

use crate::queue::Past;
use crate::{LogStore, MetaStore, MetadataView, Session};

/// A node as it is seen from below. [`Member::alone`] is one without others.
pub struct Member {
    /// How metadata changes.
    pub metadata: Box<dyn MetaStore>,
    /// What it is now.
    pub view: Arc<MetadataView>,
    /// Where messages are kept.
    pub log: Arc<dyn LogStore>,
    /// Whether the node may serve.
    pub session: Session,
    /// What was there.
    pub recovered: Recovered,
}

/// What a node finds when it starts.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Which start of it this is; no two are the same.
    pub incarnation: u64,
    /// Queues that have or had messages here, in the order of their numbers, those included that were deleted meanwhile.
    pub queues: Vec<RecoveredQueue>,
}

/// What a node finds of a queue.
#[derive(Clone, Debug)]
pub struct RecoveredQueue {
    /// Which.
    pub id: QueueId,
    /// Its messages, if it has any.
    pub run: Option<Run>,
    /// Where new ones go.
    pub next: Position,
    /// Who may have seen them, and how often they came back.
    pub past: Past,
}

impl Recovered {
    /// Messages in all queues.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let runs = self.queues.iter().filter_map(|queue| queue.run);
        runs.map(|run| run.count).sum()
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
