//! Compares the plans of several hosts: what one file alone cannot show, and what makes two hosts both active or
//! none of them move.
//!
//! Pure: plans in, findings out. What depends on a running system is in [`super::system`]. A password is compared and
//! never shown.

mod failure;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use warren_kit::config::finding::Finding;
use warren_kit::duration::HumanDuration;
use warren_vrrp::checksum::ChecksumPolicy;
use warren_vrrp::packet::Password;
use warren_vrrp::{Family, Version};

use super::plan::{Delivery, Plan, RouterPlan};

/// A virtual router as one host has it.
#[derive(Clone, Copy)]
struct Member<'a> {
    host: &'a str,
    plan: &'a Plan,
    router: &'a RouterPlan,
}

/// Everything to say about hosts that are meant to work together.
#[must_use]
pub fn compare(hosts: &[(String, Plan)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if hosts.len() < 2 {
        return findings;
    }
    for members in virtual_routers(hosts) {
        let name = members.first().map_or("", |member| &member.router.name);
        let mut about = Comparison {
            name,
            members: &members,
            findings: &mut findings,
        };
        if members.len() < 2 {
            about.alone();
            continue;
        }
        about.identity();
        about.timing();
        about.addresses();
        about.password();
        about.checksum();
        about.delivery(hosts.len());
        about.priorities();
        about.plumbing();
        findings.extend(failure::who_wins(name, &members));
    }
    findings.extend(groups(hosts));
    findings
}

/// Sorts the routers of all hosts into virtual routers: the same name, else a shared address, else the same number.
fn virtual_routers(hosts: &[(String, Plan)]) -> Vec<Vec<Member<'_>>> {
    let mut clusters: Vec<Vec<Member<'_>>> = Vec::new();
    for (host, plan) in hosts {
        for router in &plan.routers {
            let member = Member { host, plan, router };
            let best = clusters
                .iter_mut()
                .filter(|cluster| cluster.iter().all(|known| known.host != host))
                .map(|cluster| {
                    (
                        cluster.iter().map(|known| likeness(known.router, router)).max(),
                        cluster,
                    )
                })
                .filter(|(likeness, _)| likeness.is_some_and(|likeness| likeness > 0))
                .max_by_key(|(likeness, _)| *likeness);
            match best {
                Some((_, cluster)) => cluster.push(member),
                None => clusters.push(vec![member]),
            }
        }
    }
    clusters
}

fn likeness(a: &RouterPlan, b: &RouterPlan) -> u8 {
    let shares_address = a
        .addresses
        .iter()
        .any(|address| b.addresses.iter().any(|other| other.address == address.address));
    let same_number = a.settings.vrid == b.settings.vrid && a.settings.family == b.settings.family;
    u8::from(a.name == b.name) * 4 + u8::from(shares_address) * 2 + u8::from(same_number)
}

struct Comparison<'a> {
    name: &'a str,
    members: &'a [Member<'a>],
    findings: &'a mut Vec<Finding>,
}

impl Comparison<'_> {
    /// `key=value` for every host if they are not all the same: `alpha 51, beta 52`.
    fn differing<T: PartialEq>(
        &self,
        value: impl Fn(&Member<'_>) -> T,
        show: impl Fn(&T) -> String,
    ) -> Option<String> {
        let values: Vec<T> = self.members.iter().map(value).collect();
        let first = values.first()?;
        if values.iter().all(|value| value == first) {
            return None;
        }
        let shown = self
            .members
            .iter()
            .zip(&values)
            .map(|(member, value)| format!("{} {}", member.host, show(value)));
        Some(shown.collect::<Vec<_>>().join(", "))
    }

    fn alone(&mut self) {
        for member in self.members {
            self.findings.push(Finding::warning(
                format!("{}: only {} has it", self.name, member.host),
                "configure it on the other hosts too, or accept that nobody takes over",
            ));
        }
    }

    fn identity(&mut self) {
        if let Some(values) = self.differing(|member| member.router.settings.vrid, ToString::to_string) {
            self.findings.push(Finding::error(
                format!(
                    "{}: different virtual router identifiers ({values}): each host becomes active",
                    self.name
                ),
                "give it the same number everywhere",
            ));
        }
        let family = |family: &Family| match family {
            Family::V4 => "IPv4".to_owned(),
            Family::V6 => "IPv6".to_owned(),
        };
        if let Some(values) = self.differing(|member| member.router.settings.family, family) {
            self.findings.push(Finding::error(
                format!(
                    "{}: different address families ({values}): each host becomes active",
                    self.name
                ),
                "advertise addresses of the same family everywhere",
            ));
        }
        let version = |version: &Version| format!("version {}", version.number());
        if let Some(values) = self.differing(|member| member.router.settings.version, version) {
            self.findings.push(Finding::error(
                format!(
                    "{}: different protocol versions ({values}): each host becomes active",
                    self.name
                ),
                "use the same version everywhere; version 3 unless other equipment speaks only 2",
            ));
        }
    }

    fn timing(&mut self) {
        let duration = |duration: &std::time::Duration| HumanDuration::new(*duration).to_string();
        if let Some(values) = self.differing(|member| member.router.settings.interval, duration) {
            let all_v3 = self
                .members
                .iter()
                .all(|member| member.router.settings.version == Version::V3);
            let text = format!("{}: different advertisement intervals ({values})", self.name);
            self.findings.push(if all_v3 {
                Finding::warning(
                    text,
                    "use the same interval everywhere: failover takes as long as the active host's allows",
                )
            } else {
                Finding::error(
                    format!("{text}: version 2 drops such advertisements, and each host becomes active"),
                    "use the same interval everywhere",
                )
            });
        }
        if let Some(values) = self.differing(
            |member| member.router.settings.dead_after,
            |count| format!("after {count}"),
        ) {
            self.findings.push(Finding::warning(
                format!(
                    "{}: hosts wait for different numbers of missed advertisements ({values})",
                    self.name
                ),
                "use the same number everywhere",
            ));
        }
    }

    fn addresses(&mut self) {
        let listed = |member: &Member<'_>| -> BTreeMap<IpAddr, u8> {
            member
                .router
                .addresses
                .iter()
                .map(|address| (address.address, address.prefix))
                .collect()
        };
        let everywhere: BTreeSet<IpAddr> = self
            .members
            .iter()
            .flat_map(|member| listed(member).into_keys())
            .collect();
        let mut prefixes: BTreeMap<IpAddr, BTreeSet<u8>> = BTreeMap::new();
        for member in self.members {
            let own = listed(member);
            let missing: Vec<String> = everywhere
                .iter()
                .filter(|ip| !own.contains_key(ip))
                .map(ToString::to_string)
                .collect();
            if !missing.is_empty() {
                self.findings.push(Finding::error(
                    format!("{}: {} does not have {}", self.name, member.host, missing.join(", ")),
                    "list the same addresses everywhere: keepalived before 2.4 drops advertisements with others, and after a \
                     failover the missing ones are gone",
                ));
            }
            for (ip, prefix) in own {
                prefixes.entry(ip).or_default().insert(prefix);
            }
        }
        for (ip, lengths) in prefixes.into_iter().filter(|(_, lengths)| lengths.len() > 1) {
            let lengths: Vec<String> = lengths.iter().map(|length| format!("/{length}")).collect();
            self.findings.push(Finding::warning(
                format!(
                    "{}: {ip} has different prefix lengths ({})",
                    self.name,
                    lengths.join(", ")
                ),
                "use the same length everywhere",
            ));
        }
    }

    fn password(&mut self) {
        let show =
            |password: &Option<Password>| if password.is_some() { "has one" } else { "has none" }.to_owned();
        if let Some(values) = self.differing(|member| member.router.password, show) {
            let which = if self.members.iter().all(|member| member.router.password.is_some()) {
                "they are not the same".to_owned()
            } else {
                values
            };
            self.findings.push(Finding::error(
                format!(
                    "{}: different passwords ({which}): each host becomes active",
                    self.name
                ),
                "use the same password everywhere, or none",
            ));
        }
    }

    /// Either form is accepted by us, but a third party may insist on one.
    fn checksum(&mut self) {
        let fixed = |policy: &ChecksumPolicy| match policy {
            ChecksumPolicy::Auto { .. } => "auto".to_owned(),
            ChecksumPolicy::Rfc9568 => "rfc9568".to_owned(),
            ChecksumPolicy::PseudoHeader => "pseudo-header".to_owned(),
        };
        let forms = self.members.iter().map(|member| member.router.checksum);
        let has = |form: ChecksumPolicy| forms.clone().any(|other| other == form);
        if has(ChecksumPolicy::Rfc9568) && has(ChecksumPolicy::PseudoHeader) {
            let values = self
                .differing(|member| member.router.checksum, fixed)
                .unwrap_or_default();
            self.findings.push(Finding::warning(
                format!("{}: different checksum forms ({values})", self.name),
                "use the same form everywhere: hosts that are not warren may accept only one",
            ));
        }
    }

    fn delivery(&mut self, hosts: usize) {
        let unicast = |member: &Member<'_>| matches!(member.router.delivery, Delivery::Unicast(_));
        let show = |unicast: &bool| if *unicast { "unicast" } else { "multicast" }.to_owned();
        if let Some(values) = self.differing(unicast, show) {
            self.findings.push(Finding::error(
                format!(
                    "{}: some hosts multicast and some do not ({values}): they do not hear each other",
                    self.name
                ),
                "list the peers on every host, or on none",
            ));
            return;
        }
        for member in self.members {
            let Delivery::Unicast(peers) = &member.router.delivery else {
                continue;
            };
            for other in self.members.iter().filter(|other| other.host != member.host) {
                if let Some(source) = other.router.source
                    && peers.iter().all(|peer| peer.address != source)
                {
                    self.findings.push(Finding::error(
                        format!(
                            "{}: {} does not list {} ({source}) as a peer and drops its advertisements",
                            self.name, member.host, other.host
                        ),
                        format!("add {source} to the peers of {}", member.host),
                    ));
                }
            }
            if peers.len() + 1 < hosts {
                self.findings.push(Finding::warning(
                    format!(
                        "{}: {} lists {} peers for {} other hosts",
                        self.name,
                        member.host,
                        peers.len(),
                        hosts - 1
                    ),
                    "list every other host",
                ));
            }
        }
    }

    fn priorities(&mut self) {
        let owners: Vec<&str> = self
            .members
            .iter()
            .filter(|member| member.router.priority == 255)
            .map(|member| member.host)
            .collect();
        if owners.len() > 1 {
            self.findings.push(Finding::error(
                format!(
                    "{}: more than one address owner (priority 255): {}",
                    self.name,
                    owners.join(", ")
                ),
                "an address belongs to one host at most: give the others 254 or less",
            ));
            return;
        }
        let mut by_priority: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
        for member in self.members {
            by_priority
                .entry(member.router.priority)
                .or_default()
                .push(member.host);
        }
        for (priority, hosts) in by_priority.into_iter().filter(|(_, hosts)| hosts.len() > 1) {
            self.findings.push(Finding::note(format!(
                "{}: {} have the same priority {priority}: the higher address decides, and whoever is active stays so",
                self.name,
                hosts.join(" and "),
            )));
        }
    }

    fn plumbing(&mut self) {
        let show = |has: &bool| if *has { "virtual MAC" } else { "its own MAC" }.to_owned();
        if let Some(values) = self.differing(|member| member.router.virtual_mac.is_some(), show) {
            self.findings.push(Finding::warning(
                format!(
                    "{}: some hosts use the virtual MAC and some do not ({values})",
                    self.name
                ),
                "use it everywhere or nowhere: caches of neighbours have to change with every failover",
            ));
        }
        let excluded = |member: &Member<'_>| -> BTreeSet<IpAddr> {
            member
                .router
                .excluded
                .iter()
                .map(|address| address.address)
                .collect()
        };
        if self.differing(excluded, |_| String::new()).is_some() {
            self.findings.push(Finding::warning(
                format!(
                    "{}: the addresses that are not advertised differ between hosts",
                    self.name
                ),
                "list the same ones everywhere: after a failover the missing ones are gone",
            ));
        }
    }
}

fn groups(hosts: &[(String, Plan)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let members = |plan: &Plan| -> BTreeSet<BTreeSet<String>> {
        let names = |indices: &[usize]| -> BTreeSet<String> {
            indices
                .iter()
                .filter_map(|index| plan.routers.get(*index))
                .map(|router| router.name.to_string())
                .collect()
        };
        plan.groups.iter().map(|group| names(&group.routers)).collect()
    };
    let mut plans = hosts.iter();
    let Some((first_host, first)) = plans.next() else {
        return findings;
    };
    for (host, _) in plans.filter(|(_, plan)| members(plan) != members(first)) {
        findings.push(Finding::warning(
            format!("{first_host} and {host} have different sync groups"),
            "group the same routers everywhere, else they change sides in parts",
        ));
    }
    findings
}
