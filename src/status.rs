//! The state of the daemon as a value: what `warren status`, `why` and the metrics are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use warren_api::vrrp as api;
use warren_vrrp::packet::Reject;
use warren_vrrp::priority::Rule;
use warren_vrrp::router::{Failback, Peer, Phase, WaitingFor};
use warren_vrrp::{Family, Instant, State};

use crate::instance::{CheckRule, Instance};
use crate::protocol::{SeatView, View};
use crate::words::{self, micros};

/// What the kernel and the plumbing know about a router's addresses.
pub(crate) struct Plumbed<'a> {
    /// Addresses that are on their interface right now.
    pub(crate) in_kernel: &'a BTreeSet<IpAddr>,
    pub(crate) announcements: u64,
    pub(crate) lease: Option<std::time::Duration>,
}

/// One router's status.
pub(crate) fn router(
    instance: &Instance,
    view: &View,
    plumbed: &Plumbed<'_>,
    startup_delay: bool,
) -> api::RouterStatus {
    let seat = view.seats.iter().find(|seat| seat.slot == instance.slot);
    let settings = &instance.plan.settings;
    let mut status = api::RouterStatus {
        name: instance.name().to_owned(),
        interface: instance.plan.interface.clone(),
        vrid: settings.vrid.get(),
        family: match settings.family {
            Family::V4 => "ipv4".into(),
            Family::V6 => "ipv6".into(),
        },
        version: settings.version.number(),
        state: words::state(instance.state),
        keepalived: words::notified(instance.state).to_string(),
        since: instance.since,
        cause: instance.cause.clone(),
        base_priority: instance.plan.priority,
        priority: instance
            .fitness
            .map_or(instance.plan.priority, |fitness| fitness.priority.0),
        contributions: contributions(instance),
        interval_us: micros(settings.interval),
        lease_us: plumbed.lease.map(micros),
        addresses: addresses(instance, plumbed),
        drained: instance.drained,
        dual_active: instance.dual_active.clone(),
        phase: phase(instance, seat, startup_delay),
        ..api::RouterStatus::default()
    };
    status.counters.announcements_sent = plumbed.announcements;
    status.counters.repairs = instance.repairs_total;
    if let Some(seat) = seat {
        fill(&mut status, seat, view);
    }
    status
}

fn fill(status: &mut api::RouterStatus, seat: &SeatView, view: &View) {
    status.learned_interval_us = Some(micros(seat.learned_interval));
    status.active_down_us = micros(seat.active_down);
    status.skew_us = micros(seat.skew);
    status.active_peer = seat.active.as_ref().map(|active| peer(active, view.taken, seat));
    status.peers = seat
        .peers
        .iter()
        .map(|known| peer(known, view.taken, seat))
        .collect();
    let counters = &seat.counters;
    status.counters = api::Counters {
        adverts_sent: counters.sent,
        adverts_received: counters.received,
        resignations_sent: counters.resignations_sent,
        resignations_received: counters.resignations_received,
        send_errors: counters.send_failures,
        rejected: rejected(&counters.rejected),
        became_active: counters.became_active,
        ..status.counters.clone()
    };
    status.lateness.worst_us = micros(view.lateness.max);
    status.lateness.absences = seat.stalls;
}

fn rejected(counts: &[u64]) -> BTreeMap<String, u64> {
    Reject::REASONS
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| ((*reason).to_owned(), *count))
        .collect()
}

fn peer(peer: &Peer, now: Instant, seat: &SeatView) -> api::Peer {
    let form = seat
        .forms
        .iter()
        .find(|(address, _)| *address == peer.address)
        .map(|(_, form)| *form);
    api::Peer {
        address: Some(peer.address),
        priority: peer.priority.0,
        heard_ago_us: micros(now.since(peer.heard)),
        interval_us: micros(peer.interval),
        checksum: form.map(|form| checksum_word(form).to_owned()),
    }
}

/// The form's name in the configuration.
pub(crate) fn checksum_word(form: warren_vrrp::checksum::ChecksumForm) -> &'static str {
    match form {
        warren_vrrp::checksum::ChecksumForm::Rfc9568 => "rfc9568",
        warren_vrrp::checksum::ChecksumForm::PseudoHeader => "pseudo-header",
    }
}

fn contributions(instance: &Instance) -> Vec<api::Contribution> {
    let counted = |name: &str| {
        let assessment = instance.assessment.as_ref()?;
        let found = assessment
            .contributions
            .iter()
            .find(|contribution| contribution.name == name)?;
        Some(i32::from(found.amount))
    };
    instance
        .checks
        .iter()
        .map(|CheckRule { name, rule, reverse }| api::Contribution {
            check: name.to_string(),
            weight: match rule {
                Rule::Release => None,
                Rule::Weight(weight) | Rule::Value(weight) => Some(*weight),
            },
            reverse: *reverse,
            counted: counted(name).unwrap_or(0),
            releases: instance
                .assessment
                .as_ref()
                .is_some_and(|assessment| assessment.failing.iter().any(|failing| **failing == **name)),
        })
        .collect()
}

fn addresses(instance: &Instance, plumbed: &Plumbed<'_>) -> Vec<api::AddressStatus> {
    let own = instance
        .link
        .as_ref()
        .map_or(&instance.plan.interface, |link| &link.carrier);
    let one = |advertised| {
        move |address: &crate::config::plan::AddressPlan| api::AddressStatus {
            address: Some(address.address),
            prefix: address.prefix,
            device: address.device.clone().unwrap_or_else(|| own.clone()),
            advertised,
            in_kernel: plumbed.in_kernel.contains(&address.address),
        }
    };
    let advertised = instance.plan.addresses.iter().map(one(true));
    advertised
        .chain(instance.plan.excluded.iter().map(one(false)))
        .collect()
}

fn phase(instance: &Instance, seat: Option<&SeatView>, startup_delay: bool) -> Option<api::Phase> {
    let Some(seat) = seat else {
        return Some(api::Phase::WaitingForLink);
    };
    match (instance.state, seat.phase) {
        (State::Active, Phase::HandingOver) => return Some(api::Phase::HandingOver),
        (State::Active, Phase::Listening) => return Some(api::Phase::Listening),
        (State::Backup, _)
            if seat.lower_active_since.is_some() && instance.plan.settings.failback != Failback::Manual =>
        {
            return Some(api::Phase::FailbackDelay);
        }
        _ => {}
    }
    match seat.waiting_for? {
        WaitingFor::Link => Some(api::Phase::WaitingForLink),
        WaitingFor::Resume => Some(api::Phase::Surrendered),
        WaitingFor::Nothing => None,
        WaitingFor::Checks | WaitingFor::Fitness => Some(if startup_delay {
            api::Phase::StartupDelay
        } else if instance.drained {
            api::Phase::Drained
        } else if instance.group.is_some() && instance.assessment.as_ref().is_some_and(|own| own.fitness.fit)
        {
            api::Phase::GroupUnfit
        } else {
            api::Phase::Unfit
        }),
    }
}
