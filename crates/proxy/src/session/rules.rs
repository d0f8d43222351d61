//! Conditions: whether what is known of a session matches what a rule asks for.
//!
//! Where a sample comes from is a [`Samples`]: [`Sight`] knows what every session has, mode http puts its own in front.
//! A sample that does not exist matches nothing, so a rule never sees half of something.

use std::net::IpAddr;

use warren_balance::health::State;

use super::Common;
use crate::live::Backend;
use crate::plan::{BackendName, Condition, Pattern, Sample, Term, Test};
use crate::worker::context::Context;

/// One value of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Truth(bool),
    Number(i64),
    Address(IpAddr),
    Text(&'a [u8]),
}

/// Where samples come from.
pub(crate) trait Samples {
    /// Gives every value of `sample` to `test`, until it says yes; says whether it did.
    fn any(&self, sample: &Sample, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool;
}

/// Whether `condition` holds.
pub(crate) fn holds(condition: &Condition, samples: &dyn Samples) -> bool {
    let any = condition
        .any
        .iter()
        .any(|all| all.iter().all(|term| term_holds(term, samples)));
    any != condition.negated
}

fn term_holds(term: &Term, samples: &dyn Samples) -> bool {
    let test = &term.test;
    samples.any(&test.sample, &mut |value| matches(test, value)) != term.negated
}

fn matches(test: &Test, value: Value<'_>) -> bool {
    if test.patterns.is_empty() {
        return value != Value::Truth(false);
    }
    test.patterns
        .iter()
        .any(|pattern| pattern_matches(pattern, test.ignore_case, value))
}

fn pattern_matches(pattern: &Pattern, ignore_case: bool, value: Value<'_>) -> bool {
    match value {
        Value::Truth(truth) => text_matches(pattern, ignore_case, if truth { b"1" } else { b"0" }),
        Value::Number(number) => match pattern {
            Pattern::Range(least, most) => (*least..=*most).contains(&number),
            _ => text_matches(pattern, ignore_case, number.to_string().as_bytes()),
        },
        Value::Address(address) => match pattern {
            Pattern::Network(network, length) => is_within(address, *network, *length),
            _ => text_matches(pattern, ignore_case, address.to_string().as_bytes()),
        },
        Value::Text(text) => text_matches(pattern, ignore_case, text),
    }
}

fn text_matches(pattern: &Pattern, ignore_case: bool, text: &[u8]) -> bool {
    let same = |left: &[u8], right: &[u8]| {
        if ignore_case {
            left.eq_ignore_ascii_case(right)
        } else {
            left == right
        }
    };
    let part = |separators: &[u8], wanted: &str| {
        let wanted = wanted.as_bytes();
        text.split(|octet| separators.contains(octet))
            .any(|part| !part.is_empty() && same(part, wanted))
            || (wanted.iter().any(|octet| separators.contains(octet))
                && contains_part(text, wanted, separators, &same))
    };
    match pattern {
        Pattern::Exact(wanted) => same(text, wanted.as_bytes()),
        Pattern::Prefix(wanted) => text
            .get(..wanted.len())
            .is_some_and(|start| same(start, wanted.as_bytes())),
        Pattern::Suffix(wanted) => text
            .len()
            .checked_sub(wanted.len())
            .and_then(|start| text.get(start..))
            .is_some_and(|end| same(end, wanted.as_bytes())),
        Pattern::Substring(wanted) => {
            wanted.is_empty()
                || text
                    .windows(wanted.len())
                    .any(|window| same(window, wanted.as_bytes()))
        }
        Pattern::Directory(wanted) => part(b"/?", wanted.trim_matches('/')),
        Pattern::Domain(wanted) => part(b"./?:", wanted.trim_matches('.')),
        Pattern::Regex(regex) => regex.is_match(text),
        Pattern::Network(network, length) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|address| is_within(address, *network, *length)),
        Pattern::Range(least, most) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .is_some_and(|number| (*least..=*most).contains(&number)),
        Pattern::Length(least, most) => {
            i64::try_from(text.len()).is_ok_and(|length| (*least..=*most).contains(&length))
        }
    }
}

/// `wanted`, which has separators inside, between separators or ends of `text`.
fn contains_part(text: &[u8], wanted: &[u8], separators: &[u8], same: &dyn Fn(&[u8], &[u8]) -> bool) -> bool {
    let bounds = |octet: Option<&u8>| octet.is_none_or(|octet| separators.contains(octet));
    text.windows(wanted.len()).enumerate().any(|(start, window)| {
        same(window, wanted)
            && bounds(start.checked_sub(1).and_then(|before| text.get(before)))
            && bounds(text.get(start + wanted.len()))
    })
}

/// Whether `address` is of a network. An IPv4 address and its IPv6-mapped form are the same.
pub(crate) fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let shift = |width: u32| width.saturating_sub(u32::from(length));
    match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differs = u64::from(address.to_bits() ^ network.to_bits());
            differs >> shift(32) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differs = address.to_bits() ^ network.to_bits();
            length == 0 || differs >> shift(128) == 0
        }
        _ => false,
    }
}

/// What is known of every session.
pub(crate) struct Sight<'a> {
    pub(crate) common: &'a Common,
    pub(crate) context: &'a Context,
    /// The name that the client's TLS asks for, if it was looked for.
    pub(crate) server_name: Option<&'a str>,
}

impl Samples for Sight<'_> {
    fn any(&self, sample: &Sample, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let common = self.common;
        let client = common.client_address;
        let local = || common.local_address();
        let port = |port: u16| Value::Number(i64::from(port));
        let count = |count: u32| Value::Number(i64::from(count));
        let snapshot = self.context.known();
        // A reload may have removed it, with the rule that asks.
        let of = |name: &BackendName, number: &dyn Fn(&Backend) -> u32| {
            count(snapshot.backend_named(name).map_or(0, |backend| number(backend)))
        };
        match sample {
            Sample::True => test(Value::Truth(true)),
            Sample::False => test(Value::Truth(false)),
            Sample::Src => client.is_some_and(|client| test(Value::Address(client.ip()))),
            Sample::SrcPort => client.is_some_and(|client| test(port(client.port()))),
            Sample::Dst => local().is_some_and(|local| test(Value::Address(local.ip()))),
            Sample::DstPort => local().is_some_and(|local| test(port(local.port()))),
            Sample::Sni => self
                .server_name
                .is_some_and(|name| test(Value::Text(name.as_bytes()))),
            Sample::SslFc => test(Value::Truth(!common.client.is_plain())),
            Sample::FrontendConnections => test(count(common.frontend().sessions.now())),
            Sample::NbSrv(backend) => test(of(backend, &|backend| {
                u32::try_from(backend.usable()).unwrap_or(u32::MAX)
            })),
            Sample::BackendConnections(backend) => test(of(backend, &|backend| backend.sessions.now())),
            Sample::SourceConnections => self
                .context
                .source(common)
                .is_some_and(|source| test(count(source.conn_cur))),
            Sample::SourceRate => self.context.source(common).is_some_and(|source| {
                test(Value::Number(i64::try_from(source.conn_rate).unwrap_or(i64::MAX)))
            }),
            Sample::ServerUp(backend, server) => {
                let backend = snapshot.backend_named(backend);
                let server = backend.and_then(|backend| backend.server_named(server));
                test(Value::Truth(server.is_some_and(|server| {
                    !matches!(server.state(), State::Down | State::Maint)
                })))
            }
            Sample::FrontendRate => test(count(common.frontend().session_rate.now(self.context.time()))),
            Sample::BackendRate(backend) => {
                let now = self.context.time();
                test(of(backend, &|backend| backend.session_rate.now(now)))
            }
            Sample::Queue(backend) => test(of(backend, &super::condition::waiting)),
            // Of requests, responses and certificates: whoever has them looks at them before us.
            Sample::ClientCertificateUsed
            | Sample::Method
            | Sample::Path
            | Sample::Url
            | Sample::Query
            | Sample::RequestHeader(_)
            | Sample::RequestHeaderCount(_)
            | Sample::ResponseHeader(_)
            | Sample::Status
            | Sample::UrlParam(_)
            | Sample::Cookie(_)
            | Sample::HttpAuth(_)
            | Sample::Expression(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose address is that of documentation, and one header with two values.
    struct Known;

    impl Samples for Known {
        fn any(&self, sample: &Sample, test: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
            match sample {
                Sample::True => test(Value::Truth(true)),
                Sample::False => test(Value::Truth(false)),
                Sample::Src => test(Value::Address([192, 0, 2, 7].into())),
                Sample::Path => test(Value::Text(b"/api/Static/x.js?a=/img")),
                Sample::FrontendConnections => test(Value::Number(12)),
                Sample::RequestHeader(_) => {
                    test(Value::Text(b"one")) || test(Value::Text(b"www.example.org:80"))
                }
                _ => false,
            }
        }
    }

    fn term(sample: Sample, patterns: Vec<Pattern>) -> Term {
        Term {
            negated: false,
            test: Test {
                sample,
                ignore_case: false,
                patterns,
            },
        }
    }

    fn is(sample: Sample, pattern: Pattern) -> bool {
        let any = vec![vec![term(sample, vec![pattern])]];
        holds(&Condition { any, negated: false }, &Known)
    }

    #[test]
    fn a_condition_is_an_alternative_of_conjunctions_and_unless_turns_it_round() {
        assert!(holds(&Condition::always(), &Known));
        let (yes, no) = (term(Sample::True, vec![]), term(Sample::False, vec![]));
        let mut condition = Condition {
            any: vec![vec![yes.clone(), no.clone()], vec![yes]],
            negated: false,
        };
        assert!(holds(&condition, &Known));
        condition.any.pop();
        assert!(!holds(&condition, &Known));
        condition.negated = true;
        assert!(holds(&condition, &Known));
        let not = Term { negated: true, ..no };
        let any = vec![vec![not]];
        assert!(holds(&Condition { any, negated: false }, &Known));
    }

    #[test]
    fn every_kind_of_pattern_matches_what_its_name_says() {
        let text = str::to_owned;
        assert!(is(Sample::Path, Pattern::Prefix(text("/api"))));
        assert!(!is(Sample::Path, Pattern::Prefix(text("/API"))));
        assert!(is(Sample::Path, Pattern::Suffix(text("/img"))));
        assert!(is(Sample::Path, Pattern::Substring(text("tic/x"))));
        assert!(is(Sample::Path, Pattern::Directory(text("Static"))));
        assert!(is(Sample::Path, Pattern::Directory(text("api/Static"))));
        assert!(!is(Sample::Path, Pattern::Directory(text("Stat"))));
        let header = || Sample::RequestHeader(text("host"));
        assert!(is(header(), Pattern::Exact(text("one"))));
        assert!(is(header(), Pattern::Domain(text("example.org"))));
        assert!(!is(header(), Pattern::Domain(text("ample.org"))));
        assert!(is(Sample::FrontendConnections, Pattern::Range(10, 12)));
        assert!(!is(Sample::FrontendConnections, Pattern::Range(13, 99)));
        assert!(!is(Sample::Status, Pattern::Range(0, 999)), "it does not exist");
    }

    #[test]
    fn a_network_is_its_first_bits() {
        let within = |address: &str, network: &str, length| {
            is_within(address.parse().unwrap(), network.parse().unwrap(), length)
        };
        assert!(is(Sample::Src, Pattern::Network([192, 0, 2, 0].into(), 24)));
        assert!(within("::ffff:192.0.2.1", "192.0.2.1", 32));
        assert!(!within("192.0.3.1", "192.0.2.0", 24));
        assert!(within("8.8.8.8", "0.0.0.0", 0));
        assert!(within("2001:db8::1", "::", 0));
        assert!(within("2001:db8:1::1", "2001:db8::", 32));
        assert!(!within("2001:db9::1", "2001:db8::", 32));
        assert!(!within("2001:db9::1", "192.0.2.0", 0));
    }
}
