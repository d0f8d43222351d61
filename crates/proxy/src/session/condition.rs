//! Whether a condition of the configuration holds for a session, request or response.
//!
//! HAProxy's rules: a condition is an alternative of conjunctions; a test looks at every value of its sample and is
//! content with one that matches one of its patterns; without patterns it asks whether there is a value, or whether it
//! is true. What cannot be looked at (a header before there is a request) has no value.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use warren_balance::health::State;
use warren_balance::http::{Request, Response, list};

use super::http::{Exchange, express};
use super::{Common, tracking};
use crate::live::Backend;
use crate::plan::{BackendName, Condition, Pattern, Sample, Test};
use crate::worker::context::Context;

/// What conditions look at.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) common: &'a Common,
    pub(crate) context: &'a Context,
    /// The name that the client's TLS asks for, if that is only passed on.
    pub(crate) server_name: Option<&'a str>,
    /// The request.
    pub(crate) exchange: Option<&'a Exchange>,
    /// The head of its response, and the octets it is in.
    pub(crate) response: Option<(&'a Response, &'a [u8])>,
}

/// One value of a sample.
#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    Number(i64),
    Address(IpAddr),
    Boolean(bool),
}

impl Condition {
    /// Whether it holds. Most are none, and cost nothing.
    pub(crate) fn holds(&self, look: &Look<'_>) -> bool {
        let any = self
            .any
            .iter()
            .any(|all| all.iter().all(|term| term.test.holds(look) != term.negated));
        any != self.negated
    }
}

impl Test {
    fn holds(&self, look: &Look<'_>) -> bool {
        look.any_value(&self.sample, &mut |value| self.is_content_with(value))
    }

    fn is_content_with(&self, value: Value<'_>) -> bool {
        if self.patterns.is_empty() {
            return match value {
                Value::Boolean(value) => value,
                Value::Number(number) => number != 0,
                Value::Text(_) | Value::Address(_) => true,
            };
        }
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| matches(pattern, value, self.ignore_case))
    }
}

impl<'a> Look<'a> {
    /// At a session that has said nothing of HTTP.
    pub(crate) const fn at_session(common: &'a Common, context: &'a Context) -> Self {
        Self {
            common,
            context,
            server_name: None,
            exchange: None,
            response: None,
        }
    }

    fn request(&self) -> Option<(&'a Request, &'a [u8])> {
        let exchange = self.exchange?;
        Some((&exchange.request, exchange.head.as_slice()))
    }

    /// Whether `wanted` says yes to one of the sample's values.
    fn any_value(&self, sample: &Sample, wanted: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        fn text(text: Option<&str>) -> Option<Value<'_>> {
            text.map(|text| Value::Text(text.as_bytes()))
        }
        let boolean = |value| Some(Value::Boolean(value));
        let number = |number: u32| Value::Number(i64::from(number));
        let counted = |count: Option<u64>| Some(Value::Number(i64::try_from(count?).unwrap_or(i64::MAX)));
        let (common, now) = (self.common, self.context.time());
        // Of one that a reload has removed nothing is known.
        let backend = |name: &BackendName| self.context.snapshot().backend_named(name);
        let of = |name, count: &dyn Fn(&Backend) -> u32| backend(name).map(|backend| number(count(backend)));
        let client = common.client_address;
        let request = self.request();
        let target = || request.map(|(request, octets)| request.target(octets));
        let value = match sample {
            Sample::True => boolean(true),
            Sample::False => boolean(false),
            Sample::Src => client.map(|client| Value::Address(client.ip())),
            Sample::SrcPort => client.map(|client| Value::Number(client.port().into())),
            Sample::Dst => common.local_address().map(|local| Value::Address(local.ip())),
            Sample::DstPort => common
                .local_address()
                .map(|local| Value::Number(local.port().into())),
            Sample::Sni => text(self.server_name.or_else(|| common.tls_facts()?.sni)),
            Sample::SslFc => boolean(!common.client.is_plain()),
            Sample::ClientCertificateUsed => {
                boolean(common.tls_facts().is_some_and(|facts| facts.client.is_some()))
            }
            Sample::Method => text(request.map(|(request, octets)| request.method(octets))),
            Sample::Path => text(target().map(|target| target.path)),
            Sample::Url => text(request.map(|(request, octets)| request.url(octets))),
            Sample::Query => text(target().map(|target| target.query.unwrap_or_default())),
            Sample::RequestHeader(name) => return self.any_header(name, true, wanted),
            Sample::RequestHeaderCount(name) => request.map(|(request, octets)| {
                let members = request.fields(octets).all(name).flat_map(list).count();
                Value::Number(i64::try_from(members).unwrap_or(i64::MAX))
            }),
            Sample::ResponseHeader(name) => return self.any_header(name, false, wanted),
            Sample::Status => self
                .response
                .map(|(response, _)| Value::Number(response.status().into())),
            Sample::UrlParam(name) => text(
                target()
                    .and_then(|target| target.query)
                    .and_then(|query| parameter(query, name)),
            ),
            Sample::Cookie(name) => request
                .and_then(|(request, octets)| cookie(request.fields(octets).all("cookie"), name))
                .map(Value::Text),
            Sample::HttpAuth(users) => boolean(self.authorized(users)),
            Sample::NbSrv(name) => of(name, &|backend| {
                u32::try_from(backend.usable()).unwrap_or(u32::MAX)
            }),
            Sample::FrontendConnections => Some(number(common.frontend().sessions.now())),
            Sample::BackendConnections(name) => of(name, &|backend| backend.sessions.now()),
            Sample::Tracked(slot, counter, table) => {
                let slot = (*slot, table.as_deref());
                counted(tracking::count(
                    slot,
                    *counter,
                    self.exchange,
                    common,
                    self.context,
                ))
            }
            Sample::Source(counter, table) => {
                counted(tracking::count_source(table, *counter, common, self.context))
            }
            Sample::ServerUp(name, server) => {
                let server = backend(name).and_then(|backend| backend.server_named(server));
                boolean(server.is_some_and(|server| !matches!(server.state(), State::Down | State::Maint)))
            }
            Sample::FrontendRate => Some(number(common.frontend().session_rate.now(now))),
            Sample::BackendRate(name) => of(name, &|backend| backend.session_rate.now(now)),
            Sample::Queue(name) => of(name, &waiting),
            Sample::Expression(format) => {
                let value = self
                    .exchange
                    .and_then(|exchange| express(format, exchange, self.response, common, self.context));
                return value.is_some_and(|value| wanted(Value::Text(&value)));
            }
        };
        value.is_some_and(wanted)
    }

    /// Each member of each field of this name by itself.
    fn any_header(&self, name: &str, of_request: bool, wanted: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let fields = if of_request {
            self.request().map(|(head, octets)| head.fields(octets))
        } else {
            self.response.map(|(head, octets)| head.fields(octets))
        };
        let Some(fields) = fields else { return false };
        fields.all(name).any(|value| {
            if value.is_empty() {
                return wanted(Value::Text(value));
            }
            list(value).any(|member| wanted(Value::Text(member)))
        })
    }

    /// Whether the request carries the name and password of one of these users (RFC 7617).
    fn authorized(&self, users: &[(String, String)]) -> bool {
        let Some((request, octets)) = self.request() else {
            return false;
        };
        let credentials = request
            .fields(octets)
            .get("authorization")
            .and_then(|value| value.split_at_checked(6))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim_ascii()).ok());
        let Some(credentials) = credentials else {
            return false;
        };
        // Every user is compared whole, so that the time taken says nothing.
        users.iter().fold(false, |known, (user, password)| {
            let expected = [user.as_bytes(), b":", password.as_bytes()].concat();
            known | bool::from(expected.ct_eq(&credentials))
        })
    }
}

/// Who waits for a server, of this backend's.
fn waiting(backend: &Backend) -> u32 {
    let servers = backend.servers();
    let at_servers = servers.iter().map(|server| server.queued.now());
    at_servers.fold(backend.queued.now(), u32::saturating_add)
}

/// The value of `name=value` in a query string.
pub(crate) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    fields
        .flat_map(|field| field.split(|octet| *octet == b';'))
        .filter_map(|pair| {
            let equals = pair.iter().position(|octet| *octet == b'=')?;
            Some((
                pair.get(..equals)?.trim_ascii(),
                pair.get(equals + 1..)?.trim_ascii(),
            ))
        })
        .find(|(key, _)| *key == name.as_bytes())
        .map(|(_, value)| value)
}

fn matches(pattern: &Pattern, value: Value<'_>, ignore_case: bool) -> bool {
    match (pattern, value) {
        (Pattern::Network(network, length), Value::Address(address)) => within(address, *network, *length),
        (Pattern::Networks(networks), Value::Address(address)) => networks.contains(address),
        (Pattern::Networks(networks), Value::Text(text)) => str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|address| networks.contains(address)),
        (Pattern::Network(network, length), Value::Text(text)) => str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|address| within(address, *network, *length)),
        (Pattern::Range(least, most), Value::Number(number)) => (*least..=*most).contains(&number),
        (Pattern::Range(least, most), Value::Boolean(value)) => (*least..=*most).contains(&i64::from(value)),
        (Pattern::Range(least, most), Value::Text(text)) => str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|number: i64| (*least..=*most).contains(&number)),
        (Pattern::Length(least, most), Value::Text(text)) => {
            i64::try_from(text.len()).is_ok_and(|length| (*least..=*most).contains(&length))
        }
        (Pattern::Range(..), Value::Address(_))
        | (Pattern::Length(..), _)
        | (Pattern::Network(..) | Pattern::Networks(_), Value::Number(_) | Value::Boolean(_)) => false,
        (pattern, Value::Text(text)) => matches_text(pattern, text, ignore_case),
        (pattern, Value::Number(number)) => matches_text(pattern, number.to_string().as_bytes(), ignore_case),
        (pattern, Value::Address(address)) => {
            matches_text(pattern, address.to_string().as_bytes(), ignore_case)
        }
        (pattern, Value::Boolean(value)) => {
            let text: &[u8] = if value { b"1" } else { b"0" };
            matches_text(pattern, text, ignore_case)
        }
    }
}

pub(crate) fn matches_text(pattern: &Pattern, text: &[u8], ignore_case: bool) -> bool {
    let same = |left: &[u8], right: &str| {
        if ignore_case {
            left.eq_ignore_ascii_case(right.as_bytes())
        } else {
            left == right.as_bytes()
        }
    };
    let part = |range: Option<&[u8]>, pattern: &str| range.is_some_and(|part| same(part, pattern));
    match pattern {
        Pattern::Exact(pattern) => same(text, pattern),
        Pattern::Prefix(pattern) => part(text.get(..pattern.len()), pattern),
        Pattern::Suffix(pattern) => {
            let start = text.len().checked_sub(pattern.len());
            part(start.and_then(|start| text.get(start..)), pattern)
        }
        Pattern::Substring(pattern) => {
            pattern.is_empty() || text.windows(pattern.len()).any(|part| same(part, pattern))
        }
        Pattern::Directory(pattern) => delimited(text, pattern, b"/?", &same),
        Pattern::Domain(pattern) => delimited(text, pattern, b"./:?", &same),
        Pattern::Regex(regex) => regex.is_match(text),
        Pattern::OneOf(all) if ignore_case => all.contains(text.to_ascii_lowercase().as_slice()),
        Pattern::OneOf(all) => all.contains(text),
        Pattern::Network(..) | Pattern::Networks(_) | Pattern::Range(..) | Pattern::Length(..) => false,
    }
}

/// Whether `pattern` is somewhere in `text` between delimiters, or an end of it. Delimiters around the pattern itself
/// do not count.
fn delimited(text: &[u8], pattern: &str, delimiters: &[u8], same: &dyn Fn(&[u8], &str) -> bool) -> bool {
    let is_delimiter = |c: char| delimiters.contains(&(c as u8)) && c.is_ascii();
    let pattern = pattern.trim_matches(is_delimiter);
    if pattern.is_empty() {
        return false;
    }
    let free = |octet: Option<&u8>| octet.is_none_or(|octet| delimiters.contains(octet));
    text.windows(pattern.len()).enumerate().any(|(at, part)| {
        same(part, pattern)
            && free(at.checked_sub(1).and_then(|before| text.get(before)))
            && free(text.get(at + pattern.len()))
    })
}

/// Whether an address is within a network. An IPv4 address in IPv6's clothes is the one it stands for.
pub(crate) fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let mask = |bits: u32| u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    match (address.to_canonical(), network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length).min(32)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = mask(u32::from(length));
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pattern: Pattern, text: &str) -> bool {
        matches(&pattern, Value::Text(text.as_bytes()), false)
    }

    #[test]
    fn text_is_compared_as_the_pattern_says() {
        assert!(text(Pattern::Exact("a".into()), "a") && !text(Pattern::Exact("a".into()), "A"));
        assert!(matches(&Pattern::Exact("a".into()), Value::Text(b"A"), true));
        assert!(
            text(Pattern::Prefix("/api".into()), "/api/x") && !text(Pattern::Prefix("/api".into()), "/ap")
        );
        assert!(
            text(Pattern::Suffix(".png".into()), "/a.png") && !text(Pattern::Suffix(".png".into()), "png")
        );
        assert!(text(Pattern::Substring("b".into()), "abc") && !text(Pattern::Substring("d".into()), "abc"));
        assert!(text(
            Pattern::Regex(regex::bytes::Regex::new("^/v[0-9]+/").unwrap()),
            "/v12/x"
        ));
    }

    #[test]
    fn without_patterns_what_counts_is_that_it_is_there_and_neither_false_nor_nothing() {
        let there = Test {
            sample: Sample::True,
            ignore_case: false,
            patterns: Vec::new(),
        };
        for (value, holds) in [
            (Value::Boolean(true), true),
            (Value::Boolean(false), false),
            (Value::Number(3), true),
            (Value::Number(0), false),
            (Value::Text(b""), true),
            (Value::Address([0, 0, 0, 0].into()), true),
        ] {
            assert_eq!(there.is_content_with(value), holds);
        }
    }

    #[test]
    fn directories_and_domains_are_whole_parts() {
        let directory = |path| text(Pattern::Directory("img".into()), path);
        assert!(directory("/img/a") && directory("/a/img") && directory("img?x"));
        assert!(!directory("/imgs/a") && !directory("/a.img"));
        let domain = |host| text(Pattern::Domain("example".into()), host);
        assert!(domain("www.example.com") && domain("example") && domain("example:80"));
        assert!(!domain("anexample.com"));
    }

    #[test]
    fn numbers_are_within_ranges_and_addresses_within_networks() {
        assert!(matches(&Pattern::Range(500, 599), Value::Number(503), false));
        assert!(!matches(&Pattern::Range(500, 599), Value::Number(404), false));
        assert!(text(Pattern::Range(1, 9), "5") && !text(Pattern::Range(1, 9), "x"));
        let network = |text: &str, length| Pattern::Network(text.parse().unwrap(), length);
        let address = |text: &str| Value::Address(text.parse().unwrap());
        assert!(matches(&network("10.0.0.0", 8), address("10.9.8.7"), false));
        assert!(matches(
            &network("10.0.0.0", 8),
            address("::ffff:10.9.8.7"),
            false
        ));
        assert!(!matches(&network("10.0.0.0", 8), address("11.0.0.1"), false));
        assert!(matches(&network("0.0.0.0", 0), address("1.2.3.4"), false));
        assert!(matches(&network("fd00::", 8), address("fd12::1"), false));
        assert!(!matches(&network("fd00::", 8), address("10.0.0.1"), false));
    }

    #[test]
    fn a_cookie_and_a_parameter_are_found_by_their_whole_name() {
        let fields = [&b"a=1; bc=2"[..], b"c = 3"];
        let find = |name| cookie(fields.into_iter(), name);
        assert_eq!(
            (find("bc"), find("c"), find("b")),
            (Some(&b"2"[..]), Some(&b"3"[..]), None)
        );
        assert_eq!(parameter("a=1&bc=2&c", "bc"), Some("2"));
        assert_eq!(parameter("a=1&bc=2&c", "c"), None);
    }
}
