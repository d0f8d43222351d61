//! `defaults`, `listen`, `frontend` and `backend`.

mod keywords;
mod options;
mod unread;

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;

use super::bind;
use super::global::TlsDefaults;
use super::keyword::Entry;
use super::pages::Pages;
use super::server::ServerDraft;
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
    /// Of the sections `http-errors` above, for `errorfiles`.
    pub(super) pages: Arc<Pages>,
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
            pages: Arc::default(),
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
    section.monitor_fail.clear();
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
    section.use_down = false;
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

/// Every keyword of a proxy.
pub(in crate::config) const PROXY: &[&[Entry<Draft>]] =
    &[keywords::KEYWORDS, options::OPTIONS, unread::UNREAD];
