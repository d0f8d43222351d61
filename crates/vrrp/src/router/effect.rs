//! What comes out of a router.

use std::net::IpAddr;
use std::time::Duration;

use crate::types::Priority;

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

/// Something to be done. Carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Multicast (or unicast to every peer) an advertisement; answer with `Input::Sent`.
    SendAdvert {
        /// What to announce.
        priority: Priority,
    },
    /// Make the addresses ours: add them, their routes and rules.
    Claim,
    /// Tell the neighbours (gratuitous ARP, unsolicited NA): a full series after a claim.
    Announce {
        /// Why, which decides how often.
        reason: AnnounceReason,
    },
    /// Give addresses, routes and rules up.
    Release,
    /// The state changed. Comes after the effects that made it so.
    Transition {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why.
        cause: Cause,
    },
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
    ActiveSilent {
        /// The active router, if one was heard at all.
        peer: Option<IpAddr>,
        /// Since its last advertisement, or since we began to listen.
        silence: Duration,
    },
    /// `peer` resigned with priority 0.
    PeerResigned {
        /// The former active router.
        peer: IpAddr,
    },
    /// `peer` announces more than we are worth (or the same from a higher address).
    Outranked {
        /// The other router.
        peer: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Our effective priority.
        ours: Priority,
    },
    /// A lower-priority active was heard and preemption allows taking over.
    Preempted {
        /// The other router.
        peer: IpAddr,
        /// Its priority.
        theirs: Priority,
        /// Our effective priority.
        ours: Priority,
    },
    /// Interface lost.
    LinkLost,
    /// A releasing check failed, or the operator drained the router.
    Unfit,
    /// Handed over to `peer` while leaving.
    HandedOver {
        /// The new active router.
        peer: IpAddr,
    },
    /// Continued the role of an earlier process.
    Adopted,
    /// Sync group's decision.
    Group,
    /// See `Input::Surrender`.
    Surrendered,
    /// Stopped.
    Shutdown,
}
