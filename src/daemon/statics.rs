//! Static addresses, routes and rules of the configuration: there while the daemon runs, whatever the roles.
//!
//! As keepalived does: added at start, put back when deleted or when their interface comes (back), removed at the end.

use std::collections::BTreeSet;

use warren_api::vrrp::kind;
use warren_vrrp::Family;

use super::Daemon;
use crate::history::event;
use crate::netlink::statics::{Statics, Wanted};
use crate::netlink::{Address, NetlinkError, Route, Rule};

/// Keeps them, and remembers which troubles have been told.
pub(super) struct StaticsKept {
    statics: Statics,
    told: BTreeSet<String>,
    /// Nothing is configured, and nothing is left.
    idle: bool,
}

impl StaticsKept {
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            statics: Statics::open()?,
            told: BTreeSet::new(),
            idle: false,
        })
    }
}

impl Daemon {
    /// Brings the kernel in line with the configuration and the interfaces that exist.
    pub(super) fn keep_statics(&mut self) {
        let (wanted, missing) = self.statics_wanted();
        if wanted.is_empty() && missing.is_empty() && self.statics.idle {
            return;
        }
        self.statics.idle = wanted.is_empty() && missing.is_empty();
        let missing = missing
            .into_iter()
            .map(|name| format!("static addresses and routes of {name} wait: the interface does not exist"));
        let mut troubles: BTreeSet<String> = missing.collect();
        match self.statics.statics.apply(&wanted) {
            Ok(refusals) => troubles.extend(
                refusals
                    .into_iter()
                    .map(|(what, errno)| format!("static {what} refused by the kernel: {}", errno.desc())),
            ),
            Err(error) => {
                troubles.insert(format!("static addresses and routes not looked at: {error}"));
            }
        }
        for trouble in troubles.difference(&self.statics.told) {
            self.history.record(event(kind::LINK, None, trouble));
        }
        self.statics.told = troubles;
    }

    /// At the end.
    pub(super) fn remove_statics(&mut self) {
        if !self.statics.idle
            && let Err(error) = self.statics.statics.apply(&Wanted::default())
        {
            tracing::warn!(%error, "static addresses and routes not removed");
        }
    }

    /// What can be there now, and the interfaces that are missing for the rest.
    fn statics_wanted(&self) -> (Wanted, BTreeSet<String>) {
        let mut missing = BTreeSet::new();
        let mut index_of = |name: &str| {
            let found = self.monitor.interfaces().by_name(name);
            if found.is_none() {
                missing.insert(name.to_owned());
            }
            found.map(|interface| interface.index)
        };
        let mut wanted = Wanted::default();
        for plan in &self.plan.static_addresses {
            let Some(ifindex) = plan.device.as_deref().and_then(&mut index_of) else {
                continue;
            };
            wanted.addresses.push(Address {
                ifindex,
                address: plan.address,
                prefix: plan.prefix,
                label: plan.label.clone(),
                scope: plan.scope,
                broadcast: plan.broadcast,
                prefix_route: plan.prefix_route,
            });
        }
        for plan in &self.plan.static_routes {
            let ifindex = match plan.device.as_deref().map(&mut index_of) {
                Some(None) => continue,
                Some(found) => found,
                None => None,
            };
            wanted.routes.push(Route {
                ipv6: plan.family == Family::V6,
                to: plan.to,
                via: plan.via,
                ifindex,
                source: plan.source,
                table: plan.table,
                metric: plan.metric,
                scope: plan.scope,
            });
        }
        // A rule may name an interface that does not exist; the kernel waits for it.
        wanted
            .rules
            .extend(self.plan.static_rules.iter().map(|plan| Rule {
                ipv6: plan.family == Family::V6,
                from: plan.from,
                to: plan.to,
                table: plan.table,
                preference: plan.preference,
                mark: plan.mark,
                device: plan.device.clone(),
            }));
        (wanted, missing)
    }
}
