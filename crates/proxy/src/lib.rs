//! The load-balancing proxy: TCP, HTTP/1.1 and AMQP in front of servers whose health it knows.
//!
//! ```text
//!            worker threads, one event loop each                          control thread, tokio
//!   accept ─▶ session ─▶ session ─▶ …  ── tallies, gauges ──▶ live ◀── checks, names, operator's word
//!              │   ▲                                            │
//!              │   └── commands (end, drain, hand over) ────────┼────── runtime socket, reload, signals
//!              └────── visits (statistics inside a frontend) ───┴─────▶ page, csv, json, Prometheus
//! ```
//!
//! - [`config`]: `[proxy]` of warren.toml and haproxy.cfg, both to one [`plan`].
//! - [`plan`]: what is to be done, immutable. [`live`]: what is the case, shared by all threads.
//! - [`worker`]: the event loop and its commands. `session`: one proxied connection.
//! - [`check`], [`resolve`]: who is well, and where.
//! - [`stats`], [`runtime`]: how it is going, and the operator's word.
//! - [`logs`]: one line for each session. [`tls`], [`proxy_header`]: what they are named after.
//! - [`rebalance`]: connections go back to a server that returned. [`handover`]: everything goes to a new process.
//! - [`daemon`]: puts them together: start, reload, drain, stop.

pub mod check;
pub mod config;
pub mod daemon;
pub mod handover;
pub mod live;
pub mod logs;
pub mod plan;
pub mod rebalance;
pub mod record;
pub mod resolve;
pub mod runtime;
pub mod server_state;
mod session;
#[cfg(test)]
#[path = "../../../tests/skip.rs"]
mod skip;
pub mod stats;
pub mod tls;
pub mod worker;

pub use warren_kit::proxy_header;
