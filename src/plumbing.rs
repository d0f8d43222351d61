//! The thread that carries out what the protocol decides: addresses, routes and rules come and go, and are announced.
//!
//! ```text
//!  protocol thread ──claim, release, announce──▶ ┌──────────────┐ ──netlink batches──▶ kernel
//!  control thread ──install, remove, repair, …─▶ │  plumbing    │ ──ARP, NA frames───▶ interfaces
//!                 ◀──────────reports──────────── └──────────────┘
//! ```
//!
//! Commands are carried out in order; between them the thread sends the announcements that are due and renews leases,
//! in slices short enough that a command never waits long. The senders never block: what does not fit the queue is
//! not lost, since each router's wanted role is kept beside it and compared when the queue has been read.
//!
//! A lease that ran out while this thread was stopped is not renewed, for the kernel would add the address again
//! while another host may hold it by now: the router is reported as expired and stays released until it is claimed, or
//! until the protocol thread has heard another active and outranked it.
//!
//! Deliberately absent: decisions about roles, logs, and any wait other than for commands and for the clock. The ledger
//! of old kernels is a file, but one in memory.

mod announce;
mod holding;
mod lease;
mod ledger;
mod port;
pub mod probe;
mod secondaries;
mod steps;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::mpsc;
use warren_kit::clock;

pub use announce::Cause;
pub use holding::{Held, Holding, Link, MissingInterface};
pub use lease::{LONGEST as LONGEST_LEASE, effective as effective_lease};
pub use ledger::{Ledger, leftovers};

use crate::netlink::{Netlink, NetlinkError};

/// Router numbers are below this.
pub const ROUTERS: usize = 4096;
/// Commands waiting: every router may change its mind twice.
const COMMANDS: usize = 2 * ROUTERS;
const REPORTS: usize = 2 * ROUTERS;

/// How the thread is started.
#[derive(Debug, Default)]
pub struct Options {
    /// SCHED_RR priority; below the protocol thread's.
    pub realtime_priority: Option<u8>,
    /// Where to write down which addresses are ours, if the kernel keeps no tags.
    pub ledger: Option<Ledger>,
}

enum Command {
    Claim { router: usize, asked: Instant },
    Release { router: usize, asked: Instant },
    Announce { router: usize, cause: Cause },
    Repair { router: usize, asked: Instant },
    Install { router: usize, holding: Box<Holding> },
    Remove { router: usize },
    Sweep,
    Stop,
}

/// What was done, for the control thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The addresses are in the kernel. Times count from the command.
    Claimed {
        router: usize,
        elapsed: Duration,
        announced: Option<Duration>,
        refusals: Vec<Refusal>,
    },
    Released {
        router: usize,
        elapsed: Duration,
        refusals: Vec<Refusal>,
    },
    Repaired {
        router: usize,
        elapsed: Duration,
        refusals: Vec<Refusal>,
    },
    /// A new holding took the place of another while claimed, or could not be prepared.
    Changed { router: usize, refusals: Vec<Refusal> },
    /// The lease ran out before it could be renewed: the addresses are gone, and stay so until claimed again.
    Expired { router: usize, late: Duration },
    /// A renewal or an announcement went wrong; told once per claim.
    Troubled { router: usize, refusal: Refusal },
    /// Renewals cost too much, or no longer do: all leases have changed.
    LeaseChanged { factor: u32 },
    /// Leftovers of an earlier run were removed.
    Swept {
        addresses: usize,
        routes_and_rules: usize,
    },
    /// The addresses could not be written down; told once.
    Unrecorded { error: String },
    /// The thread could not get its priority or its timer precision.
    Scheduling { error: String },
}

/// One thing that the kernel would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The address, route, rule or frame.
    pub what: String,
    pub errno: Errno,
}

/// Figures for the status, readable at any time.
#[derive(Debug, Default)]
pub struct Figures {
    /// All leases are lengthened by this.
    pub lease_factor: AtomicU32,
    /// CPU time of renewals per time, in millionths.
    pub renewal_share_ppm: AtomicU32,
    pub addresses_held: AtomicU32,
    pub addresses_renewed: AtomicU64,
    pub frames_sent: AtomicU64,
    pub frames_refused: AtomicU64,
    pub reports_lost: AtomicU64,
    /// Highest delay between a command and its execution, since the start.
    pub command_delay_max_us: AtomicU64,
    /// The boot-time clock, in nanoseconds, when the thread last showed that it is alive.
    pub alive: AtomicU64,
}

/// State shared by the senders and the thread.
struct Shared {
    /// The last role asked for, by router.
    wanted: Vec<AtomicBool>,
    /// Announcements that have left, by router.
    announced: Vec<AtomicU64>,
    /// A command did not fit: compare all roles with `wanted`.
    missed: AtomicBool,
    figures: Figures,
}

/// The way to the thread.
#[derive(Clone)]
pub struct Plumbing {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
    port: u32,
}

impl Plumbing {
    /// Starts the thread in the network namespace of the caller.
    pub fn start(options: Options) -> Result<(Self, mpsc::Receiver<Report>, JoinHandle<()>), NetlinkError> {
        let (commands, received) = sync_channel(COMMANDS);
        let (reports, reported) = mpsc::channel(REPORTS);
        let wanted = (0..ROUTERS).map(|_| AtomicBool::new(false)).collect();
        let announced = (0..ROUTERS).map(|_| AtomicU64::new(0)).collect();
        let figures = Figures {
            lease_factor: AtomicU32::new(1),
            alive: AtomicU64::new(clock::boottime_nanos()),
            ..Figures::default()
        };
        let shared = Arc::new(Shared {
            wanted,
            announced,
            missed: AtomicBool::new(false),
            figures,
        });
        let netlink = Netlink::open()?;
        let port = netlink.port();
        let mut plumber = thread::Plumber::new(netlink, options.ledger, shared.clone(), reports)?;
        let thread = std::thread::Builder::new()
            .name("plumbing".to_owned())
            .spawn(move || plumber.run(&received, options.realtime_priority))
            .map_err(NetlinkError::Open)?;
        Ok((
            Self {
                commands,
                shared,
                port,
            },
            reported,
            thread,
        ))
    }

    /// The netlink port of the thread: notifications that name it are our own doing.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Announcement frames that have left for this router.
    #[must_use]
    pub fn announced(&self, router: usize) -> u64 {
        self.shared
            .announced
            .get(router)
            .map_or(0, |count| count.load(Relaxed))
    }

    /// Adds what the router holds and announces it. Never blocks. Claiming again puts back what is missing.
    pub fn claim(&self, router: usize) {
        self.want(router, true);
        self.try_send(Command::Claim {
            router,
            asked: Instant::now(),
        });
    }

    /// Removes what the router holds. Never blocks.
    pub fn release(&self, router: usize) {
        self.want(router, false);
        self.try_send(Command::Release {
            router,
            asked: Instant::now(),
        });
    }

    /// Announces the addresses again, if they are held. Never blocks; one lost to a full queue is made up for by the
    /// next round or refresh.
    pub fn announce(&self, router: usize, cause: Cause) {
        self.try_send(Command::Announce { router, cause });
    }

    /// Puts back what someone deleted, if the router is still claimed. Never blocks.
    pub fn repair(&self, router: usize) {
        self.try_send(Command::Repair {
            router,
            asked: Instant::now(),
        });
    }

    /// Says what a router holds when claimed; if it is claimed, what differs is changed without touching the rest.
    /// Waits for room in the queue: not for the protocol thread.
    pub fn install(&self, router: usize, holding: Holding) {
        self.send(Command::Install {
            router,
            holding: Box::new(holding),
        });
    }

    /// Releases and forgets a router. Waits for room in the queue.
    pub fn remove(&self, router: usize) {
        self.want(router, false);
        self.send(Command::Remove { router });
    }

    /// Removes what an earlier run left behind and no claim has adopted by now. Waits for room in the queue.
    pub fn sweep(&self) {
        self.send(Command::Sweep);
    }

    /// Ends the thread when the commands before are done; what is held then stays.
    pub fn stop(&self) {
        self.send(Command::Stop);
    }

    fn want(&self, router: usize, claimed: bool) {
        if let Some(wanted) = self.shared.wanted.get(router) {
            wanted.store(claimed, Relaxed);
        }
    }

    fn try_send(&self, command: Command) {
        if let Err(TrySendError::Full(_)) = self.commands.try_send(command) {
            self.shared.missed.store(true, Relaxed);
        }
    }

    /// The thread ends only by `stop`; nothing is left to be told then.
    fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

#[cfg(test)]
mod tests;
