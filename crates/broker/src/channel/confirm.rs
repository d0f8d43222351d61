//! Publisher confirms of a channel: which messages are safe, said in order and many at once.
//!
//! A message that has to be on disk holds back those published after it, even if they need no disk: order lets one ack
//! speak for all before it.

use std::collections::VecDeque;

use warren_amqp::outbox::Outbox;
use warren_amqp::tx;
use warren_cluster::ConfirmTicket;

/// What became of messages, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    last: u64,
    /// How many were said.
    said: u64,
    /// They are commits of transactions, each of which has an answer of its own.
    commits: bool,
    unsaid: VecDeque<Unsaid>,
    /// For this the connection will be woken.
    awaited: Option<ConfirmTicket>,
}

/// Messages in a row with the same fate.
#[derive(Clone, Copy, Debug)]
struct Unsaid {
    first: u64,
    last: u64,
    refused: bool,
    /// They are safe when this is durable.
    ticket: Option<ConfirmTicket>,
}

impl Confirms {
    /// Of a channel that commits transactions.
    pub(crate) fn of_commits() -> Self {
        Self {
            commits: true,
            ..Self::default()
        }
    }

    /// A number for the next message.
    pub(crate) const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A message was `refused`, or is safe when the ticket is durable.
    pub(crate) fn done(&mut self, number: u64, refused: bool, ticket: Option<ConfirmTicket>) {
        match self.unsaid.back_mut() {
            // What needs no disk waits with what was published before it.
            Some(before) if !refused && !before.refused && (ticket == before.ticket || ticket.is_none()) => {
                before.last = number;
            }
            _ => self.unsaid.push_back(Unsaid {
                first: number,
                last: number,
                refused,
                ticket,
            }),
        }
    }

    /// How many the publisher waits to hear of.
    pub(crate) const fn unconfirmed(&self) -> u64 {
        self.last - self.said
    }

    /// Says what can be said by now. Gives how many were confirmed.
    pub(crate) fn say(
        &mut self,
        channel: u16,
        outbox: &mut Outbox,
        is_durable: impl Fn(ConfirmTicket) -> bool,
    ) -> u64 {
        let mut confirmed = 0;
        let mut safe: Option<(u64, u64)> = None;
        while let Some(next) = self
            .unsaid
            .pop_front_if(|next| next.ticket.is_none_or(&is_durable))
        {
            self.said = next.last;
            if self.commits {
                for _ in next.first..=next.last {
                    // It fits into every frame.
                    outbox.method(channel, tx::CommitOk {}).ok();
                }
            } else if next.refused {
                acknowledge(channel, safe.take(), outbox);
                (next.first..=next.last).for_each(|number| outbox.nack(channel, number, false, false));
            } else {
                confirmed += next.last - next.first + 1;
                safe = Some((safe.map_or(next.first, |(first, _)| first), next.last));
            }
        }
        acknowledge(channel, safe, outbox);
        confirmed
    }

    /// What is waited for, if anything is; each is said once.
    pub(crate) fn awaits(&mut self) -> Option<ConfirmTicket> {
        let first = self.unsaid.front()?.ticket;
        if first == self.awaited {
            return None;
        }
        self.awaited = first;
        first
    }
}

fn acknowledge(channel: u16, range: Option<(u64, u64)>, outbox: &mut Outbox) {
    if let Some((first, last)) = range {
        outbox.ack(channel, last, last > first);
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfirmTicket, Confirms, Outbox};
    use bytes::Buf;
    use warren_amqp::FrameMax;

    /// What was said, as tags and whether all before were meant.
    fn said(confirms: &mut Confirms, durable: u64) -> Vec<(u8, u64, bool)> {
        let mut outbox = Outbox::new(FrameMax::DEFAULT);
        confirms.say(1, &mut outbox, |ticket| ticket.number() < durable);
        let octets = outbox.copy_to_bytes(outbox.remaining());
        octets
            .chunks(21)
            .map(|frame| {
                (
                    frame[10],
                    u64::from_be_bytes(frame[11..19].try_into().unwrap()),
                    frame[19] & 1 == 1,
                )
            })
            .collect()
    }

    #[test]
    fn one_ack_speaks_for_all_that_one_write_made_safe() {
        let mut confirms = Confirms::default();
        for _ in 0..3 {
            let number = confirms.next();
            confirms.done(number, false, Some(ConfirmTicket::new(5)));
        }
        let number = confirms.next();
        confirms.done(number, false, None);
        assert_eq!(said(&mut confirms, 5), []);
        assert_eq!(confirms.awaits(), Some(ConfirmTicket::new(5)));
        assert_eq!(confirms.awaits(), None, "it has been said");
        assert_eq!(said(&mut confirms, 6), [(80, 4, true)]);
        assert_eq!(confirms.awaits(), None);
    }

    #[test]
    fn a_refused_message_is_said_by_itself_and_in_order() {
        let mut confirms = Confirms::default();
        for refused in [false, true, false, false] {
            let number = confirms.next();
            confirms.done(number, refused, None);
        }
        assert_eq!(
            said(&mut confirms, 0),
            [(80, 1, false), (120, 2, false), (80, 4, true)]
        );
    }
}
