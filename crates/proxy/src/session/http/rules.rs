//! `http-request`, `http-response`, `use_backend` and what else the configuration has to say of a head.

use std::sync::Arc;

use warren_balance::hash;
use warren_balance::http::Response;

use super::exchange::Exchange;
use super::template::Heads;
use crate::live::{Backend, Snapshot};
use crate::plan::{Condition, Edit, ForwardFor, HashOn, HttpAction, HttpRule, Redirect};
use crate::session::Common;
use crate::session::condition::{Look, TlsLook, parameter, within};
use crate::worker::context::Context;

/// What rules may not touch: whoever changes where a message ends lets another be smuggled in.
const FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// What the proxy says itself instead of asking a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `deny`.
    Deny(u16),
    /// `auth`.
    Auth { realm: String },
    /// `redirect`.
    Redirect { code: u16, location: Vec<u8> },
    /// `return`.
    Return {
        status: u16,
        content_type: String,
        content: String,
    },
    /// `use-service prometheus-exporter`.
    Prometheus,
}

/// What a list of rules has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request goes on.
    Pass,
    /// `allow`: so it does, without looking at the other lists.
    Allow,
    /// It does not.
    Reply(Reply),
}

/// What conditions look at, for a request and perhaps its response.
pub(crate) fn look<'a>(
    common: &'a Common,
    snapshot: &'a Snapshot,
    local: &'a dyn Fn() -> Option<std::net::SocketAddr>,
    exchange: &'a Exchange,
    response: Option<(&'a Response, &'a [u8])>,
    context: &Context,
) -> Look<'a> {
    Look {
        client: common.client_address,
        local,
        tls: common.tls_facts().map(|facts| TlsLook {
            here: true,
            sni: facts.sni,
            certificate: facts.client.is_some(),
        }),
        frontend: common.frontend(),
        snapshot,
        now: context.time(),
        request: Some((&exchange.request, &exchange.head)),
        response,
    }
}

/// Whether a condition holds for this request. Most have none, and cost nothing.
fn holds(condition: &Condition, exchange: &Exchange, common: &Common, context: &mut Context) -> bool {
    if !condition.negated && condition.any.iter().any(Vec::is_empty) {
        return true;
    }
    let snapshot = Arc::clone(context.snapshot());
    let local = || common.local_address();
    condition.holds(&look(common, &snapshot, &local, exchange, None, context))
}

/// Follows `http-request` rules in order.
pub(crate) fn request(
    rules: &[HttpRule],
    exchange: &mut Exchange,
    common: &Common,
    context: &mut Context,
) -> Verdict {
    for rule in rules {
        if !holds(&rule.condition, exchange, common, context) {
            continue;
        }
        let reply = match &rule.action {
            HttpAction::Allow => return Verdict::Allow,
            HttpAction::Edit(edit) => {
                edit_request(edit, exchange, common, context);
                continue;
            }
            HttpAction::Deny { status } => Reply::Deny(*status),
            HttpAction::Auth { realm } => Reply::Auth { realm: realm.clone() },
            HttpAction::Redirect { code, to } => Reply::Redirect {
                code: *code,
                location: location(to, exchange, common, context),
            },
            HttpAction::Return {
                status,
                content_type,
                content,
            } => Reply::Return {
                status: *status,
                content_type: content_type.clone(),
                content: content.clone(),
            },
            HttpAction::PrometheusExporter => Reply::Prometheus,
        };
        return Verdict::Reply(reply);
    }
    Verdict::Pass
}

/// What a template says of this request.
fn expand(template: &str, exchange: &Exchange, common: &Common, context: &mut Context) -> Vec<u8> {
    let mut out = Vec::new();
    let mut templates = std::mem::take(&mut context.http.templates);
    let facts = exchange.facts(&[]);
    let record = exchange.record(common, common.assigned.as_deref(), Some(facts), context);
    let heads = Heads {
        record: &record,
        request: (&exchange.request, &exchange.head),
        response: None,
    };
    templates.expand(template, &record, &heads, &mut out);
    context.http.templates = templates;
    out
}

fn edit_request(edit: &Edit, exchange: &mut Exchange, common: &Common, context: &mut Context) {
    let value = match edit {
        Edit::AddHeader { name, value } | Edit::SetHeader { name, value } if !is_framing(name) => {
            expand(value, exchange, common, context)
        }
        Edit::SetPath { value } | Edit::SetQuery { value } => expand(value, exchange, common, context),
        Edit::ReplacePath { with, .. } => expand(with, exchange, common, context),
        Edit::AddHeader { .. } | Edit::SetHeader { .. } | Edit::DelHeader { .. } => Vec::new(),
    };
    exchange.edited = true;
    let Exchange { request, head, .. } = exchange;
    match edit {
        Edit::AddHeader { name, .. } | Edit::SetHeader { name, .. } | Edit::DelHeader { name }
            if is_framing(name) => {}
        Edit::AddHeader { name, .. } => request.add_header(head, name, &value),
        Edit::SetHeader { name, .. } => request.set_header(head, name, &value),
        Edit::DelHeader { name } => {
            request.remove_header(head, name);
        }
        Edit::SetPath { .. } => set_path(exchange, &value),
        Edit::SetQuery { .. } => {
            let path = request.target(head).path.to_owned();
            let query = [path.as_bytes(), b"?", &value].concat();
            set_path_and_query(exchange, &query);
        }
        Edit::ReplacePath { regex, .. } => {
            let path = request.target(head).path.to_owned();
            let Some(expression) = context.http.templates.expression(regex) else {
                return;
            };
            if let Some(found) = expression.captures(path.as_bytes()) {
                let path = references(&value, |number| found.get(number).map(|group| group.as_bytes()));
                set_path(exchange, &path);
            }
        }
    }
}

fn is_framing(name: &str) -> bool {
    FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

fn set_path(exchange: &mut Exchange, path: &[u8]) {
    let query = exchange.request.target(&exchange.head).query.map(str::to_owned);
    let whole = match query {
        Some(query) => [path, b"?", query.as_bytes()].concat(),
        None => path.to_vec(),
    };
    set_path_and_query(exchange, &whole);
}

/// Puts it in the place of what follows the authority. A space or control character would end the target early, so it
/// is encoded.
fn set_path_and_query(exchange: &mut Exchange, whole: &[u8]) {
    let Exchange { request, head, .. } = exchange;
    let before = match request.target(head).authority {
        Some(authority) => {
            let url = request.url(head);
            let end = url.find(authority).map_or(0, |at| at + authority.len());
            url.get(..end).unwrap_or_default().to_owned()
        }
        None => String::new(),
    };
    let mut url = before.into_bytes();
    for octet in whole {
        if octet.is_ascii_graphic() && *octet != b'#' {
            url.push(*octet);
        } else {
            url.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
    request.set_url(head, &url);
}

/// `\0` to `\9` become what the expression has found.
fn references<'a>(template: &[u8], group: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(template.len());
    let mut octets = template.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => match octets.next() {
                Some(digit @ b'0'..=b'9') => {
                    out.extend_from_slice(group(usize::from(digit - b'0')).unwrap_or_default());
                }
                Some(other) => out.push(*other),
                None => out.push(b'\\'),
            },
            other => out.push(*other),
        }
    }
    out
}

/// Where a redirection leads.
fn location(to: &Redirect, exchange: &Exchange, common: &Common, context: &mut Context) -> Vec<u8> {
    let target = exchange.request.target(&exchange.head);
    let uri = match target.query {
        Some(query) => format!("{}?{query}", target.path),
        None => target.path.to_owned(),
    };
    match to {
        Redirect::Location(template) => expand(template, exchange, common, context),
        Redirect::Prefix(template) => {
            let mut prefix = expand(template, exchange, common, context);
            // HAProxy manual: a lone slash is nothing, so that none is doubled.
            if prefix == b"/" {
                prefix.clear();
            }
            [prefix, uri.into_bytes()].concat()
        }
        Redirect::Scheme(template) => {
            let scheme = expand(template, exchange, common, context);
            let host = exchange.request.host(&exchange.head).unwrap_or_default();
            let host = match target.authority {
                Some(authority) => authority.as_bytes(),
                None => host,
            };
            [scheme.as_slice(), b"://", host, uri.as_bytes()].concat()
        }
    }
}

/// Follows `http-response` rules in order. `Err` is a status to answer with instead.
pub(crate) fn response(
    rules: &[HttpRule],
    exchange: &Exchange,
    response: &mut Response,
    octets: &mut Vec<u8>,
    common: &Common,
    context: &mut Context,
) -> Result<Verdict, u16> {
    for rule in rules {
        if rule.condition.negated || !rule.condition.any.iter().any(Vec::is_empty) {
            let snapshot = Arc::clone(context.snapshot());
            let local = || common.local_address();
            let seen = Some((&*response, octets.as_slice()));
            if !rule
                .condition
                .holds(&look(common, &snapshot, &local, exchange, seen, context))
            {
                continue;
            }
        }
        match &rule.action {
            HttpAction::Allow => return Ok(Verdict::Allow),
            // 403 is for requests: the default of both, which only one of them has in HAProxy.
            HttpAction::Deny { status: 403 } => return Err(502),
            HttpAction::Deny { status } => return Err(*status),
            HttpAction::Edit(edit) => edit_response(edit, exchange, response, octets, common, context),
            // The configuration only has these for requests.
            HttpAction::Auth { .. }
            | HttpAction::Redirect { .. }
            | HttpAction::Return { .. }
            | HttpAction::PrometheusExporter => {}
        }
    }
    Ok(Verdict::Pass)
}

fn edit_response(
    edit: &Edit,
    exchange: &Exchange,
    response: &mut Response,
    octets: &mut Vec<u8>,
    common: &Common,
    context: &mut Context,
) {
    let (name, template) = match edit {
        Edit::AddHeader { name, value } | Edit::SetHeader { name, value } => (name, Some(value)),
        Edit::DelHeader { name } => (name, None),
        // The configuration only has these for requests.
        Edit::ReplacePath { .. } | Edit::SetPath { .. } | Edit::SetQuery { .. } => return,
    };
    if is_framing(name) {
        return;
    }
    let mut value = Vec::new();
    if let Some(template) = template {
        let mut templates = std::mem::take(&mut context.http.templates);
        let mut facts = exchange.facts(&[]);
        facts.status = Some(response.status());
        let record = exchange.record(common, common.assigned.as_deref(), Some(facts), context);
        let heads = Heads {
            record: &record,
            request: (&exchange.request, &exchange.head),
            response: Some((response, octets)),
        };
        templates.expand(template, &record, &heads, &mut value);
        context.http.templates = templates;
    }
    match edit {
        Edit::AddHeader { name, .. } => response.add_header(octets, name, &value),
        Edit::SetHeader { name, .. } => response.set_header(octets, name, &value),
        _ => {
            response.remove_header(octets, name);
        }
    }
}

/// `option forwardfor`.
pub(crate) fn forward_for(option: &ForwardFor, exchange: &mut Exchange, common: &Common) {
    let Some(client) = common.client_address else {
        return;
    };
    let address = client.ip().to_canonical();
    if let Some((network, length)) = option.except
        && within(address, network, length)
    {
        return;
    }
    let Exchange { request, head, .. } = exchange;
    if option.if_none && request.fields(head).get(&option.header).is_some() {
        return;
    }
    exchange.edited = true;
    request.add_header(head, &option.header, address.to_string().as_bytes());
}

/// `use_backend` and `default_backend`.
pub(crate) fn backend(exchange: &Exchange, common: &Common, context: &mut Context) -> Option<Arc<Backend>> {
    let plan = exchange.frontend.as_ref()?;
    let switch = plan
        .switches
        .iter()
        .find(|switch| holds(&switch.condition, exchange, common, context));
    let index = switch.map(|switch| switch.backend).or(plan.default_backend)?;
    Some(Arc::clone(context.snapshot().backend(index)))
}

/// What hashes go by (`balance source|uri|hdr|url_param`). What is not there counts as the client's address.
pub(crate) fn key(on: &HashOn, exchange: &Exchange, common: &Common) -> u64 {
    let target = exchange.request.target(&exchange.head);
    let by_address = || {
        common
            .client_address
            .map_or(0, |client| hash::of_address(client.ip()))
    };
    match on {
        HashOn::Source => by_address(),
        HashOn::Path => hash::of_bytes(target.path.as_bytes()),
        HashOn::Url => hash::of_bytes(exchange.request.url(&exchange.head).as_bytes()),
        HashOn::Header(name) => exchange
            .request
            .fields(&exchange.head)
            .get(name)
            .map_or_else(by_address, hash::of_bytes),
        HashOn::UrlParam(name) => target
            .query
            .and_then(|query| parameter(query, name))
            .map_or_else(by_address, |value| hash::of_bytes(value.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_what_was_found_and_a_backslash_protects_itself() {
        let group = |number: usize| {
            [Some(&b"all"[..]), Some(b"one"), None]
                .get(number)
                .copied()
                .flatten()
        };
        assert_eq!(references(br"/x\1/\0", group), b"/xone/all");
        assert_eq!(references(br"\\1\2\9\", group), br"\1\");
    }
}
