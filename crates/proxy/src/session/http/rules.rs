//! `http-request`, `http-response`, `use_backend` and what else the configuration has to say of a head.

use std::net::SocketAddr;
use std::sync::Arc;

use warren_balance::hash;
use warren_balance::http::Response;

use super::edit::{edit_request, edit_response};
use super::exchange::Exchange;
use super::remember::{capture, set_variable};
use super::template::{Answered, expand, express};
use crate::live::{Backend, Server};
use crate::plan::{
    Answer, Condition, ForwardFor, HashOn, HttpAction, HttpRule, Mode, Moment, Persist, Redirect,
    RedirectOptions, SwitchTo, TcpAction, TcpRule, UseServer,
};
use crate::session::Common;
use crate::session::condition::{Look, parameter, within};
use crate::session::tracking;
use crate::worker::context::Context;

/// What the proxy says itself instead of asking a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `monitor fail`.
    Unwell,
    /// There is no backend for it.
    Nowhere,
    /// `deny`.
    Deny(u16),
    /// `auth`.
    Auth { realm: String },
    /// `redirect`.
    Redirect {
        code: u16,
        location: Vec<u8>,
        cookie: Option<String>,
    },
    /// `return`.
    Return(Made),
    /// `tarpit`.
    Tarpit(u16),
    /// `silent-drop`.
    Drop,
    /// `use-service prometheus-exporter`.
    Prometheus,
}

/// An answer made for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
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

/// Whether a condition holds for this request, and perhaps its response. Most have none, and cost nothing.
fn holds(
    condition: &Condition,
    exchange: &Exchange,
    response: Answered<'_>,
    common: &Common,
    context: &Context,
) -> bool {
    let always = !condition.negated && condition.any.iter().any(Vec::is_empty);
    always
        || condition.holds(&Look {
            common,
            context,
            server_name: None,
            exchange: Some(exchange),
            response,
        })
}

/// Whether one of these conditions holds for this request.
pub(crate) fn any_holds(
    conditions: &[Condition],
    exchange: &Exchange,
    common: &Common,
    context: &Context,
) -> bool {
    let mut conditions = conditions.iter();
    conditions.any(|condition| holds(condition, exchange, None, common, context))
}

/// Follows `tcp-request content` rules in order until one decides. False: the client is to go.
pub(crate) fn content(
    rules: &[TcpRule],
    exchange: &mut Exchange,
    common: &Common,
    context: &Context,
) -> bool {
    for rule in rules.iter().filter(|rule| rule.moment == Moment::Content) {
        if !holds(&rule.condition, exchange, None, common, context) {
            continue;
        }
        match &rule.action {
            TcpAction::Accept => return true,
            TcpAction::Reject => return false,
            TcpAction::Track(track) => {
                tracking::request(track, exchange, common, context);
            }
        }
    }
    true
}

/// Follows `http-request` rules in order.
pub(crate) fn request(
    rules: &[HttpRule],
    exchange: &mut Exchange,
    common: &Common,
    context: &mut Context,
) -> Verdict {
    for rule in rules {
        if !holds(&rule.condition, exchange, None, common, context) {
            continue;
        }
        let reply = match &rule.action {
            HttpAction::Allow => return Verdict::Allow,
            HttpAction::Edit(edit) => {
                edit_request(edit, exchange, common, context);
                continue;
            }
            action @ (HttpAction::SetVariable { .. }
            | HttpAction::UnsetVariable { .. }
            | HttpAction::Capture { .. }) => {
                keep(action, exchange, None, common, context);
                continue;
            }
            HttpAction::Track(track) => {
                if tracking::request(track, exchange, common, context) {
                    tracking::first(track.slot, exchange, common, context);
                }
                continue;
            }
            HttpAction::Count { slot } => {
                tracking::increment(*slot, exchange, common, context);
                continue;
            }
            HttpAction::Deny { status } => Reply::Deny(*status),
            HttpAction::Tarpit { status } => Reply::Tarpit(*status),
            HttpAction::Drop => Reply::Drop,
            HttpAction::Auth { realm } => Reply::Auth { realm: realm.clone() },
            HttpAction::Redirect { code, to, options } => {
                let Some(location) = location(to, options, exchange, common, context) else {
                    continue;
                };
                Reply::Redirect {
                    code: *code,
                    location,
                    cookie: options.cookie.clone(),
                }
            }
            HttpAction::Return(answer) => Reply::Return(make(answer, exchange, common, context)),
            HttpAction::PrometheusExporter => Reply::Prometheus,
        };
        return Verdict::Reply(reply);
    }
    Verdict::Pass
}

/// What requests and responses have in common: values that are kept.
fn keep(
    action: &HttpAction,
    exchange: &mut Exchange,
    response: Answered<'_>,
    common: &Common,
    context: &mut Context,
) {
    match action {
        HttpAction::SetVariable {
            name,
            value,
            expression: true,
        } => {
            let value = express(value, exchange, response, common, context);
            set_variable(exchange, name, value);
        }
        HttpAction::SetVariable { name, value, .. } => {
            let value = expand(value, exchange, response, common, context);
            set_variable(exchange, name, Some(value));
        }
        HttpAction::UnsetVariable { name } => {
            exchange.extra().variables.retain(|(known, _)| known != name);
        }
        HttpAction::Capture { value, place, length } => {
            let value = express(value, exchange, response, common, context);
            capture(exchange, usize::from(response.is_some()), *place, *length, value);
        }
        _ => {}
    }
}

/// An answer for this request.
pub(crate) fn make(answer: &Answer, exchange: &Exchange, common: &Common, context: &mut Context) -> Made {
    let typed = [(
        "Content-Type".to_owned(),
        answer.content_type.clone().into_bytes(),
    )];
    let typed = typed.into_iter().filter(|(_, value)| !value.is_empty());
    let headers = answer
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), expand(value, exchange, None, common, context)));
    let fields = headers.chain(typed).collect();
    Made {
        status: answer.status,
        fields,
        content: expand(&answer.content, exchange, None, common, context),
    }
}

/// Where a redirection leads. `None`: nowhere, and it is none.
fn location(
    to: &Redirect,
    options: &RedirectOptions,
    exchange: &Exchange,
    common: &Common,
    context: &mut Context,
) -> Option<Vec<u8>> {
    let target = exchange.request.target(&exchange.head);
    let mut uri = target.path.to_owned();
    match target.query.filter(|_| !options.drop_query) {
        Some(query) => uri = format!("{uri}?{query}"),
        None if options.append_slash && options.drop_query && !uri.ends_with('/') => uri.push('/'),
        None => {}
    }
    Some(match to {
        Redirect::Location(template) => {
            let location = expand(template, exchange, None, common, context);
            if options.ignore_empty && location.is_empty() {
                return None;
            }
            location
        }
        Redirect::Prefix(template) => {
            let mut prefix = expand(template, exchange, None, common, context);
            // HAProxy manual: a lone slash is nothing, so that none is doubled.
            if prefix == b"/" {
                prefix.clear();
            }
            [prefix, uri.into_bytes()].concat()
        }
        Redirect::Scheme(template) => {
            let scheme = expand(template, exchange, None, common, context);
            let host = exchange.request.host(&exchange.head).unwrap_or_default();
            let host = match target.authority {
                Some(authority) => authority.as_bytes(),
                None => host,
            };
            [scheme.as_slice(), b"://", host, uri.as_bytes()].concat()
        }
    })
}

/// Follows `http-response` rules in order. `Err` is a status to answer with instead.
pub(crate) fn response(
    rules: &[HttpRule],
    exchange: &mut Exchange,
    response: &mut Response,
    octets: &mut Vec<u8>,
    common: &Common,
    context: &mut Context,
) -> Result<Verdict, u16> {
    for rule in rules {
        let seen = Some((&*response, octets.as_slice()));
        if !holds(&rule.condition, exchange, seen, common, context) {
            continue;
        }
        match &rule.action {
            HttpAction::Allow => return Ok(Verdict::Allow),
            // 403 is for requests: the default of both, which only one of them has in HAProxy.
            HttpAction::Deny { status: 403 } => return Err(502),
            HttpAction::Deny { status } => return Err(*status),
            HttpAction::Edit(edit) => edit_response(edit, exchange, response, octets, common, context),
            action @ (HttpAction::SetVariable { .. }
            | HttpAction::UnsetVariable { .. }
            | HttpAction::Capture { .. }) => {
                keep(action, exchange, Some((response, octets)), common, context);
            }
            // The configuration only has these for requests.
            HttpAction::Auth { .. }
            | HttpAction::Redirect { .. }
            | HttpAction::Return(_)
            | HttpAction::Tarpit { .. }
            | HttpAction::Drop
            | HttpAction::Track(_)
            | HttpAction::Count { .. }
            | HttpAction::PrometheusExporter => {}
        }
    }
    Ok(Verdict::Pass)
}

/// Whether there are `http-after-response` rules for it.
pub(crate) fn has_after(exchange: &Exchange) -> bool {
    let backend = exchange.backend.as_ref();
    let frontend = exchange.frontend.as_ref();
    backend.is_some_and(|plan| !plan.after_rules.is_empty())
        || frontend.is_some_and(|plan| !plan.after_rules.is_empty())
}

/// `http-after-response`. `allow` of a backend ends its own rules only.
pub(crate) fn after(
    exchange: &mut Exchange,
    head: &mut Response,
    octets: &mut Vec<u8>,
    common: &Common,
    context: &mut Context,
) {
    let (backend, frontend) = (exchange.backend.clone(), exchange.frontend.clone());
    let rules = [
        backend.as_ref().map_or(&[][..], |plan| &plan.after_rules),
        frontend.as_ref().map_or(&[][..], |plan| &plan.after_rules),
    ];
    for rules in rules {
        // They only change: nothing else is among them.
        let _changed = response(rules, exchange, head, octets, common, context);
    }
}

/// `force-persist`, `ignore-persist`: whether the first that holds forces.
pub(crate) fn persistence(
    rules: &[Persist],
    exchange: &Exchange,
    common: &Common,
    context: &Context,
) -> Option<bool> {
    if rules.is_empty() {
        return None;
    }
    let first = rules
        .iter()
        .find(|rule| holds(&rule.condition, exchange, None, common, context));
    first.map(|rule| rule.forced)
}

/// `use-server`: the first that holds and whose server is not down, unless `down` is no reason. A name that is none ends
/// the list, as in HAProxy.
pub(crate) fn server(
    rules: &[UseServer],
    backend: &Backend,
    down: bool,
    exchange: &Exchange,
    common: &Common,
    context: &mut Context,
) -> Option<Arc<Server>> {
    for rule in rules {
        if !holds(&rule.condition, exchange, None, common, context) {
            continue;
        }
        let name = expand(&rule.server, exchange, None, common, context);
        let servers = backend.servers();
        let server = servers.iter().find(|server| server.name.as_bytes() == name)?;
        if down || server.is_there() {
            return Some(Arc::clone(server));
        }
    }
    None
}

/// `option forwardfor` and `option originalto`, of the backend and of the frontend: the first of them says how, and both
/// who is excepted.
pub(crate) fn tell_address(
    options: [&Option<ForwardFor>; 2],
    address: Option<SocketAddr>,
    exchange: &mut Exchange,
) {
    let mut given = options.iter().filter_map(|option| option.as_ref());
    let (Some(option), Some(address)) = (given.clone().next(), address) else {
        return;
    };
    let address = address.ip().to_canonical();
    let is_excepted = |option: &ForwardFor| {
        option
            .except
            .is_some_and(|(network, length)| within(address, network, length))
    };
    if given.any(is_excepted) {
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
    for switch in &plan.switches {
        if !holds(&switch.condition, exchange, None, common, context) {
            continue;
        }
        match &switch.backend {
            SwitchTo::Backend(backend) => return context.snapshot().backend_named(backend).cloned(),
            SwitchTo::Named(template) => {
                let name = expand(template, exchange, None, common, context);
                let name = str::from_utf8(&name).ok();
                let named = name.and_then(|name| context.snapshot().backend_named(name));
                if let Some(backend) = named.filter(|backend| backend.plan().mode == Mode::Http) {
                    return Some(Arc::clone(backend));
                }
                // As in HAProxy, a name that is none leads to the default.
                break;
            }
        }
    }
    context
        .snapshot()
        .backend_named(plan.default_backend.as_deref()?)
        .cloned()
}

/// What hashes go by (`balance source|uri|hdr|url_param`). What is not there counts as the client's address.
pub(crate) fn key(on: &HashOn, exchange: &Exchange, common: &Common) -> u64 {
    let target = || exchange.request.target(&exchange.head);
    let by_address = || {
        common
            .client_address
            .map_or(0, |client| hash::of_address(client.ip()))
    };
    match on {
        HashOn::Source => by_address(),
        HashOn::Path => hash::of_bytes(target().path.as_bytes()),
        HashOn::Url => hash::of_bytes(exchange.request.url(&exchange.head).as_bytes()),
        HashOn::Header(name) => exchange
            .request
            .fields(&exchange.head)
            .get(name)
            .map_or_else(by_address, hash::of_bytes),
        HashOn::UrlParam(name) => target()
            .query
            .and_then(|query| parameter(query, name))
            .map_or_else(by_address, |value| hash::of_bytes(value.as_bytes())),
    }
}
