//! What several kinds of proxy may say: mode, log, options with arguments.

use toml::Spanned;
use warren_kit::config::suggestion;

use super::keyword::{Arguments, spanned_text};
use super::proxy::Draft;
use crate::config::file::{ForwardForTable, ForwardForUse};

/// `mode`
pub(super) fn mode(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(mode) = arguments.text("tcp or http") else {
        return;
    };
    match mode.get_ref().as_str() {
        "tcp" | "http" => draft.section.mode = Some(mode),
        "health" => arguments.report.error(
            mode.span(),
            "`mode health` is gone from HAProxy, too",
            "use mode http with `http-request return status 200`",
        ),
        "amqp" => arguments.report.error(
            mode.span(),
            "`mode amqp` is not known to haproxy.cfg",
            "move to warren.toml, which has it: `warren import` writes one",
        ),
        other => {
            let help = suggestion(other, ["tcp", "http"].into_iter());
            arguments
                .report
                .error(mode.span(), format!("unknown mode `{other}`"), help);
        }
    }
}

/// `log global`, `log ADDRESS FACILITY [LEVEL [LEVEL]]`, `no log`
pub(super) fn log(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let list = draft.section.log.get_or_insert_default();
    if arguments.negated {
        list.clear();
    } else if let Some(target) = arguments.rest() {
        list.push(target);
    } else {
        arguments.required("`global`, or an address and a facility");
    }
}

/// `option tcplog`
pub(super) fn tcplog(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    // Of old it may be followed by `clf`, which only httplog has a use for.
    arguments.optional_word("clf");
    draft.section.log_format = Some(Spanned::new(arguments.whole(), "tcplog".to_owned()));
}

/// `option httplog`
pub(super) fn httplog(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    if let Some(word) = arguments.peek().filter(|word| word.text == "clf") {
        let span = word.span.clone();
        arguments.optional();
        arguments.report.error(
            span,
            "`option httplog clf` is not supported",
            "write the line you want with log-format",
        );
    }
    draft.section.log_format = Some(Spanned::new(arguments.whole(), "httplog".to_owned()));
}

/// `option httpslog`
pub(super) fn httpslog(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    draft.section.log_format = Some(Spanned::new(arguments.whole(), "httpslog".to_owned()));
}

/// `option redispatch [INTERVAL]`
pub(super) fn redispatch(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let interval = match arguments.peek() {
        Some(_) => arguments.number(),
        None if arguments.negated => Some(Spanned::new(arguments.whole(), 0)),
        None => Some(Spanned::new(arguments.whole(), -1)),
    };
    draft.section.redispatch = interval;
}

/// `redispatch`, the old spelling.
pub(super) fn redispatch_default(on: bool) -> Spanned<i64> {
    Spanned::new(0..0, if on { -1 } else { 0 })
}

/// `option http-keep-alive` ends what the two others began.
pub(super) fn keep_alive(draft: &mut Draft, on: bool) {
    if on {
        draft.section.http_close = false;
        draft.section.server_close = false;
    }
}

/// `option forwardfor [except NETWORK] [header NAME] [if-none]`
pub(super) fn forwardfor(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let used = header_with_address(arguments, &["except", "header", "if-none"]);
    draft.section.forwardfor = Some(Spanned::new(arguments.whole(), used));
}

/// `option originalto [except NETWORK] [header NAME]`
pub(super) fn originalto(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let used = header_with_address(arguments, &["except", "header"]);
    draft.section.originalto = Some(Spanned::new(arguments.whole(), used));
}

fn header_with_address(arguments: &mut Arguments<'_, '_>, words: &[&str]) -> ForwardForUse {
    let mut table = ForwardForTable::default();
    while let Some(word) = arguments.optional() {
        match word.text.as_str() {
            "except" => table.except = arguments.text("a network"),
            "header" => table.header = arguments.plain("a name"),
            "if-none" if words.contains(&"if-none") => table.if_none = true,
            other => arguments.report.error(
                word.span.clone(),
                format!("unknown word `{other}` after this option"),
                suggestion(other, words.iter().copied()),
            ),
        }
    }
    if table == ForwardForTable::default() {
        ForwardForUse::Switch(true)
    } else {
        ForwardForUse::Table(table)
    }
}

/// `retry-on WORD ...`
pub(super) fn retry_on(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let words = arguments.rest_words();
    // Connection failures are always tried again.
    let more = words
        .iter()
        .filter(|word| !["conn-failure", "none"].contains(&word.text.as_str()));
    draft.section.retry_on = more.map(spanned_text).collect();
}

/// `load-server-state-from-file global|local|none`
pub(super) fn server_state(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("global or none") else {
        return;
    };
    match word.text.as_str() {
        "global" => draft.section.server_state = true,
        "none" => draft.section.server_state = false,
        other => arguments.report.error(
            word.span.clone(),
            format!("`load-server-state-from-file` has no `{other}`"),
            "there is one file for all backends: write `global`, and `server-state-file` in the global section",
        ),
    }
}

/// `source ADDRESS[:PORT]`
pub(super) fn source(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    draft.source = arguments.text("an address");
    if let Some(word) = arguments.optional() {
        let rest = word.span.clone();
        arguments.rest_words();
        arguments.report.error(
            rest,
            format!("`{}` is not supported after `source`", word.text),
            "connections leave from an address of this host: remove the rest of the line",
        );
    }
}

/// `option` with a word that has no entry.
pub(super) fn unknown_option(_: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let names = super::proxy::PROXY.iter().copied().flatten();
    let names = names.filter_map(|(name, _, _)| name.strip_prefix("option "));
    let Some(word) = arguments.required("a word") else {
        return;
    };
    arguments.rest_words();
    arguments.report.error(
        word.span.clone(),
        format!("unknown keyword `option {}`", word.text),
        suggestion(&word.text, names),
    );
}
