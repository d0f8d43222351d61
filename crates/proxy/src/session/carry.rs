//! A session as it leaves this process, and as it comes from another one.
//!
//! Nothing is lost on the way: what was read and not sent travels with it, what waits in the sockets travels with them.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::tracking::Tracked;

use super::connect::Upstream;
use super::endpoint::Endpoint;
use super::http::Http;
use super::relay::Relay;
use super::{Common, Leaving, Session, Side, Spent, Stage, Told};
use crate::handover::{Address, ServerRecord, SessionRecord, StageRecord};
use crate::live::Target;
use crate::worker::Unpacked;
use crate::worker::context::Context;

impl Session {
    /// Whether [`Session::pack`] would do something. TLS has keys that stay where they are; of who has just come in it
    /// is not known yet what he wants.
    pub(crate) fn can_travel(&self) -> bool {
        let common = &self.common;
        let connected = match (&common.server, &common.assigned) {
            (Some(server), Some(_)) => server.is_plain(),
            (None, None) => true,
            // The proxy itself answers, or has answered for a server.
            (Some(_), None) | (None, Some(_)) => false,
        };
        common.client.is_plain()
            && match &self.stage {
                Stage::Opening(_) => false,
                // The socket it was trying is left behind.
                Stage::Joining { .. } => true,
                Stage::Relay(_) => connected && common.server.is_some(),
                Stage::Http(http) => http.waits_for_server() || connected,
            }
    }

    /// Whether it takes its server's slot along.
    pub(crate) fn has_server(&self) -> bool {
        match &self.stage {
            Stage::Opening(_) | Stage::Joining { .. } => false,
            Stage::Relay(_) => true,
            Stage::Http(http) => !http.waits_for_server() && self.common.server.is_some(),
        }
    }

    /// Itself as it travels. It stays what it was, in case it is not taken.
    pub(crate) fn pack(&mut self, context: &mut Context) -> Option<SessionRecord> {
        let stage = match &mut self.stage {
            Stage::Relay(relay) => StageRecord::Relay(relay.between(context)?),
            Stage::Joining { said } => StageRecord::Joining {
                since: self.common.begin_again(context.now),
                said: said.clone(),
            },
            Stage::Http(http) => StageRecord::Http(Box::new(http.pack(&mut self.common, context)?)),
            Stage::Opening(_) => return None,
        };
        let common = &self.common;
        let number = |spent: Option<NonZeroU32>| spent.map(NonZeroU32::get);
        let server = |said: fn(&Endpoint) -> bool| common.server.as_ref().is_some_and(said);
        Some(SessionRecord {
            id: common.id,
            frontend: common.frontend().name.to_string(),
            bind: Address::from(&common.entrance.bind.address),
            client_address: common.client_address,
            told: common.told().map(|told| told.local),
            tracked: common.tracked().iter().map(Tracked::written).collect(),
            accepted_at: common.accepted_at,
            accepted: common.accepted,
            bytes: common.bytes,
            spent: [common.spent.handshake, common.spent.queue, common.spent.connect].map(number),
            retries: common.retries,
            redispatched: common.redispatched,
            unlogged: common.unlogged,
            termination: common.termination,
            leaving: common
                .leaving
                .as_ref()
                .map(|leaving| (leaving.cause, leaving.until)),
            key: common.key,
            activity: common.activity,
            ended: [common.client.ended, server(|server| server.ended)],
            shut: [common.client.shut, server(|server| server.shut)],
            queues: common.queues,
            avoid: common.avoid.as_ref().map(|server| server.name.to_string()),
            wanted: common.wanted.as_ref().map(|server| server.name.to_string()),
            backend: common.backend.as_ref().map(|backend| backend.name.to_string()),
            server: common.assigned.as_ref().map(|server| ServerRecord {
                name: server.name.to_string(),
                target: common.target.as_deref().map(|target| match target {
                    Target::Tcp(address) => Address::Tcp(*address),
                    Target::Unix(path) => Address::Unix(path.clone()),
                }),
            }),
            stage,
        })
    }

    /// It lives elsewhere now: gives back what it has taken here, and its sockets are only closed.
    pub(crate) fn forget(self, context: &mut Context) {
        let mut common = self.common;
        common.slip_away();
        common.end_tracking(context);
        if let Some(backend) = &common.backend {
            backend.sessions.leave();
        }
        context.leave(&common.entrance);
    }

    /// One that comes from another process, and is counted here already.
    pub(crate) fn unpack(unpacked: Unpacked, context: &Context) -> Self {
        let Unpacked {
            record,
            client,
            entrance,
            backend,
            server,
            exchange,
        } = unpacked;
        let arrival = super::Arrival {
            socket: client,
            address: record.client_address,
            entrance,
        };
        let mut session = Self::new(arrival, 0, context);
        let common = &mut session.common;
        common.id = record.id;
        if let Some(local) = record.told {
            common.rare().told = Some(Told { local });
        }
        common.accepted_at = record.accepted_at;
        common.accepted = record.accepted;
        common.bytes = record.bytes;
        let [handshake, queue, connect] = record.spent.map(|spent| spent.and_then(NonZeroU32::new));
        common.spent = Spent {
            handshake,
            queue,
            connect,
        };
        common.retries = record.retries;
        common.redispatched = record.redispatched;
        common.unlogged = record.unlogged;
        common.termination = record.termination;
        common.leaving = record
            .leaving
            .map(|(cause, until)| Box::new(Leaving { cause, until }));
        common.key = record.key;
        common.activity = record.activity;
        common.queues = record.queues;
        let named = |name: Option<String>| backend.as_ref()?.server_named(&name?);
        (common.avoid, common.wanted) = (named(record.avoid), named(record.wanted));
        common.backend = backend;
        if let Some((socket, server)) = server {
            common.server = Some(Endpoint::accepted(socket));
            common.assigned = Some(server);
            common.upstream = Upstream::Joined;
        }
        common.target = record.server.and_then(|server| server.target).map(|target| {
            Arc::new(match target {
                Address::Tcp(address) => Target::Tcp(address),
                Address::Unix(path) => Target::Unix(path),
            })
        });
        let sides = [
            (Side::Client, Some(&mut common.client)),
            (Side::Server, common.server.as_mut()),
        ];
        for (side, endpoint) in sides {
            if let Some(endpoint) = endpoint {
                endpoint.ended = record.ended[side as usize];
                endpoint.shut = record.shut[side as usize];
            }
        }
        for written in &record.tracked {
            common.rare().tracked.extend(Tracked::again(written, context));
        }
        session.stage = match record.stage {
            StageRecord::Joining { since, said } => {
                common.upstream = Upstream::begin(since);
                Stage::Joining { said }
            }
            StageRecord::Relay(relay) => Stage::Relay(Relay::unpack(relay)),
            StageRecord::Http(http) => Stage::Http(Box::new(Http::unpack(*http, exchange, common))),
        };
        session
    }

    /// Its slot in the slab.
    pub(crate) fn settle_at(&mut self, slot: u32) {
        self.common.slot = slot;
        self.common.changed = true;
        // It stood in line for another slot, where nobody finds it any more.
        self.common.lined_up = false;
    }
}

impl Common {
    /// On its way to a server it goes back to where it began, and says since when it is there.
    pub(crate) fn begin_again(&mut self, now: u64) -> u64 {
        let since = match self.upstream {
            Upstream::Queued { since, .. } | Upstream::Choosing { since } => since,
            _ => now,
        };
        self.slip_away();
        self.server = None;
        self.upstream = Upstream::begin(since);
        since
    }

    /// Gives back its place in the queue and its slot, which nobody here gets: whoever waits for it follows.
    fn slip_away(&mut self) {
        let Some(backend) = &self.backend else { return };
        if let Upstream::Queued { ticket, .. } = self.upstream {
            // If it had a slot already, the worker gives that back when it hears of it.
            backend.leave(ticket);
            self.upstream = Upstream::None;
        }
        if let Some(server) = self.assigned.take() {
            server.sessions.leave();
        }
    }
}
