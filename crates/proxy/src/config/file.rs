//! The `[proxy]` section as it is written: every key, with the rule it stands for. A haproxy.cfg becomes the same types.
//!
//! The comments on these fields are the configuration reference.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use warren_kit::duration::HumanDuration;

use super::named::Named;

/// The load balancer: `[proxy]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Client connections of the process at once. Default: what the open-file limit allows.
    pub maxconn: Option<Spanned<i64>>,
    /// New sessions per second of the process. No limit unless given.
    pub maxconnrate: Option<Spanned<i64>>,
    /// New TLS connections of clients per second. No limit unless given.
    pub maxsslrate: Option<Spanned<i64>>,
    /// Worker threads. Default: one for each processor.
    pub threads: Option<Spanned<i64>>,
    /// Where log lines go, as after `log` in haproxy.cfg: `"127.0.0.1 local0 info"`, `"/dev/log local0"`, `"stdout"`, or
    /// `"journal"`. Default: nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Spanned<String>>,
    /// Word before the process number in log lines. Default `"haproxy"`, so that what reads them now reads them still.
    pub log_tag: Option<String>,
    /// Name of this host in syslog lines sent over the network. Default: none.
    pub log_hostname: Option<String>,
    /// Where Prometheus metrics are served, e.g. `"127.0.0.1:9113"`. Off unless given.
    pub metrics: Option<Spanned<String>>,
    /// Runtime sockets for `socat`, exporters and hatop: a path, or a table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<Spanned<Socket>>,
    /// How long a silent client of such a socket is kept. Default `"10s"`.
    pub socket_timeout: Option<Spanned<HumanDuration>>,
    /// Go to the background once ready. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub daemon: bool,
    /// File that gets the process number.
    pub pid_file: Option<PathBuf>,
    /// File with the answer to `show servers state`, for backends with `server_state`. Read at the start.
    pub server_state_file: Option<PathBuf>,
    /// Whom to become once everything is bound, if started by root.
    pub user: Option<Spanned<String>>,
    /// The group for that; the user's own unless given.
    pub group: Option<Spanned<String>>,
    /// Name of this host on the statistics page; the host name unless given.
    pub node: Option<String>,
    /// A line about it for the same page.
    pub description: Option<String>,
    /// How long a stopping process waits for its sessions. Default: until the last one ends.
    pub drain_timeout: Option<Spanned<HumanDuration>>,
    /// AMQP connections closed politely per second when many have to go. Default 100.
    pub drain_rate: Option<Spanned<i64>>,
    /// Checks are spread in time by so many percent of their interval, 0 to 50. Default 5.
    pub spread_checks: Option<Spanned<i64>>,
    /// Octets of one thread's buffer, and the most of an HTTP head. Default 65536 and 16384; this sets both.
    pub buffer: Option<Spanned<i64>>,
    /// Timeouts of every frontend and backend that does not say otherwise.
    #[serde(skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// Lists of users and their passwords, for `http_auth(LIST)` in conditions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, BTreeMap<String, Spanned<String>>>,
    /// Frontend and backend in one, by name.
    #[serde(skip_serializing_if = "Named::is_empty")]
    pub listen: Named<Section>,
    /// Where clients come in, by name.
    #[serde(skip_serializing_if = "Named::is_empty")]
    pub frontend: Named<Section>,
    /// Servers that share the work, by name.
    #[serde(skip_serializing_if = "Named::is_empty")]
    pub backend: Named<Section>,
}

/// A path, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Socket {
    /// Where it listens.
    Short(String),
    /// With who may use it.
    Long(SocketTable),
}

/// A runtime socket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketTable {
    /// A path, or `ipv4@127.0.0.1:9999`.
    pub address: String,
    /// Owner of the path. A name that does not exist is a warning.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its permissions, such as `"660"`.
    pub mode: Option<String>,
    /// What may be done: `"user"` (look), `"operator"` (look at everything, clear counters) or `"admin"`. Default `"operator"`.
    pub level: Option<String>,
}

/// `[proxy.frontend.NAME]` (where clients come in), `[proxy.backend.NAME]` (servers that share the work) and
/// `[proxy.listen.NAME]` (both in one). Keys marked (frontend) have no place in a backend, and the other way round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Section {
    /// (frontend) Where it listens: `"*:5672"`, `"[::]:80"`, `"/run/x.sock"`, a table, or a list of those.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "super::short_forms::one_or_more"
    )]
    pub bind: Vec<Spanned<Bind>>,
    /// What it speaks: `"tcp"`, `"http"` or `"amqp"`. Default: `"amqp"` if its servers' port is 5672, as its backend for a
    /// frontend, else `"tcp"`.
    pub mode: Option<Spanned<String>>,
    /// Number in the statistics. Default: by its place in the file, from 1.
    pub id: Option<Spanned<i64>>,
    /// It exists, and does nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// A line about it for the statistics page.
    pub description: Option<String>,
    /// (frontend) Sessions at once. Default: as many as the process may have.
    pub maxconn: Option<Spanned<i64>>,
    /// (frontend) New sessions per second. No limit unless given.
    pub rate_limit: Option<Spanned<i64>>,
    /// (frontend) Limits for each client address.
    pub per_source: Option<Spanned<PerSource>>,
    /// What is remembered of clients, for rules that count them: `"track-sc0 src"`. It has the name of this section.
    pub table: Option<Spanned<Table>>,
    /// (frontend) The backend, unless `use_backend` chooses another.
    pub default_backend: Option<Spanned<String>>,
    /// Conditions with names, as after `acl` in haproxy.cfg: `"is_api path_beg /api"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acl: Vec<Spanned<String>>,
    /// (frontend) Which backend, as in haproxy.cfg: `"api if is_api"`. The first that holds is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub use_backend: Vec<Spanned<String>>,
    /// Who may connect, as in haproxy.cfg: `"connection reject if { src 192.0.2.0/24 }"`. A backend may have `content` rules
    /// if the frontends before it lead nowhere else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcp_request: Vec<Spanned<String>>,
    /// How long a connection waits for what the `content` rules of `tcp_request` look at. Default: not at all.
    pub inspect_delay: Option<Spanned<HumanDuration>>,
    /// What becomes of requests, as in haproxy.cfg: `"set-header X-Proto https if { ssl_fc }"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_request: Vec<Spanned<String>>,
    /// What becomes of responses, as in haproxy.cfg: `"del-header Server"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_response: Vec<Spanned<String>>,
    /// What becomes of all that clients are told, pages of errors and redirections included, as in haproxy.cfg:
    /// `"set-header Strict-Transport-Security max-age=31536000"`. After `http_response`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_after_response: Vec<Spanned<String>>,
    /// Redirections, as in haproxy.cfg: `"scheme https unless { ssl_fc }"`. They come after `http_request`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect: Vec<Spanned<String>>,
    /// (frontend) What the log shows of requests as `%hr`: `{ header = "Host", length = 40 }`, or without a header for a rule
    /// such as `"capture req.hdr(host) id 0"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_captures: Vec<Spanned<Capture>>,
    /// (frontend) The same of responses, as `%hs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_captures: Vec<Spanned<Capture>>,
    /// (frontend) A cookie that the log shows as `%CC` and `%CS`: `{ name = "SESSION=", length = 40 }`.
    pub cookie_capture: Option<Spanned<CookieCapture>>,
    /// (frontend) A name for each request, with `%` variables; `%ID` in the log.
    pub unique_id_format: Option<Spanned<String>>,
    /// (frontend) The header that tells it to servers.
    pub unique_id_header: Option<Spanned<String>>,
    /// (frontend) The statistics page: `true`, or a table.
    pub stats: Option<Spanned<StatsUse>>,
    /// (frontend) A path that is answered with status 200 by the proxy itself.
    pub monitor_uri: Option<Spanned<String>>,
    /// (frontend) When it is answered with status 503, as in haproxy.cfg: `"if { nbsrv(app) lt 1 }"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monitor_fail: Vec<Spanned<String>>,
    /// Servers are told the client's address in a header: `true`, or a table.
    pub forwardfor: Option<Spanned<ForwardForUse>>,
    /// Servers are told in a header which address the client came in by: `true`, or a table. The header is
    /// `X-Original-To` unless it says otherwise, `except` is about that address.
    pub originalto: Option<Spanned<ForwardForUse>>,
    /// No keep-alive on either side.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http_close: bool,
    /// No keep-alive with servers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub server_close: bool,
    /// Files with whole responses, by status: `{ 503 = "/etc/warren/503.http" }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub error_files: BTreeMap<String, Spanned<PathBuf>>,
    /// Where clients are sent instead of being told of an error, by status: `{ 503 = "https://example.org/sorry" }`. With
    /// `303` before it, they ask there with GET.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub error_redirects: BTreeMap<String, Spanned<String>>,
    /// Responses made for errors, as in haproxy.cfg: `"status 503 content-type text/plain lf-string 'not %[path]'"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_error: Vec<Spanned<String>>,
    /// Where log lines go, as in `[proxy]`; `"global"` stands for that list. Default `["global"]`.
    pub log: Option<Vec<Spanned<String>>>,
    /// (frontend) What a line looks like: `"plain"`, `"tcplog"`, `"httplog"`, `"httpslog"`, `"json"`, or a format of your own with `%`
    /// variables. Default: `"httplog"` in mode http, else `"tcplog"`.
    pub log_format: Option<Spanned<String>>,
    /// (frontend) No line for connections that carried nothing. Default true.
    pub dontlognull: Option<bool>,
    /// (frontend) Lines only for what went wrong. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dontlog_normal: bool,
    /// (frontend) Lines as soon as the server answers instead of at the end. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub logasap: bool,
    /// (frontend) What went wrong is logged with level `err`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log_separate_errors: bool,
    /// Its own word before the process number in log lines.
    pub log_tag: Option<String>,
    /// (backend) A line for every change of a check's result. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log_health_checks: bool,
    /// (backend) At the start servers are as `server_state_file` says. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub server_state: bool,
    /// (frontend) A row in the statistics for every address of `bind`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub socket_stats: bool,
    /// (frontend) TCP keepalive with clients: `true`, `false`, or a table. Default true.
    pub client_keepalive: Option<Spanned<KeepaliveUse>>,
    /// (backend) TCP keepalive with servers: `true`, `false`, or a table. Default true.
    pub server_keepalive: Option<Spanned<KeepaliveUse>>,
    /// Its timeouts.
    #[serde(skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// (backend) How connections are spread: `"roundrobin"`, `"static-rr"`, `"leastconn"`, `"first"`, `"source"`, `"uri"`,
    /// `"uri whole"`, `"hdr(NAME)"`, `"url_param NAME"`, `"random"` or `"random(N)"`. Default `"leastconn"`, in mode http
    /// `"roundrobin"`.
    pub balance: Option<Spanned<String>>,
    /// (backend) How keys find servers: `"consistent"` (few move when a server goes) or `"map-based"`. Default `"consistent"`.
    pub hash_type: Option<Spanned<String>>,
    /// (backend) Servers by name, each an address or a table; or a list of addresses.
    #[serde(skip_serializing_if = "Servers::is_empty")]
    pub servers: Servers,
    /// (backend) What holds for every server that does not say otherwise.
    pub server_defaults: Option<Box<Server>>,
    /// (backend) How servers are checked: `"tcp"`, `"tls"`, `"http"`, `"amqp"`, `false`, or a table. Default: `"amqp"` in mode
    /// amqp, else `"tcp"`.
    pub check: Option<Spanned<CheckUse>>,
    /// (backend) All backup servers work when no other server does, not only the first. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_backups: bool,
    /// (backend) Further attempts to connect. Default 3.
    pub retries: Option<Spanned<i64>>,
    /// (backend) Attempts after which another server is tried; -1 is before the last one, 0 is never. Default 1.
    pub redispatch: Option<Spanned<i64>>,
    /// (backend) What is tried again in mode http besides connections that fail: `"empty-response"`, `"response-timeout"`,
    /// `"junk-response"`, statuses such as `"503"`. Default: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry_on: Vec<Spanned<String>>,
    /// (backend) Connections at which servers with `minconn` may have `maxconn`. Default: a tenth of what its frontends may have.
    pub fullconn: Option<Spanned<i64>>,
    /// (backend) Clients return to the server that a cookie names, as after `cookie` in haproxy.cfg:
    /// `"SRV insert indirect nocache"`. Servers have a `cookie`, too.
    pub cookie: Option<Spanned<String>>,
    /// (backend) Which server, as in haproxy.cfg: `"one if { src 192.0.2.0/24 }"`. The first that holds and whose server is not
    /// down is taken, whatever a cookie says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub use_server: Vec<Spanned<String>>,
    /// (backend) When `cookie` leads to servers that are down or in maintenance (`"force if { src 192.0.2.9 }"`), and when it
    /// does not count (`"ignore if { path_beg /static }"`). The first that holds is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub persist: Vec<Spanned<String>>,
    /// (backend) `cookie` and `use_server` lead to servers that are down, too. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_down: bool,
    /// (backend) Clients return to the server they had: `{ size = 100000, expire = "30m" }`.
    pub stick: Option<Spanned<Stick>>,
    /// (backend) Move connections to a server that came back (mode amqp): `true`, or a table. Default false.
    pub rebalance: Option<Spanned<RebalanceUse>>,
}

/// Durations; `"0s"` is without end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection to a server to stand. Default `"5s"`.
    pub connect: Option<Spanned<HumanDuration>>,
    /// Silence of a client of which something is expected. Default `"60s"` in mode http, else none: keepalive finds the dead.
    pub client: Option<Spanned<HumanDuration>>,
    /// Silence of a server of which something is expected. Default as `client`.
    pub server: Option<Spanned<HumanDuration>>,
    /// Waiting for a server that has a free slot. Default `"30s"`.
    pub queue: Option<Spanned<HumanDuration>>,
    /// Silence in both directions once it is a tunnel, such as a WebSocket. Default `"1h"`.
    pub tunnel: Option<Spanned<HumanDuration>>,
    /// A client that closed one direction. Default `"30s"`.
    pub client_fin: Option<Spanned<HumanDuration>>,
    /// A server that closed one direction. Default `"30s"`.
    pub server_fin: Option<Spanned<HumanDuration>>,
    /// For a whole request head. Default `"10s"`.
    pub http_request: Option<Spanned<HumanDuration>>,
    /// Between requests. Default `"60s"`.
    pub http_keep_alive: Option<Spanned<HumanDuration>>,
    /// How long `tarpit` keeps somebody waiting. Default `"5s"`.
    pub tarpit: Option<Spanned<HumanDuration>>,
    /// For a client's part of a TLS handshake. Default `"10s"`.
    pub handshake: Option<Spanned<HumanDuration>>,
    /// For a check's answer once connected. Default: the interval of the check.
    pub check: Option<Spanned<HumanDuration>>,
}

/// An address, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Bind {
    /// Where.
    Short(String),
    /// With everything said.
    Long(Box<BindTable>),
}

/// Where a frontend listens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BindTable {
    /// `"*:80"`, `"192.0.2.1:80"`, `"[2001:db8::1]:80"`, `":8000-8003"`, several with commas, or the path of a socket.
    pub address: String,
    /// Name in the statistics.
    pub name: Option<String>,
    /// TLS is spoken here.
    pub tls: Option<BindTls>,
    /// Every connection begins with a PROXY protocol header.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept_proxy: bool,
    /// A PROXY protocol header is believed from these networks; others are ordinary clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_from: Vec<Spanned<String>>,
    /// Connections that wait to be accepted. Default: the kernel's limit.
    pub backlog: Option<Spanned<i64>>,
    /// Sessions of this address at once.
    pub maxconn: Option<Spanned<i64>>,
    /// An IPv6 address takes no IPv4 clients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub v6only: bool,
    /// Only clients that come in here.
    pub interface: Option<String>,
    /// TCP_USER_TIMEOUT as Linux has it: a client that takes nothing for so long is cut off even if it is there. None unless
    /// given: `client_keepalive` finds those that are not.
    pub user_timeout: Option<Spanned<HumanDuration>>,
    /// Owner of a socket's path.
    pub user: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// Its permissions, such as `"660"`.
    pub mode: Option<String>,
}

/// TLS with clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BindTls {
    /// PEM files with certificates and key in one, or directories of such.
    #[serde(deserialize_with = "super::short_forms::one_or_more")]
    pub certificates: Vec<Spanned<PathBuf>>,
    /// Whether clients show a certificate: `"none"`, `"optional"` or `"required"`. Default `"none"`.
    pub clients: Option<Spanned<String>>,
    /// Who has to have signed it.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// Protocols offered, the best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// `"1.2"` or `"1.3"`. Default `"1.2"`.
    pub min_version: Option<Spanned<String>>,
    /// A client that names no known host gets no certificate. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict_sni: bool,
}

/// Limits for each client address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerSource {
    /// Connections at once. No limit unless given.
    pub connections: Option<Spanned<i64>>,
    /// New connections within `period`. No limit unless given.
    pub rate: Option<Spanned<i64>>,
    /// Default `"10s"`.
    pub period: Option<Spanned<HumanDuration>>,
    /// Addresses remembered. Default 100000.
    pub size: Option<Spanned<i64>>,
    /// How long after they were seen last. Default `"30s"`.
    pub expire: Option<Spanned<HumanDuration>>,
}

/// What is remembered of clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Table {
    /// What they are known by: `"ip"`, `"ipv6"`, `"integer"` or `"string"`. Default `"ip"`.
    pub kind: Option<Spanned<String>>,
    /// Octets of a string that count. Default 32.
    pub length: Option<Spanned<i64>>,
    /// How many are remembered. Default 100000.
    pub size: Option<Spanned<i64>>,
    /// How long after they were seen last. Default: until there is no room.
    pub expire: Option<Spanned<HumanDuration>>,
    /// What is counted, as in haproxy.cfg: `"conn_cur"`, `"http_req_rate(10s)"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub store: Vec<Spanned<String>>,
}

/// Something that the log shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// The header. Default: what a rule captures.
    pub header: Option<String>,
    /// Octets that are kept of it. Default 64.
    pub length: Option<Spanned<i64>>,
}

/// A cookie that the log shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieCapture {
    /// How it begins: `"NAME="`, or only the beginning of a name.
    pub name: String,
    /// Octets that are kept of it. Default 64.
    pub length: Option<Spanned<i64>>,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StatsUse {
    /// With all defaults, or not.
    Switch(bool),
    /// With everything said.
    Table(Box<StatsTable>),
}

/// The statistics page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatsTable {
    /// Path it is found at. Default `"/haproxy?stats"`.
    pub uri: Option<String>,
    /// Shown when a password is asked for. Default `"HAProxy Statistics"`.
    pub realm: Option<String>,
    /// Who may look: user and password. Default: everybody.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Spanned<String>>,
    /// Buttons that change things. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Whom they are for, as in haproxy.cfg: `"if { src 192.0.2.0/24 }"`; one of these has to hold. Default: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admin_if: Vec<Spanned<String>>,
    /// How often a browser without scripts asks again.
    pub refresh: Option<Spanned<HumanDuration>>,
    /// Do not show the program's version. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hide_version: bool,
    /// Show this host's name: `""`, or another name.
    pub node: Option<String>,
    /// Show a description: `""` for that of `[proxy]`, or another.
    pub description: Option<String>,
    /// Show addresses, algorithms and cookies. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub legends: bool,
    /// Only these frontends and backends; `"."` is this one. Default: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<Spanned<String>>,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ForwardForUse {
    /// With all defaults, or not.
    Switch(bool),
    /// With everything said.
    Table(ForwardForTable),
}

/// The header with the client's address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForwardForTable {
    /// Its name. Default `"X-Forwarded-For"`.
    pub header: Option<String>,
    /// Not for clients of this network.
    pub except: Option<Spanned<String>>,
    /// Only if the client sent none. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub if_none: bool,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum KeepaliveUse {
    /// With all defaults, or not.
    Switch(bool),
    /// With everything said.
    Table(KeepaliveTable),
}

/// TCP keepalive.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepaliveTable {
    /// Silence before the first probe. Default `"30s"`.
    pub idle: Option<Spanned<HumanDuration>>,
    /// Between probes. Default `"10s"`.
    pub interval: Option<Spanned<HumanDuration>>,
    /// Probes without an answer after which the connection is dead. Default 3.
    pub count: Option<Spanned<i64>>,
    /// How long a peer may leave unanswered what was sent to it. One that is there and does not read (a publisher's broker
    /// with a memory alarm) answers, and is waited for. Default `"30s"`.
    pub unanswered: Option<Spanned<HumanDuration>>,
}

/// Servers by name, or a list of addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Servers(pub Named<ServerUse>);

/// An address, or a table.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerUse {
    /// Where.
    Short(Spanned<String>),
    /// With everything said.
    Long(Box<Server>),
}

/// A server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `"host:port"`; or the path of a socket. A name is resolved again and again.
    pub address: Option<Spanned<String>>,
    /// Number in the statistics. Default: by its place in the file, from 1.
    pub id: Option<Spanned<i64>>,
    /// Its share of the work, 0 to 256. Default 1.
    pub weight: Option<Spanned<i64>>,
    /// It only works when no other server does. Default false.
    pub backup: Option<bool>,
    /// It starts in maintenance. Default false.
    pub disabled: Option<bool>,
    /// Connections at once; more wait. No limit unless given.
    pub maxconn: Option<Spanned<i64>>,
    /// The same while little is going on; grows up to `maxconn` with the backend's load.
    pub minconn: Option<Spanned<i64>>,
    /// Connections that may wait for it. No limit unless given.
    pub maxqueue: Option<Spanned<i64>>,
    /// How it is checked, over what its backend says: `false`, a word, or a table.
    pub check: Option<Spanned<CheckUse>>,
    /// A program on the server that says how it is.
    pub agent: Option<Spanned<AgentTable>>,
    /// Follow another server's state: `"BACKEND/SERVER"` or `"SERVER"`.
    pub track: Option<Spanned<String>>,
    /// How long it takes to its full share after coming up. Default `"10s"` in mode amqp, else none.
    pub slow_start: Option<Spanned<HumanDuration>>,
    /// Its sessions when it goes down: `"shutdown-sessions"` or `"keep"`. Default: shut down in mode amqp, else keep.
    pub on_marked_down: Option<Spanned<String>>,
    /// Sessions of backup servers when it comes up: `"shutdown-backup-sessions"` or `"keep"`. Default `"keep"`.
    pub on_marked_up: Option<Spanned<String>>,
    /// Failures in traffic that count: `"off"`, `"layer4"` or `"layer7"`. Default `"off"`.
    pub observe: Option<Spanned<String>>,
    /// Failures in a row that are too many. Default 10.
    pub error_limit: Option<Spanned<i64>>,
    /// What follows then: `"fastinter"`, `"fail-check"`, `"sudden-death"` or `"mark-down"`. Default `"fail-check"`.
    pub on_error: Option<Spanned<String>>,
    /// TLS is spoken to it: `true`, or a table.
    pub tls: Option<Spanned<ServerTlsUse>>,
    /// It is told who the client is by a PROXY protocol header: `"v1"`, `"v2"`, `"v2-ssl"`, or `"off"`. Default `"off"`.
    pub send_proxy: Option<Spanned<String>>,
    /// The header carries the session's number, too. Default false.
    pub proxy_unique_id: Option<bool>,
    /// What cookies call it, if its backend has a `cookie`.
    pub cookie: Option<String>,
    /// TCP_USER_TIMEOUT as Linux has it: a server that takes nothing for so long is cut off even if it is there. None unless
    /// given: `server_keepalive` finds those that are not.
    pub user_timeout: Option<Spanned<HumanDuration>>,
    /// Address to connect from.
    pub source: Option<Spanned<String>>,
    /// A name that cannot be resolved when the proxy starts is an error. Default false.
    pub must_resolve: Option<bool>,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ServerTlsUse {
    /// With all defaults, or not.
    Switch(bool),
    /// With everything said.
    Table(ServerTlsTable),
}

/// TLS with a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTlsTable {
    /// Whether its certificate is looked at. Default true.
    pub verify: Option<bool>,
    /// Who has to have signed it. Default: those whom the system trusts.
    pub ca: Option<Spanned<PathBuf>>,
    /// Name sent, and expected in its certificate. Default: the host's name, if it has one.
    pub sni: Option<String>,
    /// Name expected in its certificate instead.
    pub verify_host: Option<String>,
    /// Protocols offered, the best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// Our certificate and key in one PEM file.
    pub certificate: Option<Spanned<PathBuf>>,
}

/// A word, a switch, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CheckUse {
    /// As it would be anyway, or not at all.
    Switch(bool),
    /// What has to succeed.
    Kind(String),
    /// With everything said.
    Table(Box<CheckTable>),
}

/// How servers are checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckTable {
    /// What has to succeed: `"tcp"` (connecting), `"tls"` (a handshake), `"http"`, `"script"` (`steps`) or `"amqp"`.
    pub kind: Option<Spanned<String>>,
    /// amqp: how far it goes: `"greeting"` (the broker answers our header), `"login"` (open and close a virtual host),
    /// `"management"` (no alarm, not draining, not critical for a quorum) or `"full"` (both). Default `"greeting"`.
    pub level: Option<Spanned<String>>,
    /// amqp: as whom. Default `"guest"`.
    pub user: Option<Spanned<String>>,
    /// amqp: the password. Default `"guest"`.
    pub password: Option<Spanned<String>>,
    /// amqp: which virtual host. Default `"/"`.
    pub vhost: Option<String>,
    /// amqp: port of the management. Default 15672.
    pub management_port: Option<Spanned<i64>>,
    /// http: method. Default `"GET"`.
    pub method: Option<Spanned<String>>,
    /// http: what is asked for. Default `"/"`.
    pub uri: Option<Spanned<String>>,
    /// http: Default `"HTTP/1.1"`.
    pub version: Option<Spanned<String>>,
    /// http: further headers, `"Name: value"`. With HTTP/1.1 a `Host` is sent anyway.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Spanned<String>>,
    /// http: a body to send.
    pub body: Option<String>,
    /// http: what the answer has to be, as after `http-check expect`: `"status 200"`, `"! string down"`. Default: a status of
    /// 200 to 399.
    pub expect: Option<Spanned<String>>,
    /// script: what is sent and expected, as after `tcp-check`: `"send PING\\r\\n"`, `"expect string +PONG"`; and
    /// `"mysql greeting"`, `"mysql login"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Spanned<String>>,
    /// Between two checks. Default `"5s"` for amqp, else `"2s"`.
    pub interval: Option<Spanned<HumanDuration>>,
    /// The same while the server is on its way up or down. Default `"1s"`, or the interval if that is shorter.
    pub fast_interval: Option<Spanned<HumanDuration>>,
    /// The same while it is down. Default: the interval.
    pub down_interval: Option<Spanned<HumanDuration>>,
    /// Successes in a row that bring it up. Default 2.
    pub rise: Option<Spanned<i64>>,
    /// Failures in a row that take it down. Default 3.
    pub fall: Option<Spanned<i64>>,
    /// Another port than the server's.
    pub port: Option<Spanned<i64>>,
    /// Another address than the server's.
    pub address: Option<Spanned<String>>,
    /// Over TLS: `true`, `false`, or a table. Default: as the server, unless the check has a port or address of its own.
    pub tls: Option<Spanned<ServerTlsUse>>,
    /// With a PROXY protocol header. Default: as the server, unless the check has a port or address of its own.
    pub send_proxy: Option<bool>,
}

/// A program on a server that says how it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentTable {
    /// Its port. Required.
    pub port: Option<Spanned<i64>>,
    /// Its address; the server's unless given.
    pub address: Option<Spanned<String>>,
    /// How often it is asked. Default `"2s"`.
    pub interval: Option<Spanned<HumanDuration>>,
    /// Said to it first.
    pub send: Option<String>,
}

/// Clients return to the server they had, by address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stick {
    /// Addresses remembered. Default 100000.
    pub size: Option<Spanned<i64>>,
    /// How long after they were seen last. Default: until there is no room.
    pub expire: Option<Spanned<HumanDuration>>,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RebalanceUse {
    /// With all defaults, or not.
    Switch(bool),
    /// With everything said.
    Table(RebalanceTable),
}

/// Moving connections to a server that came back: those that are idle, the oldest first, never one in the middle of something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebalanceTable {
    /// How long a server has to have been up. Default `"60s"`.
    pub after: Option<Spanned<HumanDuration>>,
    /// Connections moved per second. Default 10.
    pub rate: Option<Spanned<i64>>,
    /// Silence after which a connection may be moved. Default `"1s"`.
    pub idle: Option<Spanned<HumanDuration>>,
}

impl Timeouts {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Servers {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
