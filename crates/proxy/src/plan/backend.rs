//! Servers that share the work, and how.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use warren_balance::Algorithm;

use super::{ErrorPage, ForwardFor, HttpRule, Keepalive, Logging, Mode, Persist, ProxyId, Server, UseServer};

/// A backend, or the back half of a `listen`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name, unique among backends.
    pub name: String,
    /// Number in the statistics.
    pub id: ProxyId,
    /// What it speaks; a frontend of mode http only uses backends of mode http.
    pub mode: Mode,
    /// `disabled`.
    pub disabled: bool,
    /// How connections are spread.
    pub balance: Balance,
    /// In the order of the file.
    pub servers: Vec<Arc<Server>>,
    /// `option allbackups`.
    pub all_backups: bool,
    /// Further attempts to connect (`retries`).
    pub retries: u32,
    /// `option redispatch`: after how many failed attempts another server is tried; negative counts from the last
    /// attempt (HAProxy: -1, only the last one, is what `option redispatch` alone means; 1 is every one).
    pub redispatch: Option<i32>,
    /// What is tried again in mode http (`retry-on`).
    pub retry_on: RetryOn,
    /// Connections at which servers with `minconn` reach `maxconn` (`fullconn`).
    pub fullconn: NonZeroU32,
    /// Its timeouts.
    pub timeouts: BackendTimeouts,
    /// `http-request`.
    pub request_rules: Vec<HttpRule>,
    /// `http-response`.
    pub response_rules: Vec<HttpRule>,
    /// `http-after-response`.
    pub after_rules: Vec<HttpRule>,
    /// `use-server`: the first that holds and whose server is not down.
    pub server_rules: Vec<UseServer>,
    /// `force-persist`, `ignore-persist`: the first that holds.
    pub persist_rules: Vec<Persist>,
    /// `option persist`: cookies and `use-server` lead to servers that are down, too.
    pub use_down: bool,
    /// `option forwardfor`.
    pub forwardfor: Option<ForwardFor>,
    /// `option originalto`.
    pub originalto: Option<ForwardFor>,
    /// `option http-server-close` or `httpclose`: no keep-alive with servers.
    pub server_close: bool,
    /// `option httpclose`: none with clients either.
    pub http_close: bool,
    /// `cookie`: clients return to the server whose name is in it.
    pub cookie: Option<StickyCookie>,
    /// `errorfile`s.
    pub error_pages: Vec<ErrorPage>,
    /// `stick-table` with `stick on src`.
    pub stick: Option<Stick>,
    /// Moving connections to a server that came back (amqp, warren.toml only).
    pub rebalance: Option<Rebalance>,
    /// Keepalive of the servers' side (`option srvtcpka`).
    pub keepalive: Keepalive,
    /// Of changes of its servers' state.
    pub log: Logging,
    /// `option log-health-checks`: every change of a check's result.
    pub log_checks: bool,
    /// At the start servers are as [`Global::server_state_file`](super::Global::server_state_file) says
    /// (`load-server-state-from-file global`).
    pub server_state: bool,
    /// `description`.
    pub description: Option<String>,
}

/// `cookie NAME ...`: which server a client had, kept by the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name.
    pub name: String,
    /// Who makes it.
    pub mode: CookieMode,
    /// `indirect`: the server never sees it, and a client that has the right one gets no other.
    pub indirect: bool,
    /// `nocache`: a response that sets it may not be kept by others.
    pub nocache: bool,
    /// `postonly`: it is only set in responses to POST.
    pub postonly: bool,
    /// `preserve`: one that the server sets itself stays.
    pub preserve: bool,
    /// What follows the value: `; path=/; domain=...; HttpOnly`.
    pub attributes: String,
    /// `maxidle`: seconds after which a client that has not been here is forgotten.
    pub max_idle: Option<u32>,
    /// `maxlife`: seconds after which any client is.
    pub max_life: Option<u32>,
}

/// Who makes the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieMode {
    /// The server; it is only read.
    Passive,
    /// The server; what it says is replaced by the server's own word.
    Rewrite,
    /// The proxy.
    Insert,
    /// The server; its value gets the server's word and a `~` in front.
    Prefix,
}

/// How connections are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Which algorithm.
    pub algorithm: Algorithm,
    /// What a hash goes by.
    pub on: HashOn,
    /// As written, for the statistics (`roundrobin`, `leastconn`, `source`, `uri`, `hdr`, `random`).
    pub name: &'static str,
}

/// What a hash goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address (`balance source`).
    #[default]
    Source,
    /// Path without query (`balance uri`).
    Path,
    /// With query (`balance uri whole`).
    Url,
    /// `balance hdr(name)`.
    Header(String),
    /// `balance url_param name`.
    UrlParam(String),
}

/// What is tried again in mode http. Connection failures always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// `empty-response`: closed before anything came.
    pub empty_response: bool,
    /// `response-timeout`.
    pub response_timeout: bool,
    /// `junk-response`.
    pub junk_response: bool,
    /// Statuses such as 503.
    pub statuses: Vec<u16>,
}

/// `stick-table type ip` with `stick on src`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stick {
    /// Entries.
    pub size: u32,
    /// How long after they were used last.
    pub expire: Option<Duration>,
}

/// Moving connections back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebalance {
    /// How long a server has to have been up.
    pub after: Duration,
    /// Connections moved per second.
    pub rate: NonZeroU32,
    /// A connection is idle, and may be moved, after this silence.
    pub idle: Duration,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(60),
            rate: NonZeroU32::MIN.saturating_add(9),
            idle: Duration::from_secs(1),
        }
    }
}

/// `None` is without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendTimeouts {
    /// For a connection to stand (`timeout connect`).
    pub connect: Option<Duration>,
    /// Server silent while something is expected of it (`timeout server`).
    pub server: Option<Duration>,
    /// After one direction was closed (`timeout server-fin`).
    pub server_fin: Option<Duration>,
    /// Waiting for a slot (`timeout queue`); `connect` unless given.
    pub queue: Option<Duration>,
    /// Silence in both directions once it is a tunnel (`timeout tunnel`); replaces client and server.
    pub tunnel: Option<Duration>,
    /// For a check once connected (`timeout check`).
    pub check: Option<Duration>,
}
