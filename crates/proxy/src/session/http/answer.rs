//! What the proxy answers itself.

use std::sync::Arc;
use std::time::Duration;

use warren_balance::http::{Body, Fault, Length, Limits, Origin, Refused, Response};

use super::exchange::Exchange;
use super::pages::{self, Answer, Ending};
use super::rules::{self, Made, Reply};
use super::{Http, Next, State};
use crate::live::{CAPTURE_MAX, Capture};
use crate::plan::{ErrorPage, PageContent};
use crate::record::{Cause, Phase, Termination};
use crate::session::Common;
use crate::session::connect::millis;
use crate::session::tracking::{self, Event};
use crate::worker::context::Context;

/// How long somebody is kept who is not wanted, if nothing else is said.
const TARPIT: Duration = Duration::from_secs(5);
/// Fields of a page of the operator's.
const FIELDS_MAX: usize = 101;

impl Http {
    /// Nobody understands this: an error, and the end.
    pub(super) fn bad_request(
        &mut self,
        mut exchange: Box<Exchange>,
        refused: Refused,
        octets: &[u8],
        common: &mut Common,
        context: &mut Context,
    ) -> Next {
        tracing::debug!(client = ?common.client_address, %refused, "a request was refused");
        let frontend = common.frontend();
        frontend.refused.keep(Capture {
            other: None,
            server: None,
            ..capture(octets, Origin::Request, refused, common, context)
        });
        let cells = frontend.tally.of(context.worker);
        cells.requests.count();
        cells.request_errors.count();
        frontend.request_rate.count(context.time());
        for event in [Event::Request, Event::Error] {
            tracking::happened(event, Some(&exchange), common, context);
        }
        common.termination = Some(Termination::new(Cause::Proxy, Phase::Request));
        // What it wanted is not known, even if its head was whole.
        exchange.understood = false;
        exchange.request_time = None;
        self.exchange = Some(exchange);
        self.answer_error(refused.status(), common, context)
    }

    /// A head that never became whole.
    pub(super) fn request_timeout(&mut self, common: &mut Common, context: &mut Context) -> Next {
        let mut exchange = context.http.spare.pop().unwrap_or_default();
        self.prepare(&mut exchange, common, context);
        let ahead = std::mem::take(&mut self.ahead);
        common.count(crate::session::Side::Client, ahead.len(), context);
        common.frontend().tally.of(context.worker).request_errors.count();
        for event in [Event::Request, Event::Error] {
            tracking::happened(event, None, common, context);
        }
        common.termination = Some(Termination::new(Cause::ClientTimeout, Phase::Request));
        self.exchange = Some(exchange);
        self.answer_error(408, common, context)
    }

    /// What a rule says. `None` is that all is well (`monitor-uri`).
    pub(super) fn reply(
        &mut self,
        mut exchange: Box<Exchange>,
        reply: Option<Reply>,
        common: &mut Common,
        context: &mut Context,
    ) -> Next {
        let local = Termination::new(Cause::Local, Phase::Request);
        let denied = Termination::new(Cause::Proxy, Phase::Request);
        let worker = context.worker;
        let Some(reply) = reply else {
            common.termination = Some(local);
            self.exchange = Some(exchange);
            return self.answer_error(200, common, context);
        };
        common.termination = Some(local);
        if matches!(reply, Reply::Deny(_) | Reply::Tarpit(_) | Reply::Auth { .. }) {
            tracking::happened(Event::Error, Some(&exchange), common, context);
        }
        match reply {
            Reply::Unwell => {
                self.exchange = Some(exchange);
                self.answer_error(503, common, context)
            }
            Reply::Nowhere => {
                common.termination = Some(Termination::new(Cause::ServerAborted, Phase::Connect));
                self.exchange = Some(exchange);
                self.answer_error(503, common, context)
            }
            Reply::Deny(status) => {
                common.frontend().tally.of(worker).denied_requests.count();
                if let Some(backend) = &common.backend {
                    backend.tally.of(worker).denied_requests.count();
                }
                common.termination = Some(denied);
                self.exchange = Some(exchange);
                self.answer_error(status, common, context)
            }
            Reply::Auth { realm } => {
                common.frontend().tally.of(worker).intercepted.count();
                let challenge = format!("Basic realm=\"{}\"", realm.replace(['"', '\\'], ""));
                self.exchange = Some(exchange);
                self.answer_page(401, &[("WWW-Authenticate", &challenge)], common, context)
            }
            Reply::Redirect {
                code,
                location,
                cookie,
            } => {
                common.frontend().tally.of(worker).intercepted.count();
                let location = String::from_utf8_lossy(&location).replace(['\r', '\n'], " ");
                let mut fields = vec![("Location", location.as_str())];
                if matches!(code, 302 | 303 | 307) {
                    fields.push(("Cache-Control", "no-cache"));
                }
                if let Some(cookie) = &cookie {
                    fields.push(("Set-Cookie", cookie));
                }
                let answer = Answer {
                    status: code,
                    fields: &fields,
                    body: b"",
                };
                self.say(&mut exchange, &answer);
                self.said(exchange, code, common, context)
            }
            Reply::Tarpit(status) => {
                common.frontend().tally.of(worker).denied_requests.count();
                let plan = exchange.frontend.clone();
                let wait = plan.and_then(|plan| plan.tarpit).unwrap_or(TARPIT);
                common.termination = Some(Termination::new(Cause::Proxy, Phase::Tarpit));
                self.exchange = Some(exchange);
                self.state = State::Tarpit {
                    until: context.now + millis(wait),
                    status,
                };
                common.changed = true;
                Next::Stay
            }
            Reply::Drop => {
                common.frontend().tally.of(worker).denied_requests.count();
                common.termination = Some(denied);
                self.exchange = Some(exchange);
                Next::End
            }
            Reply::Return(made) => {
                common.frontend().tally.of(worker).intercepted.count();
                self.say_made(&mut exchange, &made);
                self.said(exchange, made.status, common, context)
            }
            // It has been made a service.
            Reply::Prometheus => Next::End,
        }
    }

    fn say(&self, exchange: &mut Exchange, answer: &Answer<'_>) {
        exchange.keep_client = self.may_go_on(exchange);
        let ending = ending(exchange);
        exchange.down.clear();
        answer.write(ending, &mut exchange.down.octets);
    }

    fn say_made(&self, exchange: &mut Exchange, made: &Made) {
        let fields: Vec<(&str, String)> = made
            .fields
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value).replace(['\r', '\n'], " ");
                (name.as_str(), value)
            })
            .collect();
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = Answer {
            status: made.status,
            fields: &fields,
            body: &made.content,
        };
        self.say(exchange, &answer);
    }

    fn said(
        &mut self,
        mut exchange: Box<Exchange>,
        status: u16,
        common: &mut Common,
        context: &mut Context,
    ) -> Next {
        change(&mut exchange, common, context);
        common.bytes[1] = exchange.down.octets.len() as u64;
        exchange.status = Some(status);
        exchange.download = Some(Body::new(Length::None));
        self.exchange = Some(exchange);
        common.server = None;
        common.changed = true;
        self.state = State::Passing;
        Next::Again
    }

    /// After an answer of our own the connection goes on if the client wants that and its request is whole.
    fn may_go_on(&self, exchange: &Exchange) -> bool {
        let closes = exchange.frontend.as_ref().is_some_and(|plan| plan.http_close);
        exchange.understood
            && exchange.request.persistent()
            && exchange.upload.is_finished()
            && !closes
            && !self.ending
    }

    /// The page of a status.
    pub(super) fn answer_error(&mut self, status: u16, common: &mut Common, context: &mut Context) -> Next {
        self.answer_page(status, &[], common, context)
    }

    fn answer_page(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        common: &mut Common,
        context: &mut Context,
    ) -> Next {
        let Some(mut exchange) = self.exchange.take() else {
            return Next::End;
        };
        exchange.keep_client = self.may_go_on(&exchange);
        exchange.keep_server = false;
        exchange.tunnel = false;
        let (backend, frontend) = (exchange.backend.clone(), exchange.frontend.clone());
        let pages: [&[ErrorPage]; 2] = [
            backend.as_ref().map_or(&[], |plan| &plan.error_pages),
            frontend.as_ref().map_or(&[], |plan| &plan.error_pages),
        ];
        let page = pages.into_iter().flatten().find(|page| page.status == status);
        exchange.down.clear();
        match page.map(|page| &page.content) {
            None => {
                let ending = ending(&exchange);
                pages::error(status, fields, ending, &mut exchange.down.octets);
            }
            Some(PageContent::Whole(content)) => {
                let ending = ending(&exchange);
                exchange.keep_client &= pages::custom(content, ending, &mut exchange.down.octets);
            }
            Some(PageContent::Made(answer)) => {
                let made = rules::make(answer, &exchange, common, context);
                self.say_made(&mut exchange, &made);
            }
        }
        let understood = exchange.understood;
        common.server = None;
        let next = self.said(exchange, status, common, context);
        let sent = usize::try_from(common.bytes[1]).unwrap_or(usize::MAX);
        if understood {
            common.bytes[1] = 0;
            common.count(crate::session::Side::Server, sent, context);
        } else {
            // HAProxy counts nothing for requests that were none.
            common.bytes[1] = 0;
        }
        next
    }
}

/// What is kept of a message that was refused.
pub(super) fn capture(
    octets: &[u8],
    origin: Origin,
    refused: Refused,
    common: &Common,
    context: &Context,
) -> Capture {
    let frontend = common.frontend();
    let server = common.assigned.as_ref();
    Capture {
        at: context.wall(),
        event: context.live.next_capture(),
        other: Some((Arc::clone(&frontend.name), frontend.plan().id.0)),
        server: server.map(|server| (Arc::clone(&server.name), server.id().0)),
        client: common.client_address,
        fault: Fault::find(octets, origin, refused),
        octets: octets.get(..CAPTURE_MAX).unwrap_or(octets).into(),
    }
}

/// `http-after-response`, for what the proxy says itself.
fn change(exchange: &mut Exchange, common: &Common, context: &mut Context) {
    if !rules::has_after(exchange) {
        return;
    }
    let said = std::mem::take(&mut exchange.down.octets);
    let mut response = Response::default();
    let limits = Limits {
        head: said.len().max(1),
        fields: FIELDS_MAX,
    };
    let Ok(Some(end)) = response.read(&said, limits) else {
        // A page of the operator's that is no response.
        exchange.down.octets = said;
        return;
    };
    let (head, body) = said.split_at_checked(end).unwrap_or((&said, &[]));
    let mut head = head.to_vec();
    rules::after(exchange, &mut response, &mut head, common, context);
    response.write(&head, &mut exchange.down.octets);
    exchange.down.octets.extend_from_slice(body);
}

fn ending(exchange: &Exchange) -> Ending {
    Ending {
        version: exchange.version(),
        persistent: exchange.keep_client,
        head: exchange.is_head(),
    }
}
