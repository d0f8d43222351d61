//! Where log lines go and what they look like.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::logs::Format;

/// What a frontend (and, for its servers' changes of state, a backend) logs.
#[derive(Clone, Debug, Default)]
pub struct Logging {
    /// `log` lines, `log global` resolved. Empty: nothing is logged.
    pub targets: Vec<Arc<LogTarget>>,
    /// Of a session's or request's line.
    pub format: LogFormat,
    /// `option dontlognull`: nothing of connections that carried nothing.
    pub dontlognull: bool,
    /// `option dontlog-normal`: only what went wrong.
    pub dontlog_normal: bool,
    /// `option logasap`: when the server connection stands (tcp) or at the response's head (http), with `+` before times and sizes.
    pub logasap: bool,
    /// `option log-separate-errors`.
    pub separate_errors: bool,
    /// `log-tag`, if the proxy has its own.
    pub tag: Option<String>,
}

/// Of a session's or request's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Without `option tcplog` or `httplog`: `Connect from 127.0.0.1:1 to 127.0.0.1:2 (rabbitmq/TCP)`.
    #[default]
    Plain,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`.
    Http,
    /// `log-format`, compiled.
    Custom(Arc<Format>),
    /// One JSON object with everything known, AMQP fields included (warren.toml only).
    Json,
}

/// A `log` line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogTarget {
    /// Where to.
    pub transport: Transport,
    /// Of syslog.
    pub facility: Facility,
    /// Only what is at least this severe (the first level of the line; `Debug` unless given).
    pub level: Level,
    /// What is more severe is sent as if it were this (the second level of the line; `Emerg` unless given).
    pub level_at_most: Level,
    /// Longest line (`len`), 1024 unless given.
    pub length: usize,
}

/// How a line travels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 3164 over UDP.
    Udp(SocketAddr),
    /// RFC 3164 to a datagram socket such as /dev/log.
    Unix(PathBuf),
    /// Standard output (`stdout`), without syslog's header, for containers and systemd.
    Stdout,
    /// Standard error.
    Stderr,
    /// The journal, with fields of its own (warren.toml only).
    Journal,
}

/// Facility of syslog, by its number: 0 `kern` to 23 `local7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facility(pub u8);

/// Severity of syslog, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    Emerg = 0,
    Alert = 1,
    Crit = 2,
    Err = 3,
    Warning = 4,
    Notice = 5,
    #[default]
    Info = 6,
    Debug = 7,
}
