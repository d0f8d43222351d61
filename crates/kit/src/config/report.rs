//! Collects what is wrong with a configuration while it is being read, so that one run names every mistake.
//!
//! A wrong value is reported and replaced by its default: the plan that comes out of that is thrown away, but the rest
//! of the file has been looked at.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use crate::diagnostics::Diagnostic;
use crate::duration::HumanDuration;
use crate::suggest::did_you_mean;
use toml::Spanned;

/// More are kept than shown, so that those shown are the first of the file.
const DIAGNOSTICS_MAX: usize = 1000;

/// Mistakes and doubts about a configuration, each with its place.
#[derive(Debug, Default)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Warnings, or everything if there is an error among it. In the order of the file.
    ///
    /// # Errors
    /// At least one of them is an error.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        if self.has_errors() {
            Err(self.diagnostics)
        } else {
            Ok(self.diagnostics)
        }
    }

    /// Whether what comes out is thrown away.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// What holds for many servers is written once, and complained about once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let known = |other: &Diagnostic| other.span == diagnostic.span && other.message == diagnostic.message;
        if self.diagnostics.len() < DIAGNOSTICS_MAX && !self.diagnostics.iter().any(known) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Something that does not work; `help` says what to do about it.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::error(span, message).help(help));
    }

    /// Something that works and may not be meant; `help` says what to do about it.
    pub fn warn(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::warning(span, message).help(help));
    }

    /// A number that must lie in `range`.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        what: &str,
        value: Option<&Spanned<i64>>,
        range: RangeInclusive<i64>,
        default: T,
    ) -> T {
        let Some(value) = value else { return default };
        let number = *value.get_ref();
        let converted = T::try_from(number).ok().filter(|_| range.contains(&number));
        converted.unwrap_or_else(|| {
            self.error(
                value.span(),
                format!("{what} {number} is out of range"),
                format!("write a number from {} to {}", range.start(), range.end()),
            );
            default
        })
    }

    /// A duration that must lie in `range`.
    pub fn duration(
        &mut self,
        what: &str,
        value: Option<&Spanned<HumanDuration>>,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(value) = value else { return default };
        let duration = value.get_ref().get();
        if range.contains(&duration) {
            return duration;
        }
        let [least, most] = [*range.start(), *range.end()].map(HumanDuration::new);
        self.error(
            value.span(),
            format!("{what} {} is out of range", value.get_ref()),
            format!("write a duration from \"{least}\" to \"{most}\""),
        );
        default
    }

    /// One of a few words.
    pub fn choice<T: Clone>(
        &mut self,
        what: &str,
        span: Range<usize>,
        word: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return Some(choice.clone());
        }
        let names = choices.iter().map(|(name, _)| *name);
        self.error(
            span,
            format!("unknown {what} \"{word}\""),
            suggestion(word, names),
        );
        None
    }

    /// A name, as `rule` says which there can be.
    pub fn name(&mut self, what: &str, name: &Spanned<String>, rule: &NameRule) {
        let text = name.get_ref();
        if text.is_empty() || text.len() > rule.length_max || !text.chars().all(rule.fits) {
            self.error(
                name.span(),
                format!("\"{}\" cannot be the name of a {what}", text.escape_debug()),
                rule.help,
            );
        }
    }

    /// Everything that can grow has a limit.
    pub fn at_most(&mut self, span: Range<usize>, what: &str, count: usize, most: usize) {
        if count > most {
            self.error(
                span,
                format!("{count} {what} are too many"),
                format!("at most {most} are supported"),
            );
        }
    }

    /// Two keys that exclude each other, or any other contradiction with a second place.
    pub fn conflict(
        &mut self,
        span: Range<usize>,
        message: impl Display,
        other: Range<usize>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(
            Diagnostic::error(span, message.to_string())
                .related(other, label)
                .help(help),
        );
    }
}

/// Which names there can be.
#[derive(Clone, Copy, Debug)]
pub struct NameRule {
    /// Octets; at least one is needed.
    pub length_max: usize,
    /// What every character must be.
    pub fits: fn(char) -> bool,
    /// The rule in words.
    pub help: &'static str,
}

/// "did you mean", or the list if the word resembles nothing.
#[must_use]
pub fn suggestion<'a>(word: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    const LISTED_MAX: usize = 12;
    if let Some(meant) = did_you_mean(word, names.clone()) {
        return format!("did you mean \"{meant}\"?");
    }
    let listed: Vec<String> = names
        .clone()
        .take(LISTED_MAX)
        .map(|name| format!("\"{name}\""))
        .collect();
    match (listed.len(), names.count()) {
        (0, _) => "there is none to choose from".to_owned(),
        (listed_count, count) if count > listed_count => format!(
            "known are {} and {} more",
            listed.join(", "),
            count - listed_count
        ),
        _ => format!("known are {}", listed.join(", ")),
    }
}
