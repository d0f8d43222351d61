//! What the protocol thread is told, and what it tells. Both ways are bounded, and it never waits for either.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use tokio::sync::oneshot;
use warren_vrrp::packet::Reject;
use warren_vrrp::{Cause, Input, Instant, State};

use super::{Installation, SeatView};
use crate::wire::{Receiver, Sender};

/// Index of a virtual router for as long as the worker lives; given by the control thread.
pub(crate) type Slot = u16;

/// Commands that may wait for the thread. The control thread waits when they are full, which only a storm of reloads does.
pub(super) const COMMANDS_MAX: usize = 4096;
/// From the control thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// A socket pair for an interface and family, or its end.
    Wire {
        wire: usize,
        receiver: Option<Arc<Receiver>>,
        sender: Option<Arc<Sender>>,
    },
    /// A new virtual router, or one whose settings changed; state and timers of a known one stay.
    Install(Box<Installation>),
    /// Leave with this router and forget it; [`Event::Removed`] is the last that is heard of it.
    Remove { slot: Slot, grace: Duration },
    /// Something happened to a router.
    Input { slot: Slot, input: Input },
    /// Sync groups, as lists of slots.
    Groups(Vec<Vec<Slot>>),
    /// How often the guard wants to hear from us, and how long the plumbing thread may be silent for us to say so.
    Beat { every: Duration, plumbing: Duration },
    /// Leave with every router.
    Shutdown { grace: Duration },
    /// A picture of every router, for status and metrics.
    View(oneshot::Sender<View>),
    /// End the thread.
    Exit,
}

/// A picture of the thread and its routers.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) taken: Instant,
    pub(crate) seats: Vec<SeatView>,
    pub(crate) lateness: Lateness,
    /// Events that the control thread was too slow to take.
    pub(crate) events_lost: u64,
}

/// How late deadlines were seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lateness {
    pub(crate) max: Duration,
    /// Counts for < 100 µs, < 300 µs, < 1 ms, < 3 ms, < 10 ms, < 30 ms, < 100 ms and above.
    pub(crate) buckets: [u64; 8],
    pub(crate) sum: Duration,
}

/// Upper bounds of [`Lateness::buckets`].
pub(crate) const LATENESS_BOUNDS: [Duration; 7] = [
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
];

impl Lateness {
    pub(super) fn note(&mut self, late: Duration) {
        self.max = self.max.max(late);
        self.sum += late;
        let bucket = LATENESS_BOUNDS
            .iter()
            .position(|bound| late < *bound)
            .unwrap_or(LATENESS_BOUNDS.len());
        self.buckets[bucket] += 1;
    }
}

/// To the control thread.
#[derive(Debug)]
pub(crate) enum Event {
    /// A router changed state; `priority` is its effective one.
    Transition {
        slot: Slot,
        from: State,
        to: State,
        cause: Cause,
        priority: u8,
    },
    /// The first packet refused for this reason in a while; `count` since the last such event.
    Rejected {
        slot: Slot,
        reject: Reject,
        source: IpAddr,
        count: u64,
    },
    /// A peer advertises other addresses than ours.
    AddressesDiffer { slot: Slot, peer: IpAddr },
    /// Another address owner (priority 255) besides ourselves.
    RivalOwner { slot: Slot, peer: IpAddr },
    /// As active, a lower-priority active was heard.
    LowerPriorityActive { slot: Slot, peer: IpAddr, priority: u8 },
    /// Adverts cannot be sent, or (without an error) can be again.
    SendFailed { slot: Slot, error: Option<io::Error> },
    /// The router has left and is forgotten. Whatever comes for this slot from now on is about another one.
    Removed { slot: Slot },
    /// Every router has left.
    Stopped,
}

/// The control thread's handle.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(super) commands: mpsc::SyncSender<Command>,
    pub(super) wake: Arc<EventFd>,
}

impl Handle {
    /// Hands a command over. Only a thread that has ended refuses, and then the worker is about to end as well.
    pub(crate) fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // A full counter wakes just as well.
            let _ = self.wake.write(1);
        }
    }

    pub(crate) fn input(&self, slot: Slot, input: Input) {
        self.send(Command::Input { slot, input });
    }
}
