//! `server`, `default-server` and `server-template`.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};
use warren_kit::duration::HumanDuration;

use super::bind::{one_without_effect, only_http1, path, read_options};
use super::global::TlsDefaults;
use super::keyword::{Arguments, Keyword, spanned_text};
use super::proxy::Draft;
use crate::config::file::{
    AgentTable, CheckTable, CheckUse, Server, ServerTlsTable, ServerTlsUse, ServerUse,
};
use crate::config::named::NAME;

/// The most servers that one `server-template` makes.
const TEMPLATE_MAX: i64 = 4095;

/// A server as far as it was read; begins as what `default-server` says.
#[derive(Clone, Default)]
pub(in crate::config) struct ServerDraft {
    file: Server,
    checked: bool,
    check: CheckTable,
    check_tls: Option<bool>,
    check_sni: Option<String>,
    agent: AgentTable,
    agent_checked: bool,
    ssl: bool,
    tls: ServerTlsTable,
    verify_none: Option<bool>,
    system_ca: bool,
    may_be_unresolved: bool,
}

const LIBRARY: &str = "ciphers are chosen by the TLS library, which has no weak ones";
const RESOLVER: &str = "names are resolved again and again by the system's own resolver";
const REUSE: &str = "connections to servers belong to one client each";

/// What may follow the address.
pub(in crate::config) const SERVER: &[(&str, Keyword<ServerDraft>)] = &[
    (
        "addr",
        Keyword::Read(|server, arguments| server.check.address = arguments.text("an address")),
    ),
    (
        "agent-addr",
        Keyword::Read(|server, arguments| server.agent.address = arguments.text("an address")),
    ),
    (
        "agent-check",
        Keyword::Switch(|server, on| server.agent_checked = on),
    ),
    (
        "agent-inter",
        Keyword::Read(|server, arguments| server.agent.interval = arguments.time()),
    ),
    (
        "agent-port",
        Keyword::Read(|server, arguments| server.agent.port = arguments.number()),
    ),
    (
        "agent-send",
        Keyword::Read(|server, arguments| server.agent.send = arguments.plain("a text")),
    ),
    (
        "allow-0rtt",
        Keyword::NoEffect("no request is sent before the handshake is complete"),
    ),
    ("alpn", Keyword::Read(alpn)),
    (
        "backup",
        Keyword::Switch(|server, on| server.file.backup = Some(on)),
    ),
    ("ca-file", Keyword::Read(ca_file)),
    ("check", Keyword::Switch(|server, on| server.checked = on)),
    (
        "check-alpn",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "checks offer no protocols")),
    ),
    (
        "check-proto",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "checks speak HTTP/1")),
    ),
    (
        "check-send-proxy",
        Keyword::Switch(|server, on| server.check.send_proxy = Some(on)),
    ),
    (
        "check-sni",
        Keyword::Read(|server, arguments| server.check_sni = arguments.plain("a name")),
    ),
    (
        "check-ssl",
        Keyword::Switch(|server, on| server.check_tls = Some(on)),
    ),
    (
        "check-via-socks4",
        Keyword::Refused("there is no way through SOCKS proxies"),
    ),
    (
        "ciphers",
        Keyword::Read(|_, arguments| one_without_effect(arguments, LIBRARY)),
    ),
    (
        "ciphersuites",
        Keyword::Read(|_, arguments| one_without_effect(arguments, LIBRARY)),
    ),
    (
        "cookie",
        Keyword::Read(|server, arguments| server.file.cookie = arguments.plain("a word")),
    ),
    (
        "crl-file",
        Keyword::Refused("lists of revoked certificates are not read"),
    ),
    (
        "crt",
        Keyword::Read(|server, arguments| server.tls.certificate = path(arguments)),
    ),
    (
        "disabled",
        Keyword::Switch(|server, on| server.file.disabled = Some(on)),
    ),
    (
        "downinter",
        Keyword::Read(|server, arguments| server.check.down_interval = arguments.time()),
    ),
    (
        "enabled",
        Keyword::Switch(|server, on| server.file.disabled = Some(!on)),
    ),
    (
        "error-limit",
        Keyword::Read(|server, arguments| server.file.error_limit = arguments.number()),
    ),
    (
        "fall",
        Keyword::Read(|server, arguments| server.check.fall = arguments.number()),
    ),
    (
        "fastinter",
        Keyword::Read(|server, arguments| server.check.fast_interval = arguments.time()),
    ),
    (
        "force-sslv3",
        Keyword::Refused("TLS 1.2 is the least that is spoken"),
    ),
    (
        "force-tlsv10",
        Keyword::Refused("TLS 1.2 is the least that is spoken"),
    ),
    (
        "force-tlsv11",
        Keyword::Refused("TLS 1.2 is the least that is spoken"),
    ),
    (
        "force-tlsv12",
        Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers"),
    ),
    (
        "force-tlsv13",
        Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers"),
    ),
    (
        "id",
        Keyword::Read(|server, arguments| server.file.id = arguments.number()),
    ),
    ("init-addr", Keyword::Read(init_addr)),
    (
        "inter",
        Keyword::Read(|server, arguments| server.check.interval = arguments.time()),
    ),
    (
        "log-proto",
        Keyword::Refused("it is for rings, which are not supported"),
    ),
    (
        "max-reuse",
        Keyword::Read(|_, arguments| one_without_effect(arguments, REUSE)),
    ),
    (
        "maxconn",
        Keyword::Read(|server, arguments| server.file.maxconn = arguments.number()),
    ),
    (
        "maxqueue",
        Keyword::Read(|server, arguments| server.file.maxqueue = arguments.number()),
    ),
    (
        "minconn",
        Keyword::Read(|server, arguments| server.file.minconn = arguments.number()),
    ),
    (
        "namespace",
        Keyword::Refused("use NetworkNamespacePath= in the unit"),
    ),
    (
        "no-agent-check",
        Keyword::Switch(|server, _| server.agent_checked = false),
    ),
    (
        "no-backup",
        Keyword::Switch(|server, _| server.file.backup = Some(false)),
    ),
    ("no-check", Keyword::Switch(|server, _| server.checked = false)),
    (
        "no-check-send-proxy",
        Keyword::Switch(|server, _| server.check.send_proxy = Some(false)),
    ),
    (
        "no-check-ssl",
        Keyword::Switch(|server, _| server.check_tls = Some(false)),
    ),
    (
        "no-send-proxy",
        Keyword::Switch(|server, _| server.file.send_proxy = None),
    ),
    (
        "no-send-proxy-v2",
        Keyword::Switch(|server, _| server.file.send_proxy = None),
    ),
    (
        "no-send-proxy-v2-ssl",
        Keyword::Switch(|server, _| server.file.send_proxy = None),
    ),
    (
        "no-send-proxy-v2-ssl-cn",
        Keyword::Switch(|server, _| server.file.send_proxy = None),
    ),
    ("no-ssl", Keyword::Switch(|server, _| server.ssl = false)),
    (
        "no-ssl-reuse",
        Keyword::NoEffect("the TLS library keeps sessions as it sees fit"),
    ),
    ("no-sslv3", Keyword::Implied),
    (
        "no-tls-tickets",
        Keyword::NoEffect("the TLS library keeps sessions as it sees fit"),
    ),
    ("no-tlsv10", Keyword::Implied),
    ("no-tlsv11", Keyword::Implied),
    (
        "no-tlsv12",
        Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers"),
    ),
    (
        "no-tlsv13",
        Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers"),
    ),
    (
        "no-verifyhost",
        Keyword::Switch(|server, _| server.tls.verify_host = None),
    ),
    (
        "non-stick",
        Keyword::Refused("every server of a backend with `stick on` is remembered"),
    ),
    (
        "npn",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "alpn has taken its place")),
    ),
    (
        "observe",
        Keyword::Read(|server, arguments| server.file.observe = arguments.text("layer4 or layer7")),
    ),
    (
        "on-error",
        Keyword::Read(|server, arguments| server.file.on_error = arguments.text("a word")),
    ),
    (
        "on-marked-down",
        Keyword::Read(|server, arguments| server.file.on_marked_down = arguments.text("shutdown-sessions")),
    ),
    (
        "on-marked-up",
        Keyword::Read(|server, arguments| {
            server.file.on_marked_up = arguments.text("shutdown-backup-sessions")
        }),
    ),
    (
        "pool-low-conn",
        Keyword::Read(|_, arguments| one_without_effect(arguments, REUSE)),
    ),
    (
        "pool-max-conn",
        Keyword::Read(|_, arguments| one_without_effect(arguments, REUSE)),
    ),
    (
        "pool-purge-delay",
        Keyword::Read(|_, arguments| one_without_effect(arguments, REUSE)),
    ),
    (
        "port",
        Keyword::Read(|server, arguments| server.check.port = arguments.number()),
    ),
    ("proto", Keyword::Read(proto)),
    ("proxy-v2-options", Keyword::Read(proxy_v2_options)),
    ("redir", Keyword::Refused("use `redirect prefix` in the frontend")),
    (
        "resolve-net",
        Keyword::Read(|_, arguments| one_without_effect(arguments, RESOLVER)),
    ),
    (
        "resolve-opts",
        Keyword::Read(|_, arguments| one_without_effect(arguments, RESOLVER)),
    ),
    (
        "resolve-prefer",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "order addresses in /etc/gai.conf")),
    ),
    (
        "resolvers",
        Keyword::Read(|_, arguments| one_without_effect(arguments, RESOLVER)),
    ),
    (
        "rise",
        Keyword::Read(|server, arguments| server.check.rise = arguments.number()),
    ),
    (
        "send-proxy",
        Keyword::Read(|server, arguments| send_proxy(server, arguments, "v1")),
    ),
    (
        "send-proxy-v2",
        Keyword::Read(|server, arguments| send_proxy(server, arguments, "v2")),
    ),
    (
        "send-proxy-v2-ssl",
        Keyword::Read(|server, arguments| send_proxy(server, arguments, "v2-ssl")),
    ),
    (
        "send-proxy-v2-ssl-cn",
        Keyword::Read(|server, arguments| send_proxy(server, arguments, "v2-ssl")),
    ),
    (
        "shard",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "tables of clients are not shared between hosts")
        }),
    ),
    (
        "slowstart",
        Keyword::Read(|server, arguments| server.file.slow_start = arguments.time()),
    ),
    ("sni", Keyword::Read(sni)),
    (
        "socks4",
        Keyword::Refused("there is no way through SOCKS proxies"),
    ),
    (
        "source",
        Keyword::Read(|server, arguments| server.file.source = arguments.text("an address")),
    ),
    ("ssl", Keyword::Switch(|server, on| server.ssl = on)),
    (
        "ssl-max-ver",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "TLS 1.2 and 1.3 are spoken with servers")
        }),
    ),
    (
        "ssl-min-ver",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "TLS 1.2 and 1.3 are spoken with servers")
        }),
    ),
    ("ssl-reuse", Keyword::Implied),
    ("stick", Keyword::Implied),
    (
        "tcp-ut",
        Keyword::Read(|server, arguments| server.file.user_timeout = arguments.time()),
    ),
    ("tfo", Keyword::NoEffect("connections are opened without data")),
    ("tls-tickets", Keyword::Implied),
    (
        "track",
        Keyword::Read(|server, arguments| server.file.track = arguments.text("backend/server")),
    ),
    (
        "usesrc",
        Keyword::Refused("connections leave from an address of this host"),
    ),
    ("verify", Keyword::Read(verify)),
    (
        "verifyhost",
        Keyword::Read(|server, arguments| server.tls.verify_host = arguments.plain("a name")),
    ),
    (
        "weight",
        Keyword::Read(|server, arguments| server.file.weight = arguments.number()),
    ),
    (
        "ws",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "WebSockets go over HTTP/1.1")),
    ),
];

/// `server NAME ADDRESS [OPTION ...]`
pub(super) fn server(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let (Some(name), Some(address)) = (arguments.text("a name"), arguments.text("an address")) else {
        return;
    };
    arguments.report.name("server", &name, &NAME);
    let mut server = draft.default_server.clone();
    server.file.address = Some(address);
    read_options(&mut server, arguments, SERVER, "server");
    draft.servers.push((name, server));
}

/// `default-server OPTION ...`
pub(super) fn default_server(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    if arguments.peek().is_none() {
        arguments.required("options");
    }
    let mut server = std::mem::take(&mut draft.default_server);
    read_options(&mut server, arguments, SERVER, "default-server");
    draft.default_server = server;
}

/// `server-template PREFIX NUMBER|FROM-TO ADDRESS [OPTION ...]`: with names that are resolved to one address each, it is
/// so many servers of the same address.
pub(super) fn template(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let (Some(prefix), Some(count), Some(address)) = (
        arguments.text("a prefix"),
        arguments.text("a number of servers"),
        arguments.text("an address"),
    ) else {
        return;
    };
    let (first, last) = count.get_ref().split_once('-').unwrap_or(("1", count.get_ref()));
    let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) else {
        arguments.report.error(
            count.span(),
            format!("`{}` is no number of servers", count.get_ref()),
            "write a number such as 3, or a range such as 1-3",
        );
        return;
    };
    if !(0..=last).contains(&first) || last - first >= TEMPLATE_MAX {
        arguments.report.error(
            count.span(),
            format!("`{}` servers are none or too many", count.get_ref()),
            "write a number such as 3, or a range such as 1-3",
        );
        return;
    }
    if address.get_ref().starts_with('_') {
        arguments.report.error(
            address.span(),
            "SRV records are not looked up",
            "write a name and a port, or a `server` line for each",
        );
        return;
    }
    let mut server = draft.default_server.clone();
    server.file.address = Some(address);
    read_options(&mut server, arguments, SERVER, "server-template");
    for number in first..=last {
        let name = format!("{}{number}", prefix.get_ref());
        draft
            .servers
            .push((Spanned::new(prefix.span(), name), server.clone()));
    }
}

impl ServerDraft {
    /// With HAProxy's defaults written into it.
    pub(super) fn complete(
        mut self,
        report: &mut Report,
        source: Option<&Spanned<String>>,
        defaults: &TlsDefaults,
    ) -> ServerUse {
        let spot = self.file.address.as_ref().map_or(0..0, Spanned::span);
        self.tls_of(report, &spot, defaults);
        if self.checked {
            self.check_of(&spot);
        } else {
            self.file.check = Some(Spanned::new(spot.clone(), CheckUse::Switch(false)));
        }
        if self.agent_checked {
            self.file.agent = Some(Spanned::new(spot.clone(), self.agent));
        }
        if self.file.source.is_none() {
            self.file.source = source.cloned();
        }
        self.file.must_resolve = Some(!self.may_be_unresolved);
        ServerUse::Long(Box::new(self.file))
    }

    fn tls_of(&mut self, report: &mut Report, spot: &Range<usize>, defaults: &TlsDefaults) {
        if !self.ssl && self.check_tls != Some(true) {
            return;
        }
        let unverified = self.verify_none.unwrap_or(defaults.no_verify);
        self.tls.verify = Some(!unverified);
        for (file, base) in [
            (&mut self.tls.ca, &defaults.ca_base),
            (&mut self.tls.certificate, &defaults.crt_base),
        ] {
            if let (Some(file), Some(base)) = (file, base) {
                *file.as_mut() = base.join(file.get_ref());
            }
        }
        if !unverified && self.tls.ca.is_none() && !self.system_ca {
            report.error(
                spot.clone(),
                "`ssl` without `ca-file` and without `verify none`",
                "write `ca-file @system-ca` or the file of your authority, or `verify none` if anybody may answer",
            );
        }
        // HAProxy sends no name unless told to.
        self.tls.sni.get_or_insert_default();
        if self.ssl {
            self.file.tls = Some(Spanned::new(spot.clone(), ServerTlsUse::Table(self.tls.clone())));
        }
    }

    fn check_of(&mut self, spot: &Range<usize>) {
        let mut check = std::mem::take(&mut self.check);
        let interval = check.interval.clone();
        // Without `fastinter` it is as slow as always.
        check.fast_interval = check
            .fast_interval
            .or_else(|| interval.or_else(|| Some(Spanned::new(spot.clone(), HumanDuration::from_secs(2)))));
        check.tls = match (self.check_tls, self.check_sni.take()) {
            (None, None) => None,
            (Some(false), _) => Some(ServerTlsUse::Switch(false)),
            (_, sni) => {
                let mut tls = self.tls.clone();
                tls.sni = sni.or(tls.sni);
                Some(ServerTlsUse::Table(tls))
            }
        }
        .map(|tls| Spanned::new(spot.clone(), tls));
        self.file.check = Some(Spanned::new(spot.clone(), CheckUse::Table(Box::new(check))));
    }
}

fn send_proxy(server: &mut ServerDraft, arguments: &Arguments<'_, '_>, form: &str) {
    server.file.send_proxy = Some(Spanned::new(arguments.whole(), form.to_owned()));
}

fn verify(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("none or required") else {
        return;
    };
    match word.text.as_str() {
        "none" => server.verify_none = Some(true),
        "required" => server.verify_none = Some(false),
        other => arguments.report.error(
            word.span.clone(),
            format!("unknown word `{other}` after `verify`"),
            suggestion(other, ["none", "required"].into_iter()),
        ),
    }
}

fn ca_file(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    server.tls.ca = path(arguments);
    let system = |ca: &Spanned<PathBuf>| ca.get_ref().as_os_str() == "@system-ca";
    server.system_ca = server.tls.ca.as_ref().is_some_and(system);
    if server.system_ca {
        server.tls.ca = None;
    }
}

fn alpn(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(protocols) = arguments.text("protocols") else {
        return;
    };
    server.tls.alpn = only_http1(arguments, &protocols);
}

fn proto(_: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    if let Some(word) = arguments.required("a protocol")
        && word.text != "h1"
    {
        arguments.report.error(
            word.span.clone(),
            format!("the protocol `{}` is not spoken", word.text),
            "remove `proto`: servers are asked by HTTP/1.1",
        );
    }
}

/// `sni EXPRESSION`: the name has to be the same for every connection.
fn sni(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("a name as str(NAME)") else {
        return;
    };
    let name = word
        .text
        .strip_prefix("str(")
        .and_then(|rest| rest.strip_suffix(')'));
    match name {
        Some(name) => server.tls.sni = Some(name.to_owned()),
        None => arguments.report.error(
            word.span.clone(),
            format!("`sni {}` is not supported", word.text),
            "write `sni str(NAME)`: the same name for every connection",
        ),
    }
}

fn init_addr(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("last, libc or none") else {
        return;
    };
    server.may_be_unresolved = word.text.split(',').any(|way| way == "none");
}

fn proxy_v2_options(server: &mut ServerDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("options") else {
        return;
    };
    for option in word.text.split(',') {
        match option {
            "unique-id" => server.file.proxy_unique_id = Some(true),
            "ssl" | "cert-cn" => {
                server.file.send_proxy =
                    Some(spanned_text(word)).map(|word| Spanned::new(word.span(), "v2-ssl".to_owned()));
            }
            other => arguments.report.warn(
                word.span.clone(),
                format!("the option `{other}` of proxy-v2-options has no effect here"),
                "the header carries addresses, what is known of TLS, and the session's number",
            ),
        }
    }
}
