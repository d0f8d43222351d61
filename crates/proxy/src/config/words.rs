//! A line taken apart into words, as HAProxy does (its manual, "Quoting and escaping").
//!
//! Outside quotes a backslash protects a blank, `#`, a quote or itself and makes `\n`, `\r`, `\t` and `\xNN`; in front of
//! anything else it stays. Within `"` the same, plus `\$`, and `$NAME`, `${NAME}`, `${NAME-default}` and `${NAME[*]}`
//! are replaced. Within `'` nothing means anything. `#` ends the line, wherever it stands.

use std::ops::Range;

/// The most words of one line, as in HAProxy.
const WORDS_MAX: usize = 64;
/// Nor may variables make a line longer than this.
const LINE_BYTES_MAX: usize = 1 << 16;

/// A word with its quotes and escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Where it stands, quotes included.
    pub(super) span: Range<usize>,
    /// A variable was replaced in it.
    pub(super) expanded: bool,
}

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) span: Range<usize>,
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

/// Takes one line apart. `base` is added to all places; `variable` knows the environment.
pub(super) fn split(
    line: &str,
    base: usize,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Word>, Malformed> {
    let splitter = Splitter {
        text: line,
        at: 0,
        base,
        variable,
        words: Vec::new(),
        current: None,
        bytes: 0,
    };
    splitter.run()
}

struct Splitter<'a> {
    text: &'a str,
    at: usize,
    base: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
    words: Vec<Word>,
    /// The word being read: its octets, where it began, and whether a variable was in it.
    current: Option<(Vec<u8>, usize, bool)>,
    bytes: usize,
}

impl Splitter<'_> {
    fn run(mut self) -> Result<Vec<Word>, Malformed> {
        let mut quote: Option<(u8, usize)> = None;
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            match (quote, byte) {
                (None, b'#') => break,
                (None, b' ' | b'\t' | b'\r') => {
                    self.at += 1;
                    self.finish(start)?;
                }
                (None, b'"' | b'\'') => {
                    self.at += 1;
                    self.begin(start);
                    quote = Some((byte, start));
                }
                (Some((open, _)), close) if open == close => {
                    self.at += 1;
                    quote = None;
                }
                (Some((b'\'', _)), _) => self.copy(start),
                (_, b'\\') => self.escape(start, quote.is_some())?,
                (Some(_), b'$') => self.expand(start)?,
                _ => self.copy(start),
            }
            if self.bytes > LINE_BYTES_MAX {
                return Err(self.malformed(start, "this line becomes too long", "shorten its variables"));
            }
        }
        if let Some((_, start)) = quote {
            return Err(self.malformed(
                start,
                "this quote is never closed",
                "close it on the same line, or write a backslash before it",
            ));
        }
        let end = self.at;
        self.finish(end)?;
        Ok(self.words)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn begin(&mut self, start: usize) -> &mut Vec<u8> {
        &mut self.current.get_or_insert((Vec::new(), start, false)).0
    }

    fn put(&mut self, start: usize, byte: u8) {
        self.begin(start).push(byte);
        self.bytes += 1;
    }

    fn copy(&mut self, start: usize) {
        if let Some(byte) = self.peek(0) {
            self.put(start, byte);
        }
        self.at += 1;
    }

    fn finish(&mut self, end: usize) -> Result<(), Malformed> {
        let Some((octets, start, expanded)) = self.current.take() else {
            return Ok(());
        };
        if self.words.len() == WORDS_MAX {
            return Err(self.malformed(start, "too many words on one line", "64 are the most"));
        }
        let Ok(text) = String::from_utf8(octets) else {
            return Err(self.malformed(start, "the escapes of this word do not make text", "write UTF-8"));
        };
        self.words.push(Word {
            text,
            span: self.base + start..self.base + end,
            expanded,
        });
        Ok(())
    }

    fn escape(&mut self, start: usize, in_quotes: bool) -> Result<(), Malformed> {
        let (byte, length) = match self.peek(1) {
            Some(next @ (b' ' | b'\t' | b'\\' | b'#' | b'"' | b'\'')) => (next, 2),
            Some(b'$') if in_quotes => (b'$', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => {
                let digit = |ahead| {
                    self.peek(ahead)
                        .and_then(|byte| char::from(byte).to_digit(16))
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                let (Some(high), Some(low)) = (digit(2), digit(3)) else {
                    return Err(self.malformed(
                        start,
                        "`\\x` without two hexadecimal digits",
                        "write two digits, such as \\x20, or \\\\x",
                    ));
                };
                (high * 16 + low, 4)
            }
            _ => (b'\\', 1),
        };
        self.put(start, byte);
        self.at += length;
        Ok(())
    }

    fn expand(&mut self, start: usize) -> Result<(), Malformed> {
        let rest = self.text.get(start + 1..).unwrap_or_default();
        let braced = rest.starts_with('{');
        let rest = if braced {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = rest
            .split(|c| !is_name(c))
            .next()
            .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        let Some(name) = name else {
            return Err(self.malformed(
                start,
                "`$` without the name of a variable",
                "write \\$ for the sign itself",
            ));
        };
        let mut end = start + 1 + usize::from(braced) + name.len();
        let (mut list, mut default) = (false, None);
        if braced {
            let mut tail = rest.get(name.len()..).unwrap_or_default();
            if let Some(after) = tail.strip_prefix("[*]") {
                list = true;
                end += 3;
                tail = after;
            }
            let Some(close) = tail.find('}') else {
                return Err(self.malformed(start, "this brace is never closed", "write ${NAME}"));
            };
            match tail.get(..close) {
                Some("") => {}
                Some(text) if text.starts_with('-') => default = text.get(1..),
                _ => {
                    return Err(self.malformed(
                        start,
                        "no variable is written so",
                        "write ${NAME}, ${NAME-default} or ${NAME[*]}",
                    ));
                }
            }
            end += close + 1;
        }
        let value = (self.variable)(name)
            .or_else(|| default.map(str::to_owned))
            .unwrap_or_default();
        self.at = end;
        if list {
            for (index, part) in value.split_ascii_whitespace().enumerate() {
                if index > 0 {
                    self.finish(end)?;
                }
                self.begin(start);
                self.append(part);
            }
        } else {
            self.begin(start);
            self.append(&value);
        }
        Ok(())
    }

    fn append(&mut self, text: &str) {
        if let Some((octets, _, expanded)) = &mut self.current {
            octets.extend_from_slice(text.as_bytes());
            *expanded = true;
            self.bytes += text.len();
        }
    }

    fn malformed(&self, start: usize, message: &'static str, help: &'static str) -> Malformed {
        Malformed {
            span: self.base + start..self.base + self.text.len(),
            message,
            help,
        }
    }
}

/// Words as one line that [`split`] takes apart into the same ones.
pub(super) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = words.into_iter().map(|word| {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\\\"'#".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else if !word.contains(|c: char| c == '\'' || c.is_control()) {
            format!("'{word}'")
        } else {
            let mut text = String::from("\"");
            for c in word.chars() {
                match c {
                    '\n' => text += "\\n",
                    '\r' => text += "\\r",
                    '\t' => text += "\\t",
                    '"' | '\\' | '$' => text.extend(['\\', c]),
                    _ => text.push(c),
                }
            }
            text + "\""
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "LIST" => Some("a b  c".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn words(line: &str) -> Vec<String> {
        let words = split(line, 0, &environment).unwrap();
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn the_examples_of_the_manual_are_all_the_same() {
        for line in [
            r"log-format %{+Q}o\ %t\ %s\ %{-Q}r",
            r#"log-format "%{+Q}o %t %s %{-Q}r""#,
            r"log-format '%{+Q}o %t %s %{-Q}r'",
            r#"log-format "%{+Q}o %t"' %s %{-Q}r'"#,
            r#"log-format "%{+Q}o %t"' %s'\ %{-Q}r"#,
        ] {
            assert_eq!(words(line), ["log-format", "%{+Q}o %t %s %{-Q}r"], "{line}");
        }
    }

    #[test]
    fn escapes_mean_what_they_mean_in_haproxy() {
        assert_eq!(
            words(r"a\ b \# \\ \' \x41 \q x\"),
            ["a b", "#", "\\", "'", "A", r"\q", "x\\"]
        );
        assert_eq!(words(r#""\$HOST" '\$HOST' $HOST"#), ["$HOST", r"\$HOST", "$HOST"]);
        assert_eq!(words("a#b c"), ["a"]);
        assert_eq!(words(r#""" x ''"#), ["", "x", ""]);
    }

    #[test]
    fn variables_are_replaced_within_double_quotes_only() {
        assert_eq!(words(r#""$HOST:80" "${HOST}x""#), ["10.0.0.1:80", "10.0.0.1x"]);
        assert_eq!(
            words(r#""${NONE-1.2.3.4}" "${EMPTY-x}" "$NONE""#),
            ["1.2.3.4", "", ""]
        );
        assert_eq!(words(r#"x "${LIST[*]}" y"#), ["x", "a", "b", "c", "y"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (line, message, start) in [
            ("a \"b", "this quote is never closed", 2),
            ("a 'b", "this quote is never closed", 2),
            (r"a \x4", "`\\x` without two hexadecimal digits", 2),
            ("\"$1\"", "`$` without the name of a variable", 1),
            ("\"${A\"", "this brace is never closed", 1),
        ] {
            let error = split(line, 0, &environment).unwrap_err();
            assert_eq!((error.message, error.span.start), (message, start), "{line}");
        }
        let many = "x ".repeat(65);
        assert!(split(&many, 0, &environment).is_err());
    }

    #[test]
    fn places_include_the_quotes() {
        let words = split(r#"ab "c d"  e"#, 100, &environment).unwrap();
        let spans: Vec<_> = words.into_iter().map(|word| word.span).collect();
        assert_eq!(spans, [100..102, 103..108, 110..111]);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in any::<String>()) {
            let _ = split(&line, 0, &environment);
        }

        #[test]
        fn joined_words_come_apart_again(words in prop::collection::vec("[ -~é\n\t]{0,12}", 1..8)) {
            let line = join(words.iter().map(String::as_str));
            let again = split(&line, 0, &environment).unwrap();
            prop_assert_eq!(again.into_iter().map(|word| word.text).collect::<Vec<_>>(), words);
        }
    }
}
