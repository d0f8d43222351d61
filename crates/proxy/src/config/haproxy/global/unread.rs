//! Keywords of `global` that are not read: what is done anyway, what cannot matter here, and what is refused.

use super::super::keyword::{Entry, Keyword, Places};
use super::Globals;

/// Keywords that share what becomes of them.
macro_rules! entries {
    ($($keyword:expr => [$($name:literal),* $(,)?],)*) => {
        &[$($(($name, Places::ALL, $keyword),)*)*]
    };
}

/// Every one of them.
pub(super) const UNREAD: &[Entry<Globals>] = entries![
    Keyword::Implied => [
        "h1-accept-payload-with-any-method", "noevports", "nokqueue", "nopoll", "noreuseport",
        "pp2-never-send-local", "strict-limits", "tune.fd.edge-triggered", "tune.listener.multi-queue",
        "tune.ssl.force-private-cache",
    ],
    Keyword::NoEffect("threads sleep when there is nothing to do") => ["busy-polling"],
    Keyword::NoEffect(
        "the service's unit takes away what the process does not need; it is not moved into an empty directory"
    ) => [
        "chroot",
    ],
    Keyword::NoEffect("`drain_rate` of warren.toml spreads the ends of connections") => ["close-spread-time"],
    Keyword::NoEffect("connections are spread over threads, which the kernel places on processors") => [
        "cpu-map", "numa-cpu-mapping", "shards", "thread-group", "thread-groups",
        "tune.listener.default-shards",
    ],
    Keyword::NoEffect("set the log level on the command line") => ["debug"],
    Keyword::NoEffect("there are none") => ["expose-experimental-directives"],
    Keyword::NoEffect("set LimitNOFILE= in the unit") => ["fd-hard-limit"],
    Keyword::NoEffect("a stopping process waits for its sessions anyway") => ["grace"],
    Keyword::NoEffect("names of headers are passed on as they come") => [
        "h1-case-adjust", "h1-case-adjust-file",
    ],
    Keyword::NoEffect("only HTTP/1 is spoken") => [
        "h2-workaround-bogus-websocket-clients", "tune.h2.header-table-size",
        "tune.h2.initial-window-size", "tune.h2.max-concurrent-streams", "tune.h2.max-frame-size",
    ],
    Keyword::NoEffect("there is no Lua that could use this") => [
        "httpclient.resolvers.id", "httpclient.resolvers.prefer", "httpclient.ssl.ca-file",
        "httpclient.ssl.verify", "tune.lua.forced-yield", "tune.lua.maxmem", "tune.lua.service-timeout",
        "tune.lua.session-timeout", "tune.lua.task-timeout",
    ],
    Keyword::NoEffect("no programs are run") => ["insecure-fork-wanted", "insecure-setuid-wanted"],
    Keyword::NoEffect("tables of clients are not shared between hosts") => [
        "localpeer", "tune.peers.max-updates-at-once",
    ],
    Keyword::NoEffect(
        "reloads change the running process, and upgrades hand sessions over: there is no master"
    ) => [
        "master-worker",
    ],
    Keyword::NoEffect("checks are spread over their interval") => ["max-spread-checks"],
    Keyword::NoEffect("nothing is compressed") => [
        "maxcompcpuusage", "maxcomprate", "maxzlibmem", "tune.comp.maxlevel", "tune.zlib.memlevel",
        "tune.zlib.windowsize",
    ],
    Keyword::NoEffect("pipes are made and kept as they are needed") => ["maxpipes"],
    Keyword::NoEffect("give `maxconn` to the `bind` line with `ssl`") => ["maxsslconn"],
    Keyword::NoEffect("reloads change the running process") => ["mworker-max-reloads"],
    Keyword::NoEffect("memory is returned as the allocator sees fit") => ["no-memory-trimming"],
    Keyword::NoEffect("epoll is the only way") => ["noepoll"],
    Keyword::NoEffect("names are resolved by the system's resolver") => ["nogetaddrinfo"],
    Keyword::NoEffect("octets are spliced where that is cheaper") => ["nosplice"],
    Keyword::NoEffect("use perf") => ["profiling.tasks"],
    Keyword::NoEffect("call the program with -q") => ["quiet"],
    Keyword::NoEffect("set LimitCORE= in the unit") => ["set-dumpable"],
    Keyword::NoEffect("set AmbientCapabilities= in the unit") => ["setcap"],
    Keyword::NoEffect("ciphers are chosen by the TLS library, which has no weak ones") => [
        "ssl-default-bind-ciphers", "ssl-default-bind-ciphersuites", "ssl-default-bind-curves",
        "ssl-default-server-ciphers", "ssl-default-server-ciphersuites", "ssl-propquery",
        "tune.ssl.capture-buffer-size", "tune.ssl.capture-cipherlist-size",
    ],
    Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers") => ["ssl-default-server-options"],
    Keyword::NoEffect("keys are agreed on over elliptic curves") => [
        "ssl-dh-param-file", "tune.ssl.default-dh-param",
    ],
    Keyword::NoEffect("keys may lie in the certificate's file, or beside it as FILE.key") => [
        "ssl-load-extra-del-ext", "ssl-load-extra-files",
    ],
    Keyword::NoEffect("there are no engines") => ["ssl-mode-async"],
    Keyword::NoEffect("chains are sent as they are in the file") => ["ssl-skip-self-issued-ca"],
    Keyword::NoEffect("there is one process with many threads") => ["stats bind-process"],
    Keyword::NoEffect("runtime sockets have a limit of their own") => ["stats maxconn"],
    Keyword::NoEffect("buffers and limits here are not laid out like this") => [
        "tune.buffers.limit", "tune.buffers.reserve", "tune.fail-alloc", "tune.idletimer",
        "tune.maxaccept", "tune.maxpollevents", "tune.pattern.cache-size", "tune.pool-high-fd-ratio",
        "tune.pool-low-fd-ratio", "tune.recv_enough", "tune.runqueue-depth", "tune.sched.low-latency",
    ],
    Keyword::NoEffect("`len` of `capture cookie` is the limit") => ["tune.http.cookielen"],
    Keyword::NoEffect("`len` of the log line is the limit") => ["tune.http.logurilen"],
    Keyword::NoEffect("a head may have 101 headers") => ["tune.http.maxhdr"],
    Keyword::NoEffect("connections to servers belong to one client each") => ["tune.idle-pool.shared"],
    Keyword::NoEffect("room for rewritten heads is made as it is needed") => ["tune.maxrewrite"],
    Keyword::NoEffect("pipes grow as they are needed") => ["tune.pipesize"],
    Keyword::NoEffect("QUIC is not spoken") => [
        "cluster-secret", "tune.quic.frontend.conn-tx-buffers.limit", "tune.quic.frontend.max-idle-timeout",
        "tune.quic.frontend.max-streams-bidi", "tune.quic.retry-threshold",
    ],
    Keyword::NoEffect("the kernel sizes socket buffers") => [
        "tune.rcvbuf.client", "tune.rcvbuf.server", "tune.sndbuf.client", "tune.sndbuf.server",
    ],
    Keyword::NoEffect("the TLS library keeps sessions as it sees fit") => [
        "tune.ssl.cachesize", "tune.ssl.lifetime", "tune.ssl.ssl-ctx-cache-size",
    ],
    Keyword::NoEffect("the TLS library sizes records") => ["tune.ssl.hard-maxrecord", "tune.ssl.maxrecord"],
    Keyword::NoEffect("session keys are not written anywhere") => ["tune.ssl.keylog"],
    Keyword::NoEffect("variables are no longer than what they are made from") => [
        "tune.vars.global-max-size", "tune.vars.proc-max-size", "tune.vars.reqres-max-size",
        "tune.vars.sess-max-size", "tune.vars.txn-max-size",
    ],
    Keyword::NoEffect("`warren check` shows warnings") => ["zero-warning"],
    Keyword::Refused("devices of clients are not detected: remove the line") => [
        "51degrees-cache-size", "51degrees-data-file", "51degrees-property-name-list",
        "51degrees-property-separator", "deviceatlas-json-file", "deviceatlas-log-level",
        "deviceatlas-properties-cookie", "deviceatlas-separator", "wurfl-cache-size", "wurfl-data-file",
        "wurfl-information-list", "wurfl-information-list-separator",
    ],
    Keyword::Refused("write whole paths") => ["default-path"],
    Keyword::Refused("no programs are run: use tcp-check or httpchk") => ["external-check"],
    Keyword::Refused("put the chain into the certificate's file") => ["issuers-chain-path"],
    Keyword::Refused(
        "there is no Lua: write http-request rules, or a service of its own behind a backend"
    ) => [
        "lua-load", "lua-load-per-thread", "lua-prepend-path",
    ],
    Keyword::Refused("use Environment= in the unit") => ["presetenv", "resetenv", "setenv", "unsetenv"],
    Keyword::Refused("there are variables of requests only: remove the line") => ["set-var", "set-var-fmt"],
    Keyword::Refused("there are no engines: remove the line") => ["ssl-engine"],
    Keyword::Refused("there are no providers: remove the line") => ["ssl-provider", "ssl-provider-path"],
    Keyword::Refused("give user, group and mode to the `bind` lines") => ["unix-bind"],
];
