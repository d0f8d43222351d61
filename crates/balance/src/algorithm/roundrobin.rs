//! Smooth weighted turns.
//!
//! A server of share `s` has `s` turns in every round, at the odd multiples of `1 / 2s` of the round; the earliest
//! turn is next, and of equals the server that stands first in the configuration:
//!
//! ```text
//!   share 3   ──┬─────┬─────┬──      after a round everybody had exactly its share,
//!   share 1   ────────┬────────      at any moment nobody is more than half a turn off it
//! ```
//!
//! The turns wait in a heap, so a choice costs O(log n). Only the ratio of shares matters: 256 and 512 alternate
//! exactly as 1 and 2.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use super::{Request, Server};
use crate::types::ServerId;

#[derive(Clone, Debug, Default)]
pub(super) struct RoundRobin {
    turns: BinaryHeap<Reverse<Turn>>,
    /// The turn taken last: where in the round we are.
    now: Moment,
    /// Turns passed over in one choice, kept to spare an allocation.
    passed: Vec<Reverse<Turn>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: Moment,
    /// Index among the candidates; the smaller goes first of equals.
    position: usize,
    id: ServerId,
}

/// `round + (2 * step + 1) / (2 * share)`, kept as the three integers so that nothing is ever rounded.
#[derive(Clone, Copy, Debug)]
struct Moment {
    round: u64,
    step: u32,
    share: u32,
}

impl RoundRobin {
    pub(super) fn update(&mut self, candidates: &[Server]) {
        let known: HashMap<ServerId, Moment> = self
            .turns
            .drain()
            .map(|Reverse(turn)| (turn.id, turn.at))
            .collect();
        let now = self.now;
        self.turns = candidates
            .iter()
            .enumerate()
            .map(|(position, server)| {
                let share = server.share.get();
                let kept = known.get(&server.id).filter(|at| at.share == share);
                let at = kept.copied().unwrap_or_else(|| now.next_of(share));
                Reverse(Turn {
                    at,
                    position,
                    id: server.id,
                })
            })
            .collect();
    }

    pub(super) fn choose(&mut self, candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
        let mut chosen = None;
        while let Some(Reverse(turn)) = self.turns.pop() {
            if candidates
                .get(turn.position)
                .is_some_and(|server| request.accepts(server))
            {
                self.now = self.now.max(turn.at);
                // Who was passed over for long does not catch up by taking every turn from now on.
                let at = turn.at.following().max(self.now.previous_of(turn.at.share));
                self.turns.push(Reverse(Turn { at, ..turn }));
                chosen = Some(turn.id);
                break;
            }
            self.passed.push(Reverse(turn));
        }
        self.turns.extend(self.passed.drain(..));
        chosen
    }
}

impl Moment {
    /// The turn after this one of the same server.
    const fn following(self) -> Self {
        if self.step + 1 < self.share {
            Self {
                step: self.step + 1,
                ..self
            }
        } else {
            Self {
                round: self.round + 1,
                step: 0,
                ..self
            }
        }
    }

    /// The turn that a server of `share` takes at this moment at the latest: the last one not after it.
    fn previous_of(self, share: u32) -> Self {
        // (2k + 1) / 2s <= (2step + 1) / 2share  <=>  2k + 1 <= s (2step + 1) / share
        let odd = u64::from(share) * (2 * u64::from(self.step) + 1) / u64::from(self.share.max(1));
        match odd.checked_sub(1) {
            Some(twice) => Self {
                round: self.round,
                step: u32::try_from(twice / 2)
                    .unwrap_or(u32::MAX)
                    .min(share.saturating_sub(1)),
                share,
            },
            // None in this round yet, so it is the last of the round before.
            None => Self {
                round: self.round.saturating_sub(1),
                step: if self.round == 0 {
                    0
                } else {
                    share.saturating_sub(1)
                },
                share,
            },
        }
    }

    /// The first turn of a server of `share` after this moment.
    fn next_of(self, share: u32) -> Self {
        let first = Self {
            round: self.round,
            step: 0,
            share,
        };
        if first > self {
            first
        } else {
            self.previous_of(share).following()
        }
    }
}

impl Default for Moment {
    /// The beginning: before every turn.
    fn default() -> Self {
        Self {
            round: 0,
            step: 0,
            share: u32::MAX,
        }
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        let odd = |moment: &Self| 2 * u64::from(moment.step) + 1;
        self.round
            .cmp(&other.round)
            .then_with(|| (odd(self) * u64::from(other.share)).cmp(&(odd(other) * u64::from(self.share))))
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Moment {}
