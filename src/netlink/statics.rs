//! Addresses, routes and rules that are to be there whatever the roles, under a mark of their own.
//!
//! What carries the mark is compared with what is wanted: the leftovers of a crash, a changed configuration, an
//! interface that has come back and a deletion by somebody else are one case. What was there before us is not ours.
//! Deliberately absent: leases. Nobody else waits for these addresses.

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage::{DelRoute, DelRule, NewAddress, NewRoute, NewRule};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};

use super::address::Address;
use super::batch::{Batch, Netlink, NetlinkError};
use super::route::{Route, Rule, shows_route, shows_rule};

/// The mark: IFA_PROTO of addresses, protocol of routes and rules.
const TAG: u8 = 0x58;
const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;
const HOST_PREFIX_V6: u8 = 128;
const INFINITY: u32 = u32::MAX;

/// What is to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
}

impl Wanted {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Keeps it there.
pub struct Statics {
    netlink: Netlink,
    /// Addresses that we have added: kernels before 5.18 forget the mark.
    ours: Vec<Address>,
}

impl Statics {
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            netlink: Netlink::open()?,
            ours: Vec::new(),
        })
    }

    /// Adds what is missing and removes what is not wanted any more; answers what the kernel would not add.
    pub fn apply(&mut self, wanted: &Wanted) -> Result<Vec<(String, Errno)>, NetlinkError> {
        let addresses = self.netlink.dump_addresses()?;
        let routes = self.netlink.dump_routes()?;
        let rules = self.netlink.dump_rules()?;
        let mut batch = Batch::new();

        let wanted_routes: Vec<RouteMessage> = wanted.routes.iter().map(marked_route).collect();
        let wanted_rules: Vec<RuleMessage> = wanted.rules.iter().map(marked_rule).collect();
        let ours = |route: &&RouteMessage| route.header.protocol == RouteProtocol::Other(TAG);
        for shown in rules.iter().filter(|rule| is_marked_rule(rule)) {
            if !wanted_rules.iter().any(|rule| shows_rule(rule, shown)) {
                batch.push(DelRule(shown.clone()), 0);
            }
        }
        for shown in routes.iter().filter(ours) {
            if !wanted_routes.iter().any(|route| shows_route(route, shown)) {
                batch.push(DelRoute(shown.clone()), 0);
            }
        }
        let kept = self.remove_stale_addresses(&addresses, wanted, &mut batch);

        let present: Vec<Address> = addresses
            .iter()
            .filter_map(|message| Some(Address::parse(message)?.0))
            .collect();
        let removals = batch.len();
        let mut added = Vec::new();
        for address in &wanted.addresses {
            let there = |other: &Address| is_same_place(other, address);
            let stays = kept.iter().any(there) || present.iter().any(there) && !self.ours.iter().any(there);
            if !stays {
                added.push((batch.len(), address));
                batch.push(NewAddress(marked_address(address)), ADD);
            }
        }
        let mut names: Vec<String> = added.iter().map(|(_, address)| address.to_string()).collect();
        for (route, message) in wanted.routes.iter().zip(wanted_routes) {
            if !routes.iter().any(|shown| shows_route(&message, shown)) {
                names.push(format!("route {route}"));
                batch.push(NewRoute(message), ADD);
            }
        }
        for (rule, message) in wanted.rules.iter().zip(wanted_rules) {
            if !rules.iter().any(|shown| shows_rule(&message, shown)) {
                names.push(format!("rule {rule}"));
                batch.push(NewRule(message), ADD);
            }
        }

        let failures = if batch.is_empty() {
            Vec::new()
        } else {
            self.netlink.run(&mut batch)?
        };
        self.ours = kept;
        let refused = |index: usize| failures.iter().any(|failure| failure.index == index);
        let taken = added.iter().filter(|(index, _)| !refused(*index));
        self.ours.extend(taken.map(|(_, address)| (*address).clone()));
        // What could not be removed is gone, and what was there already is there.
        let refusals = failures.iter().filter(|failure| failure.errno != Errno::EEXIST);
        let refusals = refusals.filter_map(|failure| {
            let name = names.get(failure.index.checked_sub(removals)?)?;
            Some((name.clone(), failure.errno))
        });
        Ok(refusals.collect())
    }

    /// Deletes addresses of ours that are not wanted, or wanted in another form; answers those that stay.
    fn remove_stale_addresses(
        &mut self,
        shown: &[AddressMessage],
        wanted: &Wanted,
        batch: &mut Batch,
    ) -> Vec<Address> {
        let mut kept = Vec::new();
        for message in shown {
            let Some((found, _)) = Address::parse(message) else {
                continue;
            };
            let known = self.ours.iter().find(|ours| is_same_place(ours, &found)).cloned();
            if known.is_none() && !is_marked_address(message) {
                continue;
            }
            let successor = wanted
                .addresses
                .iter()
                .find(|address| is_same_place(address, &found));
            match (successor, known) {
                // One that an earlier process has added is taken as it is.
                (Some(successor), None) => kept.push(successor.clone()),
                (Some(successor), Some(known)) if *successor == known => kept.push(known),
                (_, known) => {
                    found.delete(batch);
                    // From here on nobody's: the wanted form, if there is one, is added afresh.
                    if known.is_none() {
                        self.ours.push(found);
                    }
                }
            }
        }
        kept
    }
}

fn is_same_place(a: &Address, b: &Address) -> bool {
    (a.ifindex, a.address, a.prefix) == (b.ifindex, b.address, b.prefix)
}

fn marked_address(address: &Address) -> AddressMessage {
    let mut message = address.message(None);
    for attribute in &mut message.attributes {
        match attribute {
            AddressAttribute::Protocol(protocol) => *protocol = AddressProtocol::Other(TAG),
            // An address of the host's own may be the source of its connections; one without a network is an alias.
            AddressAttribute::CacheInfo(lifetime) if address.prefix < HOST_PREFIX_V6 => {
                lifetime.ifa_preferred = INFINITY;
            }
            _ => {}
        }
    }
    message
}

fn marked_route(route: &Route) -> RouteMessage {
    let mut message = route.message();
    message.header.protocol = RouteProtocol::Other(TAG);
    message
}

fn marked_rule(rule: &Rule) -> RuleMessage {
    let mut message = rule.message();
    for attribute in &mut message.attributes {
        if let RuleAttribute::Protocol(protocol) = attribute {
            *protocol = RouteProtocol::Other(TAG);
        }
    }
    message
}

fn is_marked_address(message: &AddressMessage) -> bool {
    let mark = AddressAttribute::Protocol(AddressProtocol::Other(TAG));
    message.attributes.contains(&mark)
}

fn is_marked_rule(message: &RuleMessage) -> bool {
    let mark = RuleAttribute::Protocol(RouteProtocol::Other(TAG));
    message.attributes.contains(&mark)
}

#[cfg(test)]
mod tests {
    use nix::net::if_::if_nametoindex;

    use super::*;
    use crate::namespace::{in_namespace, ip};

    fn address(ifindex: u32, text: &str) -> Address {
        let (address, prefix) = text.split_once('/').unwrap();
        Address {
            prefix_route: true,
            ..Address::bare(ifindex, address.parse().unwrap(), prefix.parse().unwrap())
        }
    }

    fn wanted(addresses: &[&str], to: Option<&str>, table: Option<u32>) -> Wanted {
        let ifindex = if_nametoindex("v0").unwrap();
        let route = |to: &str| Route {
            ipv6: false,
            to: Some((to.parse().unwrap(), 24)),
            via: Some("10.9.0.9".parse().unwrap()),
            ifindex: Some(ifindex),
            source: None,
            table: None,
            metric: None,
            scope: None,
        };
        let rule = |table| Rule {
            ipv6: false,
            from: Some(("10.9.0.0".parse().unwrap(), 24)),
            to: None,
            table: Some(table),
            preference: None,
            mark: None,
            device: None,
        };
        Wanted {
            addresses: addresses.iter().map(|text| address(ifindex, text)).collect(),
            routes: to.map(route).into_iter().collect(),
            rules: table.map(rule).into_iter().collect(),
        }
    }

    fn set() -> Statics {
        ip("link add v0 type veth peer name v1");
        ip("link set v1 up");
        ip("link set v0 up");
        Statics::open().unwrap()
    }

    /// The addresses of `v0` without link-local ones, and whether our routes and rules are there.
    fn there() -> (Vec<String>, bool, bool) {
        let shown = ip("-o address show dev v0");
        let addresses = shown.lines().filter(|line| !line.contains("fe80"));
        let addresses = addresses.filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned));
        let route = ip("route show proto 88").contains("via 10.9.0.9");
        let rule = ip("rule show").contains("lookup 77");
        (addresses.collect(), route, rule)
    }

    fn texts(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_wanted_comes_changes_by_difference_and_goes() {
        in_namespace(|| {
            let mut statics = set();
            let first = wanted(
                &["10.9.0.1/24", "10.9.1.1/24", "fd99::1/64"],
                Some("10.8.0.0"),
                Some(77),
            );
            assert_eq!(statics.apply(&first).unwrap(), []);
            assert_eq!(
                there(),
                (texts(&["10.9.0.1/24", "10.9.1.1/24", "fd99::1/64"]), true, true)
            );
            assert!(!ip("-6 address show dev v0").contains("deprecated"));
            assert_eq!(statics.apply(&first).unwrap(), [], "nothing left to do");
            let second = wanted(&["10.9.0.1/24", "10.9.2.1/24"], Some("10.8.0.0"), None);
            statics.apply(&second).unwrap();
            assert_eq!(there(), (texts(&["10.9.0.1/24", "10.9.2.1/24"]), true, false));
            statics.apply(&Wanted::default()).unwrap();
            assert_eq!(there(), (Vec::new(), false, false));
        });
    }

    #[test]
    fn what_somebody_deletes_comes_back_and_what_somebody_else_has_is_left_alone() {
        in_namespace(|| {
            let mut statics = set();
            ip("address add 10.9.5.1/24 dev v0");
            let both = wanted(&["10.9.0.1/24", "10.9.5.1/24"], Some("10.8.0.0"), Some(77));
            assert_eq!(statics.apply(&both).unwrap(), []);
            ip("address del 10.9.0.1/24 dev v0");
            ip("rule del from 10.9.0.0/24 lookup 77");
            assert!(!there().2);
            statics.apply(&both).unwrap();
            assert_eq!(there(), (texts(&["10.9.5.1/24", "10.9.0.1/24"]), true, true));
            statics.apply(&Wanted::default()).unwrap();
            assert_eq!(there(), (texts(&["10.9.5.1/24"]), false, false));
        });
    }

    #[test]
    fn what_an_earlier_process_left_is_taken_over_or_removed() {
        in_namespace(|| {
            let both = ["10.9.0.1/24", "10.9.1.1/24"];
            set().apply(&wanted(&both, Some("10.8.0.0"), Some(77))).unwrap();
            let mut next = Statics::open().unwrap();
            next.apply(&wanted(&["10.9.0.1/24"], Some("10.7.0.0"), Some(77)))
                .unwrap();
            assert_eq!(there(), (texts(&["10.9.0.1/24"]), true, true));
            assert!(!ip("route show").contains("10.8.0.0"));
            next.apply(&Wanted::default()).unwrap();
            assert_eq!(there(), (Vec::new(), false, false));
        });
    }

    #[test]
    fn an_address_whose_details_change_is_added_in_its_new_form() {
        in_namespace(|| {
            let mut statics = set();
            let mut wanted = wanted(&["10.9.0.1/24"], None, None);
            statics.apply(&wanted).unwrap();
            wanted.addresses[0].label = Some("v0:static".to_owned());
            statics.apply(&wanted).unwrap();
            assert!(ip("address show dev v0").contains("v0:static"));
        });
    }

    #[test]
    fn what_the_kernel_will_not_take_is_told_by_name() {
        in_namespace(|| {
            let refusals = set().apply(&wanted(&[], Some("10.8.0.0"), None)).unwrap();
            assert_eq!(refusals.len(), 1);
            assert!(refusals[0].0.contains("10.8.0.0/24 via 10.9.0.9"), "{refusals:?}");
        });
    }
}
