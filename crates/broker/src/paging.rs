//! Messages leave the memory when a queue has more of them than its consumers take, and come back before it runs out of
//! those that are left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use warren_cluster::{Aftermath, NotRead, NotWritten, Queue, QueueHandle, lock};
use warren_model::queue::Missing;
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
            if entries.is_empty() {
                return;
            }
            match node.log.page_out(&queue, &entries) {
                Ok(()) => {}
                Err(NotWritten::Nowhere) => return queue.keep_in_memory(),
                Err(error) => {
                    tracing::warn!(%error, ?queue, "messages that should leave the memory stay");
                    std::thread::sleep(PAUSE);
                    return queue.stop_paging();
                }
            }
            // Those that were taken while we wrote are not needed.
            for gone in queue.page_out(&entries) {
                node.log.paged_in(id, gone, gone);
            }
        }
    });
}

/// Fetches what a queue says is missing, by a thread that may wait for the disk.
pub(crate) fn fetch(node: &Arc<Node>, queue: Arc<Queue>, missing: Missing) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || {
        let mut after = Aftermath::default();
        match load(&node, &queue, &missing, &mut after) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, ?queue, "messages cannot be read now");
                std::thread::sleep(PAUSE);
                if node.session.holds() {
                    fetch(&node, queue, missing);
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
    let mine = |(of, _): &(Arc<Queue>, Missing)| of.identity().id == id;
    let missing = after.missing.iter().position(mine);
    let missing = missing.map(|at| after.missing.swap_remove(at));
    // Other clients of this thread are served by another.
    lock::blocking(|| match &missing {
        None => queue.wait_for_disk(until),
        Some((of, missing)) => {
            if let Err(error) = load(node, of, missing, after) {
                tracing::error!(%error, ?queue, "messages cannot be read now");
                fetch(node, Arc::clone(of), missing.clone());
                queue.wait_for_disk(until);
            }
        }
    });
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
fn load(node: &Node, queue: &Arc<Queue>, missing: &Missing, after: &mut Aftermath) -> Result<(), NotRead> {
    let id = queue.identity().id;
    let (mut entries, mut octets) = (Vec::new(), 0);
    let mut looked: Vec<(Position, Position)> = Vec::new();
    for run in &missing.runs {
        let count = MESSAGES - entries.len();
        // Those behind a run may be of another priority.
        let count = count.min(usize::try_from(run.count).unwrap_or(count));
        let (read, end) = match node.log.fetch(id, run.first, count, OCTETS - octets) {
            Ok(fetched) => {
                let all = fetched.entries.is_empty() || fetched.entries.len() as u64 >= run.count;
                let through = fetched.through.filter(|_| !all);
                // Nothing more behind the last: the run has been looked through.
                (fetched.entries, through.map_or(run.last, |end| end.min(run.last)))
            }
            Err(error @ NotRead::Damaged { position, .. }) => {
                tracing::error!(%error, ?queue, "message is damaged and left out");
                (Vec::new(), position.min(run.last))
            }
            Err(error) if looked.is_empty() => return Err(error),
            Err(_) => break,
        };
        octets += read.iter().map(|entry| entry.message.size()).sum::<u64>();
        entries.extend(read.into_iter().filter(|entry| entry.position <= run.last));
        looked.push((run.first, end));
        if end < run.last || entries.len() >= MESSAGES || octets >= OCTETS {
            break;
        }
    }
    // Before the queue has them: from then on others may write them again, and that must not be what is given up.
    for (first, last) in &looked {
        node.log.paged_in(id, *first, *last);
    }
    queue.load(now(), missing.level, entries, &looked, after);
    Ok(())
}
