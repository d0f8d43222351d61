//! Worker threads: what the rest of the process says to them, and hears.
//!
//! Each worker owns an event loop and its sessions and shares nothing but [`crate::live`]. Everything else reaches it
//! through its mailbox, as a [`Command`].

mod accept;
pub(crate) mod context;
mod export;
mod leaving;
pub(crate) mod links;
mod mailbox;
pub(crate) mod reactor;
mod timers;
mod turn;
mod unsent;
mod vanished;

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use self::context::{Message, Peers};
pub(crate) use self::export::{Packed, Packing, Unpacked};
use crate::live::{self, Live};
use crate::plan;
use crate::record::{AmqpFacts, Record};

/// Workers answer within a turn of their loops; one that does not in this time is left out.
const LISTING_TIMEOUT: Duration = Duration::from_secs(2);

/// What the workers are given besides the plan.
pub struct Settings {
    /// Who serves what the proxy itself offers inside a frontend.
    pub visits: mpsc::Sender<Visit>,
    /// Makes the log of each worker, given its number.
    pub log: Box<dyn Fn(usize) -> Box<dyn Log>>,
}

/// Where a worker's log lines go. Called on its thread: it must not wait.
pub trait Log: Send {
    /// A session or request is over; its frontend logs somewhere.
    fn record(&mut self, frontend: &plan::Frontend, record: &Record<'_>);
    /// A turn of the event loop is over: lines may be sent now, many at once.
    fn flush(&mut self);
    /// The configuration was read again: lines that come now have the tag and host name that it gives.
    fn change(&mut self, global: &plan::Global);
}

impl Log for crate::logs::Writer {
    fn record(&mut self, frontend: &plan::Frontend, record: &Record<'_>) {
        self.session(&frontend.log, record);
    }

    fn flush(&mut self) {
        Self::flush(self);
    }

    fn change(&mut self, global: &plan::Global) {
        Self::change(self, global);
    }
}

/// The worker threads of the process. Clones are the same workers.
#[derive(Clone, Debug)]
pub struct Workers {
    peers: Arc<Peers>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Workers {
    /// Starts [`Live::workers`] of them. They accept nothing before [`Command::Listen`].
    ///
    /// # Errors
    /// The kernel has no thread, epoll or eventfd for us.
    pub fn start(live: &Arc<Live>, settings: &Settings) -> io::Result<Self> {
        let (mailboxes, ends): (Vec<_>, Vec<_>) = (0..live.workers)
            .map(|_| mailbox::mailbox())
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let peers = Arc::new(Peers::new(mailboxes));
        let workers = Self {
            peers,
            threads: Arc::default(),
        };
        for (number, mailbox) in ends.into_iter().enumerate() {
            let context = context::Context::new(
                Arc::clone(live),
                number,
                Arc::clone(&workers.peers),
                (settings.log)(number),
                settings.visits.clone(),
            )?;
            let worker = turn::Worker::new(context, mailbox)?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || worker.run())?;
            workers.threads.lock().push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.peers.mailboxes.len()
    }

    /// Sessions of each.
    #[must_use]
    pub fn loads(&self) -> Vec<u32> {
        self.peers.loads().collect()
    }

    /// Tells one of them.
    pub fn send(&self, worker: usize, command: Command) {
        if let Some(mailbox) = self.peers.mailboxes.get(worker) {
            mailbox.send(Message::Command(command));
        }
    }

    /// Tells all of them.
    pub fn broadcast(&self, command: &Command) {
        for mailbox in &self.peers.mailboxes {
            mailbox.send(Message::Command(command.clone()));
        }
    }

    /// Gives the free slots of a backend's servers to those who wait. To be called after whatever may have made room:
    /// a server that came up, a limit that was raised.
    pub fn serve_queue(&self, backend: &Arc<live::Backend>) {
        for server in backend.servers().iter() {
            while let Some(waiter) = backend.grant(server) {
                let granted = Command::Granted {
                    session: waiter.session,
                    backend: Arc::clone(backend),
                    server: Arc::clone(server),
                };
                self.send(waiter.worker, granted);
            }
        }
    }

    /// All sessions, but for those of a worker that does not answer.
    pub async fn sessions(&self) -> Vec<SessionInfo> {
        let deadline = tokio::time::Instant::now() + LISTING_TIMEOUT;
        let (sender, mut receiver) = mpsc::channel(self.count().max(1));
        self.broadcast(&Command::List(sender));
        let mut sessions = Vec::new();
        while let Ok(Some(part)) = timeout_at(deadline, receiver.recv()).await {
            sessions.extend(part);
        }
        let listed = tokio::task::spawn_blocking(move || {
            unsent::add_to(&mut sessions);
            sessions
        });
        listed.await.unwrap_or_default()
    }

    /// Waits until all have ended, which they do after [`Command::Finish`]. Blocks.
    pub fn join(&self) {
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

/// What a worker can be told.
#[derive(Clone, Debug)]
pub enum Command {
    /// Accepts from these from now on, and from no others. Listeners that are not in the list any more are closed.
    Listen(Arc<Vec<Listener>>),
    /// Ends sessions.
    End(End),
    /// Ends connections that lose nothing by it.
    Move(Move),
    /// Describes its sessions.
    List(Listing),
    /// A session that waited has a slot of this server.
    Granted {
        /// Its place.
        session: u64,
        /// Where it waited.
        backend: Arc<live::Backend>,
        /// Whose slot.
        server: Arc<live::Server>,
    },
    /// The configuration was read again. Most of it is looked up where it is needed; this is about what is kept.
    Reloaded,
    /// Another process serves now: clients of mode http are to come to that one with their next connection.
    Retire,
    /// Ends once there is no session left.
    Finish,
}

/// A socket that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Listening and non-blocking.
    pub socket: Arc<OwnedFd>,
    /// Its line of the configuration.
    pub bind: Arc<plan::Bind>,
    /// Whose clients come here.
    pub frontend: Arc<live::Frontend>,
    /// Its certificates, if TLS is spoken here. Replaced as a whole when the files change.
    pub tls: Option<Arc<crate::tls::Acceptor>>,
    /// Its clients now. Goes with the socket: a reload keeps it.
    pub load: Arc<live::Gauge>,
}

/// Which sessions are to end, and how.
#[derive(Clone, Debug)]
pub struct End {
    /// Which.
    pub scope: Scope,
    /// How.
    pub how: Ending,
}

/// Which sessions. Not by numbers, which another configuration may have given to others.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All.
    All,
    /// This one.
    Session(u64),
    /// Those of a server.
    Server(Arc<live::Server>),
    /// Those of a server from which nothing has come for so long.
    Silent(Arc<live::Server>, Duration),
    /// Those of all backup servers of a backend.
    Backups(Arc<live::Backend>),
    /// Those with this address at our end of either side: it is ours no longer.
    Local(IpAddr),
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once: closed on both sides; the log says why.
    Now(crate::record::Cause),
    /// At once, with a reset: nobody will answer.
    Reset(crate::record::Cause),
    /// AMQP: `connection.close` (320) to the client at a frame boundary, and closed when the client has answered or
    /// the time is over. HTTP: after the response that is under way. Octets: when the time is over. At most so many
    /// sessions per second begin to end, all workers together; more only if they would not all have begun in time.
    Politely {
        /// What the log says.
        cause: crate::record::Cause,
        /// How long an answer may take.
        deadline: Duration,
        /// Begun per second.
        rate: std::num::NonZeroU32,
        /// All have begun by then.
        within: Option<Duration>,
    },
}

/// AMQP connections that are to come back to another server: those on which nothing is under way, the oldest first.
#[derive(Clone, Debug)]
pub struct Move {
    /// Among these.
    pub scope: Scope,
    /// At most so many.
    pub count: u32,
    /// Only where nothing was said for so long.
    pub silence: Duration,
    /// What the log says.
    pub cause: crate::record::Cause,
    /// How long an answer may take.
    pub deadline: Duration,
    /// Hears how many there were.
    pub answer: mpsc::Sender<Moved>,
}

/// What has become of a [`Move`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Connections that have begun to end because of it.
    pub begun: u32,
    /// Those among the same sessions that had begun before, for whatever reason.
    pub leaving: u32,
}

/// The sessions of all workers, one message from each.
pub type Listing = mpsc::Sender<Vec<SessionInfo>>;

/// One session as the live table shows it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its number.
    pub id: u64,
    /// Its worker.
    pub worker: usize,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// How long ago.
    pub age: Duration,
    /// The client's address.
    pub client: String,
    /// The address it came in by.
    pub local: String,
    /// Name of the frontend.
    pub frontend: Arc<str>,
    /// Name of the backend, once chosen.
    pub backend: Option<Arc<str>>,
    /// Name and address of the server, once chosen.
    pub server: Option<(Arc<str>, String)>,
    /// Octets from the client.
    pub bytes_in: u64,
    /// Octets to the client.
    pub bytes_out: u64,
    /// Since octets last passed, from the client and from the server.
    pub idle: [Duration; 2],
    /// Octets sent to the client that it has not acknowledged or that wait in the socket.
    pub unsent: u64,
    /// What it is doing: `connecting`, `queued`, `established`, `closing`, `request`, ...
    pub state: &'static str,
    /// TLS towards the client.
    pub tls: bool,
    /// AMQP only.
    pub amqp: Option<Arc<AmqpFacts>>,
}

/// A request for what the proxy itself serves inside a frontend: the worker treats its end of a socket pair as the
/// server, the control thread serves the other end.
#[derive(Debug)]
pub struct Visit {
    /// Its end.
    pub stream: std::os::unix::net::UnixStream,
    /// What is asked for.
    pub service: Service,
    /// In which frontend.
    pub frontend: Arc<live::Frontend>,
}

/// What the proxy itself serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The statistics (`<STATS>`).
    Stats {
        /// If there are buttons at all, they are for this client (`stats admin if CONDITION`).
        admin: bool,
    },
    /// Prometheus metrics (`<PROMEX>`).
    Prometheus,
}

#[cfg(test)]
mod tests;
