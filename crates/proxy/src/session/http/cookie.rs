//! `cookie`: clients that bring back the name of their server. And `capture cookie`.

use std::sync::Arc;
use std::time::SystemTime;

use warren_balance::http::{Response, list};

use super::exchange::Exchange;
use crate::live::Backend;
use crate::plan::{CookieMode, StickyCookie};
use crate::session::Common;

/// Between the server's word and what the application wrote (`prefix`).
const DELIMITER: u8 = b'~';
/// Before each date (`maxidle`, `maxlife`).
const BEFORE_DATE: u8 = b'|';
/// Five of these are a date: units of four seconds since 1970, in 30 bits.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `capture cookie`: the first that begins like this, `NAME=value`, and no more of it than `length`.
pub(super) fn captured<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    begin: &str,
    length: usize,
    several: bool,
) -> Option<Vec<u8>> {
    let pairs = fields.flat_map(|field| {
        let most = if several { usize::MAX } else { 1 };
        field
            .split(|octet| *octet == b';')
            .take(most)
            .map(<[u8]>::trim_ascii)
    });
    let mut found = pairs.filter(|pair| pair.starts_with(begin.as_bytes()));
    found
        .next()
        .map(|pair| pair.get(..length).unwrap_or(pair).to_vec())
}

/// Which servers a cookie leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistent {
    /// None (`ignore-persist`).
    Never,
    /// Those that are there.
    Up,
    /// All (`force-persist`, `option persist`).
    Always,
}

/// Who the request is for, by its cookie. Of `indirect` ones the server hears nothing; `prefix` ones lose their prefix.
pub(super) fn request(
    cookie: &StickyCookie,
    exchange: &mut Exchange,
    common: &mut Common,
    backend: &Backend,
    persistence: Persistent,
    date: SystemTime,
) {
    let fields = exchange.request.fields(&exchange.head);
    let value = crate::session::condition::cookie(fields.all("cookie"), &cookie.name).map(<[u8]>::to_vec);
    // A rule has chosen a server: what the cookie says is of no interest.
    let chosen = common.wanted.is_some();
    let extra = exchange.extra();
    extra.unattached = persistence == Persistent::Never;
    extra.direct = chosen;
    let Some(value) = value else {
        extra.cookie_state[0] = b'N';
        return;
    };
    let prefixed = cookie.mode == CookieMode::Prefix;
    let end = if prefixed { DELIMITER } else { BEFORE_DATE };
    let mut parts = value.split(|octet| *octet == end);
    let word = parts.next().unwrap_or_default();
    let dates = match cookie.max_idle.is_some() || cookie.max_life.is_some() {
        true => [parts.next(), parts.next()].map(|date| date.and_then(seconds)),
        false => [None; 2],
    };
    let old = outlived(cookie, dates, seconds_of(date));
    let servers = backend.servers();
    let unused = chosen || persistence == Persistent::Never;
    let mut servers = servers.iter().filter(|_| old.is_none() && !unused);
    let named = servers.find(|server| {
        let plan = server.plan();
        plan.cookie.as_deref().is_some_and(|own| own.as_bytes() == word)
    });
    let state = match (named, old) {
        (Some(server), _) => {
            let up = server.is_there();
            if up || persistence == Persistent::Always {
                common.wanted = Some(Arc::clone(server));
            }
            if up { b'V' } else { b'D' }
        }
        (None, Some(state)) => state,
        (None, None) if unused => b'U',
        (None, None) => b'I',
    };
    let extra = exchange.extra();
    extra.cookie_state[0] = state;
    extra.direct |= common.wanted.is_some();
    extra.cookie_dates = if old.is_some() { [None; 2] } else { dates };
    match cookie.mode {
        CookieMode::Prefix => {
            let Some(at) = value.iter().position(|octet| *octet == DELIMITER) else {
                return;
            };
            let own = value.get(at + 1..).unwrap_or_default().to_vec();
            change(exchange, &cookie.name, Some(&own));
        }
        CookieMode::Insert if cookie.indirect => change(exchange, &cookie.name, None),
        CookieMode::Insert | CookieMode::Rewrite | CookieMode::Passive => {}
    }
}

/// Gives the request's cookie of this name another value, or takes it out.
fn change(exchange: &mut Exchange, name: &str, value: Option<&[u8]>) {
    let Exchange {
        request,
        head,
        edited,
        ..
    } = exchange;
    *edited = true;
    request.change_header(head, "cookie", |field| {
        let pairs = field.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
        let pairs = pairs.filter_map(|pair| {
            if !is_called(pair, name) {
                return Some(pair.to_vec());
            }
            value.map(|value| [name.as_bytes(), b"=", value].concat())
        });
        Some(pairs.collect::<Vec<_>>().join(&b"; "[..]))
    });
    if request.fields(head).all("cookie").any(<[u8]>::is_empty) {
        let rest: Vec<Vec<u8>> = request.fields(head).all("cookie").map(<[u8]>::to_vec).collect();
        request.remove_header(head, "cookie");
        for field in rest.iter().filter(|field| !field.is_empty()) {
            request.add_header(head, "Cookie", field);
        }
    }
}

fn is_called(pair: &[u8], name: &str) -> bool {
    let own = pair.split(|octet| *octet == b'=').next().unwrap_or_default();
    own.trim_ascii() == name.as_bytes() && pair.contains(&b'=')
}

/// What the client is told of its server.
pub(super) fn response(
    cookie: &StickyCookie,
    exchange: &mut Exchange,
    response: &mut Response,
    octets: &mut Vec<u8>,
    common: &Common,
    date: SystemTime,
) {
    let Some(server) = common.assigned.clone() else {
        return;
    };
    let plan = server.plan();
    let word = plan.cookie.as_deref();
    let there = response
        .fields(octets)
        .all("set-cookie")
        .any(|field| is_called(first(field), &cookie.name));
    let mut state = if there { b'P' } else { b'N' };
    match (cookie.mode, word) {
        (CookieMode::Rewrite, Some(word)) if there => {
            own(response, octets, &cookie.name, |_| word.as_bytes().to_vec());
            state = b'R';
        }
        (CookieMode::Prefix, Some(word)) if there => {
            own(response, octets, &cookie.name, |value| {
                [word.as_bytes(), &[DELIMITER], value].concat()
            });
            state = b'R';
        }
        (CookieMode::Insert, _) if there && !cookie.preserve => {
            without(response, octets, &cookie.name);
            state = b'D';
        }
        _ => {}
    }
    let (direct, brought) = {
        let extra = exchange.extra();
        (
            extra.direct
                && common
                    .wanted
                    .as_ref()
                    .is_some_and(|wanted| Arc::ptr_eq(wanted, &server)),
            extra.cookie_state[0] != b'N',
        )
    };
    let post = exchange.request.method(&exchange.head) == "POST";
    let kept = there && cookie.preserve;
    let (dates, unattached) = {
        let extra = exchange.extra();
        (extra.cookie_dates, extra.unattached)
    };
    let now = seconds_of(date);
    let refreshed = direct && is_to_be_refreshed(cookie, dates, now);
    let wanted = (!direct || refreshed) && !unattached;
    if cookie.mode == CookieMode::Insert && wanted && !kept && (post || !cookie.postonly) {
        let value = match word {
            Some(word) => {
                let dates = written(cookie, dates[1], now);
                Some(format!(
                    "{}={word}{dates}; path=/{}",
                    cookie.name, cookie.attributes
                ))
            }
            // Whoever has one of another server is to forget it.
            None if brought => Some(format!(
                "{}=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/{}",
                cookie.name, cookie.attributes
            )),
            None => None,
        };
        if let Some(value) = value {
            response.add_header(octets, "Set-Cookie", value.as_bytes());
            state = if refreshed { b'U' } else { b'I' };
            if cookie.nocache && may_be_kept(response, octets) {
                response.add_header(octets, "Cache-Control", b"private");
            }
        }
    }
    if cookie.mode == CookieMode::Passive {
        // As in HAProxy, nothing is said of cookies that are only read.
        exchange.extra().cookie_state = [b'-'; 2];
    } else {
        exchange.extra().cookie_state[1] = state;
    }
}

fn seconds_of(date: SystemTime) -> u32 {
    let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The date that these digits are.
fn seconds(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..5)?;
    let mut number = 0u32;
    for digit in digits {
        let value = DIGITS.iter().position(|known| known == digit)?;
        number = (number << 6) | u32::try_from(value).ok()?;
    }
    Some(number << 2).filter(|date| *date > 0)
}

fn digits(seconds: u32) -> String {
    let number = seconds.saturating_add(3) >> 2;
    let digit = |place: u32| DIGITS.get((number >> (6 * place)) as usize & 63).copied();
    (0..5).rev().filter_map(digit).map(char::from).collect()
}

/// What `%tsc` says of a cookie whose dates are too old: E by `maxidle`, O by `maxlife`.
fn outlived(cookie: &StickyCookie, [last, first]: [Option<u32>; 2], now: u32) -> Option<u8> {
    let older = |date: Option<u32>, most: Option<u32>| matches!((date, most), (Some(date), Some(most)) if now.saturating_sub(date) > most);
    if older(last, cookie.max_idle) {
        Some(b'E')
    } else if older(first, cookie.max_life) {
        Some(b'O')
    } else {
        None
    }
}

/// A cookie with the right server may have no date, one that has passed, or one that nobody asks for any more.
fn is_to_be_refreshed(cookie: &StickyCookie, [last, first]: [Option<u32>; 2], now: u32) -> bool {
    let idle = cookie.max_idle.is_some() || last.is_some();
    (idle && last.is_none_or(|last| last < now)) || cookie.max_life.is_some() != first.is_some()
}

/// The dates as they follow the server's word.
fn written(cookie: &StickyCookie, first: Option<u32>, now: u32) -> String {
    let bar = char::from(BEFORE_DATE);
    let mut written = String::new();
    if cookie.max_idle.is_some() || cookie.max_life.is_some() {
        written = format!("{bar}{}", digits(now));
        if cookie.max_life.is_some() {
            // It is a multiple of four already.
            written += &format!("{bar}{}", digits(first.unwrap_or(now)));
        }
    }
    written
}

/// Somebody on the way might keep this response, and the cookie with it (RFC 9111 3).
fn may_be_kept(response: &Response, octets: &[u8]) -> bool {
    let fields = response.fields(octets);
    let said = |word: &[u8]| {
        let members = fields.all("cache-control").flat_map(list);
        members.into_iter().any(|member| {
            member
                .get(..word.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(word))
        })
    };
    let validated = ["etag", "last-modified", "expires"]
        .iter()
        .any(|name| fields.get(name).is_some());
    (validated || said(b"max-age") || said(b"s-maxage"))
        && !said(b"private")
        && !said(b"no-store")
        && !said(b"no-cache")
}

fn first(field: &[u8]) -> &[u8] {
    field
        .split(|octet| *octet == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// Another value for the cookie that the server sets.
fn own(response: &mut Response, octets: &mut Vec<u8>, name: &str, value: impl Fn(&[u8]) -> Vec<u8>) {
    response.change_header(octets, "set-cookie", |field| {
        let pair = first(field);
        if !is_called(pair, name) {
            return None;
        }
        let equals = pair.iter().position(|octet| *octet == b'=')?;
        let rest = field.iter().position(|octet| *octet == b';');
        let rest = rest.and_then(|rest| field.get(rest..)).unwrap_or_default();
        let value = value(pair.get(equals + 1..).unwrap_or_default().trim_ascii());
        Some([name.as_bytes(), b"=", &value, rest].concat())
    });
}

/// Without the cookie that the server sets.
fn without(response: &mut Response, octets: &mut Vec<u8>, name: &str) {
    let fields = response.fields(octets).all("set-cookie");
    let others: Vec<Vec<u8>> = fields
        .filter(|field| !is_called(first(field), name))
        .map(<[u8]>::to_vec)
        .collect();
    response.remove_header(octets, "set-cookie");
    for other in others {
        response.add_header(octets, "Set-Cookie", &other);
    }
}
