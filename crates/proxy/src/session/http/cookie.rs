//! `cookie`: clients that bring back the name of their server. And `capture cookie`.

use std::num::NonZeroU32;

use warren_balance::http::{Response, list};

use super::exchange::Exchange;
use crate::live::Backend;
use crate::plan::{CookieMode, StickyCookie};
use crate::session::Common;

/// Between the server's word and what the application wrote (`prefix`).
const DELIMITER: u8 = b'~';

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

/// Who the request is for, by its cookie. Of `indirect` ones the server hears nothing; `prefix` ones lose their prefix.
pub(super) fn request(
    cookie: &StickyCookie,
    exchange: &mut Exchange,
    common: &mut Common,
    backend: &Backend,
) {
    let fields = exchange.request.fields(&exchange.head);
    let value = crate::session::condition::cookie(fields.all("cookie"), &cookie.name).map(<[u8]>::to_vec);
    let Some(value) = value else {
        exchange.extra().cookie_state[0] = b'N';
        return;
    };
    // Behind a bar there are dates, which nobody asked for.
    let end = |octet: &u8| {
        *octet
            == if cookie.mode == CookieMode::Prefix {
                DELIMITER
            } else {
                b'|'
            }
    };
    let word = value.split(end).next().unwrap_or_default();
    let servers = backend.servers();
    let named = servers.iter().find(|server| {
        let plan = server.plan();
        plan.cookie.as_deref().is_some_and(|own| own.as_bytes() == word)
    });
    let state = match named {
        Some(server) => {
            use warren_balance::health::State;
            common.wanted = NonZeroU32::new(server.id.0);
            if matches!(server.state(), State::Down | State::Maint) {
                b'D'
            } else {
                b'V'
            }
        }
        None => b'I',
    };
    let extra = exchange.extra();
    extra.cookie_state[0] = state;
    extra.direct = state == b'V';
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
            extra.direct && common.wanted.map(NonZeroU32::get) == Some(server.id.0),
            extra.cookie_state[0] != b'N',
        )
    };
    let post = exchange.request.method(&exchange.head) == "POST";
    let kept = there && cookie.preserve;
    if cookie.mode == CookieMode::Insert && !direct && !kept && (post || !cookie.postonly) {
        let value = match word {
            Some(word) => Some(format!("{}={word}; path=/{}", cookie.name, cookie.attributes)),
            // Whoever has one of another server is to forget it.
            None if brought => Some(format!(
                "{}=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/{}",
                cookie.name, cookie.attributes
            )),
            None => None,
        };
        if let Some(value) = value {
            response.add_header(octets, "Set-Cookie", value.as_bytes());
            state = b'I';
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
