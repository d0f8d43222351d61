//! How other threads reach a worker: a queue, and an eventfd that wakes the event loop when the queue was empty.
//!
//! What a worker must hear (a slot it was given, an order) is always taken: its number is bounded by those who wait and
//! by the operator. Connections handed over by other workers are refused when too many wait.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

/// Connections that may wait in one mailbox.
const ACCEPTED_MAX: usize = 4096;

/// Reaches one worker from any thread.
#[derive(Debug)]
pub(crate) struct MailboxSender<M>(Arc<Shared<M>>);

/// A worker's end.
#[derive(Debug)]
pub(crate) struct Mailbox<M>(Arc<Shared<M>>);

#[derive(Debug)]
struct Shared<M> {
    queue: Mutex<VecDeque<M>>,
    event: OwnedFd,
}

impl<M> Clone for MailboxSender<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Both ends of a new mailbox.
pub(crate) fn mailbox<M>() -> io::Result<(MailboxSender<M>, Mailbox<M>)> {
    let shared = Arc::new(Shared {
        queue: Mutex::new(VecDeque::new()),
        event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
    });
    Ok((MailboxSender(Arc::clone(&shared)), Mailbox(shared)))
}

impl<M> MailboxSender<M> {
    /// Something the worker has to hear.
    pub(crate) fn send(&self, message: M) {
        let mut queue = self.0.queue.lock();
        queue.push_back(message);
        if queue.len() == 1 {
            self.0.wake();
        }
    }

    /// Something that can be done otherwise.
    ///
    /// # Errors
    /// The message itself, if too many wait already.
    pub(crate) fn offer(&self, message: M) -> Result<(), M> {
        let mut queue = self.0.queue.lock();
        if queue.len() >= ACCEPTED_MAX {
            return Err(message);
        }
        queue.push_back(message);
        if queue.len() == 1 {
            self.0.wake();
        }
        Ok(())
    }
}

impl<M> Mailbox<M> {
    /// Everything that came, in order. To be called when the event loop says so.
    pub(crate) fn take(&self) -> VecDeque<M> {
        let mut queue = self.0.queue.lock();
        // The counter is set back under the lock: a message that comes later finds the queue empty and wakes again.
        let _was_set = rustix::io::read(&self.0.event, &mut [0; 8]);
        std::mem::take(&mut *queue)
    }
}

impl<M> AsFd for Mailbox<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl<M> Shared<M> {
    fn wake(&self) {
        // It can only fail if the counter is about to overflow, and then the worker is awake.
        let _woken = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::worker::reactor::{Events, Named, Reactor, Token};

    #[test]
    fn whatever_is_sent_wakes_the_loop_and_arrives_once_and_in_order() {
        let (sender, mailbox) = mailbox().unwrap();
        let (reactor, mut events) = (Reactor::new().unwrap(), Events::default());
        reactor.add_shared(&mailbox, Token::new(Named::Mailbox)).unwrap();
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || (0..1000).for_each(|number| sender.send((thread, number))))
            })
            .collect();
        let mut next = [0; 4];
        while next.iter().sum::<u32>() < 4000 {
            let patience = Some(Duration::from_secs(10));
            assert_ne!(reactor.wait(&mut events, patience).unwrap(), 0, "{next:?}");
            for (thread, number) in mailbox.take() {
                assert_eq!(number, next[thread as usize]);
                next[thread as usize] += 1;
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
    }

    #[test]
    fn connections_are_refused_when_too_many_wait_and_orders_are_not() {
        let (sender, mailbox) = mailbox().unwrap();
        assert!((0..ACCEPTED_MAX).all(|number| sender.offer(number).is_ok()));
        assert_eq!(sender.offer(1), Err(1));
        sender.send(2);
        assert_eq!(mailbox.take().len(), ACCEPTED_MAX + 1);
    }
}
