//! What follows from conditions: `use_backend`, `tcp-request`, `http-request`, `http-response`, `redirect`.

use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::condition::Acls;
use super::{Given, Surroundings, answer, check, frontend, line};
use crate::config::file::Capture;
use crate::config::words::Word;
use crate::logs::{Expression, Format, variable};
use crate::plan::{
    Condition, Edit, HttpAction, HttpRule, Mode, NameLike, NameRegex, Persist, Redirect, RedirectOptions,
    Replace, Switch, SwitchTo, TcpAction, TcpRule, Template, UseServer,
};
use crate::session::http::FRAMING;

/// The most rules of one kind in one section.
const RULES_MAX: usize = 1000;

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
pub(in crate::config) const REFUSED_ACTIONS: [(&str, &str); 19] = [
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
    ("sc-inc-gpc0", COUNTERS),
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
const COUNTERS: &str = "clients are counted by connections only: use conn_cur and conn_rate";

/// A section's rules.
pub(super) struct Scope<'a> {
    given: &'a Given<'a>,
    surroundings: &'a Surroundings<'a>,
    acls: Acls<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(report: &mut Report, given: &'a Given<'a>, surroundings: &'a Surroundings<'a>) -> Self {
        Self {
            given,
            surroundings,
            acls: Acls::new(report, given, surroundings),
        }
    }

    pub(super) fn switches(&self, report: &mut Report) -> Vec<Switch> {
        let read = |report: &mut Report, words: &[Word]| {
            let (name, condition) = words.split_first()?;
            let condition = self.acls.condition(report, condition);
            if name.text.contains('%') {
                if self.given.mode != Mode::Http {
                    report.error(
                        name.span.clone(),
                        "backends are chosen by what requests say in mode http only",
                        "write a line with a condition for each of them",
                    );
                    return None;
                }
                return Some(Switch {
                    backend: SwitchTo::Named(template(report, name)?),
                    condition: condition?,
                });
            }
            let name = Spanned::new(name.span.clone(), name.text.clone());
            let backend = frontend::backend_called(report, &name, self.given, self.surroundings)?;
            Some(Switch {
                backend: SwitchTo::Backend(backend),
                condition: condition?,
            })
        };
        each(report, &self.given.section.use_backend, read)
    }

    pub(super) fn tcp_rules(&self, report: &mut Report) -> Vec<TcpRule> {
        let read = |report: &mut Report, words: &[Word]| {
            const WHEN: [(&str, bool); 2] = [("connection", false), ("content", true)];
            let (when, rest) = words.split_first()?;
            let content = report.choice("moment", when.span.clone(), &when.text, &WHEN)?;
            let Some((action, condition)) = rest.split_first() else {
                report.error(
                    when.span.clone(),
                    "a rule without an action",
                    "write accept or reject",
                );
                return None;
            };
            let done = match action.text.as_str() {
                "accept" => TcpAction::Accept,
                "reject" | "silent-drop" => TcpAction::Reject,
                "expect-proxy" => {
                    report.error(
                        action.span.clone(),
                        "`expect-proxy` is not supported",
                        "write accept-proxy on the `bind` line, or proxy_from in warren.toml",
                    );
                    return None;
                }
                other => {
                    unknown_action(report, action, other, ["accept", "reject"].into_iter());
                    return None;
                }
            };
            Some(TcpRule {
                content,
                action: done,
                condition: self.acls.condition(report, condition)?,
            })
        };
        each(report, &self.given.section.tcp_request, read)
    }

    /// `redirect` lines come after those of `http-request`, wherever they stand.
    pub(super) fn request_rules(&self, report: &mut Report) -> Vec<HttpRule> {
        let section = self.given.section;
        let mut rules = each(report, &section.http_request, |report, words| {
            let (action, rest) = words.split_first()?;
            self.request_rule(report, action, rest)
        });
        rules.extend(each(report, &section.redirect, |report, words| {
            self.redirect(report, words, None)
        }));
        self.only_http(
            report,
            section.http_request.first().or_else(|| section.redirect.first()),
        );
        rules
    }

    pub(super) fn response_rules(&self, report: &mut Report) -> Vec<HttpRule> {
        self.responses(report, &self.given.section.http_response, &RESPONSE_ACTIONS)
    }

    /// `http-after-response`
    pub(super) fn after_rules(&self, report: &mut Report) -> Vec<HttpRule> {
        self.responses(report, &self.given.section.http_after_response, &AFTER_ACTIONS)
    }

    fn responses(&self, report: &mut Report, lines: &[Spanned<String>], known: &[&str]) -> Vec<HttpRule> {
        let rules = each(report, lines, |report, words| {
            let (action, rest) = words.split_first()?;
            let name = action.text.as_str();
            let base = name.split('(').next().unwrap_or(name);
            match base {
                _ if !known.contains(&base) => {
                    unknown_action(report, action, name, known.iter().copied());
                    None
                }
                "set-status" => self.set_status(report, action, rest),
                "capture" | "set-var" | "set-var-fmt" | "unset-var" => {
                    self.remembered(report, action, rest, &self.given.section.response_captures)
                }
                _ => self.common(report, action, rest),
            }
        });
        self.only_http(report, lines.first());
        rules
    }

    /// `monitor fail`
    pub(super) fn monitor_fail(&self, report: &mut Report) -> Vec<Condition> {
        each(report, &self.given.section.monitor_fail, |report, words| {
            self.acls.condition(report, words)
        })
    }

    /// `use-server`
    pub(super) fn server_rules(&self, report: &mut Report) -> Vec<UseServer> {
        each(report, &self.given.section.use_server, |report, words| {
            let (name, condition) = words.split_first()?;
            if condition.is_empty() {
                report.error(
                    name.span.clone(),
                    "a server for everybody",
                    "write `if` or `unless` and a condition behind its name",
                );
            }
            let known = self.given.section.servers.0.0.iter();
            let known = known.map(|(known, _)| known.get_ref().as_str());
            if name.text.contains('%') {
                if self.given.mode != Mode::Http {
                    report.error(
                        name.span.clone(),
                        "servers are chosen by what requests say in mode http only",
                        "write a line with a condition for each of them",
                    );
                    return None;
                }
            } else if !known.clone().any(|known| known == name.text) {
                report.error(
                    name.span.clone(),
                    format!("there is no server called `{}` here", name.text),
                    suggestion(&name.text, known),
                );
                return None;
            }
            Some(UseServer {
                server: template(report, name)?,
                condition: self.acls.condition(report, condition)?,
            })
        })
    }

    /// `force-persist`, `ignore-persist`
    pub(super) fn persist_rules(&self, report: &mut Report) -> Vec<Persist> {
        each(report, &self.given.section.persist, |report, words| {
            let (what, condition) = words.split_first()?;
            let known = [("force", true), ("ignore", false)];
            let forced = report.choice("persistence", what.span.clone(), &what.text, &known)?;
            if condition.is_empty() {
                report.error(
                    what.span.clone(),
                    format!("`{}` without a condition", what.text),
                    "write `if` or `unless` and a condition behind it",
                );
            }
            let condition = self.acls.condition(report, condition)?;
            Some(Persist { forced, condition })
        })
    }

    fn only_http(&self, report: &mut Report, first: Option<&Spanned<String>>) {
        if let Some(first) = first.filter(|_| self.given.mode != Mode::Http) {
            report.warn(
                first.span(),
                format!(
                    "rules about HTTP have no effect in '{}'",
                    self.given.name.get_ref()
                ),
                "write `mode http` for it",
            );
        }
    }

    fn request_rule(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        match action.text.as_str() {
            "redirect" => self.redirect(report, rest, Some(action)),
            "auth" => {
                let (realm, condition) = match rest {
                    [word, realm, condition @ ..] if word.text == "realm" => (realm.text.clone(), condition),
                    condition => (self.given.name.get_ref().clone(), condition),
                };
                self.rule(report, HttpAction::Auth { realm }, condition)
            }
            "return" => {
                let (answer, condition) = answer::answer(report, rest, 200)?;
                self.rule(report, HttpAction::Return(answer), condition)
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
                self.rule(report, HttpAction::Edit(edit), condition)
            }
            "replace-path" | "replace-pathq" | "replace-uri" => {
                let (replace, condition) = self.replace(report, action, rest)?;
                let edit = match action.text.as_str() {
                    "replace-path" => Edit::ReplacePath(replace),
                    "replace-pathq" => Edit::ReplacePathAndQuery(replace),
                    _ => Edit::ReplaceUri(replace),
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
            "tarpit" => {
                let (status, condition) = status(report, rest, 500, &["deny_status", "status"])?;
                self.rule(report, HttpAction::Tarpit { status }, condition)
            }
            "silent-drop" => self.rule(report, HttpAction::Drop, rest),
            "use-service" => match rest {
                [name, condition @ ..] if name.text == "prometheus-exporter" => {
                    self.rule(report, HttpAction::PrometheusExporter, condition)
                }
                _ => {
                    report.error(
                        action.span.clone(),
                        "there is one service",
                        "write use-service prometheus-exporter",
                    );
                    None
                }
            },
            "reject" => self.rule(report, HttpAction::Deny { status: 400 }, rest),
            "add-header" | "set-header" | "del-header" | "replace-header" | "replace-value" | "allow"
            | "deny" => self.common(report, action, rest),
            other if is_variable_action(other) || other == "capture" => {
                self.remembered(report, action, rest, &self.given.section.request_captures)
            }
            other => {
                unknown_action(report, action, other, REQUEST_ACTIONS.into_iter());
                None
            }
        }
    }

    /// Actions that requests and responses have in common.
    fn common(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        match action.text.as_str() {
            "allow" => self.rule(report, HttpAction::Allow, rest),
            "deny" => {
                let (status, condition) = status(report, rest, 403, &["deny_status", "status"])?;
                self.rule(report, HttpAction::Deny { status }, condition)
            }
            "del-header" => {
                let name = rest.first();
                let edit = match (name, rest.get(1).filter(|flag| flag.text == "-m"), rest.get(2)) {
                    (Some(name), Some(flag), method) => {
                        let method = method.map_or("", |method| method.text.as_str());
                        Edit::DelHeaders {
                            like: match method {
                                "str" => {
                                    let name = header_name(report, action, rest)?;
                                    let condition = rest.get(3..).unwrap_or_default();
                                    return self.rule(
                                        report,
                                        HttpAction::Edit(Edit::DelHeader { name }),
                                        condition,
                                    );
                                }
                                "beg" => NameLike::Prefix(name.text.clone()),
                                "end" => NameLike::Suffix(name.text.clone()),
                                "sub" => NameLike::Substring(name.text.clone()),
                                "reg" => {
                                    let without_case = Word {
                                        text: format!("(?i){}", name.text),
                                        ..name.clone()
                                    };
                                    let regex = check::regex(report, &without_case)?;
                                    NameLike::Regex(NameRegex(Expression(regex)))
                                }
                                other => {
                                    report.error(
                                        flag.span.clone(),
                                        format!("unknown method `{other}`"),
                                        "there are str, beg, end, sub and reg",
                                    );
                                    return None;
                                }
                            },
                        }
                    }
                    _ => Edit::DelHeader {
                        name: header_name(report, action, rest)?,
                    },
                };
                let skipped = if matches!(edit, Edit::DelHeader { .. }) {
                    1
                } else {
                    3
                };
                let condition = rest.get(skipped..).unwrap_or_default();
                self.rule(report, HttpAction::Edit(edit), condition)
            }
            "replace-header" | "replace-value" => {
                let name = header_name(report, action, rest)?;
                let (replace, condition) = self.replace(report, action, rest.get(1..).unwrap_or_default())?;
                let edit = if action.text == "replace-header" {
                    Edit::ReplaceHeader { name, replace }
                } else {
                    Edit::ReplaceValue { name, replace }
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
            _ => {
                let name = header_name(report, action, rest)?;
                let (value, condition) = template_of(report, action, rest.get(1..).unwrap_or_default())?;
                let edit = if action.text == "add-header" {
                    Edit::AddHeader { name, value }
                } else {
                    Edit::SetHeader { name, value }
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
        }
    }

    /// `REGEX WITH`
    fn replace<'w>(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &'w [Word],
    ) -> Option<(Replace, &'w [Word])> {
        let [regex, with, condition @ ..] = rest else {
            report.error(
                action.span.clone(),
                format!(
                    "`{}` needs a regular expression and what to put in its place",
                    action.text
                ),
                "write them behind, such as /old/(.*) /new/\\1",
            );
            return None;
        };
        let replace = Replace {
            regex: Expression(check::regex(report, regex)?),
            with: template(report, with)?,
        };
        Some((replace, condition))
    }

    /// `set-status N [reason TEXT]`
    fn set_status(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<HttpRule> {
        let Some((number, mut rest)) = rest.split_first() else {
            report.error(
                action.span.clone(),
                "`set-status` needs a status",
                "write one behind",
            );
            return None;
        };
        let Some(status) = number
            .text
            .parse()
            .ok()
            .filter(|status| (200..=999).contains(status))
        else {
            report.error(
                number.span.clone(),
                format!("`{}` is no status of a response", number.text),
                "write a number from 200 to 999",
            );
            return None;
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

    /// `set-var(NAME) EXPRESSION`, `set-var-fmt(NAME) TEMPLATE`, `unset-var(NAME)`, `capture EXPRESSION len N|id N`.
    fn remembered(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &[Word],
        captures: &[Spanned<Capture>],
    ) -> Option<HttpRule> {
        let (kind, name) = match action.text.split_once('(') {
            Some((kind, name)) => (kind, name.trim_end_matches(')')),
            None => (action.text.as_str(), ""),
        };
        if kind == "capture" {
            return self.capture(report, action, rest, captures);
        }
        let Some(name) = variable(name) else {
            report.error(
                action.span.clone(),
                format!("`{name}` is no variable of a connection, request or response"),
                format!("write {kind}(txn.NAME): there are the scopes sess, txn, req and res"),
            );
            return None;
        };
        if kind == "unset-var" {
            return self.rule(report, HttpAction::UnsetVariable { name }, rest);
        }
        let Some((value, condition)) = rest.split_first() else {
            report.error(
                action.span.clone(),
                format!("`{kind}` needs a value"),
                "write it behind",
            );
            return None;
        };
        let expression = kind == "set-var";
        let value = if expression {
            self.expression(report, value)?
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

    fn expression(&self, report: &mut Report, word: &Word) -> Option<Template> {
        match Format::compile_expression(&word.text) {
            Ok(format) => Some(Arc::new(format)),
            Err(error) => {
                let said = error.fault.to_string();
                report.error(
                    word.span.clone(),
                    said,
                    "write a sample such as req.hdr(host),lower",
                );
                None
            }
        }
    }

    fn capture(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &[Word],
        captures: &[Spanned<Capture>],
    ) -> Option<HttpRule> {
        let [sample, kind, number, condition @ ..] = rest else {
            report.error(
                action.span.clone(),
                "`capture` needs a sample and how much of it to keep",
                "write such as capture req.hdr(host) id 0",
            );
            return None;
        };
        let value = self.expression(report, sample)?;
        let wanted = number.text.parse::<usize>().ok();
        let wanted = wanted.filter(|_| kind.text == "id");
        let Some((place, capture)) = wanted.and_then(|place| Some((place, captures.get(place)?))) else {
            report.error(
                kind.span.clone(),
                "there is no place to capture this in",
                "write `id` and the number of a place, from 0 (warren.toml: request_captures, response_captures)",
            );
            return None;
        };
        let length = capture_length(report, capture.get_ref().length.as_ref());
        self.rule(report, HttpAction::Capture { value, place, length }, condition)
    }

    /// `location|prefix|scheme TO [code N] [drop-query] ...`
    fn redirect(&self, report: &mut Report, words: &[Word], action: Option<&Word>) -> Option<HttpRule> {
        let (Some(kind), Some(to)) = (words.first(), words.get(1)) else {
            let span = words.first().or(action).map_or(0..0, |word| word.span.clone());
            report.error(
                span,
                "a redirection to nowhere",
                "write location, prefix or scheme, and where to",
            );
            return None;
        };
        let target = template(report, to)?;
        let to = match kind.text.as_str() {
            "location" => Redirect::Location(target),
            "prefix" => Redirect::Prefix(target),
            "scheme" => Redirect::Scheme(target),
            other => {
                report.error(
                    kind.span.clone(),
                    format!("unknown redirection `{other}`"),
                    suggestion(other, ["location", "prefix", "scheme"].into_iter()),
                );
                return None;
            }
        };
        let mut rest = words.get(2..).unwrap_or_default();
        let mut code = 302;
        let mut options = RedirectOptions::default();
        while let Some((word, more)) = rest.split_first() {
            match word.text.as_str() {
                "code" => {
                    let number = more.first().and_then(|word| word.text.parse().ok());
                    let Some(number) = number.filter(|code| [301, 302, 303, 307, 308].contains(code)) else {
                        report.error(
                            word.span.clone(),
                            "`code` needs the status of a redirection",
                            "write 301, 302, 303, 307 or 308",
                        );
                        return None;
                    };
                    code = number;
                    rest = more.get(1..).unwrap_or_default();
                }
                "drop-query" => {
                    options.drop_query = true;
                    rest = more;
                }
                "append-slash" => {
                    options.append_slash = true;
                    rest = more;
                }
                "ignore-empty" => {
                    options.ignore_empty = true;
                    rest = more;
                }
                "set-cookie" | "clear-cookie" => {
                    let Some((cookie, more)) = more.split_first() else {
                        report.error(
                            word.span.clone(),
                            format!("`{}` needs a cookie", word.text),
                            "write NAME=VALUE behind",
                        );
                        return None;
                    };
                    let age = if word.text == "clear-cookie" {
                        "; Max-Age=0"
                    } else {
                        ""
                    };
                    options.cookie = Some(format!("{}; path=/{age};", cookie.text));
                    rest = more;
                }
                _ => break,
            }
        }
        self.rule(report, HttpAction::Redirect { code, to, options }, rest)
    }

    fn rule(&self, report: &mut Report, action: HttpAction, condition: &[Word]) -> Option<HttpRule> {
        let condition: Condition = self.acls.condition(report, condition)?;
        Some(HttpRule { action, condition })
    }
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
        Some(name) if framing(name) => {
            report.error(
                name.span.clone(),
                format!(
                    "`{}` tells where a message ends and is not to be changed",
                    name.text
                ),
                "whoever changes it lets another request be smuggled in: remove the rule",
            );
            None
        }
        Some(name) if !name.text.is_empty() && name.text.chars().all(token) => Some(name.text.clone()),
        Some(name) => {
            report.error(
                name.span.clone(),
                format!("`{}` cannot be the name of a header", name.text),
                "a name has letters, digits and hyphens",
            );
            None
        }
        None => {
            report.error(
                action.span.clone(),
                format!("`{}` needs the name of a header", action.text),
                "write it behind",
            );
            None
        }
    }
}

/// A value with %[samples], which has to stand first in `rest`, and what follows it.
pub(super) fn template_of<'w>(
    report: &mut Report,
    action: &Word,
    rest: &'w [Word],
) -> Option<(Template, &'w [Word])> {
    let Some((value, condition)) = rest.split_first() else {
        report.error(
            action.span.clone(),
            format!("`{}` needs a value", action.text),
            "write it behind; quotes keep blanks together",
        );
        return None;
    };
    Some((template(report, value)?, condition))
}

/// Reads every rule of a list.
fn each<T>(
    report: &mut Report,
    rules: &[Spanned<String>],
    mut read: impl FnMut(&mut Report, &[Word]) -> Option<T>,
) -> Vec<T> {
    if let Some(last) = rules.last() {
        report.at_most(last.span(), "rules of one kind", rules.len(), RULES_MAX);
    }
    let mut all = Vec::new();
    for rule in rules {
        match line::words(report, rule) {
            Some(words) if words.is_empty() => {
                report.error(rule.span(), "an empty rule", "write an action, or remove it");
            }
            Some(words) => all.extend(read(report, &words)),
            None => {}
        }
    }
    all
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
        report.error(
            word.span.clone(),
            format!("`{}` needs a status", word.text),
            "write a number from 200 to 599",
        );
        return None;
    };
    Some((number, rest.get(1..).unwrap_or_default()))
}

/// How much of something is kept.
pub(super) fn capture_length(report: &mut Report, length: Option<&Spanned<i64>>) -> usize {
    let length: u32 = report.number("length", length, 1..=CAPTURE_MAX, 64);
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn is_variable_action(action: &str) -> bool {
    let (kind, _) = action.split_once('(').unwrap_or((action, ""));
    ["set-var", "set-var-fmt", "unset-var"].contains(&kind)
}

/// A text with %[samples].
pub(super) fn template(report: &mut Report, word: &Word) -> Option<Template> {
    match Format::compile_template(&word.text) {
        Ok(format) => Some(Arc::new(format)),
        Err(error) => {
            report.error(
                word.span.clone(),
                error.to_string(),
                "a value is text with %[samples] such as %[src]",
            );
            None
        }
    }
}

fn unknown_action<'n>(
    report: &mut Report,
    action: &Word,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) {
    let base = name.split('(').next().unwrap_or(name);
    match REFUSED_ACTIONS.iter().find(|(refused, _)| *refused == base) {
        Some((_, instead)) => report.error(
            action.span.clone(),
            format!("the action `{base}` is not supported"),
            *instead,
        ),
        None => report.error(
            action.span.clone(),
            format!("unknown action `{base}`"),
            suggestion(base, known),
        ),
    }
}
