//! Conditions and what follows from them.

use super::{Given, Surroundings};
use crate::config::report::Report;
use crate::plan::{HttpRule, Switch, TcpRule};

/// What conditions of one section may refer to.
pub(super) struct Scope<'a> {
    given: &'a Given<'a>,
    #[allow(dead_code, reason = "conditions name backends")]
    surroundings: &'a Surroundings<'a>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        _report: &mut Report,
        given: &'a Given<'a>,
        surroundings: &'a Surroundings<'a>,
    ) -> Self {
        Self { given, surroundings }
    }

    pub(super) fn switches(&self, report: &mut Report) -> Vec<Switch> {
        self.refuse(report, &self.given.section.use_backend);
        Vec::new()
    }

    pub(super) fn tcp_rules(&self, report: &mut Report) -> Vec<TcpRule> {
        self.refuse(report, &self.given.section.tcp_request);
        Vec::new()
    }

    pub(super) fn request_rules(&self, report: &mut Report) -> Vec<HttpRule> {
        self.refuse(report, &self.given.section.http_request);
        self.refuse(report, &self.given.section.redirect);
        Vec::new()
    }

    pub(super) fn response_rules(&self, report: &mut Report) -> Vec<HttpRule> {
        self.refuse(report, &self.given.section.http_response);
        Vec::new()
    }

    fn refuse(&self, report: &mut Report, rules: &[toml::Spanned<String>]) {
        for rule in rules {
            report.error(rule.span(), "rules are not read yet", "remove the line");
        }
    }
}
