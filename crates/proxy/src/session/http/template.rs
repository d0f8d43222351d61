//! Values that rules make from a request: log-format templates, compiled once, and who answers their samples.

use std::collections::HashMap;

use regex::bytes::Regex;
use warren_balance::http::{Request, Response, list};

use crate::logs::{Dates, Fetch, Format, Samples};
use crate::record::Record;
use crate::session::condition::{cookie, parameter};

/// Templates and patterns kept at once; more are only seen after many reloads, and then all are compiled anew.
const KEPT_MAX: usize = 1_024;

/// What a worker has compiled. The configuration has judged every template before; one that fails all the same is
/// taken for plain text, and an expression for one that matches nothing.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    formats: HashMap<String, Option<Format>>,
    expressions: HashMap<String, Option<Regex>>,
    dates: Dates,
}

impl Templates {
    /// Appends what `template` says.
    pub(crate) fn expand(
        &mut self,
        template: &str,
        record: &Record<'_>,
        samples: &dyn Samples,
        out: &mut Vec<u8>,
    ) {
        if !template.contains('%') {
            return out.extend_from_slice(template.as_bytes());
        }
        if !self.formats.contains_key(template) {
            if self.formats.len() >= KEPT_MAX {
                self.formats.clear();
            }
            let format = Format::compile_template(template);
            if let Err(error) = &format {
                tracing::error!(template, %error, "a template is none and is taken for plain text");
            }
            self.formats.insert(template.to_owned(), format.ok());
        }
        match self.formats.get(template) {
            Some(Some(format)) => format.expand(record, samples, &mut self.dates, out),
            _ => out.extend_from_slice(template.as_bytes()),
        }
    }

    /// A regular expression.
    pub(crate) fn expression(&mut self, text: &str) -> Option<&Regex> {
        if !self.expressions.contains_key(text) {
            if self.expressions.len() >= KEPT_MAX {
                self.expressions.clear();
            }
            let expression = Regex::new(text);
            if let Err(error) = &expression {
                tracing::error!(text, %error, "a regular expression is none and matches nothing");
            }
            self.expressions.insert(text.to_owned(), expression.ok());
        }
        self.expressions.get(text)?.as_ref()
    }
}

/// Answers samples from heads that are at hand, and the rest from what the log will say.
pub(crate) struct Heads<'a> {
    pub(crate) record: &'a Record<'a>,
    pub(crate) request: (&'a Request, &'a [u8]),
    pub(crate) response: Option<(&'a Response, &'a [u8])>,
}

impl Samples for Heads<'_> {
    fn fetch(&self, fetch: &Fetch, out: &mut Vec<u8>) -> bool {
        let (request, octets) = self.request;
        let target = request.target(octets);
        let value: Option<&[u8]> = match fetch {
            Fetch::RequestHeader(name) => last(request.fields(octets).all(name)),
            Fetch::ResponseHeader(name) => self
                .response
                .and_then(|(response, octets)| last(response.fields(octets).all(name))),
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
