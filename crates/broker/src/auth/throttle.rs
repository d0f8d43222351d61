//! Who tries passwords waits: the more often an address failed, the longer until its next attempt is looked at, one after
//! another. Those whose credentials are known to be right do not come here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Failures that cost nothing: people mistype, and so do configuration files.
const FREE: u32 = 5;
/// The first wait; it doubles with each failure.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(3);
/// Who would have to wait longer than this for his turn is refused at once.
const QUEUE: Duration = Duration::from_secs(6);
/// After so long without a failure all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// Addresses that are remembered.
const SOURCES_MAX: usize = 4096;

/// What is remembered of addresses.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<IpAddr, Source>);

#[derive(Debug)]
struct Source {
    failures: u32,
    last: Instant,
    /// When it is the next one's turn.
    turn: Instant,
}

impl Throttle {
    /// How long this attempt has to wait; `None`: others wait already for as long as anybody may.
    pub(super) fn wait(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let Some(source) = self.0.get_mut(&network(address)) else {
            return Some(Duration::ZERO);
        };
        if now.saturating_duration_since(source.last) > FORGOTTEN {
            self.0.remove(&network(address));
            return Some(Duration::ZERO);
        }
        let Some(doublings) = source.failures.checked_sub(FREE) else {
            return Some(Duration::ZERO);
        };
        let step = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        let turn = source.turn.max(now) + step;
        let wait = turn.saturating_duration_since(now);
        if wait > QUEUE {
            return None;
        }
        source.turn = turn;
        Some(wait)
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) {
        if self.0.len() >= SOURCES_MAX && !self.0.contains_key(&network(address)) {
            self.make_room(now);
        }
        let source = self.0.entry(network(address)).or_insert(Source {
            failures: 0,
            last: now,
            turn: now,
        });
        source.failures = source.failures.saturating_add(1);
        source.last = now;
    }

    /// Who waits when he tries again, and how often he failed.
    pub(super) fn slowed(&self, now: Instant) -> Vec<(IpAddr, u32)> {
        let slowed = self.0.iter().filter(|(_, source)| {
            source.failures >= FREE && now.saturating_duration_since(source.last) <= FORGOTTEN
        });
        slowed
            .map(|(address, source)| (*address, source.failures))
            .collect()
    }

    fn make_room(&mut self, now: Instant) {
        self.0
            .retain(|_, source| now.saturating_duration_since(source.last) <= FORGOTTEN);
        let oldest = self.0.iter().min_by_key(|(_, source)| source.last);
        if let Some(oldest) = oldest.map(|(address, _)| *address)
            && self.0.len() >= SOURCES_MAX
        {
            self.0.remove(&oldest);
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + last).into()
    }

    #[test]
    fn the_first_failures_cost_nothing_and_the_next_ever_more() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let mut waits = Vec::new();
        for attempt in 0..12_u64 {
            let now = now + Duration::from_secs(10 * attempt);
            waits.push(throttle.wait(address(1), now).unwrap().as_millis());
            throttle.failed(address(1), now);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(
            throttle.wait(address(2), now),
            Some(Duration::ZERO),
            "others do not wait"
        );
        assert_eq!(
            throttle.wait(address(1), now + Duration::from_secs(1000)),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn many_at_once_wait_one_after_another_until_there_are_too_many() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..20 {
            throttle.failed(address(1), now);
        }
        assert_eq!(throttle.wait(address(1), now), Some(Duration::from_secs(3)));
        assert_eq!(throttle.wait(address(1), now), Some(Duration::from_secs(6)));
        assert_eq!(throttle.wait(address(1), now), None);
    }

    #[test]
    fn neither_many_addresses_nor_those_of_one_network_help() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for last in 0..u32::try_from(SOURCES_MAX).unwrap() + 500 {
            throttle.failed(address(last), now + Duration::from_millis(last.into()));
        }
        assert_eq!(throttle.0.len(), SOURCES_MAX);
        for last in 0..20_u128 {
            throttle.failed(Ipv6Addr::from_bits((0x2001_0db8 << 96) + last).into(), now);
        }
        let other = Ipv6Addr::from_bits((0x2001_0db8 << 96) + 99).into();
        assert!(throttle.wait(other, now).unwrap() > Duration::ZERO);
    }
}
