//! Compares a plan with the system it is to run on: interfaces, networks, firewall, kernel settings.
//!
//! Reading the system and judging it are separate: [`System`] is what was read, [`judge`] is pure. All findings are
//! warnings, since the system can change before the daemon starts, and the daemon waits for interfaces.

mod firewall;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use warren_kit::config::finding::Finding;
use warren_vrrp::Family;

pub use self::firewall::Firewall;

use super::plan::{Plan, RouterPlan};

/// What was read from the system.
#[derive(Debug, Default)]
pub struct System {
    pub interfaces: BTreeMap<String, Interface>,
    /// Empty where none could be read.
    pub firewall: Firewall,
    /// `net/ipv4/conf/eth0/drop_gratuitous_arp` and its value.
    pub settings: BTreeMap<String, String>,
}

/// A network interface.
#[derive(Debug, Default, Clone)]
pub struct Interface {
    /// As `/sys/class/net/NAME/operstate` says: `up`, `down`, `unknown` ...
    pub state: String,
    /// With their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// What this system has to say about a plan.
#[must_use]
pub fn check(plan: &Plan) -> Vec<Finding> {
    judge(plan, &System::read(plan))
}

impl System {
    /// Reads what matters to a plan. What cannot be read is left out.
    #[must_use]
    pub fn read(plan: &Plan) -> Self {
        let names: BTreeSet<&str> = plan
            .routers
            .iter()
            .map(|router| router.interface.as_str())
            .collect();
        let settings = names
            .iter()
            .flat_map(|name| SETTINGS.map(|(setting, _, _)| setting.replace("NAME", name)))
            .filter_map(|setting| {
                let value = std::fs::read_to_string(Path::new("/proc/sys").join(&setting)).ok()?;
                Some((setting, value.trim().to_owned()))
            })
            .collect();
        Self {
            interfaces: interfaces(),
            firewall: Firewall::read(),
            settings,
        }
    }
}

/// Settings that a value spoils, for which family, and why.
const SETTINGS: [(&str, (Family, &str), &str); 3] = [
    (
        "net/ipv4/conf/NAME/drop_gratuitous_arp",
        (Family::V4, "1"),
        "this host ignores the announcements of the others",
    ),
    (
        "net/ipv6/conf/NAME/drop_unsolicited_na",
        (Family::V6, "1"),
        "this host ignores the announcements of the others",
    ),
    (
        "net/ipv6/conf/NAME/disable_ipv6",
        (Family::V6, "1"),
        "the interface has no IPv6",
    ),
];

fn interfaces() -> BTreeMap<String, Interface> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for name in std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
    {
        let state = std::fs::read_to_string(name.path().join("operstate")).unwrap_or_default();
        let name = name.file_name().to_string_lossy().into_owned();
        interfaces.insert(
            name,
            Interface {
                state: state.trim().to_owned(),
                addresses: Vec::new(),
            },
        );
    }
    for entry in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let mask = entry.netmask.as_ref();
        let address = entry.address.as_ref().and_then(|address| {
            let ones = |v4: Option<u32>, v6: Option<u128>| {
                let length = v4.map(u32::count_ones).or_else(|| v6.map(u128::count_ones));
                u8::try_from(length.unwrap_or(0)).unwrap_or(0)
            };
            if let Some(v4) = address.as_sockaddr_in() {
                let mask = mask
                    .and_then(|mask| mask.as_sockaddr_in())
                    .map(|mask| mask.ip().to_bits());
                return Some((IpAddr::V4(v4.ip()), ones(mask, None)));
            }
            let v6 = address.as_sockaddr_in6()?;
            let mask = mask
                .and_then(|mask| mask.as_sockaddr_in6())
                .map(|mask| mask.ip().to_bits());
            Some((IpAddr::V6(v6.ip()), ones(None, mask)))
        });
        if let (Some(address), Some(interface)) = (address, interfaces.get_mut(&entry.interface_name)) {
            interface.addresses.push(address);
        }
    }
    interfaces
}

/// Everything about a plan that does not fit the system.
#[must_use]
pub fn judge(plan: &Plan, system: &System) -> Vec<Finding> {
    let mut findings = Vec::new();
    let virtual_addresses: BTreeSet<IpAddr> = plan
        .routers
        .iter()
        .flat_map(|router| router.addresses.iter().chain(&router.excluded))
        .map(|address| address.address)
        .collect();
    for router in &plan.routers {
        let name = &router.name;
        let Some(interface) = system.interfaces.get(&router.interface) else {
            let known: Vec<&str> = system.interfaces.keys().map(String::as_str).collect();
            findings.push(Finding::warning(
                format!("{name}: this host has no interface {}", router.interface),
                format!("the daemon waits for it; there are {}", known.join(", ")),
            ));
            continue;
        };
        if !["up", "unknown"].contains(&interface.state.as_str()) && !router.ignore_interface_down {
            findings.push(Finding::warning(
                format!(
                    "{name}: the interface {} is {}",
                    router.interface, interface.state
                ),
                "the daemon waits until it is up",
            ));
        }
        let own: Vec<(IpAddr, u8)> = interface
            .addresses
            .iter()
            .filter(|(ip, _)| !virtual_addresses.contains(ip))
            .copied()
            .collect();
        findings.extend(source(router, &own));
        findings.extend(networks(router, &own));
        findings.extend(settings(router, system));
        if let Some(why) = system
            .firewall
            .drops_vrrp(router.settings.family, &router.interface)
        {
            findings.push(Finding::warning(
                format!("{name}: the firewall drops VRRP (protocol 112) on {}: {why}", router.interface),
                "accept it, e.g. `nft add rule inet filter input meta l4proto vrrp accept`, before anything that drops",
            ));
        }
    }
    findings
}

/// Advertisements need an address to come from.
fn source(router: &RouterPlan, own: &[(IpAddr, u8)]) -> Option<Finding> {
    let interface = &router.interface;
    if let Some(source) = router.source {
        let there = own.iter().any(|(ip, _)| *ip == source);
        return (!there).then(|| {
            Finding::warning(
                format!("{}: the source {source} is not on {interface}", router.name),
                "advertisements leave only once it is",
            )
        });
    }
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => router.settings.family == Family::V4,
        IpAddr::V6(ip) => router.settings.family == Family::V6 && ip.is_unicast_link_local(),
    };
    let what = match router.settings.family {
        Family::V4 => "IPv4 address",
        Family::V6 => "link-local IPv6 address",
    };
    (!own.iter().any(|(ip, _)| usable(ip))).then(|| {
        Finding::warning(
            format!(
                "{}: {interface} has no {what} of its own to advertise from",
                router.name
            ),
            "give it one: a virtual address cannot be the source",
        )
    })
}

/// An address outside the networks of its interface is one that neighbours do not ask for.
fn networks(router: &RouterPlan, own: &[(IpAddr, u8)]) -> Vec<Finding> {
    let inside = |ip: IpAddr| own.iter().any(|(own, length)| same_network(*own, ip, *length));
    let family = |ip: IpAddr| own.iter().any(|(own, _)| own.is_ipv4() == ip.is_ipv4());
    let outside = router.addresses.iter().chain(&router.excluded).filter(|address| {
        let link_local = matches!(address.address, IpAddr::V6(ip) if ip.is_unicast_link_local());
        // With a network of its own it brings the route along.
        address.device.is_none()
            && !link_local
            && !address.prefix_route
            && family(address.address)
            && !inside(address.address)
    });
    outside
        .map(|address| {
            let networks: Vec<String> = own.iter().map(|(ip, length)| format!("{ip}/{length}")).collect();
            Finding::warning(
                format!(
                    "{}: {} is in none of the networks of {} ({})",
                    router.name,
                    address.address,
                    router.interface,
                    networks.join(", ")
                ),
                "neighbours ask only for addresses of their own network: look for a typing error, or route it here",
            )
        })
        .collect()
}

fn same_network(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let ((a, a_width), (b, b_width)) = (bits(a), bits(b));
    let differing = (a ^ b).leading_zeros();
    a_width == b_width && length > 0 && differing >= u32::from(length)
}

fn settings(router: &RouterPlan, system: &System) -> Vec<Finding> {
    let spoilt = SETTINGS.into_iter().filter(|(setting, (family, value), _)| {
        let name = setting.replace("NAME", &router.interface);
        *family == router.settings.family && system.settings.get(&name).is_some_and(|found| found == value)
    });
    spoilt
        .map(|(setting, (_, value), why)| {
            let key = setting.replace("NAME", &router.interface).replace('/', ".");
            Finding::warning(
                format!("{}: {key} is {value}: {why}", router.name),
                format!("set {key} = 0 in /etc/sysctl.d"),
            )
        })
        .collect()
}
