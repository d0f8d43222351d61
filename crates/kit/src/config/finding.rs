//! What a valid configuration still gets wrong, or what is good to know of it: for `warren check`.

use std::io::{self, Write};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Works, perhaps not as meant.
    Warning,
    /// Does not work.
    Error,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is the case.
    pub text: String,
    /// What to do about it; empty for notes.
    pub fix: String,
}

impl Finding {
    /// Something that does not work.
    pub fn error(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            text: text.into(),
            fix: fix.into(),
        }
    }

    /// Something that may not be as it was meant.
    pub fn warning(text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            text: text.into(),
            fix: fix.into(),
        }
    }

    /// Something that is good to know.
    pub fn note(text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            text: text.into(),
            fix: String::new(),
        }
    }
}

/// Prints findings, each with what to do about it on a line of its own. Says whether one of them is an error.
pub fn print(findings: &[Finding], colour: bool, out: &mut dyn Write) -> io::Result<bool> {
    for finding in findings {
        let (word, code) = match finding.severity {
            Severity::Note => ("note", "1;32"),
            Severity::Warning => ("warning", "1;33"),
            Severity::Error => ("error", "1;31"),
        };
        match colour {
            true => writeln!(out, "\x1b[{code}m{word}\x1b[0m: {}", finding.text)?,
            false => writeln!(out, "{word}: {}", finding.text)?,
        }
        if !finding.fix.is_empty() {
            writeln!(out, "  help: {}", finding.fix)?;
        }
    }
    Ok(findings.iter().any(|finding| finding.severity == Severity::Error))
}
