//! `.if`, `.elif`, `.else`, `.endif`: parts of a file that count or do not, and lines that only say something.
//!
//! ```text
//!   either  = both { "||" both }            term = "!" term | "(" either ")" | INTEGER | predicate
//!   both    = term { "&&" term }            predicate = NAME [ "(" [ ARGUMENT { "," ARGUMENT } ] ")" ]
//! ```
//!
//! As in HAProxy, quotes and variables are dealt with before a condition is read, nothing at all does not hold, and what
//! follows a part that counted is not even looked at.

use std::ops::Range;

use warren_kit::config::{Report, suggestion};

use super::keyword::Statement;

/// How deep parts may be inside each other.
const DEPTH_MAX: usize = 16;
/// The same of parentheses and `!` in a condition.
const NESTING_MAX: usize = 64;
/// The version that files are read as.
const VERSION: &str = "2.6.12";
/// The version of OpenSSL whose abilities the TLS library has.
const TLS_VERSION: &str = "3.0.0";
/// What HAProxy may be built with and is here, by its names.
const FEATURES: [&str; 11] = [
    "ACCEPT4",
    "EPOLL",
    "GETADDRINFO",
    "LINUX_SPLICE",
    "OPENSSL",
    "POLL",
    "PRCTL",
    "PROMEX",
    "SYSTEMD",
    "THREAD",
    "TPROXY",
];

const PREDICATES: [&str; 9] = [
    "defined",
    "feature",
    "openssl_version_atleast",
    "openssl_version_before",
    "ssllib_name_startswith",
    "streq",
    "strneq",
    "version_atleast",
    "version_before",
];

/// Which part of a file the reader is in.
#[derive(Debug, Default)]
pub(super) struct Conditional {
    /// From the outermost inwards.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    /// Of `.if`.
    begin: Range<usize>,
    /// It counts, if all around it do.
    counts: bool,
    /// One of its alternatives has counted, or none may.
    settled: bool,
    /// `.else` has come.
    last: bool,
}

impl Conditional {
    /// Whether lines here count.
    pub(super) fn counts(&self) -> bool {
        self.parts.iter().all(|part| part.counts)
    }

    /// Every `.if` has its `.endif` in the same file.
    pub(super) fn leave_file(&mut self, report: &mut Report) {
        if let Some(part) = self.parts.pop() {
            report.error(
                part.begin,
                "this `.if` has no end",
                "write `.endif` after the last line of the part",
            );
        }
        self.parts.clear();
    }

    /// A line that begins with a dot.
    pub(super) fn directive(
        &mut self,
        report: &mut Report,
        statement: &Statement,
        environment: &dyn Fn(&str) -> Option<String>,
    ) {
        const DIRECTIVES: [&str; 8] = [
            ".if", ".elif", ".else", ".endif", ".diag", ".notice", ".warning", ".alert",
        ];
        let words = statement.words.get(1..).unwrap_or_default();
        let rest: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let rest = rest.join(" ");
        match statement.keyword() {
            ".if" => {
                let around = self.counts();
                let counts = around && holds(report, statement, &rest, environment);
                self.parts.push(Part {
                    begin: statement.whole(),
                    counts,
                    settled: !around || counts,
                    last: false,
                });
                if self.parts.len() > DEPTH_MAX {
                    let said = format!("more than {DEPTH_MAX} parts inside each other");
                    report.error(statement.whole(), said, "write several files");
                    self.parts.pop();
                }
            }
            word @ (".elif" | ".else") => {
                let Some(part) = self.parts.last_mut() else {
                    report.error(
                        statement.whole(),
                        format!("`{word}` without an `.if` before it"),
                        "write `.if CONDITION` above it, or remove it",
                    );
                    return;
                };
                if part.last {
                    report.error(
                        statement.whole(),
                        format!("`{word}` after `.else`"),
                        "`.else` is the last part",
                    );
                    return;
                }
                part.last = word == ".else";
                part.counts = !part.settled && (part.last || holds(report, statement, &rest, environment));
                part.settled |= part.counts;
            }
            ".endif" => {
                if self.parts.pop().is_none() {
                    let said = "`.endif` without an `.if` before it";
                    report.error(statement.whole(), said, "remove it");
                }
            }
            _ if !self.counts() => {}
            ".warning" => report.warn(statement.whole(), rest, "the file says so"),
            ".alert" => report.error(statement.whole(), rest, "the file says so"),
            ".diag" | ".notice" => {}
            other => report.error(
                statement.whole(),
                format!("unknown directive `{other}`"),
                suggestion(other, DIRECTIVES.into_iter()),
            ),
        }
    }
}

/// Whether a condition holds. One that is none is said, and does not.
fn holds(
    report: &mut Report,
    statement: &Statement,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> bool {
    if text.trim().is_empty() {
        return false;
    }
    let mut reader = Reader {
        rest: text,
        depth: 0,
        environment,
    };
    let held = reader.either().and_then(|held| match reader.rest.trim() {
        "" => Ok(held),
        rest => Err(format!("`{rest}` follows the condition")),
    });
    held.unwrap_or_else(|said| {
        report.error(
            statement.whole(),
            format!("this is no condition: {said}"),
            format!("write a number, or one of {}", PREDICATES.join(", ")),
        );
        false
    })
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn either(&mut self) -> Result<bool, String> {
        let mut held = self.both()?;
        while self.takes("||") {
            held |= self.both()?;
        }
        Ok(held)
    }

    fn both(&mut self) -> Result<bool, String> {
        let mut held = self.term()?;
        while self.takes("&&") {
            held &= self.term()?;
        }
        Ok(held)
    }

    fn term(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(format!("more than {NESTING_MAX} parentheses inside each other"));
        }
        let held = if self.takes("!") {
            !self.term()?
        } else if self.takes("(") {
            let held = self.either()?;
            if !self.takes(")") {
                return Err("a parenthesis is never closed".to_owned());
            }
            held
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(held)
    }

    fn takes(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn predicate(&mut self) -> Result<bool, String> {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if let Ok(number) = name.parse::<i64>() {
            self.rest = rest;
            return Ok(number != 0);
        }
        if !PREDICATES.contains(&name) {
            let meant = suggestion(name, PREDICATES.into_iter());
            return Err(format!("`{}` is unknown ({meant})", self.rest));
        }
        self.rest = rest;
        let arguments = match rest.strip_prefix('(') {
            None => Vec::new(),
            Some(inside) => {
                let Some((inside, after)) = inside.split_once(')') else {
                    return Err(format!("`)` is missing after `{name}(`"));
                };
                self.rest = after;
                inside
                    .split(',')
                    .map(|argument| argument.trim().to_owned())
                    .collect()
            }
        };
        let wanted = if ["streq", "strneq"].contains(&name) { 2 } else { 1 };
        if arguments.len() > wanted || (wanted == 2 && arguments.len() < 2) {
            return Err(format!(
                "`{name}` has {} arguments and needs {wanted}",
                arguments.len()
            ));
        }
        let first = arguments.first().map_or("", String::as_str);
        let second = arguments.get(1).map_or("", String::as_str);
        Ok(match name {
            "defined" => !first.is_empty() && (self.environment)(first).is_some(),
            "feature" => FEATURES.contains(&first),
            "streq" => first == second,
            "strneq" => first != second,
            "version_atleast" => version(VERSION) >= version(first),
            "version_before" => version(VERSION) < version(first),
            "openssl_version_atleast" => version(TLS_VERSION) >= version(first),
            "openssl_version_before" => version(TLS_VERSION) < version(first),
            _ => "AWS-LC".starts_with(first),
        })
    }
}

/// Major, minor, what says that it is no version yet, patch, and what a distribution counts: in this order.
fn version(text: &str) -> [u32; 5] {
    let (numbers, after) = text.split_once('-').unwrap_or((text, ""));
    let mut numbers = numbers
        .split('.')
        .map(|number| number.parse().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let (major, minor, patch) = (next(), next(), next());
    match after.strip_prefix("dev") {
        Some(number) => [major, minor, 0, number.parse().unwrap_or_default(), 0],
        None => {
            let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let build = after.get(..digits).and_then(|build| build.parse().ok());
            [major, minor, 1, patch, build.unwrap_or_default()]
        }
    }
}
