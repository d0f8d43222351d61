//! A client of mode http on its way to another process, whatever it is doing.
//!
//! Absent on purpose: connections to servers that wait for another request. They are closed with the old process.

use warren_balance::http::{Body, FIELDS_MAX, Limits};

use super::exchange::{Exchange, Out};
use super::{Http, Relay, State};
use crate::handover::{ExchangeRecord, HttpRecord, HttpState};
use crate::session::Common;
use crate::session::connect::Upstream;
use crate::worker::context::Context;

impl Http {
    /// It has a request and no server for it.
    pub(crate) const fn waits_for_server(&self) -> bool {
        matches!(self.state, State::Joining)
    }

    /// Itself as it travels. It stays what it was, in case it is not taken. `None`: what the kernel was moving cannot be
    /// had back.
    pub(crate) fn pack(&mut self, common: &mut Common, context: &mut Context) -> Option<HttpRecord> {
        let state = match &mut self.state {
            State::Waiting => HttpState::Waiting,
            State::Joining => HttpState::Joining(common.begin_again(context.now)),
            State::Passing => HttpState::Passing,
            State::Tunnel(relay) => HttpState::Tunnel(relay.between(context)?),
            State::Lingering { until, thrown } => HttpState::Lingering {
                until: *until,
                thrown: *thrown as u64,
            },
            // Nobody goes out of the way for a client that is not wanted.
            State::Tarpit { .. } => return None,
        };
        let exchange = match &mut self.exchange {
            Some(exchange) => Some(exchange.pack(context)?),
            None => None,
        };
        Some(HttpRecord {
            state,
            ahead: self.ahead.clone(),
            requests: self.requests,
            since: self.since,
            began: self.began,
            ending: self.ending,
            kept: self.kept.as_deref().cloned().unwrap_or_default(),
            exchange,
        })
    }

    /// The same client in another process, with what [`Exchange::revive`] has made of its request.
    pub(crate) fn unpack(record: HttpRecord, exchange: Option<Box<Exchange>>, common: &mut Common) -> Self {
        let routed = record.exchange.as_ref().is_some_and(|exchange| exchange.routed);
        let exchange = exchange.map(|mut exchange| {
            exchange.frontend = Some(common.frontend().plan());
            let backend = common.backend.as_ref().filter(|_| routed);
            exchange.backend = backend.map(|backend| backend.plan());
            exchange
        });
        Self {
            state: match record.state {
                HttpState::Waiting => State::Waiting,
                HttpState::Joining(since) => {
                    common.upstream = Upstream::begin(since);
                    State::Joining
                }
                HttpState::Passing => State::Passing,
                HttpState::Tunnel(relay) => State::Tunnel(Relay::unpack(relay)),
                HttpState::Lingering { until, thrown } => State::Lingering {
                    until,
                    thrown: usize::try_from(thrown).unwrap_or(usize::MAX),
                },
            },
            ahead: record.ahead,
            exchange,
            requests: record.requests,
            since: record.since,
            began: record.began,
            ending: record.ending,
            kept: Some(Box::new(record.kept)).filter(|kept| !kept.is_empty()),
        }
    }
}

impl Exchange {
    fn pack(&mut self, context: &mut Context) -> Option<ExchangeRecord> {
        // What is in a pipe came after all that was to be sent before.
        for (moving, out) in [
            (&mut self.moved_up, &mut self.up),
            (&mut self.moved_down, &mut self.down),
        ] {
            let octets = moving.take_out(&mut context.pipes)?;
            if !octets.is_empty() {
                out.replace(&octets);
            }
        }
        let head = match self.understood {
            true => self.request.original(&self.head).to_vec(),
            false => Vec::new(),
        };
        Some(ExchangeRecord {
            head,
            upload: self.upload.pause(),
            download: self.download.map(|body| body.pause()),
            up: self.up.octets.clone(),
            up_sent: self.up.sent as u64,
            down: self.down.rest().to_vec(),
            partial: self.partial.clone(),
            routed: self.backend.is_some(),
            began: self.began,
            date: self.date,
            idle: self.idle,
            request_time: self.request_time,
            response_time: self.response_time,
            joined: self.joined,
            status: self.status,
            marks: [
                self.understood,
                self.replayable,
                self.closing,
                self.fresh,
                self.edited,
                self.reused,
                self.upload_lost,
                self.keep_client,
                self.keep_server,
                self.tunnel,
                self.quiet,
            ],
            extra: self.extra.clone(),
        })
    }

    /// The same request, but for whose it is. Nothing if none can have been so.
    pub(crate) fn revive(record: &ExchangeRecord) -> Option<Box<Self>> {
        let mut exchange = Box::new(Self::default());
        [
            exchange.understood,
            exchange.replayable,
            exchange.closing,
            exchange.fresh,
            exchange.edited,
            exchange.reused,
            exchange.upload_lost,
            exchange.keep_client,
            exchange.keep_server,
            exchange.tunnel,
            exchange.quiet,
        ] = record.marks;
        if exchange.understood {
            // It was within the limits when it came.
            let limits = Limits {
                head: record.head.len() + 1,
                fields: FIELDS_MAX,
            };
            exchange.request.read(&record.head, limits).ok()??;
            exchange.head.clone_from(&record.head);
        }
        exchange.upload = Body::resume(record.upload)?;
        exchange.download = match record.download {
            Some(paused) => Some(Body::resume(paused)?),
            None => None,
        };
        exchange.up = Out {
            octets: record.up.clone(),
            sent: usize::try_from(record.up_sent).ok()?,
        };
        exchange.down.replace(&record.down);
        exchange.partial.clone_from(&record.partial);
        exchange.began = record.began;
        exchange.date = record.date;
        exchange.idle = record.idle;
        exchange.request_time = record.request_time;
        exchange.response_time = record.response_time;
        exchange.joined = record.joined;
        exchange.status = record.status;
        exchange.extra.clone_from(&record.extra);
        Some(exchange)
    }
}
