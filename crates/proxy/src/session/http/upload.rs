//! From the client to the server.

use super::lost::Lost;
use super::moving::Step;
use super::{BUFFERS_PER_TURN, Http, Passed};

use crate::session::endpoint::{Endpoint, Received, Sent};
use crate::session::{Common, Side};
use crate::worker::context::Context;

impl Http {
    /// Passes on what comes of the request, until there is no more of it.
    pub(super) fn upload(&mut self, common: &mut Common, context: &mut Context) -> Result<Passed, Lost> {
        for _ in 0..BUFFERS_PER_TURN {
            let Some(exchange) = &mut self.exchange else {
                return Ok(Passed::Waits);
            };
            if let Some(server) = &mut common.server
                && !exchange.upload_lost
            {
                match flush(server, &mut exchange.up.sent, &exchange.up.octets) {
                    Flushed::All => {}
                    Flushed::Some => {
                        common.activity[Side::Server as usize] = context.now;
                        common.changed = true;
                        return Ok(Passed::Waits);
                    }
                    Flushed::Nothing => return Ok(Passed::Waits),
                    // It may have answered before it closed: reading on will tell.
                    Flushed::Gone => {
                        exchange.upload_lost = true;
                        server.readable = true;
                        common.changed = true;
                    }
                }
            }
            if let Some(server) = &mut common.server
                && exchange.joined.is_some()
                && !exchange.upload_lost
            {
                let (client, pipes) = (&mut common.client, &mut context.pipes);
                match exchange
                    .moved_up
                    .step(&mut exchange.upload, client, server, pipes)
                {
                    Step::Took(count) => {
                        exchange.replayable = false;
                        common.activity[Side::Client as usize] = context.now;
                        common.count(Side::Client, count, context);
                        context.pipes.count_moved(count);
                        continue;
                    }
                    Step::Gave => {
                        common.activity[Side::Server as usize] = context.now;
                        common.changed = true;
                        continue;
                    }
                    Step::Waits => {
                        common.changed |= exchange.moved_up.owes();
                        return Ok(Passed::Waits);
                    }
                    Step::SinkGone => {
                        exchange.upload_lost = true;
                        server.readable = true;
                        common.changed = true;
                    }
                    Step::Copy => {}
                }
            }
            if !exchange.uploading() || common.server.is_none() {
                self.watch_client(common, context)?;
                return Ok(Passed::Waits);
            }
            if !self.upload_some(common, context)? {
                return Ok(Passed::Waits);
            }
        }
        Ok(Passed::More)
    }

    /// One buffer of the body. False if nothing has come, or found room.
    fn upload_some(&mut self, common: &mut Common, context: &mut Context) -> Result<bool, Lost> {
        let (Some(exchange), Some(server)) = (&mut self.exchange, &mut common.server) else {
            return Ok(false);
        };
        if !common.client.readable || !server.writable {
            return Ok(false);
        }
        let mut buffer = std::mem::take(&mut context.buffer);
        let received = common.client.recv(&mut buffer);
        let outcome = match received {
            Received::Data(count) => {
                let octets = buffer.get(..count).unwrap_or_default();
                exchange.upload.take(octets).map(|taken| {
                    let (body, ahead) = octets.split_at_checked(taken.octets).unwrap_or((octets, &[]));
                    self.ahead.extend_from_slice(ahead);
                    exchange.replayable = false;
                    exchange.up.replace(body);
                    let _gone = flush(server, &mut exchange.up.sent, &exchange.up.octets);
                    Some(body.len())
                })
            }
            Received::Wait => Ok(None),
            Received::End | Received::Failed(_) => {
                context.buffer = buffer;
                return Err(Lost::Client);
            }
        };
        context.buffer = buffer;
        match outcome {
            Ok(Some(count)) => {
                common.activity = [context.now; 2];
                common.count(Side::Client, count, context);
                common.changed = true;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(refused) => Err(Lost::Upload(refused)),
        }
    }

    /// While the client has nothing to say it may leave, or send another request, which waits.
    pub(super) fn watch_client(&mut self, common: &mut Common, context: &mut Context) -> Result<(), Lost> {
        if !common.client.readable || !self.ahead.is_empty() || common.client.ended {
            return Ok(());
        }
        match common.client.recv(&mut context.buffer) {
            Received::Data(count) => {
                let octets = context.buffer.get(..count).unwrap_or_default();
                self.ahead.extend_from_slice(octets);
                Ok(())
            }
            // It may close its direction and still wait for the response.
            Received::Wait | Received::End => Ok(()),
            Received::Failed(_) => Err(Lost::Client),
        }
    }
}

/// What became of octets that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// All are on their way.
    All,
    /// Some are.
    Some,
    /// There was no room.
    Nothing,
    /// The connection is gone.
    Gone,
}

/// Sends what is left.
pub(super) fn flush(endpoint: &mut Endpoint, sent: &mut usize, octets: &[u8]) -> Flushed {
    let mut flushed = Flushed::Nothing;
    if endpoint.wants_flush() && endpoint.writable {
        match endpoint.flush() {
            Ok(true) => flushed = Flushed::Some,
            Ok(false) => return Flushed::Nothing,
            Err(_) => return Flushed::Gone,
        }
    }
    while let Some(rest) = octets.get(*sent..).filter(|rest| !rest.is_empty()) {
        if !endpoint.writable {
            return flushed;
        }
        match endpoint.send(rest) {
            Sent::Octets(count) => {
                *sent += count;
                flushed = Flushed::Some;
            }
            Sent::Wait => return flushed,
            Sent::Failed(_) => return Flushed::Gone,
        }
    }
    if endpoint.wants_flush() {
        flushed
    } else {
        Flushed::All
    }
}
