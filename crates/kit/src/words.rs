//! A command written as one line, taken apart into words as a shell would, without running a shell.
//!
//! Single quotes, double quotes and backslashes mean what they mean to a shell. Variables, patterns, pipes and
//! redirections do not exist here and stand for themselves: who wants them writes `sh -c '...'`.

/// Each error carries the byte offset it is about, for a caret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("the quote {quote} at column {column} is never closed: close it, or write \\{quote} for the character itself", column = .at + 1)]
    Unclosed { quote: char, at: usize },
    #[error(
        "the command ends with a backslash that has nothing to escape: remove it, or write \\\\ for the character itself"
    )]
    Backslash { at: usize },
    #[error("the command is empty: write a program and its arguments")]
    Empty,
    #[error("the command contains a NUL character at column {column}, which no argument can", column = .at + 1)]
    Nul { at: usize },
}

impl SplitError {
    /// The byte of the command that is wrong.
    pub fn at(&self) -> usize {
        match self {
            Self::Unclosed { at, .. } | Self::Backslash { at } | Self::Nul { at } => *at,
            Self::Empty => 0,
        }
    }
}

/// At least one word, or an error.
pub fn split_command(command: &str) -> Result<Vec<String>, SplitError> {
    if let Some(at) = command.find('\0') {
        return Err(SplitError::Nul { at });
    }
    let mut words = Vec::new();
    // `None` between words: "" is a word of no letters.
    let mut word: Option<String> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut characters = command.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some((open, _)), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some((character, at));
                word.get_or_insert_default();
            }
            (None, '\\') => match characters.next() {
                Some((_, '\n')) => {}
                Some((_, escaped)) => word.get_or_insert_default().push(escaped),
                None => return Err(SplitError::Backslash { at }),
            },
            // Between double quotes a backslash escapes only what would be special there.
            (Some(('"', _)), '\\') => {
                match characters.next_if(|(_, next)| matches!(next, '"' | '\\' | '$' | '`' | '\n')) {
                    Some((_, '\n')) => {}
                    Some((_, escaped)) => word.get_or_insert_default().push(escaped),
                    None => word.get_or_insert_default().push('\\'),
                }
            }
            (None, ' ' | '\t' | '\n' | '\r') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if let Some((quote, at)) = quote {
        return Err(SplitError::Unclosed { quote, at });
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        Err(SplitError::Empty)
    } else {
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (command, expected) in [
            ("a 'b c' \"d\"", vec!["a", "b c", "d"]),
            ("  killall\t-0  haproxy\n", vec!["killall", "-0", "haproxy"]),
            ("a b\\ c 'd'\"e\"f", vec!["a", "b c", "def"]),
            ("a '' \"\"", vec!["a", "", ""]),
            (r#"a "b\"c\\d\e" 'f\g'"#, vec!["a", r#"b"c\d\e"#, r"f\g"]),
            ("a $HOME *|; \"$x\"", vec!["a", "$HOME", "*|;", "$x"]),
            ("a \\\nb", vec!["a", "b"]),
            ("größe 'ü'", vec!["größe", "ü"]),
        ] {
            assert_eq!(split_command(command).unwrap(), expected, "{command}");
        }
    }

    #[test]
    fn each_mistake_says_where_it_is() {
        assert_eq!(
            split_command("a 'b"),
            Err(SplitError::Unclosed { quote: '\'', at: 2 })
        );
        assert_eq!(
            split_command("a \"b'"),
            Err(SplitError::Unclosed { quote: '"', at: 2 })
        );
        assert_eq!(split_command("a\\"), Err(SplitError::Backslash { at: 1 }));
        assert_eq!(split_command("a\0"), Err(SplitError::Nul { at: 1 }));
        for empty in ["", "  ", "''", "\"\" x"] {
            assert_eq!(split_command(empty), Err(SplitError::Empty), "{empty}");
        }
        let message = split_command("a 'b").unwrap_err().to_string();
        assert_eq!(
            message,
            "the quote ' at column 3 is never closed: close it, or write \\' for the character itself"
        );
    }
}
