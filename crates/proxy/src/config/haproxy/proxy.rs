//! `defaults`, `listen`, `frontend` and `backend`.

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;

use super::balance::{balance, hash_type};
use super::global::TlsDefaults;
use super::keyword::{Entry, Keyword, Places};
use super::server::ServerDraft;
use super::{bind, check, options, rules, server, stats};
use crate::config::file::{
    CheckTable, CheckUse, KeepaliveTable, KeepaliveUse, Section, Servers, StatsTable, StatsUse,
};
use crate::config::named::Named;

/// What a proxy's section is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    #[default]
    Defaults,
    Frontend,
    Backend,
    Listen,
}

impl Kind {
    /// It has clients.
    pub(in crate::config) fn is_front(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }

    /// It has servers.
    pub(in crate::config) fn is_back(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }
}

/// A proxy as far as it was read.
#[derive(Clone)]
pub(in crate::config) struct Draft {
    pub(in crate::config) kind: Kind,
    pub(super) name: Spanned<String>,
    /// What has the same form here as there.
    pub(super) section: Section,
    pub(super) stats: Option<StatsTable>,
    /// What of it `defaults` said.
    inherited_stats: Option<StatsTable>,
    pub(super) servers: Vec<(Spanned<String>, ServerDraft)>,
    pub(super) default_server: ServerDraft,
    /// What a check is; `None` is connecting.
    pub(super) check: Option<Spanned<CheckTable>>,
    pub(super) client_keepalive: Keepalive,
    pub(super) server_keepalive: Keepalive,
    pub(super) source: Option<Spanned<String>>,
    /// How a `stick-table` is laid out, for `stick on` and `track-sc0`.
    pub(super) table: Option<rules::Table>,
}

/// `option clitcpka` and what belongs to it.
#[derive(Clone, Default)]
pub(super) struct Keepalive {
    pub(super) off: bool,
    pub(super) table: KeepaliveTable,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            kind: Kind::Defaults,
            name: Spanned::new(0..0, String::new()),
            section: Section::default(),
            stats: None,
            inherited_stats: None,
            servers: Vec::new(),
            default_server: ServerDraft::default(),
            check: None,
            client_keepalive: Keepalive::default(),
            server_keepalive: Keepalive::default(),
            source: None,
            table: None,
        }
    }
}

impl Draft {
    /// The same, as the beginning of another section.
    pub(super) fn begun(mut self, kind: Kind, name: Spanned<String>) -> Self {
        self.kind = kind;
        self.name = name;
        self.inherited_stats.clone_from(&self.stats);
        self
    }

    /// With HAProxy's defaults written into it, and without what has no meaning in such a section.
    pub(super) fn complete(
        mut self,
        report: &mut Report,
        tls: &TlsDefaults,
    ) -> (Kind, Spanned<String>, Section) {
        let mut section = std::mem::take(&mut self.section);
        let own_span = self.name.span();
        let spot = || own_span.clone();
        section
            .mode
            .get_or_insert_with(|| Spanned::new(spot(), "tcp".to_owned()));
        let log = section.log.take().unwrap_or_default();
        // What is so anyway need not be said.
        let as_always = matches!(log.as_slice(), [only] if only.get_ref() == "global");
        section.log = Some(log).filter(|_| !as_always);
        if self.kind.is_front() {
            for bind in &mut section.bind {
                bind::with_defaults(bind.as_mut(), tls);
            }
            let plain = || Spanned::new(spot(), "plain".to_owned());
            let usual = if is_http(&section) { "httplog" } else { "tcplog" };
            let format = section.log_format.take().unwrap_or_else(plain);
            section.log_format = Some(format).filter(|format| format.get_ref() != usual);
            section.dontlognull = Some(section.dontlognull == Some(true)).filter(|on| !on);
            section.client_keepalive = std::mem::take(&mut self.client_keepalive).complete(&self.name);
            section.stats = self.stats_of(report, &section);
        } else {
            if self.stats != self.inherited_stats {
                report.warn(
                    self.name.span(),
                    format!("the statistics of '{}' are not shown", self.name.get_ref()),
                    "frontends show them: move the `stats` lines to one",
                );
            }
            forget_front(&mut section);
        }
        if self.kind.is_back() {
            section.server_keepalive = std::mem::take(&mut self.server_keepalive).complete(&self.name);
            section
                .balance
                .get_or_insert_with(|| Spanned::new(spot(), "roundrobin".to_owned()));
            if hashes(&section) {
                section
                    .hash_type
                    .get_or_insert_with(|| Spanned::new(spot(), "map-based".to_owned()));
            }
            section.redispatch.get_or_insert_with(|| Spanned::new(spot(), 0));
            section.check = self.check.take().map(|check| {
                let span = check.span();
                Spanned::new(span, CheckUse::Table(Box::new(check.into_inner())))
            });
            let servers = std::mem::take(&mut self.servers).into_iter();
            let servers =
                servers.map(|(name, server)| (name, server.complete(report, self.source.as_ref(), tls)));
            section.servers = Servers(Named(servers.collect()));
        } else {
            forget_back(&mut section);
        }
        self.timeouts(&mut section);
        (self.kind, self.name, section)
    }

    /// As in HAProxy, a page that nobody could ask for is not worth an error.
    fn stats_of(&mut self, report: &mut Report, section: &Section) -> Option<Spanned<StatsUse>> {
        let table = self.stats.take()?;
        if !is_http(section) {
            report.warn(
                self.name.span(),
                format!(
                    "the statistics of '{}' are not shown: it does not speak HTTP",
                    self.name.get_ref()
                ),
                "write `mode http` for it",
            );
            return None;
        }
        let used = if table == StatsTable::default() {
            StatsUse::Switch(true)
        } else {
            StatsUse::Table(table.into())
        };
        Some(Spanned::new(self.name.span(), used))
    }

    /// What is not given is without end in HAProxy.
    fn timeouts(&self, section: &mut Section) {
        let spot = self.name.span();
        let endless = || Some(Spanned::new(spot.clone(), HumanDuration::from_secs(0)));
        let tarpits = section
            .http_request
            .iter()
            .any(|rule| rule.get_ref().starts_with("tarpit"));
        let given = &mut section.timeouts;
        if self.kind.is_front() {
            // HAProxy manual, `timeout tarpit`: as `timeout connect` unless it is given.
            given.tarpit = given
                .tarpit
                .take()
                .or_else(|| given.connect.clone().filter(|_| tarpits));
            given.client = given.client.take().or_else(endless);
            given.client_fin = given.client_fin.take().or_else(endless);
            given.http_request = given.http_request.take().or_else(endless);
            given.http_keep_alive = given
                .http_keep_alive
                .take()
                .or_else(|| given.http_request.clone());
            given.handshake = given.client.clone();
        } else {
            given.tarpit = None;
            given.client = None;
            given.client_fin = None;
            given.http_request = None;
            given.http_keep_alive = None;
        }
        if self.kind.is_back() {
            given.connect = given.connect.take().or_else(endless);
            given.server = given.server.take().or_else(endless);
            given.server_fin = given.server_fin.take().or_else(endless);
            given.queue = given.queue.take().or_else(|| given.connect.clone());
            given.tunnel = given.tunnel.take().or_else(endless);
        } else {
            given.connect = None;
            given.server = None;
            given.server_fin = None;
            given.queue = None;
            given.tunnel = None;
            given.check = None;
        }
    }
}

fn is_http(section: &Section) -> bool {
    section.mode.as_ref().is_some_and(|mode| mode.get_ref() == "http")
}

/// Whether `hash-type` means anything to it.
fn hashes(section: &Section) -> bool {
    let balance = section.balance.as_ref().map_or("", |balance| balance.get_ref());
    ["source", "uri", "url_param", "hdr"]
        .iter()
        .any(|hash| balance.starts_with(hash))
}

/// A backend that inherited what only frontends have.
fn forget_front(section: &mut Section) {
    section.maxconn = None;
    section.rate_limit = None;
    section.per_source = None;
    section.unique_id_format = None;
    section.unique_id_header = None;
    section.default_backend = None;
    section.monitor_uri = None;
    section.log_format = None;
    section.dontlognull = None;
    section.dontlog_normal = false;
    section.logasap = false;
    section.log_separate_errors = false;
    section.socket_stats = false;
    if section.tcp_request.is_empty() {
        section.inspect_delay = None;
    }
}

/// A frontend that inherited what only backends have.
fn forget_back(section: &mut Section) {
    section.balance = None;
    section.hash_type = None;
    section.all_backups = false;
    section.retries = None;
    section.redispatch = None;
    section.retry_on.clear();
    section.cookie = None;
    section.fullconn = None;
    section.stick = None;
    section.log_health_checks = false;
}

impl Keepalive {
    fn complete(self, name: &Spanned<String>) -> Option<Spanned<KeepaliveUse>> {
        let used = if self.off {
            KeepaliveUse::Switch(false)
        } else if self.table == KeepaliveTable::default() {
            return None;
        } else {
            KeepaliveUse::Table(self.table)
        };
        Some(Spanned::new(name.span(), used))
    }
}

/// A setting whose reader only has to put it somewhere.
macro_rules! set {
    ($field:ident $(. $inner:ident)*, $take:ident) => {
        Keyword::Read(|draft, arguments| {
            if let Some(value) = arguments.$take() {
                draft.section.$field $(. $inner)* = Some(value);
            }
        })
    };
    ($field:ident $(. $inner:ident)*, $take:ident, $what:literal) => {
        Keyword::Read(|draft, arguments| {
            if let Some(value) = arguments.$take($what) {
                draft.section.$field $(. $inner)* = Some(value);
            }
        })
    };
}

/// Whatever is left of the line goes to the end of a list.
macro_rules! add {
    ($field:ident) => {
        Keyword::Read(|draft, arguments| {
            let rest = arguments.rest();
            if rest.is_none() {
                arguments.required("more");
            }
            draft.section.$field.extend(rest);
        })
    };
}

const STICKY: &str =
    "who returns to which server is the business of `cookie` and `stick on src` alone: remove the line";
const MAIL: &str = "no mail is sent: let a Prometheus alert on haproxy_server_status tell you";

/// Every keyword of a proxy.
pub(in crate::config) const PROXY: &[Entry<Draft>] = &[
    ("acl", Places::ALL, add!(acl)),
    (
        "backlog",
        Places::FRONT,
        Keyword::NoEffect("give `backlog` to `bind`; the kernel's limit holds otherwise"),
    ),
    ("balance", Places::BACK, Keyword::Read(balance)),
    ("bind", Places::FRONT_ONLY, Keyword::Read(bind::bind)),
    (
        "bind-process",
        Places::ALL,
        Keyword::NoEffect("there is one process with many threads"),
    ),
    (
        "capture cookie",
        Places::FRONT_ONLY,
        Keyword::Read(rules::capture_cookie),
    ),
    (
        "capture request",
        Places::FRONT_ONLY,
        Keyword::Read(|draft, arguments| {
            rules::capture_header(arguments, &mut draft.section.request_captures)
        }),
    ),
    (
        "capture response",
        Places::FRONT_ONLY,
        Keyword::Read(|draft, arguments| {
            rules::capture_header(arguments, &mut draft.section.response_captures)
        }),
    ),
    (
        "clitcpka-cnt",
        Places::FRONT,
        Keyword::Read(|draft, arguments| draft.client_keepalive.table.count = arguments.number()),
    ),
    (
        "clitcpka-idle",
        Places::FRONT,
        Keyword::Read(|draft, arguments| draft.client_keepalive.table.idle = arguments.seconds()),
    ),
    (
        "clitcpka-intvl",
        Places::FRONT,
        Keyword::Read(|draft, arguments| draft.client_keepalive.table.interval = arguments.seconds()),
    ),
    ("clitimeout", Places::FRONT, set!(timeouts.client, time)),
    (
        "compression",
        Places::ALL,
        Keyword::Refused("nothing is compressed: let the servers do it, and remove the line"),
    ),
    ("contimeout", Places::BACK, set!(timeouts.connect, time)),
    (
        "cookie",
        Places::BACK,
        Keyword::Read(|draft, arguments| match arguments.rest() {
            Some(cookie) => draft.section.cookie = Some(cookie),
            None => drop(arguments.required("a name")),
        }),
    ),
    (
        "declare capture",
        Places::FRONT_ONLY,
        Keyword::Read(rules::declare_capture),
    ),
    (
        "default-server",
        Places::BACK,
        Keyword::Read(server::default_server),
    ),
    (
        "default_backend",
        Places::FRONT,
        set!(default_backend, text, "a backend"),
    ),
    (
        "description",
        Places::PROXIES,
        Keyword::Read(|draft, arguments| {
            let words = arguments.rest_words().iter().map(|word| word.text.as_str());
            draft.section.description = Some(words.collect::<Vec<_>>().join(" "));
        }),
    ),
    (
        "disabled",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.disabled = on),
    ),
    (
        "dispatch",
        Places::BACK_ONLY,
        Keyword::Refused("write a `server` line with this address"),
    ),
    ("email-alert from", Places::ALL, Keyword::Refused(MAIL)),
    ("email-alert level", Places::ALL, Keyword::Refused(MAIL)),
    ("email-alert mailers", Places::ALL, Keyword::Refused(MAIL)),
    ("email-alert myhostname", Places::ALL, Keyword::Refused(MAIL)),
    ("email-alert to", Places::ALL, Keyword::Refused(MAIL)),
    (
        "enabled",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.disabled = !on),
    ),
    ("errorfile", Places::ALL, Keyword::Read(options::errorfile)),
    (
        "errorfiles",
        Places::ALL,
        Keyword::Refused("write errorfile lines instead"),
    ),
    (
        "errorloc",
        Places::ALL,
        Keyword::Refused("use errorfile with a page that redirects"),
    ),
    (
        "errorloc302",
        Places::ALL,
        Keyword::Refused("use errorfile with a page that redirects"),
    ),
    (
        "errorloc303",
        Places::ALL,
        Keyword::Refused("use errorfile with a page that redirects"),
    ),
    (
        "error-log-format",
        Places::FRONT,
        Keyword::Refused("lines of errors look like the others: remove the line"),
    ),
    (
        "external-check command",
        Places::BACK,
        Keyword::Refused("no programs are run: use tcp-check or httpchk"),
    ),
    (
        "external-check path",
        Places::BACK,
        Keyword::Refused("no programs are run: use tcp-check or httpchk"),
    ),
    (
        "filter",
        Places::PROXIES,
        Keyword::Refused("there are no filters: remove the line"),
    ),
    ("force-persist", Places::BACK_ONLY, Keyword::Refused(STICKY)),
    ("forwardfor", Places::ALL, Keyword::Read(options::forwardfor)),
    ("fullconn", Places::BACK, set!(fullconn, number)),
    (
        "grace",
        Places::ALL,
        Keyword::NoEffect("a stopping process waits for its sessions anyway"),
    ),
    ("hash-type", Places::BACK, Keyword::Read(hash_type)),
    (
        "http-after-response",
        Places::ALL,
        Keyword::Refused("use http-response for what servers say"),
    ),
    (
        "http-check comment",
        Places::BACK,
        Keyword::Read(|_, arguments| {
            arguments.rest_words();
        }),
    ),
    (
        "http-check connect",
        Places::BACK,
        Keyword::Refused("give `port`, `addr` or `check-ssl` to the servers instead"),
    ),
    (
        "http-check disable-on-404",
        Places::BACK,
        Keyword::Refused("let an agent-check say `drain` instead"),
    ),
    (
        "http-check expect",
        Places::BACK,
        Keyword::Read(check::http_expect),
    ),
    ("http-check send", Places::BACK, Keyword::Read(check::http_send)),
    (
        "http-check send-state",
        Places::BACK,
        Keyword::NoEffect("servers are not told their state"),
    ),
    (
        "http-check set-var",
        Places::BACK,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    (
        "http-check unset-var",
        Places::BACK,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    ("http-error", Places::ALL, Keyword::Refused("use errorfile")),
    ("http-request", Places::ALL, Keyword::Read(rules::http_request)),
    ("http-response", Places::ALL, add!(http_response)),
    (
        "http-reuse",
        Places::BACK,
        Keyword::NoEffect("connections to servers belong to one client each, as `http-reuse never` means"),
    ),
    (
        "http-send-name-header",
        Places::BACK,
        Keyword::Refused("use http-request set-header in a backend of its own"),
    ),
    ("id", Places::PROXIES, set!(id, number)),
    ("ignore-persist", Places::BACK_ONLY, Keyword::Refused(STICKY)),
    (
        "load-server-state-from-file",
        Places::BACK,
        Keyword::Read(options::server_state),
    ),
    ("log", Places::ALL, Keyword::Read(options::log)),
    ("log-format", Places::FRONT, set!(log_format, text, "a format")),
    (
        "log-format-sd",
        Places::FRONT,
        Keyword::NoEffect("lines are sent as RFC 3164, which has no structured data"),
    ),
    ("log-tag", Places::ALL, set!(log_tag, plain, "a word")),
    (
        "max-keep-alive-queue",
        Places::BACK,
        Keyword::NoEffect("a kept connection to a server is always used"),
    ),
    ("maxconn", Places::FRONT, set!(maxconn, number)),
    ("mode", Places::ALL, Keyword::Read(options::mode)),
    (
        "monitor fail",
        Places::FRONT_ONLY,
        Keyword::Refused("use http-request return with a condition"),
    ),
    (
        "monitor-net",
        Places::FRONT,
        Keyword::Refused("use tcp-request connection accept { src NETWORK }"),
    ),
    ("monitor-uri", Places::FRONT, set!(monitor_uri, text, "a path")),
    ("option", Places::ALL, Keyword::Read(options::unknown_option)),
    ("persist rdp-cookie", Places::BACK, Keyword::Refused(STICKY)),
    ("rate-limit sessions", Places::FRONT, set!(rate_limit, number)),
    ("redirect", Places::PROXIES, add!(redirect)),
    (
        "redispatch",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.redispatch = Some(options::redispatch_default(on))),
    ),
    (
        "reqadd",
        Places::PROXIES,
        Keyword::Refused("use http-request add-header NAME VALUE"),
    ),
    (
        "reqdel",
        Places::PROXIES,
        Keyword::Refused("use http-request del-header NAME"),
    ),
    (
        "reqrep",
        Places::PROXIES,
        Keyword::Refused("use http-request replace-path or set-header"),
    ),
    (
        "reqirep",
        Places::PROXIES,
        Keyword::Refused("use http-request replace-path or set-header"),
    ),
    (
        "reqidel",
        Places::PROXIES,
        Keyword::Refused("use http-request del-header NAME"),
    ),
    (
        "reqdeny",
        Places::PROXIES,
        Keyword::Refused("use http-request deny if CONDITION"),
    ),
    (
        "reqideny",
        Places::PROXIES,
        Keyword::Refused("use http-request deny if CONDITION"),
    ),
    (
        "block",
        Places::PROXIES,
        Keyword::Refused("use http-request deny if CONDITION"),
    ),
    (
        "rspadd",
        Places::PROXIES,
        Keyword::Refused("use http-response add-header NAME VALUE"),
    ),
    (
        "rspdel",
        Places::PROXIES,
        Keyword::Refused("use http-response del-header NAME"),
    ),
    (
        "rspidel",
        Places::PROXIES,
        Keyword::Refused("use http-response del-header NAME"),
    ),
    (
        "rsprep",
        Places::PROXIES,
        Keyword::Refused("use http-response set-header"),
    ),
    (
        "rspirep",
        Places::PROXIES,
        Keyword::Refused("use http-response set-header"),
    ),
    ("retries", Places::BACK, set!(retries, number)),
    ("retry-on", Places::BACK, Keyword::Read(options::retry_on)),
    ("server", Places::BACK_ONLY, Keyword::Read(server::server)),
    (
        "server-state-file-name",
        Places::BACK,
        Keyword::NoEffect("state is kept over reloads and upgrades without a file"),
    ),
    (
        "server-template",
        Places::BACK_ONLY,
        Keyword::Read(server::template),
    ),
    ("source", Places::BACK, Keyword::Read(options::source)),
    (
        "srvtcpka-cnt",
        Places::BACK,
        Keyword::Read(|draft, arguments| draft.server_keepalive.table.count = arguments.number()),
    ),
    (
        "srvtcpka-idle",
        Places::BACK,
        Keyword::Read(|draft, arguments| draft.server_keepalive.table.idle = arguments.seconds()),
    ),
    (
        "srvtcpka-intvl",
        Places::BACK,
        Keyword::Read(|draft, arguments| draft.server_keepalive.table.interval = arguments.seconds()),
    ),
    ("srvtimeout", Places::BACK, set!(timeouts.server, time)),
    ("stats admin", Places::PROXIES, Keyword::Read(stats::admin)),
    ("stats auth", Places::ALL, Keyword::Read(stats::auth)),
    (
        "stats enable",
        Places::ALL,
        Keyword::Switch(|draft, _| {
            stats::enabled(draft);
        }),
    ),
    (
        "stats hide-version",
        Places::ALL,
        Keyword::Switch(|draft, _| stats::enabled(draft).hide_version = true),
    ),
    (
        "stats http-request",
        Places::PROXIES,
        Keyword::Refused("use `stats auth`, or http-request rules of the frontend"),
    ),
    (
        "stats realm",
        Places::ALL,
        Keyword::Read(|draft, arguments| stats::enabled(draft).realm = arguments.plain("a text")),
    ),
    (
        "stats refresh",
        Places::ALL,
        Keyword::Read(|draft, arguments| stats::enabled(draft).refresh = arguments.seconds()),
    ),
    (
        "stats scope",
        Places::ALL,
        Keyword::Read(|draft, arguments| stats::enabled(draft).scope.extend(arguments.text("a proxy"))),
    ),
    (
        "stats show-desc",
        Places::ALL,
        Keyword::Read(stats::show_description),
    ),
    (
        "stats show-legends",
        Places::ALL,
        Keyword::Switch(|draft, _| stats::enabled(draft).legends = true),
    ),
    (
        "stats show-modules",
        Places::ALL,
        Keyword::NoEffect("there are no modules"),
    ),
    ("stats show-node", Places::ALL, Keyword::Read(stats::show_node)),
    (
        "stats uri",
        Places::ALL,
        Keyword::Read(|draft, arguments| stats::enabled(draft).uri = arguments.plain("a path")),
    ),
    (
        "stick match",
        Places::BACK_ONLY,
        Keyword::Refused("use `stick on src`"),
    ),
    ("stick on", Places::BACK_ONLY, Keyword::Read(rules::stick_on)),
    (
        "stick store-request",
        Places::BACK_ONLY,
        Keyword::Refused("use `stick on src`"),
    ),
    (
        "stick store-response",
        Places::BACK_ONLY,
        Keyword::Refused("use `stick on src`"),
    ),
    ("stick-table", Places::PROXIES, Keyword::Read(rules::stick_table)),
    (
        "tcp-check comment",
        Places::BACK,
        Keyword::Read(|_, arguments| {
            arguments.rest_words();
        }),
    ),
    ("tcp-check connect", Places::BACK, Keyword::Read(check::tcp_step)),
    ("tcp-check expect", Places::BACK, Keyword::Read(check::tcp_step)),
    ("tcp-check send", Places::BACK, Keyword::Read(check::tcp_step)),
    (
        "tcp-check send-lf",
        Places::BACK,
        Keyword::Refused("use tcp-check send"),
    ),
    (
        "tcp-check send-binary",
        Places::BACK,
        Keyword::Read(check::tcp_step),
    ),
    (
        "tcp-check send-binary-lf",
        Places::BACK,
        Keyword::Refused("use tcp-check send-binary"),
    ),
    (
        "tcp-check set-var",
        Places::BACK,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    (
        "tcp-check unset-var",
        Places::BACK,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    (
        "tcp-request connection",
        Places::FRONT,
        Keyword::Read(rules::tcp_request),
    ),
    (
        "tcp-request content",
        Places::ALL,
        Keyword::Read(rules::tcp_request),
    ),
    (
        "tcp-request inspect-delay",
        Places::ALL,
        set!(inspect_delay, time),
    ),
    (
        "tcp-request session",
        Places::FRONT,
        Keyword::Read(rules::tcp_request),
    ),
    (
        "tcp-response content",
        Places::BACK,
        Keyword::Refused("responses are not looked at in mode tcp: use http-response in mode http"),
    ),
    (
        "tcp-response inspect-delay",
        Places::BACK,
        Keyword::Refused("responses are not looked at in mode tcp"),
    ),
    ("timeout check", Places::BACK, set!(timeouts.check, time)),
    ("timeout client", Places::FRONT, set!(timeouts.client, time)),
    (
        "timeout client-fin",
        Places::FRONT,
        set!(timeouts.client_fin, time),
    ),
    ("timeout connect", Places::BACK, set!(timeouts.connect, time)),
    (
        "timeout http-keep-alive",
        Places::ALL,
        set!(timeouts.http_keep_alive, time),
    ),
    (
        "timeout http-request",
        Places::ALL,
        set!(timeouts.http_request, time),
    ),
    ("timeout queue", Places::BACK, set!(timeouts.queue, time)),
    ("timeout server", Places::BACK, set!(timeouts.server, time)),
    (
        "timeout server-fin",
        Places::BACK,
        set!(timeouts.server_fin, time),
    ),
    ("timeout tarpit", Places::ALL, set!(timeouts.tarpit, time)),
    ("timeout tunnel", Places::BACK, set!(timeouts.tunnel, time)),
    (
        "transparent",
        Places::BACK_ONLY,
        Keyword::Refused("write the servers instead"),
    ),
    (
        "unique-id-format",
        Places::FRONT,
        set!(unique_id_format, text, "a format"),
    ),
    (
        "unique-id-header",
        Places::FRONT,
        set!(unique_id_header, text, "the name of a header"),
    ),
    (
        "use-fcgi-app",
        Places::BACK_ONLY,
        Keyword::Refused("put a web server in front of the application"),
    ),
    (
        "use-server",
        Places::BACK_ONLY,
        Keyword::Refused("make a backend for these servers, and use_backend"),
    ),
    ("use_backend", Places::FRONT_ONLY, add!(use_backend)),
    // Options.
    ("option abortonclose", Places::BACK, Keyword::Implied),
    (
        "option accept-invalid-http-request",
        Places::FRONT,
        Keyword::Refused("requests that break HTTP's rules are refused: mend the client"),
    ),
    (
        "option accept-invalid-http-response",
        Places::BACK,
        Keyword::Refused("responses that break HTTP's rules are refused: mend the server"),
    ),
    (
        "option accept_invalid_http_request",
        Places::FRONT,
        Keyword::Refused("requests that break HTTP's rules are refused: mend the client"),
    ),
    (
        "option allbackups",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.all_backups = on),
    ),
    (
        "option checkcache",
        Places::BACK,
        Keyword::Refused("responses are not inspected for cookies: remove the line"),
    ),
    (
        "option clitcpka",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.client_keepalive.off = !on),
    ),
    ("option contstats", Places::FRONT, Keyword::Implied),
    ("option disable-h2-upgrade", Places::FRONT, Keyword::Implied),
    (
        "option dontlog-normal",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.section.dontlog_normal = on),
    ),
    (
        "option dontlognull",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.section.dontlognull = Some(on)),
    ),
    (
        "option external-check",
        Places::BACK,
        Keyword::Refused("no programs are run: use tcp-check or httpchk"),
    ),
    (
        "option forceclose",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.http_close = on),
    ),
    (
        "option forwardfor",
        Places::ALL,
        Keyword::Read(options::forwardfor),
    ),
    (
        "option h1-case-adjust-bogus-client",
        Places::FRONT,
        Keyword::Implied,
    ),
    (
        "option h1-case-adjust-bogus-server",
        Places::BACK,
        Keyword::Implied,
    ),
    (
        "option http-buffer-request",
        Places::ALL,
        Keyword::NoEffect("request bodies are forwarded as they come"),
    ),
    (
        "option http-ignore-probes",
        Places::FRONT,
        Keyword::NoEffect("connections without a request get no answer and, with dontlognull, no line"),
    ),
    (
        "option http-keep-alive",
        Places::ALL,
        Keyword::Switch(options::keep_alive),
    ),
    ("option http-no-delay", Places::ALL, Keyword::Implied),
    (
        "option http-pretend-keepalive",
        Places::BACK,
        Keyword::NoEffect("servers are told the truth about keep-alive"),
    ),
    (
        "option http-restrict-req-hdr-names",
        Places::ALL,
        Keyword::NoEffect("names of headers that are not tokens are refused anyway"),
    ),
    (
        "option http-server-close",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.server_close = on),
    ),
    (
        "option http-tunnel",
        Places::ALL,
        Keyword::Refused("this mode is gone from HAProxy, too: remove the line"),
    ),
    ("option http-use-htx", Places::ALL, Keyword::Implied),
    (
        "option http-use-proxy-header",
        Places::FRONT,
        Keyword::NoEffect("clients that take us for a proxy are not told apart"),
    ),
    (
        "option http_proxy",
        Places::ALL,
        Keyword::Refused("this mode is gone from HAProxy, too: write the servers"),
    ),
    ("option httpchk", Places::BACK, Keyword::Read(check::httpchk)),
    (
        "option httpclose",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.http_close = on),
    ),
    ("option httplog", Places::FRONT, Keyword::Read(options::httplog)),
    (
        "option httpslog",
        Places::FRONT,
        Keyword::Refused("use option httplog, or a log-format with %sslv and %sslc"),
    ),
    (
        "option idle-close-on-response",
        Places::FRONT,
        Keyword::NoEffect("idle connections are closed politely anyway"),
    ),
    ("option independent-streams", Places::ALL, Keyword::Implied),
    (
        "option ldap-check",
        Places::BACK,
        Keyword::Refused("use option tcp-check with send-binary and expect binary"),
    ),
    (
        "option log-health-checks",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.log_health_checks = on),
    ),
    (
        "option log-separate-errors",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.section.log_separate_errors = on),
    ),
    (
        "option logasap",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.section.logasap = on),
    ),
    (
        "option mysql-check",
        Places::BACK,
        Keyword::Refused("use option tcp-check with expect"),
    ),
    (
        "option nolinger",
        Places::ALL,
        Keyword::NoEffect("connections are closed in order, so that nothing is lost"),
    ),
    (
        "option originalto",
        Places::ALL,
        Keyword::Refused("use http-request set-header X-Original-To %[dst]"),
    ),
    (
        "option persist",
        Places::BACK,
        Keyword::NoEffect("clients of a server that is down are sent to another"),
    ),
    (
        "option pgsql-check",
        Places::BACK,
        Keyword::Refused("use option tcp-check with send-binary and expect"),
    ),
    ("option prefer-last-server", Places::BACK, Keyword::Implied),
    ("option redis-check", Places::BACK, Keyword::Read(check::redis)),
    (
        "option redispatch",
        Places::BACK,
        Keyword::Read(options::redispatch),
    ),
    ("option smtpchk", Places::BACK, Keyword::Read(check::smtp)),
    (
        "option socket-stats",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.section.socket_stats = on),
    ),
    ("option splice-auto", Places::ALL, Keyword::Implied),
    ("option splice-request", Places::ALL, Keyword::Implied),
    ("option splice-response", Places::ALL, Keyword::Implied),
    (
        "option spop-check",
        Places::BACK,
        Keyword::Refused("there are no agents of this protocol: remove the line"),
    ),
    (
        "option srvtcpka",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.server_keepalive.off = !on),
    ),
    (
        "option ssl-hello-chk",
        Places::BACK,
        Keyword::Read(|draft, arguments| check::kind(draft, arguments, "tls")),
    ),
    ("option tcp-check", Places::BACK, Keyword::Read(check::tcp_check)),
    ("option tcp-smart-accept", Places::FRONT, Keyword::Implied),
    ("option tcp-smart-connect", Places::BACK, Keyword::Implied),
    (
        "option tcpka",
        Places::ALL,
        Keyword::Switch(|draft, on| {
            draft.client_keepalive.off = !on;
            draft.server_keepalive.off = !on;
        }),
    ),
    ("option tcplog", Places::ALL, Keyword::Read(options::tcplog)),
    (
        "option transparent",
        Places::BACK,
        Keyword::Refused("write the servers instead"),
    ),
];
