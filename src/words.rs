//! From the core's types to those of the control socket.

use std::time::Duration;

use warren_api::vrrp::{self as api, cause};
use warren_api::{Micros, Timestamp};
use warren_kit::clock;
use warren_vrrp::{Cause, State};

use crate::notify::NotifyState;

/// Now, by the wall clock.
pub(crate) fn timestamp() -> Timestamp {
    let since_epoch = clock::wall_clock()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn micros(duration: Duration) -> Micros {
    Micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

pub(crate) fn state(state: State) -> api::State {
    match state {
        State::Initialize => api::State::Initialize,
        State::Backup => api::State::Backup,
        State::Active => api::State::Active,
    }
}

/// What programs and pipes are told, in keepalived's words.
pub(crate) fn notified(state: State) -> NotifyState {
    match state {
        State::Active => NotifyState::Master,
        State::Backup => NotifyState::Backup,
        State::Initialize => NotifyState::Fault,
    }
}

pub(crate) fn cause(cause: &Cause) -> api::Cause {
    let base = |code: &str| api::Cause {
        code: code.to_owned(),
        ..api::Cause::default()
    };
    match cause {
        Cause::Owner => base(cause::OWNER),
        Cause::Started => base(cause::STARTED),
        Cause::ActiveSilent { peer, silence } => api::Cause {
            peer: *peer,
            silence_us: Some(micros(*silence)),
            ..base(cause::ACTIVE_SILENT)
        },
        Cause::PeerResigned { peer } => api::Cause {
            peer: Some(*peer),
            ..base(cause::PEER_RESIGNED)
        },
        Cause::Outranked { peer, theirs, ours } => compared(base(cause::OUTRANKED), *peer, theirs.0, ours.0),
        Cause::Preempted { peer, theirs, ours } => compared(base(cause::PREEMPTED), *peer, theirs.0, ours.0),
        Cause::LinkLost => base(cause::LINK_LOST),
        Cause::Unfit => base(cause::UNFIT),
        Cause::HandedOver { peer } => api::Cause {
            peer: Some(*peer),
            ..base(cause::HANDED_OVER)
        },
        Cause::Adopted => base(cause::ADOPTED),
        Cause::Group => base(cause::GROUP),
        Cause::Surrendered => base(cause::SURRENDERED),
        Cause::Shutdown => base(cause::SHUTDOWN),
    }
}

fn compared(base: api::Cause, peer: std::net::IpAddr, theirs: u8, ours: u8) -> api::Cause {
    api::Cause {
        peer: Some(peer),
        theirs: Some(theirs),
        ours: Some(ours),
        ..base
    }
}

/// As `ip link` prints it.
pub(crate) fn hardware_address(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
