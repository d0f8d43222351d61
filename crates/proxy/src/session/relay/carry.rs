//! What is between both sides of a relayed connection, as it travels to another process.

use super::{Pending, Relay, Tap};
use crate::handover::JoinedRecord;
use crate::session::amqp::Saved;
use crate::worker::context::Context;

impl Relay {
    /// What was read from client and server and not sent yet, and what the tap knows. Pipes are emptied; what was in
    /// them is kept as well, should it not travel after all. `None`: the kernel does not give back what is in one.
    pub(crate) fn between(&mut self, context: &mut Context) -> Option<([Vec<u8>; 2], Option<Saved>)> {
        for way in &mut self.ways {
            if let Some(pipe) = &mut way.piped {
                let octets = pipe.take_out().ok()?;
                way.pending = (!octets.is_empty()).then(|| Box::new(Pending { octets, sent: 0 }));
                way.drop_pipe(context);
            }
        }
        let held = self.ways.each_ref().map(|way| match &way.pending {
            Some(pending) => pending.octets.get(pending.sent..).unwrap_or_default().to_vec(),
            None => Vec::new(),
        });
        Some((held, self.tap.as_ref().map(|tap| tap.save())))
    }

    /// The same connection in another process. A tap that no tap can have been looks on no more: octets are octets.
    pub(crate) fn unpack(record: JoinedRecord) -> Self {
        let mut relay = Self {
            tap: record.tap.and_then(Tap::restore).map(Box::new),
            ..Self::default()
        };
        for (way, octets) in relay.ways.iter_mut().zip(record.held) {
            way.pending = (!octets.is_empty()).then(|| Box::new(Pending { octets, sent: 0 }));
        }
        relay
    }
}
