//! The text of a keepalived.conf with everything that is done to it before its grammar begins: comments, `include`,
//! `$NAME=value` and `$NAME`, lines for one host (`@host ...`).
//!
//! What comes out is lines of words, each with the place it came from. A word that came out of a `$NAME` has the
//! place where the `$NAME` stands. Absent: `~SEQ` and `~LST` blocks, definitions of several lines and brace expansion
//! in file names; each is refused by name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use warren_kit::config::{ConfigError, Report, Sources, suggestion};
use warren_kit::diagnostics::SourceFile;

use super::glob;

const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 256;
const LINES_MAX: usize = 200_000;
const EXPANSIONS_MAX: usize = 64;
const EXPANDED_MAX: usize = 65_536;

/// One word, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
    /// A quoted brace or keyword is only text.
    pub(super) quoted: bool,
}

/// The words of a line; at least one.
pub(super) type Line = Vec<Word>;

/// A character and the place it came from.
#[derive(Clone, Copy)]
struct Character {
    value: char,
    start: usize,
    end: usize,
}

/// Reads a file and all it includes.
pub(super) struct Reader<'a> {
    /// What `@` lines are compared with.
    host: &'a str,
    pub(super) sources: Sources,
    pub(super) lines: Vec<Line>,
    definitions: BTreeMap<String, String>,
    files: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(host: &'a str) -> Self {
        Self {
            host,
            sources: Sources::default(),
            lines: Vec::new(),
            definitions: BTreeMap::new(),
            files: 0,
        }
    }

    /// The main file must be there.
    pub(super) fn read(&mut self, report: &mut Report, path: &Path) -> Result<(), ConfigError> {
        let file = warren_kit::config::read(path)?;
        self.add(report, path, file, 0);
        Ok(())
    }

    fn add(&mut self, report: &mut Report, path: &Path, file: SourceFile, depth: usize) {
        self.files += 1;
        let text = file.text.clone();
        let base = self.sources.add(file);
        let mut offset = base;
        for line in text.split_inclusive('\n') {
            let start = offset;
            offset += line.len();
            if self.lines.len() >= LINES_MAX {
                report.error(
                    start..start,
                    format!("more than {LINES_MAX} lines"),
                    "split the configuration",
                );
                return;
            }
            self.add_line(report, path, line.trim_end_matches(['\n', '\r']), start, depth);
        }
    }

    fn add_line(&mut self, report: &mut Report, path: &Path, line: &str, start: usize, depth: usize) {
        let mut characters: Vec<Character> = line
            .char_indices()
            .map(|(at, value)| Character {
                value,
                start: start + at,
                end: start + at + value.len_utf8(),
            })
            .collect();
        if !self.is_for_this_host(&mut characters) || self.define(report, &characters) {
            return;
        }
        if !self.expand(report, &mut characters) || !self.is_for_this_host(&mut characters) {
            return;
        }
        let words = split(report, &characters);
        match words.first() {
            None => {}
            Some(word)
                if !word.quoted && word.text.starts_with("include") && word.text != "include_check" =>
            {
                self.include(report, path, &words, depth);
            }
            Some(word) if !word.quoted && word.text.starts_with('~') => report.error(
                word.span.clone(),
                format!("`{}` is not supported", word.text),
                "write the lines out that it stands for",
            ),
            Some(_) => self.lines.push(words),
        }
    }

    /// `@host rest` and `@^host rest`: cuts the condition off, or says that the line is not for us.
    fn is_for_this_host(&self, characters: &mut Vec<Character>) -> bool {
        let Some(at) = characters.iter().position(|c| !c.value.is_whitespace()) else {
            return true;
        };
        if characters[at].value != '@' {
            return true;
        }
        let condition_end = characters[at..]
            .iter()
            .position(|c| c.value.is_whitespace())
            .map_or(characters.len(), |length| at + length);
        let condition: String = characters[at + 1..condition_end]
            .iter()
            .map(|c| c.value)
            .collect();
        let applies = match condition.strip_prefix('^') {
            Some(other) => other != self.host,
            None => condition == self.host,
        };
        characters.drain(..condition_end);
        applies
    }

    /// `$NAME=value`; true if the line was one.
    fn define(&mut self, report: &mut Report, characters: &[Character]) -> bool {
        let text: String = characters.iter().map(|c| c.value).collect();
        let Some((name, value)) = text
            .trim_start()
            .strip_prefix('$')
            .and_then(|rest| rest.split_once('='))
        else {
            return false;
        };
        let name_bytes = name.bytes();
        let is_name = name_bytes
            .clone()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name_bytes
                .clone()
                .next()
                .is_some_and(|byte| !byte.is_ascii_digit());
        if !is_name {
            return false;
        }
        let value = value.trim_end();
        if value.ends_with('\\') {
            let span = characters.first().map_or(0, |c| c.start)..characters.last().map_or(0, |c| c.end);
            report.error(
                span,
                "a definition of several lines is not supported",
                "write it on one line",
            );
        }
        self.definitions.insert(name.to_owned(), value.to_owned());
        true
    }

    /// Replaces `${NAME}` and `$NAME` before a blank; what is not defined stays as it is. False if it never ends.
    fn expand(&self, report: &mut Report, characters: &mut Vec<Character>) -> bool {
        if self.definitions.is_empty() {
            return true;
        }
        let mut from = 0;
        let mut expansions = 0;
        while let Some(dollar) = characters
            .iter()
            .skip(from)
            .position(|c| c.value == '$')
            .map(|at| at + from)
        {
            from = dollar + 1;
            let Some((length, name)) = name_at(&characters[dollar..]) else {
                continue;
            };
            let Some(value) = self.definitions.get(&name) else {
                continue;
            };
            let (start, end) = (characters[dollar].start, characters[dollar + length - 1].end);
            expansions += 1;
            if expansions > EXPANSIONS_MAX || characters.len() + value.len() > EXPANDED_MAX {
                report.error(
                    start..end,
                    format!("${name} never ends"),
                    "it contains itself, or is far too long",
                );
                return false;
            }
            let replacement = value.chars().map(|value| Character { value, start, end });
            characters.splice(dollar..dollar + length, replacement);
            // The value may contain further names.
            from = dollar;
        }
        true
    }

    fn include(&mut self, report: &mut Report, path: &Path, words: &[Word], depth: usize) {
        const VARIANTS: [&str; 6] = [
            "include", "includer", "includem", "includew", "includeb", "includea",
        ];
        let [keyword, patterns @ ..] = words else { return };
        let span = keyword.span.clone();
        if !VARIANTS.contains(&keyword.text.as_str()) {
            let help = suggestion(&keyword.text, VARIANTS.into_iter());
            return report.error(span, format!("unknown keyword `{}`", keyword.text), help);
        }
        let [pattern] = patterns else {
            return report.error(
                span,
                "`include` takes one file name",
                "write `include FILE`, once for each",
            );
        };
        if pattern.text.contains(['{', '}']) {
            return report.error(
                pattern.span.clone(),
                "braces in file names are not supported",
                "write one `include` for each",
            );
        }
        if depth >= DEPTH_MAX {
            return report.error(
                pattern.span.clone(),
                format!("files include each other more than {DEPTH_MAX} deep"),
                "a file probably includes itself: remove that line",
            );
        }
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let files = glob::matching(&directory.join(&pattern.text));
        if files.is_empty() {
            self.nothing_to_include(report, &keyword.text, pattern);
        }
        for file in files {
            self.include_file(report, &file, pattern, depth);
        }
    }

    /// keepalived passes over a plain `include` of nothing; so do we, but not in silence.
    fn nothing_to_include(&self, report: &mut Report, variant: &str, pattern: &Word) {
        let message = format!("no file matches {}", pattern.text);
        let wildcard = glob::is_pattern(&pattern.text);
        match (variant, wildcard) {
            ("includew" | "includea", _) | ("includem" | "includeb", false) => {
                report.error(
                    pattern.span.clone(),
                    message,
                    "create the file, or remove the line",
                );
            }
            (_, true) => {}
            (_, false) => report.warn(
                pattern.span.clone(),
                message,
                "create the file, or remove the line",
            ),
        }
    }

    fn include_file(&mut self, report: &mut Report, file: &Path, pattern: &Word, depth: usize) {
        if self.files >= FILES_MAX {
            return report.error(
                pattern.span.clone(),
                format!("more than {FILES_MAX} files"),
                "put them together",
            );
        }
        match warren_kit::config::read(file) {
            Ok(source) => self.add(report, file, source, depth + 1),
            Err(error) => {
                report.error(
                    pattern.span.clone(),
                    error.to_string(),
                    "make it readable, or remove the line",
                );
            }
        }
    }
}

/// The name after a `$` and how many characters both are.
fn name_at(characters: &[Character]) -> Option<(usize, String)> {
    let part = |c: &Character| c.value.is_ascii_alphanumeric() || c.value == '_';
    let braced = characters.get(1)?.value == '{';
    let start = if braced { 2 } else { 1 };
    let name: String = characters
        .iter()
        .skip(start)
        .take_while(|c| part(c))
        .map(|c| c.value)
        .collect();
    let end = start + name.len();
    let next = characters.get(end).map(|c| c.value);
    if name.is_empty() {
        None
    } else if braced {
        (next == Some('}')).then_some((end + 1, name))
    } else {
        next.is_none_or(char::is_whitespace).then_some((end, name))
    }
}

/// Words are separated by blanks; `"..."` and `'...'` keep blanks together and know escapes; `#` and `!` begin a comment
/// anywhere outside quotes; braces stand alone even when glued to a word.
fn split(report: &mut Report, characters: &[Character]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        at += 1;
        match c.value {
            '#' | '!' => {
                if let Some(cut) = &word {
                    let help = format!(
                        "put a blank before `{0}` if a comment is meant, or the word in quotes",
                        c.value
                    );
                    report.warn(
                        cut.span.start..c.end,
                        format!("the word ends here: `{}` begins a comment", c.value),
                        help,
                    );
                }
                break;
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            '"' | '\'' => {
                let current = word.get_or_insert_with(|| Word {
                    text: String::new(),
                    span: c.start..c.end,
                    quoted: true,
                });
                current.quoted = true;
                let closed = quoted(current, characters, &mut at, c.value);
                current.span.end = characters.get(at.wrapping_sub(1)).map_or(c.end, |last| last.end);
                if !closed {
                    report.error(
                        current.span.clone(),
                        "a quotation mark is never closed",
                        format!("close it with `{}`", c.value),
                    );
                }
            }
            brace @ ('{' | '}')
                if stands_alone(brace, word.as_ref(), characters, at) && !is_password(&words) =>
            {
                words.extend(word.take());
                words.push(Word {
                    text: brace.into(),
                    span: c.start..c.end,
                    quoted: false,
                });
            }
            value => {
                let current = word.get_or_insert_with(|| Word {
                    text: String::new(),
                    span: c.start..c.end,
                    quoted: false,
                });
                current.text.push(value);
                current.span.end = c.end;
            }
        }
    }
    words.extend(word);
    words
}

/// Not inside `${NAME}` that nobody defined, nor in the middle of a word.
fn stands_alone(brace: char, word: Option<&Word>, characters: &[Character], at: usize) -> bool {
    let Some(word) = word else { return true };
    let open_name = word
        .text
        .rfind("${")
        .is_some_and(|open| !word.text[open..].contains('}'));
    let at_end = characters
        .get(at)
        .is_none_or(|next| next.value.is_whitespace() || next.value == '}');
    !open_name && at_end && !(brace == '{' && word.text.ends_with('$'))
}

fn is_password(words: &[Word]) -> bool {
    matches!(words, [keyword] if keyword.text == "auth_pass")
}

/// Takes characters up to the closing quotation mark; false if there is none.
fn quoted(word: &mut Word, characters: &[Character], at: &mut usize, mark: char) -> bool {
    while let Some(c) = characters.get(*at) {
        *at += 1;
        if c.value == mark {
            return true;
        }
        if c.value != '\\' {
            word.text.push(c.value);
            continue;
        }
        let Some(escaped) = characters.get(*at) else {
            return false;
        };
        *at += 1;
        match escaped.value {
            'a' => word.text.push('\x07'),
            'b' => word.text.push('\x08'),
            'E' => word.text.push('\x1b'),
            'f' => word.text.push('\x0c'),
            'n' => word.text.push('\n'),
            'r' => word.text.push('\r'),
            't' => word.text.push('\t'),
            'v' => word.text.push('\x0b'),
            'x' => push_number(word, characters, at, 16, 2, 0),
            digit @ '0'..='7' => push_number(word, characters, at, 8, 2, digit.to_digit(8).unwrap_or(0)),
            other => word.text.push(other),
        }
    }
    false
}

fn push_number(
    word: &mut Word,
    characters: &[Character],
    at: &mut usize,
    radix: u32,
    digits: usize,
    start: u32,
) {
    let mut value = start;
    for _ in 0..digits {
        let Some(digit) = characters.get(*at).and_then(|c| c.value.to_digit(radix)) else {
            break;
        };
        value = value * radix + digit;
        *at += 1;
    }
    word.text.extend(char::from_u32(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, host: &str) -> (Vec<Vec<String>>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keepalived.conf");
        std::fs::write(&path, text).unwrap();
        let mut report = Report::default();
        let mut reader = Reader::new(host);
        reader.read(&mut report, &path).unwrap();
        let lines = reader
            .lines
            .iter()
            .map(|line| line.iter().map(|word| word.text.clone()).collect())
            .collect();
        let said = report
            .finish()
            .unwrap_or_else(|errors| errors)
            .iter()
            .map(|one| one.message.clone())
            .collect();
        (lines, said)
    }

    fn words(line: &str) -> Vec<String> {
        lines(line, "alpha").0.into_iter().flatten().collect()
    }

    #[test]
    fn words_quotes_comments_and_braces() {
        for (line, expected) in [
            ("priority 101 # comment", vec!["priority", "101"]),
            ("priority 101 ! comment", vec!["priority", "101"]),
            ("  ", vec![]),
            (
                "script \"killall -0 haproxy\"",
                vec!["script", "killall -0 haproxy"],
            ),
            ("abcd\" efg h jkl \"mnop x", vec!["abcd efg h jkl mnop", "x"]),
            (
                r#"a "b\"c\\d\te\x41\101" 'it"s'"#,
                vec!["a", "b\"c\\d\teAA", "it\"s"],
            ),
            ("a '#!' b", vec!["a", "#!", "b"]),
            ("track_script { chk }", vec!["track_script", "{", "chk", "}"]),
            ("track_script {chk}", vec!["track_script", "{", "chk", "}"]),
            ("virtual_ipaddress{", vec!["virtual_ipaddress", "{"]),
            ("auth_pass a{b}", vec!["auth_pass", "a{b}"]),
            ("script \"{}\"", vec!["script", "{}"]),
            ("a ${UNDEFINED} b", vec!["a", "${UNDEFINED}", "b"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn a_comment_sign_inside_a_word_is_said() {
        let (lines, said) = lines("auth_pass abc!def\n", "alpha");
        assert_eq!(lines, [["auth_pass", "abc"]]);
        assert_eq!(said, ["the word ends here: `!` begins a comment"]);
    }

    #[test]
    fn definitions_are_replaced_when_used_and_may_contain_others() {
        let text = "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.100/32\n$SUB=10\n${BASE}.100/32\n$LIST=a b\nx $LIST y $BASEx\n";
        let (lines, said) = lines(text, "alpha");
        assert_eq!(
            lines,
            [
                vec!["10.2.0.100/32"],
                vec!["10.2.10.100/32"],
                vec!["x", "a", "b", "y", "$BASEx"]
            ]
        );
        assert!(said.is_empty());
    }

    #[test]
    fn a_definition_that_contains_itself_is_an_error() {
        let (_, said) = lines("$A=${A}x\ny ${A}\n", "alpha");
        assert_eq!(said, ["$A never ends"]);
    }

    #[test]
    fn lines_for_other_hosts_are_left_out() {
        let text = "@alpha priority 1\n@beta priority 2\n@^beta state BACKUP\n@^alpha state MASTER\n@alpha $P=5\nvrid $P\n";
        let (lines, _) = lines(text, "alpha");
        assert_eq!(lines, [["priority", "1"], ["state", "BACKUP"], ["vrid", "5"]]);
    }

    #[test]
    fn the_place_of_an_expanded_word_is_that_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keepalived.conf");
        std::fs::write(&path, "$P=300\npriority $P\n").unwrap();
        let mut reader = Reader::new("alpha");
        reader.read(&mut Report::default(), &path).unwrap();
        assert_eq!(reader.lines[0][1].span, 16..18);
    }
}
