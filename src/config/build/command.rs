//! Command lines: split into words as a shell would, without being one.
//!
//! Expansion (`$X`, `*`, `~`, backquotes) and operators (`|`, `&&`, `>`) are absent on purpose: whoever wants a shell
//! says `shell = true`, and whoever wrote an operator by habit is told.

use std::ops::Range;

use toml::Spanned;
use warren_kit::config::Report;

use crate::config::Command;
use crate::config::plan::UserPlan;

const WORDS_MAX: usize = 256;

/// The words of a command; with `shell`, a shell and the line for it.
pub(super) fn argv(report: &mut Report, command: &Spanned<Command>, shell: bool) -> Vec<String> {
    let argv = match (command.get_ref(), shell) {
        (Command::Line(line), true) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        (Command::Words(words), true) => vec!["/bin/sh".into(), "-c".into(), words.join(" ")],
        (Command::Words(words), false) => words.clone(),
        (Command::Line(line), false) => words_of_line(report, command.span(), line),
    };
    let blank = if shell { argv.last() } else { argv.first() };
    if blank.is_none_or(|word| word.trim().is_empty()) {
        report.error(command.span(), "the command is empty", "name a program");
    }
    if argv.iter().any(|word| word.contains('\0')) {
        report.error(command.span(), "the command contains a NUL byte", "remove it");
    }
    report.at_most(command.span(), "words of a command", argv.len(), WORDS_MAX);
    argv
}

fn words_of_line(report: &mut Report, span: Range<usize>, line: &str) -> Vec<String> {
    let Some(words) = split(line) else {
        report.error(
            span,
            "a quotation mark is never closed",
            "close it, or write the command as a list of words",
        );
        return vec![line.to_owned()];
    };
    if let Some(operator) = words.iter().find(|word| word.is_operator()) {
        report.warn(
            span,
            format!(
                "`{}` reaches the program as a word: no shell is run",
                operator.text
            ),
            "run it through a shell (shell = true, or /bin/sh -c '...'), or put it into a script of its own",
        );
    }
    words.into_iter().map(|word| word.text).collect()
}

struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    /// Something only a shell would understand.
    fn is_operator(&self) -> bool {
        let after_number = self.text.trim_start_matches(|c: char| c.is_ascii_digit());
        !self.quoted
            && (["|", "||", "&", "&&", ";", "<"].contains(&self.text.as_str())
                || after_number.starts_with('>')
                || after_number.starts_with("&>")
                || self.text.ends_with(';')
                || self.text.contains("$("))
    }
}

/// Blanks separate; `'...'` keeps everything, `"..."` everything but `\"` and `\\`, `\` the next character. `None`: a
/// quotation mark is not closed.
fn split(line: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let current = word.get_or_insert_with(|| Word {
            text: String::new(),
            quoted: false,
        });
        match c {
            '\'' | '"' => {
                current.quoted = true;
                loop {
                    match characters.next()? {
                        inner if inner == c => break,
                        '\\' if c == '"' && matches!(characters.peek(), Some('"' | '\\')) => {
                            current.text.extend(characters.next());
                        }
                        inner => current.text.push(inner),
                    }
                }
            }
            '\\' => current.text.extend(characters.next()),
            _ => current.text.push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// `"user"` or `"user:group"`. Whether they exist is for the daemon to find out.
pub(super) fn user(report: &mut Report, user: &Spanned<String>) -> UserPlan {
    let text = user.get_ref();
    let (name, group) = match text.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (text.as_str(), None),
    };
    let awkward = |part: &str| part.is_empty() || part.contains(|c: char| c.is_whitespace() || c == ':');
    if awkward(name) || group.is_some_and(awkward) {
        report.error(
            user.span(),
            format!("\"{text}\" names no user"),
            "write \"user\" or \"user:group\"",
        );
    }
    UserPlan {
        user: name.to_owned(),
        group: group.map(str::to_owned),
    }
}

/// The process name that `killall -0 NAME`, `pidof NAME` or `pgrep -x NAME` asks for, if it asks for nothing else.
pub(super) fn asked_process(argv: &[String]) -> Option<&str> {
    const DIRECTORIES: [&str; 6] = [
        "/bin",
        "/sbin",
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/usr/local/sbin",
    ];
    let (program, arguments) = argv.split_first()?;
    let program = match program.rsplit_once('/') {
        None => program,
        Some((directory, program)) if DIRECTORIES.contains(&directory) => program,
        Some(_) => return None,
    };
    let name = match (program, arguments) {
        ("killall", [signal, name]) if signal == "-0" => name,
        ("pidof", [name]) => name,
        ("pgrep", [exact, name]) if exact == "-x" => name,
        _ => return None,
    };
    // pidof takes paths and pgrep patterns: those are theirs to match.
    let plain = |c: char| c.is_alphanumeric() || "_-".contains(c);
    (name.starts_with(|c: char| plain(c) && c != '-') && name.chars().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Option<Vec<String>> {
        split(line).map(|words| words.into_iter().map(|word| word.text).collect())
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (line, words) in [
            ("killall -0 haproxy", vec!["killall", "-0", "haproxy"]),
            ("  a\t b ", vec!["a", "b"]),
            ("a 'b c' \"d e\"f", vec!["a", "b c", "d ef"]),
            (r#"a "b\"c\\d\n" 'e\f'"#, vec!["a", r#"b"c\d\n"#, r"e\f"]),
            (r"a\ b ''", vec!["a b", ""]),
            ("", vec![]),
        ] {
            assert_eq!(
                texts(line),
                Some(words.into_iter().map(str::to_owned).collect()),
                "{line}"
            );
        }
        for unclosed in ["a 'b", "a \"b", "\"\\\""] {
            assert_eq!(texts(unclosed), None, "{unclosed}");
        }
    }

    #[test]
    fn only_a_bare_question_for_a_process_is_answered_natively() {
        let asked = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            asked_process(&words).map(str::to_owned)
        };
        for line in [
            "killall -0 haproxy",
            "/usr/bin/killall -0 haproxy",
            "pidof haproxy",
            "/bin/pidof haproxy",
            "pgrep -x haproxy",
        ] {
            assert_eq!(asked(line).as_deref(), Some("haproxy"), "{line}");
        }
        for line in [
            "killall haproxy",
            "killall -9 haproxy",
            "killall -0 -u root haproxy",
            "killall -0 a b",
            "pidof -x haproxy",
            "pidof /usr/sbin/haproxy",
            "pgrep haproxy",
            "pgrep -x hap.*",
            "/opt/killall -0 haproxy",
            "pidof -s",
            "pidof",
        ] {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    #[test]
    fn operators_of_a_shell_are_recognised_unless_quoted() {
        let operators = |line: &str| {
            split(line)
                .unwrap()
                .iter()
                .filter(|word| word.is_operator())
                .count()
        };
        for line in [
            "a | b",
            "a && b",
            "a || exit 1",
            "a > /dev/null",
            "a >/dev/null",
            "a 2>&1",
            "a; b",
            "kill -0 $(pidof a)",
        ] {
            assert_ne!(operators(line), 0, "{line}");
        }
        for line in ["a '|' b", "a --if=x>y", "a http://b/?c&d", "sh -c 'a && b'"] {
            assert_eq!(operators(line), 0, "{line}");
        }
    }
}
