//! Tables of keywords: every keyword of HAProxy has an entry that reads it, accepts it or refuses it by name.
//!
//! The same table answers "what is this?" and "did you mean ...?" and makes the reference, so that no keyword can be known
//! to one and not to the others.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};
use warren_kit::duration::HumanDuration;

use super::proxy::Kind;
use crate::config::words::{self, Word};

/// What becomes of a keyword.
pub(in crate::config) enum Keyword<T> {
    /// It is read into `T`.
    Read(fn(&mut T, &mut Arguments<'_, '_>)),
    /// It takes no argument and may be written with `no` before it.
    Switch(fn(&mut T, bool)),
    /// It asks for what is done anyway.
    Implied,
    /// It cannot matter here: a warning says why.
    NoEffect(&'static str),
    /// It would matter and is not supported: an error says what to do instead.
    Refused(&'static str),
}

/// In which sections a keyword may stand: the columns of the manual's matrix.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Places(u8);

impl Places {
    pub(in crate::config) const DEFAULTS: u8 = 1;
    const FRONTEND: u8 = 2;
    const BACKEND: u8 = 4;
    /// defaults, frontend, listen, backend
    pub(in crate::config) const ALL: Self = Self(7);
    /// defaults, frontend, listen
    pub(in crate::config) const FRONT: Self = Self(3);
    /// defaults, listen, backend
    pub(in crate::config) const BACK: Self = Self(5);
    /// frontend, listen
    pub(in crate::config) const FRONT_ONLY: Self = Self(2);
    /// listen, backend
    pub(in crate::config) const BACK_ONLY: Self = Self(4);
    /// frontend, listen, backend
    pub(in crate::config) const PROXIES: Self = Self(6);

    fn has(self, kind: Kind) -> bool {
        let bits = match kind {
            Kind::Defaults => Self::DEFAULTS,
            Kind::Frontend => Self::FRONTEND,
            Kind::Backend => Self::BACKEND,
            Kind::Listen => Self::FRONTEND | Self::BACKEND,
        };
        self.0 & bits != 0
    }
}

/// A keyword of one or two words, where it may stand, and what becomes of it.
pub(in crate::config) type Entry<T> = (&'static str, Places, Keyword<T>);

/// A line that says something.
pub(in crate::config) struct Statement {
    pub(in crate::config) words: Vec<Word>,
    span: Range<usize>,
    raw: String,
}

impl Statement {
    /// `raw` is the text at `span`.
    pub(in crate::config) fn new(words: Vec<Word>, span: Range<usize>, raw: &str) -> Self {
        Self {
            words,
            span,
            raw: raw.to_owned(),
        }
    }

    /// The first word.
    pub(in crate::config) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// From the first word to the last.
    pub(in crate::config) fn whole(&self) -> Range<usize> {
        self.span.clone()
    }
}

/// Reads one statement into `target`; `kind` is the section it stands in if that is a proxy.
pub(in crate::config) fn read_statement<T>(
    report: &mut Report,
    statement: &Statement,
    tables: &[&[Entry<T>]],
    target: &mut T,
    kind: Option<Kind>,
) {
    let prefixed = ["no", "default"].contains(&statement.keyword()) && statement.words.len() > 1;
    let first = usize::from(prefixed);
    let text = |index: usize| statement.words.get(index).map_or("", |word| word.text.as_str());
    let pair = format!("{} {}", text(first), text(first + 1));
    let find = |name: &str| {
        tables
            .iter()
            .copied()
            .flatten()
            .find(|(known, _, _)| *known == name)
    };
    let (found, length) = match find(&pair) {
        Some(entry) => (Some(entry), 2),
        None => (find(text(first)), 1),
    };
    let Some((name, places, keyword)) = found else {
        unknown(report, statement, first, tables);
        return;
    };
    let span = statement.words[first].span.start
        ..statement
            .words
            .get(first + length - 1)
            .map_or(statement.span.end, |word| word.span.end);
    if let Some(kind) = kind
        && !places.has(kind)
    {
        misplaced(report, span, name, kind);
        return;
    }
    if prefixed
        && !matches!(
            keyword,
            Keyword::Switch(_) | Keyword::Implied | Keyword::NoEffect(_)
        )
        && !["log", "option redispatch"].contains(name)
    {
        if !matches!(keyword, Keyword::Refused(_)) {
            report.error(
                statement.whole(),
                format!("`{name}` cannot be written with `{}`", statement.keyword()),
                "remove the line",
            );
        }
        return;
    }
    match keyword {
        Keyword::Read(read) => {
            let mut arguments = Arguments {
                report,
                statement,
                next: first + length,
                negated: prefixed,
                name,
            };
            read(target, &mut arguments);
            arguments.finish();
        }
        Keyword::Switch(set) => {
            set(target, !prefixed);
            if let Some(word) = statement.words.get(first + length) {
                unexpected(report, word, name);
            }
        }
        Keyword::Implied => {}
        Keyword::NoEffect(_) if prefixed => {}
        Keyword::NoEffect(why) => report.warn(span, format!("`{name}` has no effect here"), *why),
        Keyword::Refused(instead) => report.error(span, format!("`{name}` is not supported"), *instead),
    }
}

fn unknown<T>(report: &mut Report, statement: &Statement, first: usize, tables: &[&[Entry<T>]]) {
    let all = || tables.iter().copied().flatten();
    let text = |index: usize| statement.words.get(index).map_or("", |word| word.text.as_str());
    let family = format!("{} ", text(first));
    let members = || all().filter_map(|(name, _, _)| name.strip_prefix(family.as_str()));
    if members().next().is_none() {
        let names = all().map(|(name, _, _)| name.split(' ').next().unwrap_or(name));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.dedup();
        report.error(
            statement.words[first].span.clone(),
            format!("unknown keyword `{}`", text(first)),
            suggestion(text(first), names.into_iter()),
        );
        return;
    }
    match statement.words.get(first + 1) {
        Some(word) => report.error(
            word.span.clone(),
            format!("unknown keyword `{} {}`", text(first), word.text),
            suggestion(&word.text, members()),
        ),
        None => report.error(
            statement.whole(),
            format!("`{}` needs a word after it", text(first)),
            suggestion("", members()),
        ),
    }
}

fn misplaced(report: &mut Report, span: Range<usize>, name: &str, kind: Kind) {
    let place = match kind {
        Kind::Defaults => {
            report.error(
                span,
                format!("`{name}` has no place in `defaults`"),
                "write it in the sections it is meant for",
            );
            return;
        }
        Kind::Frontend => "frontend",
        Kind::Backend => "backend",
        Kind::Listen => "listen",
    };
    report.warn(
        span,
        format!("`{name}` has no effect in a {place}"),
        "move it to a section of the other kind, or remove it",
    );
}

fn unexpected(report: &mut Report, word: &Word, name: &str) {
    report.error(
        word.span.clone(),
        format!("unexpected `{}` after `{name}`", word.text),
        "put each setting on a line of its own",
    );
}

/// The words after a keyword, taken one by one. What nobody takes is an error.
pub(in crate::config) struct Arguments<'r, 's> {
    pub(in crate::config) report: &'r mut Report,
    pub(in crate::config) statement: &'s Statement,
    next: usize,
    /// `no` stands before the keyword.
    pub(in crate::config) negated: bool,
    name: &'static str,
}

impl<'s> Arguments<'_, 's> {
    /// The next word, if there is one.
    pub(in crate::config) fn optional(&mut self) -> Option<&'s Word> {
        let word = self.statement.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The next word, left where it is.
    pub(in crate::config) fn peek(&self) -> Option<&'s Word> {
        self.statement.words.get(self.next)
    }

    /// The next word if it is this one.
    pub(in crate::config) fn optional_word(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.text == text);
        self.next += usize::from(found);
        found
    }

    /// The next word, or a complaint.
    pub(in crate::config) fn required(&mut self, what: &str) -> Option<&'s Word> {
        let word = self.optional();
        if word.is_none() {
            let name = self.last_name();
            self.report.error(
                self.statement.whole(),
                format!("`{name}` needs {what}"),
                format!("write it after `{name}`"),
            );
        }
        word
    }

    /// What is being read: the word before, as far as it is an option of the keyword.
    fn last_name(&self) -> String {
        match self.statement.words.get(self.next.wrapping_sub(1)) {
            Some(word) if !self.name.ends_with(word.text.as_str()) => word.text.clone(),
            _ => self.name.to_owned(),
        }
    }

    pub(in crate::config) fn text(&mut self, what: &str) -> Option<Spanned<String>> {
        self.required(what).map(spanned_text)
    }

    pub(in crate::config) fn plain(&mut self, what: &str) -> Option<String> {
        self.required(what).map(|word| word.text.clone())
    }

    pub(in crate::config) fn number(&mut self) -> Option<Spanned<i64>> {
        let word = self.required("a number")?;
        match word.text.parse() {
            Ok(number) => Some(Spanned::new(word.span.clone(), number)),
            Err(_) => {
                self.report.error(
                    word.span.clone(),
                    format!("`{}` is not a number", word.text),
                    "write a whole number",
                );
                None
            }
        }
    }

    /// A number that may end with k, m or g.
    pub(in crate::config) fn size(&mut self) -> Option<Spanned<i64>> {
        let word = self.required("a size")?;
        let (digits, factor) = match word.text.to_ascii_lowercase().chars().last() {
            Some('k') => (word.text.len() - 1, 1 << 10),
            Some('m') => (word.text.len() - 1, 1 << 20),
            Some('g') => (word.text.len() - 1, 1 << 30),
            _ => (word.text.len(), 1),
        };
        let number = word.text.get(..digits).and_then(|text| text.parse::<i64>().ok());
        let number = number.and_then(|number| number.checked_mul(factor));
        if number.is_none() {
            self.report.error(
                word.span.clone(),
                format!("`{}` is not a size", word.text),
                "write a number, if need be with k, m or g after it",
            );
        }
        number.map(|number| Spanned::new(word.span.clone(), number))
    }

    /// A duration whose unit is milliseconds unless it has one.
    pub(in crate::config) fn time(&mut self) -> Option<Spanned<HumanDuration>> {
        self.time_in("ms")
    }

    /// A duration in seconds unless it has a unit.
    pub(in crate::config) fn seconds(&mut self) -> Option<Spanned<HumanDuration>> {
        self.time_in("s")
    }

    fn time_in(&mut self, unit: &str) -> Option<Spanned<HumanDuration>> {
        let word = self.required("a duration")?;
        match duration(&word.text, unit) {
            Ok(duration) => Some(Spanned::new(word.span.clone(), duration)),
            Err(help) => {
                self.report.error(
                    word.span.clone(),
                    format!("`{}` is not a duration", word.text),
                    help,
                );
                None
            }
        }
    }

    /// Whatever is left, as one text in HAProxy's language, quotes included.
    pub(in crate::config) fn rest(&mut self) -> Option<Spanned<String>> {
        self.text_from(self.next)
    }

    /// The same with the keyword's second word before it; nothing if that is all there is.
    pub(in crate::config) fn rest_with_second(&mut self) -> Option<Spanned<String>> {
        self.peek()?;
        self.text_from(1)
    }

    fn text_from(&mut self, first: usize) -> Option<Spanned<String>> {
        let words = self.statement.words.get(first..).unwrap_or_default();
        self.next = self.statement.words.len();
        let span = words.first()?.span.start..self.statement.span.end;
        if words.iter().any(|word| word.expanded) {
            let text = words::join(words.iter().map(|word| word.text.as_str()));
            return Some(Spanned::new(span, text));
        }
        let start = span.start - self.statement.span.start;
        let text = self.statement.raw.get(start..).unwrap_or_default();
        Some(Spanned::new(span, text.to_owned()))
    }

    /// Whatever is left, word by word.
    pub(in crate::config) fn rest_words(&mut self) -> &'s [Word] {
        let rest = self.statement.words.get(self.next..).unwrap_or_default();
        self.next = self.statement.words.len();
        rest
    }

    /// Where the keyword and all after it stand.
    pub(in crate::config) fn whole(&self) -> Range<usize> {
        self.statement.whole()
    }

    fn finish(self) {
        if let Some(word) = self.statement.words.get(self.next) {
            unexpected(self.report, word, self.name);
        }
    }
}

/// A number with or without a unit; what is wrong with it otherwise.
pub(in crate::config) fn duration(text: &str, unit: &str) -> Result<HumanDuration, &'static str> {
    const HELP: &str = "write a whole number and a unit: us, ms, s, m, h or d";
    // HAProxy counts milliseconds in 31 bits.
    const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, own) = text.split_at(digits);
    let unit = if own.is_empty() { unit } else { own };
    if number.is_empty() || !["us", "ms", "s", "m", "h", "d"].contains(&unit) {
        return Err(HELP);
    }
    let duration: HumanDuration = format!("{number}{unit}").parse().map_err(|_| HELP)?;
    if duration.get() > LONGEST {
        return Err("the longest duration is 2147483647 milliseconds, which is 24 days");
    }
    Ok(duration)
}

pub(in crate::config) fn spanned_text(word: &Word) -> Spanned<String> {
    Spanned::new(word.span.clone(), word.text.clone())
}
