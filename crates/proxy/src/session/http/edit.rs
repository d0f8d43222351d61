//! Heads that rules change: fields of both kinds of them, targets and methods of requests, statuses of responses.

use warren_balance::http::{Response, list};

use super::exchange::Exchange;
use super::template::expand;
use crate::logs::references;
use crate::plan::{Edit, NameLike, Replace, Template};
use crate::session::Common;
use crate::worker::context::Context;

/// What rules may not touch: whoever changes where a message ends lets another be smuggled in. The configuration refuses
/// rules that name them.
pub(crate) const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Changes the fields of a head of either kind, if `$edit` is about fields.
macro_rules! change_fields {
    ($head:expr, $octets:expr, $edit:expr, $value:expr) => {
        match $edit {
            Edit::AddHeader { name, .. } => $head.add_header($octets, name, $value),
            Edit::SetHeader { name, .. } => $head.set_header($octets, name, $value),
            Edit::DelHeader { name } => {
                $head.remove_header($octets, name);
            }
            Edit::DelHeaders { like } => $head.remove_headers($octets, |name| is_like(like, name)),
            Edit::ReplaceHeader { name, replace } => {
                $head.change_header($octets, name, |whole| replaced(replace, $value, whole));
            }
            Edit::ReplaceValue { name, replace } => {
                $head.change_header($octets, name, |whole| replaced_members(replace, $value, whole));
            }
            _ => {}
        }
    };
}

/// What is to be put into a head is made from it first.
const fn template(edit: &Edit) -> Option<&Template> {
    match edit {
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
    }
}

pub(super) fn edit_request(edit: &Edit, exchange: &mut Exchange, common: &Common, context: &mut Context) {
    if is_about_framing(edit) {
        return;
    }
    let value = template(edit).map(|template| expand(template, exchange, None, common, context));
    let value = value.unwrap_or_default();
    exchange.edited = true;
    let Exchange { request, head, .. } = exchange;
    change_fields!(request, head, edit, &value);
    match edit {
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
        // Fields are done, and requests have no status.
        _ => {}
    }
}

pub(super) fn edit_response(
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
    let value =
        template(edit).map(|template| expand(template, exchange, Some((response, octets)), common, context));
    let value = value.unwrap_or_default();
    change_fields!(response, octets, edit, &value);
    if let Edit::SetStatus { status, reason } = edit {
        // What these say of the body has been believed already.
        let special = |status: u16| status < 200 || matches!(status, 204 | 304);
        if !special(response.status()) && !special(*status) {
            response.set_status(octets, *status, reason);
        }
    }
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
