//! `docs/haproxy.md`: what becomes of every keyword, made from the tables that read them.

use std::fmt::Write;

use super::bind::BIND;
use super::global::GLOBAL;
use super::keyword::{Entry, Keyword, Places};
use super::proxy::PROXY;
use super::server::SERVER;
use super::userlist::USERLIST;
use super::{REFUSED_SECTIONS, SECTIONS};
use crate::config::build::reference::{
    AFTER_ACTIONS, PREDEFINED, REFUSED_ACTIONS, REQUEST_ACTIONS, RESPONSE_ACTIONS, samples,
};
use crate::plan::Counter;

const HEAD: &str = "\
# Keywords of haproxy.cfg

Made by `scripts/gen` from the program. `warren proxy -f haproxy.cfg` runs such a file directly, also under the name
`haproxy`, and `warren import haproxy.cfg` prints the warren.toml it means. Defaults are those of HAProxy 2.6. A keyword
that is not listed here is an error with its place; nothing is ignored in silence.

Also read: quotes, escapes, comments, `\"$NAME\"`, `\"${NAME}\"`, `\"${NAME-default}\"` and `\"${NAME[*]}\"`, several files and
directories of `*.cfg`, `no` before options, named `defaults` and `from`, `.if`, `.elif`, `.else` and `.endif` with the predicates of 2.6.

## What differs

- TCP keepalive is on at both sides unless `no option tcpka` says otherwise: a host that died without a
  word is noticed within a minute. So is one with data on its way to it; a peer that is there and reads nothing is waited
  for, unless `tcp-ut` is given.
- Octets are spliced where that is cheaper, whether or not `option splice-auto` is given.
- Connections to servers belong to one client each (`http-reuse never`), HTTP/1.1 is the only version, and TLS is 1.2 or 1.3.
- Names of servers are resolved again and again, with or without `resolvers`.
- A timeout may end later than it says, by a sixty-fourth of its length at most: those of thousands of idle connections are
  looked at together.
- Which server a client hashes to is not the same as in HAProxy. It is the same on every host.
- A page given by `errorfile` is read at the start and at every reload.
- Without `maxconn`, the process takes as many connections as the open-file limit allows.
- `redirect` lines are applied after `http-request` lines wherever they stand, as in HAProxy.
- Reloads change the running process. There is no master, no old process that lingers, and no `-sf` that is needed.
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    let _ = write!(
        page,
        "\n## Sections\n\nRead: {}\n\nRefused:\n\n",
        listed(SECTIONS.into_iter())
    );
    for (name, instead) in REFUSED_SECTIONS {
        let _ = writeln!(page, "- `{name}`: {instead}");
    }
    section(
        &mut page,
        "`global`",
        sorted(GLOBAL).map(|(name, _, keyword)| (*name, keyword)),
    );
    matrix(&mut page);
    section(
        &mut page,
        "`defaults`, `listen`, `frontend`, `backend`",
        proxy().map(|(name, _, keyword)| (*name, keyword)),
    );
    section(
        &mut page,
        "Words on a `bind` line",
        BIND.iter().map(|(name, keyword)| (*name, keyword)),
    );
    section(
        &mut page,
        "Words on a `server` or `default-server` line",
        SERVER.iter().map(|(name, keyword)| (*name, keyword)),
    );
    section(
        &mut page,
        "`userlist`",
        USERLIST.iter().map(|(name, _, keyword)| (*name, keyword)),
    );
    rules(&mut page);
    page
}

/// Keywords by the alphabet, options last.
fn sorted<T>(tables: &[&'static [Entry<T>]]) -> impl Iterator<Item = &'static Entry<T>> + Clone {
    let mut all: Vec<_> = tables.iter().copied().flatten().collect();
    all.sort_by_key(|(name, ..)| (name.starts_with("option "), *name));
    all.into_iter()
}

fn proxy() -> impl Iterator<Item = &'static Entry<super::Draft>> + Clone {
    sorted(PROXY)
}

/// Which of the keywords that are read may stand where.
fn matrix(page: &mut String) {
    page.push_str("\n## Where keywords of proxies stand\n\n| | keywords |\n|---|---|\n");
    let rows = [
        ("all", Places::ALL),
        ("defaults, frontend, listen", Places::FRONT),
        ("defaults, backend, listen", Places::BACK),
        ("frontend, listen, backend", Places::PROXIES),
        ("frontend, listen", Places::FRONT_ONLY),
        ("backend, listen", Places::BACK_ONLY),
    ];
    let read = |entry: &&Entry<super::Draft>| matches!(entry.2, Keyword::Read(_) | Keyword::Switch(_));
    for (title, places) in rows {
        let names = proxy()
            .filter(read)
            .filter(|(name, here, _)| *here == places && *name != "option");
        let _ = writeln!(page, "| {title} | {} |", listed(names.map(|(name, _, _)| *name)));
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn section<'t, T: 't>(
    page: &mut String,
    title: &str,
    table: impl Iterator<Item = (&'static str, &'t Keyword<T>)> + Clone,
) {
    let _ = write!(page, "\n## {title}\n");
    let words = |pick: fn(&Keyword<T>) -> bool| {
        // `option` alone only tells of options that do not exist.
        let words = table
            .clone()
            .filter(|(name, keyword)| pick(keyword) && *name != "option");
        listed(words.map(|(name, _)| name))
    };
    for (title, names) in [
        (
            "Read",
            words(|keyword| matches!(keyword, Keyword::Read(_) | Keyword::Switch(_))),
        ),
        (
            "Done in any case",
            words(|keyword| matches!(keyword, Keyword::Implied)),
        ),
    ] {
        if !names.is_empty() {
            let _ = writeln!(page, "\n{title}: {names}");
        }
    }
    let without_effect = table.clone().filter_map(|(name, keyword)| match keyword {
        Keyword::NoEffect(why) => Some((name, *why)),
        _ => None,
    });
    reasons(page, "Accepted with a warning, without effect", without_effect);
    let refused = table.filter_map(|(name, keyword)| match keyword {
        Keyword::Refused(instead) => Some((name, *instead)),
        _ => None,
    });
    reasons(page, "Refused", refused);
}

/// Keywords with the same reason share a line.
fn reasons<'a>(page: &mut String, title: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut lines: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, why) in entries {
        match lines.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => lines.push((why, vec![name])),
        }
    }
    if lines.is_empty() {
        return;
    }
    let _ = write!(page, "\n{title}:\n\n");
    for (why, names) in lines {
        let _ = writeln!(page, "- {}: {why}", listed(names.into_iter()));
    }
}

fn rules(page: &mut String) {
    let _ = write!(
        page,
        "\n## Rules and conditions\n\n\
         `tcp-request connection`, `session` and `content`: `accept` `reject` `track-sc0 src [table NAME]`; in mode http, `content` rules are\n\
         looked at for every request\n\n\
         `http-request`: {} `track-sc0 KEY [table NAME]` `sc-inc-gpc0(N)`\n\n\
         `http-response`: {}\n\n\
         `http-after-response`: {}\n\n\
         Samples: {}\n\n\
         Of who is counted: `sc_COUNTER(N)`, `sc_COUNTER(N,TABLE)`, `sc0_COUNTER` and `src_COUNTER(TABLE)`, where COUNTER is one of {} and\n\
         `get_gpc0`. `stick-table` has the types `ip`, `ipv6`, `integer` and `string`, and stores these.\n\n\
         What log-format knows may be asked, too, with `-m`: `var(txn.NAME)`, `capture.req.hdr(N)`, `pathq`, and every sample\n\
         with converters. Variables belong to connections (`sess`), requests and responses (`txn`, `req`, `res`).\n\n\
         Converters: {}. Map files are read with the configuration.\n\n\
         Text may be compared by `_beg`, `_end`, `_sub`, `_dir`, `_dom`, `_reg`, `_len` and `_ip` behind the name, or by `-m`;\n\
         `-i` and the converter `lower` compare without regard to case; `-f FILE` reads patterns. Predefined names: {}\n\n\
         Rules that name `Content-Length` or `Transfer-Encoding` are refused: they would let another request be smuggled in.\n\
         `set-method` neither makes nor changes HEAD and CONNECT, and `set-status` no status without a body.\n",
        listed(REQUEST_ACTIONS.into_iter()),
        listed(RESPONSE_ACTIONS.into_iter()),
        listed(AFTER_ACTIONS.into_iter()),
        listed(samples()),
        listed(counters()),
        listed(crate::logs::CONVERTERS.into_iter()),
        listed(PREDEFINED.into_iter()),
    );
    reasons(page, "Refused", REFUSED_ACTIONS.into_iter());
}

/// Of clients. Which is asked for by another name.
fn counters() -> impl Iterator<Item = &'static str> {
    let names = Counter::ALL.iter().map(|(name, _)| *name);
    names.filter(|name| *name != "gpc0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keyword_has_two_entries() {
        let tables = [
            sorted(GLOBAL).map(|(name, _, _)| *name).collect::<Vec<_>>(),
            proxy().map(|(name, _, _)| *name).collect(),
            BIND.iter().map(|(name, _)| *name).collect(),
            SERVER.iter().map(|(name, _)| *name).collect(),
        ];
        for mut table in tables {
            let count = table.len();
            table.sort_unstable();
            table.dedup();
            assert_eq!(table.len(), count, "{table:?}");
        }
    }

    #[test]
    fn what_is_refused_is_not_read_as_well() {
        for (refused, _) in REFUSED_ACTIONS {
            assert!(!REQUEST_ACTIONS.contains(&refused), "{refused}");
        }
        for (refused, _) in REFUSED_SECTIONS {
            assert!(!SECTIONS.contains(&refused), "{refused}");
        }
    }
}
