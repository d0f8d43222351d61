//! The channels of a connection, and what would be lost if it ended now.
//!
//! Delivery tags count from 1 on each channel, so which messages are unsettled follows from how many were delivered and
//! which tags came back. Where that is not enough the answer is the careful one: more is unsettled than really is.
//!
//! Absent on purpose: which consumer a delivery is for. A channel that once had a consumer with acknowledgements counts
//! every later delivery.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use warren_amqp::glance::Glance;

/// Tags settled out of order that are remembered for each channel. Beyond it the channel counts as unsettled until it
/// is closed.
const OUT_OF_ORDER_MAX: usize = 4096;

/// Channels that are followed; a broker allows 2047 unless told otherwise. With more, the connection stays where it is.
const CHANNELS_MAX: usize = 4096;

/// All channels of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channels {
    /// By number, in order.
    open: Vec<Channel>,
    /// There are more than are followed.
    too_many: bool,
    /// A queue ends with the connection.
    exclusive: bool,
    /// Messages published.
    published: u64,
    /// Messages delivered.
    delivered: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Channel {
    number: u16,
    /// Messages have to be settled.
    settles: bool,
    transactional: bool,
    /// It cannot be said any more what is settled.
    unsure: bool,
    /// The last delivery tag.
    delivered: u64,
    /// All tags up to this one are settled.
    floor: u64,
    /// Beyond the floor, those that are.
    above: BTreeSet<u64>,
}

impl Channels {
    /// A method has passed on this channel.
    pub(super) fn see(&mut self, number: u16, glance: Glance) {
        match glance {
            Glance::Opens => return self.open(number),
            Glance::Closed => return self.closed(number),
            Glance::Exclusive => self.exclusive = true,
            Glance::Publishes => self.published = self.published.wrapping_add(1),
            Glance::Delivers => self.delivered = self.delivered.wrapping_add(1),
            Glance::Settles { .. } | Glance::Takes { .. } | Glance::Transacts | Glance::Recovers => {}
        }
        if let Ok(place) = self.place(number)
            && let Some(channel) = self.open.get_mut(place)
        {
            channel.see(glance);
        }
    }

    fn open(&mut self, number: u16) {
        if let Err(place) = self.place(number) {
            if self.open.len() >= CHANNELS_MAX {
                self.too_many = true;
                return;
            }
            self.open.insert(
                place,
                Channel {
                    number,
                    ..Channel::default()
                },
            );
        }
    }

    fn closed(&mut self, number: u16) {
        if let Ok(place) = self.place(number) {
            self.open.remove(place);
        }
    }

    fn place(&self, number: u16) -> Result<usize, usize> {
        self.open.binary_search_by_key(&number, |channel| channel.number)
    }

    /// How many are open.
    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.open.len()).unwrap_or(u16::MAX)
    }

    /// Messages that the client has and has not settled; rather too many than too few.
    pub(super) fn unsettled(&self) -> u64 {
        self.open.iter().map(Channel::unsettled).sum()
    }

    /// Messages published and delivered.
    pub(super) const fn messages(&self) -> [u64; 2] {
        [self.published, self.delivered]
    }

    /// Whether nobody would lose anything, as far as can be known.
    pub(super) fn are_idle(&self) -> bool {
        !self.exclusive
            && !self.too_many
            && self
                .open
                .iter()
                .all(|channel| !channel.transactional && !channel.unsure && channel.unsettled() == 0)
    }
}

impl Channel {
    fn see(&mut self, glance: Glance) {
        match glance {
            Glance::Delivers => self.delivered += 1,
            Glance::Settles { tag, multiple } => self.settle(tag, multiple),
            Glance::Takes { no_ack: false } if !self.settles => {
                // What came before was for consumers that do not settle.
                self.settles = true;
                self.floor = self.delivered;
                self.above.clear();
            }
            Glance::Transacts => self.transactional = true,
            Glance::Recovers => self.unsure = true,
            Glance::Opens | Glance::Closed | Glance::Publishes | Glance::Takes { .. } | Glance::Exclusive => {
            }
        }
    }

    fn settle(&mut self, tag: u64, multiple: bool) {
        if tag > self.delivered {
            // The server will close the channel for it.
            return;
        }
        match (tag, multiple) {
            (0, true) => self.floor = self.delivered,
            (tag, true) => self.floor = self.floor.max(tag),
            (tag, false) if tag > self.floor => {
                if self.above.len() >= OUT_OF_ORDER_MAX {
                    self.unsure = true;
                } else {
                    self.above.insert(tag);
                }
            }
            (_, false) => {}
        }
        while let Some(lowest) = self.above.first().copied()
            && lowest <= self.floor + 1
        {
            self.above.pop_first();
            self.floor = self.floor.max(lowest);
        }
    }

    fn unsettled(&self) -> u64 {
        match self.settles {
            true => self
                .delivered
                .saturating_sub(self.floor + self.above.len() as u64),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channels(glances: &[Glance]) -> Channels {
        let mut channels = Channels::default();
        channels.see(1, Glance::Opens);
        for glance in glances {
            channels.see(1, *glance);
        }
        channels
    }

    const CONSUMES: Glance = Glance::Takes { no_ack: false };

    fn settles(tag: u64, multiple: bool) -> Glance {
        Glance::Settles { tag, multiple }
    }

    #[test]
    fn a_connection_with_unsettled_messages_is_not_idle() {
        let channels = channels(&[CONSUMES, Glance::Delivers]);
        assert_eq!((channels.unsettled(), channels.are_idle()), (1, false));
    }

    #[test]
    fn messages_that_nobody_settles_do_not_count() {
        let channels = channels(&[Glance::Takes { no_ack: true }, Glance::Delivers]);
        assert_eq!((channels.unsettled(), channels.are_idle()), (0, true));
        assert_eq!(channels.messages(), [0, 1]);
    }

    #[test]
    fn a_consumer_that_settles_counts_only_what_comes_after_it() {
        let no_ack = Glance::Takes { no_ack: true };
        let channels = channels(&[
            no_ack,
            Glance::Delivers,
            CONSUMES,
            Glance::Delivers,
            settles(2, false),
        ]);
        assert_eq!((channels.unsettled(), channels.are_idle()), (0, true));
    }

    #[test]
    fn all_at_once_may_be_settled_by_tag_zero() {
        let channels = channels(&[CONSUMES, Glance::Delivers, Glance::Delivers, settles(0, true)]);
        assert_eq!(channels.unsettled(), 0);
    }

    #[test]
    fn transactions_exclusive_queues_and_recovery_keep_a_connection_where_it_is() {
        for glance in [Glance::Transacts, Glance::Exclusive, Glance::Recovers] {
            assert!(!channels(&[glance]).are_idle(), "{glance:?}");
        }
        let mut channels = channels(&[Glance::Transacts]);
        channels.see(1, Glance::Closed);
        assert!(channels.are_idle());
    }

    #[test]
    fn more_channels_than_are_followed_keep_a_connection_where_it_is() {
        let mut channels = Channels::default();
        for number in 0..=CHANNELS_MAX {
            assert!(channels.are_idle(), "with {number} channels");
            channels.see(u16::try_from(number).unwrap(), Glance::Opens);
        }
        assert!(!channels.are_idle());
    }

    #[test]
    fn a_closed_channel_leaves_nothing_unsettled() {
        let mut channels = channels(&[CONSUMES, Glance::Delivers]);
        channels.see(1, Glance::Closed);
        assert_eq!(
            (channels.count(), channels.unsettled(), channels.are_idle()),
            (0, 0, true)
        );
    }

    #[test]
    fn more_out_of_order_than_is_remembered_is_never_called_settled() {
        let mut channels = channels(&[CONSUMES]);
        for _ in 0..OUT_OF_ORDER_MAX + 2 {
            channels.see(1, Glance::Delivers);
        }
        for tag in 2..OUT_OF_ORDER_MAX as u64 + 3 {
            channels.see(1, settles(tag, false));
        }
        channels.see(1, settles(0, true));
        assert!(!channels.are_idle());
    }

    proptest! {
        #[test]
        fn what_is_unsettled_is_what_a_list_of_tags_says(
            steps in prop::collection::vec((0..4_u8, 0..12_u64), 0..120),
        ) {
            let mut channels = channels(&[CONSUMES]);
            let (mut last, mut list) = (0, BTreeSet::new());
            for (step, tag) in steps {
                match step {
                    0 | 1 => {
                        last += 1;
                        list.insert(last);
                        channels.see(1, Glance::Delivers);
                    }
                    2 => {
                        list.remove(&tag);
                        channels.see(1, settles(tag, false));
                    }
                    _ => {
                        if tag <= last {
                            list.retain(|one| tag != 0 && *one > tag);
                        }
                        channels.see(1, settles(tag, true));
                    }
                }
                prop_assert_eq!(channels.unsettled(), list.len() as u64);
            }
        }
    }
}
