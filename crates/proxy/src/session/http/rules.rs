//! `http-request`, `http-response`, `use_backend` and what else the configuration has to say of a head.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use warren_balance::hash;
use warren_balance::http::{Fields, Response, list};

use super::exchange::Exchange;
use super::template::Heads;
use crate::live::{Backend, Snapshot};
use crate::logs::{Format, references};
use crate::plan::{
    Answer, Capture, Condition, Edit, ForwardFor, HashOn, HttpAction, HttpRule, Mode, NameLike, Persist,
    Redirect, RedirectOptions, Replace, SwitchTo, UseServer,
};
use crate::session::Common;
use crate::session::condition::{Look, TlsLook, parameter, within};
use crate::worker::context::Context;

/// What rules may not touch: whoever changes where a message ends lets another be smuggled in. The configuration refuses
/// rules that name them.
pub(crate) const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

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

/// What conditions look at, for a request and perhaps its response.
pub(crate) fn look<'a>(
    common: &'a Common,
    snapshot: &'a Snapshot,
    local: &'a dyn Fn() -> Option<SocketAddr>,
    exchange: &'a Exchange,
    response: Option<(&'a Response, &'a [u8])>,
    express: &'a dyn Fn(&Format) -> Option<Vec<u8>>,
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
        express,
    }
}

/// The value of an expression, for this request and perhaps its response.
fn express(
    format: &Format,
    exchange: &Exchange,
    response: Option<(&Response, &[u8])>,
    common: &Common,
    context: &Context,
) -> Option<Vec<u8>> {
    let mut facts = exchange.facts(&[]);
    facts.status = response.map_or(facts.status, |(response, _)| Some(response.status()));
    let record = exchange.record(common, common.assigned.as_deref(), Some(facts), context);
    let heads = Heads {
        record: &record,
        request: (&exchange.request, &exchange.head),
        response,
    };
    format.value(&heads)
}

/// Whether a condition holds for this request. Most have none, and cost nothing.
fn holds(condition: &Condition, exchange: &Exchange, common: &Common, context: &Context) -> bool {
    if !condition.negated && condition.any.iter().any(Vec::is_empty) {
        return true;
    }
    let local = || common.local_address();
    let express = |format: &Format| express(format, exchange, None, common, context);
    let look = look(common, context.known(), &local, exchange, None, &express, context);
    condition.holds(&look)
}

/// Whether one of these conditions holds for this request.
pub(crate) fn any_holds(
    conditions: &[Condition],
    exchange: &Exchange,
    common: &Common,
    context: &mut Context,
) -> bool {
    if !conditions.is_empty() {
        context.snapshot();
    }
    let mut conditions = conditions.iter();
    conditions.any(|condition| holds(condition, exchange, common, context))
}

/// Follows `http-request` rules in order.
pub(crate) fn request(
    rules: &[HttpRule],
    exchange: &mut Exchange,
    common: &Common,
    context: &mut Context,
) -> Verdict {
    // So that conditions see what is the case now.
    if !rules.is_empty() {
        context.snapshot();
    }
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
            HttpAction::SetVariable {
                name,
                value,
                expression,
            } => {
                let value = if *expression {
                    express(value, exchange, None, common, context)
                } else {
                    Some(expand(value, exchange, common, context))
                };
                set_variable(exchange, name, value);
                continue;
            }
            HttpAction::UnsetVariable { name } => {
                exchange.extra().variables.retain(|(known, _)| known != name);
                continue;
            }
            HttpAction::Capture { value, place, length } => {
                let value = express(value, exchange, None, common, context);
                capture(exchange, 0, *place, *length, value);
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
        .map(|(name, value)| (name.clone(), expand(value, exchange, common, context)));
    let fields = headers.chain(typed).collect();
    Made {
        status: answer.status,
        fields,
        content: expand(&answer.content, exchange, common, context),
    }
}

/// What a template says of this request.
fn expand(template: &Format, exchange: &Exchange, common: &Common, context: &mut Context) -> Vec<u8> {
    if let Some(constant) = template.constant() {
        return constant.as_bytes().to_vec();
    }
    let mut out = Vec::new();
    let mut dates = std::mem::take(&mut context.http.dates);
    let facts = exchange.facts(&[]);
    let record = exchange.record(common, common.assigned.as_deref(), Some(facts), context);
    let heads = Heads {
        record: &record,
        request: (&exchange.request, &exchange.head),
        response: None,
    };
    template.expand(&record, &heads, &mut dates, &mut out);
    context.http.dates = dates;
    out
}

/// Without a value it stays as it was.
fn set_variable(exchange: &mut Exchange, name: &str, value: Option<Vec<u8>>) {
    let Some(value) = value else { return };
    let variables = &mut exchange.extra().variables;
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// Keeps a value for the log.
fn capture(exchange: &mut Exchange, side: usize, place: usize, length: usize, value: Option<Vec<u8>>) {
    let kept = exchange
        .extra
        .as_mut()
        .and_then(|extra| extra.captures[side].get_mut(place));
    if let (Some(kept), Some(mut value)) = (kept, value) {
        value.truncate(length);
        *kept = Some(value);
    }
}

/// `capture request header`, `capture cookie` and `unique-id-format`: before any rule.
pub(crate) fn remember(exchange: &mut Exchange, common: &Common, context: &mut Context) {
    let Some(plan) = exchange.frontend.clone() else {
        return;
    };
    if !plan.request_captures.is_empty() || !plan.response_captures.is_empty() {
        let fields = exchange.request.fields(&exchange.head);
        let kept = plan
            .request_captures
            .iter()
            .map(|capture| kept(capture, fields))
            .collect();
        exchange.extra().captures = [kept, vec![None; plan.response_captures.len()]];
    }
    if let Some((begin, length)) = &plan.cookie_capture {
        let fields = exchange.request.fields(&exchange.head);
        let found = super::cookie::captured(fields.all("cookie"), begin, *length, true);
        exchange.extra().cookies[0] = found;
    }
    if let Some(format) = &plan.unique_id {
        let id = expand(format, exchange, common, context).trim_ascii().to_vec();
        if let Some(name) = &plan.unique_id_header {
            let Exchange {
                request,
                head,
                edited,
                ..
            } = exchange;
            *edited = true;
            request.add_header(head, name, &id);
        }
        exchange.extra().unique_id = Some(id);
    }
}

/// `capture response header` and `capture cookie`, after all rules of requests and before those of responses.
pub(crate) fn remember_response(exchange: &mut Exchange, response: &Response, octets: &[u8]) {
    let Some(plan) = exchange.frontend.clone() else {
        return;
    };
    let fields = response.fields(octets);
    if !plan.response_captures.is_empty() {
        let kept = plan
            .response_captures
            .iter()
            .map(|capture| kept(capture, fields))
            .collect();
        exchange.extra().captures[1] = kept;
    }
    if let Some((begin, length)) = &plan.cookie_capture {
        let found = super::cookie::captured(fields.all("set-cookie"), begin, *length, false);
        exchange.extra().cookies[1] = found;
    }
}

/// The last field of the name, as HAProxy takes it.
fn kept(capture: &Capture, fields: Fields<'_>) -> Option<Vec<u8>> {
    let value = fields.all(capture.header.as_deref()?).last()?;
    Some(value.get(..capture.length).unwrap_or(value).to_vec())
}

/// It would change where a message ends.
fn is_about_framing(edit: &Edit) -> bool {
    match edit {
        Edit::AddHeader { name, .. }
        | Edit::SetHeader { name, .. }
        | Edit::DelHeader { name }
        | Edit::ReplaceHeader { name, .. }
        | Edit::ReplaceValue { name, .. } => FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name)),
        _ => false,
    }
}

fn edit_request(edit: &Edit, exchange: &mut Exchange, common: &Common, context: &mut Context) {
    if is_about_framing(edit) {
        return;
    }
    let template = match edit {
        Edit::AddHeader { value, .. } | Edit::SetHeader { value, .. } => Some(value),
        Edit::SetPath(value)
        | Edit::SetPathAndQuery(value)
        | Edit::SetQuery(value)
        | Edit::SetUri(value)
        | Edit::SetMethod(value) => Some(value),
        Edit::ReplacePath(replace)
        | Edit::ReplacePathAndQuery(replace)
        | Edit::ReplaceUri(replace)
        | Edit::ReplaceHeader { replace, .. }
        | Edit::ReplaceValue { replace, .. } => Some(&replace.with),
        Edit::DelHeader { .. } | Edit::DelHeaders { .. } | Edit::SetStatus { .. } => None,
    };
    let value = template.map(|template| expand(template, exchange, common, context));
    let value = value.unwrap_or_default();
    exchange.edited = true;
    let Exchange { request, head, .. } = exchange;
    match edit {
        Edit::AddHeader { name, .. } => request.add_header(head, name, &value),
        Edit::SetHeader { name, .. } => request.set_header(head, name, &value),
        Edit::DelHeader { name } => {
            request.remove_header(head, name);
        }
        Edit::DelHeaders { like } => request.remove_headers(head, |name| is_like(like, name)),
        Edit::ReplaceHeader { name, replace } => {
            request.change_header(head, name, |whole| replaced(replace, &value, whole));
        }
        Edit::ReplaceValue { name, replace } => {
            request.change_header(head, name, |whole| replaced_members(replace, &value, whole));
        }
        Edit::SetPath(_) => set_path(exchange, &value),
        Edit::SetPathAndQuery(_) => set_path_and_query(exchange, &value),
        Edit::SetUri(_) => set_uri(exchange, &value),
        Edit::SetMethod(_) => set_method(exchange, &value),
        Edit::SetQuery(_) => {
            let path = request.target(head).path.to_owned();
            let separator: &[u8] = if value.is_empty() { b"" } else { b"?" };
            let query = [path.as_bytes(), separator, &value].concat();
            set_path_and_query(exchange, &query);
        }
        Edit::ReplacePath(replace) => {
            let path = request.target(head).path.to_owned();
            if let Some(path) = replaced(replace, &value, path.as_bytes()) {
                set_path(exchange, &path);
            }
        }
        Edit::ReplacePathAndQuery(replace) => {
            let whole = path_and_query(exchange);
            if let Some(whole) = replaced(replace, &value, &whole) {
                set_path_and_query(exchange, &whole);
            }
        }
        Edit::ReplaceUri(replace) => {
            let url = request.url(head).to_owned();
            if let Some(url) = replaced(replace, &value, url.as_bytes()) {
                set_uri(exchange, &url);
            }
        }
        // Requests have none.
        Edit::SetStatus { .. } => {}
    }
}

/// What takes the place of the whole, if it matches.
fn replaced(replace: &Replace, with: &[u8], whole: &[u8]) -> Option<Vec<u8>> {
    let found = replace.regex.0.captures(whole)?;
    Some(references(with, |number| {
        found.get(number).map(|group| group.as_bytes())
    }))
}

/// The same for every member of a list; what is between them stays, but for spaces around a member that was replaced.
fn replaced_members(replace: &Replace, with: &[u8], whole: &[u8]) -> Option<Vec<u8>> {
    let mut made = Vec::new();
    let mut done = 0;
    for member in list(whole) {
        let Some(new) = replaced(replace, with, member) else {
            continue;
        };
        let start = (member.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        made.extend_from_slice(whole.get(done..start).unwrap_or_default().trim_ascii_end());
        made.extend_from_slice(&new);
        done = start + member.len();
        let after = whole.get(done..).unwrap_or_default();
        done += after.len() - after.trim_ascii_start().len();
    }
    if done == 0 {
        return None;
    }
    made.extend_from_slice(whole.get(done..).unwrap_or_default());
    Some(made)
}

/// Headers that tell where a message ends are never meant.
fn is_like(like: &NameLike, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let fits = match like {
        NameLike::Prefix(text) => name.starts_with(&text.to_ascii_lowercase()),
        NameLike::Suffix(text) => name.ends_with(&text.to_ascii_lowercase()),
        NameLike::Substring(text) => name.contains(&text.to_ascii_lowercase()),
        NameLike::Regex(regex) => regex.0.0.is_match(name.as_bytes()),
    };
    fits && !FRAMING.contains(&name.as_str())
}

/// HEAD and CONNECT decide where the response ends: whoever asked for one has to get it, and nobody else.
fn set_method(exchange: &mut Exchange, method: &[u8]) {
    let special = |method: &[u8]| method == b"HEAD" || method == b"CONNECT";
    let token = |octet: &u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet);
    let Exchange { request, head, .. } = exchange;
    let before = request.method(head).as_bytes();
    if special(before) || special(method) || method.is_empty() || !method.iter().all(token) {
        return;
    }
    request.set_method(head, method);
}

/// The whole target. One that is none leaves everything as it was.
fn set_uri(exchange: &mut Exchange, url: &[u8]) {
    let absolute = url.windows(3).any(|part| part == b"://");
    if !url.starts_with(b"/") && !absolute && url != b"*" {
        return;
    }
    let Exchange { request, head, .. } = exchange;
    if !request.is_connect(head) {
        let url = encoded(Vec::new(), url);
        request.set_url(head, &url);
    }
}

fn path_and_query(exchange: &Exchange) -> Vec<u8> {
    let target = exchange.request.target(&exchange.head);
    match target.query {
        Some(query) => format!("{}?{query}", target.path).into_bytes(),
        None => target.path.as_bytes().to_vec(),
    }
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
    let url = encoded(before.into_bytes(), whole);
    request.set_url(head, &url);
}

/// Appends to `url` what may stand in one.
fn encoded(mut url: Vec<u8>, octets: &[u8]) -> Vec<u8> {
    for octet in octets {
        if octet.is_ascii_graphic() && *octet != b'#' {
            url.push(*octet);
        } else {
            url.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
    url
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
            let location = expand(template, exchange, common, context);
            if options.ignore_empty && location.is_empty() {
                return None;
            }
            location
        }
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
        if rule.condition.negated || !rule.condition.any.iter().any(Vec::is_empty) {
            let local = || common.local_address();
            let seen = Some((&*response, octets.as_slice()));
            let express = |format: &Format| express(format, exchange, seen, common, context);
            let look = look(common, context.known(), &local, exchange, seen, &express, context);
            if !rule.condition.holds(&look) {
                continue;
            }
        }
        match &rule.action {
            HttpAction::Allow => return Ok(Verdict::Allow),
            // 403 is for requests: the default of both, which only one of them has in HAProxy.
            HttpAction::Deny { status: 403 } => return Err(502),
            HttpAction::Deny { status } => return Err(*status),
            HttpAction::Edit(edit) => edit_response(edit, exchange, response, octets, common, context),
            HttpAction::SetVariable {
                name,
                value,
                expression,
            } => {
                let value = if *expression {
                    express(value, exchange, Some((response, octets)), common, context)
                } else {
                    Some(expand_response(
                        value,
                        exchange,
                        (response, octets),
                        common,
                        context,
                    ))
                };
                set_variable(exchange, name, value);
            }
            HttpAction::UnsetVariable { name } => {
                exchange.extra().variables.retain(|(known, _)| known != name);
            }
            HttpAction::Capture { value, place, length } => {
                let value = express(value, exchange, Some((response, octets)), common, context);
                capture(exchange, 1, *place, *length, value);
            }
            // The configuration only has these for requests.
            HttpAction::Auth { .. }
            | HttpAction::Redirect { .. }
            | HttpAction::Return(_)
            | HttpAction::Tarpit { .. }
            | HttpAction::Drop
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
    if is_about_framing(edit) {
        return;
    }
    let mut expand = |template: &Format, response: &Response, octets: &[u8]| {
        expand_response(template, exchange, (response, octets), common, context)
    };
    match edit {
        Edit::AddHeader { name, value } => {
            let value = expand(value, response, octets);
            response.add_header(octets, name, &value);
        }
        Edit::SetHeader { name, value } => {
            let value = expand(value, response, octets);
            response.set_header(octets, name, &value);
        }
        Edit::ReplaceHeader { name, replace } => {
            let with = expand(&replace.with, response, octets);
            response.change_header(octets, name, |whole| replaced(replace, &with, whole));
        }
        Edit::ReplaceValue { name, replace } => {
            let with = expand(&replace.with, response, octets);
            response.change_header(octets, name, |whole| replaced_members(replace, &with, whole));
        }
        Edit::DelHeader { name } => {
            response.remove_header(octets, name);
        }
        Edit::DelHeaders { like } => response.remove_headers(octets, |name| is_like(like, name)),
        Edit::SetStatus { status, reason } => {
            // What these say of the body has been believed already.
            let special = |status: u16| status < 200 || matches!(status, 204 | 304);
            if !special(response.status()) && !special(*status) {
                response.set_status(octets, *status, reason);
            }
        }
        // The configuration only has these for requests.
        Edit::ReplacePath(_)
        | Edit::ReplacePathAndQuery(_)
        | Edit::ReplaceUri(_)
        | Edit::SetPath(_)
        | Edit::SetPathAndQuery(_)
        | Edit::SetQuery(_)
        | Edit::SetUri(_)
        | Edit::SetMethod(_) => {}
    }
}

/// What a template says of this response.
fn expand_response(
    template: &Format,
    exchange: &Exchange,
    response: (&Response, &[u8]),
    common: &Common,
    context: &mut Context,
) -> Vec<u8> {
    if let Some(constant) = template.constant() {
        return constant.as_bytes().to_vec();
    }
    let mut value = Vec::new();
    let mut dates = std::mem::take(&mut context.http.dates);
    let mut facts = exchange.facts(&[]);
    facts.status = Some(response.0.status());
    let record = exchange.record(common, common.assigned.as_deref(), Some(facts), context);
    let heads = Heads {
        record: &record,
        request: (&exchange.request, &exchange.head),
        response: Some(response),
    };
    template.expand(&record, &heads, &mut dates, &mut value);
    context.http.dates = dates;
    value
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
    context: &mut Context,
) -> Option<bool> {
    if rules.is_empty() {
        return None;
    }
    context.snapshot();
    let first = rules
        .iter()
        .find(|rule| holds(&rule.condition, exchange, common, context));
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
) -> Option<NonZeroU32> {
    if !rules.is_empty() {
        context.snapshot();
    }
    for rule in rules {
        if !holds(&rule.condition, exchange, common, context) {
            continue;
        }
        let name = expand(&rule.server, exchange, common, context);
        let servers = backend.servers();
        let server = servers.iter().find(|server| server.name.as_bytes() == name)?;
        if down || server.is_there() {
            return NonZeroU32::new(server.id.0);
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
    context.snapshot();
    for switch in &plan.switches {
        if !holds(&switch.condition, exchange, common, context) {
            continue;
        }
        match &switch.backend {
            SwitchTo::Backend(backend) => return context.snapshot().backend_named(backend).cloned(),
            SwitchTo::Named(template) => {
                let name = expand(template, exchange, common, context);
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
