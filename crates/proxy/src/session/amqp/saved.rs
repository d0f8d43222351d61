//! A tap on its way to another process.

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use super::flow::{Flow, PausedFlow};
use super::{Ending, Phase, Said, Tap};
use crate::record::AmqpFacts;

/// Everything a [`Tap`] knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    client: PausedFlow,
    server: PausedFlow,
    said: Said,
    phase: Phase,
    ending: Ending,
    channels: Channels,
    facts: AmqpFacts,
    owed: [Vec<u8>; 2],
}

impl Tap {
    /// Everything it knows.
    pub(crate) fn save(&self) -> Saved {
        Saved {
            client: self.client.pause(),
            server: self.server.pause(),
            said: self.said,
            phase: self.phase,
            ending: self.ending.clone(),
            channels: self.channels.clone(),
            facts: AmqpFacts::clone(&self.facts),
            owed: self.owed.each_ref().map(|owed| owed.to_vec()),
        }
    }

    /// Goes on where another one was. Nothing if none can have been there.
    pub(crate) fn restore(saved: Saved) -> Option<Self> {
        Some(Self {
            client: Flow::resume(saved.client)?,
            server: Flow::resume(saved.server)?,
            said: saved.said,
            phase: saved.phase,
            ending: saved.ending,
            channels: saved.channels,
            facts: Box::new(saved.facts),
            owed: saved.owed.map(|owed| BytesMut::from(&owed[..])),
        })
    }
}
