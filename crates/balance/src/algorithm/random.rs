//! The least loaded of a few servers drawn by weight.
//!
//! HAProxy manual, `balance random`: weights are respected, changes take effect at once, and two draws keep the
//! maximum load far below that of one draw. If every server drawn is full, the next one with a free slot is taken.

use std::num::NonZeroU8;

use super::leastconn::Burden;
use super::{Request, Server};
use crate::hash::mix;
use crate::types::ServerId;

#[derive(Clone, Debug)]
pub(super) struct Random {
    draws: NonZeroU8,
    /// Sums of the candidates' shares up to and including each.
    sums: Vec<u32>,
}

impl Random {
    pub(super) const fn new(draws: NonZeroU8) -> Self {
        Self {
            draws,
            sums: Vec::new(),
        }
    }

    pub(super) fn update(&mut self, candidates: &[Server]) {
        // 4095 shares of at most 65536 fit.
        self.sums = candidates
            .iter()
            .scan(0_u32, |sum, server| {
                *sum += server.share.get();
                Some(*sum)
            })
            .collect();
    }

    pub(super) fn choose(&self, candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
        let drawn = |draw: u8| candidates.get(self.position(request.entropy, draw));
        (0..self.draws.get())
            .filter_map(drawn)
            .filter(|server| request.accepts(server))
            .min_by(|one, other| Burden::of(one, request).cmp(&Burden::of(other, request)))
            .or_else(|| {
                let start = self.position(request.entropy, 0);
                let (before, after) = candidates.split_at_checked(start)?;
                after.iter().chain(before).find(|server| request.accepts(server))
            })
            .map(|server| server.id)
    }

    /// Where draw number `draw` falls: a server's probability is its part of the sum.
    fn position(&self, entropy: u64, draw: u8) -> usize {
        let bits = mix(entropy.wrapping_add(mix(u64::from(draw))));
        let total = u64::from(self.sums.last().copied().unwrap_or(0));
        // The upper half of the bits as a fraction of the total; the bias is at most total / 2^32.
        let point = ((bits >> 32) * total) >> 32;
        self.sums.partition_point(|sum| u64::from(*sum) <= point)
    }
}
