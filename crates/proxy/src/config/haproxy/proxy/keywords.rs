//! Keywords of a proxy that are read, but for options.

use super::super::balance::{balance, hash_type};
use super::super::keyword::{Entry, Keyword, Places};
use super::super::{bind, check, options, pages, rules, server, stats};
use super::Draft;

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

/// Every one of them.
pub(super) const KEYWORDS: &[Entry<Draft>] = &[
    ("acl", Places::ALL, add!(acl)),
    ("balance", Places::BACK, Keyword::Read(balance)),
    ("bind", Places::FRONT_ONLY, Keyword::Read(bind::bind)),
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
        "enabled",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.disabled = !on),
    ),
    ("errorfile", Places::ALL, Keyword::Read(pages::errorfile)),
    ("errorfiles", Places::ALL, Keyword::Read(pages::errorfiles)),
    ("errorloc", Places::ALL, Keyword::Read(pages::errorloc)),
    ("errorloc302", Places::ALL, Keyword::Read(pages::errorloc)),
    ("errorloc303", Places::ALL, Keyword::Read(pages::errorloc303)),
    (
        "force-persist",
        Places::BACK_ONLY,
        Keyword::Read(rules::force_persist),
    ),
    ("forwardfor", Places::ALL, Keyword::Read(options::forwardfor)),
    ("fullconn", Places::BACK, set!(fullconn, number)),
    ("hash-type", Places::BACK, Keyword::Read(hash_type)),
    (
        "http-check comment",
        Places::BACK,
        Keyword::Read(|_, arguments| {
            arguments.rest_words();
        }),
    ),
    (
        "http-check expect",
        Places::BACK,
        Keyword::Read(check::http_expect),
    ),
    ("http-check send", Places::BACK, Keyword::Read(check::http_send)),
    ("http-after-response", Places::ALL, add!(http_after_response)),
    ("http-error", Places::ALL, Keyword::Read(pages::http_error)),
    ("http-request", Places::ALL, Keyword::Read(rules::http_request)),
    ("http-response", Places::ALL, add!(http_response)),
    ("id", Places::PROXIES, set!(id, number)),
    (
        "ignore-persist",
        Places::BACK_ONLY,
        Keyword::Read(rules::ignore_persist),
    ),
    (
        "load-server-state-from-file",
        Places::BACK,
        Keyword::Read(options::server_state),
    ),
    ("log", Places::ALL, Keyword::Read(options::log)),
    ("log-format", Places::FRONT, set!(log_format, text, "a format")),
    ("log-tag", Places::ALL, set!(log_tag, plain, "a word")),
    ("maxconn", Places::FRONT, set!(maxconn, number)),
    ("mode", Places::ALL, Keyword::Read(options::mode)),
    ("monitor fail", Places::FRONT_ONLY, add!(monitor_fail)),
    ("monitor-uri", Places::FRONT, set!(monitor_uri, text, "a path")),
    ("option", Places::ALL, Keyword::Read(options::unknown_option)),
    ("rate-limit sessions", Places::FRONT, set!(rate_limit, number)),
    ("redirect", Places::PROXIES, add!(redirect)),
    (
        "redispatch",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.redispatch = Some(options::redispatch_default(on))),
    ),
    ("retries", Places::BACK, set!(retries, number)),
    ("retry-on", Places::BACK, Keyword::Read(options::retry_on)),
    ("server", Places::BACK_ONLY, Keyword::Read(server::server)),
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
    ("stats show-node", Places::ALL, Keyword::Read(stats::show_node)),
    (
        "stats uri",
        Places::ALL,
        Keyword::Read(|draft, arguments| stats::enabled(draft).uri = arguments.plain("a path")),
    ),
    ("stick on", Places::BACK_ONLY, Keyword::Read(rules::stick_on)),
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
        "tcp-check send-binary",
        Places::BACK,
        Keyword::Read(check::tcp_step),
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
        "unique-id-format",
        Places::FRONT,
        set!(unique_id_format, text, "a format"),
    ),
    (
        "unique-id-header",
        Places::FRONT,
        set!(unique_id_header, text, "the name of a header"),
    ),
    ("use-server", Places::BACK_ONLY, add!(use_server)),
    ("use_backend", Places::FRONT_ONLY, add!(use_backend)),
];
