//! The requests that lead from one holding to another, in their order, and what the kernel's refusals mean.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;

use super::{Holding, Refusal};
use crate::netlink::{Address, Batch, Netlink, Route, Rule};

/// An address as the kernel tells them apart.
pub(super) type Key = (u32, IpAddr, u8);

pub(super) fn key(address: &Address) -> Key {
    (address.ifindex, address.address, address.prefix)
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step<'a> {
    Add(&'a Address),
    /// The address is ours already: give it the lease.
    Renew(&'a Address),
    Delete(&'a Address),
    AddRoute(&'a Route),
    DeleteRoute(&'a Route),
    AddRule(&'a Rule),
    DeleteRule(&'a Rule),
}

/// From nothing to a holding; `ours` tells which addresses are there by our doing.
pub(super) fn adding(holding: &Holding, mut ours: impl FnMut(&Address) -> bool) -> Vec<Step<'_>> {
    let addresses = holding.addresses.iter().map(|held| &held.address);
    let mut steps: Vec<_> = addresses
        .map(|a| if ours(a) { Step::Renew(a) } else { Step::Add(a) })
        .collect();
    steps.extend(holding.routes.iter().map(Step::AddRoute));
    steps.extend(holding.rules.iter().map(Step::AddRule));
    steps
}

/// From a holding to nothing, except addresses that were there before us.
pub(super) fn removing(holding: &Holding, foreign: impl Fn(&Address) -> bool) -> Vec<Step<'_>> {
    let mut steps: Vec<_> = holding.rules.iter().map(Step::DeleteRule).collect();
    steps.extend(holding.routes.iter().map(Step::DeleteRoute));
    let addresses = holding.addresses.iter().map(|held| &held.address);
    steps.extend(addresses.filter(|address| !foreign(address)).map(Step::Delete));
    steps
}

/// From one holding to another without touching what they share.
pub(super) fn exchanging<'a>(
    old: &'a Holding,
    new: &'a Holding,
    foreign: impl Fn(&Address) -> bool,
) -> Vec<Step<'a>> {
    let in_new = |address: &Address| new.addresses.iter().any(|held| held.address == *address);
    let in_old = |address: &Address| old.addresses.iter().any(|held| held.address == *address);
    let (shared, fresh): (Vec<_>, Vec<_>) = new
        .addresses
        .iter()
        .map(|held| &held.address)
        .partition(|a| in_old(a));
    let stale = old
        .addresses
        .iter()
        .map(|held| &held.address)
        .filter(|a| !in_new(a) && !foreign(a));
    // The kernel will not hold one address twice on an interface: where only a detail changes, the old form goes first.
    let twin = |a: &Address| {
        fresh
            .iter()
            .any(|f| f.address == a.address && f.ifindex == a.ifindex)
    };
    let (twins, stale): (Vec<_>, Vec<_>) = stale.partition(|a| twin(a));

    let mut steps: Vec<_> = old
        .rules
        .iter()
        .filter(|rule| !new.rules.contains(rule))
        .map(Step::DeleteRule)
        .collect();
    steps.extend(
        old.routes
            .iter()
            .filter(|route| !new.routes.contains(route))
            .map(Step::DeleteRoute),
    );
    steps.extend(twins.into_iter().map(Step::Delete));
    steps.extend(fresh.iter().copied().map(Step::Add));
    if old.lease != new.lease {
        steps.extend(
            shared
                .into_iter()
                .filter(|address| !foreign(address))
                .map(Step::Renew),
        );
    }
    steps.extend(stale.into_iter().map(Step::Delete));
    steps.extend(
        new.routes
            .iter()
            .filter(|route| !old.routes.contains(route))
            .map(Step::AddRoute),
    );
    steps.extend(
        new.rules
            .iter()
            .filter(|rule| !old.rules.contains(rule))
            .map(Step::AddRule),
    );
    steps
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) refusals: Vec<Refusal>,
    /// Addresses that someone else has put there: not ours to renew or delete.
    pub(super) already_there: Vec<Address>,
}

pub(super) fn carry_out(netlink: &mut Netlink, steps: &[Step<'_>], lease: Option<Duration>) -> Outcome {
    let mut batch = Batch::new();
    for step in steps {
        step.encode(lease, &mut batch);
    }
    let mut outcome = Outcome::default();
    match netlink.run(&mut batch) {
        Ok(failures) => {
            for failure in failures {
                let step = steps[failure.index];
                if let (Step::Add(address), Errno::EEXIST) = (step, failure.errno) {
                    outcome.already_there.push(address.clone());
                }
                if !step.is_done_by(failure.errno) {
                    outcome.refusals.push(Refusal {
                        what: step.to_string(),
                        errno: failure.errno,
                    });
                }
            }
        }
        Err(error) => outcome.refusals.push(Refusal {
            what: error.to_string(),
            errno: error.errno(),
        }),
    }
    outcome
}

impl Step<'_> {
    fn encode(self, lease: Option<Duration>, batch: &mut Batch) {
        match self {
            Self::Add(address) => address.add(lease, batch),
            Self::Renew(address) => address.renew(lease, batch),
            Self::Delete(address) => address.delete(batch),
            Self::AddRoute(route) => route.add(batch),
            Self::DeleteRoute(route) => route.delete(batch),
            Self::AddRule(rule) => rule.add(batch),
            Self::DeleteRule(rule) => rule.delete(batch),
        }
    }

    /// Some refusals say that there is nothing left to do. An address that was there already is told all the same.
    fn is_done_by(self, errno: Errno) -> bool {
        match self {
            Self::Add(_) | Self::Renew(_) => false,
            Self::AddRoute(_) | Self::AddRule(_) => errno == Errno::EEXIST,
            Self::Delete(_) | Self::DeleteRoute(_) | Self::DeleteRule(_) => {
                matches!(
                    errno,
                    Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ESRCH | Errno::ENOENT
                )
            }
        }
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(a) | Self::Renew(a) => write!(f, "adding {}/{}", a.address, a.prefix),
            Self::Delete(a) => write!(f, "deleting {}/{}", a.address, a.prefix),
            Self::AddRoute(route) => write!(f, "adding route {route}"),
            Self::DeleteRoute(route) => write!(f, "deleting route {route}"),
            Self::AddRule(rule) => write!(f, "adding rule {rule}"),
            Self::DeleteRule(rule) => write!(f, "deleting rule {rule}"),
        }
    }
}
