//! A session as it leaves this process, and as it comes from another one.
//!
//! Nothing is lost on the way: what was read and not sent travels with it, what waits in the sockets travels with them.

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use warren_balance::Key;

use super::amqp::Saved;
use super::connect::Upstream;
use super::endpoint::Endpoint;
use super::http::Http;
use super::relay::Relay;
use super::{Common, Leaving, Session, Side, Spent, Stage, Told};
use crate::handover::{Address, JoinedRecord, SessionRecord};
use crate::live::{Backend, Server, Target};
use crate::worker::Unpacked;
use crate::worker::context::{Context, Entrance};

impl Session {
    /// Whether [`Session::pack`] would do something. TLS has keys that stay where they are; a request of mode http is
    /// somewhere in the middle.
    pub(crate) fn can_travel(&self) -> bool {
        let common = &self.common;
        let server_is_plain = common.server.as_ref().is_some_and(Endpoint::is_plain);
        common.client.is_plain()
            && match &self.stage {
                Stage::Relay(_) => server_is_plain && common.assigned.is_some(),
                // Nothing was read, so that it can begin anew.
                Stage::Joining { said } => said.is_empty() && !common.entrance.expects_header(),
                Stage::Http(http) => http.requests_before().is_some(),
                Stage::Opening(_) => false,
            }
    }

    /// Itself as it travels. It stays what it was, in case it is not taken.
    pub(crate) fn pack(&mut self, context: &mut Context) -> Option<SessionRecord> {
        let joined = match &mut self.stage {
            Stage::Relay(relay) => Some(self.common.joined(relay.between(context)?)?),
            Stage::Joining { .. } => {
                self.common.leave_server(context);
                self.common.server = None;
                self.common.next_attempt();
                self.common.upstream = Upstream::begin(context.now);
                None
            }
            Stage::Http(_) => None,
            Stage::Opening(_) => return None,
        };
        let requests = match &self.stage {
            Stage::Http(http) => http.requests_before(),
            Stage::Opening(_) | Stage::Joining { .. } | Stage::Relay(_) => None,
        };
        let common = &self.common;
        let number = |spent: Option<NonZeroU32>| spent.map(NonZeroU32::get);
        Some(SessionRecord {
            id: common.id,
            frontend: common.frontend().name.to_string(),
            bind: Address::from(&common.entrance.bind.address),
            client_address: common.client_address,
            told: common.told.as_ref().map(|told| told.local),
            counted_source: common.counted_source,
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
            requests,
            joined,
        })
    }

    /// It lives elsewhere now: gives back what it has taken here, and its sockets are only closed.
    pub(crate) fn forget(self, context: &mut Context) {
        let mut common = self.common;
        common.leave_server(context);
        common.leave_source(context);
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
            joined,
        } = unpacked;
        let arrival = super::Arrival {
            socket: client,
            address: record.client_address,
            entrance,
        };
        let mut session = Self::new(arrival, 0, context);
        let common = &mut session.common;
        let (counted_source, requests) = (record.counted_source, record.requests);
        common.id = record.id;
        common.told = record.told.map(|local| Box::new(Told { local }));
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
        if let (Some(record), Some((socket, backend, server))) = (record.joined, joined) {
            common.join(&record, socket, backend, server);
            if counted_source {
                common.enter_source(context);
            }
            session.stage = Stage::Relay(Relay::unpack(record));
        } else if let Some(requests) = requests {
            if counted_source {
                common.enter_source(context);
            }
            session.stage = Stage::Http(Box::new(Http::carried(requests, common, context)));
        }
        session
    }

    /// Its slot in the slab.
    pub(crate) fn settle_at(&mut self, slot: u32) {
        self.common.slot = slot;
        self.common.changed = true;
    }
}

impl Entrance {
    /// A client may begin with a PROXY protocol header, which was read already.
    fn expects_header(&self) -> bool {
        self.bind.accept_proxy || !self.bind.proxy_from.is_empty()
    }
}

impl Common {
    fn joined(&self, (held, tap): ([Vec<u8>; 2], Option<Saved>)) -> Option<JoinedRecord> {
        let server = self.server.as_ref()?;
        Some(JoinedRecord {
            backend: self.backend.as_ref()?.name.to_string(),
            server: self.assigned.as_ref()?.name.to_string(),
            target: self.target.as_deref().map(|target| match target {
                Target::Tcp(address) => Address::Tcp(*address),
                Target::Unix(path) => Address::Unix(path.clone()),
            }),
            key: self.key,
            activity: self.activity,
            ended: [self.client.ended, server.ended],
            shut: [self.client.shut, server.shut],
            held,
            tap,
        })
    }

    fn join(&mut self, record: &JoinedRecord, socket: OwnedFd, backend: Arc<Backend>, server: Arc<Server>) {
        let mut endpoint = Endpoint::accepted(socket);
        for (endpoint, side) in [(&mut self.client, Side::Client), (&mut endpoint, Side::Server)] {
            endpoint.ended = record.ended[side as usize];
            endpoint.shut = record.shut[side as usize];
        }
        self.server = Some(endpoint);
        self.backend = Some(backend);
        self.assigned = Some(server);
        self.target = record.target.clone().map(|target| {
            Arc::new(match target {
                Address::Tcp(address) => Target::Tcp(address),
                Address::Unix(path) => Target::Unix(path),
            })
        });
        self.upstream = Upstream::Joined;
        self.key = record.key;
        self.activity = record.activity;
    }

    /// Counts as a connection of its client's address.
    fn enter_source(&mut self, context: &Context) {
        let mut sources = self.frontend().sources.lock();
        let Some((table, address)) = sources.as_mut().zip(self.client_address) else {
            return;
        };
        let counted = table.open(context.time(), &Key::from(address.ip())).is_ok();
        drop(sources);
        self.counted_source = counted;
    }
}
