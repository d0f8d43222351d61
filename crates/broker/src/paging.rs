//! Messages that are only on disk come back before their queue runs out of those in memory.

use std::sync::Arc;

use warren_cluster::{Aftermath, Queue};
use warren_model::queue::Run;

use crate::node::{Node, now};

/// Messages fetched at once, at most.
const MESSAGES: usize = 2048;
/// Octets fetched at once, about.
const OCTETS: u64 = 4 << 20;

/// Fetches what a queue says is missing, by a thread that may wait for the disk.
pub(crate) fn fetch(node: &Arc<Node>, queue: Arc<Queue>, run: Run) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        let mut after = Aftermath::default();
        load(&node, &queue, run, &mut after);
        if let Err(error) = node.carry_out(&mut after) {
            tracing::error!(%error, "log has ended");
        }
        after.tell();
    });
}

fn load(node: &Node, queue: &Arc<Queue>, run: Run, after: &mut Aftermath) {
    let Some(storage) = node.storage() else { return };
    match storage.fetch(queue.identity().id, run.first, MESSAGES, OCTETS) {
        Ok(entries) => {
            // Nothing more behind the last: the run has been looked through.
            let through = entries.last().map_or(run.last, |last| last.position);
            queue.load(now(), entries, through, after);
        }
        Err(error) => {
            tracing::error!(%error, ?queue, "message cannot be read and is left out");
            queue.load(now(), Vec::new(), run.first, after);
        }
    }
}
