//! What goes into a router.

use std::net::IpAddr;
use std::time::Duration;

use crate::priority::Fitness;
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

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The interface is operationally up with `source` as its usable primary (v6: link-local) address.
    LinkReady {
        /// Where our advertisements come from.
        source: IpAddr,
    },
    /// It is not (any longer).
    LinkLost,
    /// An advertisement that passed every receive check. `priority` 0 means its sender stops.
    Advert {
        /// Source of the packet.
        source: IpAddr,
        /// As announced.
        priority: Priority,
        /// As announced; never zero.
        interval: Duration,
    },
    /// `deadline()` may have passed. Harmless when it has not. Packets already received come first: the shell
    /// drains its sockets before it says this.
    Deadline,
    /// The advertisement asked for by `Effect::SendAdvert` left the host, or did not. Said right after carrying
    /// the effect out, before any other input.
    Sent {
        /// It left.
        ok: bool,
    },
    /// Base priority, check results, drain and group rules changed what this router is worth.
    Fitness(Fitness),
    /// An earlier process held this role without a pause and its addresses are still in place: go on as active.
    /// Heeded in Initialize only, and only once a `LinkReady` and a `Fitness` that is fit have been seen as well, in any
    /// order, within one active-down interval: what could not be held without a pause is elected anew.
    Adopt,
    /// An earlier process held this role until a moment ago - nobody knows how long - and its addresses are still in
    /// place. Heeded like `Adopt`, but the router starts as Backup and listens for one interval only: who took over in
    /// the meantime is heard, and who has not yet noticed is spared the change.
    Orphaned,
    /// The sync group decided: become active now. Ignored in Initialize.
    GroupTakeOver,
    /// The sync group decided: stop being active. An Active router hands over and is Backup as soon as another
    /// active is heard, or when none was in time; from then on it does not preempt until its priority changes, and
    /// lets others go first for one active-down interval, lest the members of a group pull the role to and fro.
    GroupStepDown,
    /// The kernel's address list was changed by somebody else more often than we repair it, or another
    /// host answers for our address: give the role up until told otherwise through `Fitness`. Told otherwise
    /// means: a `Fitness` that is fit after one that was not, which is what an operator's drain and resume produce.
    /// A check that merely goes on succeeding does not bring the role back into the same quarrel.
    Surrender,
    /// Leave: hand the role over, hold the addresses until another active is heard but no longer than `grace`.
    Shutdown {
        /// How long at most.
        grace: Duration,
    },
    /// The configuration changed; state and timers stay as far as they still make sense.
    Settings(Settings),
}
