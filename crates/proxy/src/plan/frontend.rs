//! Where clients come in.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketAddrUnix;

use super::{
    Answer, BackendName, Capture, Condition, HttpRule, Keepalive, Logging, Mode, ProxyId, Switch, SwitchTo,
    TcpRule, Template,
};

/// A frontend, or the front half of a `listen`.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Its name, unique among frontends.
    pub name: String,
    /// Number in the statistics.
    pub id: ProxyId,
    /// What it speaks.
    pub mode: Mode,
    /// `disabled`: it exists, and nothing listens.
    pub disabled: bool,
    /// Where it listens; may be none.
    pub binds: Vec<Bind>,
    /// Sessions at once.
    pub maxconn: NonZeroU32,
    /// New sessions per second (`rate-limit sessions`).
    pub rate_limit: Option<NonZeroU32>,
    /// Per client address, whose connections are counted in the table of this name.
    pub source_limits: Option<SourceLimits>,
    /// First that holds is taken (`use_backend`).
    pub switches: Vec<Switch>,
    /// Otherwise (`default_backend`, or the other half of `listen` if it has servers).
    pub default_backend: Option<BackendName>,
    /// `tcp-request connection|content`, in order.
    pub tcp_rules: Vec<TcpRule>,
    /// `http-request`, `redirect`, in order; those of the backend follow.
    pub request_rules: Vec<HttpRule>,
    /// `http-response`, after those of the backend.
    pub response_rules: Vec<HttpRule>,
    /// `http-after-response`, after those of the backend.
    pub after_rules: Vec<HttpRule>,
    /// `option forwardfor`: the header's name, `None` if off.
    pub forwardfor: Option<ForwardFor>,
    /// `option originalto`: the same of the address that the client came in by.
    pub originalto: Option<ForwardFor>,
    /// `stats enable` and the like.
    pub stats: Option<Arc<StatsPage>>,
    /// `stats admin if CONDITION`: whom its buttons are for; empty is everybody.
    pub stats_admin: Vec<Condition>,
    /// What is kept of requests for the log (`capture request header`, `declare capture request`).
    pub request_captures: Vec<Capture>,
    /// The same of responses.
    pub response_captures: Vec<Capture>,
    /// `capture cookie NAME len N`: the beginning of `NAME=value`, and how much is kept.
    pub cookie_capture: Option<(String, usize)>,
    /// `unique-id-format`.
    pub unique_id: Option<Template>,
    /// `unique-id-header`.
    pub unique_id_header: Option<String>,
    /// `timeout tarpit`; 5 s unless given.
    pub tarpit: Option<Duration>,
    /// `monitor-uri`: answered 200 by the proxy itself.
    pub monitor_uri: Option<String>,
    /// `monitor fail`: 503 if one of them holds.
    pub monitor_fail: Vec<Condition>,
    /// `option httpclose`: no keep-alive on either side. `option http-server-close` only concerns servers.
    pub http_close: bool,
    /// `errorfile`s and their like.
    pub error_pages: Vec<ErrorPage>,
    /// Its timeouts.
    pub timeouts: FrontendTimeouts,
    /// Keepalive of the client's side (`option clitcpka`).
    pub keepalive: Keepalive,
    /// What it logs.
    pub log: Logging,
    /// A connection that waits until the client has said something is not forwarded before (`tcp-request inspect-delay`).
    pub inspect_delay: Option<Duration>,
    /// `description`.
    pub description: Option<String>,
    /// `option socket-stats`: a row for every bind.
    pub socket_stats: bool,
}

impl Frontend {
    /// Whether clients may be led to this backend, which speaks that.
    #[must_use]
    pub fn may_lead_to(&self, name: &str, mode: Mode) -> bool {
        let switched = self.switches.iter().any(|switch| match &switch.backend {
            SwitchTo::Backend(other) => **other == *name,
            SwitchTo::Named(_) => mode == Mode::Http,
        });
        switched || self.default_backend.as_deref() == Some(name)
    }
}

/// `option forwardfor`, `option originalto`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardFor {
    /// Name of the header, `X-Forwarded-For` or `X-Original-To` unless given.
    pub header: String,
    /// Not for addresses of this network (`except`).
    pub except: Option<(IpAddr, u8)>,
    /// Only if the client sent none (`if-none`).
    pub if_none: bool,
}

/// A `bind` line, of one address.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Where.
    pub address: BindAddress,
    /// Name in the statistics (`name`).
    pub name: Option<String>,
    /// TLS is spoken here.
    pub tls: Option<Arc<BindTls>>,
    /// Every connection begins with a PROXY protocol header (`accept-proxy`).
    pub accept_proxy: bool,
    /// A PROXY protocol header is believed from these networks only; others are ordinary clients (warren.toml).
    pub proxy_from: Vec<(IpAddr, u8)>,
    /// Connections that wait to be accepted (`backlog`).
    pub backlog: Option<NonZeroU32>,
    /// `maxconn` of this listener alone.
    pub maxconn: Option<NonZeroU32>,
    /// `v6only`.
    pub v6only: bool,
    /// `interface`.
    pub interface: Option<String>,
    /// TCP_USER_TIMEOUT (`tcp-ut`): ends those too that are there and take nothing for so long.
    pub user_timeout: Option<Duration>,
    /// Of a unix socket: owner, group, permissions.
    pub unix: (Option<String>, Option<String>, Option<u32>),
}

/// Where a frontend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindAddress {
    /// `*:80` is 0.0.0.0:80, `:::80` is `[::]:80`.
    Tcp(SocketAddr),
    /// A path, or [`ABSTRACT`] and a name.
    Unix(PathBuf),
}

/// What stands before names of sockets that are in no directory.
pub const ABSTRACT: &str = "abns@";
/// The longest such name. HAProxy fills names with zeros up to the end of the address, so that is what is done.
pub const ABSTRACT_MAX: usize = 107;

/// Where the kernel finds it.
///
/// # Errors
/// The path is too long.
pub(crate) fn socket_address(path: &Path) -> rustix::io::Result<SocketAddrUnix> {
    match path.to_str().and_then(|path| path.strip_prefix(ABSTRACT)) {
        Some(name) => {
            let mut filled = [0; ABSTRACT_MAX];
            for (place, octet) in filled.iter_mut().zip(name.as_bytes()) {
                *place = *octet;
            }
            SocketAddrUnix::new_abstract_name(&filled)
        }
        None => SocketAddrUnix::new(path),
    }
}

/// TLS on a bind line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BindTls {
    /// `crt`s: PEM files with certificates and key in one, or directories of such.
    pub certificates: Vec<PathBuf>,
    /// `ca-file` and `verify`.
    pub clients: ClientCertificates,
    /// Protocols offered by ALPN, in order of preference.
    pub alpn: Vec<String>,
    /// `ssl-min-ver`; TLS 1.2 is the least there is.
    pub min_version: TlsVersion,
    /// `strict-sni`: a client that names no known host gets no certificate.
    pub strict_sni: bool,
}

/// Who has to show a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// Nobody.
    #[default]
    None,
    /// Whoever has one (`verify optional`).
    Optional(PathBuf),
    /// Everybody (`verify required`).
    Required(PathBuf),
}

/// Version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Limits per client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    /// Connections at once.
    pub connections: Option<NonZeroU32>,
    /// New connections within the table's period.
    pub rate: Option<NonZeroU32>,
}

/// The page of statistics inside a frontend of mode http.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsPage {
    /// Path it is found at (`stats uri`), `/haproxy?stats` unless given.
    pub uri: String,
    /// Shown when asked for a password (`stats realm`).
    pub realm: String,
    /// `stats auth`: user and password. Empty: everybody may look.
    pub users: Vec<(String, String)>,
    /// `stats admin if TRUE`: buttons that change things.
    pub admin: bool,
    /// `stats refresh`.
    pub refresh: Option<Duration>,
    /// `stats hide-version`.
    pub hide_version: bool,
    /// `stats show-node`, `stats show-desc`, `stats show-legends`.
    pub show_node: Option<String>,
    /// `stats show-desc`.
    pub show_description: Option<String>,
    /// `stats show-legends`.
    pub show_legends: bool,
    /// `stats scope`: only these proxies; empty is all.
    pub scope: Vec<String>,
}

impl StatsPage {
    /// Whether it is about the proxy of this name.
    #[must_use]
    pub fn shows(&self, proxy: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|name| name == proxy)
    }
}

/// What clients are told in the place of a status of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Status it stands for.
    pub status: u16,
    /// What.
    pub content: PageContent,
}

/// Where such a response comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageContent {
    /// `errorfile`, `errorloc`: a whole response, head and all; files are read at the start.
    Whole(Arc<[u8]>),
    /// `http-error`: made for each request.
    Made(Arc<Answer>),
}

/// `None` is without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontendTimeouts {
    /// Client silent while something is expected of it (`timeout client`).
    pub client: Option<Duration>,
    /// After one direction was closed (`timeout client-fin`).
    pub client_fin: Option<Duration>,
    /// For a whole request head (`timeout http-request`).
    pub http_request: Option<Duration>,
    /// Between requests (`timeout http-keep-alive`); `http_request` unless given.
    pub http_keep_alive: Option<Duration>,
    /// For the client's part of a TLS handshake.
    pub handshake: Option<Duration>,
}
