//! Keywords of a proxy that are known and not read: what they ask for is done in any case, cannot matter here, or is refused
//! with what to do instead.

use super::super::keyword::{Entry, Keyword, Places};
use super::Draft;

const STICKY: &str =
    "who returns to which server is the business of `cookie` and `stick on src` alone: remove the line";
const MAIL: &str = "no mail is sent: let a Prometheus alert on haproxy_server_status tell you";

/// Every one of them.
pub(super) const UNREAD: &[Entry<Draft>] = &[
    (
        "backlog",
        Places::FRONT,
        Keyword::NoEffect("give `backlog` to `bind`; the kernel's limit holds otherwise"),
    ),
    (
        "bind-process",
        Places::ALL,
        Keyword::NoEffect("there is one process with many threads"),
    ),
    (
        "compression",
        Places::ALL,
        Keyword::Refused("nothing is compressed: let the servers do it, and remove the line"),
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
    (
        "grace",
        Places::ALL,
        Keyword::NoEffect("a stopping process waits for its sessions anyway"),
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
    (
        "log-format-sd",
        Places::FRONT,
        Keyword::NoEffect("lines are sent as RFC 3164, which has no structured data"),
    ),
    (
        "max-keep-alive-queue",
        Places::BACK,
        Keyword::NoEffect("a kept connection to a server is always used"),
    ),
    (
        "monitor-net",
        Places::FRONT,
        Keyword::Refused("use tcp-request connection accept { src NETWORK }"),
    ),
    ("persist rdp-cookie", Places::BACK, Keyword::Refused(STICKY)),
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
    (
        "server-state-file-name",
        Places::BACK,
        Keyword::NoEffect("state is kept over reloads and upgrades without a file"),
    ),
    (
        "stats http-request",
        Places::PROXIES,
        Keyword::Refused("use `stats auth`, or http-request rules of the frontend"),
    ),
    (
        "stats show-modules",
        Places::ALL,
        Keyword::NoEffect("there are no modules"),
    ),
    (
        "stick match",
        Places::BACK_ONLY,
        Keyword::Refused("use `stick on src`"),
    ),
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
    (
        "tcp-check send-lf",
        Places::BACK,
        Keyword::Refused("use tcp-check send"),
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
        "tcp-response content",
        Places::BACK,
        Keyword::Refused("responses are not looked at in mode tcp: use http-response in mode http"),
    ),
    (
        "tcp-response inspect-delay",
        Places::BACK,
        Keyword::Refused("responses are not looked at in mode tcp"),
    ),
    (
        "transparent",
        Places::BACK_ONLY,
        Keyword::Refused("write the servers instead"),
    ),
    (
        "use-fcgi-app",
        Places::BACK_ONLY,
        Keyword::Refused("put a web server in front of the application"),
    ),
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
        "option checkcache",
        Places::BACK,
        Keyword::Refused("responses are not inspected for cookies: remove the line"),
    ),
    ("option contstats", Places::FRONT, Keyword::Implied),
    ("option disable-h2-upgrade", Places::FRONT, Keyword::Implied),
    (
        "option external-check",
        Places::BACK,
        Keyword::Refused("no programs are run: use tcp-check or httpchk"),
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
    (
        "option idle-close-on-response",
        Places::FRONT,
        Keyword::NoEffect("idle connections are closed politely anyway"),
    ),
    ("option independent-streams", Places::ALL, Keyword::Implied),
    (
        "option nolinger",
        Places::ALL,
        Keyword::NoEffect("connections are closed in order, so that nothing is lost"),
    ),
    ("option prefer-last-server", Places::BACK, Keyword::Implied),
    ("option splice-auto", Places::ALL, Keyword::Implied),
    ("option splice-request", Places::ALL, Keyword::Implied),
    ("option splice-response", Places::ALL, Keyword::Implied),
    (
        "option spop-check",
        Places::BACK,
        Keyword::Refused("there are no agents of this protocol: remove the line"),
    ),
    ("option tcp-smart-accept", Places::FRONT, Keyword::Implied),
    ("option tcp-smart-connect", Places::BACK, Keyword::Implied),
    (
        "option transparent",
        Places::BACK,
        Keyword::Refused("write the servers instead"),
    ),
];
