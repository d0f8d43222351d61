//! Sync groups: routers that change state together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use warren_kit::config::{Report, suggestion};

use super::notify::notify;
use crate::config::Vrrp;
use crate::config::names;
use crate::config::plan::{GroupPlan, RouterPlan, UserPlan};

/// The group of every router that has one.
pub(super) fn memberships<'a>(report: &mut Report, file: &'a Vrrp) -> BTreeMap<&'a str, &'a str> {
    let mut groups: BTreeMap<&str, (&str, Range<usize>)> = BTreeMap::new();
    for (name, group) in &file.group {
        report.name("group", name, &names::NAME);
        if group.routers.is_empty() {
            report.error(
                name.span(),
                format!("the group \"{}\" has no routers", name.get_ref()),
                "list the routers that change state together",
            );
        }
        for member in &group.routers {
            let router = member.get_ref().as_str();
            if !file.router.contains_key(router) {
                let known = file.router.keys().map(|name| name.get_ref().as_str());
                report.error(
                    member.span(),
                    format!("there is no router \"{router}\""),
                    suggestion(router, known),
                );
            } else if let Some((_, first)) = groups.get(router) {
                report.conflict(
                    member.span(),
                    format!("the router \"{router}\" is in a group already"),
                    first.clone(),
                    "here",
                    "a router is in one group at most: remove it from one of them",
                );
            } else {
                groups.insert(router, (name.get_ref(), member.span()));
            }
        }
    }
    groups
        .into_iter()
        .map(|(router, (group, _))| (router, group))
        .collect()
}

pub(super) fn groups(
    report: &mut Report,
    file: &Vrrp,
    routers: &[RouterPlan],
    script_user: Option<&UserPlan>,
) -> Vec<GroupPlan> {
    let mut plans = Vec::new();
    for (name, group) in &file.group {
        let mut members = Vec::new();
        for member in &group.routers {
            let found = routers
                .iter()
                .position(|plan| &*plan.name == member.get_ref().as_str());
            let Some((index, plan)) = found.and_then(|index| Some((index, routers.get(index)?))) else {
                continue;
            };
            members.push(index);
            if !group.tracking_weight && plan.checks.iter().any(|check| check.weight.is_some()) {
                report.error(
                    member.span(),
                    format!(
                        "the router \"{}\" has checks with weights, which do not count in a group",
                        plan.name
                    ),
                    "let them release the role (weight 0), or let weights count with `tracking_weight`",
                );
            }
        }
        plans.push(GroupPlan {
            name: Arc::from(name.get_ref().as_str()),
            routers: members,
            tracking_weight: group.tracking_weight,
            notify: notify(report, group.notify.as_ref(), script_user),
        });
    }
    plans
}
