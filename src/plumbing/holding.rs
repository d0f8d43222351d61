//! What one virtual router holds while it is Active, with every name resolved to the kernel's number.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::plan::{AddressPlan, AnnouncePlan, RouterPlan};
use crate::frames::{ArpForm, Mac, gratuitous_arp, neighbour_advertisement};
use crate::netlink::{Address, Route, Rule};

/// The whole of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    pub addresses: Vec<Held>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    pub announce: AnnouncePlan,
    /// As configured; `None` = for ever.
    pub lease: Option<Duration>,
}

/// One address and how it is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub address: Address,
    /// The hardware address that others shall send to; zero on interfaces without one, which announce nothing.
    pub mac: Mac,
    /// The router flag of neighbour advertisements.
    pub forwarding: bool,
}

/// What resolving needs to know of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mac: Mac,
    pub forwarding: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("interface {0} does not exist; create it or correct its name")]
pub struct MissingInterface(pub String);

impl Holding {
    /// `link` finds an interface by name; a virtual MAC interface must exist by now.
    pub fn resolve(
        plan: &RouterPlan,
        lease: Option<Duration>,
        link: &dyn Fn(&str) -> Option<Link>,
    ) -> Result<Self, MissingInterface> {
        let find = |name: &str| link(name).ok_or_else(|| MissingInterface(name.to_owned()));
        let carrier = plan
            .virtual_mac
            .as_ref()
            .map_or(&plan.interface, |virtual_mac| &virtual_mac.name);
        let held = |plan: &AddressPlan| {
            let link = find(plan.device.as_ref().unwrap_or(carrier))?;
            let address = Address {
                ifindex: link.index,
                address: plan.address,
                prefix: plan.prefix,
                label: plan.label.clone(),
                scope: plan.scope,
                broadcast: plan.broadcast,
                prefix_route: plan.prefix_route,
            };
            Ok(Held {
                address,
                mac: link.mac,
                forwarding: link.forwarding,
            })
        };
        let routes = plan.routes.iter().map(|route| {
            let ifindex = match &route.device {
                Some(device) => Some(find(device)?.index),
                None if route.via.is_none() => Some(find(carrier)?.index),
                None => None,
            };
            Ok(Route {
                ipv6: route.family == warren_vrrp::Family::V6,
                to: route.to,
                via: route.via,
                ifindex,
                source: route.source,
                table: route.table,
                metric: route.metric,
                scope: route.scope,
            })
        });
        let rules = plan.rules.iter().map(|rule| Rule {
            ipv6: rule.family == warren_vrrp::Family::V6,
            from: rule.from,
            to: rule.to,
            table: rule.table,
            preference: rule.preference,
            mark: rule.mark,
            device: rule.device.clone(),
        });
        Ok(Self {
            addresses: plan
                .addresses
                .iter()
                .chain(&plan.excluded)
                .map(held)
                .collect::<Result<_, _>>()?,
            routes: routes.collect::<Result<_, _>>()?,
            rules: rules.collect(),
            announce: plan.announce.clone(),
            lease,
        })
    }
}

/// An announcement, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) ifindex: u32,
    pub(super) bytes: Vec<u8>,
}

/// The frames of one round: for each address in order, each form wanted.
pub(super) fn frames(holding: &Holding) -> Vec<Frame> {
    let mut frames = Vec::new();
    for held in holding.addresses.iter().filter(|held| held.mac != Mac::default()) {
        let mut add = |bytes| {
            frames.push(Frame {
                ifindex: held.address.ifindex,
                bytes,
            })
        };
        match held.address.address {
            IpAddr::V4(address) => {
                if holding.announce.arp_request {
                    add(gratuitous_arp(held.mac, address, ArpForm::Request));
                }
                if holding.announce.arp_reply {
                    add(gratuitous_arp(held.mac, address, ArpForm::Reply));
                }
            }
            IpAddr::V6(address) => add(neighbour_advertisement(held.mac, address, held.forwarding)),
        }
    }
    frames
}
