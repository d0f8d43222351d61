//! `if` and `unless`: named and anonymous tests, made into an alternative of conjunctions.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use warren_kit::config::{Report, suggestion};

use super::sample::Here;
use super::{Given, Surroundings, line, sample};
use crate::config::words::Word;
use crate::logs::Format;
use crate::plan::{Condition, Mode, Pattern, Sample, Term, Test};

/// Named tests with several lines each multiply.
const TERMS_MAX: usize = 1024;

/// Names that are always there, as in HAProxy.
pub(in crate::config) const PREDEFINED: [&str; 21] = [
    "FALSE",
    "TRUE",
    "HTTP",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "LOCALHOST",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "METH_PATCH",
    "HTTP_1.0",
    "HTTP_1.1",
    "WAIT_END",
    "always_true",
    "always_false",
];

/// The named tests of a section.
pub(super) struct Acls<'a> {
    given: &'a Given<'a>,
    surroundings: &'a Surroundings<'a>,
    here: Here<'a>,
    /// Of one name, each line is an alternative. `None` for what could not be read.
    named: BTreeMap<String, Vec<Option<(Test, bool)>>>,
}

impl<'a> Acls<'a> {
    pub(super) fn new(report: &mut Report, given: &'a Given<'a>, surroundings: &'a Surroundings<'a>) -> Self {
        let own = surroundings.backend(given.name.get_ref()).map(|(name, _)| name);
        let default = given
            .section
            .default_backend
            .as_ref()
            .and_then(|name| surroundings.backend(name.get_ref()))
            .map(|(name, _)| name);
        let mut acls = Self {
            given,
            surroundings,
            here: Here {
                backend: if given.back { own } else { default },
                table: given.name.get_ref(),
            },
            named: BTreeMap::new(),
        };
        for acl in &given.section.acl {
            let Some(words) = line::words(report, acl) else {
                continue;
            };
            match words.as_slice() {
                [name, criterion @ ..] if !criterion.is_empty() => {
                    let test = sample::test(report, criterion, surroundings, &acls.here);
                    acls.named.entry(name.text.clone()).or_default().push(test);
                }
                _ => report.error(
                    acl.span(),
                    "an `acl` is a name and a test",
                    "write one such as `is_api path_beg /api`",
                ),
            }
        }
        acls
    }

    /// What stands after an action: nothing, or `if` or `unless` and tests.
    pub(super) fn condition(&self, report: &mut Report, words: &[Word]) -> Option<Condition> {
        let Some((first, tests)) = words.split_first() else {
            return Some(Condition::always());
        };
        let negated = match first.text.as_str() {
            "if" => false,
            "unless" => true,
            other => {
                report.error(
                    first.span.clone(),
                    format!("unexpected `{other}`"),
                    "a condition begins with `if` or `unless`",
                );
                return None;
            }
        };
        if tests.is_empty() {
            report.error(
                first.span.clone(),
                format!("`{}` without a condition", first.text),
                "write the name of an acl, or a test in braces: { src 10.0.0.0/8 }",
            );
            return None;
        }
        let any = self.alternatives(report, tests)?;
        Some(Condition { any, negated })
    }

    fn alternatives(&self, report: &mut Report, words: &[Word]) -> Option<Vec<Vec<Term>>> {
        let mut any = Vec::new();
        let mut all: Vec<Vec<Term>> = vec![Vec::new()];
        let mut rest = words;
        let mut empty = true;
        while let Some((word, more)) = rest.split_first() {
            if ["or", "||", "OR"].contains(&word.text.as_str()) {
                if empty {
                    report.error(word.span.clone(), "`or` without a test before it", "write one");
                    return None;
                }
                any.append(&mut all);
                all.push(Vec::new());
                (empty, rest) = (true, more);
                continue;
            }
            let (alternatives, left) = self.term(report, rest)?;
            if all.len().saturating_mul(alternatives.len()) > TERMS_MAX {
                report.error(
                    word.span.clone(),
                    "this condition has too many combinations",
                    "write several patterns on one line instead of several lines of one name",
                );
                return None;
            }
            let joined = all.iter().flat_map(|before| {
                alternatives.iter().map(|after| {
                    let mut both = before.clone();
                    both.extend(after.iter().cloned());
                    both
                })
            });
            all = joined.collect();
            (empty, rest) = (false, left);
        }
        if empty {
            report.error(
                words[words.len() - 1].span.clone(),
                "`or` without a test behind it",
                "write one",
            );
            return None;
        }
        any.append(&mut all);
        Some(any)
    }

    /// One test, as alternatives of conjunctions, and the words after it.
    fn term<'w>(&self, report: &mut Report, words: &'w [Word]) -> Option<(Vec<Vec<Term>>, &'w [Word])> {
        let (first, mut rest) = words.split_first()?;
        let mut name = first.text.as_str();
        let mut span = first.span.clone();
        let mut negated = false;
        while let Some(after) = name.strip_prefix('!') {
            negated = !negated;
            name = after;
            if name.is_empty() {
                let Some((next, more)) = rest.split_first() else {
                    report.error(span, "`!` without a test behind it", "write one");
                    return None;
                };
                (name, span, rest) = (next.text.as_str(), next.span.clone(), more);
            }
        }
        if name != "{" {
            return Some((self.named(report, name, &span, negated)?, rest));
        }
        let Some(close) = rest.iter().position(|word| word.text == "}") else {
            report.error(
                span,
                "this brace is never closed",
                "write ` }` at the end of the test",
            );
            return None;
        };
        let (inside, after) = rest.split_at(close);
        if inside.is_empty() {
            report.error(
                span,
                "nothing is tested",
                "write a sample and its patterns between the braces",
            );
            return None;
        }
        let (test, http) = sample::test(report, inside, self.surroundings, &self.here)?;
        self.fits(report, &inside[0].span, http);
        let term = Term { negated, test };
        Some((vec![vec![term]], after.get(1..).unwrap_or_default()))
    }

    fn named(
        &self,
        report: &mut Report,
        name: &str,
        span: &Range<usize>,
        negated: bool,
    ) -> Option<Vec<Vec<Term>>> {
        let tests = match self.named.get(name) {
            Some(tests) => tests.iter().cloned().collect::<Option<Vec<_>>>()?,
            None => vec![self.predefined(report, name, span)?],
        };
        self.fits(report, span, tests.iter().any(|(_, http)| *http));
        let tests = merged(tests.into_iter().map(|(test, _)| test));
        let terms = tests.into_iter().map(|test| Term { negated, test });
        Some(if negated {
            vec![terms.collect()]
        } else {
            terms.map(|term| vec![term]).collect()
        })
    }

    fn predefined(&self, report: &mut Report, name: &str, span: &Range<usize>) -> Option<(Test, bool)> {
        let test = |sample, patterns, http| {
            let test = Test {
                sample,
                ignore_case: false,
                patterns,
            };
            Some((test, http))
        };
        let exact = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Pattern::Exact((*text).to_owned()))
                .collect()
        };
        if let Some(method) = name.strip_prefix("METH_").filter(|_| PREDEFINED.contains(&name)) {
            let methods = if method == "GET" {
                exact(&["GET", "HEAD"])
            } else {
                exact(&[method])
            };
            return test(Sample::Method, methods, true);
        }
        match name {
            "TRUE" | "always_true" | "HTTP" | "WAIT_END" => test(Sample::True, Vec::new(), false),
            "FALSE" | "always_false" => test(Sample::False, Vec::new(), false),
            "LOCALHOST" => test(Sample::Src, sample::loopback(), false),
            "HTTP_URL_SLASH" => test(Sample::Url, vec![Pattern::Prefix("/".to_owned())], true),
            "HTTP_URL_STAR" => test(Sample::Url, exact(&["*"]), true),
            "HTTP_URL_ABS" => {
                let pattern = regex::bytes::Regex::new("^[^/:]*://").ok()?;
                test(Sample::Url, vec![Pattern::Regex(pattern)], true)
            }
            "HTTP_1.0" | "HTTP_1.1" => {
                let version = Format::compile_expression("req.ver").ok()?;
                let version = Sample::Expression(Arc::new(version));
                test(version, exact(&[name.trim_start_matches("HTTP_")]), true)
            }
            "REQ_CONTENT" | "RDP_COOKIE" | "HTTP_2.0" | "HTTP_CONTENT" => {
                report.error(
                    span.clone(),
                    format!("the predefined acl `{name}` is not supported"),
                    format!("there are {}", PREDEFINED.join(", ")),
                );
                None
            }
            _ => {
                let names = self.named.keys().map(String::as_str).chain(PREDEFINED);
                report.error(
                    span.clone(),
                    format!("there is no acl called `{name}`"),
                    suggestion(name, names),
                );
                None
            }
        }
    }

    /// What needs HTTP never holds without it.
    fn fits(&self, report: &mut Report, span: &Range<usize>, http: bool) {
        if http && self.given.mode != Mode::Http {
            report.warn(
                span.clone(),
                "this never holds: it looks at HTTP, which is not spoken here",
                "write `mode http`",
            );
        }
    }
}

/// Lines of one name that look at the same thing are one test with more patterns.
fn merged(tests: impl Iterator<Item = Test>) -> Vec<Test> {
    let mut merged: Vec<Test> = Vec::new();
    for test in tests {
        let same = |known: &&mut Test| {
            known.sample == test.sample
                && known.ignore_case == test.ignore_case
                && !known.patterns.is_empty()
                && !test.patterns.is_empty()
        };
        match merged.iter_mut().find(same) {
            Some(known) => known.patterns.extend(test.patterns),
            None => merged.push(test),
        }
    }
    merged
}
