//! Messages that point into a file with a caret, as rustc prints them, or on one line each for logs.
//!
//! A [`Diagnostic`] carries byte offsets only; the [`SourceFile`] it was made for turns them into text.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A file (or any named text) that diagnostics point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// One message about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Byte offsets into the file; `0..0` when it is about the file as a whole.
    pub span: Range<usize>,
    pub message: String,
    /// Said at the caret.
    pub label: Option<String>,
    /// Other places that have part in it, each with what to say there.
    pub related: Vec<(Range<usize>, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: None,
            related: Vec::new(),
            help: None,
        }
    }

    pub fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Several lines with the source and a caret; ends with a newline.
    pub fn render(&self, file: &SourceFile, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut primary = AnnotationKind::Primary.span(file.clamped(&self.span));
        if let Some(label) = &self.label {
            primary = primary.label(label.as_str());
        }
        let related = self.related.iter().map(|(span, label)| {
            AnnotationKind::Context
                .span(file.clamped(span))
                .label(label.as_str())
        });
        let snippet = Snippet::source(file.text.as_str())
            .path(file.name.as_str())
            .annotation(primary)
            .annotations(related);
        let mut group = level.primary_title(self.message.as_str()).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = renderer.render(&[group]);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// `file:line:column: error: message; help`, on one line without a newline.
    pub fn plain(&self, file: &SourceFile) -> String {
        let (line, column) = file.position(self.span.start);
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{}:{line}:{column}: {severity}: {}", file.name, self.message);
        if let Some(label) = &self.label {
            let _ = write!(text, " ({label})");
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "; {help}");
        }
        text
    }
}

impl SourceFile {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Line and column of a byte offset, both counted from 1, columns in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.clamped(&(offset..offset)).start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// A span that is certain to lie inside the text and to cut no character.
    fn clamped(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.min(self.text.len()));
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SourceFile {
        SourceFile::new("warren.toml", "[vrrp]\n# größe\nintreval = \"1s\"\nid = 300\n")
    }

    fn diagnostic(file: &SourceFile, needle: &str) -> Diagnostic {
        let start = file.text.find(needle).unwrap();
        Diagnostic::error(start..start + needle.len(), "unknown key `intreval`")
            .label("not a key of [vrrp]")
            .help("did you mean `interval`?")
    }

    #[test]
    fn the_caret_stands_under_the_span() {
        let file = file();
        let expected = "\
error: unknown key `intreval`
 --> warren.toml:3:1
  |
3 | intreval = \"1s\"
  | ^^^^^^^^ not a key of [vrrp]
  |
  = help: did you mean `interval`?
";
        assert_eq!(diagnostic(&file, "intreval").render(&file, false), expected);
    }

    #[test]
    fn colour_appears_only_when_asked_for() {
        let file = file();
        let diagnostic = diagnostic(&file, "intreval");
        assert!(!diagnostic.render(&file, false).contains('\x1b'));
        assert!(diagnostic.render(&file, true).contains('\x1b'));
    }

    #[test]
    fn related_places_are_shown_with_their_label() {
        let file = file();
        let start = file.text.find("300").unwrap();
        let text = diagnostic(&file, "intreval")
            .related(start..start + 3, "because of this")
            .render(&file, false);
        assert!(
            text.contains("4 | id = 300\n  |      --- because of this"),
            "{text}"
        );
    }

    #[test]
    fn one_line_form_counts_columns_in_characters() {
        let file = SourceFile::new("a.toml", "x = 1\nä = ö = 2\n");
        let start = file.text.find('ö').unwrap();
        let warning = Diagnostic::warning(start..start + 2, "odd").help("write =");
        assert_eq!(warning.plain(&file), "a.toml:2:5: warning: odd; write =");
    }

    #[test]
    fn a_wrong_span_never_panics() {
        let file = file();
        let umlaut = file.text.find('ö').unwrap();
        for span in [
            umlaut + 1..umlaut + 2,
            1_000_000..2_000_000,
            5..1_000_000,
            Range { start: 9, end: 3 },
        ] {
            let diagnostic = Diagnostic::error(span, "x").related(umlaut + 1..umlaut + 1, "y");
            assert!(diagnostic.render(&file, false).starts_with("error: x"));
            diagnostic.plain(&file);
        }
        let empty = SourceFile::new("empty", "");
        assert!(Diagnostic::error(0..0, "x").render(&empty, true).contains('x'));
    }
}
