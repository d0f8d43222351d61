//! What is between both sides of a relayed connection, as it travels to another process.

use super::{Pending, Relay, Tap};
use crate::handover::RelayRecord;
use crate::worker::context::Context;

impl Relay {
    /// What was read from client and server and not sent yet, and what the tap knows. Pipes are emptied; what was in
    /// them is kept as well, should it not travel after all. `None`: the kernel does not give back what is in one.
    pub(crate) fn between(&mut self, context: &mut Context) -> Option<RelayRecord> {
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
        let tap = self.tap.as_ref().map(|tap| Box::new(tap.save()));
        Some(RelayRecord { held, tap })
    }

    /// The same connection in another process. A tap that no tap can have been looks on no more: octets are octets.
    pub(crate) fn unpack(record: RelayRecord) -> Self {
        let mut relay = Self {
            tap: record.tap.and_then(|saved| Tap::restore(*saved)).map(Box::new),
            ..Self::default()
        };
        for (way, octets) in relay.ways.iter_mut().zip(record.held) {
            way.pending = (!octets.is_empty()).then(|| Box::new(Pending { octets, sent: 0 }));
        }
        relay
    }
}
