//! Routes and policy rules that follow a virtual address, marked as ours.

use std::fmt;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::address::TAG;
use super::batch::{Batch, Netlink, NetlinkError};

const TABLE_MAIN: u32 = 254;
const METRIC_V6: u32 = 1024;

/// A route; deleting it matches our protocol number, so another's equal route stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Route {
    pub ipv6: bool,
    /// `None` = default.
    pub to: Option<(IpAddr, u8)>,
    pub via: Option<IpAddr>,
    pub ifindex: Option<u32>,
    pub source: Option<IpAddr>,
    pub table: Option<u32>,
    pub metric: Option<u32>,
    pub scope: Option<u8>,
}

/// A policy rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    pub ipv6: bool,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    pub table: Option<u32>,
    pub preference: Option<u32>,
    pub mark: Option<u32>,
    /// Incoming interface, by name as the kernel wants it.
    pub device: Option<String>,
}

impl Route {
    /// Adds the route unless it is there (EEXIST).
    pub fn add(&self, batch: &mut Batch) {
        batch.push(
            RouteNetlinkMessage::NewRoute(self.message()),
            NLM_F_CREATE | NLM_F_EXCL,
        );
    }

    /// Deletes the route; ESRCH if it is not there.
    pub fn delete(&self, batch: &mut Batch) {
        batch.push(RouteNetlinkMessage::DelRoute(self.message()), 0);
    }

    pub(super) fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = if self.ipv6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        header.destination_prefix_length = self.to.map_or(0, |(_, prefix)| prefix);
        header.protocol = RouteProtocol::Other(TAG);
        header.kind = RouteType::Unicast;
        header.scope = self.scope.map_or_else(|| self.natural_scope(), RouteScope::from);
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(self.table.unwrap_or(TABLE_MAIN)));
        if let Some((to, _)) = self.to {
            attributes.push(RouteAttribute::Destination(to.into()));
        }
        match self.via {
            Some(via) if via.is_ipv6() == self.ipv6 => attributes.push(RouteAttribute::Gateway(via.into())),
            Some(IpAddr::V6(via)) => attributes.push(RouteAttribute::Via(via.into())),
            // An IPv4 gateway of an IPv6 route does not exist; the kernel says so.
            Some(via) => attributes.push(RouteAttribute::Gateway(RouteAddress::from(via))),
            None => {}
        }
        attributes.extend(self.ifindex.map(RouteAttribute::Oif));
        attributes.extend(
            self.source
                .map(|source| RouteAttribute::PrefSource(source.into())),
        );
        let metric = self.metric.or_else(|| self.ipv6.then_some(METRIC_V6));
        attributes.extend(metric.map(RouteAttribute::Priority));
        message
    }

    /// What `ip route` takes: directly connected without a gateway, IPv6 knows no scopes.
    fn natural_scope(&self) -> RouteScope {
        if self.via.is_none() && !self.ipv6 {
            RouteScope::Link
        } else {
            RouteScope::Universe
        }
    }
}

impl Rule {
    /// Adds the rule unless it is there (EEXIST).
    pub fn add(&self, batch: &mut Batch) {
        batch.push(
            RouteNetlinkMessage::NewRule(self.message()),
            NLM_F_CREATE | NLM_F_EXCL,
        );
    }

    /// Deletes the rule; ENOENT if it is not there.
    pub fn delete(&self, batch: &mut Batch) {
        batch.push(RouteNetlinkMessage::DelRule(self.message()), 0);
    }

    pub(super) fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        let header = &mut message.header;
        header.family = if self.ipv6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        header.action = RuleAction::ToTable;
        header.src_len = self.from.map_or(0, |(_, prefix)| prefix);
        header.dst_len = self.to.map_or(0, |(_, prefix)| prefix);
        let attributes = &mut message.attributes;
        attributes.push(RuleAttribute::Table(self.table.unwrap_or(TABLE_MAIN)));
        attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(TAG)));
        attributes.extend(self.from.map(|(from, _)| RuleAttribute::Source(from)));
        attributes.extend(self.to.map(|(to, _)| RuleAttribute::Destination(to)));
        attributes.extend(self.preference.map(RuleAttribute::Priority));
        attributes.extend(self.mark.map(RuleAttribute::FwMark));
        attributes.extend(self.device.clone().map(RuleAttribute::Iifname));
        message
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some((to, prefix)) => write!(f, "{to}/{prefix}")?,
            None => write!(f, "default")?,
        }
        self.via.map_or(Ok(()), |via| write!(f, " via {via}"))?;
        self.table.map_or(Ok(()), |table| write!(f, " table {table}"))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some((from, prefix)) => write!(f, "from {from}/{prefix}")?,
            None => write!(f, "from all")?,
        }
        self.to
            .map_or(Ok(()), |(to, prefix)| write!(f, " to {to}/{prefix}"))?;
        write!(f, " table {}", self.table.unwrap_or(TABLE_MAIN))
    }
}

/// The kernel shows all that we gave it, and more.
pub(super) fn shows_route(ours: &RouteMessage, shown: &RouteMessage) -> bool {
    ours.header.address_family == shown.header.address_family
        && ours.header.protocol == shown.header.protocol
        && ours.header.destination_prefix_length == shown.header.destination_prefix_length
        && ours
            .attributes
            .iter()
            .all(|attribute| shown.attributes.contains(attribute))
}

/// As for routes.
pub(super) fn shows_rule(ours: &RuleMessage, shown: &RuleMessage) -> bool {
    ours.header.family == shown.header.family
        && ours.header.src_len == shown.header.src_len
        && ours.header.dst_len == shown.header.dst_len
        && ours
            .attributes
            .iter()
            .all(|attribute| shown.attributes.contains(attribute))
}

/// Deletes routes and rules that carry our mark, except those given, and says how many.
pub fn delete_leftover_routes_and_rules(
    netlink: &mut Netlink,
    routes: &[&Route],
    rules: &[&Rule],
) -> Result<usize, NetlinkError> {
    let routes: Vec<_> = routes.iter().map(|route| route.message()).collect();
    let rules: Vec<_> = rules.iter().map(|rule| rule.message()).collect();
    let mut batch = Batch::new();
    for message in netlink.dump_routes()? {
        let ours = message.header.protocol == RouteProtocol::Other(TAG);
        if ours && !routes.iter().any(|route| shows_route(route, &message)) {
            batch.push(RouteNetlinkMessage::DelRoute(message), 0);
        }
    }
    for message in netlink.dump_rules()? {
        let ours = message
            .attributes
            .contains(&RuleAttribute::Protocol(RouteProtocol::Other(TAG)));
        if ours && !rules.iter().any(|rule| shows_rule(rule, &message)) {
            batch.push(RouteNetlinkMessage::DelRule(message), 0);
        }
    }
    let refused = netlink.run(&mut batch)?;
    Ok(batch.len() - refused.len())
}
