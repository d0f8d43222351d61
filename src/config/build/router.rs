//! One virtual router: every rule that can be judged by looking at it alone.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;
use warren_vrrp::checksum::{ChecksumForm, ChecksumPolicy};
use warren_vrrp::packet::Password;
use warren_vrrp::router::Failback;
use warren_vrrp::{Family, Settings, Version, Vrid};

use super::address::{address, route, rule};
use super::announce::announce;
use super::check::Checks;
use super::notify::notify;
use crate::config::names;
use crate::config::plan::{
    AddressPlan, CheckWeight, Delivery, PeerPlan, RouterPlan, UserPlan, VirtualMacPlan,
};
use crate::config::{Address, Announce, CheckUse, Peer, Router, VirtualMac};

/// The count field of an advertisement has one byte.
const ADDRESSES_MAX: usize = 255;
/// More do not fit into a frame of 1500 bytes, and a fragmented advertisement is one that gets lost.
const ADDRESSES_V6_UNFRAGMENTED: usize = (1500 - 40 - 8) / 16;
const EXCLUDED_MAX: usize = 4096;
const PEERS_MAX: usize = 255;
const ROUTES_MAX: usize = 1024;
const OWNER: u8 = 255;
const PASSWORD_BYTES: usize = Password::LENGTH_MAX;
const FAILBACK_DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// What all routers of a file share.
pub(super) struct Surroundings<'a> {
    pub(super) checks: Checks<'a>,
    pub(super) announce: Option<&'a Announce>,
    pub(super) script_user: Option<&'a UserPlan>,
}

/// `group_checks` count as if they stood in the router itself.
pub(super) fn router(
    report: &mut Report,
    name: &Spanned<String>,
    router: &Router,
    group_checks: &[Spanned<CheckUse>],
    surroundings: &Surroundings<'_>,
) -> RouterPlan {
    report.name("router", name, &names::NAME);
    let addresses = addresses(report, &router.addresses, ADDRESSES_MAX);
    let family = family(report, router, &addresses);
    let excluded = self::addresses(report, &router.excluded_addresses, EXCLUDED_MAX);
    let settings = settings(report, router, family);
    let priority: u8 = report.number("priority", router.priority.as_ref(), 1..=i64::from(OWNER), 254);
    let checks = weights(report, router, group_checks, priority, &surroundings.checks);
    check_failback(report, router, &settings, priority, &checks);
    check_addresses(report, router, family);
    report.at_most(name.span(), "routes", router.routes.len(), ROUTES_MAX);
    report.at_most(name.span(), "rules", router.rules.len(), ROUTES_MAX);

    RouterPlan {
        name: Arc::from(name.get_ref().as_str()),
        interface: names::interface(report, router.interface.span(), router.interface.get_ref()),
        checksum: checksum(report, router, &settings),
        password: password(report, router, settings.version),
        source: source(report, router, family, &addresses, &excluded),
        delivery: delivery(report, router, family, &addresses),
        virtual_mac: virtual_mac(report, router, &settings),
        announce: announce(report, router.announce.as_ref(), surroundings.announce),
        ignore_interface_down: router.ignore_interface_down,
        routes: router
            .routes
            .iter()
            .filter_map(|file| route(report, file, family))
            .collect(),
        rules: router
            .rules
            .iter()
            .filter_map(|file| rule(report, file, family))
            .collect(),
        notify: notify(report, router.notify.as_ref(), surroundings.script_user),
        strict: router.strict,
        priority,
        addresses,
        excluded,
        settings,
        checks,
    }
}

fn addresses(report: &mut Report, files: &[Spanned<Address>], most: usize) -> Vec<AddressPlan> {
    if let Some(beyond) = files.get(most) {
        report.at_most(beyond.span(), "addresses in one router", files.len(), most);
    }
    files.iter().filter_map(|file| address(report, file)).collect()
}

/// Said by the key, else by the first address, else by the peers or the source.
fn family(report: &mut Report, router: &Router, addresses: &[AddressPlan]) -> Family {
    const FAMILIES: [(&str, Family); 2] = [("ipv4", Family::V4), ("ipv6", Family::V6)];
    let said = router
        .family
        .as_ref()
        .and_then(|word| report.choice("family", word.span(), word.get_ref(), &FAMILIES));
    let seen = addresses
        .first()
        .map(AddressPlan::family)
        .or_else(|| router.source.as_ref().map(|source| Family::of(*source.get_ref())))
        .or_else(|| {
            router
                .peers
                .first()
                .map(|peer| Family::of(peer_address(peer.get_ref())))
        });
    said.or(seen).unwrap_or(Family::V4)
}

fn settings(report: &mut Report, router: &Router, family: Family) -> Settings {
    let number: u8 = report.number("version", router.version.as_ref(), 2..=3, 3);
    let mut version = if number == 2 { Version::V2 } else { Version::V3 };
    if let Some(said) = &router.version
        && version == Version::V2
        && family == Family::V6
    {
        report.error(said.span(), "version 2 knows no IPv6", "IPv6 needs version 3");
        version = Version::V3;
    }
    let vrid: u8 = report.number("virtual router identifier", Some(&router.vrid), 1..=255, 1);
    let failback = router
        .failback
        .as_ref()
        .and_then(|failback| parse_failback(report, failback))
        .unwrap_or(Failback::Auto);
    Settings {
        vrid: Vrid::try_from(vrid).unwrap_or_else(|_| unreachable!("the range above leaves out 0")),
        version,
        family,
        interval: interval(report, router.interval.as_ref(), version),
        failback,
        dead_after: report.number("dead_after", router.dead_after.as_ref(), 1..=100, 3),
    }
}

fn interval(report: &mut Report, file: Option<&Spanned<HumanDuration>>, version: Version) -> Duration {
    let (default, least, most, step) = match version {
        Version::V2 => (1_000, 1_000, 255_000, 1_000),
        Version::V3 => (100, 10, 40_950, 10),
    };
    let [default, least, most, step] = [default, least, most, step].map(Duration::from_millis);
    let Some(file) = file else { return default };
    let interval = file.get_ref().get();
    let exact = interval.as_nanos().is_multiple_of(step.as_nanos());
    if exact && (least..=most).contains(&interval) {
        return interval;
    }
    let text = file.get_ref();
    let (message, help) = match version {
        Version::V2 if !exact => (
            format!("an interval of {text} needs version 3"),
            "version 2 counts whole seconds, from 1s to 255s; use version 3 on every host, or whole seconds",
        ),
        Version::V2 => (
            format!("interval {text} is out of range for version 2"),
            "version 2 has whole seconds from 1s to 255s",
        ),
        Version::V3 if interval > most && interval <= Duration::from_secs(255) => (
            format!("interval {text} is out of range for version 3"),
            "version 3 has 10ms to 40.95s; only version 2 has longer ones, up to 255s",
        ),
        Version::V3 if !exact && interval > least => (
            format!("interval {text} is finer than the protocol"),
            "version 3 counts hundredths of a second: write a multiple of 10ms",
        ),
        Version::V3 => (
            format!("interval {text} is out of range for version 3"),
            "version 3 has 10ms to 40.95s, in steps of 10ms",
        ),
    };
    report.error(file.span(), message, help);
    default
}

fn parse_failback(report: &mut Report, file: &Spanned<String>) -> Option<Failback> {
    let text = file.get_ref().trim();
    if let Some(delay) = text.strip_prefix("after ") {
        match delay.trim().parse::<HumanDuration>() {
            Ok(delay) => {
                let delay = Spanned::new(file.span(), delay);
                let delay = report.duration("failback delay", Some(&delay), FAILBACK_DELAYS, Duration::ZERO);
                return Some(Failback::After(delay));
            }
            Err(error) => {
                report.error(file.span(), error.to_string(), "write it as \"after 60s\"");
                return None;
            }
        }
    }
    match text {
        "auto" => Some(Failback::Auto),
        "manual" => Some(Failback::Manual),
        _ => {
            report.error(
                file.span(),
                format!("\"{text}\" is not a way to fail back"),
                "write \"auto\" (at once), \"manual\" (never by itself) or \"after 60s\"",
            );
            None
        }
    }
}

fn weights(
    report: &mut Report,
    router: &Router,
    group_checks: &[Spanned<CheckUse>],
    priority: u8,
    checks: &Checks<'_>,
) -> Vec<CheckWeight> {
    let mut weights: Vec<(CheckWeight, std::ops::Range<usize>)> = Vec::new();
    for (used, own) in router
        .checks
        .iter()
        .map(|used| (used, true))
        .chain(group_checks.iter().map(|used| (used, false)))
    {
        let Some(weight) = checks.weigh(report, used) else {
            continue;
        };
        if priority == OWNER && weight.weight.is_some() {
            report.error(
                used.span(),
                "the address owner (priority 255) cannot have weights",
                "let the check release the role (weight 0), or lower the priority to 254",
            );
        }
        match weights.iter().find(|(known, _)| known.check == weight.check) {
            // What a router says itself goes before what its group says.
            Some(_) if !own => {}
            Some((_, first)) => report.conflict(
                used.span(),
                "the check is used twice",
                first.clone(),
                "first used here",
                "remove one of the two",
            ),
            None => weights.push((weight, used.span())),
        }
    }
    weights.into_iter().map(|(weight, _)| weight).collect()
}

fn check_failback(
    report: &mut Report,
    router: &Router,
    settings: &Settings,
    priority: u8,
    checks: &[CheckWeight],
) {
    let Some(failback) = &router.failback else { return };
    if priority == OWNER && settings.failback != Failback::Auto {
        report.warn(
            failback.span(),
            "the address owner (priority 255) always takes its role back at once",
            "lower the priority to 254 if it should not",
        );
    } else if settings.failback == Failback::Manual && checks.iter().any(|check| check.weight.is_some()) {
        report.warn(
            failback.span(),
            "without failback this host takes the role from a demoted one only if that hands it over, which keepalived does not",
            "if keepalived is among the hosts, let the checks release the role (weight 0), or let this host fail back",
        );
    }
}

/// Rules about the list as a whole.
fn check_addresses(report: &mut Report, router: &Router, family: Family) {
    let mut seen: Vec<(AddressPlan, std::ops::Range<usize>)> = Vec::new();
    // The lists were parsed and complained about before.
    let mut quiet = Report::default();
    for (index, file) in router
        .addresses
        .iter()
        .chain(&router.excluded_addresses)
        .enumerate()
    {
        let Some(plan) = address(&mut quiet, file) else {
            continue;
        };
        let advertised = index < router.addresses.len();
        if advertised && plan.family() != family {
            report.error(
                file.span(),
                format!("{} is not an {} address", plan.address, family_name(family)),
                "a virtual router has one family: make a second router for it, or put it among the addresses that are not advertised",
            );
        }
        if advertised && index == 0 && plan.family() == Family::V6 {
            check_link_local(report, router.strict, &plan, file.span());
        }
        let twin = seen
            .iter()
            .find(|(other, _)| other.address == plan.address && other.device == plan.device);
        if let Some((_, first)) = twin {
            let message = format!("{} is listed twice", plan.address);
            report.conflict(
                file.span(),
                message,
                first.clone(),
                "first listed here",
                "remove one of the two",
            );
        } else {
            seen.push((plan, file.span()));
        }
    }
    if let Some(beyond) = router
        .addresses
        .get(ADDRESSES_V6_UNFRAGMENTED)
        .filter(|_| family == Family::V6)
    {
        report.warn(
            beyond.span(),
            format!("more than {ADDRESSES_V6_UNFRAGMENTED} IPv6 addresses make an advertisement that does not fit into one frame"),
            "advertise the first few and list the rest as addresses that are not advertised",
        );
    }
}

/// RFC 9568 section 5.2.9: the first IPv6 address MUST be the link-local one. Those who do without interoperate
/// with keepalived and with us, so it is said and not refused.
fn check_link_local(report: &mut Report, strict: bool, first: &AddressPlan, span: std::ops::Range<usize>) {
    let IpAddr::V6(ip) = first.address else { return };
    if ip.is_unicast_link_local() {
        return;
    }
    let message = "the first IPv6 address of a virtual router should be link-local";
    let help = "put one such as \"fe80::51\" first, the same on every host: RFC 9568 demands it and some routers drop advertisements without";
    if strict {
        report.error(span, message, help);
    } else {
        report.warn(span, message, help);
    }
}

fn checksum(report: &mut Report, router: &Router, settings: &Settings) -> ChecksumPolicy {
    const FORMS: [(&str, Option<ChecksumForm>); 3] = [
        ("auto", None),
        ("rfc9568", Some(ChecksumForm::Rfc9568)),
        ("pseudo-header", Some(ChecksumForm::PseudoHeader)),
    ];
    let form = router
        .checksum
        .as_ref()
        .and_then(|word| report.choice("checksum form", word.span(), word.get_ref(), &FORMS))
        .flatten();
    let first = router.checksum_first.as_ref().and_then(|word| {
        let fixed = FORMS.map(|(name, form)| (name, form));
        report
            .choice("checksum form", word.span(), word.get_ref(), &fixed[1..])
            .flatten()
    });
    if let (Some(word), true) = (
        &router.checksum,
        settings.version == Version::V2 || settings.family == Family::V6,
    ) {
        report.warn(
            word.span(),
            "the checksum has only one form here",
            "the choice exists for version 3 over IPv4: remove it",
        );
    }
    if let (Some(_), Some(word)) = (form, &router.checksum_first) {
        report.error(
            word.span(),
            "`checksum_first` means nothing when the form is fixed",
            "remove it, or write checksum = \"auto\"",
        );
    }
    match form {
        None => ChecksumPolicy::Auto {
            first: first.unwrap_or(ChecksumForm::Rfc9568),
        },
        Some(ChecksumForm::Rfc9568) => ChecksumPolicy::Rfc9568,
        Some(ChecksumForm::PseudoHeader) => ChecksumPolicy::PseudoHeader,
    }
}

fn password(report: &mut Report, router: &Router, version: Version) -> Option<Password> {
    let file = router.password.as_ref()?;
    let bytes = file.get_ref().as_bytes();
    if version == Version::V3 {
        report.error(
            file.span(),
            "version 3 has no passwords",
            "remove it, or use version 2 on every host",
        );
    }
    if bytes.is_empty() || bytes.contains(&0) {
        report.error(
            file.span(),
            "the password is empty",
            "write 1 to 8 characters, or remove it",
        );
    } else if bytes.len() > PASSWORD_BYTES {
        report.warn(
            file.span(),
            format!("only the first {PASSWORD_BYTES} bytes of the password count"),
            format!("shorten it to {PASSWORD_BYTES} bytes, the same on every host"),
        );
    }
    Some(Password::new(file.get_ref()))
}

fn source(
    report: &mut Report,
    router: &Router,
    family: Family,
    addresses: &[AddressPlan],
    excluded: &[AddressPlan],
) -> Option<IpAddr> {
    let file = router.source.as_ref()?;
    let source = *file.get_ref();
    if Family::of(source) != family {
        report.error(
            file.span(),
            format!("the source {source} is not an {} address", family_name(family)),
            "the source has the family of the virtual addresses",
        );
    }
    if addresses
        .iter()
        .chain(excluded)
        .any(|plan| plan.address == source)
    {
        report.error(
            file.span(),
            format!("the source {source} is one of the virtual addresses"),
            "write an address that stays on this host",
        );
    }
    Some(source)
}

fn peer_address(peer: &Peer) -> IpAddr {
    match peer {
        Peer::Short(address) => *address,
        Peer::Long(table) => table.address,
    }
}

fn delivery(report: &mut Report, router: &Router, family: Family, addresses: &[AddressPlan]) -> Delivery {
    if router.peers.is_empty() {
        return Delivery::Multicast;
    }
    if let Some(beyond) = router.peers.get(PEERS_MAX) {
        report.at_most(beyond.span(), "peers", router.peers.len(), PEERS_MAX);
    }
    let own = router.source.as_ref().map(|source| *source.get_ref());
    let mut peers: Vec<PeerPlan> = Vec::new();
    for file in &router.peers {
        let address = peer_address(file.get_ref());
        let min_ttl = match file.get_ref() {
            Peer::Short(_) => None,
            Peer::Long(table) => table.min_ttl,
        };
        let complaint = if Family::of(address) != family {
            Some(format!(
                "the peer {address} is not an {} address",
                family_name(family)
            ))
        } else if Some(address) == own {
            Some(format!("the peer {address} is this host's own source address"))
        } else if addresses.iter().any(|plan| plan.address == address) {
            Some(format!("the peer {address} is one of the virtual addresses"))
        } else if address.is_multicast() || address.is_unspecified() {
            Some(format!("the peer {address} is not the address of a host"))
        } else if peers.iter().any(|peer| peer.address == address) {
            Some(format!("the peer {address} is listed twice"))
        } else {
            None
        };
        match complaint {
            Some(message) => {
                report.error(
                    file.span(),
                    message,
                    "list the other hosts' own addresses, each once",
                );
            }
            None => peers.push(PeerPlan {
                address,
                min_ttl: min_ttl.unwrap_or(255),
            }),
        }
    }
    Delivery::Unicast(peers)
}

fn virtual_mac(report: &mut Report, router: &Router, settings: &Settings) -> Option<VirtualMacPlan> {
    let file = router.virtual_mac.as_ref()?;
    let (name, transmit_base) = match file.get_ref() {
        VirtualMac::Switch(false) => return None,
        VirtualMac::Switch(true) => (None, false),
        VirtualMac::Table(table) => (table.name.as_deref(), table.transmit_base),
    };
    let vrid = settings.vrid.get();
    let (prefix, family_byte) = match settings.family {
        Family::V4 => ("vrrp", 1),
        Family::V6 => ("vrrp6", 2),
    };
    let name = name.map_or_else(|| format!("{prefix}.{vrid}"), str::to_owned);
    Some(VirtualMacPlan {
        name: names::interface(report, file.span(), &name),
        mac: [0x00, 0x00, 0x5e, 0x00, family_byte, vrid],
        transmit_base,
    })
}

pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}
