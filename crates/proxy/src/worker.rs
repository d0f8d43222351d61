//! Worker threads: what the rest of the process says to them, and hears.
//!
//! Each worker owns an event loop and its sessions and shares nothing but [`crate::live`]. Everything else reaches it
//! through its mailbox, as a [`Command`].

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use warren_balance::ServerId;

use crate::live;
use crate::plan::{self, ProxyId};
use crate::record::AmqpFacts;

/// What a worker can be told.
#[derive(Debug)]
pub enum Command {
    /// Accepts from these from now on, and from no others. Listeners that are not in the list any more are closed.
    Listen(Arc<Vec<Listener>>),
    /// Ends sessions.
    End(End),
    /// Describes its sessions.
    List(Listing),
    /// A session that waited has a slot of this server.
    Granted {
        /// Its place.
        session: u64,
        /// Whose slot.
        server: Arc<live::Server>,
    },
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
}

/// Which sessions are to end, and how.
#[derive(Clone, Debug)]
pub struct End {
    /// Which.
    pub scope: Scope,
    /// How.
    pub how: Ending,
}

/// Which sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// This one.
    Session(u64),
    /// Those of a frontend.
    Frontend(ProxyId),
    /// Those of a server.
    Server(ProxyId, ServerId),
    /// Those of all backup servers of a backend.
    Backups(ProxyId),
    /// Those whose client came in by this address: it is ours no longer.
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
    /// sessions per second and worker begin to end.
    Politely {
        /// What the log says.
        cause: crate::record::Cause,
        /// How long an answer may take.
        deadline: Duration,
        /// Begun per second.
        rate: std::num::NonZeroU32,
    },
}

/// The sessions of all workers, one message from each.
pub type Listing = tokio::sync::mpsc::Sender<Vec<SessionInfo>>;

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
    Stats,
    /// Prometheus metrics (`<PROMEX>`).
    Prometheus,
}
