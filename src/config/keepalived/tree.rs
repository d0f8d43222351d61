//! Lines of words become statements, some with a block.
//!
//! A statement is a line; a block is what stands between braces, on the following lines or on the same one.

use std::ops::Range;

use warren_kit::config::Report;

use super::source::{Line, Word};

const DEPTH_MAX: usize = 8;

/// A keyword, its arguments and perhaps a block.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Self>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.words.first().map_or(0..0, |word| word.span.clone())
    }

    /// From the first word to the last.
    pub(super) fn whole_span(&self) -> Range<usize> {
        self.span().start..self.words.last().map_or(0, |word| word.span.end)
    }
}

/// The top level of a file.
pub(super) fn parse(report: &mut Report, lines: Vec<Line>) -> Vec<Statement> {
    let mut levels: Vec<Level> = vec![Level::default()];
    for line in lines {
        for word in line {
            match word.text.as_str() {
                "{" if !word.quoted && levels.len() > DEPTH_MAX => {
                    report.error(
                        word.span,
                        "blocks are nested too deep",
                        "a `}` is probably missing above",
                    );
                    return Vec::new();
                }
                "{" if !word.quoted => open(report, &mut levels, word),
                "}" if !word.quoted => close(report, &mut levels, &word),
                _ => {
                    if let Some(level) = levels.last_mut() {
                        level.words.push(word);
                    }
                }
            }
        }
        if let Some(level) = levels.last_mut() {
            level.end_statement();
        }
    }
    for level in levels.iter().skip(1).rev() {
        report.error(level.opened.clone(), "this block is never closed", "add a `}`");
    }
    // What was open is closed here, so that the rest can still be looked at.
    while levels.len() > 1 {
        fold(&mut levels);
    }
    levels.pop().map(|level| level.statements).unwrap_or_default()
}

#[derive(Default)]
struct Level {
    statements: Vec<Statement>,
    words: Vec<Word>,
    opened: Range<usize>,
}

impl Level {
    fn end_statement(&mut self) {
        if !self.words.is_empty() {
            let words = std::mem::take(&mut self.words);
            self.statements.push(Statement { words, block: None });
        }
    }
}

fn open(report: &mut Report, levels: &mut Vec<Level>, brace: Word) {
    let Some(level) = levels.last_mut() else { return };
    level.end_statement();
    let has_owner = level
        .statements
        .last()
        .is_some_and(|statement| statement.block.is_none());
    if !has_owner {
        report.error(
            brace.span.clone(),
            "this block belongs to nothing",
            "write a keyword before the brace",
        );
        level.statements.push(Statement {
            words: vec![brace.clone()],
            block: None,
        });
    }
    levels.push(Level {
        opened: brace.span,
        ..Level::default()
    });
}

fn close(report: &mut Report, levels: &mut Vec<Level>, brace: &Word) {
    if levels.len() == 1 {
        report.error(
            brace.span.clone(),
            "there is no block to close",
            "remove this brace, or add the one that opens it",
        );
        return;
    }
    fold(levels);
}

/// The innermost block becomes part of the statement before it.
fn fold(levels: &mut Vec<Level>) {
    let Some(mut level) = levels.pop() else { return };
    level.end_statement();
    if let Some(statement) = levels.last_mut().and_then(|outer| outer.statements.last_mut()) {
        statement.block = Some(level.statements);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        text.split(' ')
            .map(|word| Word {
                text: word.to_owned(),
                span: 0..1,
                quoted: false,
            })
            .collect()
    }

    fn drawn(statements: &[Statement]) -> String {
        let one = |statement: &Statement| {
            let words: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
            let block = statement
                .block
                .as_ref()
                .map(|block| format!("[{}]", drawn(block)));
            words.join(" ") + &block.unwrap_or_default()
        };
        statements.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn parsed(lines: &[&str]) -> (String, usize) {
        let mut report = Report::default();
        let statements = parse(&mut report, lines.iter().map(|text| line(text)).collect());
        (
            drawn(&statements),
            report.finish().err().unwrap_or_default().len(),
        )
    }

    #[test]
    fn braces_may_stand_anywhere() {
        let expected = ("a x[b 1; c[d; e]]; f".to_owned(), 0);
        assert_eq!(
            parsed(&["a x {", "b 1", "c {", "d", "e", "}", "}", "f"]),
            expected
        );
        assert_eq!(
            parsed(&["a x", "{", "b 1", "c", "{ d", "e }", "}", "f"]),
            expected
        );
        assert_eq!(parsed(&["a { b }"]), ("a[b]".to_owned(), 0));
        assert_eq!(parsed(&["a { }"]), ("a[]".to_owned(), 0));
    }

    #[test]
    fn braces_that_do_not_match_are_errors_and_the_rest_is_still_read() {
        assert_eq!(parsed(&["a {", "b"]), ("a[b]".to_owned(), 1));
        assert_eq!(parsed(&["a", "}", "b"]), ("a; b".to_owned(), 1));
        assert_eq!(parsed(&["{", "a", "}"]), ("{[a]".to_owned(), 1));
        assert_eq!(parsed(&["a {"; 100_000]), (String::new(), 1));
    }
}
