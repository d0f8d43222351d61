//! Publisher confirms of a channel: which messages are safe, said in order and many at once.
//!
//! A message that has to be on disk holds back those published after it, even if they need no disk: order lets one ack
//! speak for all before it.

use std::collections::VecDeque;

use warren_amqp::outbox::Outbox;

/// What became of messages, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    last: u64,
    /// How many were said.
    said: u64,
    /// Not said yet.
    done: VecDeque<(u64, bool)>,
}

impl Confirms {
    /// A number for the next message.
    pub(crate) const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A message is where it has to be, or was `refused`.
    pub(crate) fn done(&mut self, number: u64, refused: bool) {
        self.done.push_back((number, refused));
    }

    /// How many the publisher waits to hear of.
    pub(crate) const fn unconfirmed(&self) -> u64 {
        self.last - self.said
    }

    /// Says it. Gives how many were confirmed.
    pub(crate) fn say(&mut self, channel: u16, outbox: &mut Outbox) -> u64 {
        let mut confirmed = 0;
        self.said += self.done.len() as u64;
        let mut unsaid: Option<(u64, u64)> = None;
        for (number, refused) in self.done.drain(..) {
            if refused {
                acknowledge(channel, unsaid.take(), outbox);
                outbox.nack(channel, number, false, false);
            } else {
                confirmed += 1;
                unsaid = Some((unsaid.map_or(number, |(first, _)| first), number));
            }
        }
        acknowledge(channel, unsaid, outbox);
        confirmed
    }
}

fn acknowledge(channel: u16, range: Option<(u64, u64)>, outbox: &mut Outbox) {
    if let Some((first, last)) = range {
        outbox.ack(channel, last, last > first);
    }
}
