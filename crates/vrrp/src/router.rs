//! One virtual router: the state machine of RFC 9568 section 6 (and RFC 3768 section 6 for version 2).

use std::net::IpAddr;
use std::time::Duration;

use crate::priority::Fitness;
use crate::time::Instant;
use crate::types::{Family, Priority, Version, Vrid};

/// What the configuration says about a virtual router, as far as the protocol is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Identifier on the wire.
    pub vrid: Vrid,
    /// Protocol version spoken.
    pub version: Version,
    /// Address family.
    pub family: Family,
    /// Own advertisement interval. Version 2: whole seconds 1..=255; version 3: 10 ms ..= 40.95 s.
    pub interval: Duration,
    /// When a higher-priority router takes the role back.
    pub failback: Failback,
    /// Missed intervals until the active router is believed dead; 3 in the RFC.
    pub dead_after: u8,
}

/// When a router takes the role from a lower-priority active one (RFC: Preempt_Mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failback {
    /// At once (Preempt_Mode true).
    Auto,
    /// Never while the other lives (Preempt_Mode false; the owner preempts all the same).
    Manual,
    /// Once the lower-priority active router has been heard for this long.
    After(Duration),
}

/// State of section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not taking part: interface not ready, checks failed with the role released, drained, or stopped.
    Initialize,
    /// Listening for an active router.
    Backup,
    /// Holding the addresses.
    Active,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The interface is operationally up with `source` as its usable primary (v6: link-local) address.
    LinkReady {
        source: IpAddr,
    },
    /// It is not (any longer).
    LinkLost,
    /// An advertisement that passed every receive check. `priority` 0 means its sender stops.
    Advert {
        source: IpAddr,
        priority: Priority,
        interval: Duration,
    },
    /// `deadline()` may have passed. Harmless when it has not.
    Deadline,
    /// The advertisement asked for by `Effect::SendAdvert` left the host, or did not.
    Sent {
        ok: bool,
    },
    /// Base priority, check results, drain and group rules changed what this router is worth.
    Fitness(Fitness),
    /// An earlier process held this role without a pause and its addresses are still in place: go on as active.
    Adopt,
    /// The sync group decided: become active now / stop being active now.
    GroupTakeOver,
    GroupStepDown,
    /// The kernel's address list was changed by somebody else more often than we repair it, or another
    /// host answers for our address: give the role up until told otherwise through `Fitness`.
    Surrender,
    /// Leave: hand the role over, hold the addresses until another active is heard but no longer than `grace`.
    Shutdown {
        grace: Duration,
    },
    /// The configuration changed; state and timers stay as far as they still make sense.
    Settings(Settings),
}

/// Something to be done. Carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Multicast (or unicast to every peer) an advertisement; answer with `Input::Sent`.
    SendAdvert { priority: Priority },
    /// Make the addresses ours: add them, their routes and rules.
    Claim,
    /// Tell the neighbours (gratuitous ARP, unsolicited NA): a full series after a claim.
    Announce { reason: AnnounceReason },
    /// Give addresses, routes and rules up.
    Release,
    /// The state changed. Comes after the effects that made it so.
    Transition { from: State, to: State, cause: Cause },
}

/// Why an announcement is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceReason {
    /// Just became active.
    Claimed,
    /// A lower-priority router believed itself active: neighbours may have learnt its MAC.
    LowerPriorityActive,
}

/// Why a state changed, with the numbers that decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Interface ready, address owner.
    Owner,
    /// Interface ready, not owner.
    Started,
    /// No advertisement from `peer` for `silence`.
    ActiveSilent { peer: Option<IpAddr>, silence: Duration },
    /// `peer` resigned with priority 0.
    PeerResigned { peer: IpAddr },
    /// `peer` announces more than we are worth (or the same from a higher address).
    Outranked {
        peer: IpAddr,
        theirs: Priority,
        ours: Priority,
    },
    /// A lower-priority active was heard and preemption allows taking over.
    Preempted {
        peer: IpAddr,
        theirs: Priority,
        ours: Priority,
    },
    /// Interface lost.
    LinkLost,
    /// A releasing check failed, or the operator drained the router.
    Unfit,
    /// Handed over to `peer` while leaving.
    HandedOver { peer: IpAddr },
    /// Continued the role of an earlier process.
    Adopted,
    /// Sync group's decision.
    Group,
    /// See `Input::Surrender`.
    Surrendered,
    /// Stopped.
    Shutdown,
}

/// One virtual router.
#[derive(Debug)]
pub struct Router {
    settings: Settings,
    state: State,
}

impl Router {
    /// A router in Initialize.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Initialize,
        }
    }

    /// Takes an input in.
    pub fn handle(&mut self, _now: Instant, _input: &Input) {}

    /// The next effect, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        None
    }

    /// When to call `handle(now, Input::Deadline)` at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Current state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
