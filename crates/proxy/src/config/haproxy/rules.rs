//! Rules about connections, and tables of clients. Conditions stay as they are written: `build` reads them.

use std::time::Duration;

use toml::Spanned;
use warren_kit::config::suggestion;
use warren_kit::duration::HumanDuration;

use super::keyword::{Arguments, duration};
use super::proxy::Draft;
use crate::config::file::{Capture, CookieCapture, PerSource, Stick};

/// A `stick-table`.
#[derive(Clone)]
pub(super) struct Table {
    size: Option<Spanned<i64>>,
    expire: Option<Spanned<HumanDuration>>,
}

/// `tcp-request connection|content|session ...`
pub(super) fn tcp_request(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(rule) = arguments.rest_with_second() else {
        arguments.required("an action");
        return;
    };
    let (moment, action) = rule.get_ref().split_once(char::is_whitespace).unwrap_or_default();
    if tracks(arguments, &Spanned::new(rule.span(), action.to_owned())) {
        return;
    }
    // A session begins when its connection is accepted.
    let rule = match moment {
        "session" => Spanned::new(rule.span(), format!("connection {action}")),
        _ => rule,
    };
    draft.section.tcp_request.push(rule);
}

/// `force-persist if CONDITION`
pub(super) fn force_persist(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    persist(draft, arguments, "force");
}

/// `ignore-persist if CONDITION`
pub(super) fn ignore_persist(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    persist(draft, arguments, "ignore");
}

fn persist(draft: &mut Draft, arguments: &mut Arguments<'_, '_>, what: &str) {
    match arguments.rest() {
        Some(condition) => {
            let rule = Spanned::new(condition.span(), format!("{what} {}", condition.get_ref()));
            draft.section.persist.push(rule);
        }
        None => drop(arguments.required("a condition")),
    }
}

/// `http-request ...`
pub(super) fn http_request(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(rest) = arguments.rest() else {
        arguments.required("an action");
        return;
    };
    if !tracks(arguments, &rest) {
        let rest = placed(rest, &mut draft.section.request_captures);
        draft.section.http_request.push(rest);
    }
}

/// `capture SAMPLE len N` gets a place of its own, and says which.
fn placed(rule: Spanned<String>, captures: &mut Vec<Spanned<Capture>>) -> Spanned<String> {
    let words: Vec<&str> = rule.get_ref().split_whitespace().collect();
    let ["capture", sample, "len", length, more @ ..] = words.as_slice() else {
        return rule;
    };
    let Ok(length) = length.parse() else { return rule };
    let place = captures.len();
    let capture = Capture {
        header: None,
        length: Some(Spanned::new(rule.span(), length)),
    };
    captures.push(Spanned::new(rule.span(), capture));
    let end = if more.is_empty() {
        String::new()
    } else {
        format!(" {}", more.join(" "))
    };
    Spanned::new(rule.span(), format!("capture {sample} id {place}{end}"))
}

/// `capture request|response header NAME len N`
pub(super) fn capture_header(arguments: &mut Arguments<'_, '_>, captures: &mut Vec<Spanned<Capture>>) {
    if !arguments.optional_word("header") {
        arguments.required("header NAME len N");
        arguments.rest_words();
        return;
    }
    let Some(header) = arguments.plain("the name of a header") else {
        return;
    };
    if let Some(length) = length(arguments) {
        let capture = Capture {
            header: Some(header),
            length: Some(length),
        };
        captures.push(Spanned::new(arguments.whole(), capture));
    }
}

/// `declare capture request|response len N`
pub(super) fn declare_capture(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(side) = arguments.text("request or response") else {
        return;
    };
    let captures = match side.get_ref().as_str() {
        "request" => &mut draft.section.request_captures,
        "response" => &mut draft.section.response_captures,
        other => {
            let help = suggestion(other, ["request", "response"].into_iter());
            let said = format!("`{other}` cannot be captured");
            arguments.report.error(side.span(), said, help);
            arguments.rest_words();
            return;
        }
    };
    if let Some(length) = length(arguments) {
        let capture = Capture {
            header: None,
            length: Some(length),
        };
        captures.push(Spanned::new(arguments.whole(), capture));
    }
}

/// `capture cookie NAME len N`
pub(super) fn capture_cookie(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(name) = arguments.plain("the name of a cookie") else {
        return;
    };
    if let Some(length) = length(arguments) {
        let capture = CookieCapture {
            name,
            length: Some(length),
        };
        draft.section.cookie_capture = Some(Spanned::new(arguments.whole(), capture));
    }
}

fn length(arguments: &mut Arguments<'_, '_>) -> Option<Spanned<i64>> {
    if !arguments.optional_word("len") {
        arguments.required("len N");
        return None;
    }
    arguments.number()
}

/// Whether it is `track-sc0 src`: every client is tracked where there is a table.
fn tracks(arguments: &mut Arguments<'_, '_>, rule: &Spanned<String>) -> bool {
    let words: Vec<&str> = rule.get_ref().split_ascii_whitespace().collect();
    let ["track-sc0" | "track-sc1" | "track-sc2", tracked, more @ ..] = words.as_slice() else {
        return false;
    };
    if *tracked != "src" || !more.is_empty() {
        arguments.report.error(
            rule.span(),
            "only `track-sc0 src` is supported, with the table in the same section",
            "write `stick-table type ip ... store conn_cur,conn_rate(10s)` here and track `src` in it",
        );
    }
    true
}

/// `stick-table type ip size N [expire T] [store conn_cur,conn_rate(T)]`
pub(super) fn stick_table(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    const WORDS: [&str; 7] = ["type", "size", "expire", "nopurge", "peers", "store", "srvkey"];
    let mut table = Table {
        size: None,
        expire: None,
    };
    let mut period = None;
    let mut counts = false;
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "type" => {
                if let Some(kind) = arguments.required("ip")
                    && !["ip", "ipv6"].contains(&kind.text.as_str())
                {
                    arguments.report.error(
                        kind.span.clone(),
                        format!("tables of type `{}` are not supported", kind.text),
                        "clients are remembered by address: write `type ip`",
                    );
                }
            }
            "size" => table.size = arguments.size(),
            "expire" => table.expire = arguments.time(),
            "nopurge" => arguments.report.warn(
                word.span.clone(),
                "`nopurge` has no effect here",
                "a full table forgets who came longest ago",
            ),
            "peers" => {
                arguments.optional();
                arguments.report.error(
                    word.span.clone(),
                    "tables of clients are not shared between hosts",
                    "remove `peers NAME`",
                );
            }
            "srvkey" => {
                arguments.optional();
            }
            "store" => {
                let Some(store) = arguments.required("what to store") else {
                    return;
                };
                for item in store.text.split(',') {
                    match item
                        .split_once('(')
                        .map_or((item, None), |(name, rest)| (name, rest.strip_suffix(')')))
                    {
                        ("conn_cur", None) => counts = true,
                        ("conn_rate", Some(over)) => {
                            counts = true;
                            period = duration(over, "ms")
                                .ok()
                                .map(|over| Spanned::new(store.span.clone(), over));
                        }
                        ("server_id", None) => {}
                        (name, _) => arguments.report.error(
                            store.span.clone(),
                            format!("`{name}` is not stored"),
                            "known are conn_cur and conn_rate(PERIOD)",
                        ),
                    }
                }
            }
            other => arguments.report.error(
                word.span.clone(),
                format!("unknown word `{other}` after `stick-table`"),
                suggestion(other, WORDS.into_iter()),
            ),
        }
    }
    if draft.kind.is_front() && counts {
        let source = PerSource {
            size: table.size.clone(),
            expire: table.expire.clone().or_else(|| {
                Some(Spanned::new(
                    arguments.whole(),
                    HumanDuration::new(Duration::from_secs(0)),
                ))
            }),
            period,
            ..PerSource::default()
        };
        draft.section.per_source = Some(Spanned::new(arguments.whole(), source));
    }
    draft.table = Some(table);
}

/// `stick on src`
pub(super) fn stick_on(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(pattern) = arguments.required("src") else {
        return;
    };
    if pattern.text != "src" || arguments.peek().is_some() {
        arguments.rest_words();
        arguments.report.error(
            pattern.span.clone(),
            "only `stick on src` is supported, with the table in the same section",
            "write `stick-table type ip size 100k expire 30m` here and `stick on src`",
        );
        return;
    }
    let Some(table) = &draft.table else {
        arguments.report.error(
            arguments.whole(),
            "`stick on` without a table",
            "write `stick-table type ip size 100k expire 30m` above it",
        );
        return;
    };
    let stick = Stick {
        size: table.size.clone(),
        expire: table.expire.clone(),
    };
    draft.section.stick = Some(Spanned::new(arguments.whole(), stick));
}
