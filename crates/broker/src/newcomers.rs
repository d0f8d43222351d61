//! Those who are coming in: of thousands who come at once some have their turn, then those who are inside, then the next.
//!
//! A handshake's steps cost a thread some tens of microseconds each, and the event loop takes whoever is ready in the order in which he
//! became ready: without a bound who publishes would wait for a step of each of them. So a thread that has taken [`AT_ONCE`] steps without
//! having been idle takes no more as they come. Who is next then waits in a line of which so many at once go to the end of the event
//! loop's. Who waits for his client, and be it for ever, is not in that line.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::ready;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;

/// Steps between two turns of those who are inside.
const AT_ONCE: u32 = 8;

thread_local! {
    /// Steps that this thread has taken since it was idle.
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

/// This thread is idle: nobody waits for anything.
pub(crate) fn rest() {
    TAKEN.set(0);
}

/// Their line.
#[derive(Debug)]
pub(crate) struct Newcomers(Arc<Semaphore>);

impl Default for Newcomers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE as usize)))
    }
}

impl Newcomers {
    /// Does that in steps, each when it is its turn. Until it waits for the first time nothing is a step.
    pub(crate) async fn in_turn<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut line: Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>> = None;
        let mut begun = false;
        poll_fn(|cx| {
            let mut turn = None;
            if std::mem::replace(&mut begun, true) {
                let taken = TAKEN.get();
                if line.is_none() && taken < AT_ONCE {
                    TAKEN.set(taken + 1);
                } else {
                    let line = line.get_or_insert_with(|| Box::pin(stand(Arc::clone(&self.0))));
                    turn = ready!(line.as_mut().poll(cx));
                }
                line = None;
            }
            let done = work.as_mut().poll(cx);
            drop(turn);
            done
        })
        .await
    }
}

/// In the line, then at the end of the event loop's.
async fn stand(line: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let turn = line.acquire_owned().await.ok();
    yield_now().await;
    turn
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    const MANY: usize = 200;

    /// Steps of many who are all ready at the same moment, between two turns of somebody else each.
    async fn steps_between_turns() -> Vec<usize> {
        let (line, ready) = (Arc::new(Newcomers::default()), Arc::new(Semaphore::new(0)));
        let steps = Arc::new(AtomicUsize::new(0));
        for _ in 0..MANY {
            let (line, ready, steps) = (Arc::clone(&line), Arc::clone(&ready), Arc::clone(&steps));
            tokio::spawn(async move {
                steps.fetch_add(1, Relaxed);
                let _ready = line.in_turn(ready.acquire()).await;
                steps.fetch_add(1, Relaxed);
            });
        }
        while steps.load(Relaxed) < MANY {
            yield_now().await;
        }
        steps.store(0, Relaxed);
        ready.add_permits(MANY);
        let mut between = Vec::new();
        while between.iter().sum::<usize>() < MANY {
            yield_now().await;
            between.push(steps.swap(0, Relaxed));
        }
        between
    }

    #[tokio::test]
    async fn of_many_who_are_ready_at_once_few_are_served_between_two_turns_of_others() {
        rest();
        let steps = steps_between_turns().await;
        let most = 2 * AT_ONCE as usize;
        assert!(steps.iter().all(|count| *count <= most), "{steps:?}");
    }

    #[tokio::test]
    async fn who_waits_for_his_client_takes_no_place_in_the_line() {
        let line = Arc::new(Newcomers::default());
        TAKEN.set(AT_ONCE);
        let waits = Arc::new(AtomicUsize::new(0));
        for _ in 0..MANY {
            let (line, waits) = (Arc::clone(&line), Arc::clone(&waits));
            tokio::spawn(async move {
                let silent = async {
                    yield_now().await;
                    waits.fetch_add(1, Relaxed);
                    std::future::pending::<()>().await;
                };
                line.in_turn(silent).await;
            });
        }
        line.in_turn(yield_now()).await;
        while waits.load(Relaxed) < MANY {
            yield_now().await;
        }
        line.in_turn(yield_now()).await;
        assert_eq!(line.0.available_permits(), AT_ONCE as usize);
    }

    /// Whether it waits.
    async fn waits(mut future: Pin<&mut impl Future>) -> bool {
        poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn who_comes_to_an_idle_thread_does_not_stand_in_line() {
        let line = Newcomers::default();
        let taken = Arc::clone(&line.0).acquire_many_owned(AT_ONCE).await;
        TAKEN.set(AT_ONCE);
        let mut newcomer = Box::pin(line.in_turn(yield_now()));
        assert!(waits(newcomer.as_mut()).await);
        rest();
        newcomer.await;
        drop(taken);
    }
}
