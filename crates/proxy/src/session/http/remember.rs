//! What is kept of a request and its response for the log and for later rules.

use warren_balance::http::{Fields, Response};

use super::exchange::Exchange;
use super::template::expand;
use crate::plan::Capture;
use crate::session::Common;
use crate::worker::context::Context;

/// Without a value it stays as it was.
pub(super) fn set_variable(exchange: &mut Exchange, name: &str, value: Option<Vec<u8>>) {
    let Some(value) = value else { return };
    let variables = &mut exchange.extra().variables;
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// A value for the log.
pub(super) fn capture(
    exchange: &mut Exchange,
    side: usize,
    place: usize,
    length: usize,
    value: Option<Vec<u8>>,
) {
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
pub(super) fn request(exchange: &mut Exchange, common: &Common, context: &mut Context) {
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
        let id = expand(format, exchange, None, common, context)
            .trim_ascii()
            .to_vec();
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
pub(super) fn response(exchange: &mut Exchange, response: &Response, octets: &[u8]) {
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
