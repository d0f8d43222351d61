//! The files of a configuration as one text, so that a place is a number whatever file it is in.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{ConfigError, read};
use crate::diagnostics::{Diagnostic, SourceFile};

/// The files a configuration consists of, one after the other: spans count through all of them.
///
/// Who reads an `include` adds the file and shifts the spans it finds in it by what [`Sources::add`] gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<(usize, SourceFile)>,
}

impl Sources {
    /// A configuration of one file.
    #[must_use]
    pub fn single(file: SourceFile) -> Self {
        let mut sources = Self::default();
        sources.add(file);
        sources
    }

    /// Files in this order, and of a directory those with this extension in the order of their names, without hidden ones.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn read(paths: &[PathBuf], extension: &str) -> Result<Self, ConfigError> {
        let mut sources = Self::default();
        for path in paths {
            let files = if path.is_dir() {
                files_of(path, extension)?
            } else {
                vec![path.clone()]
            };
            for file in files {
                sources.add(read(&file)?);
            }
        }
        Ok(sources)
    }

    /// The files, each with the place of its first octet.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &SourceFile)> {
        self.files.iter().map(|(base, file)| (*base, file))
    }

    /// Adds a file behind the others. Returns where its spans begin.
    pub fn add(&mut self, file: SourceFile) -> usize {
        // One more than the text, so that "at the end of this file" is not "at the start of the next".
        let base = self
            .files
            .last()
            .map_or(0, |(base, last)| base + last.text.len() + 1);
        self.files.push((base, file));
        base
    }

    /// Replaces text that must not appear in messages, by as many stars.
    pub fn hide(&mut self, spans: impl Iterator<Item = Range<usize>>) {
        for span in spans {
            let Some((base, file)) = self.files.iter_mut().rev().find(|(base, _)| *base <= span.start) else {
                continue;
            };
            let local = shift(&span, *base);
            if file.text.is_char_boundary(local.start)
                && file.text.is_char_boundary(local.end)
                && local.end <= file.text.len()
            {
                let length = local.len();
                file.text.replace_range(local, &"*".repeat(length));
            }
        }
    }

    /// With carets, one empty line between two; ends with a newline unless there is nothing.
    #[must_use]
    pub fn render(&self, diagnostics: &[Diagnostic], colour: bool) -> String {
        let rendered = diagnostics.iter().filter_map(|diagnostic| {
            let (file, diagnostic) = self.locate(diagnostic)?;
            Some(diagnostic.render(file, colour))
        });
        rendered.collect::<Vec<_>>().join("\n")
    }

    /// `file:line:column: error: message; help`.
    #[must_use]
    pub fn line(&self, diagnostic: &Diagnostic) -> String {
        match self.locate(diagnostic) {
            Some((file, diagnostic)) => diagnostic.plain(file),
            None => diagnostic.message.clone(),
        }
    }

    /// The file a diagnostic is about, and the diagnostic with that file's offsets. A related place in another file
    /// cannot be drawn beside it and is named in words.
    fn locate(&self, diagnostic: &Diagnostic) -> Option<(&SourceFile, Diagnostic)> {
        let (base, file) = self.file_at(diagnostic.span.start)?;
        let mut local = diagnostic.clone();
        local.span = shift(&diagnostic.span, base);
        local.related.clear();
        for (span, label) in &diagnostic.related {
            match self.file_at(span.start)? {
                (other_base, _) if other_base == base => {
                    local.related.push((shift(span, base), label.clone()))
                }
                (other_base, other) => {
                    let (line, _) = other.position(span.start - other_base);
                    local.message = format!("{} ({label}: {}:{line})", local.message, other.name);
                }
            }
        }
        Some((file, local))
    }

    fn file_at(&self, offset: usize) -> Option<(usize, &SourceFile)> {
        let index = self
            .files
            .partition_point(|(base, _)| *base <= offset)
            .checked_sub(1)?;
        self.files.get(index).map(|(base, file)| (*base, file))
    }
}

fn shift(span: &Range<usize>, base: usize) -> Range<usize> {
    span.start.saturating_sub(base)..span.end.saturating_sub(base)
}

fn files_of(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|other| other == extension) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_finds_its_file_among_several() {
        let mut sources = Sources::single(SourceFile::new("a.conf", "one\ntwo\n"));
        let base = sources.add(SourceFile::new("b.conf", "three\nfour\n"));
        let four = base + 6..base + 10;
        let line = sources.line(&Diagnostic::error(four.clone(), "wrong").related(4..7, "as here"));
        assert_eq!(line, "b.conf:2:1: error: wrong (as here: a.conf:2)");
        let line = sources.line(&Diagnostic::error(4..7, "wrong").help("mend it"));
        assert_eq!(line, "a.conf:2:1: error: wrong; mend it");
        let drawn = sources.render(&[Diagnostic::error(four, "wrong")], false);
        assert!(drawn.contains("2 | four\n  | ^^^^"), "{drawn}");
    }
    #[test]
    fn what_is_hidden_is_hidden_in_its_own_file_and_moves_nothing() {
        let mut sources = Sources::single(SourceFile::new("a.conf", "password geheim\n"));
        let base = sources.add(SourceFile::new("b.conf", "password grün more\n"));
        sources.hide(std::iter::once(base + 9..base + 14));
        let shown = |span| sources.render(&[Diagnostic::error(span, "wrong")], false);
        assert!(
            shown(9..15).contains("1 | password geheim\n  |          ^^^^^^"),
            "{}",
            shown(9..15)
        );
        let more = shown(base + 15..base + 19);
        assert!(
            more.contains("1 | password ***** more\n  |                ^^^^"),
            "{more}"
        );
    }
}
