//! Messages of a node without a data directory: nothing is kept, and so everything is as safe as it will ever be.

use std::sync::Arc;

use warren_model::{Entry, Position, QueueId};

use crate::lock;
use crate::log_store::{Fetched, LogStore, NotRead, NotWritten, Space};
use crate::queue::{Past, Queue, Tries};
use crate::{Aftermath, ConfirmTicket, LogStatistics, Waiter};

/// See the module.
pub(super) struct Nowhere;

impl LogStore for Nowhere {
    fn write(&self, after: &mut Aftermath) -> Result<Option<ConfirmTicket>, NotWritten> {
        lock::waits();
        after.forget_kept();
        Ok(None)
    }

    fn is_safe(&self, _ticket: ConfirmTicket) -> bool {
        true
    }

    fn when_safe(&self, _ticket: ConfirmTicket, waiter: Arc<dyn Waiter>) {
        waiter.safe();
    }

    fn wait(&self, _ticket: ConfirmTicket) -> Result<(), NotWritten> {
        lock::waits();
        Ok(())
    }

    fn behind(&self) -> Option<ConfirmTicket> {
        None
    }

    fn has_room(&self, _octets: u64) -> bool {
        true
    }

    fn statistics(&self) -> Option<LogStatistics> {
        None
    }

    fn space(&self) -> Option<Space> {
        None
    }

    fn fetch(
        &self,
        _queue: QueueId,
        _from: Position,
        _count: usize,
        _octets: u64,
    ) -> Result<Fetched, NotRead> {
        Ok(Fetched::default())
    }

    fn page_out(&self, _queue: &Queue, _entries: &[Entry]) -> Result<(), NotWritten> {
        Err(NotWritten::Nowhere)
    }

    fn paged_in(&self, _queue: QueueId, _first: Position, _last: Position) {}

    fn started(&self, _tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        Ok(())
    }

    fn has_many_tries(&self) -> Option<u64> {
        None
    }

    fn rewrite_tries(&self, _before: u64, _tries: Vec<(QueueId, Tries)>) -> Result<(), NotWritten> {
        Ok(())
    }

    fn stop(&self, _pasts: &[(QueueId, Past)]) -> Result<(), NotWritten> {
        Ok(())
    }
}
