//! How long is waited for whom, and what follows when that was too long.

use super::lost::Lost;
use super::{Http, Next, State};
use crate::record::{Cause, Phase, Termination};
use crate::session::connect::millis;
use crate::session::{Common, Flow, Side};
use crate::worker::context::Context;

impl Http {
    /// When [`Http::expire`] has to be called although nothing happens. Asked for when [`Common::changed`] is set.
    pub(crate) fn deadline(&self, common: &Common) -> Option<u64> {
        match &self.state {
            State::Waiting => self.patience(common).map(|(at, _)| at),
            State::Joining => common.upstream.deadline(),
            State::Passing => self.silence(common).map(|(at, _)| at),
            State::Tunnel(relay) => relay.deadline(common).map(|(at, _)| at),
            State::Lingering { until, .. } | State::Tarpit { until, .. } => Some(*until),
        }
    }

    /// How long a request is waited for, and whether the end of it is an error.
    fn patience(&self, common: &Common) -> Option<(u64, bool)> {
        let timeouts = common.frontend().plan().timeouts;
        let head = timeouts.http_request.or(timeouts.client);
        if self.began.is_none() && self.requests > 0 {
            let idle = timeouts.http_keep_alive.or(head)?;
            return Some((self.since + millis(idle), false));
        }
        let from = match self.began {
            // HAProxy manual, `timeout http-request`: from the connection for the first request, from its first
            // octet for others.
            Some((at, _)) if self.requests > 0 => at,
            _ => self.since,
        };
        Some((from + millis(head?), true))
    }

    /// When silence will have lasted too long, and whose.
    fn silence(&self, common: &Common) -> Option<(u64, Side)> {
        let exchange = self.exchange.as_ref()?;
        let frontend = exchange.frontend.as_ref()?;
        let client = frontend.timeouts.client.filter(|_| {
            let wanted = exchange.uploading() && exchange.up.is_empty() && common.server.is_some();
            let owed = !exchange.down.is_empty() || exchange.moved_down.owes();
            wanted || owed || common.client.wants_flush()
        });
        let client = client.map(|timeout| common.activity[Side::Client as usize] + millis(timeout));
        let backend = exchange.backend.as_ref().filter(|_| exchange.service.is_none());
        let server = backend.and_then(|backend| backend.timeouts.server).filter(|_| {
            let responding = exchange.download.is_none_or(|body| !body.is_finished());
            let asked = !exchange.uploading();
            common.server.is_some()
                && (!exchange.up.is_empty()
                    || exchange.moved_up.owes()
                    || (responding && asked && exchange.down.is_empty() && !exchange.moved_down.owes()))
        });
        let server = server.map(|timeout| common.activity[Side::Server as usize] + millis(timeout));
        let client = client.map(|at| (at, Side::Client));
        let server = server.map(|at| (at, Side::Server));
        match (client, server) {
            (Some(client), Some(server)) => Some(if server.0 < client.0 { server } else { client }),
            (client, server) => client.or(server),
        }
    }

    /// The deadline is over.
    pub(crate) fn expire(&mut self, common: &mut Common, context: &mut Context) -> Flow {
        let over = |next: Next| if next == Next::End { Flow::End } else { Flow::Stay };
        match &self.state {
            State::Waiting => match self.patience(common) {
                Some((_, true)) => {
                    let next = self.request_timeout(common, context);
                    if next == Next::Again {
                        self.drive(common, context)
                    } else {
                        over(next)
                    }
                }
                Some((_, false)) => Flow::End,
                None => Flow::Stay,
            },
            State::Joining | State::Tarpit { .. } => self.drive(common, context),
            State::Lingering { .. } => Flow::End,
            State::Tunnel(relay) => match relay.deadline(common) {
                Some((_, Side::Client)) => common.end(Termination::new(Cause::ClientTimeout, Phase::Data)),
                Some((_, Side::Server)) => common.end(Termination::new(Cause::ServerTimeout, Phase::Data)),
                None => Flow::Stay,
            },
            State::Passing => match self.silence(common) {
                Some((_, side)) => match self.silent(side, common, context) {
                    Next::Again => self.drive(common, context),
                    next => over(next),
                },
                None => Flow::Stay,
            },
        }
    }

    /// One side has been silent for too long.
    fn silent(&mut self, side: Side, common: &mut Common, context: &mut Context) -> Next {
        let Some(exchange) = &self.exchange else {
            return Next::End;
        };
        let begun = exchange.download.is_some();
        let phase = if begun { Phase::Data } else { Phase::Headers };
        if side == Side::Client {
            common.termination = Some(Termination::new(Cause::ClientTimeout, phase));
            return if begun {
                Next::End
            } else {
                self.answer_error(408, common, context)
            };
        }
        let retry = exchange
            .backend
            .as_ref()
            .is_some_and(|plan| plan.retry_on.response_timeout);
        if !begun && retry && self.again(Lost::Unwanted, common, context) {
            return Next::Again;
        }
        for tally in [
            common.backend.as_ref().map(|backend| &backend.tally),
            common.assigned.as_ref().map(|server| &server.tally),
        ]
        .into_iter()
        .flatten()
        {
            tally.of(context.worker).response_errors.count();
        }
        common.termination = Some(Termination::new(Cause::ServerTimeout, phase));
        if begun {
            Next::End
        } else {
            self.answer_error(504, common, context)
        }
    }
}
