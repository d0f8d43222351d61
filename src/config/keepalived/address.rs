//! Addresses, routes and rules in the words of `ip`.

use std::net::IpAddr;

use toml::Spanned;
use warren_kit::config::Report;

use super::keyword::spanned_text;
use super::source::Word;
use super::tree::Statement;
use crate::config::{Address, AddressTable, Route, Rule};

/// The lines of `virtual_ipaddress`, `virtual_ipaddress_excluded` and `static_ipaddress`.
pub(super) fn addresses(report: &mut Report, block: &[Statement]) -> Vec<Spanned<Address>> {
    block
        .iter()
        .filter_map(|statement| address(report, statement))
        .collect()
}

/// Addresses that name no interface get this one.
pub(super) fn on_interface(addresses: Vec<Spanned<Address>>, interface: &str) -> Vec<Spanned<Address>> {
    let named = |address: Address| match address {
        Address::Short(address) => AddressTable {
            address,
            device: Some(interface.to_owned()),
            ..AddressTable::default()
        },
        Address::Long(table) => AddressTable {
            device: table.device.or_else(|| Some(interface.to_owned())),
            ..table
        },
    };
    addresses
        .into_iter()
        .map(|address| Spanned::new(address.span(), Address::Long(named(address.into_inner()))))
        .collect()
}

pub(super) fn routes(report: &mut Report, block: &[Statement]) -> Vec<Spanned<Route>> {
    block
        .iter()
        .filter_map(|statement| route(report, statement))
        .collect()
}

pub(super) fn rules(report: &mut Report, block: &[Statement]) -> Vec<Spanned<Rule>> {
    block
        .iter()
        .filter_map(|statement| rule(report, statement))
        .collect()
}

/// The words of a line, in pairs and singles.
struct Options<'r, 's> {
    report: &'r mut Report,
    words: std::slice::Iter<'s, Word>,
    /// The line was refused: what it lacks is no longer of interest.
    refused: bool,
}

impl<'s> Options<'_, 's> {
    fn next(&mut self) -> Option<&'s Word> {
        self.words.next()
    }

    fn value(&mut self, option: &Word) -> Option<&'s Word> {
        let value = self.words.next();
        if value.is_none() {
            self.report.error(
                option.span.clone(),
                format!("`{}` needs a value", option.text),
                "write it after the word",
            );
        }
        value
    }

    fn text(&mut self, option: &Word) -> Option<String> {
        self.value(option).map(|word| word.text.clone())
    }

    fn number(&mut self, option: &Word) -> Option<u32> {
        let word = self.value(option)?;
        let digits = word
            .text
            .strip_prefix("0x")
            .map(|hex| u32::from_str_radix(hex, 16));
        let number = digits.unwrap_or_else(|| word.text.parse());
        if number.is_err() {
            self.report.error(
                word.span.clone(),
                format!("`{}` is not a number", word.text),
                "write a number",
            );
        }
        number.ok()
    }

    fn ip(&mut self, option: &Word) -> Option<IpAddr> {
        let word = self.value(option)?;
        let ip = word.text.parse();
        if ip.is_err() {
            self.report.error(
                word.span.clone(),
                format!("`{}` is not an IP address", word.text),
                "write one without a prefix length",
            );
        }
        ip.ok()
    }

    /// Names of `/etc/iproute2/rt_tables` may differ between hosts: only the kernel's own are known.
    fn table(&mut self, option: &Word) -> Option<u32> {
        let word = self.value(option)?;
        let known = [("default", 253), ("main", 254), ("local", 255)];
        if let Some((_, number)) = known.iter().find(|(name, _)| *name == word.text) {
            return Some(*number);
        }
        let number = word.text.parse();
        if number.is_err() {
            self.report.error(
                word.span.clone(),
                format!("unknown routing table `{}`", word.text),
                "write its number: /etc/iproute2/rt_tables has it",
            );
        }
        number.ok()
    }

    fn no_effect(&mut self, option: &Word, why: &str) {
        self.report.warn(
            option.span.clone(),
            format!("`{}` has no effect here", option.text),
            why,
        );
    }

    fn refuse(&mut self, option: &Word, instead: &str) {
        self.report.error(
            option.span.clone(),
            format!("`{}` is not supported", option.text),
            instead,
        );
        // What follows may belong to it.
        self.words = [].iter();
        self.refused = true;
    }

    fn unknown(&mut self, option: &Word, known: &str) {
        self.report.error(
            option.span.clone(),
            format!("unknown word `{}`", option.text),
            format!("a line is {known}"),
        );
        self.words = [].iter();
    }
}

fn address(report: &mut Report, statement: &Statement) -> Option<Spanned<Address>> {
    let (first, words) = statement.words.split_first()?;
    let mut table = AddressTable {
        address: first.text.clone(),
        ..AddressTable::default()
    };
    let mut options = Options {
        report,
        words: words.iter(),
        refused: false,
    };
    while let Some(option) = options.next() {
        match option.text.as_str() {
            "brd" | "broadcast" => table.broadcast = options.text(option),
            "dev" => table.device = options.text(option),
            "scope" => table.scope = options.text(option),
            "label" => table.label = options.text(option),
            "noprefixroute" => table.prefix_route = Some(false),
            "nodad" | "-nodad" => {}
            "no_track" => options.no_effect(option, "a deleted address is put back in any case"),
            "track_group" => {
                options.text(option);
                options.no_effect(option, "no instance depends on a static address");
            }
            "preferred_lft" => {
                options.text(option);
                options.no_effect(
                    option,
                    "addresses are never used as a source unless a program binds them",
                );
            }
            "home" | "mngtmpaddr" | "autojoin" => {
                options.no_effect(option, "the flag is not set on the address")
            }
            "peer" => options.refuse(option, "point-to-point addresses are not moved"),
            "use_vmac" => options.refuse(option, "use `use_vmac` for the whole instance"),
            _ => options.unknown(
                option,
                "ADDRESS[/LENGTH] [brd ADDRESS] [dev INTERFACE] [scope SCOPE] [label LABEL] [noprefixroute]",
            ),
        }
    }
    let short = AddressTable {
        address: table.address.clone(),
        ..AddressTable::default()
    } == table;
    let address = if short {
        Address::Short(table.address)
    } else {
        Address::Long(table)
    };
    Some(Spanned::new(statement.whole_span(), address))
}

fn route(report: &mut Report, statement: &Statement) -> Option<Spanned<Route>> {
    let mut route = Route::default();
    let mut options = Options {
        report,
        words: statement.words.iter(),
        refused: false,
    };
    let mut to: Option<String> = None;
    while let Some(option) = options.next() {
        match option.text.as_str() {
            "to" => to = options.text(option),
            "src" => route.source = options.ip(option),
            "via" | "gw" => route.via = via(&mut options, option),
            "dev" | "oif" => route.device = options.text(option),
            "table" => route.table = options.table(option),
            "metric" | "priority" | "preference" => route.metric = options.number(option),
            "scope" => route.scope = options.text(option),
            "inet6" | "inet" | "unicast" => {}
            "no_track" => options.no_effect(option, "a deleted route is put back in any case"),
            "track_group" => {
                options.text(option);
                options.no_effect(option, "no instance depends on a static route");
            }
            "or" | "nexthop" => options.refuse(option, "write one route for one next hop"),
            "blackhole" | "unreachable" | "prohibit" | "throw" | "tos" | "dsfield" | "mtu" | "advmss" | "rtt"
            | "rttvar" | "reordering" | "window" | "cwnd" | "initcwnd" | "initrwnd" | "ssthresh" | "realms"
            | "rto_min" | "hoplimit" | "protocol" | "proto" | "features" | "quickack" | "congctl" | "pref" | "vrf"
            | "onlink" | "encap" | "fastopen_no_cookie" | "append" | "expires" | "ttl-propagate" => {
                options.refuse(option, "routes have to, via, dev, src, table, metric and scope; add this one in a notify script");
            }
            text if to.is_none() && (text == "default" || text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')) => {
                to = Some(text.to_owned());
            }
            _ => options.unknown(
                option,
                "[src ADDRESS] [to] DESTINATION [via ADDRESS] [dev INTERFACE] [table NUMBER] [metric NUMBER] [scope SCOPE]",
            ),
        }
    }
    let Some(to) = to else {
        if options.refused {
            return None;
        }
        options.report.error(
            statement.whole_span(),
            "the route has no destination",
            "write a prefix, or `default`",
        );
        return None;
    };
    route.to = to;
    Some(Spanned::new(statement.whole_span(), route))
}

/// `via [inet|inet6] ADDRESS`
fn via(options: &mut Options<'_, '_>, option: &Word) -> Option<IpAddr> {
    let mut ahead = options.words.clone();
    if ahead
        .next()
        .is_some_and(|word| word.text == "inet" || word.text == "inet6")
    {
        options.words = ahead;
    }
    options.ip(option)
}

fn rule(report: &mut Report, statement: &Statement) -> Option<Spanned<Rule>> {
    let mut rule = Rule::default();
    let mut options = Options {
        report,
        words: statement.words.iter(),
        refused: false,
    };
    while let Some(option) = options.next() {
        match option.text.as_str() {
            "from" => rule.from = options.text(option),
            "to" => rule.to = options.text(option),
            "table" | "lookup" => rule.table = options.table(option),
            "preference" | "priority" | "order" | "pref" => rule.preference = options.number(option),
            "fwmark" => rule.mark = options.number(option),
            "iif" | "dev" => rule.device = options.text(option),
            "inet6" | "inet" => {}
            "no_track" => options.no_effect(option, "a deleted rule is put back in any case"),
            "track_group" => {
                options.text(option);
                options.no_effect(option, "no instance depends on a static rule");
            }
            "not"
            | "oif"
            | "tos"
            | "dsfield"
            | "realms"
            | "goto"
            | "nop"
            | "uidrange"
            | "l3mdev"
            | "protocol"
            | "ip_proto"
            | "ipproto"
            | "sport"
            | "dport"
            | "tun_id"
            | "tunnel-id"
            | "suppress_prefixlength"
            | "suppress_ifgroup"
            | "blackhole"
            | "unreachable"
            | "prohibit"
            | "nat" => {
                options.refuse(
                    option,
                    "rules have from, to, fwmark, iif, table and preference; add this one in a notify script",
                );
            }
            _ => options.unknown(
                option,
                "[from PREFIX] [to PREFIX] [fwmark NUMBER] [iif INTERFACE] table NUMBER [preference NUMBER]",
            ),
        }
    }
    Some(Spanned::new(statement.whole_span(), rule))
}

/// `ADDRESS [min_ttl N] [max_ttl N]`
pub(super) fn peers(report: &mut Report, block: &[Statement]) -> Vec<Spanned<crate::config::Peer>> {
    let mut peers = Vec::new();
    for statement in block {
        let Some((first, words)) = statement.words.split_first() else {
            continue;
        };
        let Ok(address) = first.text.parse::<IpAddr>() else {
            report.error(
                first.span.clone(),
                format!("`{}` is not an IP address", first.text),
                "write the address of another host, without a prefix length",
            );
            continue;
        };
        let mut min_ttl = None;
        let mut options = Options {
            report,
            words: words.iter(),
            refused: false,
        };
        while let Some(option) = options.next() {
            match option.text.as_str() {
                "min_ttl" => min_ttl = options.number(option),
                "max_ttl" => {
                    options.number(option);
                    options.no_effect(option, "a packet cannot look as if it came from nearer than it did: `min_ttl` is what protects");
                }
                _ => options.unknown(option, "ADDRESS [min_ttl NUMBER] [max_ttl NUMBER]"),
            }
        }
        if min_ttl.is_some_and(|ttl| ttl > 255) {
            report.error(
                statement.whole_span(),
                "a TTL has no more than 8 bits",
                "write a number from 0 to 255",
            );
        }
        // keepalived accepts any distance unless told otherwise, and so do configurations that cross routers.
        let table = crate::config::PeerTable {
            address,
            min_ttl: Some(min_ttl.map_or(0, |ttl| u8::try_from(ttl).unwrap_or(255))),
        };
        peers.push(Spanned::new(
            statement.whole_span(),
            crate::config::Peer::Long(table),
        ));
    }
    peers
}

/// The first word of each line of a list, and nothing else on it.
pub(super) fn names(report: &mut Report, block: &[Statement]) -> Vec<Spanned<String>> {
    let mut names = Vec::new();
    for statement in block {
        if statement.block.is_some() {
            report.error(statement.span(), "a name has no block", "remove the braces");
        }
        names.extend(statement.words.iter().map(spanned_text));
    }
    names
}
