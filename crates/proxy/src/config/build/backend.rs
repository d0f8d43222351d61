//! Servers that share the work.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU32};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use warren_balance::Algorithm;
use warren_balance::algorithm::SERVERS_MAX;
use warren_kit::config::{Report, suggestion};

use super::{Given, Surroundings, answer, check, cookie, frontend, log, positive, rules, server, timeouts};
use crate::config::file::{RebalanceTable, RebalanceUse, Section};
use crate::config::named::NAME;
use crate::plan::{Backend, Balance, HashOn, Mode, Rebalance, RetryOn, Server, Stick};

pub(super) fn backend(report: &mut Report, given: &Given<'_>, surroundings: &Surroundings<'_>) -> Backend {
    let section = given.section;
    let timeouts = timeouts::of_backend(report, given, surroundings);
    let servers = servers(report, given, &timeouts);
    // The rules of a `listen` are those of its frontend.
    let own_rules = !given.front;
    let mut unheard = Report::default();
    let scope = rules::Scope::new(if own_rules { report } else { &mut unheard }, given, surroundings);
    Backend {
        name: given.name.get_ref().clone(),
        id: given.id,
        mode: given.mode,
        disabled: section.disabled,
        balance: balance(report, given),
        servers: servers.into_iter().map(Arc::new).collect(),
        all_backups: section.all_backups,
        retries: report.number("retries", section.retries.as_ref(), 0..=100, 3),
        redispatch: redispatch(report, section),
        retry_on: retry_on(report, section),
        fullconn: positive(report, "fullconn", section.fullconn.as_ref()).unwrap_or(NonZeroU32::MIN),
        timeouts,
        request_rules: if own_rules {
            scope.request_rules(report)
        } else {
            Vec::new()
        },
        response_rules: if own_rules {
            scope.response_rules(report)
        } else {
            Vec::new()
        },
        after_rules: if own_rules {
            scope.after_rules(report)
        } else {
            Vec::new()
        },
        server_rules: scope.server_rules(report),
        persist_rules: scope.persist_rules(report),
        use_down: section.use_down,
        forwardfor: section
            .forwardfor
            .as_ref()
            .filter(|_| own_rules)
            .and_then(|file| frontend::header_with_address(report, Some(file), "X-Forwarded-For")),
        originalto: section
            .originalto
            .as_ref()
            .filter(|_| own_rules)
            .and_then(|file| frontend::header_with_address(report, Some(file), "X-Original-To")),
        server_close: section.server_close,
        http_close: section.http_close,
        cookie: section
            .cookie
            .as_ref()
            .and_then(|cookie| cookie::cookie(report, cookie, given.mode)),
        error_pages: if own_rules {
            answer::error_pages(report, section)
        } else {
            Vec::new()
        },
        stick: section.stick.as_ref().map(|stick| Stick {
            size: report.number("size", stick.get_ref().size.as_ref(), 1..=100_000_000, 100_000),
            expire: stick
                .get_ref()
                .expire
                .as_ref()
                .map(|expire| expire.get_ref().get())
                .filter(|expire| !expire.is_zero()),
        }),
        rebalance: rebalance(report, given),
        keepalive: timeouts::keepalive(report, section.server_keepalive.as_ref()),
        log: if own_rules {
            log::logging(report, given, surroundings)
        } else {
            log::logging(&mut Report::default(), given, surroundings)
        },
        log_checks: section.log_health_checks,
        server_state: section.server_state,
        description: section.description.clone(),
    }
}

fn servers(report: &mut Report, given: &Given<'_>, timeouts: &crate::plan::BackendTimeouts) -> Vec<Server> {
    let files = &given.section.servers.0.0;
    match files.last() {
        Some((last, _)) => report.at_most(last.span(), "servers of one backend", files.len(), SERVERS_MAX),
        None => check::unused(report, given),
    }
    let mut names: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for (name, _) in files {
        report.name("server", name, &NAME);
        if let Some(first) = names.insert(name.get_ref(), name.span()) {
            report.conflict(
                name.span(),
                format!("there are two servers called `{}`", name.get_ref()),
                first,
                "the other one",
                "give one of them another name",
            );
        }
    }
    let numbers = server::numbers(report, files);
    files
        .iter()
        .zip(numbers)
        .map(|((name, file), id)| server::server(report, given, name, file, id, timeouts))
        .collect()
}

/// What `balance` says, its arguments included.
fn balance(report: &mut Report, given: &Given<'_>) -> Balance {
    let Some(written) = &given.section.balance else {
        // Long-lived connections are evened out by counting them.
        let (algorithm, name) = match given.mode {
            Mode::Http => (Algorithm::RoundRobin, "roundrobin"),
            Mode::Tcp | Mode::Amqp => (Algorithm::LeastConn, "leastconn"),
        };
        return Balance {
            algorithm,
            on: HashOn::default(),
            name,
        };
    };
    let hash = match given.section.hash_type.as_ref() {
        None => Algorithm::ConsistentHash,
        Some(kind) => report
            .choice(
                "hash type",
                kind.span(),
                kind.get_ref(),
                &[
                    ("map-based", Algorithm::MapHash),
                    ("consistent", Algorithm::ConsistentHash),
                ],
            )
            .unwrap_or(Algorithm::MapHash),
    };
    let words: Vec<&str> = written.get_ref().split_ascii_whitespace().collect();
    let plain = |algorithm, name| (algorithm, HashOn::default(), name);
    let found = match words.as_slice() {
        ["roundrobin"] => plain(Algorithm::RoundRobin, "roundrobin"),
        ["static-rr"] => plain(Algorithm::StaticRr, "static-rr"),
        ["leastconn"] => plain(Algorithm::LeastConn, "leastconn"),
        ["first"] => plain(Algorithm::First, "first"),
        ["source"] => plain(hash, "source"),
        ["uri"] => (hash, HashOn::Path, "uri"),
        ["uri", "whole"] => (hash, HashOn::Url, "uri"),
        ["url_param", name] => (hash, HashOn::UrlParam((*name).to_owned()), "url_param"),
        ["random"] => plain(draws(2), "random"),
        [one] => match parenthesised(one) {
            Some(("random", count)) => match count.parse().ok().and_then(NonZeroU8::new) {
                Some(draws) => plain(Algorithm::Random { draws }, "random"),
                None => {
                    report.error(
                        written.span(),
                        format!("`{count}` is no number of draws"),
                        "write random(N) with N from 1 to 255",
                    );
                    plain(draws(2), "random")
                }
            },
            Some(("hdr", name)) if !name.is_empty() => (hash, HashOn::Header(name.to_owned()), "hdr"),
            _ => unknown_balance(report, written),
        },
        _ => unknown_balance(report, written),
    };
    let needs_http = matches!(
        found.1,
        HashOn::Path | HashOn::Url | HashOn::UrlParam(_) | HashOn::Header(_)
    );
    if needs_http && given.mode != Mode::Http {
        report.warn(
            written.span(),
            format!("`balance {}` needs mode http", written.get_ref()),
            "connections are spread by turns instead; write `mode http`",
        );
        return Balance {
            algorithm: Algorithm::RoundRobin,
            on: HashOn::default(),
            name: "roundrobin",
        };
    }
    let (algorithm, on, name) = found;
    Balance { algorithm, on, name }
}

fn draws(count: u8) -> Algorithm {
    Algorithm::Random {
        draws: NonZeroU8::new(count).unwrap_or(NonZeroU8::MIN),
    }
}

/// `name(argument)`
fn parenthesised(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(')')?.split_once('(')
}

fn unknown_balance(report: &mut Report, written: &Spanned<String>) -> (Algorithm, HashOn, &'static str) {
    const NAMES: [&str; 10] = [
        "roundrobin",
        "static-rr",
        "leastconn",
        "first",
        "source",
        "uri",
        "uri whole",
        "hdr(NAME)",
        "url_param NAME",
        "random",
    ];
    let help = match written.get_ref().split_ascii_whitespace().next() {
        Some("rdp-cookie") => {
            "connections of this protocol go to the same server by `balance source`".to_owned()
        }
        Some("hash") => "hash by `balance source`, `uri`, `hdr(NAME)` or `url_param NAME`".to_owned(),
        _ => suggestion(written.get_ref(), NAMES.into_iter()),
    };
    report.error(
        written.span(),
        format!("unknown balance \"{}\"", written.get_ref()),
        help,
    );
    (Algorithm::RoundRobin, HashOn::default(), "roundrobin")
}

fn redispatch(report: &mut Report, section: &Section) -> Option<i32> {
    Some(report.number("redispatch", section.redispatch.as_ref(), -100..=100, 1)).filter(|every| *every != 0)
}

fn retry_on(report: &mut Report, section: &Section) -> RetryOn {
    const NAMES: [&str; 4] = ["empty-response", "response-timeout", "junk-response", "503"];
    let mut retry = RetryOn::default();
    for word in &section.retry_on {
        match word.get_ref().as_str() {
            "empty-response" => retry.empty_response = true,
            "response-timeout" => retry.response_timeout = true,
            "junk-response" => retry.junk_response = true,
            "all-retryable-errors" => {
                retry.empty_response = true;
                retry.response_timeout = true;
                retry.junk_response = true;
                retry.statuses.extend([500, 502, 503, 504]);
            }
            "0rtt-rejected" => {}
            other => match other.parse().ok().filter(|status| (400..=599).contains(status)) {
                Some(status) => retry.statuses.push(status),
                None => report.error(
                    word.span(),
                    format!("`{other}` is nothing to try again on"),
                    suggestion(other, NAMES.into_iter()),
                ),
            },
        }
    }
    retry.statuses.sort_unstable();
    retry.statuses.dedup();
    retry
}

fn rebalance(report: &mut Report, given: &Given<'_>) -> Option<Rebalance> {
    let file = given.section.rebalance.as_ref()?;
    let table = match file.get_ref() {
        RebalanceUse::Switch(false) => return None,
        RebalanceUse::Switch(true) => &RebalanceTable::default(),
        RebalanceUse::Table(table) => table,
    };
    if given.mode != Mode::Amqp {
        report.error(
            file.span(),
            "only AMQP connections can be moved: their clients are told to come again",
            "remove `rebalance`, or write mode = \"amqp\"",
        );
    }
    let day = Duration::from_secs(86_400);
    let usual = Rebalance::default();
    Some(Rebalance {
        after: report.duration("after", table.after.as_ref(), Duration::ZERO..=day, usual.after),
        rate: positive(report, "rate", table.rate.as_ref()).unwrap_or(usual.rate),
        idle: report.duration(
            "idle",
            table.idle.as_ref(),
            Duration::from_millis(1)..=day,
            usual.idle,
        ),
    })
}
