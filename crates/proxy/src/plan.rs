//! The validated configuration: what the proxy is to do, with every default filled in and every name looked up.
//! Immutable; made by [`crate::config`] from either format, and nowhere else.
//!
//! The words are HAProxy's. A `listen` section becomes a frontend and a backend of one name and one id.

mod backend;
mod frontend;
mod log;
mod networks;
mod rules;
mod server;
mod table;
#[cfg(test)]
pub(crate) mod testing;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use backend::{
    Backend, BackendTimeouts, Balance, CookieMode, HashOn, Rebalance, RetryOn, Stick, StickyCookie,
};
pub(crate) use frontend::socket_address;
pub use frontend::{
    ABSTRACT, ABSTRACT_MAX, Bind, BindAddress, BindTls, ClientCertificates, ErrorPage, ForwardFor, Frontend,
    FrontendTimeouts, PageContent, SourceLimits, StatsPage, TlsVersion,
};
pub use log::{Facility, Level, LogFormat, LogTarget, Logging, Transport};
pub use networks::Networks;
pub use rules::{
    Answer, Capture, Condition, Edit, HttpAction, HttpRule, Moment, NameLike, NameRegex, Pattern, Persist,
    Redirect, RedirectOptions, Replace, Sample, Switch, SwitchTo, TcpAction, TcpRule, Template, Term, Test,
    UseServer,
};
pub use server::{
    Agent, Check, CheckKind, ErrorAction, Expect, Expected, HostAddress, Keepalive, Observe, ProxyVersion,
    SendProxy, Server, ServerTls, Step, Verify,
};
pub use table::{Counter, Table, TableKey, Track, TrackKey};

/// Everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For the whole process.
    pub global: Global,
    /// In the order of the file.
    pub frontends: Vec<Arc<Frontend>>,
    /// In the order of the file.
    pub backends: Vec<Arc<Backend>>,
    /// What is remembered of clients, but for [`Backend::stick`].
    pub tables: Vec<Arc<Table>>,
}

/// A backend of the same plan, by its name. Names keep their meaning in a reload, during which sessions of the plan before
/// live on; places do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendName(Arc<str>);

impl BackendName {
    /// So called.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl std::ops::Deref for BackendName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Number of a frontend or backend in the statistics (`iid`), from 1 in the order of the file unless given by `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(pub u32);

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Octets.
    Tcp,
    /// HTTP/1.1.
    Http,
    /// AMQP 0-9-1: octets too, but frames are known.
    Amqp,
}

/// Where the configuration came from: some defaults differ, so that an old file behaves as it always did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// warren.toml
    Toml,
    /// haproxy.cfg
    Haproxy,
}

/// For the whole process.
#[derive(Clone, Debug)]
pub struct Global {
    /// The format of the file.
    pub origin: Origin,
    /// Client connections of the process at once.
    pub maxconn: NonZeroU32,
    /// New sessions per second of the process (`maxconnrate`).
    pub maxconnrate: Option<NonZeroU32>,
    /// New TLS connections of clients per second (`maxsslrate`).
    pub maxsslrate: Option<NonZeroU32>,
    /// Worker threads (`nbthread`).
    pub threads: NonZeroUsize,
    /// `stats socket`s.
    pub sockets: Vec<StatsSocket>,
    /// How long a silent client of a stats socket is kept (`stats timeout`).
    pub socket_timeout: Duration,
    /// To the background once ready (`daemon`).
    pub daemon: bool,
    /// `pidfile`.
    pub pid_file: Option<PathBuf>,
    /// How servers were (`server-state-file`), for the backends that ask for it.
    pub server_state_file: Option<PathBuf>,
    /// `user` or `uid`: whom to become once everything is bound; only if started by root.
    pub user: Option<String>,
    /// `group` or `gid`.
    pub group: Option<String>,
    /// `node`; the host's name unless given.
    pub node: Option<String>,
    /// `description`.
    pub description: Option<String>,
    /// `log` lines of the global section: events of the process, and of proxies with `log global`.
    pub logs: Vec<Arc<LogTarget>>,
    /// Word before the pid in log lines (`log-tag`).
    pub log_tag: String,
    /// `log-send-hostname`.
    pub log_hostname: Option<String>,
    /// How long a stopping process waits for its sessions (`hard-stop-after`).
    pub hard_stop_after: Option<Duration>,
    /// Checks are spread by so many percent of their interval (`spread-checks`).
    pub spread_checks: u8,
    /// Prometheus metrics of this role: addresses of their own, besides any frontend that offers them.
    pub metrics: Option<SocketAddr>,
    /// Octets of one thread's buffer and most of an HTTP head (`tune.bufsize`).
    pub buffer: NonZeroUsize,
    /// Connections that must be ended politely (`connection.close`) are ended at most so many per second.
    pub drain_rate: NonZeroU32,
}

/// A `stats socket`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatsSocket {
    /// Where.
    pub address: SocketAddress,
    /// Owner (`uid` or `user`); a name that does not exist is a warning and nothing else.
    pub user: Option<String>,
    /// `gid` or `group`.
    pub group: Option<String>,
    /// Permissions (`mode`, octal).
    pub mode: Option<u32>,
    /// What may be done.
    pub level: SocketLevel,
}

/// Where a stats socket listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketAddress {
    /// A path.
    Unix(PathBuf),
    /// `ipv4@127.0.0.1:9999`.
    Tcp(SocketAddr),
}

/// What may be done over a stats socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketLevel {
    /// Look, without what is sensitive.
    User,
    /// Look at everything, clear counters. HAProxy's default.
    #[default]
    Operator,
    /// Everything.
    Admin,
}

impl Plan {
    /// Whether anybody could connect, if only to a stats socket.
    #[must_use]
    pub fn listens(&self) -> bool {
        let mut frontends = self.frontends.iter();
        !self.global.sockets.is_empty()
            || frontends.any(|frontend| !frontend.disabled && !frontend.binds.is_empty())
    }
}
