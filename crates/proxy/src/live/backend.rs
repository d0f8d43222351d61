//! One backend's servers, who gets the next connection, and who waits.
//!
//! The choice is made under one lock for each backend, taken once for each connection (not for each message): so the
//! distribution is exactly the algorithm's whatever the number of workers.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use warren_balance::health::State;
use warren_balance::queue::Limit;
use warren_balance::{
    Backups, Balancer, Instant, Key, Periods, Queue, Request, ServerId, StickTable, Ticket, Unchosen,
};

use super::capture::LastRefused;
use super::counters::{Gauge, Rate, Tally, Timings};
use super::server::Server;
use crate::plan;
use crate::tls::Keyring;

/// Connections that may wait for a slot of one backend. A limit, so that a flood cannot take all memory.
pub const WAITING_MAX: usize = 65_536;

/// A backend as it is.
#[derive(Debug)]
pub struct Backend {
    /// Its name, which never changes.
    pub name: Arc<str>,
    plan: ArcSwap<plan::Backend>,
    servers: ArcSwap<Vec<Arc<Server>>>,
    balancing: Mutex<Balancing>,
    workers: usize,
    /// Sessions now.
    pub sessions: Gauge,
    /// Connections that wait for any server.
    pub queued: Gauge,
    /// New sessions.
    pub session_rate: Rate,
    /// HTTP requests.
    pub request_rate: Rate,
    /// What it counted.
    pub tally: Tally,
    /// How long its sessions took.
    pub timings: Timings,
    /// When the last session began, in milliseconds since the start; 0 is never.
    pub last_session: AtomicU64,
    /// Times it had no server left, and the time without, for the statistics.
    pub outage: Mutex<Outage>,
    /// Which server a client had (`stick on src`); an entry's `gpc0` is the server's id.
    pub stick: Mutex<Option<StickTable>>,
    /// The last response that was none.
    pub refused: LastRefused,
}

/// When a backend had no server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    /// Since when it has, or has no server.
    pub changed: Instant,
    /// It has none now.
    pub down: bool,
    /// How often it had none.
    pub times: u64,
    /// All the time without, before the last one ended.
    pub downtime: Duration,
}

#[derive(Debug)]
struct Balancing {
    balancer: Balancer,
    queue: Queue,
    waiting: HashMap<Ticket, Waiter>,
}

/// A session that waits for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its worker.
    pub worker: usize,
    /// Its place there, as the worker names it.
    pub session: u64,
}

/// The server that a connection belongs to, by a stick table, a cookie or a rule.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// If it belongs to one.
    pub server: Option<&'a Arc<Server>>,
    /// Even if that one is down.
    pub forced: bool,
}

/// What a connection gets.
#[derive(Debug)]
pub enum Assignment {
    /// This server; its `sessions` are entered already, to be left by [`Backend::release`].
    Server(Arc<Server>),
    /// A place in the queue. The worker hears of a slot, or leaves by [`Backend::leave`].
    Wait {
        /// The place.
        ticket: Ticket,
        /// Those who wait, itself included: for one server, and for any server of the backend.
        queues: [u32; 2],
    },
    /// Nobody is usable (`SC`).
    NoServer,
    /// Too many wait already (`sQ`).
    QueueFull,
}

impl Backend {
    pub(super) fn new(plan: Arc<plan::Backend>, workers: usize) -> Self {
        let servers: Vec<Arc<Server>> = plan
            .servers
            .iter()
            .map(|server| Arc::new(Server::new(Arc::clone(server), None, workers)))
            .collect();
        let backend = Self {
            name: plan.name.as_str().into(),
            balancing: Mutex::new(Balancing {
                balancer: balancer(&plan),
                queue: Queue::new(WAITING_MAX),
                waiting: HashMap::new(),
            }),
            servers: ArcSwap::from_pointee(servers),
            workers,
            sessions: Gauge::default(),
            queued: Gauge::default(),
            session_rate: Rate::default(),
            request_rate: Rate::default(),
            tally: Tally::new(workers),
            timings: Timings::default(),
            last_session: AtomicU64::new(0),
            outage: Mutex::default(),
            stick: Mutex::new(stick(&plan)),
            refused: LastRefused::default(),
            plan: ArcSwap::new(plan),
        };
        backend.refresh(Instant::default());
        backend
    }

    /// A changed section of the configuration: servers that have kept their name keep their object, whatever their place.
    pub(super) fn change(&self, now: Instant, plan: Arc<plan::Backend>, keyring: &Keyring) {
        let before = self.plan.swap(Arc::clone(&plan));
        let balances_differently = before.balance != plan.balance || before.all_backups != plan.all_backups;
        let another = balances_differently.then(|| balancer(&plan));
        let of = |old: &[Arc<Server>], new: &Arc<plan::Server>| {
            let connector = new.tls.as_ref().and_then(|tls| keyring.connector(tls));
            let known = old.iter().find(|old| *old.name == *new.name);
            let server = known.cloned().unwrap_or_else(|| {
                let server = Server::new(Arc::clone(new), None, self.workers);
                Arc::new(server)
            });
            if let Some(connector) = connector {
                server.connector.store(Some(Arc::clone(connector)));
            }
            server.change(Arc::clone(new));
            (server, new.id)
        };
        self.put(now, another, |old| {
            plan.servers.iter().map(|new| of(old, new)).collect()
        });
        if before.stick != plan.stick {
            *self.stick.lock() = stick(&plan);
        }
    }

    /// Other servers, and their numbers. They, what the balancer knows of them, who waits for them and whom clients belong
    /// to change together: in between, connections would find no server, or another one.
    fn put(
        &self,
        now: Instant,
        another: Option<Balancer>,
        change: impl FnOnce(&[Arc<Server>]) -> Vec<(Arc<Server>, ServerId)>,
    ) {
        let mut stick = self.stick.lock();
        let mut balancing = self.balancing.lock();
        let before = self.servers.load_full();
        let after = change(&before);
        let mut numbers = HashMap::new();
        for server in before.iter() {
            match after.iter().find(|(stays, _)| Arc::ptr_eq(stays, server)) {
                Some((_, number)) => drop(numbers.insert(server.id(), *number)),
                None => self.redistribute_from(&mut balancing.queue, server),
            }
        }
        if numbers.len() < before.len() || numbers.iter().any(|(old, new)| old != new) {
            balancing
                .queue
                .renumber(|old| numbers.get(&old).copied().unwrap_or(old));
            if let Some(table) = stick.as_mut() {
                table.change_gpc0(|old| {
                    let old = u32::try_from(old).ok().map(ServerId);
                    let new = old.and_then(|old| numbers.get(&old));
                    new.map_or(0, |new| u64::from(new.0))
                });
            }
        }
        for (server, number) in &after {
            server.renumber(*number);
        }
        self.servers
            .store(Arc::new(after.into_iter().map(|(server, _)| server).collect()));
        if let Some(another) = another {
            balancing.balancer = another;
        }
        self.tell(&mut balancing.balancer, now);
    }

    pub(super) fn clear(&self, all: bool) {
        self.sessions.clear();
        self.queued.clear();
        self.session_rate.clear();
        self.request_rate.clear();
        self.timings.clear();
        if all {
            self.tally.clear();
        }
        for server in self.servers.load().iter() {
            server.clear(all);
        }
    }

    /// What it is to do.
    #[must_use]
    pub fn plan(&self) -> Arc<plan::Backend> {
        self.plan.load_full()
    }

    /// Whether it remembers the servers of its clients.
    pub(crate) fn sticks(&self) -> bool {
        self.plan.load().stick.is_some()
    }

    /// In the order of the file; those added at run time come last.
    #[must_use]
    pub fn servers(&self) -> Arc<Vec<Arc<Server>>> {
        self.servers.load_full()
    }

    /// A server by its name.
    #[must_use]
    pub fn server_named(&self, name: &str) -> Option<Arc<Server>> {
        self.servers
            .load()
            .iter()
            .find(|server| &*server.name == name)
            .cloned()
    }

    /// `add server`, which was told these words.
    pub fn add_server(&self, now: Instant, plan: Arc<plan::Server>, words: Vec<String>) -> Arc<Server> {
        let server = Arc::new(Server::new(plan, Some(words), self.workers));
        self.put(now, None, |before| {
            let all = before.iter().chain([&server]);
            all.map(|server| (Arc::clone(server), server.id())).collect()
        });
        server
    }

    /// `del server`.
    pub fn remove_server(&self, now: Instant, name: &str) {
        self.put(now, None, |before| {
            let others = before.iter().filter(|server| &*server.name != name);
            others.map(|server| (Arc::clone(server), server.id())).collect()
        });
    }

    /// Tells the balancer how its servers are. To be called after whatever concerns any of them: health, weight,
    /// limits, address, slow start going on. Who may have a slot because of it gets it by [`Backend::grant`].
    pub fn refresh(&self, now: Instant) {
        self.tell(&mut self.balancing.lock().balancer, now);
    }

    fn tell(&self, balancer: &mut Balancer, now: Instant) {
        let servers = self.servers.load();
        let views = servers.iter().map(|server| view(server, now)).collect();
        if let Err(error) = balancer.update(views) {
            // The configuration and `add server` have judged ids and number.
            tracing::error!(backend = %self.name, %error, "servers were not taken by the balancer");
        }
    }

    /// Servers that may be chosen now.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.balancing.lock().balancer.candidates().len()
    }

    /// A server for a connection, or a place in the queue. One that takes no new clients still takes its own.
    pub fn assign(
        &self,
        key: u64,
        entropy: u64,
        wanted: Wanted<'_>,
        avoid: Option<&Arc<Server>>,
        waiter: Waiter,
    ) -> Assignment {
        let own = wanted.server;
        let returns = wanted.forced
            || own.is_some_and(|server| matches!(server.state(), State::Drain | State::Stopping));
        // Under the lock, so that they are those the balancer knows.
        let mut balancing = self.balancing.lock();
        let servers = self.servers.load();
        // One that is gone has no number: another may have it now.
        let number = |server: &Arc<Server>| is_among(&servers, server).then(|| server.id());
        let find = |id: ServerId| servers.iter().find(|server| server.id() == id);
        let inflight = |id: ServerId| find(id).map_or(0, |server| server.sessions.now());
        let avoid = avoid.and_then(number);
        let wanted = own
            .and_then(number)
            .filter(|id| Some(*id) != avoid)
            .and_then(|id| {
                let view = *balancing.balancer.servers().iter().find(|view| view.id == id)?;
                (view.usable || returns).then_some(id)
            });
        let chosen = match wanted {
            Some(id) => Ok(id),
            None => balancing.balancer.choose(&Request {
                key,
                entropy,
                avoid,
                inflight: &inflight,
            }),
        };
        let line = match chosen {
            Err(Unchosen::NoServer) => return Assignment::NoServer,
            Err(Unchosen::AllFull) => None,
            Ok(id) => {
                let Some(server) = find(id) else {
                    return Assignment::NoServer;
                };
                if self.has_room(&balancing.balancer, server) {
                    server.sessions.enter();
                    return Assignment::Server(Arc::clone(server));
                }
                Some(id)
            }
        };
        if let Some(server) = line.and_then(find) {
            let most = server.plan().maxqueue.map_or(u32::MAX, NonZeroU32::get);
            if server.queued.now() >= most {
                return Assignment::QueueFull;
            }
        }
        match balancing.queue.enter(line) {
            Ok(ticket) => {
                balancing.waiting.insert(ticket, waiter);
                let queues = match line.and_then(find) {
                    Some(server) => [server.queued.enter(), 0],
                    None => [0, self.queued.enter()],
                };
                Assignment::Wait { ticket, queues }
            }
            Err(_) => Assignment::QueueFull,
        }
    }

    fn has_room(&self, balancer: &Balancer, server: &Server) -> bool {
        let view = balancer.servers().iter().find(|view| view.id == server.id());
        let Some(most) = view.and_then(|view| view.maxconn) else {
            return true;
        };
        let plan = self.plan.load();
        let limit = Limit {
            maxconn: most,
            minconn: server.plan().minconn,
            fullconn: plan.fullconn,
        };
        server.sessions.now() < limit.now(self.sessions.now()).get()
    }

    /// A session has left `server`: who gets its slot, if somebody waits. The slot is entered for them already; the
    /// caller tells their worker.
    #[must_use]
    pub fn release(&self, server: &Arc<Server>) -> Option<Waiter> {
        server.sessions.leave();
        if server.queued.now() == 0 && self.queued.now() == 0 {
            return None;
        }
        self.grant(server)
    }

    /// Gives a free slot of `server` to whoever waited longest, if there is one. The slots of one that is gone are
    /// nobody's.
    #[must_use]
    pub fn grant(&self, server: &Arc<Server>) -> Option<Waiter> {
        let mut balancing = self.balancing.lock();
        let id = server.id();
        let candidate = balancing.balancer.candidates().iter().any(|view| view.id == id);
        let stays = is_among(&self.servers.load(), server);
        if !candidate || !stays || !self.has_room(&balancing.balancer, server) {
            return None;
        }
        let (ticket, line) = balancing.queue.take(id)?;
        let waiter = balancing.waiting.remove(&ticket)?;
        match line {
            Some(_) => server.queued.leave(),
            None => self.queued.leave(),
        };
        server.sessions.enter();
        Some(waiter)
    }

    /// A session waits no longer: its client went, or its time is over. False if it had been given a slot meanwhile,
    /// of which its worker is about to hear.
    pub fn leave(&self, ticket: Ticket) -> bool {
        let mut balancing = self.balancing.lock();
        if balancing.waiting.remove(&ticket).is_none() {
            return false;
        }
        let servers = self.servers.load();
        match balancing.queue.leave(ticket) {
            Some(Some(id)) => {
                let server = servers.iter().find(|server| server.id() == id);
                server.map(|server| server.queued.leave())
            }
            Some(None) => Some(self.queued.leave()),
            None => None,
        };
        true
    }

    /// Who waited for `server` waits for anybody, since it went down.
    pub fn redistribute(&self, server: &Arc<Server>) {
        let mut balancing = self.balancing.lock();
        if is_among(&self.servers.load(), server) {
            self.redistribute_from(&mut balancing.queue, server);
        }
    }

    fn redistribute_from(&self, queue: &mut Queue, server: &Server) {
        for _ in 0..queue.redistribute(server.id()) {
            server.queued.leave();
            self.queued.enter();
        }
    }

    /// The server that this client had before, as the stick table remembers it.
    #[must_use]
    pub fn stuck(&self, now: Instant, key: &Key) -> Option<Arc<Server>> {
        // Numbers change while the table is locked, and only then.
        let table = self.stick.lock();
        let number = table.as_ref()?.get(now, key)?.gpc0;
        let servers = self.servers.load();
        servers
            .iter()
            .find(|server| u64::from(server.id().0) == number)
            .cloned()
    }

    /// Remembers the server of this client.
    pub fn stick_to(&self, now: Instant, key: &Key, server: &Arc<Server>) {
        let mut table = self.stick.lock();
        if let Some(table) = table.as_mut().filter(|_| is_among(&self.servers.load(), server)) {
            // Of a table that is full of connected clients this one is not remembered.
            let _full = table.set_gpc0(now, key, u64::from(server.id().0));
        }
    }
}

fn is_among(servers: &[Arc<Server>], server: &Arc<Server>) -> bool {
    servers.iter().any(|one| Arc::ptr_eq(one, server))
}

/// How the balancer sees a server.
fn view(server: &Server, now: Instant) -> warren_balance::Server {
    let mut view = server.operational.lock().health.server(now);
    view.usable &= server.target.load().is_some();
    view
}

fn balancer(plan: &plan::Backend) -> Balancer {
    let backups = if plan.all_backups {
        Backups::All
    } else {
        Backups::First
    };
    // No servers cannot be too many; they come with the first refresh.
    Balancer::new(plan.balance.algorithm, backups, Vec::new()).unwrap_or_else(|never| unreachable!("{never}"))
}

fn stick(plan: &plan::Backend) -> Option<StickTable> {
    let stick = plan.stick?;
    Some(StickTable::new(
        stick.size as usize,
        stick.expire,
        Periods::all(NonZeroU32::MIN.saturating_add(999)),
    ))
}
