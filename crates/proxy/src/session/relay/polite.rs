//! How a relayed connection is ended without harm: in mode amqp the client is told at a frame boundary and answers, in
//! mode tcp it may go on for the time it is given.

use super::super::amqp::End;
use super::{Common, Context, Flow, Gone, Passed, Pending, Relay, Side, Way};
use crate::record::{AmqpFacts, Cause, Phase, Termination};

/// How long a side may take to answer when the other one is gone, in milliseconds.
const ANSWER: u64 = 5_000;

impl Relay {
    /// It is to end: what has to be said is said. The rest of the time it has, [`Common::leaving`], is for answers.
    pub(crate) fn end(&mut self, cause: Cause, common: &mut Common, context: &mut Context) -> Flow {
        if self.tap.is_some() {
            let termination = Termination::new(cause, Phase::Normal);
            common.termination.get_or_insert(termination);
        }
        match self.tap.as_mut().map(|tap| tap.end(cause)) {
            Some(End::Close) => Flow::End,
            Some(End::Going) => {
                self.pay(common, context);
                self.drive(common, context)
            }
            None => Flow::Stay,
        }
    }

    /// Silence of this side has lasted too long. A client of a silent server is told.
    pub(crate) fn expire(&mut self, side: Side, common: &mut Common, context: &mut Context) -> Flow {
        let cause = match side {
            Side::Client => Cause::ClientTimeout,
            Side::Server => Cause::ServerTimeout,
        };
        let flow = common.end(Termination::new(cause, Phase::Data));
        let first = common.leaving.is_none();
        match &mut common.server {
            Some(server) if side == Side::Server && first && self.tap.is_some() => {
                server.ended = true;
                self.close_politely(common, context).unwrap_or(flow)
            }
            Some(_) | None => flow,
        }
    }

    /// Whether it is AMQP and could be ended now without anybody losing anything.
    pub(crate) fn is_movable(&self) -> bool {
        self.ways.iter().all(Way::is_empty) && self.tap.as_ref().is_some_and(|tap| tap.is_movable())
    }

    /// What is known of the AMQP connection, if it is one.
    pub(crate) fn amqp(&self) -> Option<AmqpFacts> {
        self.tap.as_ref().map(|tap| tap.facts())
    }

    /// What another server may be told instead of this one, which left without a word.
    pub(crate) fn replay(&self, common: &Common) -> Option<Vec<u8>> {
        let left = common.server.as_ref().is_some_and(|server| server.ended) && !common.client.ended;
        let tap = self.tap.as_ref().filter(|_| left && common.leaving.is_none())?;
        tap.replay()
    }

    /// Puts what the tap has to say behind what waits already, and sees to it that it is sent.
    pub(super) fn pay(&mut self, common: &mut Common, context: &mut Context) {
        let Some(tap) = self.tap.as_mut().filter(|tap| tap.owes()) else {
            return;
        };
        for from in [Side::Client, Side::Server] {
            let owed = tap.take_owed(from.into());
            if !owed.is_empty() {
                let way = &mut self.ways[from as usize];
                let pending = way.pending.get_or_insert_with(|| Box::new(Pending::default()));
                pending.octets.extend_from_slice(&owed);
            }
        }
        context.again(common);
    }

    /// In mode amqp, if one side is gone or both know that it ends: what follows. `None`: it closes as octets do.
    pub(super) fn close_politely(&mut self, common: &mut Common, context: &mut Context) -> Option<Flow> {
        let client_gone = common.client.ended;
        let server_gone = common.server.as_ref().is_none_or(|server| server.ended);
        let tap = self.tap.as_mut()?;
        if !client_gone && !server_gone && !tap.is_answered() {
            return None;
        }
        if server_gone && !client_gone && common.leaving.is_none() && tap.replay().is_some() {
            // For the session, which knows whether there is another server.
            return Some(Flow::Stay);
        }
        if client_gone && tap.client_gone() == End::Close || server_gone && tap.server_gone() == End::Close {
            return None;
        }
        // What is read is dropped, and what would be sent to who is gone as well.
        if client_gone {
            self.ways[Side::Server as usize].pending = None;
            common.client.writable = true;
        }
        if let Some(server) = common.server.as_mut().filter(|_| server_gone) {
            self.ways[Side::Client as usize].pending = None;
            server.writable = true;
            common
                .termination
                .get_or_insert(Termination::new(Cause::ServerAborted, Phase::Data));
        }
        if common.leaving.is_none() {
            common.hurry(Cause::ServerAborted, context.now + ANSWER);
            context.again(common);
        }
        self.pay(common, context);
        let (over, answered) = self
            .tap
            .as_ref()
            .map_or((true, true), |tap| (tap.is_over(), tap.is_answered()));
        if answered && self.ways[Side::Server as usize].pending.is_none() {
            common.client.shutdown_write();
        }
        let done = self.ways.iter().all(|way| way.pending.is_none());
        Some(if over && done { Flow::End } else { Flow::Stay })
    }

    /// The server's connection is gone. What it sent before is still for the client.
    pub(super) fn lose_server(
        &mut self,
        gone: Gone,
        common: &mut Common,
        context: &mut Context,
    ) -> Option<Flow> {
        self.tap.as_ref()?;
        self.ways[Side::Client as usize].pending = None;
        if let (Gone::Writing(_), Some(server)) = (gone, &mut common.server)
            && !server.ended
        {
            server.readable = true;
            match self.pass(Side::Server, common, context) {
                Ok(Passed::Waits) => {}
                Ok(Passed::More) => context.again(common),
                Err(Gone::Reading(Side::Server) | Gone::Writing(Side::Server)) => {}
                Err(Gone::Reading(Side::Client) | Gone::Writing(Side::Client)) => {
                    return Some(Flow::End);
                }
            }
            if common.server.as_ref().is_some_and(|server| !server.ended) {
                // There is more, and the client does not take it yet.
                return Some(Flow::Stay);
            }
        }
        self.close_politely(common, context)
    }
}
