//! Addresses of ours that somebody else deleted.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use warren_api::vrrp::kind;
use warren_vrrp::{Input, State};

use super::Daemon;
use crate::history::{event, with};
use crate::instance::Instance;

/// Within this time the repairs of a router are counted.
const REPAIR_WINDOW: Duration = Duration::from_secs(60);

impl Daemon {
    /// An address of ours was deleted by somebody else: put it back, but do not fight over it for ever.
    pub(super) fn repair(&mut self, index: u32, address: IpAddr) {
        let limit = usize::try_from(self.plan.repair_limit).unwrap_or(usize::MAX);
        let Some(slot) = self.holder_of(index, address).map(|instance| instance.slot) else {
            return;
        };
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        if instance.state != State::Active || instance.surrendered {
            return;
        }
        let now = Instant::now();
        instance
            .repairs
            .retain(|at| now.duration_since(*at) < REPAIR_WINDOW);
        let name = instance.name().to_owned();
        let fields = |count: usize| [("address", address.to_string()), ("count", count.to_string())];
        if instance.repairs.len() < limit {
            instance.repairs.push_back(now);
            instance.repairs_total += 1;
            let count = instance.repairs.len();
            self.plumbing.repair(usize::from(slot));
            let text = format!("{address} was deleted by somebody else; put back");
            self.history
                .record(with(event(kind::REPAIR, Some(&name), text), fields(count)));
        } else {
            instance.surrendered = true;
            self.protocol.input(slot, Input::Surrender);
            let text = format!(
                "{address} was deleted {limit} times within a minute; the role is given up: stop whatever deletes it, \
                 then `warren resume {name}`"
            );
            self.history
                .record(with(event(kind::REPAIR, Some(&name), text), fields(limit)));
            self.reassess_all();
        }
    }

    /// The instance that holds `address` on the interface with this index.
    fn holder_of(&self, index: u32, address: IpAddr) -> Option<&Instance> {
        self.instances.iter().flatten().find(|instance| {
            let Some(link) = &instance.link else { return false };
            let plan = &instance.plan;
            plan.addresses
                .iter()
                .chain(&plan.excluded)
                .any(|held| held.address == address && self.place_of(link, held) == Some(index))
        })
    }
}
