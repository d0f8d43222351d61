//! Plays every check's failure through: who is active then?
//!
//! This is where the classic trap shows: a weight that is not larger than the gap between the priorities moves nothing.

use warren_vrrp::Priority;
use warren_vrrp::priority::{CheckState, Fitness, Rule, effective};

use super::{Finding, Member};
use crate::config::plan::Plan;
use crate::config::plan::{CheckKind, CheckWeight};

/// One line for each check that can fail on the host that is active when all is well.
pub(super) fn who_wins(name: &str, members: &[Member<'_>]) -> Vec<Finding> {
    let healthy: Vec<Fitness> = members.iter().map(|member| worth(member, None)).collect();
    let usual = winners(&healthy);
    let mut findings = Vec::new();
    for (index, member) in members.iter().enumerate() {
        for used in &member.router.checks {
            let Some(check) = member.plan.checks.get(used.check) else {
                continue;
            };
            // What a file's number will be is not in the plan.
            if used.weight.is_some() && matches!(check.kind, CheckKind::File { .. }) {
                continue;
            }
            let mut fitness = healthy.clone();
            if let Some(own) = fitness.get_mut(index) {
                *own = worth(member, Some(used.check));
            }
            let scene = Scene {
                name,
                members,
                fitness: &fitness,
                failing: index,
                check: &check.name,
                used,
            };
            if usual.contains(&index) {
                findings.push(scene.on_the_active_host(&usual));
            } else if winners(&fitness).contains(&index) {
                findings.push(Finding::warning(
                    format!(
                        "{}: with {} failing on {} {}: the failure makes it active",
                        name,
                        check.name,
                        member.host,
                        scene.sum()
                    ),
                    "a failing check should not raise the priority: look at its sign and at `reverse`",
                ));
            }
        }
    }
    findings
}

/// What one check's failure on one host leads to.
struct Scene<'a> {
    name: &'a str,
    members: &'a [Member<'a>],
    fitness: &'a [Fitness],
    failing: usize,
    check: &'a str,
    used: &'a CheckWeight,
}

impl Scene<'_> {
    fn on_the_active_host(&self, usual: &[usize]) -> Finding {
        let host = self.host(self.failing);
        let said = format!(
            "{}: with {} failing on {host} {}",
            self.name,
            self.check,
            self.sum()
        );
        let then = winners(self.fitness);
        let own_fit = self.fitness.get(self.failing).is_some_and(|own| own.fit);
        if then.is_empty() {
            return Finding::error(
                format!("{said}: nobody becomes active"),
                "another host must be able to take over: look at the checks that are turned round there",
            );
        }
        if !then.contains(&self.failing) {
            let names: Vec<&str> = then.iter().map(|index| self.host(*index)).collect();
            let verb = if names.len() == 1 {
                "becomes"
            } else {
                "(whichever has the higher address) becomes"
            };
            return Finding::note(format!("{said}: {} {verb} active", names.join(" or ")));
        }
        let gap = self.gap();
        let weight = self.used.weight.unwrap_or(0);
        if own_fit && usual.contains(&self.failing) && then.len() == 1 {
            return Finding::warning(
                format!("{said}: {host} stays active, nothing moves"),
                format!(
                    "make the weight {} or lower (it is {weight}), or let the check release the role (weight 0)",
                    -(gap + 1)
                ),
            );
        }
        Finding::warning(
            format!("{said}: the higher address decides"),
            "make the weight larger than the gap between the priorities, or let the check release the role (weight 0)",
        )
    }

    fn host(&self, index: usize) -> &str {
        self.members.get(index).map_or("", |member| member.host)
    }

    /// What the failing host was worth above the best of the others.
    fn gap(&self) -> i16 {
        let own = self
            .members
            .get(self.failing)
            .map_or(0, |member| i16::from(worth(member, None).priority.0));
        let others = self
            .fitness
            .iter()
            .enumerate()
            .filter(|(index, other)| *index != self.failing && other.fit);
        own - others
            .map(|(_, other)| i16::from(other.priority.0))
            .max()
            .unwrap_or(0)
    }

    /// `(alpha 99, beta 100)`
    fn sum(&self) -> String {
        let worths = self.members.iter().zip(self.fitness).map(|(member, fitness)| {
            if fitness.fit {
                format!("{} {}", member.host, fitness.priority)
            } else {
                format!("{} out", member.host)
            }
        });
        format!("({})", worths.collect::<Vec<_>>().join(", "))
    }
}

/// Those of the highest priority among the fit; more than one if addresses will decide.
fn winners(fitness: &[Fitness]) -> Vec<usize> {
    let best = fitness.iter().filter(|one| one.fit).map(|one| one.priority).max();
    let is_best = |one: &Fitness| one.fit && Some(one.priority) == best;
    fitness
        .iter()
        .enumerate()
        .filter(|(_, one)| is_best(one))
        .map(|(index, _)| index)
        .collect()
}

/// All checks well, but perhaps this one.
fn worth(member: &Member<'_>, failing: Option<usize>) -> Fitness {
    let states: Vec<CheckState> = member
        .router
        .checks
        .iter()
        .map(|used| state(member.plan, used, Some(used.check) != failing))
        .collect();
    effective(Priority(member.router.priority), &states, false).fitness
}

/// A turned check is well when what it looks at is not there: "well" here means that nothing is wrong.
fn state(plan: &Plan, used: &CheckWeight, well: bool) -> CheckState {
    let check = plan.checks.get(used.check);
    let in_a_file = check.is_some_and(|check| matches!(check.kind, CheckKind::File { .. }));
    let rule = match used.weight {
        None => Rule::Release,
        Some(_) if in_a_file => Rule::Value(0),
        Some(weight) => Rule::Weight(weight),
    };
    // A releasing check that is turned round releases on success.
    let ok = if used.reverse && used.weight.is_none() {
        !well
    } else {
        well
    };
    CheckState {
        name: check.map_or_else(String::new, |check| check.name.to_string()),
        ok: Some(ok),
        rule,
        reverse: used.reverse,
    }
}
