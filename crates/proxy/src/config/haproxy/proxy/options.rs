//! Options of a proxy that are read.

use super::super::keyword::{Entry, Keyword, Places};
use super::super::{check, databases, options};
use super::Draft;

/// Every one of them.
pub(super) const OPTIONS: &[Entry<Draft>] = &[
    (
        "option allbackups",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.all_backups = on),
    ),
    (
        "option clitcpka",
        Places::FRONT,
        Keyword::Switch(|draft, on| draft.client_keepalive.off = !on),
    ),
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
        "option http-keep-alive",
        Places::ALL,
        Keyword::Switch(options::keep_alive),
    ),
    (
        "option http-server-close",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.server_close = on),
    ),
    ("option httpchk", Places::BACK, Keyword::Read(check::httpchk)),
    (
        "option httpclose",
        Places::ALL,
        Keyword::Switch(|draft, on| draft.section.http_close = on),
    ),
    ("option httplog", Places::FRONT, Keyword::Read(options::httplog)),
    ("option httpslog", Places::FRONT, Keyword::Read(options::httpslog)),
    ("option ldap-check", Places::BACK, Keyword::Read(databases::ldap)),
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
    ("option redis-check", Places::BACK, Keyword::Read(check::redis)),
    (
        "option mysql-check",
        Places::BACK,
        Keyword::Read(databases::mysql),
    ),
    (
        "option pgsql-check",
        Places::BACK,
        Keyword::Read(databases::pgsql),
    ),
    (
        "option originalto",
        Places::ALL,
        Keyword::Read(options::originalto),
    ),
    (
        "option persist",
        Places::BACK,
        Keyword::Switch(|draft, on| draft.section.use_down = on),
    ),
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
    (
        "option tcpka",
        Places::ALL,
        Keyword::Switch(|draft, on| {
            draft.client_keepalive.off = !on;
            draft.server_keepalive.off = !on;
        }),
    ),
    ("option tcplog", Places::ALL, Keyword::Read(options::tcplog)),
];
