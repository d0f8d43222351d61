//! The traffic of the benchmark: clients in front of the proxy and servers behind it, each one loop on one core.
//!
//! A loop blocks in epoll and nowhere else, keeps nothing on the heap per message, and counts what it did where the
//! measurement reads it. What a connection says is a `Talk`; the loop knows only when it may speak.

mod amqp;
mod bulk;
mod clients;
mod http;
mod pace;
mod ping;
mod servers;
mod tls;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use crate::bench::histogram::Histogram;
pub(crate) use amqp::Stream;
pub(crate) use bulk::{Down, Up};
pub(crate) use clients::{Clients, hold_idle};
pub(crate) use http::Http;
pub(crate) use pace::{Pace, Paced};
pub(crate) use ping::{Once, Ping};
pub(crate) use servers::{ADDRESSES, Servers, Service};
pub(crate) use tls::{NAME, Sealed, TlsHttp};

/// The length of the messages of the ping-pong rows.
pub(crate) const SMALL: usize = 64;
/// The length of the large bodies.
pub(crate) const LARGE: usize = 256 * 1024;

/// What the loops have done so far, read by the measurement while they go on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) operations: AtomicU64,
    pub(crate) octets: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// Loops that have opened all their connections.
    pub(crate) open: AtomicUsize,
    /// Latencies are kept while this is set.
    pub(crate) recording: AtomicBool,
    pub(crate) stop: AtomicBool,
}

/// What one loop has done, until it is published to [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) operations: u64,
    pub(crate) octets: u64,
    pub(crate) errors: u64,
    pub(crate) latency: Histogram,
    recording: bool,
}

impl Tally {
    /// One operation that has taken so long.
    pub(crate) fn operation(&mut self, took: std::time::Duration) {
        self.operations += 1;
        if self.recording {
            self.latency.add(took);
        }
    }

    fn publish(&mut self, counters: &Counters) {
        let add = |counter: &AtomicU64, amount: &mut u64| {
            if *amount != 0 {
                counter.fetch_add(std::mem::take(amount), Ordering::Relaxed);
            }
        };
        add(&counters.operations, &mut self.operations);
        add(&counters.octets, &mut self.octets);
        add(&counters.errors, &mut self.errors);
        self.recording = counters.recording.load(Ordering::Relaxed);
    }
}
