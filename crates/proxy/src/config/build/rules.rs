//! What follows from conditions: `use_backend`, `tcp-request`, `http-request`, `http-response`, `redirect`.

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::condition::Acls;
use super::{Given, Surroundings, check, frontend, line};
use crate::config::words::Word;
use crate::logs::Format;
use crate::plan::{Condition, Edit, HttpAction, HttpRule, Mode, Redirect, Switch, TcpAction, TcpRule};

/// The most rules of one kind in one section.
const RULES_MAX: usize = 1000;

/// What becomes of requests: those that are read, and those that are refused with what to do instead.
pub(in crate::config) const REQUEST_ACTIONS: [&str; 13] = [
    "add-header",
    "allow",
    "auth",
    "del-header",
    "deny",
    "redirect",
    "reject",
    "replace-path",
    "return",
    "set-header",
    "set-path",
    "set-query",
    "use-service",
];
/// What becomes of responses.
pub(in crate::config) const RESPONSE_ACTIONS: [&str; 5] =
    ["add-header", "allow", "del-header", "deny", "set-header"];
/// Known to HAProxy, and what to do instead.
pub(in crate::config) const REFUSED_ACTIONS: [(&str, &str); 33] = [
    ("add-acl", LISTS),
    ("cache-store", "nothing is cached: put a cache in front"),
    ("cache-use", "nothing is cached: put a cache in front"),
    ("capture", "write the sample into log-format: %[...]"),
    ("del-acl", LISTS),
    ("del-map", LISTS),
    ("disable-l7-retry", "requests are tried again as `retry-on` says"),
    ("do-resolve", "servers are chosen among those of the backend"),
    ("early-hint", "no interim responses are made"),
    (
        "normalize-uri",
        "paths are forwarded as they come: use replace-path",
    ),
    ("replace-header", "use set-header with a condition"),
    (
        "replace-pathq",
        "use replace-path, which leaves the query as it is",
    ),
    ("replace-uri", "use replace-path"),
    ("replace-value", "use set-header with a condition"),
    ("sc-inc-gpc0", COUNTERS),
    ("sc-inc-gpc1", COUNTERS),
    ("sc-set-gpt0", COUNTERS),
    ("send-spoe-group", "there are no filters"),
    ("set-dst", "servers are chosen among those of the backend"),
    ("set-log-level", "use `option dontlog-normal`"),
    ("set-map", LISTS),
    ("set-method", "methods are forwarded as they come"),
    ("set-pathq", "use set-path and set-query"),
    ("set-src", "use accept-proxy, which brings the client's address"),
    ("set-status", "responses keep their status"),
    ("set-timeout", "give the backend its own timeouts"),
    ("set-uri", "use set-path and set-query"),
    ("set-var", VARIABLES),
    ("set-var-fmt", VARIABLES),
    ("silent-drop", "use deny, or tcp-request connection reject"),
    ("tarpit", "use deny"),
    ("unset-var", VARIABLES),
    ("wait-for-body", "bodies are forwarded as they come"),
];
const LISTS: &str = "conditions do not change while running: write the patterns into an acl";
const COUNTERS: &str = "clients are counted by connections only: use conn_cur and conn_rate";
const VARIABLES: &str = "there are no variables: repeat the sample where it is needed";

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
                report.error(
                    name.span.clone(),
                    "backends are chosen by their own names",
                    "write a line with a condition for each of them",
                );
                return None;
            }
            let name = Spanned::new(name.span.clone(), name.text.clone());
            let backend = frontend::backend_called(report, &name, self.given, self.surroundings)?;
            Some(Switch {
                backend,
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
        let section = self.given.section;
        let rules = each(report, &section.http_response, |report, words| {
            let (action, rest) = words.split_first()?;
            if RESPONSE_ACTIONS.contains(&action.text.as_str()) {
                self.common(report, action, rest)
            } else {
                unknown_action(report, action, &action.text, RESPONSE_ACTIONS.into_iter());
                None
            }
        });
        self.only_http(report, section.http_response.first());
        rules
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
            "return" => self.answer(report, rest),
            "set-path" | "set-query" => {
                let (value, condition) = self.value(report, action, rest)?;
                let edit = if action.text == "set-path" {
                    Edit::SetPath { value }
                } else {
                    Edit::SetQuery { value }
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
            "replace-path" => {
                let [regex, with, condition @ ..] = rest else {
                    report.error(
                        action.span.clone(),
                        "`replace-path` needs a regular expression and what to put in its place",
                        "write replace-path /old/(.*) /new/\\1",
                    );
                    return None;
                };
                check::regex(report, regex)?;
                let edit = Edit::ReplacePath {
                    regex: regex.text.clone(),
                    with: template(report, with)?,
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
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
            "add-header" | "set-header" | "del-header" | "allow" | "deny" => {
                self.common(report, action, rest)
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
                let name = self.header(report, action, rest)?;
                if let Some(flag) = rest.get(1).filter(|word| word.text == "-m")
                    && rest.get(2).is_none_or(|method| method.text != "str")
                {
                    report.error(
                        flag.span.clone(),
                        "headers are removed by their whole name",
                        "write a rule for each name",
                    );
                    return None;
                }
                let skipped = if rest.get(1).is_some_and(|word| word.text == "-m") {
                    3
                } else {
                    1
                };
                let edit = Edit::DelHeader { name };
                self.rule(
                    report,
                    HttpAction::Edit(edit),
                    rest.get(skipped..).unwrap_or_default(),
                )
            }
            _ => {
                let name = self.header(report, action, rest)?;
                let (value, condition) = self.value(report, action, rest.get(1..).unwrap_or_default())?;
                let edit = if action.text == "add-header" {
                    Edit::AddHeader { name, value }
                } else {
                    Edit::SetHeader { name, value }
                };
                self.rule(report, HttpAction::Edit(edit), condition)
            }
        }
    }

    fn header(&self, report: &mut Report, action: &Word, rest: &[Word]) -> Option<String> {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        match rest.first() {
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

    fn value<'w>(
        &self,
        report: &mut Report,
        action: &Word,
        rest: &'w [Word],
    ) -> Option<(String, &'w [Word])> {
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
                option @ ("drop-query" | "append-slash" | "set-cookie" | "clear-cookie" | "ignore-empty") => {
                    report.error(
                        word.span.clone(),
                        format!("`{option}` is not supported in redirections"),
                        "write the whole target with `location` and %[path]",
                    );
                    return None;
                }
                _ => break,
            }
        }
        self.rule(report, HttpAction::Redirect { code, to }, rest)
    }

    /// `return [status N] [content-type TYPE] [string TEXT]`
    fn answer(&self, report: &mut Report, words: &[Word]) -> Option<HttpRule> {
        let (status, mut rest) = status(report, words, 200, &["status"])?;
        let (mut content_type, mut content) = (String::new(), None);
        while let [option, value, more @ ..] = rest {
            match option.text.as_str() {
                "content-type" => content_type.clone_from(&value.text),
                "string" => content = Some(value.text.clone()),
                "if" | "unless" => break,
                other => {
                    report.error(
                        option.span.clone(),
                        format!("`{other}` is not supported after `return`"),
                        suggestion(other, ["status", "content-type", "string"].into_iter()),
                    );
                    return None;
                }
            }
            rest = more;
        }
        let action = HttpAction::Return {
            status,
            content_type: if content_type.is_empty() && content.is_some() {
                "text/plain".to_owned()
            } else {
                content_type
            },
            content: content.unwrap_or_default(),
        };
        self.rule(report, action, rest)
    }

    fn rule(&self, report: &mut Report, action: HttpAction, condition: &[Word]) -> Option<HttpRule> {
        let condition: Condition = self.acls.condition(report, condition)?;
        Some(HttpRule { action, condition })
    }
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
fn status<'w>(
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

/// A text with %[samples], as written: whoever uses it compiles it again.
fn template(report: &mut Report, word: &Word) -> Option<String> {
    match Format::compile_template(&word.text) {
        Ok(_) => Some(word.text.clone()),
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
