//! Peers whose hosts have vanished while something was on its way to them.
//!
//! Keepalive finds those that are silent; where data are under way the kernel sends these again instead, for a quarter of
//! an hour. Its own limit for that, TCP_USER_TIMEOUT, also ends peers that are there, answer every probe and take nothing
//! for as long: publishers whose broker has an alarm. So a worker looks by itself: every few seconds it asks the kernel
//! about connections on which something has passed since it looked last or is still under way. One that leaves repeated packets
//! unanswered for the limit is broken off, which the session hears of as it hears of a reset.
//!
//! Connections on which nothing is under way are not asked about, and a worker with no others sleeps.

use std::collections::HashMap;
use std::os::fd::AsFd;

use nix::libc;
use nix::sys::socket::getsockopt;

use super::reactor::Place;
use crate::plan::{Keepalive, Plan};
use crate::session::connect::millis;
use crate::session::endpoint::Endpoint;
use crate::session::{Common, Session, Side};

/// Looks within a limit: somebody is found late by one of them at most.
const LOOKS: u64 = 6;
/// Milliseconds between two looks, at least and at most.
const PERIOD: (u64, u64) = (200, 5_000);
/// Of packets that were sent again: one may be lost on the way.
const UNANSWERED: u32 = 2;

/// What a worker remembers between two looks.
#[derive(Debug)]
pub(super) struct Watch {
    /// Milliseconds between two looks; `None` if nobody wants them.
    period: Option<u64>,
    looked: u64,
    /// When anything last happened.
    stirred: u64,
    /// The next look is at everybody.
    all: bool,
    /// Connections on which something is under way, and since when it is not answered. Two for each session at most.
    under_way: HashMap<(Place, Side), Option<u64>>,
}

impl Watch {
    pub(super) fn of(plan: &Plan, now: u64) -> Self {
        let frontends = plan.frontends.iter().map(|frontend| &frontend.keepalive);
        let backends = plan.backends.iter().map(|backend| &backend.keepalive);
        let shortest = frontends.chain(backends).filter_map(limit).min();
        Self {
            period: shortest.map(|limit| (limit / LOOKS).clamp(PERIOD.0, PERIOD.1)),
            looked: now,
            stirred: now,
            all: true,
            under_way: HashMap::new(),
        }
    }

    /// The configuration was read again. What is under way was before.
    pub(super) fn follow(&mut self, plan: &Plan, now: u64) {
        let under_way = std::mem::take(&mut self.under_way);
        *self = Self {
            under_way,
            ..Self::of(plan, now)
        };
    }

    /// Something has happened.
    pub(super) fn stir(&mut self, now: u64) {
        if self.deadline().is_none() {
            self.looked = now;
        }
        self.stirred = now;
    }

    /// Sessions have come that nothing is known of.
    pub(super) const fn look_at_all(&mut self, now: u64) {
        self.all = true;
        self.stirred = now;
    }

    /// When to look next.
    pub(super) fn deadline(&self) -> Option<u64> {
        let period = self.period?;
        let restless = self.all || !self.under_way.is_empty() || self.looked <= self.stirred;
        restless.then_some(self.looked + period)
    }

    /// Looks, if it is time to. Events follow for those that are broken off.
    pub(super) fn look<'a>(&mut self, sessions: impl Iterator<Item = &'a Session>, now: u64) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let looked = std::mem::replace(&mut self.looked, now);
        let all = std::mem::take(&mut self.all);
        let before = std::mem::take(&mut self.under_way);
        for session in sessions {
            let common = &session.common;
            let lately = common.activity.iter().any(|at| *at >= looked);
            for (side, endpoint) in ends(common) {
                let key = (common.place(), side);
                let known = before.get(&key);
                if !all && !lately && known.is_none() {
                    continue;
                }
                let (Some(limit), Some(signs)) = (limit_of(common, side), Signs::of(endpoint)) else {
                    continue;
                };
                match signs.judge(known.copied().flatten(), now, limit) {
                    Judgement::Idle => {}
                    Judgement::UnderWay(since) => drop(self.under_way.insert(key, since)),
                    Judgement::Gone => endpoint.break_off(),
                }
            }
        }
    }
}

fn ends(common: &Common) -> impl Iterator<Item = (Side, &Endpoint)> {
    let server = common.server.as_ref().map(|server| (Side::Server, server));
    std::iter::once((Side::Client, &common.client)).chain(server)
}

fn limit(keepalive: &Keepalive) -> Option<u64> {
    keepalive.on.then(|| millis(keepalive.unanswered))
}

fn limit_of(common: &Common, side: Side) -> Option<u64> {
    match side {
        Side::Client => limit(&common.frontend().plan().keepalive),
        Side::Server => limit(&common.backend.as_ref()?.plan().keepalive),
    }
}

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    /// Data wait for their acknowledgement, or for room at the peer's.
    under_way: bool,
    /// Packets in a row that asked for an answer and got none.
    unanswered: u32,
    /// Milliseconds since the peer last said anything.
    silent: u64,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// Nothing is under way.
    Idle,
    /// Something is, and has not been answered since then.
    UnderWay(Option<u64>),
    /// The peer has vanished.
    Gone,
}

impl Signs {
    /// `None` for what is no TCP connection, or not yet.
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let info = getsockopt(&endpoint.as_fd(), TcpInfoOption).ok()?;
        if matches!(i32::from(info.state), SYN_SENT | SYN_RECEIVED | CLOSED) {
            return None;
        }
        Some(Self {
            // What waits for room was not sent, and is not asked about either before its timer has run for the first
            // time. Without anything what is counted are keepalive's probes, and the kernel's business.
            under_way: info.unacked > 0 || info.unsent > 0,
            unanswered: u32::from(info.retransmits) + u32::from(info.probes),
            silent: u64::from(info.last_ack_recv),
        })
    }

    fn judge(self, since: Option<u64>, now: u64, limit: u64) -> Judgement {
        if !self.under_way {
            return Judgement::Idle;
        }
        if self.unanswered == 0 {
            return Judgement::UnderWay(None);
        }
        let heard = now.saturating_sub(self.silent);
        let since = since.filter(|since| heard <= *since).unwrap_or(now);
        if now - since >= limit && self.unanswered >= UNANSWERED {
            Judgement::Gone
        } else {
            Judgement::UnderWay(Some(since))
        }
    }
}

const SYN_SENT: i32 = 2;
const SYN_RECEIVED: i32 = 3;
const CLOSED: i32 = 7;

/// `struct tcp_info` of linux/tcp.h as far as every kernel since 4.6 has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct TcpInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    scales: u8,
    flags: u8,
    sizes: [u32; 4],
    unacked: u32,
    packets: [u32; 4],
    last_sent: [u32; 2],
    last_data_recv: u32,
    last_ack_recv: u32,
    path: [u32; 10],
    total_retrans: u32,
    octets: [u64; 4],
    segments: [u32; 2],
    unsent: u32,
    min_rtt: u32,
}

const _: () = assert!(size_of::<TcpInfo>() == 152);

#[derive(Clone, Copy, Debug)]
struct TcpInfoOption;

nix::getsockopt_impl!(
    TcpInfoOption,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    TcpInfo,
    nix::sys::socket::sockopt::GetStruct<TcpInfo>
);

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::session::endpoint::Received;

    fn signs(unanswered: u32, silent: u64) -> Signs {
        Signs {
            under_way: true,
            unanswered,
            silent,
        }
    }

    #[test]
    fn whoever_leaves_repeated_packets_unanswered_for_the_limit_is_gone() {
        // An hour of silence means nothing before something was asked.
        assert_eq!(
            signs(1, 3_600_000).judge(None, 10_000_000, 30_000),
            Judgement::UnderWay(Some(10_000_000))
        );
        let since = Some(10_000_000);
        assert_eq!(
            signs(6, 3_629_999).judge(since, 10_029_999, 30_000),
            Judgement::UnderWay(since)
        );
        assert_eq!(
            signs(7, 3_630_000).judge(since, 10_030_000, 30_000),
            Judgement::Gone
        );
        // One packet may be lost.
        assert_eq!(
            signs(1, 3_630_000).judge(since, 10_030_000, 30_000),
            Judgement::UnderWay(since)
        );
    }

    #[test]
    fn whoever_answers_is_there_however_little_it_takes() {
        let since = Some(1_000);
        assert_eq!(
            signs(0, 5).judge(since, 60_000, 30_000),
            Judgement::UnderWay(None)
        );
        // It has answered between two looks, and not again yet.
        assert_eq!(
            signs(9, 100).judge(since, 60_000, 30_000),
            Judgement::UnderWay(Some(60_000))
        );
        let idle = Signs {
            under_way: false,
            ..signs(3, 90_000)
        };
        assert_eq!(idle.judge(since, 60_000, 30_000), Judgement::Idle);
    }

    #[test]
    fn one_look_follows_what_has_happened_and_none_the_next() {
        let mut watch = Watch::of(&crate::plan::testing::plan(&[]), 0);
        let period = watch.period.unwrap();
        let look = |watch: &mut Watch, now| watch.look(std::iter::empty(), now);
        // A worker that has just started knows nothing.
        assert_eq!(watch.deadline(), Some(period));
        look(&mut watch, period);
        assert_eq!(watch.deadline(), None);

        let now = 60_000;
        for later in [0, 1, period - 1] {
            watch.stir(now + later);
            assert_eq!(watch.deadline(), Some(now + period));
        }
        // In the turn of the look something happens, too.
        watch.stir(now + period);
        look(&mut watch, now + period);
        assert_eq!(watch.deadline(), Some(now + 2 * period));
        look(&mut watch, now + 2 * period);
        assert_eq!(watch.deadline(), None);
    }

    #[test]
    fn a_reload_gives_nobody_who_has_vanished_more_time() {
        let plan = crate::plan::testing::plan(&[]);
        let mut watch = Watch::of(&plan, 0);
        let place = Place {
            slot: 3,
            generation: 7,
        };
        watch.under_way.insert((place, Side::Client), Some(1000));
        watch.follow(&plan, 20_000);
        assert_eq!(watch.under_way.get(&(place, Side::Client)), Some(&Some(1000)));
        assert_eq!(watch.deadline(), Some(20_000 + watch.period.unwrap()));
    }

    /// The kernel waits for longer than most looks before it asks for the first time.
    #[test]
    fn what_waits_for_room_is_under_way_before_anybody_was_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut inside, _) = listener.accept().unwrap();
        inside.set_nonblocking(true).unwrap();
        while inside.write(&[7; 100_000]).is_ok() {}
        let endpoint = Endpoint::accepted(inside.into());
        for _ in 0..100 {
            assert!(Signs::of(&endpoint).unwrap().under_way);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_broken_off_ends_as_with_a_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (inside, _) = listener.accept().unwrap();
        let mut endpoint = Endpoint::accepted(inside.into());
        outside.write_all(b"x").unwrap();
        assert!(!Signs::of(&endpoint).unwrap().under_way);
        endpoint.break_off();
        assert!(matches!(endpoint.recv(&mut [0]), Received::Failed(_)));
        assert!(Signs::of(&endpoint).is_none());
    }
}
