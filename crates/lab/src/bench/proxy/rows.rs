//! The rows of the table: what is done, what counts, and what must hold.

use std::sync::Arc;

use rustls::ClientConfig;

use super::load::{Clients, Down, Http, Once, Ping, Stream, TlsHttp, Up};
use super::peer::{Entry, Peer, Unit};
use crate::bench::cores::Cores;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// For `--row`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    /// Whom it is compared with.
    pub(crate) peers: &'static [Peer],
    /// What must hold: all of them.
    pub(crate) limits: &'static [(Against, f64)],
    /// What is aimed at, in words.
    pub(crate) aim: &'static str,
    pub(crate) traffic: Traffic,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Processor time of the proxy for each operation, in microseconds.
    PerOperation,
    /// Processor time of the proxy for each 1024 octets, in nanoseconds.
    PerKilobyte,
    /// User memory for each connection, in octets.
    PerConnection,
    /// What 99 of 100 messages did not exceed, in microseconds.
    Latency,
    /// The longest that a message took, in milliseconds.
    Pause,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::PerOperation | Self::Latency => "us",
            Self::PerKilobyte => "ns/kB",
            Self::PerConnection => "B",
            Self::Pause => "ms",
        }
    }
}

/// The peer a limit is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// The one with the smallest median.
    Best,
    /// HAProxy with the settings of the tutorials.
    Default,
    /// The same, told to splice.
    Tuned,
    /// Nobody: so much and no more, in the figure's unit.
    Nobody,
}

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traffic {
    Once,
    Ping(usize),
    Stream,
    Down,
    Up,
    HttpSmall,
    HttpLarge,
    TlsLarge,
    TlsHandshake,
    Idle,
    Paced,
    HandOver,
}

const EVERYBODY: &[Peer] = &[Peer::Haproxy, Peer::Tuned, Peer::Newer, Peer::Warren];
/// Rows in which nothing can be spliced.
const AS_THEY_COME: &[Peer] = &[Peer::Haproxy, Peer::Newer, Peer::Warren];

/// Bulk connections, as in the other rows.
const MANY: usize = 64;

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    Row { name: "connect", title: "connect + request + close", figure: Figure::PerOperation, peers: EVERYBODY,
          limits: &[(Against::Best, 1.0)], aim: "0.90", traffic: Traffic::Once },
    Row { name: "ping64", title: "ping-pong 64 B, 64 connections", figure: Figure::PerOperation, peers: EVERYBODY,
          limits: &[(Against::Best, 0.97)], aim: "0.80", traffic: Traffic::Ping(64) },
    Row { name: "ping1000", title: "same, 1000 connections", figure: Figure::PerOperation, peers: EVERYBODY,
          limits: &[(Against::Best, 0.90)], aim: "0.75", traffic: Traffic::Ping(1000) },
    Row { name: "amqp", title: "AMQP-like stream, 32 connections", figure: Figure::PerKilobyte, peers: EVERYBODY,
          limits: &[(Against::Best, 1.03)], aim: "0.85", traffic: Traffic::Stream },
    Row { name: "down", title: "bulk down, 64 connections", figure: Figure::PerKilobyte, peers: EVERYBODY,
          limits: &[(Against::Default, 0.35), (Against::Tuned, 0.9)], aim: "0.2 / 0.6", traffic: Traffic::Down },
    Row { name: "up", title: "bulk up, 64 connections", figure: Figure::PerKilobyte, peers: EVERYBODY,
          limits: &[(Against::Default, 0.25), (Against::Tuned, 1.2)], aim: "0.15 / 0.8", traffic: Traffic::Up },
    Row { name: "http", title: "HTTP/1.1 keep-alive, 64 B", figure: Figure::PerOperation, peers: AS_THEY_COME,
          limits: &[(Against::Best, 0.70)], aim: "0.6", traffic: Traffic::HttpSmall },
    Row { name: "http256k", title: "HTTP 256 kB bodies", figure: Figure::PerOperation, peers: AS_THEY_COME,
          limits: &[(Against::Best, 0.80)], aim: "0.65", traffic: Traffic::HttpLarge },
    Row { name: "tls256k", title: "TLS, 256 kB responses", figure: Figure::PerOperation, peers: AS_THEY_COME,
          limits: &[(Against::Best, 0.70)], aim: "0.6", traffic: Traffic::TlsLarge },
    Row { name: "handshake", title: "TLS, handshake per request", figure: Figure::PerOperation, peers: AS_THEY_COME,
          limits: &[(Against::Best, 0.70)], aim: "0.6", traffic: Traffic::TlsHandshake },
    Row { name: "idle", title: "idle proxied connection, user memory", figure: Figure::PerConnection, peers: AS_THEY_COME,
          limits: &[(Against::Nobody, 600.0)], aim: "300 B", traffic: Traffic::Idle },
    Row { name: "p99", title: "p99 at 70 % of the slower one's maximum", figure: Figure::Latency, peers: AS_THEY_COME,
          limits: &[(Against::Best, 1.25)], aim: "1.0", traffic: Traffic::Paced },
    Row { name: "handover", title: "hand-over of 1000 live sessions: longest wait", figure: Figure::Pause, peers: &[Peer::Warren],
          limits: &[(Against::Nobody, 100.0)], aim: "50 ms", traffic: Traffic::HandOver },
];

impl Traffic {
    /// Whether every sample needs a process of its own: memory once used is not used again for the first time, and who
    /// has handed over is gone.
    pub(crate) fn needs_a_fresh_process(self) -> bool {
        matches!(self, Self::Idle | Self::HandOver)
    }

    /// The clients, running; `None` for rows that are not a stream of operations.
    pub(crate) fn start(self, unit: &Unit, cores: &Cores, tls: &Arc<ClientConfig>) -> Option<Clients> {
        let port = |entry| unit.port(entry);
        let one = cores.clients.get(..1).unwrap_or_default();
        let all = &cores.clients;
        Some(match self {
            Self::Once => Clients::start(port(Entry::Echo), 32, one, Once::default),
            Self::Ping(connections) => Clients::start(port(Entry::Echo), connections, one, Ping::default),
            Self::Stream => Clients::start(port(Entry::Echo), 32, one, Stream::new),
            Self::Down => Clients::start(port(Entry::Source), MANY, one, Down::default),
            Self::Up => Clients::start(port(Entry::Sink), MANY, one, Up::default),
            Self::HttpSmall => Clients::start(port(Entry::HttpSmall), 64, all, Http::default),
            Self::HttpLarge => Clients::start(port(Entry::HttpLarge), 16, one, Http::default),
            Self::TlsLarge => Clients::start(port(Entry::TlsLarge), 16, all, || TlsHttp::new(tls, false)),
            Self::TlsHandshake => Clients::start(port(Entry::TlsSmall), 32, all, || TlsHttp::new(tls, true)),
            Self::Idle | Self::Paced | Self::HandOver => return None,
        })
    }
}
