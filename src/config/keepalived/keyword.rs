//! Tables of keywords: every keyword of keepalived has an entry that reads it, accepts it or refuses it by name.
//!
//! The same table answers "what is this?" and "did you mean ...?", so that no keyword can be known to one and not to the
//! other.

use std::ops::Range;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};
use warren_kit::duration::HumanDuration;

use super::source::Word;
use super::tree::Statement;

/// What becomes of a keyword.
pub(super) enum Keyword<T> {
    /// It is read into `T`.
    Read(fn(&mut T, &mut Arguments<'_, '_>)),
    /// It asks for what is done anyway.
    Implied,
    /// It cannot matter here: a warning says why.
    NoEffect(&'static str),
    /// It would matter and is not supported: an error says what to do instead.
    Refused(&'static str),
}

pub(super) type Table<T> = [(&'static str, Keyword<T>)];

/// Reads the statements of a block into `target`.
pub(super) fn read_block<T>(report: &mut Report, block: &[Statement], table: &Table<T>, target: &mut T) {
    let mut seen: Vec<&str> = Vec::new();
    for statement in block {
        let keyword = statement.keyword();
        let Some((_, action)) = table.iter().find(|(name, _)| *name == keyword) else {
            let help = suggestion(keyword, table.iter().map(|(name, _)| *name));
            report.error(statement.span(), format!("unknown keyword `{keyword}`"), help);
            continue;
        };
        if statement.block.is_none() && seen.contains(&keyword) {
            report.warn(
                statement.whole_span(),
                format!("`{keyword}` is given twice"),
                "the last one counts: remove the others",
            );
        }
        seen.push(keyword);
        match action {
            Keyword::Read(read) => {
                let mut arguments = Arguments {
                    report,
                    statement,
                    next: 1,
                    block_used: false,
                };
                read(target, &mut arguments);
                arguments.finish();
            }
            Keyword::Implied => {}
            Keyword::NoEffect(why) => {
                report.warn(statement.span(), format!("`{keyword}` has no effect here"), *why);
            }
            Keyword::Refused(instead) => {
                report.error(
                    statement.span(),
                    format!("`{keyword}` is not supported"),
                    *instead,
                );
            }
        }
    }
}

/// The words after a keyword, taken one by one. What nobody takes is an error.
pub(super) struct Arguments<'r, 's> {
    pub(super) report: &'r mut Report,
    pub(super) statement: &'s Statement,
    next: usize,
    block_used: bool,
}

impl<'s> Arguments<'_, 's> {
    /// The next word, if there is one.
    pub(super) fn optional(&mut self) -> Option<&'s Word> {
        let word = self.statement.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The next word if it is this one.
    pub(super) fn optional_word(&mut self, text: &str) -> bool {
        let found = self
            .statement
            .words
            .get(self.next)
            .is_some_and(|word| word.text == text);
        self.next += usize::from(found);
        found
    }

    pub(super) fn required(&mut self, what: &str) -> Option<&'s Word> {
        let word = self.optional();
        if word.is_none() {
            let keyword = self.statement.keyword();
            self.report.error(
                self.statement.whole_span(),
                format!("`{keyword}` needs {what}"),
                format!("write it after `{keyword}`"),
            );
        }
        word
    }

    pub(super) fn text(&mut self, what: &str) -> Option<Spanned<String>> {
        self.required(what).map(spanned_text)
    }

    pub(super) fn number(&mut self) -> Option<Spanned<i64>> {
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

    /// keepalived writes durations as seconds, with or without a fraction.
    pub(super) fn seconds(&mut self) -> Option<Spanned<HumanDuration>> {
        let word = self.required("a number of seconds")?;
        match format!("{}s", word.text.trim_start_matches('+')).parse() {
            Ok(duration) => Some(Spanned::new(word.span.clone(), duration)),
            Err(_) => {
                self.report.error(
                    word.span.clone(),
                    format!("`{}` is not a number of seconds", word.text),
                    "write a number such as 1 or 0.5, without a unit",
                );
                None
            }
        }
    }

    /// `on`, `off` and their synonyms; nothing means on.
    pub(super) fn switch(&mut self) -> bool {
        const SWITCHES: [(&str, bool); 6] = [
            ("on", true),
            ("true", true),
            ("yes", true),
            ("off", false),
            ("false", false),
            ("no", false),
        ];
        let Some(word) = self.optional() else { return true };
        self.report
            .choice("switch", word.span.clone(), &word.text, &SWITCHES)
            .unwrap_or(true)
    }

    /// The statements between the braces.
    pub(super) fn block(&mut self) -> &'s [Statement] {
        self.block_used = true;
        self.statement.block.as_deref().unwrap_or_else(|| {
            let keyword = self.statement.keyword();
            self.report.error(
                self.statement.span(),
                format!("`{keyword}` needs a block"),
                format!("write `{keyword} {{` ... `}}`"),
            );
            &[]
        })
    }

    /// Takes whatever is left.
    pub(super) fn rest(&mut self) -> &'s [Word] {
        let rest = self.statement.words.get(self.next..).unwrap_or_default();
        self.next = self.statement.words.len();
        rest
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.statement.span()
    }

    fn finish(self) {
        if let Some(word) = self.statement.words.get(self.next) {
            self.report.error(
                word.span.clone(),
                format!("unexpected `{}` after `{}`", word.text, self.statement.keyword()),
                "put each setting on a line of its own",
            );
        }
        if self.statement.block.is_some() && !self.block_used {
            self.report.error(
                self.statement.span(),
                format!("`{}` has no block", self.statement.keyword()),
                "remove the braces",
            );
        }
    }
}

pub(super) fn spanned_text(word: &Word) -> Spanned<String> {
    Spanned::new(word.span.clone(), word.text.clone())
}
