//! Numbers that threads share without waiting for each other.
//!
//! - [`Tally`]: what only ever grows, with cells for each worker: nobody else writes there, so adding is a load and a
//!   store, and no cache line travels.
//! - [`Gauge`], [`Rate`], [`Timings`]: what changes once for each connection, in one place.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use warren_balance::Instant;

/// Grows only, and is written by one thread only.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds. To be called by the thread that the cells belong to.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn count(&self) {
        self.add(1);
    }
}

macro_rules! tallies {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thread's part of a [`Tally`].
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Cells {
            $($(#[$doc])* pub $name: Cell,)*
        }

        /// All threads' parts added up.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Totals {
            fn add(&mut self, cells: &Cells) {
                $(self.$name = self.$name.wrapping_add(cells.$name.0.load(Relaxed));)*
            }

            /// What was added since `earlier`.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name.wrapping_sub(earlier.$name),)* }
            }
        }

        impl Cells {
            /// Adds what another process counted before this one took over.
            pub fn add_all(&self, totals: &Totals) {
                $(self.$name.add(totals.$name);)*
            }
        }
    };
}

tallies! {
    /// Octets from clients.
    bytes_in,
    /// Octets to clients.
    bytes_out,
    /// Connections accepted (`conn_tot`).
    connections,
    /// TLS connections begun, with clients and with servers.
    handshakes,
    /// Sessions (`stot`).
    sessions,
    /// HTTP requests (`req_tot`).
    requests,
    /// Times chosen by balancing (`lbtot`).
    chosen,
    /// Connections made to servers (`connect`).
    connects,
    /// Connections to servers used again (`reuse`).
    reuses,
    /// Requests denied by a rule (`dreq`).
    denied_requests,
    /// Responses denied by a rule (`dresp`).
    denied_responses,
    /// Connections refused by a rule (`dcon`).
    denied_connections,
    /// Sessions refused by a rule (`dses`).
    denied_sessions,
    /// Requests that were wrong or never came (`ereq`).
    request_errors,
    /// Servers that could not be reached (`econ`).
    connect_errors,
    /// Responses that were wrong or never came (`eresp`).
    response_errors,
    /// Connecting tried again (`wretr`).
    retries,
    /// Sent to another server (`wredis`).
    redispatches,
    /// Heads that could not be changed (`wrew`).
    rewrites_failed,
    /// Transfers that the client ended early (`cli_abrt`).
    client_aborts,
    /// Transfers that the server ended early (`srv_abrt`).
    server_aborts,
    /// Requests answered by the proxy itself (`intercepted`).
    intercepted,
    /// Responses by class.
    responses_1xx,
    /// 2xx.
    responses_2xx,
    /// 3xx.
    responses_3xx,
    /// 4xx.
    responses_4xx,
    /// 5xx.
    responses_5xx,
    /// Anything else.
    responses_other,
}

/// Sums that grow, with cells for each thread.
#[derive(Debug)]
pub struct Tally {
    cells: Box<[Cells]>,
    /// What had been counted when the counters were last cleared.
    cleared: Mutex<Totals>,
}

impl Tally {
    /// For `workers` workers and the control thread.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            cells: (0..=workers).map(|_| Cells::default()).collect(),
            cleared: Mutex::default(),
        }
    }

    /// The cells of one worker. A number beyond the last is the control thread's, which comes last.
    #[inline]
    #[must_use]
    pub fn of(&self, worker: usize) -> &Cells {
        &self.cells[worker.min(self.cells.len() - 1)]
    }

    /// The cells of the control thread.
    #[must_use]
    pub fn of_control(&self) -> &Cells {
        self.of(usize::MAX)
    }

    /// Everything since the counters were last cleared.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.sum().since(&self.cleared.lock())
    }

    /// `clear counters all`.
    pub fn clear(&self) {
        *self.cleared.lock() = self.sum();
    }

    fn sum(&self) -> Totals {
        let mut totals = Totals::default();
        for cells in &self.cells {
            totals.add(cells);
        }
        totals
    }
}

/// A worker's pipes. Written by that worker only, and alone in its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PipeCount {
    /// Those in which octets are, or are about to be.
    pub used: AtomicU32,
    /// Those kept for use.
    pub spare: AtomicU32,
    /// Octets that went through them.
    pub spliced: AtomicU64,
}

/// How many there are, and the most there were.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Places kept for those who may come (upper half), and how many there are (lower half): together they are what a
    /// limit is for, and only the second is shown.
    places: AtomicU64,
    most: AtomicU32,
}

/// A place that is kept, in [`Gauge::places`].
const KEPT: u64 = 1 << 32;

impl Gauge {
    /// One more; says how many there are with it.
    pub fn enter(&self) -> u32 {
        let now = present(self.places.fetch_add(1, Relaxed)) + 1;
        self.raise(now);
        now
    }

    /// Keeps a place unless `most` are taken or kept already; whether there was one. What becomes of it is said by
    /// [`Gauge::settle`] or [`Gauge::withdraw`].
    pub fn enter_below(&self, most: u32) -> bool {
        self.places
            .fetch_update(Relaxed, Relaxed, |places| {
                let taken = present(places).saturating_add(present(places >> 32));
                (taken < most).then_some(places + KEPT)
            })
            .is_ok()
    }

    /// Somebody took the place that was kept for him.
    pub fn settle(&self) {
        // One kept place less, and one more there, in one step.
        let before = self.places.fetch_sub(KEPT - 1, Relaxed);
        self.raise(present(before) + 1);
    }

    /// Nobody came for the place that was kept.
    pub fn withdraw(&self) {
        self.places.fetch_sub(KEPT, Relaxed);
    }

    /// One less; says how many are left.
    pub fn leave(&self) -> u32 {
        present(self.places.fetch_sub(1, Relaxed)).saturating_sub(1)
    }

    /// How many there are.
    #[must_use]
    pub fn now(&self) -> u32 {
        present(self.places.load(Relaxed))
    }

    /// The most there were.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most.load(Relaxed)
    }

    /// There were so many, here or in the process before this one.
    pub fn raise(&self, most: u32) {
        if most > self.most() {
            self.most.fetch_max(most, Relaxed);
        }
    }

    /// Forgets the most (`clear counters`).
    pub fn clear(&self) {
        self.most.store(self.now(), Relaxed);
    }
}

/// The lower half.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn present(places: u64) -> u32 {
    places as u32
}

/// Events per second, and the most there were.
///
/// The last whole second's count fades out while this second's comes in, so that the figure is smooth and needs no
/// timer.
#[derive(Debug, Default)]
pub struct Rate {
    /// The second (upper half) and its count (lower half).
    current: AtomicU64,
    previous: AtomicU32,
    most: AtomicU32,
}

impl Rate {
    /// One event; says how many there are per second with it.
    pub fn count(&self, now: Instant) -> u32 {
        let second = now.millis_since(Instant::default()) / 1000;
        let mut seen = self.current.load(Relaxed);
        loop {
            let (then, count) = (seen >> 32, seen & 0xffff_ffff);
            let next = if then == second {
                seen + 1
            } else {
                second << 32 | 1
            };
            match self.current.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) if then == second => break,
                Ok(_) => {
                    let last = if then + 1 == second { count } else { 0 };
                    self.previous
                        .store(u32::try_from(last).unwrap_or(u32::MAX), Relaxed);
                    break;
                }
                Err(now) => seen = now,
            }
        }
        let rate = self.now(now);
        if rate > self.most.load(Relaxed) {
            self.most.fetch_max(rate, Relaxed);
        }
        rate
    }

    /// Events in the last second.
    #[must_use]
    pub fn now(&self, now: Instant) -> u32 {
        let millis = now.millis_since(Instant::default());
        let (second, passed) = (millis / 1000, millis % 1000);
        let current = self.current.load(Relaxed);
        let (then, count) = (current >> 32, current & 0xffff_ffff);
        let rate = if then == second {
            count + u64::from(self.previous.load(Relaxed)) * (1000 - passed) / 1000
        } else if then + 1 == second {
            count * (1000 - passed) / 1000
        } else {
            0
        };
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// The most there were in a second.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most.load(Relaxed)
    }

    /// The most another process saw before this one took over.
    pub fn raise(&self, most: u32) {
        self.most.fetch_max(most, Relaxed);
    }

    /// Forgets the most (`clear counters`).
    pub fn clear(&self) {
        self.most.store(0, Relaxed);
    }
}

/// How long things took: average of about the last 1024, and the longest. Milliseconds.
#[derive(Debug, Default)]
pub struct Timing {
    /// The average times [`Timing::WINDOW`].
    sum: AtomicU64,
    count: AtomicU64,
    longest: AtomicU64,
}

impl Timing {
    const WINDOW: u64 = 1024;

    /// Takes one in. Two at the same moment may lose one of them, which an average can bear.
    pub fn record(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let sum = self.sum.load(Relaxed);
        let count = self.count.load(Relaxed).min(Self::WINDOW - 1);
        let kept = if count + 1 < Self::WINDOW {
            sum
        } else {
            sum - sum / Self::WINDOW
        };
        self.sum.store(kept.saturating_add(millis), Relaxed);
        self.count.store(count + 1, Relaxed);
        if millis > self.longest.load(Relaxed) {
            self.longest.fetch_max(millis, Relaxed);
        }
    }

    /// The average.
    #[must_use]
    pub fn average(&self) -> u64 {
        self.sum.load(Relaxed) / self.count.load(Relaxed).max(1)
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.longest.load(Relaxed)
    }

    /// Forgets the longest.
    pub fn clear(&self) {
        self.longest.store(0, Relaxed);
    }
}

/// HAProxy's four.
#[derive(Debug, Default)]

pub struct Timings {
    pub queue: Timing,
    pub connect: Timing,
    pub response: Timing,
    pub total: Timing,
}

impl Timings {
    /// Forgets the longest.
    pub fn clear(&self) {
        for timing in [&self.queue, &self.connect, &self.response, &self.total] {
            timing.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up_what_all_workers_counted_since_it_was_cleared() {
        let tally = Tally::new(2);
        tally.of(0).bytes_in.add(3);
        tally.of(1).bytes_in.add(4);
        tally.of_control().bytes_in.count();
        assert_eq!(tally.totals().bytes_in, 8);
        tally.clear();
        tally.of(1).bytes_in.add(5);
        assert_eq!(tally.totals().bytes_in, 5);
    }

    #[test]
    fn a_gauge_with_a_limit_never_passes_it_and_counts_what_stays() {
        let gauge = Gauge::default();
        assert!(gauge.enter_below(1) && !gauge.enter_below(1));
        gauge.withdraw();
        assert_eq!((gauge.now(), gauge.most()), (0, 0));
        assert!(gauge.enter_below(2) && gauge.enter_below(2) && !gauge.enter_below(2));
        gauge.settle();
        assert_eq!(
            (gauge.now(), gauge.most()),
            (1, 1),
            "the other place is not taken yet"
        );
        gauge.withdraw();
        gauge.leave();
        assert_eq!((gauge.now(), gauge.most()), (0, 1));
    }

    #[test]
    fn a_rate_fades_within_the_second_after_its_events() {
        let rate = Rate::default();
        for _ in 0..10 {
            rate.count(Instant::from_millis(5_100));
        }
        assert_eq!(rate.now(Instant::from_millis(5_900)), 10);
        assert_eq!(rate.now(Instant::from_millis(6_500)), 5);
        assert_eq!(rate.now(Instant::from_millis(8_000)), 0);
        assert_eq!(rate.count(Instant::from_millis(6_500)), 6);
        assert_eq!(rate.most(), 10);
    }

    #[test]
    fn an_average_follows_the_last_thousand() {
        let timing = Timing::default();
        for _ in 0..10 {
            timing.record(Duration::from_millis(10));
        }
        assert_eq!(timing.average(), 10);
        for _ in 0..20_000 {
            timing.record(Duration::from_millis(20));
        }
        assert!((19..=20).contains(&timing.average()), "{}", timing.average());
        assert_eq!(timing.longest(), 20);
    }
}
