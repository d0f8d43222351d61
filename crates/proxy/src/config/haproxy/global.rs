//! `global`.

use std::path::PathBuf;

use toml::Spanned;
use warren_kit::config::suggestion;

use super::bind::version;
use super::keyword::{Arguments, Entry, Keyword, Places};
use crate::config::file::{Proxy, Socket, SocketTable};

/// What the section says.
#[derive(Default)]
pub(in crate::config) struct Globals {
    file: Proxy,
    /// For every `ssl`.
    pub(super) tls: TlsDefaults,
    /// `maxconn` derived from it if that is not given.
    ulimit: Option<Spanned<i64>>,
    /// Where `server-state-file` is unless it says so itself.
    state_base: Option<PathBuf>,
}

/// What holds for every `ssl` that does not say otherwise.
#[derive(Clone, Default)]
pub(super) struct TlsDefaults {
    /// `ssl-min-ver` of `ssl-default-bind-options`.
    pub(super) min_version: Option<Spanned<String>>,
    pub(super) strict_sni: bool,
    /// `ssl-server-verify none`
    pub(super) no_verify: bool,
    /// `crt-base`
    pub(super) crt_base: Option<PathBuf>,
    /// `ca-base`
    pub(super) ca_base: Option<PathBuf>,
}

impl Globals {
    /// With HAProxy's defaults written into it.
    pub(super) fn complete(mut self) -> Proxy {
        // Two files for each session, and some for everything else.
        self.file.maxconn = self.file.maxconn.or_else(|| {
            let files = self.ulimit?;
            Some(Spanned::new(files.span(), ((files.get_ref() - 100) / 2).max(1)))
        });
        if let Some(base) = &self.state_base {
            let file = self.file.server_state_file.take();
            self.file.server_state_file = file.map(|file| base.join(file));
        }
        self.file
    }
}

const THREADS: &str = "connections are spread over threads, which the kernel places on processors";
const CIPHERS: &str = "ciphers are chosen by the TLS library, which has no weak ones";
const LUA: &str = "there is no Lua: write http-request rules, or a service of its own behind a backend";
const DEVICES: &str = "devices of clients are not detected: remove the line";
const HTTPCLIENT: &str = "there is no Lua that could use this";
const ENVIRONMENT: &str = "use Environment= in the unit";
const H2: &str = "only HTTP/1 is spoken";
const QUIC: &str = "QUIC is not spoken";
const TUNING: &str = "buffers and limits here are not laid out like this";

/// Its keywords.
pub(in crate::config) const GLOBAL: &[Entry<Globals>] = &[
    ("51degrees-cache-size", Places::ALL, Keyword::Refused(DEVICES)),
    ("51degrees-data-file", Places::ALL, Keyword::Refused(DEVICES)),
    (
        "51degrees-property-name-list",
        Places::ALL,
        Keyword::Refused(DEVICES),
    ),
    (
        "51degrees-property-separator",
        Places::ALL,
        Keyword::Refused(DEVICES),
    ),
    (
        "busy-polling",
        Places::ALL,
        Keyword::NoEffect("threads sleep when there is nothing to do"),
    ),
    (
        "ca-base",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.tls.ca_base = arguments.plain("a directory").map(PathBuf::from)
        }),
    ),
    (
        "chroot",
        Places::ALL,
        Keyword::NoEffect(
            "the service's unit takes away what the process does not need; it is not moved into an empty directory",
        ),
    ),
    (
        "close-spread-time",
        Places::ALL,
        Keyword::NoEffect("`drain_rate` of warren.toml spreads the ends of connections"),
    ),
    (
        "cluster-secret",
        Places::ALL,
        Keyword::NoEffect("QUIC is not spoken"),
    ),
    ("cpu-map", Places::ALL, Keyword::NoEffect(THREADS)),
    (
        "crt-base",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.tls.crt_base = arguments.plain("a directory").map(PathBuf::from)
        }),
    ),
    (
        "daemon",
        Places::ALL,
        Keyword::Switch(|globals, on| globals.file.daemon = on),
    ),
    (
        "debug",
        Places::ALL,
        Keyword::NoEffect("set the log level on the command line"),
    ),
    ("default-path", Places::ALL, Keyword::Refused("write whole paths")),
    (
        "description",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            let words = arguments.rest_words().iter().map(|word| word.text.as_str());
            globals.file.description = Some(words.collect::<Vec<_>>().join(" "));
        }),
    ),
    ("deviceatlas-json-file", Places::ALL, Keyword::Refused(DEVICES)),
    ("deviceatlas-log-level", Places::ALL, Keyword::Refused(DEVICES)),
    (
        "deviceatlas-properties-cookie",
        Places::ALL,
        Keyword::Refused(DEVICES),
    ),
    ("deviceatlas-separator", Places::ALL, Keyword::Refused(DEVICES)),
    (
        "expose-experimental-directives",
        Places::ALL,
        Keyword::NoEffect("there are none"),
    ),
    (
        "external-check",
        Places::ALL,
        Keyword::Refused("no programs are run: use tcp-check or httpchk"),
    ),
    (
        "fd-hard-limit",
        Places::ALL,
        Keyword::NoEffect("set LimitNOFILE= in the unit"),
    ),
    (
        "gid",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.group = arguments.text("a number")),
    ),
    (
        "grace",
        Places::ALL,
        Keyword::NoEffect("a stopping process waits for its sessions anyway"),
    ),
    (
        "group",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.group = arguments.text("a group")),
    ),
    ("h1-accept-payload-with-any-method", Places::ALL, Keyword::Implied),
    (
        "h1-case-adjust",
        Places::ALL,
        Keyword::NoEffect("names of headers are passed on as they come"),
    ),
    (
        "h1-case-adjust-file",
        Places::ALL,
        Keyword::NoEffect("names of headers are passed on as they come"),
    ),
    (
        "h2-workaround-bogus-websocket-clients",
        Places::ALL,
        Keyword::NoEffect(H2),
    ),
    (
        "hard-stop-after",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.drain_timeout = arguments.time()),
    ),
    (
        "httpclient.resolvers.id",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "httpclient.resolvers.prefer",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "httpclient.ssl.ca-file",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "httpclient.ssl.verify",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "insecure-fork-wanted",
        Places::ALL,
        Keyword::NoEffect("no programs are run"),
    ),
    (
        "insecure-setuid-wanted",
        Places::ALL,
        Keyword::NoEffect("no programs are run"),
    ),
    (
        "issuers-chain-path",
        Places::ALL,
        Keyword::Refused("put the chain into the certificate's file"),
    ),
    (
        "localpeer",
        Places::ALL,
        Keyword::NoEffect("tables of clients are not shared between hosts"),
    ),
    ("log", Places::ALL, Keyword::Read(log)),
    (
        "log-send-hostname",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            let name = arguments.optional().map(|word| word.text.clone());
            globals.file.log_hostname = Some(name.unwrap_or_default());
        }),
    ),
    (
        "log-tag",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.log_tag = arguments.plain("a word")),
    ),
    ("lua-load", Places::ALL, Keyword::Refused(LUA)),
    ("lua-load-per-thread", Places::ALL, Keyword::Refused(LUA)),
    ("lua-prepend-path", Places::ALL, Keyword::Refused(LUA)),
    (
        "master-worker",
        Places::ALL,
        Keyword::NoEffect(
            "reloads change the running process, and upgrades hand sessions over: there is no master",
        ),
    ),
    (
        "max-spread-checks",
        Places::ALL,
        Keyword::NoEffect("checks are spread over their interval"),
    ),
    (
        "maxcompcpuusage",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    (
        "maxcomprate",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    (
        "maxconn",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxconn = arguments.number()),
    ),
    (
        "maxconnrate",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxconnrate = arguments.number()),
    ),
    (
        "maxpipes",
        Places::ALL,
        Keyword::NoEffect("pipes are made and kept as they are needed"),
    ),
    (
        "maxsessrate",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxconnrate = arguments.number()),
    ),
    (
        "maxsslconn",
        Places::ALL,
        Keyword::NoEffect("give `maxconn` to the `bind` line with `ssl`"),
    ),
    (
        "maxsslrate",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxsslrate = arguments.number()),
    ),
    (
        "maxzlibmem",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    (
        "mworker-max-reloads",
        Places::ALL,
        Keyword::NoEffect("reloads change the running process"),
    ),
    ("nbproc", Places::ALL, Keyword::Read(nbproc)),
    (
        "nbthread",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.threads = arguments.number()),
    ),
    (
        "no-memory-trimming",
        Places::ALL,
        Keyword::NoEffect("memory is returned as the allocator sees fit"),
    ),
    (
        "node",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.node = arguments.plain("a name")),
    ),
    ("noepoll", Places::ALL, Keyword::NoEffect("epoll is the only way")),
    ("noevports", Places::ALL, Keyword::Implied),
    (
        "nogetaddrinfo",
        Places::ALL,
        Keyword::NoEffect("names are resolved by the system's resolver"),
    ),
    ("nokqueue", Places::ALL, Keyword::Implied),
    ("nopoll", Places::ALL, Keyword::Implied),
    ("noreuseport", Places::ALL, Keyword::Implied),
    (
        "nosplice",
        Places::ALL,
        Keyword::NoEffect("octets are spliced where that is cheaper"),
    ),
    ("numa-cpu-mapping", Places::ALL, Keyword::NoEffect(THREADS)),
    (
        "pidfile",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.file.pid_file = arguments.plain("a path").map(PathBuf::from)
        }),
    ),
    ("pp2-never-send-local", Places::ALL, Keyword::Implied),
    ("presetenv", Places::ALL, Keyword::Refused(ENVIRONMENT)),
    ("profiling.tasks", Places::ALL, Keyword::NoEffect("use perf")),
    (
        "quiet",
        Places::ALL,
        Keyword::NoEffect("call the program with -q"),
    ),
    ("resetenv", Places::ALL, Keyword::Refused(ENVIRONMENT)),
    (
        "server-state-base",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.state_base = arguments.plain("a directory").map(PathBuf::from);
        }),
    ),
    (
        "server-state-file",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.file.server_state_file = arguments.plain("a path").map(PathBuf::from);
        }),
    ),
    (
        "set-dumpable",
        Places::ALL,
        Keyword::NoEffect("set LimitCORE= in the unit"),
    ),
    (
        "set-var",
        Places::ALL,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    (
        "set-var-fmt",
        Places::ALL,
        Keyword::Refused("there are variables of requests only: remove the line"),
    ),
    (
        "setcap",
        Places::ALL,
        Keyword::NoEffect("set AmbientCapabilities= in the unit"),
    ),
    ("setenv", Places::ALL, Keyword::Refused(ENVIRONMENT)),
    ("shards", Places::ALL, Keyword::NoEffect(THREADS)),
    (
        "spread-checks",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.spread_checks = arguments.number()),
    ),
    (
        "ssl-default-bind-ciphers",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    (
        "ssl-default-bind-ciphersuites",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    ("ssl-default-bind-curves", Places::ALL, Keyword::NoEffect(CIPHERS)),
    (
        "ssl-default-bind-options",
        Places::ALL,
        Keyword::Read(default_bind_options),
    ),
    (
        "ssl-default-server-ciphers",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    (
        "ssl-default-server-ciphersuites",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    (
        "ssl-default-server-options",
        Places::ALL,
        Keyword::NoEffect("TLS 1.2 and 1.3 are spoken with servers"),
    ),
    (
        "ssl-dh-param-file",
        Places::ALL,
        Keyword::NoEffect("keys are agreed on over elliptic curves"),
    ),
    (
        "ssl-engine",
        Places::ALL,
        Keyword::Refused("there are no engines: remove the line"),
    ),
    (
        "ssl-load-extra-del-ext",
        Places::ALL,
        Keyword::NoEffect("keys may lie in the certificate's file, or beside it as FILE.key"),
    ),
    (
        "ssl-load-extra-files",
        Places::ALL,
        Keyword::NoEffect("keys may lie in the certificate's file, or beside it as FILE.key"),
    ),
    (
        "ssl-mode-async",
        Places::ALL,
        Keyword::NoEffect("there are no engines"),
    ),
    ("ssl-propquery", Places::ALL, Keyword::NoEffect(CIPHERS)),
    (
        "ssl-provider",
        Places::ALL,
        Keyword::Refused("there are no providers: remove the line"),
    ),
    (
        "ssl-provider-path",
        Places::ALL,
        Keyword::Refused("there are no providers: remove the line"),
    ),
    ("ssl-server-verify", Places::ALL, Keyword::Read(server_verify)),
    (
        "ssl-skip-self-issued-ca",
        Places::ALL,
        Keyword::NoEffect("chains are sent as they are in the file"),
    ),
    (
        "stats bind-process",
        Places::ALL,
        Keyword::NoEffect("there is one process with many threads"),
    ),
    (
        "stats maxconn",
        Places::ALL,
        Keyword::NoEffect("runtime sockets have a limit of their own"),
    ),
    ("stats socket", Places::ALL, Keyword::Read(socket)),
    (
        "stats timeout",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.socket_timeout = arguments.time()),
    ),
    ("strict-limits", Places::ALL, Keyword::Implied),
    ("thread-group", Places::ALL, Keyword::NoEffect(THREADS)),
    ("thread-groups", Places::ALL, Keyword::NoEffect(THREADS)),
    (
        "tune.bufsize",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.buffer = arguments.number()),
    ),
    ("tune.buffers.limit", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.buffers.reserve", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.comp.maxlevel",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    ("tune.fail-alloc", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.fd.edge-triggered", Places::ALL, Keyword::Implied),
    ("tune.h2.header-table-size", Places::ALL, Keyword::NoEffect(H2)),
    ("tune.h2.initial-window-size", Places::ALL, Keyword::NoEffect(H2)),
    (
        "tune.h2.max-concurrent-streams",
        Places::ALL,
        Keyword::NoEffect(H2),
    ),
    ("tune.h2.max-frame-size", Places::ALL, Keyword::NoEffect(H2)),
    (
        "tune.http.cookielen",
        Places::ALL,
        Keyword::NoEffect("`len` of `capture cookie` is the limit"),
    ),
    (
        "tune.http.logurilen",
        Places::ALL,
        Keyword::NoEffect("`len` of the log line is the limit"),
    ),
    (
        "tune.http.maxhdr",
        Places::ALL,
        Keyword::NoEffect("a head may have 101 headers"),
    ),
    (
        "tune.idle-pool.shared",
        Places::ALL,
        Keyword::NoEffect("connections to servers belong to one client each"),
    ),
    ("tune.idletimer", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.listener.default-shards",
        Places::ALL,
        Keyword::NoEffect(THREADS),
    ),
    ("tune.listener.multi-queue", Places::ALL, Keyword::Implied),
    (
        "tune.lua.forced-yield",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    ("tune.lua.maxmem", Places::ALL, Keyword::NoEffect(HTTPCLIENT)),
    (
        "tune.lua.service-timeout",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "tune.lua.session-timeout",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    (
        "tune.lua.task-timeout",
        Places::ALL,
        Keyword::NoEffect(HTTPCLIENT),
    ),
    ("tune.maxaccept", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.maxpollevents", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.maxrewrite",
        Places::ALL,
        Keyword::NoEffect("room for rewritten heads is made as it is needed"),
    ),
    ("tune.pattern.cache-size", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.peers.max-updates-at-once",
        Places::ALL,
        Keyword::NoEffect("tables of clients are not shared between hosts"),
    ),
    (
        "tune.pipesize",
        Places::ALL,
        Keyword::NoEffect("pipes grow as they are needed"),
    ),
    ("tune.pool-high-fd-ratio", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.pool-low-fd-ratio", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.quic.frontend.conn-tx-buffers.limit",
        Places::ALL,
        Keyword::NoEffect(QUIC),
    ),
    (
        "tune.quic.frontend.max-idle-timeout",
        Places::ALL,
        Keyword::NoEffect(QUIC),
    ),
    (
        "tune.quic.frontend.max-streams-bidi",
        Places::ALL,
        Keyword::NoEffect(QUIC),
    ),
    ("tune.quic.retry-threshold", Places::ALL, Keyword::NoEffect(QUIC)),
    (
        "tune.rcvbuf.client",
        Places::ALL,
        Keyword::NoEffect("the kernel sizes socket buffers"),
    ),
    (
        "tune.rcvbuf.server",
        Places::ALL,
        Keyword::NoEffect("the kernel sizes socket buffers"),
    ),
    ("tune.recv_enough", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.runqueue-depth", Places::ALL, Keyword::NoEffect(TUNING)),
    ("tune.sched.low-latency", Places::ALL, Keyword::NoEffect(TUNING)),
    (
        "tune.sndbuf.client",
        Places::ALL,
        Keyword::NoEffect("the kernel sizes socket buffers"),
    ),
    (
        "tune.sndbuf.server",
        Places::ALL,
        Keyword::NoEffect("the kernel sizes socket buffers"),
    ),
    (
        "tune.ssl.cachesize",
        Places::ALL,
        Keyword::NoEffect("the TLS library keeps sessions as it sees fit"),
    ),
    (
        "tune.ssl.capture-buffer-size",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    (
        "tune.ssl.capture-cipherlist-size",
        Places::ALL,
        Keyword::NoEffect(CIPHERS),
    ),
    (
        "tune.ssl.default-dh-param",
        Places::ALL,
        Keyword::NoEffect("keys are agreed on over elliptic curves"),
    ),
    ("tune.ssl.force-private-cache", Places::ALL, Keyword::Implied),
    (
        "tune.ssl.hard-maxrecord",
        Places::ALL,
        Keyword::NoEffect("the TLS library sizes records"),
    ),
    (
        "tune.ssl.keylog",
        Places::ALL,
        Keyword::NoEffect("session keys are not written anywhere"),
    ),
    (
        "tune.ssl.lifetime",
        Places::ALL,
        Keyword::NoEffect("the TLS library keeps sessions as it sees fit"),
    ),
    (
        "tune.ssl.maxrecord",
        Places::ALL,
        Keyword::NoEffect("the TLS library sizes records"),
    ),
    (
        "tune.ssl.ssl-ctx-cache-size",
        Places::ALL,
        Keyword::NoEffect("the TLS library keeps sessions as it sees fit"),
    ),
    (
        "tune.vars.global-max-size",
        Places::ALL,
        Keyword::NoEffect("variables are no longer than what they are made from"),
    ),
    (
        "tune.vars.proc-max-size",
        Places::ALL,
        Keyword::NoEffect("variables are no longer than what they are made from"),
    ),
    (
        "tune.vars.reqres-max-size",
        Places::ALL,
        Keyword::NoEffect("variables are no longer than what they are made from"),
    ),
    (
        "tune.vars.sess-max-size",
        Places::ALL,
        Keyword::NoEffect("variables are no longer than what they are made from"),
    ),
    (
        "tune.vars.txn-max-size",
        Places::ALL,
        Keyword::NoEffect("variables are no longer than what they are made from"),
    ),
    (
        "tune.zlib.memlevel",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    (
        "tune.zlib.windowsize",
        Places::ALL,
        Keyword::NoEffect("nothing is compressed"),
    ),
    (
        "uid",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.user = arguments.text("a number")),
    ),
    (
        "ulimit-n",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.ulimit = arguments.number()),
    ),
    (
        "unix-bind",
        Places::ALL,
        Keyword::Refused("give user, group and mode to the `bind` lines"),
    ),
    ("unsetenv", Places::ALL, Keyword::Refused(ENVIRONMENT)),
    (
        "user",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.user = arguments.text("a user")),
    ),
    ("wurfl-cache-size", Places::ALL, Keyword::Refused(DEVICES)),
    ("wurfl-data-file", Places::ALL, Keyword::Refused(DEVICES)),
    ("wurfl-information-list", Places::ALL, Keyword::Refused(DEVICES)),
    (
        "wurfl-information-list-separator",
        Places::ALL,
        Keyword::Refused(DEVICES),
    ),
    (
        "zero-warning",
        Places::ALL,
        Keyword::NoEffect("`warren check` shows warnings"),
    ),
];

fn log(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    if arguments.negated {
        globals.file.log.clear();
    } else if let Some(target) = arguments.rest() {
        globals.file.log.push(target);
    } else {
        arguments.required("an address and a facility");
    }
}

fn nbproc(_: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    if let Some(number) = arguments.number()
        && *number.get_ref() != 1
    {
        arguments.report.error(
            number.span(),
            "there is one process with many threads",
            "write `nbthread` instead of `nbproc`, as HAProxy 2.5 asks for",
        );
    }
}

/// `ssl-default-bind-options`: what is left of them is the least version.
fn default_bind_options(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "ssl-min-ver" => globals.tls.min_version = arguments.text("a version").map(version),
            "ssl-max-ver" => {
                arguments.optional();
                arguments.report.warn(
                    word.span.clone(),
                    "`ssl-max-ver` has no effect here",
                    "TLS 1.2 and 1.3 are spoken",
                );
            }
            "strict-sni" => globals.tls.strict_sni = true,
            "no-sslv3" | "no-tlsv10" | "no-tlsv11" | "prefer-client-ciphers" => {}
            "no-tlsv12" => globals.tls.min_version = Some(Spanned::new(word.span.clone(), "1.3".to_owned())),
            "no-tls-tickets" => arguments.report.warn(
                word.span.clone(),
                "`no-tls-tickets` has no effect here",
                "tickets are protected by keys that change",
            ),
            other => arguments.report.error(
                word.span.clone(),
                format!("`{other}` is not supported in ssl-default-bind-options"),
                suggestion(other, ["ssl-min-ver", "strict-sni", "no-tls-tickets"].into_iter()),
            ),
        }
    }
}

fn server_verify(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("none or required") else {
        return;
    };
    match word.text.as_str() {
        "none" => globals.tls.no_verify = true,
        "required" => globals.tls.no_verify = false,
        other => arguments.report.error(
            word.span.clone(),
            format!("unknown word `{other}` after ssl-server-verify"),
            suggestion(other, ["none", "required"].into_iter()),
        ),
    }
}

/// `stats socket ADDRESS [user NAME] [group NAME] [mode OCTAL] [level LEVEL] [expose-fd listeners] ...`
fn socket(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    const WORDS: [&str; 9] = [
        "user",
        "uid",
        "group",
        "gid",
        "mode",
        "level",
        "expose-fd",
        "name",
        "process",
    ];
    let Some(address) = arguments.required("a path or an address") else {
        return;
    };
    let mut table = SocketTable {
        address: address.text.clone(),
        ..SocketTable::default()
    };
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "user" | "uid" => table.user = arguments.plain("a user"),
            "group" | "gid" => table.group = arguments.plain("a group"),
            "mode" => table.mode = arguments.plain("permissions such as 660"),
            "level" => table.level = arguments.plain("user, operator or admin"),
            // Listeners are handed over on a socket of their own.
            "expose-fd" => {
                arguments.required("listeners");
            }
            "name" | "process" | "thread" | "maxconn" | "backlog" | "severity-output" => {
                arguments.optional();
            }
            other => {
                let help = suggestion(other, WORDS.into_iter());
                let message = format!("unknown word `{other}` after `stats socket`");
                arguments.report.error(word.span.clone(), message, help);
                arguments.rest_words();
            }
        }
    }
    let short = SocketTable {
        address: table.address.clone(),
        ..SocketTable::default()
    };
    let socket = if table == short {
        Socket::Short(table.address)
    } else {
        Socket::Long(table)
    };
    globals
        .file
        .sockets
        .push(Spanned::new(address.span.clone(), socket));
}
