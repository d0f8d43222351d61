//! That something will be safe: for whoever confirms it when it is.

/// What a [`LogStore`](crate::LogStore) or [`MetaStore`](crate::MetaStore) gives for what it was left with, all of which is safe when the
/// ticket is: on as many disks as it is to be on. One speaks for a whole batch, whatever queues that was for.
///
/// Tickets have no order: what was left later may be safe earlier. Only those of changes of the metadata follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfirmTicket(u64);

impl ConfirmTicket {
    /// A ticket by the number that its issuer knows it by.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// That number; nobody else can tell anything from it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Somebody who waits for a ticket.
pub trait Waiter: Send + Sync {
    /// It is safe, or never will be: see [`Session::holds`](crate::Session::holds). Said by a thread on which others depend: this does not wait.
    fn safe(&self);
}
