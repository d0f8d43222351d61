//! Messages leave the memory when a queue has more of them than its consumers take, and come back before it runs out of
//! those that are left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
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

/// As many threads wait for a disk that writes, and as many for one that reads, however many queues want something of it: others need
/// threads too, be it to look at a password.
const THREADS: usize = 32;

/// Turns of queues at those threads. Who reads does not wait for who writes.
#[derive(Debug)]
pub(crate) struct Turns {
    out: Arc<Semaphore>,
    back: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        let turns = || Arc::new(Semaphore::new(THREADS));
        let (out, back) = (turns(), turns());
        Self { out, back }
    }
}

/// Does something on a thread that may wait for the disk, when it is its turn.
fn in_turn(turns: &Arc<Semaphore>, work: impl FnOnce() + Send + 'static) {
    let turn = Arc::clone(turns).try_acquire_owned();
    let work = |turn| {
        move || {
            work();
            drop(turn);
        }
    };
    match turn {
        Ok(turn) => drop(spawn_blocking(work(turn))),
        Err(_) => {
            let turns = Arc::clone(turns);
            tokio::spawn(async move {
                if let Ok(turn) = turns.acquire_owned().await {
                    spawn_blocking(work(turn));
                }
            });
        }
    }
}

/// Does something after [`PAUSE`].
fn later(work: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        tokio::time::sleep(PAUSE).await;
        work();
    });
}

/// Lets messages of a queue leave the memory, by a thread that may wait for the disk.
pub(crate) fn page_out(node: &Arc<Node>, queue: Arc<Queue>) {
    let turns = Arc::clone(&node.paging.out);
    let node = Arc::clone(node);
    in_turn(&turns, move || {
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
                    return later(move || queue.stop_paging());
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
    let turns = Arc::clone(&node.paging.back);
    let node = Arc::clone(node);
    in_turn(&turns, move || {
        let mut after = Aftermath::default();
        match load(&node, &queue, &missing, &mut after) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, ?queue, "messages cannot be read now");
                return later(move || {
                    if node.session.holds() {
                        fetch(&node, queue, missing);
                    }
                });
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;

    use super::*;

    /// Queues that want something of a disk that does not answer, and threads that there are for all who wait.
    const QUEUES: usize = 3 * THREADS;
    const ALL: usize = THREADS + 1;
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn however_many_queues_wait_for_the_disk_others_find_a_thread() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).max_blocking_threads(ALL);
        let runtime = runtime.enable_all().build().unwrap();
        let turns = Turns::default();
        let (disk, done) = (Arc::<Mutex<()>>::default(), Arc::<AtomicUsize>::default());
        let does_not_answer = disk.lock();
        let other = runtime.block_on(async {
            for _ in 0..QUEUES {
                let (disk, done) = (Arc::clone(&disk), Arc::clone(&done));
                in_turn(&turns.out, move || {
                    drop(disk.lock());
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
            let (read, hears) = tokio::sync::oneshot::channel();
            in_turn(&turns.back, move || assert_eq!(read.send("served"), Ok(())));
            tokio::time::timeout(PATIENCE, hears).await
        });
        drop(does_not_answer);
        assert_eq!(
            other,
            Ok(Ok("served")),
            "without a bound there is no thread, for ever"
        );
        let end = Instant::now() + PATIENCE;
        while done.load(Ordering::Relaxed) < QUEUES {
            assert!(Instant::now() < end, "{done:?} of {QUEUES} had their turn");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
