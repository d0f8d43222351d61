//! Addresses, routes and rules: text becomes numbers, with the rules of the kernel that takes them.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use toml::Spanned;
use warren_kit::config::Report;
use warren_vrrp::Family;

use crate::config::names;
use crate::config::plan::{AddressPlan, RoutePlan, RulePlan};
use crate::config::{Address, AddressTable, Route, Rule};

/// rtnetlink's numbers.
const SCOPES: [(&str, u8); 5] = [
    ("global", 0),
    ("site", 200),
    ("link", 253),
    ("host", 254),
    ("nowhere", 255),
];
/// The kernel's limit for a label, without its closing NUL.
const LABEL_BYTES_MAX: usize = 15;

/// `None` if it is not an address at all; every other mistake is reported and passed over.
pub(super) fn address(report: &mut Report, address: &Spanned<Address>) -> Option<AddressPlan> {
    let span = address.span();
    let short;
    let table = match address.get_ref() {
        Address::Short(text) => {
            short = AddressTable {
                address: text.clone(),
                ..AddressTable::default()
            };
            &short
        }
        Address::Long(table) => table,
    };
    let (ip, prefix) = prefix_of(report, &span, &table.address)?;
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        report.error(
            span.clone(),
            format!("{ip} cannot be the address of a host"),
            "write a unicast address",
        );
    }
    if ip.is_ipv6() && (table.label.is_some() || table.broadcast.is_some()) {
        report.error(
            span.clone(),
            format!("{ip} can have neither label nor broadcast address"),
            "both exist for IPv4 only: remove them",
        );
    }
    if let Some(label) = &table.label
        && (label.is_empty() || label.len() > LABEL_BYTES_MAX || label.contains(char::is_whitespace))
    {
        report.error(
            span.clone(),
            format!("label \"{label}\" is not one the kernel takes"),
            format!("a label has 1 to {LABEL_BYTES_MAX} bytes without blanks, such as \"eth0:vip\""),
        );
    }
    Some(AddressPlan {
        address: ip,
        prefix,
        device: table
            .device
            .as_ref()
            .map(|device| names::interface(report, span.clone(), device)),
        label: table.label.clone(),
        scope: table
            .scope
            .as_ref()
            .and_then(|text| scope(report, &span, text))
            .unwrap_or(0),
        broadcast: table
            .broadcast
            .as_ref()
            .and_then(|text| broadcast(report, &span, text, ip, prefix)),
        prefix_route: table.prefix_route.unwrap_or_else(|| prefix < host_prefix(ip)),
    })
}

pub(super) fn route(report: &mut Report, route: &Spanned<Route>, router_family: Family) -> Option<RoutePlan> {
    let span = route.span();
    let route = route.get_ref();
    let to = match route.to.as_str() {
        "default" => None,
        text => Some(prefix_of(report, &span, text)?),
    };
    if let Some((ip, prefix)) = to {
        refuse_host_bits(report, &span, ip, prefix);
    }
    let addresses = [to.map(|(ip, _)| ip), route.via, route.source];
    // 0.0.0.0/0 is how some write "default".
    let to = to.filter(|(_, length)| *length > 0);
    let family = common_family(report, &span, addresses).unwrap_or(router_family);
    if route.via.is_none() && route.device.is_none() {
        report.error(
            span.clone(),
            format!("the route to {} leads nowhere", route.to),
            "give it a `via` or a `device`",
        );
    }
    Some(RoutePlan {
        family,
        to,
        via: route.via,
        device: route
            .device
            .as_ref()
            .map(|device| names::interface(report, span.clone(), device)),
        source: route.source,
        table: route.table,
        metric: route.metric,
        scope: route.scope.as_ref().and_then(|text| scope(report, &span, text)),
    })
}

pub(super) fn rule(report: &mut Report, rule: &Spanned<Rule>, router_family: Family) -> Option<RulePlan> {
    let span = rule.span();
    let rule = rule.get_ref();
    let mut selector = |text: &Option<String>| match text.as_deref() {
        None | Some("all") => Some(None),
        Some(text) => {
            let (ip, prefix) = prefix_of(report, &span, text)?;
            refuse_host_bits(report, &span, ip, prefix);
            Some(Some((ip, prefix)))
        }
    };
    let (from, to) = (selector(&rule.from)?, selector(&rule.to)?);
    let family = common_family(
        report,
        &span,
        [from.map(|(ip, _)| ip), to.map(|(ip, _)| ip), None],
    );
    if rule.table.is_none() {
        report.error(
            span.clone(),
            "the rule names no routing table",
            "give it a `table`",
        );
    }
    Some(RulePlan {
        family: family.unwrap_or(router_family),
        from,
        to,
        table: rule.table,
        preference: rule.preference,
        mark: rule.mark,
        device: rule
            .device
            .as_ref()
            .map(|device| names::interface(report, span.clone(), device)),
    })
}

fn host_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// `"192.0.2.1/24"`; without a length, that of a single host.
fn prefix_of(report: &mut Report, span: &Range<usize>, text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = match text.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (text, None),
    };
    let Ok(ip) = ip.parse::<IpAddr>() else {
        report.error(
            span.clone(),
            format!("\"{text}\" is not an IP address"),
            "write one such as \"192.0.2.1/24\" or \"2001:db8::1/64\"",
        );
        return None;
    };
    let most = host_prefix(ip);
    let Some(length) = length else {
        return Some((ip, most));
    };
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    match length.parse::<u8>() {
        Ok(length) if is_number && length <= most => Some((ip, length)),
        _ => {
            report.error(
                span.clone(),
                format!("\"/{length}\" is no prefix length for {ip}"),
                format!("write a number from 0 to {most}"),
            );
            None
        }
    }
}

/// The kernel refuses `10.0.0.1/24` as a destination.
fn refuse_host_bits(report: &mut Report, span: &Range<usize>, ip: IpAddr, prefix: u8) {
    let network: IpAddr = match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & leading_ones(prefix, 32) as u32).into(),
        IpAddr::V6(ip) => std::net::Ipv6Addr::from_bits(ip.to_bits() & leading_ones(prefix, 128)).into(),
    };
    if network != ip {
        report.error(
            span.clone(),
            format!("{ip}/{prefix} has bits set behind the prefix"),
            format!("write {network}/{prefix}"),
        );
    }
}

/// A mask of `width` bits whose first `prefix` are one.
fn leading_ones(prefix: u8, width: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & !all.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn common_family(report: &mut Report, span: &Range<usize>, addresses: [Option<IpAddr>; 3]) -> Option<Family> {
    let mut families = addresses.into_iter().flatten().map(Family::of);
    let first = families.next()?;
    if families.any(|family| family != first) {
        report.error(
            span.clone(),
            "IPv4 and IPv6 addresses are mixed",
            "write one entry for each family",
        );
    }
    Some(first)
}

fn scope(report: &mut Report, span: &Range<usize>, text: &str) -> Option<u8> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => report.choice("scope", span.clone(), text, &SCOPES),
    }
}

fn broadcast(
    report: &mut Report,
    span: &Range<usize>,
    text: &str,
    ip: IpAddr,
    prefix: u8,
) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = ip else { return None };
    match text {
        "+" => Some(Ipv4Addr::from_bits(
            ip.to_bits() | !(leading_ones(prefix, 32) as u32),
        )),
        "-" => Some(Ipv4Addr::from_bits(
            ip.to_bits() & leading_ones(prefix, 32) as u32,
        )),
        text => text.parse().ok().or_else(|| {
            report.error(
                span.clone(),
                format!("\"{text}\" is not a broadcast address"),
                "write an IPv4 address, or \"+\" for that of the prefix",
            );
            None
        }),
    }
}
