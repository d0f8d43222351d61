//! From the server to the client.

use std::sync::Arc;

use warren_balance::http::{Body, Length, Origin, Persistence, Response, Version};

use super::answer::capture;
use super::cookie;
use super::exchange::Exchange;
use super::lost::Lost;
use super::moving::Step;
use super::remember;
use super::rules::{self, Verdict};
use super::upload::{Flushed, flush};
use super::{BUFFERS_PER_TURN, DEFERRED_MAX, Http, Passed, limits};
use crate::session::endpoint::{Endpoint, Received};
use crate::session::tracking::{self, Event};
use crate::session::{Common, Side};
use crate::worker::Service;
use crate::worker::context::Context;

/// What comes with a head that was changed is sent with it, if it is no more than this; otherwise by itself, since
/// copying it would cost more.
const TOGETHER_MAX: usize = 8 * 1024;
/// Octets received at once while a head is waited for.
const HEAD_BUFFER: usize = 16 * 1024;

impl Http {
    /// Passes on what comes of the response, until the client has all of it.
    pub(super) fn download(&mut self, common: &mut Common, context: &mut Context) -> Result<Passed, Lost> {
        for _ in 0..BUFFERS_PER_TURN {
            let Some(exchange) = &mut self.exchange else {
                return Ok(Passed::Waits);
            };
            match flush(&mut common.client, &mut exchange.down.sent, &exchange.down.octets) {
                Flushed::All => exchange.down.clear(),
                Flushed::Some => {
                    common.activity[Side::Client as usize] = context.now;
                    common.changed = true;
                    return Ok(Passed::Waits);
                }
                Flushed::Nothing => {
                    common.changed = true;
                    return Ok(Passed::Waits);
                }
                Flushed::Gone => return Err(Lost::Client),
            }
            exchange.closing = self.ending;
            if let (Some(body), Some(server), false) =
                (&mut exchange.download, &mut common.server, exchange.tunnel)
            {
                let pipes = &mut context.pipes;
                match exchange.moved_down.step(body, server, &mut common.client, pipes) {
                    Step::Took(count) => {
                        common.activity[Side::Server as usize] = context.now;
                        common.count(Side::Server, count, context);
                        context.pipes.count_moved(count);
                        continue;
                    }
                    Step::Gave => {
                        common.activity[Side::Client as usize] = context.now;
                        common.changed = true;
                        continue;
                    }
                    Step::Waits => {
                        common.changed |= exchange.moved_down.owes();
                        return Ok(Passed::Waits);
                    }
                    Step::SinkGone => return Err(Lost::Client),
                    Step::Copy => {}
                }
            }
            if exchange.tunnel || exchange.download.is_some_and(|body| body.is_finished()) {
                // A server may answer before it has read everything, and read on.
                let reads_on = |server: &Endpoint| !server.ended && !server.has_hung_up();
                if !exchange.tunnel && exchange.uploading() && common.server.as_ref().is_some_and(reads_on) {
                    return Ok(Passed::Waits);
                }
                return Ok(Passed::Finished);
            }
            let Some(server) = &mut common.server else {
                return Ok(Passed::Waits);
            };
            if !server.readable {
                return Ok(Passed::Waits);
            }
            let mut buffer = std::mem::take(&mut context.buffer);
            // What a head comes with is copied; of a large body that should be little.
            let most = if exchange.download.is_none() {
                HEAD_BUFFER
            } else {
                buffer.len()
            };
            let most = most.min(buffer.len());
            let received = server.recv(buffer.get_mut(..most).unwrap_or_default());
            let outcome = match received {
                Received::Data(count) => {
                    common.activity[Side::Server as usize] = context.now;
                    common.count(Side::Server, count, context);
                    let octets = buffer.get(..count).unwrap_or_default();
                    receive(exchange, octets, common, context)
                }
                Received::Wait => {
                    context.buffer = buffer;
                    return Ok(Passed::Waits);
                }
                Received::End => ended(exchange),
                Received::Failed(_) => match exchange.download {
                    Some(_) => Err(Lost::Cut),
                    None => Err(Lost::Empty),
                },
            };
            context.buffer = buffer;
            outcome?;
            if std::mem::take(&mut exchange.deferred) {
                return Ok(Passed::Waits);
            }
        }
        Ok(Passed::More)
    }
}

/// The server has closed.
fn ended(exchange: &mut Exchange) -> Result<(), Lost> {
    exchange.keep_server = false;
    match &mut exchange.download {
        Some(body) if body.is_endless() => {
            *body = Body::new(Length::None);
            Ok(())
        }
        Some(_) => Err(Lost::Cut),
        None if exchange.partial.is_empty() => Err(Lost::Empty),
        None => Err(Lost::Junk),
    }
}

/// Octets of the server's.
fn receive(
    exchange: &mut Exchange,
    octets: &[u8],
    common: &mut Common,
    context: &mut Context,
) -> Result<(), Lost> {
    if exchange.download.is_some() {
        return pass_body(exchange, octets, common, context);
    }
    if exchange.partial.is_empty() {
        return heads(exchange, octets, common, context);
    }
    exchange.partial.extend_from_slice(octets);
    let partial = std::mem::take(&mut exchange.partial);
    heads(exchange, &partial, common, context)
}

/// Heads, of which all but the last are interim ones, and what follows.
fn heads(
    exchange: &mut Exchange,
    mut octets: &[u8],
    common: &mut Common,
    context: &mut Context,
) -> Result<(), Lost> {
    let mut response = std::mem::take(&mut context.http.response);
    let outcome = loop {
        match response.read(octets, limits(context)) {
            Ok(Some(end)) if response.interim() => {
                // HTTP/1.0 does not know them.
                if exchange.version() == Version::Http11 {
                    exchange.down.octets.extend_from_slice(response.original(octets));
                }
                octets = octets.get(end..).unwrap_or_default();
                if octets.is_empty() {
                    break Ok(());
                }
            }
            Ok(Some(end)) => break head(exchange, &mut response, octets, end, common, context),
            Ok(None) => {
                exchange.partial = octets.to_vec();
                break Ok(());
            }
            Err(refused) => {
                tracing::debug!(%refused, "a server's answer is none");
                if let Some(backend) = &common.backend {
                    let capture = capture(octets, Origin::Response, refused, common, context);
                    backend.refused.keep(capture);
                }
                break Err(Lost::Junk);
            }
        }
    };
    context.http.response = response;
    outcome
}

/// The head that counts, and what follows.
fn head(
    exchange: &mut Exchange,
    response: &mut Response,
    octets: &[u8],
    end: usize,
    common: &mut Common,
    context: &mut Context,
) -> Result<(), Lost> {
    let frontend = exchange.frontend.clone();
    let backend = exchange.backend.clone();
    let unwanted = |plan: &crate::plan::Backend| {
        plan.retry_on.statuses.contains(&response.status())
            && exchange.replayable
            && exchange.service.is_none()
            && common.retries < plan.retries
    };
    if backend.as_deref().is_some_and(unwanted) {
        return Err(Lost::Unwanted);
    }
    if response.status() == 101 && !exchange.request.upgrade() {
        return Err(Lost::Junk);
    }
    let length = response.length(&exchange.request, &exchange.head);
    let closes = frontend.as_ref().is_some_and(|plan| plan.http_close)
        || backend.as_ref().is_some_and(|plan| plan.http_close);
    exchange.tunnel = length == Length::Tunnel;
    exchange.keep_server &= response.persistent() && length != Length::UntilClose;
    exchange.keep_client =
        exchange.request.persistent() && length != Length::UntilClose && !closes && !exchange.closing;
    if let Some(joined) = exchange.joined {
        exchange.response_time = Some(context.now.saturating_sub(joined));
    }

    // Whoever makes a server say this may be looking for something.
    if (400..500).contains(&response.status()) {
        tracking::happened(Event::Error, Some(exchange), common, context);
    }
    let (own, rest) = octets.split_at_checked(end).unwrap_or((octets, &[]));
    let mut text = std::mem::take(&mut context.http.scratch);
    text.clear();
    let backend_rules = backend.as_ref().map_or(&[][..], |plan| &plan.response_rules);
    let frontend_rules = frontend.as_ref().map_or(&[][..], |plan| &plan.response_rules);
    let ruled = !backend_rules.is_empty() || !frontend_rules.is_empty();
    if frontend
        .as_ref()
        .is_some_and(|plan| plan.cookie_capture.is_some() || !plan.response_captures.is_empty())
    {
        remember::response(exchange, response, octets);
    }
    let sticky = backend.as_ref().and_then(|plan| plan.cookie.as_ref());
    let sticky = sticky.filter(|_| exchange.service.is_none());
    let persistence = if exchange.keep_client {
        Persistence::KeepAlive
    } else {
        Persistence::Close
    };
    let version = exchange.version();
    let after = rules::has_after(exchange);
    let rewritten = ruled
        || after
        || sticky.is_some()
        || response.irregular()
        || (!exchange.tunnel && !response.says(persistence, version));
    let ruled = if rewritten {
        text.extend_from_slice(own);
        if let Some(cookie) = sticky {
            cookie::response(cookie, exchange, response, &mut text, common, context.wall());
        }
        if ruled && !matches!(exchange.service, Some(Service::Stats { .. })) {
            let first = rules::response(backend_rules, exchange, response, &mut text, common, context);
            match first {
                Ok(Verdict::Allow) => Ok(()),
                Ok(_) => rules::response(frontend_rules, exchange, response, &mut text, common, context)
                    .map(|_| ()),
                Err(status) => Err(status),
            }
        } else {
            Ok(())
        }
    } else {
        Ok(())
    };
    if let Err(status) = ruled {
        context.http.scratch = text;
        exchange.tunnel = false;
        return Err(Lost::Denied(status));
    }
    if after {
        rules::after(exchange, response, &mut text, common, context);
    }
    exchange.status = Some(response.status());
    exchange.download = Some(Body::new(length));
    common.changed = true;
    let outcome = if rewritten {
        if !exchange.tunnel {
            response.set_persistence(&mut text, persistence, version);
        }
        response.write(&text, &mut exchange.down.octets);
        context.http.scratch = text;
        log_early(exchange, common, context);
        pass_body(exchange, rest, common, context)
    } else {
        context.http.scratch = text;
        log_early(exchange, common, context);
        let start = end - response.original(octets).len();
        let taken = take(exchange, rest)?;
        send(
            exchange,
            octets.get(start..end + taken).unwrap_or_default(),
            common,
            context,
        )
    };
    if exchange.tunnel && common.client.ended {
        exchange.keep_client = false;
    }
    outcome
}

/// `option logasap`.
fn log_early(exchange: &mut Exchange, common: &Common, context: &mut Context) {
    if exchange.frontend.as_ref().is_some_and(|plan| plan.log.logasap) {
        let server = common.assigned.as_ref().map(Arc::clone);
        exchange.log(common, server.as_deref(), context);
    }
}

/// How many of these octets belong to the body. What follows its end nobody asked for: its connection is of no more
/// use.
fn take(exchange: &mut Exchange, octets: &[u8]) -> Result<usize, Lost> {
    let Some(body) = &mut exchange.download else {
        return Ok(0);
    };
    match body.take(octets) {
        Ok(taken) => {
            exchange.keep_server &= taken.octets == octets.len();
            Ok(taken.octets)
        }
        Err(refused) => {
            tracing::debug!(%refused, "a server's answer has no end");
            Err(Lost::Cut)
        }
    }
}

/// Octets after the head.
fn pass_body(
    exchange: &mut Exchange,
    octets: &[u8],
    common: &mut Common,
    context: &mut Context,
) -> Result<(), Lost> {
    let taken = take(exchange, octets)?;
    send(exchange, octets.get(..taken).unwrap_or_default(), common, context)
}

/// Sends to the client, after what waits already. What finds no room waits.
fn send(
    exchange: &mut Exchange,
    octets: &[u8],
    common: &mut Common,
    context: &mut Context,
) -> Result<(), Lost> {
    let down = &mut exchange.down;
    if down.rest().len() + octets.len() <= DEFERRED_MAX && context.defer(common.place()) {
        down.octets.extend_from_slice(octets);
        exchange.deferred = true;
        return Ok(());
    }
    if !down.is_empty() && octets.len() <= TOGETHER_MAX {
        down.octets.extend_from_slice(octets);
        return Ok(());
    }
    let client = &mut common.client;
    let mut sent = 0;
    let flushed = match flush(client, &mut down.sent, &down.octets) {
        Flushed::All => flush(client, &mut sent, octets),
        other => other,
    };
    match flushed {
        Flushed::Gone => return Err(Lost::Client),
        Flushed::All | Flushed::Some => common.activity[Side::Client as usize] = context.now,
        Flushed::Nothing => {}
    }
    if down.is_empty() {
        down.clear();
    }
    let rest = octets.get(sent..).unwrap_or_default();
    if !rest.is_empty() {
        down.octets.extend_from_slice(rest);
        common.changed = true;
    }
    Ok(())
}
