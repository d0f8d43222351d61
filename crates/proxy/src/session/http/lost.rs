//! What follows when a request or its response cannot go on: another attempt, an error, or the end.

use warren_balance::http::Refused;

use super::{Http, Next, State};
use crate::record::{Cause, Phase, Termination};
use crate::session::Common;
use crate::session::connect::Upstream;
use crate::worker::context::Context;

/// Why a request or its response cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The client's connection is gone, or it said that nothing follows in the middle of its request.
    Client,
    /// The client's body is not what its head says.
    Upload(Refused),
    /// The server closed before it said anything.
    Empty,
    /// What the server says is no response.
    Junk,
    /// A rule does not want it.
    Denied(u16),
    /// A status that `retry-on` names.
    Unwanted,
    /// The server closed in the middle of its response.
    Cut,
}

impl Http {
    /// It cannot go on.
    pub(super) fn lost(&mut self, lost: Lost, common: &mut Common, context: &mut Context) -> Next {
        common.changed = true;
        let Some(exchange) = &mut self.exchange else {
            return Next::End;
        };
        let begun = exchange.download.is_some();
        let phase = match self.state {
            State::Joining => common.upstream.phase(),
            _ if begun => Phase::Data,
            _ => Phase::Headers,
        };
        let worker = context.worker;
        match lost {
            Lost::Client => {
                common.termination = Some(Termination::new(Cause::ClientAborted, phase));
                Next::End
            }
            Lost::Upload(refused) => {
                common.frontend().tally.of(worker).request_errors.count();
                common.termination = Some(Termination::new(Cause::Proxy, phase));
                if begun {
                    Next::End
                } else {
                    self.answer_error(refused.status(), common, context)
                }
            }
            Lost::Cut => {
                common.termination = Some(Termination::new(Cause::ServerAborted, Phase::Data));
                Next::End
            }
            Lost::Empty | Lost::Junk | Lost::Unwanted if self.again(lost, common, context) => Next::Again,
            Lost::Empty
                if self.requests > 1 && self.exchange.as_ref().is_some_and(|exchange| exchange.reused) =>
            {
                // The client has been told nothing, and will try again by itself: it knows that connections end.
                if let Some(exchange) = &mut self.exchange {
                    exchange.quiet = true;
                }
                common.termination = Some(Termination::new(Cause::ServerAborted, Phase::Headers));
                Next::End
            }
            Lost::Empty | Lost::Junk | Lost::Unwanted => {
                for tally in [
                    common.backend.as_ref().map(|backend| &backend.tally),
                    common.assigned.as_ref().map(|server| &server.tally),
                ]
                .into_iter()
                .flatten()
                {
                    tally.of(worker).response_errors.count();
                }
                let cause = if lost == Lost::Junk {
                    Cause::Proxy
                } else {
                    Cause::ServerAborted
                };
                common.termination = Some(Termination::new(cause, Phase::Headers));
                self.answer_error(502, common, context)
            }
            Lost::Denied(status) => {
                for tally in [
                    Some(&common.frontend().tally),
                    common.backend.as_ref().map(|backend| &backend.tally),
                    common.assigned.as_ref().map(|server| &server.tally),
                ]
                .into_iter()
                .flatten()
                {
                    tally.of(worker).denied_responses.count();
                }
                common.termination = Some(Termination::new(Cause::Proxy, Phase::Headers));
                self.answer_error(status, common, context)
            }
        }
    }

    /// Sends the request once more, if that may be done: a connection that had served others and closed before it said
    /// anything has not seen it (RFC 9112 9.3.1), for anything else `retry-on` decides.
    pub(super) fn again(&mut self, lost: Lost, common: &mut Common, context: &mut Context) -> bool {
        let Some(exchange) = &mut self.exchange else {
            return false;
        };
        let (Some(plan), Some(server), Some(backend)) = (
            exchange.backend.clone(),
            common.assigned.clone(),
            common.backend.clone(),
        ) else {
            return false;
        };
        if !exchange.replayable {
            return false;
        }
        let unseen = lost == Lost::Empty && exchange.reused && exchange.request.is_idempotent(&exchange.head);
        let wanted = match lost {
            Lost::Empty => plan.retry_on.empty_response,
            Lost::Junk => plan.retry_on.junk_response,
            Lost::Unwanted => true,
            Lost::Client | Lost::Upload(_) | Lost::Denied(_) | Lost::Cut => false,
        };
        if !unseen && (!wanted || common.retries >= plan.retries) {
            return false;
        }
        common.server = None;
        exchange.up.sent = 0;
        exchange.upload_lost = false;
        exchange.partial.clear();
        exchange.joined = None;
        exchange.response_time = None;
        common.retries += 1;
        for tally in [&server.tally, &backend.tally] {
            tally.of(context.worker).retries.count();
        }
        // The first time a new connection will do; after that another server, if that is allowed.
        exchange.fresh = true;
        if !unseen && plan.redispatch.is_some() {
            common.avoid = Some(std::sync::Arc::clone(&server));
            common.leave_server(context);
            common.upstream = Upstream::begin(context.now);
        } else {
            common.upstream = Upstream::Opening { since: context.now };
        }
        self.state = State::Joining;
        true
    }
}
