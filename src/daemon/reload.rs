//! A new configuration: read, checked and planned before anything changes, then applied where it differs.

use std::time::Duration;

use warren_api::vrrp::{self as api, kind};

use super::Daemon;
use super::start::read_plan;
use crate::config::plan::{Lease, Plan, RouterPlan};
use crate::guard::messages::FromWorker;
use crate::history::event;
use crate::instance::{Instance, rules};
use crate::program::ProgramPolicy;
use crate::protocol::{Command, Slot};
use crate::{notify, plumbing, track, words};

/// How long a router that is taken out of the configuration waits for another to take over.
const REMOVAL_GRACE: Duration = Duration::from_secs(1);

/// How long the plumbing thread may be silent before the worker counts as hung: half of the shortest lease, for the
/// other half is left to act in, but no less than a busy machine may need.
fn plumbing_patience(shortest_lease: Option<Duration>) -> Duration {
    (shortest_lease.unwrap_or(plumbing::LONGEST_LEASE) / 2).max(Duration::from_secs(1))
}

impl Daemon {
    /// All of the new configuration is applied, or none of it. Says what has changed.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        if self.stopping.is_some() {
            // A router added now would never leave.
            return Err("the daemon is stopping; start it again with the new configuration".into());
        }
        let (plan, warnings) = read_plan(&self.options, &self.host)
            .map_err(|text| format!("{text}the old configuration stays in force"))?;
        self.warnings = warnings;
        let summary = self.apply(plan);
        self.config_read = words::timestamp();
        self.history.record(event(
            kind::RELOAD,
            None,
            format!("configuration read: {summary}"),
        ));
        Ok(summary)
    }

    fn apply(&mut self, plan: Plan) -> String {
        let mut removed = 0;
        let mut added = 0;
        let mut changed = 0;
        let old = std::mem::replace(&mut self.plan, plan.clone());
        self.transitions
            .retain(|counted, _| plan.routers.iter().any(|router| *router.name == *counted.router));
        let policy = ProgramPolicy::of(&plan);
        self.tracker.reconfigure(plan.checks.clone(), policy.clone());
        self.reports
            .retain(|name, _| plan.checks.iter().any(|check| check.name == *name));
        self.notifier.reconfigure(&plan, &policy);
        self.warn_of_programs(&plan, &policy);

        let slots: Vec<Slot> = self
            .instances
            .iter()
            .flatten()
            .map(|instance| instance.slot)
            .collect();
        for slot in slots {
            let Some(instance) = self.instance(slot).filter(|instance| !instance.leaving) else {
                continue;
            };
            match plan.routers.iter().find(|router| instance.is_same_router(router)) {
                Some(successor) => {
                    changed += usize::from(self.go_over(slot, successor, &plan, &old));
                }
                None => {
                    self.take_out(slot);
                    removed += 1;
                }
            }
        }
        for router in &plan.routers {
            if self.slot_of(&router.name).is_none() {
                self.add(router.clone(), &plan);
                added += 1;
            }
        }
        self.groups = self.regroup(&plan);
        self.tell_groups();
        self.keep_statics();
        self.attach_all();
        self.tell_beat();
        self.tell_guard(FromWorker::Status(self.summary()));
        format!("{added} routers added, {removed} removed, {changed} changed, the others untouched")
    }

    /// A router that stays: only what differs is passed on. True if anything did.
    fn go_over(&mut self, slot: Slot, successor: &RouterPlan, plan: &Plan, old: &Plan) -> bool {
        let checks = rules(successor, plan);
        let lease_changed = old.lease != plan.lease;
        let Some(instance) = self.instance_mut(slot) else {
            return false;
        };
        let mut before = instance.plan.clone();
        // Check indices shift when others are edited; the names decide.
        before.checks.clone_from(&successor.checks);
        let differs = before != *successor;
        let rules_differ = instance.checks != checks;
        let group = plan
            .routers
            .iter()
            .position(|router| router.name == successor.name)
            .and_then(|index| {
                plan.groups
                    .iter()
                    .position(|group| group.routers.contains(&index))
            });
        instance.group = group;
        instance.plan = successor.clone();
        if rules_differ {
            instance.take_checks(checks);
        }
        if differs || lease_changed {
            self.install(slot);
        }
        differs || rules_differ
    }

    /// Leaves the role, if it has it, and is forgotten afterwards.
    pub(super) fn take_out(&mut self, slot: Slot) {
        let Some(instance) = self.instance_mut(slot) else {
            return;
        };
        instance.leaving = true;
        // Only the protocol thread knows what state it is in by now.
        self.protocol.send(Command::Remove {
            slot,
            grace: REMOVAL_GRACE,
        });
    }

    /// The router has left.
    pub(super) fn forget(&mut self, slot: Slot) {
        let Some(instance) = self.instances.get_mut(usize::from(slot)).and_then(Option::take) else {
            return;
        };
        self.plumbing.remove(usize::from(slot));
        self.links.remove_virtual_mac(slot);
        self.tell_guard(FromWorker::Forget { slot });
        self.history
            .record(event(kind::RELOAD, Some(instance.name()), "removed"));
        self.update_filters();
    }

    pub(super) fn add(&mut self, router: RouterPlan, plan: &Plan) {
        let free = self
            .instances
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.instances.len());
        let Ok(slot) = Slot::try_from(free) else { return };
        if free == self.instances.len() {
            self.instances.push(None);
        }
        self.instances[free] = Some(Instance::new(slot, router, plan));
    }

    /// Group states for a new plan; groups that stay keep theirs.
    pub(super) fn regroup(&self, plan: &Plan) -> Vec<api::GroupStatus> {
        plan.groups
            .iter()
            .map(|group| {
                let known = self
                    .groups
                    .iter()
                    .find(|known| known.name == *group.name)
                    .cloned();
                let fresh = || api::GroupStatus {
                    name: group.name.to_string(),
                    since: words::timestamp(),
                    ..api::GroupStatus::default()
                };
                let routers = group.routers.iter().filter_map(|index| plan.routers.get(*index));
                api::GroupStatus {
                    routers: routers.map(|router| router.name.to_string()).collect(),
                    ..known.unwrap_or_else(fresh)
                }
            })
            .collect()
    }

    pub(super) fn tell_groups(&self) {
        let groups = self
            .plan
            .groups
            .iter()
            .map(|group| {
                let names = group
                    .routers
                    .iter()
                    .filter_map(|index| self.plan.routers.get(*index));
                names.filter_map(|router| self.slot_of(&router.name)).collect()
            })
            .collect();
        self.protocol.send(Command::Groups(groups));
    }

    /// Tells guard and protocol thread how often the one hears from the other.
    pub(super) fn tell_beat(&mut self) {
        let shortest = self
            .plan
            .routers
            .iter()
            .map(|router| router.settings.interval)
            .min();
        let limit = (2 * shortest.unwrap_or(Duration::from_secs(1))).max(Duration::from_millis(250));
        self.tell_guard(FromWorker::BeatLimit(limit));
        let leases = self
            .plan
            .routers
            .iter()
            .filter_map(|router| self.lease_of(router));
        self.protocol.send(Command::Beat {
            every: limit / 4,
            plumbing: plumbing_patience(leases.min()),
        });
    }

    /// How long the kernel keeps this router's addresses without renewal.
    pub(super) fn lease_of(&self, router: &RouterPlan) -> Option<Duration> {
        match self.plan.lease {
            Lease::Off => None,
            Lease::Fixed(lease) => Some(lease),
            Lease::Auto => {
                let settings = &router.settings;
                // The longest skew there is: the lease must not depend on a priority that moves.
                let skew = if settings.version == warren_vrrp::Version::V2 {
                    Duration::from_secs(1)
                } else {
                    settings.interval
                };
                let down = settings.interval * u32::from(settings.dead_after) + skew;
                Some(Duration::from_secs(
                    down.as_millis()
                        .div_ceil(1000)
                        .max(1)
                        .try_into()
                        .unwrap_or(u64::MAX),
                ))
            }
        }
    }

    /// Programs that will only ever fail are told at once, not when they are needed.
    pub(super) fn warn_of_programs(&mut self, plan: &Plan, policy: &ProgramPolicy) {
        let checks = track::problems(&plan.checks, policy);
        let checks = checks
            .into_iter()
            .map(|(name, problem)| format!("check {name}: {problem}"));
        let programs = notify::problems(plan, policy);
        let programs = programs
            .into_iter()
            .map(|(name, problem)| format!("notify of {name}: {problem}"));
        for warning in checks.chain(programs) {
            tracing::warn!("{warning}");
            self.warnings.push(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plumbing_may_be_silent_for_half_of_the_shortest_lease_and_at_least_a_second() {
        let seconds = Duration::from_secs;
        assert_eq!(plumbing_patience(Some(seconds(1))), seconds(1));
        assert_eq!(plumbing_patience(Some(seconds(8))), seconds(4));
        assert_eq!(plumbing_patience(None), seconds(60));
    }
}
