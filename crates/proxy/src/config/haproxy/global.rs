//! `global`.

mod unread;

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
            Some(Spanned::new(
                files.span(),
                (files.get_ref().saturating_sub(100) / 2).max(1),
            ))
        });
        if let Some(base) = &self.state_base {
            let file = self.file.server_state_file.take();
            self.file.server_state_file = file.map(|file| base.join(file));
        }
        self.file
    }
}

/// Its keywords.
pub(in crate::config) const GLOBAL: &[&[Entry<Globals>]] = &[READ, unread::UNREAD];

const READ: &[Entry<Globals>] = &[
    (
        "ca-base",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.tls.ca_base = arguments.plain("a directory").map(PathBuf::from)
        }),
    ),
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
        "description",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            let words = arguments.rest_words().iter().map(|word| word.text.as_str());
            globals.file.description = Some(words.collect::<Vec<_>>().join(" "));
        }),
    ),
    (
        "gid",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.group = arguments.text("a number")),
    ),
    (
        "group",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.group = arguments.text("a group")),
    ),
    (
        "hard-stop-after",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.drain_timeout = arguments.time()),
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
        "maxsessrate",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxconnrate = arguments.number()),
    ),
    (
        "maxsslrate",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.maxsslrate = arguments.number()),
    ),
    ("nbproc", Places::ALL, Keyword::Read(nbproc)),
    (
        "nbthread",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.threads = arguments.number()),
    ),
    (
        "node",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.node = arguments.plain("a name")),
    ),
    (
        "pidfile",
        Places::ALL,
        Keyword::Read(|globals, arguments| {
            globals.file.pid_file = arguments.plain("a path").map(PathBuf::from)
        }),
    ),
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
        "spread-checks",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.spread_checks = arguments.number()),
    ),
    (
        "ssl-default-bind-options",
        Places::ALL,
        Keyword::Read(default_bind_options),
    ),
    ("ssl-server-verify", Places::ALL, Keyword::Read(server_verify)),
    ("stats socket", Places::ALL, Keyword::Read(socket)),
    (
        "stats timeout",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.socket_timeout = arguments.time()),
    ),
    (
        "tune.bufsize",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.buffer = arguments.number()),
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
        "user",
        Places::ALL,
        Keyword::Read(|globals, arguments| globals.file.user = arguments.text("a user")),
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
