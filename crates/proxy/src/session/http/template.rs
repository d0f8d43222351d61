//! Values that rules make from a request, and from its response: who answers the samples of their templates.

use warren_balance::http::{Request, Response, list};

use super::exchange::Exchange;
use crate::logs::{Fetch, Format, Samples};
use crate::record::Record;
use crate::session::Common;
use crate::session::condition::{cookie, parameter};
use crate::worker::context::Context;

/// A response's head, and the octets it is in.
pub(super) type Answered<'a> = Option<(&'a Response, &'a [u8])>;

/// What a template says.
pub(super) fn expand(
    template: &Format,
    exchange: &Exchange,
    response: Answered<'_>,
    common: &Common,
    context: &mut Context,
) -> Vec<u8> {
    if let Some(constant) = template.constant() {
        return constant.as_bytes().to_vec();
    }
    let record = record(exchange, response, common, context);
    let heads = Heads::new(&record, exchange, response);
    let mut out = Vec::new();
    template.expand(&record, &heads, &mut context.http.dates, &mut out);
    out
}

/// The value of an expression, if there is one.
pub(crate) fn express(
    format: &Format,
    exchange: &Exchange,
    response: Answered<'_>,
    common: &Common,
    context: &Context,
) -> Option<Vec<u8>> {
    let record = record(exchange, response, common, context);
    format.value(&Heads::new(&record, exchange, response))
}

fn record<'a>(
    exchange: &'a Exchange,
    response: Answered<'_>,
    common: &'a Common,
    context: &Context,
) -> Record<'a> {
    let mut facts = exchange.facts(&[]);
    facts.status = response.map_or(facts.status, |(response, _)| Some(response.status()));
    exchange.record(common, common.assigned.as_deref(), Some(facts), context)
}

/// Answers samples from heads that are at hand, and the rest from what the log will say.
struct Heads<'a> {
    record: &'a Record<'a>,
    request: (&'a Request, &'a [u8]),
    response: Answered<'a>,
}

impl<'a> Heads<'a> {
    fn new(record: &'a Record<'a>, exchange: &'a Exchange, response: Answered<'a>) -> Self {
        Self {
            record,
            request: (&exchange.request, &exchange.head),
            response,
        }
    }
}

impl Samples for Heads<'_> {
    fn fetch(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        let (request, octets) = self.request;
        let target = request.target(octets);
        let value: Option<&[u8]> = match fetch {
            Fetch::RequestHeader(name) => last(request.fields(octets).all(name)),
            Fetch::RequestHeaderAt(name, place) => nth(request.fields(octets).all(name), *place),
            Fetch::RequestField(name) => request.fields(octets).all(name).last(),
            Fetch::ResponseHeader(name) => self
                .response
                .and_then(|(response, octets)| last(response.fields(octets).all(name))),
            Fetch::ResponseField(name) => self
                .response
                .and_then(|(response, octets)| response.fields(octets).all(name).last()),
            Fetch::Base => {
                out.extend_from_slice(request.host(octets).unwrap_or_default());
                Some(target.path.as_bytes())
            }
            Fetch::Method => Some(request.method(octets).as_bytes()),
            Fetch::Path => Some(target.path.as_bytes()),
            Fetch::Url => Some(request.url(octets).as_bytes()),
            Fetch::Query => Some(target.query.unwrap_or_default().as_bytes()),
            Fetch::UrlParam(name) => target
                .query
                .and_then(|query| parameter(query, name))
                .map(str::as_bytes),
            Fetch::PathAndQuery => {
                out.extend_from_slice(target.path.as_bytes());
                if let Some(query) = target.query {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
                return true;
            }
            Fetch::Cookie(name) => cookie(request.fields(octets).all("cookie"), name),
            _ => return self.record.fetch(fetch, out),
        };
        out.extend_from_slice(value.unwrap_or_default());
        value.is_some()
    }
}

/// The last member of the last field, as HAProxy takes it where one value is wanted.
fn last<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let field = fields.last()?;
    Some(list(field).last().unwrap_or_default())
}

/// A member counted from 1 at the beginning, from -1 at the end; 0 is the last.
fn nth<'a>(fields: impl Iterator<Item = &'a [u8]>, place: i64) -> Option<&'a [u8]> {
    let members: Vec<&[u8]> = fields.flat_map(list).collect();
    let place = match place {
        1.. => usize::try_from(place).ok()?.checked_sub(1)?,
        0 => members.len().checked_sub(1)?,
        _ => members
            .len()
            .checked_sub(usize::try_from(place.checked_neg()?).ok()?)?,
    };
    members.get(place).copied()
}
