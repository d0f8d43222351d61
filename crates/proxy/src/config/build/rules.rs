//! What follows from conditions: `use_backend`, `use-server`, `tcp-request`, `http-request`, `http-response` and their like.
//!
//! What HTTP rules may do is in [`super::actions`].

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::actions::{AFTER_ACTIONS, RESPONSE_ACTIONS, template, unknown_action};
use super::condition::Acls;
use super::line::{self, refuse};
use super::{Given, Surroundings, frontend, table};
use crate::config::file::StatsUse;
use crate::config::words::Word;
use crate::plan::{
    Condition, HttpAction, HttpRule, Mode, Moment, Persist, Switch, SwitchTo, TcpAction, TcpRule, Template,
    UseServer,
};

/// The most rules of one kind in one section.
const RULES_MAX: usize = 1000;

/// A section's rules.
pub(super) struct Scope<'a> {
    pub(super) given: &'a Given<'a>,
    pub(super) surroundings: &'a Surroundings<'a>,
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
        each(report, &self.given.section.use_backend, |report, words| {
            let (name, condition) = words.split_first()?;
            let condition = self.acls.condition(report, condition);
            let backend = match self.name_in_request(report, name, "backends")? {
                Some(template) => SwitchTo::Named(template),
                None => {
                    let name = Spanned::new(name.span.clone(), name.text.clone());
                    let backend = frontend::backend_called(report, &name, self.given, self.surroundings)?;
                    SwitchTo::Backend(backend)
                }
            };
            Some(Switch {
                backend,
                condition: condition?,
            })
        })
    }

    /// `use-server`
    pub(super) fn server_rules(&self, report: &mut Report) -> Vec<UseServer> {
        each(report, &self.given.section.use_server, |report, words| {
            let (name, condition) = words.split_first()?;
            conditional(report, name, condition, "a server for everybody".to_owned());
            let mut known = self.given.section.servers.0.iter();
            let server = match self.name_in_request(report, name, "servers")? {
                Some(template) => template,
                None if known.any(|(known, _)| *known.get_ref() == name.text) => template(report, name)?,
                None => {
                    let known = self.given.section.servers.0.0.iter();
                    let known = known.map(|(known, _)| known.get_ref().as_str());
                    let help = suggestion(&name.text, known);
                    return refuse(
                        report,
                        name,
                        format!("there is no server called `{}` here", name.text),
                        help,
                    );
                }
            };
            let condition = self.acls.condition(report, condition)?;
            Some(UseServer { server, condition })
        })
    }

    /// A name that is made from what requests say; `Some(None)` is any other.
    fn name_in_request(&self, report: &mut Report, name: &Word, what: &str) -> Option<Option<Template>> {
        if !name.text.contains('%') {
            return Some(None);
        }
        if self.given.mode != Mode::Http {
            return refuse(
                report,
                name,
                format!("{what} are chosen by what requests say in mode http only"),
                "write a line with a condition for each of them",
            );
        }
        template(report, name).map(Some)
    }

    pub(super) fn tcp_rules(&self, report: &mut Report) -> Vec<TcpRule> {
        const MOMENTS: [(&str, Moment); 3] = [
            ("connection", Moment::Connection),
            ("session", Moment::Session),
            ("content", Moment::Content),
        ];
        each(report, &self.given.section.tcp_request, |report, words| {
            let (when, rest) = words.split_first()?;
            let moment = report.choice("moment", when.span.clone(), &when.text, &MOMENTS)?;
            let Some((action, rest)) = rest.split_first() else {
                return refuse(report, when, "a rule without an action", "write accept or reject");
            };
            let (action, condition) = match action.text.as_str() {
                "accept" => (TcpAction::Accept, rest),
                "reject" | "silent-drop" => (TcpAction::Reject, rest),
                "expect-proxy" => {
                    return refuse(
                        report,
                        action,
                        "`expect-proxy` is not supported",
                        "write accept-proxy on the `bind` line, or proxy_from in warren.toml",
                    );
                }
                word if table::slot(word).is_some() => {
                    let requests = moment == Moment::Content && self.given.mode == Mode::Http;
                    let (track, rest) = self.track(report, action, rest, requests)?;
                    (TcpAction::Track(track), rest)
                }
                _ => {
                    return unknown_action(report, action, ["accept", "reject", "track-sc0"].into_iter());
                }
            };
            let condition = self.acls.condition(report, condition)?;
            Some(TcpRule {
                moment,
                action,
                condition,
            })
        })
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
            self.response_rule(report, action, rest, known)
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

    /// `stats admin`
    pub(super) fn stats_admin(&self, report: &mut Report) -> Vec<Condition> {
        let stats = self.given.section.stats.as_ref().map(Spanned::get_ref);
        let Some(StatsUse::Table(table)) = stats else {
            return Vec::new();
        };
        each(report, &table.admin_if, |report, words| {
            self.acls.condition(report, words)
        })
    }

    /// `force-persist`, `ignore-persist`
    pub(super) fn persist_rules(&self, report: &mut Report) -> Vec<Persist> {
        each(report, &self.given.section.persist, |report, words| {
            let (what, condition) = words.split_first()?;
            let known = [("force", true), ("ignore", false)];
            let forced = report.choice("persistence", what.span.clone(), &what.text, &known)?;
            conditional(
                report,
                what,
                condition,
                format!("`{}` without a condition", what.text),
            );
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

    pub(super) fn rule(
        &self,
        report: &mut Report,
        action: HttpAction,
        condition: &[Word],
    ) -> Option<HttpRule> {
        let condition = self.acls.condition(report, condition)?;
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

/// Not everything makes sense for everybody.
fn conditional(report: &mut Report, word: &Word, condition: &[Word], otherwise: String) {
    if condition.is_empty() {
        report.error(
            word.span.clone(),
            otherwise,
            "write `if` or `unless` and a condition behind it",
        );
    }
}
