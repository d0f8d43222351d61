//! A server and how it is looked after.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use warren_balance::health::ErrorAction;
use warren_balance::{ServerId, Weight};

/// A `server` line with the defaults of `default-server` merged in.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name, unique in the backend.
    pub name: String,
    /// Number in the statistics (`sid`), from 1.
    pub id: ServerId,
    /// Where it is.
    pub address: HostAddress,
    /// Only used when no active server is (`backup`).
    pub backup: bool,
    /// What cookies call it (`cookie`).
    pub cookie: Option<String>,
    /// `weight`, 1 unless given.
    pub weight: Weight,
    /// Connections at once.
    pub maxconn: Option<NonZeroU32>,
    /// `minconn`.
    pub minconn: Option<NonZeroU32>,
    /// Connections that may wait for this server (`maxqueue`).
    pub maxqueue: Option<NonZeroU32>,
    /// Starts in maintenance (`disabled`).
    pub disabled: bool,
    /// How it is checked.
    pub check: Option<Check>,
    /// `agent-check`.
    pub agent: Option<Agent>,
    /// `slowstart`; zero is none.
    pub slowstart: Duration,
    /// Follows another server's state (`track backend/server`), by name.
    pub track: Option<(String, String)>,
    /// `on-marked-down shutdown-sessions`.
    pub shutdown_sessions: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub shutdown_backup_sessions: bool,
    /// Failures in traffic count (`observe`).
    pub observe: Option<Observe>,
    /// `on-error`.
    pub on_error: ErrorAction,
    /// `error-limit`.
    pub error_limit: NonZeroU32,
    /// TLS is spoken to it (`ssl`).
    pub tls: Option<Arc<ServerTls>>,
    /// It is told who the client is.
    pub send_proxy: Option<SendProxy>,
    /// TCP_USER_TIMEOUT (`tcp-ut`): ends those too that are there and take nothing for so long.
    pub user_timeout: Option<Duration>,
    /// Address to connect from (`source`).
    pub source: Option<SocketAddr>,
    /// `init-addr`: a name that cannot be resolved at the start does not stop the proxy (always so in warren.toml).
    pub may_be_unresolved: bool,
}

/// A name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostAddress {
    /// An address.
    Ip(SocketAddr),
    /// A name that is resolved, again and again.
    Name(String, u16),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// How a server is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What has to succeed.
    pub kind: CheckKind,
    /// How often, and how results count.
    pub timing: warren_balance::health::Check,
    /// For the connection; the backend's `timeout connect` and `inter`, whichever is shorter, unless given.
    pub connect_timeout: Duration,
    /// For the answer once connected.
    pub timeout: Duration,
    /// Another port than the server's (`port`).
    pub port: Option<u16>,
    /// Another address than the server's (`addr`).
    pub address: Option<IpAddr>,
    /// Over TLS (`check-ssl`, or `ssl` without `port` and `addr`).
    pub tls: Option<Arc<ServerTls>>,
    /// With a PROXY protocol header (`check-send-proxy`).
    pub send_proxy: bool,
}

/// What has to succeed.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// Connecting.
    Tcp,
    /// A TLS handshake (`option ssl-hello-chk`).
    Tls,
    /// `option httpchk`, `http-check`.
    Http {
        /// Method, `OPTIONS` unless given.
        method: String,
        /// `/` unless given.
        uri: String,
        /// `HTTP/1.0` unless given.
        version: String,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// A body to send.
        body: Option<String>,
        /// What the answer has to be; 2xx or 3xx unless given.
        expect: Expect,
    },
    /// `option tcp-check` with its steps.
    Script(Vec<Step>),
    /// The broker greets: `connection.start` comes after our protocol header. RabbitMQ logs a warning for each
    /// greeting that leads to nothing, however it ends; not so for the login.
    AmqpGreeting,
    /// A login that opens a virtual host and closes it cleanly.
    AmqpLogin {
        /// As whom.
        user: String,
        /// The password.
        password: String,
        /// Which virtual host.
        vhost: String,
    },
    /// The broker's management says that there is no alarm on this node, and is there to say so: while a node is
    /// drained it is not. Being critical for a quorum is shown and does not count.
    AmqpManagement {
        /// Port of its management, 15672.
        port: u16,
        /// As whom.
        user: String,
        /// The password.
        password: String,
    },
    /// Both of the above.
    AmqpFull {
        /// As whom.
        user: String,
        /// The password.
        password: String,
        /// Which virtual host.
        vhost: String,
        /// Port of its management.
        port: u16,
    },
}

/// What an HTTP answer has to be (`http-check expect`).
#[derive(Clone, Debug)]
pub struct Expect {
    /// `!`.
    pub negated: bool,
    /// What.
    pub what: Expected,
}

/// What an answer is compared with.
#[derive(Clone, Debug)]
pub enum Expected {
    /// 2xx or 3xx.
    Success,
    /// One of these ranges of statuses.
    Statuses(Vec<(u16, u16)>),
    /// `rstatus`.
    StatusRegex(regex::bytes::Regex),
    /// The body contains it (`string`).
    Body(String),
    /// `rstring`.
    BodyRegex(regex::bytes::Regex),
}

impl PartialEq for Expect {
    fn eq(&self, other: &Self) -> bool {
        let regexes = |regex: &regex::bytes::Regex| regex.as_str().to_owned();
        let text = |what: &Expected| match what {
            Expected::Success => (0, String::new()),
            Expected::Statuses(ranges) => (1, format!("{ranges:?}")),
            Expected::StatusRegex(regex) => (2, regexes(regex)),
            Expected::Body(body) => (3, body.clone()),
            Expected::BodyRegex(regex) => (4, regexes(regex)),
        };
        self.negated == other.negated && text(&self.what) == text(&other.what)
    }
}

/// A step of `tcp-check`.
#[derive(Clone, Debug)]
pub enum Step {
    /// `connect`, again, perhaps to another port or with TLS.
    Connect {
        /// Port, the check's own unless given.
        port: Option<u16>,
        /// With TLS.
        tls: bool,
    },
    /// `send`, `send-binary`.
    Send(Vec<u8>),
    /// `expect string|binary`.
    Expect {
        /// These octets somewhere in what came so far.
        octets: Vec<u8>,
        /// `!`.
        negated: bool,
    },
    /// What a MySQL server says: its greeting, or that somebody is let in.
    ExpectMysql {
        /// The second packet, not the first.
        login: bool,
    },
    /// `expect rstring`.
    ExpectRegex {
        /// Matched with what came so far.
        regex: regex::bytes::Regex,
        /// `!`.
        negated: bool,
    },
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// `agent-check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Port (`agent-port`).
    pub port: u16,
    /// Address (`agent-addr`), the server's unless given.
    pub address: Option<IpAddr>,
    /// How often (`agent-inter`).
    pub inter: Duration,
    /// Said first (`agent-send`).
    pub send: Option<String>,
}

/// Failures in traffic that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observe {
    /// Connections that fail.
    Layer4,
    /// Answers that are wrong, too.
    Layer7,
}

/// TLS to a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// Whether its certificate is looked at.
    pub verify: Verify,
    /// Name sent and expected (`sni str(...)`).
    pub sni: Option<String>,
    /// `verifyhost`: the name expected if none is sent.
    pub verify_host: Option<String>,
    /// Protocols offered.
    pub alpn: Vec<String>,
    /// Our certificate and key (`crt`).
    pub certificate: Option<PathBuf>,
}

/// Whether a server's certificate is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Not at all (`verify none`).
    None,
    /// Signed by one of these (`ca-file`).
    Required(PathBuf),
    /// Signed by one that the system trusts (`ca-file @system-ca`).
    System,
}

/// PROXY protocol header to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendProxy {
    /// Which form.
    pub version: ProxyVersion,
    /// `send-proxy-v2-ssl`, `-ssl-cn`: with what is known of the client's TLS.
    pub tls: bool,
    /// `proxy-v2-options unique-id`.
    pub unique_id: bool,
}

pub use warren_kit::proxy_header::ProxyVersion;

/// How hosts that have vanished are found on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// At all.
    pub on: bool,
    /// Silence before the first probe.
    pub idle: Duration,
    /// Between probes.
    pub interval: Duration,
    /// Probes without answer after which the connection is dead.
    pub count: u32,
    /// How long a peer may leave unanswered what was sent to it. Who takes nothing and says so is not meant.
    pub unanswered: Duration,
}

impl Default for Keepalive {
    /// On, so that a host that died without a word is noticed within a minute: neither HAProxy nor the kernel does so
    /// by itself.
    fn default() -> Self {
        Self {
            on: true,
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            unanswered: Duration::from_secs(30),
        }
    }
}
