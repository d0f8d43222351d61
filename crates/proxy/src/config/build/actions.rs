//! What `http-request`, `http-response` and `http-after-response` may do.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::line::refuse;
use super::rules::Scope;
use super::{answer, check, table};
use crate::config::file::Capture;
use crate::config::words::Word;
use crate::logs::{Expression, Format, variable};
use crate::plan::{Edit, HttpAction, HttpRule, NameLike, NameRegex, Replace, Template, Track};
use crate::session::http::FRAMING;

/// The most octets that are kept of something for the log.
const CAPTURE_MAX: i64 = 16_384;

/// What becomes of requests: those that are read, and those that are refused with what to do instead.
pub(in crate::config) const REQUEST_ACTIONS: [&str; 26] = [
    "add-header",
    "allow",
    "auth",
    "capture",
    "del-header",
    "deny",
    "redirect",
    "reject",
    "replace-header",
    "replace-path",
    "replace-pathq",
    "replace-uri",
    "replace-value",
    "return",
    "set-header",
    "set-method",
    "set-path",
    "set-pathq",
    "set-query",
    "set-uri",
    "set-var",
    "set-var-fmt",
    "silent-drop",
    "tarpit",
    "unset-var",
    "use-service",
];
/// What becomes of responses.
pub(in crate::config) const RESPONSE_ACTIONS: [&str; 12] = [
    "add-header",
    "allow",
    "capture",
    "del-header",
    "deny",
    "replace-header",
    "replace-value",
    "set-header",
    "set-status",
    "set-var",
    "set-var-fmt",
    "unset-var",
];
/// What becomes of all that clients are told.
pub(in crate::config) const AFTER_ACTIONS: [&str; 10] = [
    "add-header",
    "allow",
    "del-header",
    "replace-header",
    "replace-value",
    "set-header",
    "set-status",
    "set-var",
    "set-var-fmt",
    "unset-var",
];
/// Known to HAProxy, and what to do instead.
pub(in crate::config) const REFUSED_ACTIONS: [(&str, &str); 18] = [
    ("add-acl", LISTS),
    ("cache-store", "nothing is cached: put a cache in front"),
    ("cache-use", "nothing is cached: put a cache in front"),
    ("del-acl", LISTS),
    ("del-map", LISTS),
    ("disable-l7-retry", "requests are tried again as `retry-on` says"),
    ("do-resolve", "servers are chosen among those of the backend"),
    ("early-hint", "no interim responses are made"),
    (
        "normalize-uri",
        "paths are forwarded as they come: use replace-path",
    ),
    ("sc-inc-gpc1", COUNTERS),
    ("sc-set-gpt0", COUNTERS),
    ("send-spoe-group", "there are no filters"),
    ("set-dst", "servers are chosen among those of the backend"),
    ("set-log-level", "use `option dontlog-normal`"),
    ("set-map", LISTS),
    ("set-src", "use accept-proxy, which brings the client's address"),
    ("set-timeout", "give the backend its own timeouts"),
    ("wait-for-body", "bodies are forwarded as they come"),
];
const LISTS: &str = "conditions do not change while running: write the patterns into an acl";
const COUNTERS: &str = "there is one counter for whatever you mean: use sc-inc-gpc0";

impl Scope<'_> {
    pub(super) fn request_rule(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        let (kind, condition) = match action.text.as_str() {
            "redirect" => return self.redirect(report, rest, Some(action)),
            "auth" => {
                let (realm, condition) = match rest {
                    [word, realm, condition @ ..] if word.text == "realm" => (realm.text.clone(), condition),
                    condition => (self.given.name.get_ref().clone(), condition),
                };
                (HttpAction::Auth { realm }, condition)
            }
            "return" => {
                let (answer, condition) = answer::answer(report, rest, 200)?;
                (HttpAction::Return(answer), condition)
            }
            "set-path" | "set-pathq" | "set-query" | "set-uri" | "set-method" => {
                let (value, condition) = template_of(report, action, rest)?;
                let edit = match action.text.as_str() {
                    "set-path" => Edit::SetPath(value),
                    "set-pathq" => Edit::SetPathAndQuery(value),
                    "set-query" => Edit::SetQuery(value),
                    "set-uri" => Edit::SetUri(value),
                    _ => Edit::SetMethod(value),
                };
                (HttpAction::Edit(edit), condition)
            }
            "replace-path" | "replace-pathq" | "replace-uri" => {
                let (replace, condition) = replace(report, action, rest)?;
                let edit = match action.text.as_str() {
                    "replace-path" => Edit::ReplacePath(replace),
                    "replace-pathq" => Edit::ReplacePathAndQuery(replace),
                    _ => Edit::ReplaceUri(replace),
                };
                (HttpAction::Edit(edit), condition)
            }
            "tarpit" => {
                let (status, condition) = status(report, rest, 500, &["deny_status", "status"])?;
                (HttpAction::Tarpit { status }, condition)
            }
            "silent-drop" => (HttpAction::Drop, rest),
            "reject" => (HttpAction::Deny { status: 400 }, rest),
            "use-service" => match rest {
                [name, condition @ ..] if name.text == "prometheus-exporter" => {
                    (HttpAction::PrometheusExporter, condition)
                }
                _ => {
                    let help = "write use-service prometheus-exporter";
                    return refuse(report, action, "there is one service", help);
                }
            },
            word if table::slot(word).is_some() => {
                let (track, condition) = self.track(report, action, rest, true)?;
                (HttpAction::Track(track), condition)
            }
            word if base(word) == "sc-inc-gpc0" => {
                let slot = word
                    .strip_suffix(')')
                    .and_then(|word| word.split('(').nth(1)?.parse().ok());
                let Some(slot) = slot.filter(|slot| *slot < table::SLOTS) else {
                    let help = "write sc-inc-gpc0(0), (1) or (2): the number behind track-sc";
                    return refuse(
                        report,
                        action,
                        "a counter without the number of who is counted",
                        help,
                    );
                };
                (HttpAction::Count { slot }, rest)
            }
            _ => {
                let captures = &self.given.section.request_captures;
                return self.common(report, action, rest, captures, &REQUEST_ACTIONS);
            }
        };
        self.rule(report, kind, condition)
    }

    pub(super) fn response_rule(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &[Word],
        known: &[&str],
    ) -> Option<HttpRule> {
        if !known.contains(&base(&action.text)) {
            return unknown_action(report, action, known.iter().copied());
        }
        if action.text == "set-status" {
            return self.set_status(report, action, rest);
        }
        self.common(report, action, rest, &self.given.section.response_captures, known)
    }

    /// Actions that requests and responses have in common.
    fn common(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &[Word],
        captures: &[Spanned<Capture>],
        known: &[&str],
    ) -> Option<HttpRule> {
        let (kind, condition) = match base(&action.text) {
            "allow" => (HttpAction::Allow, rest),
            "deny" => {
                let (status, condition) = status(report, rest, 403, &["deny_status", "status"])?;
                (HttpAction::Deny { status }, condition)
            }
            "capture" => return self.capture(report, action, rest, captures),
            "set-var" | "set-var-fmt" | "unset-var" => return self.variable(report, action, rest),
            "add-header" | "set-header" | "del-header" | "replace-header" | "replace-value" => {
                let (edit, condition) = header_edit(report, action, rest)?;
                (HttpAction::Edit(edit), condition)
            }
            _ => return unknown_action(report, action, known.iter().copied()),
        };
        self.rule(report, kind, condition)
    }

    /// `set-status N [reason TEXT]`
    fn set_status(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        let Some((number, mut rest)) = rest.split_first() else {
            return refuse(report, action, "`set-status` needs a status", "write one behind");
        };
        let status = number.text.parse().ok();
        let Some(status) = status.filter(|status| (200..=999).contains(status)) else {
            return refuse(
                report,
                number,
                format!("`{}` is no status of a response", number.text),
                "write a number from 200 to 999",
            );
        };
        let mut reason = crate::session::http::reason(status).to_owned();
        if let [word, text, more @ ..] = rest
            && word.text == "reason"
        {
            reason.clone_from(&text.text);
            rest = more;
        }
        let edit = Edit::SetStatus { status, reason };
        self.rule(report, HttpAction::Edit(edit), rest)
    }

    /// `set-var(NAME) EXPRESSION`, `set-var-fmt(NAME) TEMPLATE`, `unset-var(NAME)`
    fn variable(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        let (kind, name) = action.text.split_once('(').unwrap_or((&action.text, ""));
        let name = name.trim_end_matches(')');
        let Some(name) = variable(name) else {
            return refuse(
                report,
                action,
                format!("`{name}` is no variable of a connection, request or response"),
                format!("write {kind}(txn.NAME): there are the scopes sess, txn, req and res"),
            );
        };
        if kind == "unset-var" {
            return self.rule(report, HttpAction::UnsetVariable { name }, rest);
        }
        let Some((value, condition)) = rest.split_first() else {
            return refuse(
                report,
                action,
                format!("`{kind}` needs a value"),
                "write it behind",
            );
        };
        let expression = kind == "set-var";
        let value = if expression {
            self::expression(report, value)?
        } else {
            template(report, value)?
        };
        let action = HttpAction::SetVariable {
            name,
            value,
            expression,
        };
        self.rule(report, action, condition)
    }

    /// `capture EXPRESSION id N`
    fn capture(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &[Word],
        captures: &[Spanned<Capture>],
    ) -> Option<HttpRule> {
        let [sample, kind, number, condition @ ..] = rest else {
            return refuse(
                report,
                action,
                "`capture` needs a sample and how much of it to keep",
                "write such as capture req.hdr(host) id 0",
            );
        };
        let value = expression(report, sample)?;
        let wanted = number.text.parse::<usize>().ok();
        let wanted = wanted.filter(|_| kind.text == "id");
        let Some((place, capture)) = wanted.and_then(|place| Some((place, captures.get(place)?))) else {
            return refuse(
                report,
                kind,
                "there is no place to capture this in",
                "write `id` and the number of a place, from 0 (warren.toml: request_captures, response_captures)",
            );
        };
        let length = capture_length(report, capture.get_ref().length.as_ref());
        self.rule(report, HttpAction::Capture { value, place, length }, condition)
    }

    /// `track-sc0 KEY [table NAME]`
    pub(super) fn track<'w>(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &'w [Word],
        requests: bool,
    ) -> Option<(Track, &'w [Word])> {
        table::track(report, action, rest, requests, self.given, self.surroundings)
    }
}

/// `set-var` of `set-var(txn.x)`.
fn base(action: &str) -> &str {
    action.split('(').next().unwrap_or(action)
}

/// What becomes of the fields of a head.
fn header_edit<'w>(report: &mut Report, action: &Word, rest: &'w [Word]) -> Option<(Edit, &'w [Word])> {
    if action.text == "del-header" {
        let flag = rest.get(1).filter(|flag| flag.text == "-m");
        let method = flag.map(|flag| rest.get(2).unwrap_or(flag));
        let (edit, length) = match (rest.first(), method) {
            (Some(name), Some(method)) if method.text != "str" => {
                let like = name_like(report, name, method)?;
                (Edit::DelHeaders { like }, 3)
            }
            _ => {
                let name = header_name(report, action, rest)?;
                (Edit::DelHeader { name }, if method.is_some() { 3 } else { 1 })
            }
        };
        return Some((edit, rest.get(length..).unwrap_or_default()));
    }
    let name = header_name(report, action, rest)?;
    let rest = rest.get(1..).unwrap_or_default();
    Some(match action.text.as_str() {
        "add-header" => {
            let (value, condition) = template_of(report, action, rest)?;
            (Edit::AddHeader { name, value }, condition)
        }
        "set-header" => {
            let (value, condition) = template_of(report, action, rest)?;
            (Edit::SetHeader { name, value }, condition)
        }
        "replace-header" => {
            let (replace, condition) = replace(report, action, rest)?;
            (Edit::ReplaceHeader { name, replace }, condition)
        }
        _ => {
            let (replace, condition) = replace(report, action, rest)?;
            (Edit::ReplaceValue { name, replace }, condition)
        }
    })
}

/// `NAME -m METHOD`
fn name_like(report: &mut Report, name: &Word, method: &Word) -> Option<NameLike> {
    Some(match method.text.as_str() {
        "beg" => NameLike::Prefix(name.text.clone()),
        "end" => NameLike::Suffix(name.text.clone()),
        "sub" => NameLike::Substring(name.text.clone()),
        "reg" => {
            let without_case = Word {
                text: format!("(?i){}", name.text),
                ..name.clone()
            };
            NameLike::Regex(NameRegex(Expression(check::regex(report, &without_case)?)))
        }
        other => {
            let said = format!("unknown method `{other}`");
            return refuse(report, method, said, "there are str, beg, end, sub and reg");
        }
    })
}

/// `REGEX WITH`
fn replace<'w>(report: &mut Report, action: &Word, rest: &'w [Word]) -> Option<(Replace, &'w [Word])> {
    let [regex, with, condition @ ..] = rest else {
        return refuse(
            report,
            action,
            format!(
                "`{}` needs a regular expression and what to put in its place",
                action.text
            ),
            "write them behind, such as /old/(.*) /new/\\1",
        );
    };
    let replace = Replace {
        regex: Expression(check::regex(report, regex)?),
        with: template(report, with)?,
    };
    Some((replace, condition))
}

/// The name of a header, which has to stand first in `rest`.
pub(super) fn header_name(report: &mut Report, action: &Word, rest: &[Word]) -> Option<String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let framing = |name: &Word| {
        FRAMING
            .iter()
            .any(|framing| framing.eq_ignore_ascii_case(&name.text))
    };
    match rest.first() {
        Some(name) if framing(name) => refuse(
            report,
            name,
            format!(
                "`{}` tells where a message ends and is not to be changed",
                name.text
            ),
            "whoever changes it lets another request be smuggled in: remove the rule",
        ),
        Some(name) if !name.text.is_empty() && name.text.chars().all(token) => Some(name.text.clone()),
        Some(name) => refuse(
            report,
            name,
            format!("`{}` cannot be the name of a header", name.text),
            "a name has letters, digits and hyphens",
        ),
        None => refuse(
            report,
            action,
            format!("`{}` needs the name of a header", action.text),
            "write it behind",
        ),
    }
}

/// A value with %[samples], which has to stand first in `rest`, and what follows it.
pub(super) fn template_of<'w>(
    report: &mut Report,
    action: &Word,
    rest: &'w [Word],
) -> Option<(Template, &'w [Word])> {
    let Some((value, condition)) = rest.split_first() else {
        return refuse(
            report,
            action,
            format!("`{}` needs a value", action.text),
            "write it behind; quotes keep blanks together",
        );
    };
    Some((template(report, value)?, condition))
}

/// A text with %[samples].
pub(super) fn template(report: &mut Report, word: &Word) -> Option<Template> {
    match Format::compile_template(&word.text) {
        Ok(format) => Some(Arc::new(format)),
        Err(error) => {
            let help = "a value is text with %[samples] such as %[src]";
            refuse(report, word, error.to_string(), help)
        }
    }
}

fn expression(report: &mut Report, word: &Word) -> Option<Template> {
    match Format::compile_expression(&word.text) {
        Ok(format) => Some(Arc::new(format)),
        Err(error) => {
            let help = "write a sample such as req.hdr(host),lower";
            refuse(report, word, error.fault.to_string(), help)
        }
    }
}

/// The number after one of these words, and what comes after it.
pub(super) fn status<'w>(
    report: &mut Report,
    words: &'w [Word],
    default: u16,
    names: &[&str],
) -> Option<(u16, &'w [Word])> {
    let Some((word, rest)) = words
        .split_first()
        .filter(|(word, _)| names.contains(&word.text.as_str()))
    else {
        return Some((default, words));
    };
    let number = rest.first().and_then(|number| number.text.parse().ok());
    let Some(number) = number.filter(|number| (200..=599).contains(number)) else {
        return refuse(
            report,
            word,
            format!("`{}` needs a status", word.text),
            "write a number from 200 to 599",
        );
    };
    Some((number, rest.get(1..).unwrap_or_default()))
}

/// How much of something is kept.
pub(super) fn capture_length(report: &mut Report, length: Option<&Spanned<i64>>) -> usize {
    let length: u32 = report.number("length", length, 1..=CAPTURE_MAX, 64);
    usize::try_from(length).unwrap_or(usize::MAX)
}

pub(super) fn unknown_action<'n, T>(
    report: &mut Report,
    action: &Word,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Option<T> {
    let base = base(&action.text);
    match REFUSED_ACTIONS.iter().find(|(refused, _)| *refused == base) {
        Some((_, instead)) => {
            let said = format!("the action `{base}` is not supported");
            refuse(report, action, said, *instead)
        }
        None => {
            let help = suggestion(base, known);
            refuse(report, action, format!("unknown action `{base}`"), help)
        }
    }
}
