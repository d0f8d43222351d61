//! What a worker lends to whichever of its sessions it drives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use warren_balance::Key;

use super::export::Travel;
use super::links::Links;
use super::mailbox::MailboxSender;
use super::reactor::{Place, Reactor, Ready};
use super::timers::Timers;
use super::{Command, Log, Visit};
use crate::live::{self, Backend, Gauge, Live, Server, Snapshot, Waiter};
use crate::plan;
use crate::session::relay::pipe::Pipes;
use crate::session::{Arrival, Common, http};
use crate::tls;

/// Octets of the buffer that all sessions of a worker read into.
const BUFFER: usize = 64 * 1024;

/// Where clients come in: a listener without its socket, which sessions outlive.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) frontend: Arc<live::Frontend>,
    pub(crate) bind: Arc<plan::Bind>,
    pub(crate) tls: Option<Arc<tls::Acceptor>>,
    /// Clients of this listener.
    pub(crate) load: Arc<Gauge>,
    /// Its own counts, if it has a row of its own.
    pub(crate) socket: Option<Arc<live::Socket>>,
}

/// What workers tell each other, besides what they are told.
#[derive(Debug)]
pub(crate) enum Message {
    /// From outside.
    Command(Command),
    /// A client for the least loaded worker.
    Arrival(Arrival),
    /// A session has ended: who stopped accepting may try again.
    Room,
    /// Sessions leave for another process, or come from one.
    Travel(Travel),
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) mailboxes: Vec<MailboxSender<Message>>,
    /// Sessions of each worker, those on their way to it included.
    loads: Vec<AtomicU32>,
    /// Workers (one bit each, the last for all beyond) that have stopped accepting for want of room.
    pub(crate) full: AtomicU64,
}

/// What a session is driven with.
pub(crate) struct Context {
    pub(crate) live: Arc<Live>,
    snapshot: Arc<Snapshot>,
    /// Number of this worker.
    pub(crate) worker: usize,
    /// Milliseconds since the start, read once for each turn of the loop.
    pub(crate) now: u64,
    /// Octets pass through here; nothing stays.
    pub(crate) buffer: Box<[u8]>,
    pub(crate) reactor: Reactor,
    pub(crate) links: Links,
    pub(crate) timers: Timers,
    pub(crate) pipes: Pipes,
    pub(crate) log: Box<dyn Log>,
    pub(crate) http: http::Shared,
    pub(crate) random: Random,
    pub(crate) visits: mpsc::Sender<Visit>,
    pub(crate) peers: Arc<Peers>,
    /// Sessions that could go on, once others have had their turn.
    pub(crate) ready: VecDeque<Place>,
    /// Sessions that will send once everybody has received.
    pub(crate) deferred: Vec<Place>,
    /// Others receive in this turn, too.
    pub(crate) crowded: bool,
    /// What this worker tells itself.
    pub(crate) own: VecDeque<Message>,
}

impl Context {
    pub(crate) fn new(
        live: Arc<Live>,
        worker: usize,
        peers: Arc<Peers>,
        log: Box<dyn Log>,
        visits: mpsc::Sender<Visit>,
    ) -> std::io::Result<Self> {
        let snapshot = live.snapshot();
        let now = millis(&live);
        let buffer = snapshot.plan.global.buffer.get().max(BUFFER);
        Ok(Self {
            snapshot,
            worker,
            now,
            buffer: vec![0; buffer].into(),
            reactor: Reactor::new()?,
            links: Links::default(),
            timers: Timers::new(now),
            pipes: Pipes::counted(live.pipes.get(worker).cloned().unwrap_or_default()),
            log,
            http: http::Shared::default(),
            random: Random::new(),
            visits,
            peers,
            ready: VecDeque::new(),
            deferred: Vec::new(),
            crowded: false,
            own: VecDeque::new(),
            live,
        })
    }

    /// Looks at the clock.
    pub(crate) fn tick(&mut self) {
        self.now = millis(&self.live);
    }

    /// Now, as `balance` counts.
    pub(crate) const fn time(&self) -> warren_balance::Instant {
        warren_balance::Instant::from_millis(self.now)
    }

    /// Now, for people.
    pub(crate) fn wall(&self) -> SystemTime {
        warren_kit::clock::wall_clock()
    }

    /// What held when [`Context::plan_of`] was called last: what a plan names is looked for in the configuration that the
    /// plan is of.
    pub(crate) const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What a frontend is to do now. One that a reload has removed does what it did before.
    pub(crate) fn plan_of(&mut self, frontend: &live::Frontend) -> Arc<plan::Frontend> {
        self.live.look_again(&mut self.snapshot);
        let plan = self.snapshot.frontend_plan(&frontend.name);
        plan.map_or_else(|| frontend.plan(), Arc::clone)
    }

    /// What a backend was to do then.
    pub(crate) fn plan_of_backend(&self, backend: &Backend) -> Arc<plan::Backend> {
        let plan = self.snapshot.backend_plan(&backend.name);
        plan.map_or_else(|| backend.plan(), Arc::clone)
    }

    /// An event of an idle connection to a server.
    pub(crate) fn note_idle(&mut self, key: u32, ready: Ready) {
        self.http.pool.note(key, ready, &mut self.links);
    }

    /// Drops connections to servers that were idle for long enough.
    pub(crate) fn drop_idle(&mut self) {
        self.http.pool.expire(self.now, &mut self.links);
    }

    /// The session could go on, once others have had their turn.
    pub(crate) fn again(&mut self, common: &mut Common) {
        if !std::mem::replace(&mut common.lined_up, true) {
            self.ready.push_back(common.place());
        }
    }

    /// Whether the session is to send later in this turn, when [`crate::session::Session::drive`] is called again: once
    /// everybody has received. Whoever is sent many messages in a row is woken once; one by one, it falls asleep in
    /// between, and waking it costs more than all the rest.
    pub(crate) fn defer(&mut self, place: Place) -> bool {
        if self.crowded {
            self.deferred.push(place);
        }
        self.crowded
    }

    /// A slot of `server` is for `waiter`.
    pub(crate) fn grant(&mut self, waiter: Waiter, backend: Arc<Backend>, server: Arc<Server>) {
        let granted = Message::Command(Command::Granted {
            session: waiter.session,
            backend,
            server,
        });
        self.tell(waiter.worker, granted);
    }

    /// Tells a worker, which may be this one.
    pub(crate) fn tell(&mut self, worker: usize, message: Message) {
        if worker == self.worker {
            self.own.push_back(message);
        } else if let Some(mailbox) = self.peers.mailboxes.get(worker) {
            mailbox.send(message);
        }
    }

    /// A client has left: whoever waited for room may accept again.
    pub(crate) fn leave(&mut self, entrance: &Entrance) {
        self.live.connections.leave();
        entrance.frontend.sessions.leave();
        entrance.load.leave();
        self.peers.leave(self.worker);
        if self.peers.full.load(Relaxed) != 0 {
            let full = self.peers.full.swap(0, Relaxed);
            for worker in 0..self.peers.mailboxes.len() {
                if full & Peers::bit(worker) != 0 {
                    self.tell(worker, Message::Room);
                }
            }
        }
    }

    /// The server this client had before, if the backend remembers.
    pub(crate) fn stuck_to(&self, backend: &Backend, common: &Common) -> Option<Arc<Server>> {
        let address = common.client_address.filter(|_| backend.sticks())?;
        backend.stuck(self.time(), &Key::from(address.ip()))
    }

    /// Remembers the server of this client, if the backend does so.
    pub(crate) fn stick(&self, backend: &Backend, common: &Common, server: &Arc<Server>) {
        if let Some(address) = common.client_address.filter(|_| backend.sticks()) {
            backend.stick_to(self.time(), &Key::from(address.ip()), server);
        }
    }
}

impl Peers {
    pub(crate) fn new(mailboxes: Vec<MailboxSender<Message>>) -> Self {
        Self {
            loads: mailboxes.iter().map(|_| AtomicU32::new(0)).collect(),
            mailboxes,
            full: AtomicU64::new(0),
        }
    }

    /// Sessions of each worker.
    pub(crate) fn loads(&self) -> impl Iterator<Item = u32> {
        self.loads.iter().map(|load| load.load(Relaxed))
    }

    /// A session for the worker with the fewest, and for `preferred` if it has no more than others; says for which. However
    /// many are chosen at once, nobody gets one who has more than another.
    pub(crate) fn enter_least(&self, preferred: usize) -> usize {
        loop {
            let least = self
                .loads()
                .enumerate()
                .min_by_key(|(worker, load)| (*load, *worker != preferred));
            let Some((worker, load)) = least else {
                return preferred;
            };
            let entered = self.loads[worker].compare_exchange_weak(load, load + 1, Relaxed, Relaxed);
            if entered.is_ok() {
                return worker;
            }
        }
    }

    /// A session for this worker, whoever has fewer.
    pub(crate) fn enter(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_add(1, Relaxed);
        }
    }

    /// A session of this worker is over.
    pub(crate) fn leave(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_sub(1, Relaxed);
        }
    }

    /// A worker's bit in [`Peers::full`].
    pub(crate) fn bit(worker: usize) -> u64 {
        1 << worker.min(63)
    }
}

fn millis(live: &Live) -> u64 {
    live.time(Instant::now())
        .millis_since(warren_balance::Instant::default())
}

/// Numbers for choices that nobody has to be kept from guessing.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn new() -> Self {
        use std::hash::BuildHasher;
        Self(std::hash::RandomState::new().hash_one(0))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        warren_balance::hash::mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn however_many_choose_at_once_nobody_gets_more_than_others() {
        const WORKERS: u32 = 4;
        let mailboxes = (0..WORKERS).map(|_| super::super::mailbox::mailbox().unwrap().0);
        let peers = Peers::new(mailboxes.collect());
        let arrived = AtomicU32::new(0);
        // Awake all the time, so that they choose at the same moment.
        let meet = |times: u32| {
            arrived.fetch_add(1, SeqCst);
            while arrived.load(SeqCst) < times * WORKERS {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                let (peers, meet) = (&peers, &meet);
                scope.spawn(move || {
                    for round in 1..=5000 {
                        meet(2 * round - 1);
                        peers.enter_least(0);
                        meet(2 * round);
                        let loads: Vec<u32> = peers.loads().collect();
                        assert_eq!(loads, [round; WORKERS as usize]);
                    }
                });
            }
        });
    }

    #[test]
    fn whoever_has_fewer_comes_first_and_then_oneself() {
        let mailboxes = (0..3).map(|_| super::super::mailbox::mailbox().unwrap().0);
        let peers = Peers::new(mailboxes.collect());
        let chosen: Vec<usize> = (0..6).map(|_| peers.enter_least(1)).collect();
        assert_eq!(chosen, [1, 0, 2, 1, 0, 2]);
        peers.leave(2);
        peers.leave(2);
        let chosen: Vec<usize> = (0..3).map(|_| peers.enter_least(1)).collect();
        assert_eq!(chosen, [2, 2, 1]);
    }
}
