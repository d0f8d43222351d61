//! `bind`.

use std::path::PathBuf;

use toml::Spanned;
use warren_kit::config::suggestion;

use super::global::TlsDefaults;
use super::keyword::{Arguments, Keyword};
use super::proxy::Draft;
use crate::config::file::{Bind, BindTable, BindTls};

/// A bind line as far as it was read.
#[derive(Default)]
pub(in crate::config) struct BindDraft {
    table: BindTable,
    tls: BindTls,
    ssl: bool,
}

/// What may follow the address.
pub(in crate::config) const BIND: &[(&str, Keyword<BindDraft>)] = &[
    ("accept-netscaler-cip", Keyword::Refused("use accept-proxy")),
    (
        "accept-proxy",
        Keyword::Switch(|bind, on| bind.table.accept_proxy = on),
    ),
    (
        "allow-0rtt",
        Keyword::NoEffect("no request is taken before the handshake is complete"),
    ),
    ("alpn", Keyword::Read(alpn)),
    (
        "backlog",
        Keyword::Read(|bind, arguments| bind.table.backlog = arguments.number()),
    ),
    (
        "ca-file",
        Keyword::Read(|bind, arguments| bind.tls.client_ca = path(arguments)),
    ),
    (
        "ca-ignore-err",
        Keyword::Refused("certificates of clients are wrong or right"),
    ),
    ("ca-sign-file", Keyword::Refused("certificates are not made")),
    ("ca-sign-pass", Keyword::Refused("certificates are not made")),
    (
        "ca-verify-file",
        Keyword::Read(|bind, arguments| bind.tls.client_ca = path(arguments)),
    ),
    (
        "ciphers",
        Keyword::Read(|_, arguments| {
            one_without_effect(
                arguments,
                "ciphers are chosen by the TLS library, which has no weak ones",
            )
        }),
    ),
    (
        "ciphersuites",
        Keyword::Read(|_, arguments| {
            one_without_effect(
                arguments,
                "ciphers are chosen by the TLS library, which has no weak ones",
            )
        }),
    ),
    (
        "crl-file",
        Keyword::Refused("lists of revoked certificates are not read"),
    ),
    (
        "crt",
        Keyword::Read(|bind, arguments| bind.tls.certificates.extend(path(arguments))),
    ),
    (
        "crt-ignore-err",
        Keyword::Refused("certificates of clients are wrong or right"),
    ),
    (
        "crt-list",
        Keyword::Refused("give a directory of certificates to `crt`: names are taken from them"),
    ),
    (
        "curves",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "curves are chosen by the TLS library")),
    ),
    (
        "defer-accept",
        Keyword::NoEffect("the kernel tells of a connection when it stands"),
    ),
    (
        "ecdhe",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "curves are chosen by the TLS library")),
    ),
    (
        "expose-fd",
        Keyword::Read(|_, arguments| {
            arguments.required("listeners");
        }),
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
    ("force-tlsv12", Keyword::Refused("use `ssl-min-ver TLSv1.2`")),
    (
        "force-tlsv13",
        Keyword::Switch(|bind, _| bind.tls.min_version = Some(Spanned::new(0..0, "1.3".to_owned()))),
    ),
    (
        "generate-certificates",
        Keyword::Refused("certificates are not made"),
    ),
    (
        "gid",
        Keyword::Read(|bind, arguments| bind.table.group = arguments.plain("a number")),
    ),
    (
        "group",
        Keyword::Read(|bind, arguments| bind.table.group = arguments.plain("a group")),
    ),
    (
        "id",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "addresses are numbered by their place")),
    ),
    (
        "interface",
        Keyword::Read(|bind, arguments| bind.table.interface = arguments.plain("an interface")),
    ),
    (
        "level",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "it is for `stats socket`")),
    ),
    (
        "maxconn",
        Keyword::Read(|bind, arguments| bind.table.maxconn = arguments.number()),
    ),
    (
        "mode",
        Keyword::Read(|bind, arguments| bind.table.mode = arguments.plain("permissions such as 660")),
    ),
    ("mss", Keyword::Refused("set it with a route (advmss)")),
    (
        "name",
        Keyword::Read(|bind, arguments| bind.table.name = arguments.plain("a name")),
    ),
    (
        "namespace",
        Keyword::Refused("use NetworkNamespacePath= in the unit"),
    ),
    (
        "nice",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "sessions are served in turn")),
    ),
    ("no-alpn", Keyword::Switch(|bind, _| bind.tls.alpn.clear())),
    (
        "no-ca-names",
        Keyword::NoEffect("clients are told who has to have signed"),
    ),
    ("no-sslv3", Keyword::Implied),
    (
        "no-tls-tickets",
        Keyword::NoEffect("tickets are protected by keys that change"),
    ),
    ("no-tlsv10", Keyword::Implied),
    ("no-tlsv11", Keyword::Implied),
    (
        "no-tlsv12",
        Keyword::Switch(|bind, _| bind.tls.min_version = Some(Spanned::new(0..0, "1.3".to_owned()))),
    ),
    (
        "no-tlsv13",
        Keyword::NoEffect("TLS 1.3 is spoken with those who can"),
    ),
    (
        "npn",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "alpn has taken its place")),
    ),
    (
        "ocsp-update",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "answers of OCSP are not fetched")),
    ),
    ("prefer-client-ciphers", Keyword::Implied),
    (
        "process",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "connections go to the least loaded thread")
        }),
    ),
    ("proto", Keyword::Read(proto)),
    ("quic-cc-algo", Keyword::Refused("QUIC is not spoken")),
    ("quic-force-retry", Keyword::Refused("QUIC is not spoken")),
    (
        "severity-output",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "it is for `stats socket`")),
    ),
    (
        "shards",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "connections go to the least loaded thread")
        }),
    ),
    ("ssl", Keyword::Switch(|bind, on| bind.ssl = on)),
    (
        "ssl-max-ver",
        Keyword::Read(|_, arguments| one_without_effect(arguments, "TLS 1.2 and 1.3 are spoken")),
    ),
    (
        "ssl-min-ver",
        Keyword::Read(|bind, arguments| bind.tls.min_version = arguments.text("a version").map(version)),
    ),
    ("strict-sni", Keyword::Switch(|bind, on| bind.tls.strict_sni = on)),
    (
        "tcp-ut",
        Keyword::Read(|bind, arguments| bind.table.user_timeout = arguments.time()),
    ),
    ("tfo", Keyword::NoEffect("connections are opened without data")),
    (
        "thread",
        Keyword::Read(|_, arguments| {
            one_without_effect(arguments, "connections go to the least loaded thread")
        }),
    ),
    (
        "tls-ticket-keys",
        Keyword::Refused("keys of tickets are made, and changed, by the TLS library"),
    ),
    ("transparent", Keyword::Implied),
    (
        "uid",
        Keyword::Read(|bind, arguments| bind.table.user = arguments.plain("a number")),
    ),
    (
        "user",
        Keyword::Read(|bind, arguments| bind.table.user = arguments.plain("a user")),
    ),
    ("v4v6", Keyword::Implied),
    ("v6only", Keyword::Switch(|bind, on| bind.table.v6only = on)),
    (
        "verify",
        Keyword::Read(|bind, arguments| bind.tls.clients = arguments.text("none, optional or required")),
    ),
];

/// `bind ADDRESS[, ...] [OPTION ...]`
pub(super) fn bind(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(address) = arguments.required("an address") else {
        return;
    };
    let mut bind = BindDraft::default();
    bind.table.address.clone_from(&address.text);
    read_options(&mut bind, arguments, BIND, "bind");
    if bind.ssl {
        bind.table.tls = Some(bind.tls);
    } else if bind.tls != BindTls::default() {
        arguments.report.warn(
            arguments.whole(),
            "TLS options without `ssl` have no effect",
            "write `ssl` after the address",
        );
    }
    let short = BindTable {
        address: address.text.clone(),
        ..BindTable::default()
    };
    let bind = if bind.table == short {
        Bind::Short(bind.table.address)
    } else {
        Bind::Long(Box::new(bind.table))
    };
    draft.section.bind.push(Spanned::new(address.span.clone(), bind));
}

/// Whatever `global` says about every `ssl`.
pub(super) fn with_defaults(bind: &mut Bind, defaults: &TlsDefaults) {
    let Bind::Long(table) = bind else { return };
    let Some(tls) = &mut table.tls else { return };
    if let Some(base) = &defaults.crt_base {
        for file in &mut tls.certificates {
            *file.as_mut() = base.join(file.get_ref());
        }
    }
    if let (Some(base), Some(file)) = (&defaults.ca_base, &mut tls.client_ca) {
        *file.as_mut() = base.join(file.get_ref());
    }
    tls.min_version = tls.min_version.take().or_else(|| defaults.min_version.clone());
    tls.strict_sni |= defaults.strict_sni;
}

/// Words with their arguments, to the end of the line.
pub(super) fn read_options<T>(
    target: &mut T,
    arguments: &mut Arguments<'_, '_>,
    table: &[(&'static str, Keyword<T>)],
    line: &str,
) {
    while let Some(word) = arguments.optional() {
        match table.iter().find(|(name, _)| *name == word.text) {
            Some((_, Keyword::Read(read))) => read(target, arguments),
            Some((_, Keyword::Switch(set))) => set(target, true),
            Some((_, Keyword::Implied)) => {}
            Some((name, Keyword::NoEffect(why))) => {
                arguments
                    .report
                    .warn(word.span.clone(), format!("`{name}` has no effect here"), *why);
            }
            Some((name, Keyword::Refused(instead))) => {
                arguments
                    .report
                    .error(word.span.clone(), format!("`{name}` is not supported"), *instead);
                // Its own arguments would only be called unknown.
                arguments.rest_words();
            }
            None => {
                let names = table.iter().map(|(name, _)| *name);
                arguments.report.error(
                    word.span.clone(),
                    format!("unknown word `{}` on a `{line}` line", word.text),
                    suggestion(&word.text, names),
                );
                arguments.rest_words();
            }
        }
    }
}

/// An option with one argument that cannot matter.
pub(super) fn one_without_effect(arguments: &mut Arguments<'_, '_>, why: &str) {
    let Some(argument) = arguments.required("a value") else {
        return;
    };
    arguments.report.warn(
        argument.span.clone(),
        format!("`{}` has no effect here", argument.text),
        why,
    );
}

pub(super) fn path(arguments: &mut Arguments<'_, '_>) -> Option<Spanned<PathBuf>> {
    let word = arguments.required("a path")?;
    Some(Spanned::new(word.span.clone(), PathBuf::from(&word.text)))
}

fn alpn(bind: &mut BindDraft, arguments: &mut Arguments<'_, '_>) {
    let Some(protocols) = arguments.text("protocols") else {
        return;
    };
    bind.tls.alpn = only_http1(arguments, &protocols);
}

/// What is offered must be spoken.
pub(super) fn only_http1(arguments: &mut Arguments<'_, '_>, protocols: &Spanned<String>) -> Vec<String> {
    let names = protocols.get_ref().split(',').map(str::to_owned);
    let (spoken, other): (Vec<_>, Vec<_>) = names.partition(|name| name != "h2");
    if !other.is_empty() {
        arguments.report.warn(
            protocols.span(),
            "`h2` is not offered",
            "clients speak HTTP/1.1 with the proxy",
        );
    }
    spoken
}

fn proto(_: &mut BindDraft, arguments: &mut Arguments<'_, '_>) {
    if let Some(word) = arguments.required("a protocol")
        && word.text != "h1"
    {
        arguments.report.error(
            word.span.clone(),
            format!("the protocol `{}` is not spoken", word.text),
            "remove `proto`: HTTP/1.1 is spoken",
        );
    }
}

/// `TLSv1.2` as warren.toml writes it; older ones are rounded up.
pub(super) fn version(version: Spanned<String>) -> Spanned<String> {
    let number = match version.get_ref().as_str() {
        "TLSv1.3" => "1.3",
        "SSLv3" | "TLSv1.0" | "TLSv1.1" | "TLSv1.2" => "1.2",
        other => other,
    };
    Spanned::new(version.span(), number.to_owned())
}
