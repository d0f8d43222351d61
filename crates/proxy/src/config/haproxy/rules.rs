//! Rules about connections, and tables of clients. Conditions stay as they are written: `build` reads them.

use toml::Spanned;
use warren_kit::config::suggestion;

use super::keyword::Arguments;
use super::proxy::Draft;
use crate::config::file::{Capture, CookieCapture, Stick, Table};

/// `tcp-request connection|content|session ...`
pub(super) fn tcp_request(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    match arguments.rest_with_second() {
        Some(rule) => draft.section.tcp_request.push(rule),
        None => drop(arguments.required("an action")),
    }
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
    let rest = placed(rest, &mut draft.section.request_captures);
    draft.section.http_request.push(rest);
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

/// `stick-table type ip|ipv6|integer|string [len N] size N [expire T] [store conn_cur,http_req_rate(T)]`
pub(super) fn stick_table(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    const WORDS: [&str; 7] = ["type", "size", "expire", "nopurge", "peers", "store", "srvkey"];
    let mut table = Table::default();
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "type" => {
                table.kind = arguments.text("ip, ipv6, integer or string");
                if arguments.optional_word("len") {
                    table.length = arguments.number();
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
                // Which server a client has is remembered by `stick on` anyway.
                let items = store.text.split(',').filter(|item| *item != "server_id");
                table
                    .store
                    .extend(items.map(|item| Spanned::new(store.span.clone(), item.to_owned())));
            }
            other => arguments.report.error(
                word.span.clone(),
                format!("unknown word `{other}` after `stick-table`"),
                suggestion(other, WORDS.into_iter()),
            ),
        }
    }
    if table.size.is_none() {
        arguments.report.error(
            arguments.whole(),
            "a table without a size",
            "write how many clients are remembered, such as `size 100k`",
        );
    }
    draft.section.table = Some(Spanned::new(arguments.whole(), table));
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
    let Some(table) = &draft.section.table else {
        arguments.report.error(
            arguments.whole(),
            "`stick on` without a table",
            "write `stick-table type ip size 100k expire 30m` above it",
        );
        return;
    };
    let Table { size, expire, .. } = table.get_ref().clone();
    // That is all it is for, unless something else is counted.
    if table.get_ref().store.is_empty() {
        draft.section.table = None;
    }
    draft.section.stick = Some(Spanned::new(arguments.whole(), Stick { size, expire }));
}
