//! Messages leave the memory when a queue has more of them than its consumers take, and come back before it runs out of
//! those that are left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use warren_cluster::{Aftermath, NotRead, NotWritten, Queue, QueueHandle};
use warren_model::queue::Run;
use warren_model::{Position, QueueId};

use crate::clock::now;
use crate::node::Node;
use crate::timers::Alarm;

/// Messages fetched at once, at most.
const MESSAGES: usize = 2048;
/// Octets fetched at once, about.
const OCTETS: u64 = 4 << 20;
/// How long until what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Lets messages of a queue leave the memory, by a thread that may wait for the disk.
pub(crate) fn page_out(node: &Arc<Node>, queue: Arc<Queue>) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        let id = queue.identity().id;
        loop {
            let entries = queue.to_page();
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                return;
            };
            match node.log.page_out(id, &entries) {
                Ok(()) => {}
                // It is not asked again.
                Err(NotWritten::Nowhere) => return,
                Err(error) => {
                    tracing::warn!(%error, ?queue, "messages that should leave the memory stay");
                    std::thread::sleep(PAUSE);
                    return queue.stop_paging();
                }
            }
            // Those that were taken while we wrote are not needed.
            match queue.page_out(last.position) {
                Some(run) if run.first > first.position => {
                    node.log.paged_in(id, first.position, Position(run.first.0 - 1));
                }
                Some(_) => {}
                None => node.log.paged_in(id, first.position, last.position),
            }
        }
    });
}

/// Fetches what a queue says is missing, by a thread that may wait for the disk.
pub(crate) fn fetch(node: &Arc<Node>, queue: Arc<Queue>, run: Run) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        let mut after = Aftermath::default();
        match load(&node, &queue, run, &mut after) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, ?queue, "messages cannot be read now");
                std::thread::sleep(PAUSE);
                if node.session.holds() {
                    fetch(&node, queue, run);
                }
                return;
            }
        }
        if let Err(error) = node.carry_out(&mut after) {
            tracing::error!(%error, "log has ended");
        }
        after.tell();
    });
}

/// Fetches what a queue says is missing, by this thread, or waits for who does already.
pub(crate) fn bring(node: &Arc<Node>, queue: &QueueHandle, after: &mut Aftermath, until: Instant) {
    let id = queue.identity().id;
    let mine = |(missing, _): &(Arc<Queue>, Run)| missing.identity().id == id;
    let missing = after.missing.iter().position(mine);
    let missing = missing.map(|at| after.missing.swap_remove(at));
    let mut bring = || match &missing {
        None => queue.wait_for_disk(until),
        Some((missing, run)) => {
            if let Err(error) = load(node, missing, *run, after) {
                tracing::error!(%error, ?queue, "messages cannot be read now");
                fetch(node, Arc::clone(missing), *run);
                queue.wait_for_disk(until);
            }
        }
    };
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        // Other clients of this thread are served by another.
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(bring),
        _ => bring(),
    }
}

/// Looks at first messages that a restart found, which end at their time even if nobody uses their queue.
pub(crate) fn look(node: &Node, first: Vec<(QueueId, Position)>) {
    for (queue, position) in first {
        match node.log.fetch(queue, position, 1, 1) {
            Ok(found) => {
                if let Some(time) = found.entries.first().and_then(|entry| entry.expires) {
                    node.timers.set(time, queue, Alarm::Messages);
                }
            }
            // Who brings it into memory will see.
            Err(_) => node.timers.set(now(), queue, Alarm::Messages),
        }
    }
}

/// # Errors
/// They may be read another time.
fn load(node: &Node, queue: &Arc<Queue>, run: Run, after: &mut Aftermath) -> Result<(), NotRead> {
    let id = queue.identity().id;
    let (entries, through) = match node.log.fetch(id, run.first, MESSAGES, OCTETS) {
        // Nothing more behind the last: the run has been looked through.
        Ok(fetched) => (fetched.entries, fetched.through.unwrap_or(run.last)),
        Err(error @ NotRead::Damaged { position, .. }) => {
            tracing::error!(%error, ?queue, "message is damaged and left out");
            (Vec::new(), position)
        }
        Err(error) => return Err(error),
    };
    let through = through.min(run.last);
    queue.load(now(), entries, through, after);
    node.log.paged_in(id, run.first, through);
    Ok(())
}
