//! A session of mode http: requests and responses on the session's two endpoints.

use std::convert::Infallible;

use super::{Common, Flow};
use crate::record::{Cause, Phase, Termination};
use crate::worker::context::Context;

/// Between the first request and the last response.
#[derive(Debug)]
pub(crate) struct Http {
    never: Infallible,
}

#[allow(clippy::needless_pass_by_ref_mut, reason = "the shape of what comes here")]
impl Http {
    /// A client that can be read from. `Err` ends the session.
    pub(crate) fn begin(_: &mut Common, _: &mut Context) -> Result<Self, Termination> {
        Err(Termination::new(Cause::Internal, Phase::Request))
    }

    /// Something may have changed: goes as far as it can without waiting.
    pub(crate) fn drive(&mut self, _: &mut Common, _: &mut Context) -> Flow {
        match self.never {}
    }

    /// When [`Http::expire`] has to be called although nothing happens. Asked for when [`Common::changed`] is set.
    pub(crate) fn deadline(&self, _: &Common) -> Option<u64> {
        match self.never {}
    }

    /// The deadline is over.
    pub(crate) fn expire(&mut self, _: &mut Common, _: &mut Context) -> Flow {
        match self.never {}
    }

    /// The session is over: logs what is under way. Slot, backend and frontend are left by the caller.
    pub(crate) fn finish(&mut self, _: &mut Common, _: &mut Context) {
        match self.never {}
    }
}
