//! Which server gets the next connection.
//!
//! A [`Balancer`] is one backend's servers and one algorithm. It is told of servers whenever something about them
//! changes ([`Balancer::update`]) and asked once per connection ([`Balancer::choose`]). Who may be chosen at all is
//! decided here, once, for all algorithms: usable active servers, or backups if there are none (HAProxy manual,
//! server keyword `backup`). Loads are the caller's, since they are shared by all worker threads.
//!
//! Absent on purpose: what a request is hashed by (the caller makes the key) and what happens to a
//! connection that finds no server.

mod consistent;
mod first;
mod leastconn;
mod map;
mod random;
mod roundrobin;
mod static_rr;
#[cfg(test)]
mod tests;

use std::num::{NonZeroU8, NonZeroU32};

use crate::types::{Backups, ServerId, Share, Weight};

/// The most servers of one backend. HAProxy manual, `balance roundrobin`: "limited by design to 4095 active servers".
pub const SERVERS_MAX: usize = 4095;

/// How a backend spreads connections (HAProxy manual, `balance`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// In turns by weight, as smoothly as can be; weights may change at any time.
    RoundRobin,
    /// In turns by weight as configured: later changes have no effect.
    StaticRr,
    /// The server with the fewest connections for its weight; equals in turns.
    LeastConn,
    /// The lowest id that has a free slot, so that the rest can be switched off.
    First,
    /// The key modulo a table of the usable servers (`hash-type map-based`): the most even of the hashes, but any
    /// change of the servers moves most keys.
    MapHash,
    /// `hash-type consistent`: a key moves only if its server goes, or to a server that comes or gains weight.
    ConsistentHash,
    /// The least loaded of so many servers drawn by weight.
    Random {
        /// HAProxy manual, `balance random`: 2 by default.
        draws: NonZeroU8,
    },
}

impl Algorithm {
    /// Weights are those of the configuration, or nothing (HAProxy manual, `balance`: "static").
    #[must_use]
    pub const fn is_static(self) -> bool {
        matches!(self, Self::StaticRr | Self::MapHash)
    }
}

/// A server as balancing sees it at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Unique within the backend; the order that `first` follows.
    pub id: ServerId,
    /// Only chosen when no active server may be.
    pub backup: bool,
    /// Up, and neither draining nor in maintenance.
    pub usable: bool,
    /// As configured; what the static algorithms count with.
    pub weight: Weight,
    /// What it is worth now; zero and it may not be chosen.
    pub share: Share,
    /// Connections it may have at once.
    pub maxconn: Option<NonZeroU32>,
}

impl Server {
    /// A usable active server of `weight` without limit.
    #[must_use]
    pub const fn new(id: ServerId, weight: Weight) -> Self {
        Self {
            id,
            backup: false,
            usable: true,
            weight,
            share: Share::full(weight),
            maxconn: None,
        }
    }

    /// Balancing may choose it (it may still be full).
    #[must_use]
    pub const fn eligible(&self) -> bool {
        self.usable && self.share.get() > 0
    }
}

/// What a choice depends on besides the servers.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What the hashes go by, from [`crate::hash`].
    pub key: u64,
    /// Fresh random bits; only `random` uses them.
    pub entropy: u64,
    /// The server that just refused this connection: only taken again if there is no other.
    pub avoid: Option<ServerId>,
    /// Connections a server has now, served and waiting for it.
    pub inflight: &'a dyn Fn(ServerId) -> u32,
}

/// Why no server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchosen {
    /// Nobody is usable: the connection is refused.
    #[error("no server is available: see which checks fail, or end drain and maintenance")]
    NoServer,
    /// All have as many connections as they may: the connection waits in the backend's queue.
    #[error("every server has reached its maxconn: raise it or add a server")]
    AllFull,
}

/// Servers that cannot be balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServers {
    /// Two with one id.
    #[error("two servers have the id {0}: give each its own")]
    Duplicate(ServerId),
    /// More than [`SERVERS_MAX`].
    #[error("{0} servers in one backend, at most 4095 can be balanced: split the backend")]
    TooMany(usize),
}

/// One backend's servers and the algorithm's memory.
#[derive(Clone, Debug)]
pub struct Balancer {
    backups: Backups,
    /// As last told, in the order of the configuration.
    servers: Vec<Server>,
    /// Those that may be chosen now, in the same order (`first`: in the order of their ids).
    candidates: Vec<Server>,
    memory: Memory,
}

#[derive(Clone, Debug)]
enum Memory {
    RoundRobin(roundrobin::RoundRobin),
    StaticRr(static_rr::StaticRr),
    LeastConn(leastconn::LeastConn),
    First,
    MapHash(map::Map),
    ConsistentHash,
    Random(random::Random),
}

impl Balancer {
    /// # Errors
    /// Two servers with one id, or too many.
    pub fn new(algorithm: Algorithm, backups: Backups, servers: Vec<Server>) -> Result<Self, InvalidServers> {
        let mut balancer = Self {
            backups,
            servers: Vec::new(),
            candidates: Vec::new(),
            memory: match algorithm {
                Algorithm::RoundRobin => Memory::RoundRobin(roundrobin::RoundRobin::default()),
                Algorithm::StaticRr => Memory::StaticRr(static_rr::StaticRr::default()),
                Algorithm::LeastConn => Memory::LeastConn(leastconn::LeastConn::default()),
                Algorithm::First => Memory::First,
                Algorithm::MapHash => Memory::MapHash(map::Map::default()),
                Algorithm::ConsistentHash => Memory::ConsistentHash,
                Algorithm::Random { draws } => Memory::Random(random::Random::new(draws)),
            },
        };
        balancer.update(servers)?;
        Ok(balancer)
    }

    /// Takes the servers as they are now. Servers that stay keep their turn.
    ///
    /// # Errors
    /// Two servers with one id, or too many; the servers are then as before.
    pub fn update(&mut self, servers: Vec<Server>) -> Result<(), InvalidServers> {
        validate(&servers)?;
        self.candidates = candidates(&servers, self.backups);
        self.servers = servers;
        match &mut self.memory {
            Memory::RoundRobin(memory) => memory.update(&self.candidates),
            Memory::StaticRr(memory) => memory.update(&self.candidates),
            Memory::LeastConn(memory) => memory.update(&self.candidates),
            Memory::First => self.candidates.sort_unstable_by_key(|server| server.id),
            Memory::MapHash(memory) => memory.update(&self.candidates),
            Memory::ConsistentHash => {}
            Memory::Random(memory) => memory.update(&self.candidates),
        }
        Ok(())
    }

    /// The server for a new connection.
    ///
    /// The hashes choose a server even when it is full, since the client belongs there; it waits in that server's
    /// queue. The others pass over full servers.
    ///
    /// # Errors
    /// Nobody may be chosen, or everybody is full.
    pub fn choose(&mut self, request: &Request<'_>) -> Result<ServerId, Unchosen> {
        if self.candidates.is_empty() {
            return Err(Unchosen::NoServer);
        }
        self.attempt(request)
            .or_else(|| {
                // Better the server that just failed than none.
                let again = Request {
                    avoid: None,
                    ..*request
                };
                request.avoid.and_then(|_| self.attempt(&again))
            })
            .ok_or(Unchosen::AllFull)
    }

    fn attempt(&mut self, request: &Request<'_>) -> Option<ServerId> {
        let candidates = &self.candidates;
        match &mut self.memory {
            Memory::RoundRobin(memory) => memory.choose(candidates, request),
            Memory::StaticRr(memory) => memory.choose(candidates, request),
            Memory::LeastConn(memory) => memory.choose(candidates, request),
            Memory::First => first::choose(candidates, request),
            Memory::MapHash(memory) => memory.choose(candidates, request),
            Memory::ConsistentHash => consistent::choose(candidates, request),
            Memory::Random(memory) => memory.choose(candidates, request),
        }
    }

    /// As last told, in the order of the configuration.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Those that may be chosen now: usable active servers, or backups.
    #[must_use]
    pub fn candidates(&self) -> &[Server] {
        &self.candidates
    }
}

impl Request<'_> {
    /// It has a free slot and is not the one to avoid.
    fn accepts(&self, server: &Server) -> bool {
        self.avoid != Some(server.id)
            && server
                .maxconn
                .is_none_or(|maxconn| (self.inflight)(server.id) < maxconn.get())
    }
}

fn validate(servers: &[Server]) -> Result<(), InvalidServers> {
    if servers.len() > SERVERS_MAX {
        return Err(InvalidServers::TooMany(servers.len()));
    }
    let mut ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
    ids.sort_unstable();
    let duplicate = ids.iter().zip(ids.iter().skip(1)).find(|(one, next)| one == next);
    duplicate.map_or(Ok(()), |(id, _)| Err(InvalidServers::Duplicate(*id)))
}

/// HAProxy manual, server keyword `backup`: "the server is only used in load balancing when all other non-backup
/// servers are unavailable".
fn candidates(servers: &[Server], backups: Backups) -> Vec<Server> {
    let eligible = |backup| {
        servers
            .iter()
            .filter(move |server| server.backup == backup && server.eligible())
            .copied()
    };
    let active: Vec<Server> = eligible(false).collect();
    if !active.is_empty() {
        return active;
    }
    match backups {
        Backups::First => eligible(true).take(1).collect(),
        Backups::All => eligible(true).collect(),
    }
}
