//! From the file to the plan: every default filled in, every rule checked, every mistake named with its place.
//!
//! Nothing here asks the system: whether an interface, a user or a program exists is for the daemon and
//! `warren check` to say.

mod address;
mod announce;
mod check;
mod command;
mod group;
mod notify;
mod router;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::diagnostics::Diagnostic;
use warren_kit::duration::HumanDuration;
use warren_vrrp::Family;

use self::check::Checks;
use self::router::{Surroundings, family_name};
use super::plan::{Lease, Plan, RouterPlan};
use super::{CheckUse, Router, Vrrp};

const ROUTERS_MAX: usize = 4096;
const CHECKS_MAX: usize = 1024;
const GROUPS_MAX: usize = 1024;
const STATIC_MAX: usize = 4096;
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const STARTUP_DELAYS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The plan and the warnings, or everything there is to complain about. `host` is this host's name.
pub fn build(file: &Vrrp, host: &str) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut report = Report::default();
    let mut plan = plan(&mut report, file, host);
    leave_out_unused(&mut report, file, &mut plan);
    report.finish().map(|warnings| (plan, warnings))
}

/// A check that nobody uses does not run, as in keepalived.
fn leave_out_unused(report: &mut Report, file: &Vrrp, plan: &mut Plan) {
    let used: BTreeSet<usize> = plan
        .routers
        .iter()
        .flat_map(|router| &router.checks)
        .map(|used| used.check)
        .collect();
    // After errors the uses are not all known.
    if !report.has_errors() {
        let unused = file
            .check
            .keys()
            .enumerate()
            .filter(|(index, _)| !used.contains(index));
        for (_, name) in unused {
            report.warn(
                name.span(),
                format!("no router uses the check \"{}\": it does not run", name.get_ref()),
                "add it to the checks of a router, or remove it",
            );
        }
    }
    let new_index: BTreeMap<usize, usize> = used.iter().enumerate().map(|(new, old)| (*old, new)).collect();
    for check in plan.routers.iter_mut().flat_map(|router| &mut router.checks) {
        check.check = new_index.get(&check.check).copied().unwrap_or_default();
    }
    let mut index = 0;
    plan.checks.retain(|_| {
        index += 1;
        used.contains(&(index - 1))
    });
}

fn plan(report: &mut Report, file: &Vrrp, host: &str) -> Plan {
    check_sizes(report, file);
    let script_user = file.script_user.as_ref().map(|user| command::user(report, user));
    let surroundings = Surroundings {
        checks: Checks::new(&file.check),
        announce: file.announce.as_ref(),
        script_user: script_user.as_ref(),
    };
    let memberships = group::memberships(report, file);
    let routers: Vec<RouterPlan> = file
        .router
        .iter()
        .map(|(name, router)| {
            let group_checks: &[Spanned<CheckUse>] = memberships
                .get(name.get_ref().as_str())
                .and_then(|group| file.group.get(*group))
                .map_or(&[], |group| &group.checks);
            router::router(report, name, router, group_checks, &surroundings)
        })
        .collect();
    check_unique(report, &file.router, &routers);
    warn_about_passwords(report, &file.router);

    Plan {
        router_id: file.router_id.clone().unwrap_or_else(|| host.to_owned()),
        realtime_priority: match report.number(
            "realtime_priority",
            file.realtime_priority.as_ref(),
            0..=99,
            50,
        ) {
            0 => None,
            priority => Some(priority),
        },
        control_group: file
            .control_group
            .as_ref()
            .map(|group| command::user(report, group).user),
        metrics: file.metrics.as_ref().and_then(|address| metrics(report, address)),
        lease: lease(report, file.lease.as_ref()),
        startup_delay: report.duration(
            "startup_delay",
            file.startup_delay.as_ref(),
            STARTUP_DELAYS,
            Duration::ZERO,
        ),
        repair_limit: report.number("repair_limit", file.repair_limit.as_ref(), 0..=1000, 5),
        script_security: file.script_security.unwrap_or(true),
        groups: group::groups(report, file, &routers, script_user.as_ref()),
        checks: file
            .check
            .iter()
            .map(|(name, file)| check::check(report, name, file, script_user.as_ref()))
            .collect(),
        notify: notify::notify(report, file.notify.as_ref(), script_user.as_ref()),
        static_addresses: file
            .static_addresses
            .iter()
            .filter_map(|file| address::address(report, file))
            .collect(),
        static_routes: file
            .static_routes
            .iter()
            .filter_map(|file| address::route(report, file, Family::V4))
            .collect(),
        static_rules: file
            .static_rules
            .iter()
            .filter_map(|file| address::rule(report, file, Family::V4))
            .collect(),
        routers,
    }
}

fn check_sizes(report: &mut Report, file: &Vrrp) {
    let place = |span: Option<Range<usize>>| span.unwrap_or_default();
    report.at_most(
        place(file.router.keys().last().map(Spanned::span)),
        "routers",
        file.router.len(),
        ROUTERS_MAX,
    );
    report.at_most(
        place(file.check.keys().last().map(Spanned::span)),
        "checks",
        file.check.len(),
        CHECKS_MAX,
    );
    report.at_most(
        place(file.group.keys().last().map(Spanned::span)),
        "groups",
        file.group.len(),
        GROUPS_MAX,
    );
    for (what, count) in [
        ("static addresses", file.static_addresses.len()),
        ("static routes", file.static_routes.len()),
        ("static rules", file.static_rules.len()),
    ] {
        report.at_most(0..0, what, count, STATIC_MAX);
    }
    for address in &file.static_addresses {
        let named = matches!(address.get_ref(), super::Address::Long(table) if table.device.is_some());
        if !named {
            report.error(
                address.span(),
                "a static address belongs to an interface",
                "write { address = \"...\", device = \"eth0\" }",
            );
        }
    }
}

/// "auto", "off", or whole seconds.
fn lease(report: &mut Report, file: Option<&Spanned<String>>) -> Lease {
    let Some(file) = file else { return Lease::Auto };
    let duration = match file.get_ref().as_str() {
        "auto" => return Lease::Auto,
        "off" => return Lease::Off,
        text => text.parse::<HumanDuration>(),
    };
    match duration {
        Ok(duration) if duration.get().subsec_nanos() == 0 => {
            let duration = Spanned::new(file.span(), duration);
            Lease::Fixed(report.duration("lease", Some(&duration), LEASES, Duration::from_secs(4)))
        }
        _ => {
            report.error(
                file.span(),
                format!("\"{}\" is not a lease", file.get_ref()),
                "write \"auto\", \"off\" or whole seconds such as \"4s\": the kernel counts no finer",
            );
            Lease::Auto
        }
    }
}

fn metrics(report: &mut Report, text: &Spanned<String>) -> Option<SocketAddr> {
    let Ok(address) = text.get_ref().parse::<SocketAddr>() else {
        report.error(
            text.span(),
            format!("\"{}\" is not an IP address with a port", text.get_ref()),
            "write one such as \"127.0.0.1:9112\" or \"[::1]:9112\"",
        );
        return None;
    };
    if !address.ip().is_loopback() {
        report.warn(
            text.span(),
            format!("everybody who reaches {address} can read the metrics"),
            "bind them to 127.0.0.1 or [::1] unless a firewall says who may",
        );
    }
    Some(address)
}

/// What no two routers of a host can share: the VRID on an interface, an address, a virtual MAC interface.
fn check_unique(report: &mut Report, files: &BTreeMap<Spanned<String>, Router>, plans: &[RouterPlan]) {
    let mut vrids: BTreeMap<(&str, u8, Family), Range<usize>> = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut mac_interfaces: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for (file, plan) in files.values().zip(plans) {
        let vrid = (
            plan.interface.as_str(),
            plan.settings.vrid.get(),
            plan.settings.family,
        );
        if let Some(first) = vrids.get(&vrid) {
            report.conflict(
                file.vrid.span(),
                format!(
                    "virtual router identifier {} is taken on {} for {}",
                    plan.settings.vrid,
                    plan.interface,
                    family_name(plan.settings.family),
                ),
                first.clone(),
                "taken here",
                "give each virtual router on an interface a number of its own, the same on every host",
            );
        } else {
            vrids.insert(vrid, file.vrid.span());
        }
        let spans = file
            .addresses
            .iter()
            .chain(&file.excluded_addresses)
            .map(Spanned::span);
        let planned = plan.addresses.iter().chain(&plan.excluded);
        // An address that could not be read has no plan, and then the spans would be those of its neighbours.
        let complete = planned.clone().count() == spans.clone().count();
        for (address, span) in planned.zip(spans).filter(|_| complete) {
            let device = address.device.as_deref().unwrap_or(&plan.interface);
            match addresses.get(&(address.address, device)) {
                Some((owner, first)) if *owner != plan.name => report.conflict(
                    span,
                    format!("{} already belongs to another virtual router", address.address),
                    Range::clone(first),
                    format!("to `{owner}`"),
                    "let one router have it",
                ),
                Some(_) => {}
                None => {
                    addresses.insert((address.address, device), (plan.name.clone(), span));
                }
            }
        }
        if let (Some(mac), Some(mac_file)) = (&plan.virtual_mac, &file.virtual_mac) {
            if let Some(first) = mac_interfaces.get(mac.name.as_str()) {
                report.conflict(
                    mac_file.span(),
                    format!("two virtual MAC interfaces would be called {}", mac.name),
                    first.clone(),
                    "the other one",
                    "give one of them a name: virtual_mac = { name = \"vrrp-lan.51\" }",
                );
            } else {
                mac_interfaces.insert(&mac.name, mac_file.span());
            }
        }
    }
}

/// Once is enough: most files have the same password everywhere.
fn warn_about_passwords(report: &mut Report, files: &BTreeMap<Spanned<String>, Router>) {
    if let Some(password) = files.values().find_map(|file| file.password.as_ref()) {
        report.warn(
            password.span(),
            "passwords travel in clear text and stop mistakes, not attackers",
            "keep it only as long as other hosts need it",
        );
    }
}
