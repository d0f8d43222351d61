//! `warren.toml`: one file for every host and every role.
//!
//! ```toml
//! [vrrp]                # one section per role
//! priority = 100
//!
//! [host.beta.vrrp]      # the same section as seen on the host `beta`: tables merge, everything else replaces
//! priority = 99
//! ```
//!
//! The file is kept as a tree with spans, so that host overrides can be merged before a role's section becomes a
//! typed value and every complaint still points at the line the operator wrote. A section type uses
//! `deny_unknown_fields` and [`toml::Spanned`] for what it validates later; serde's `flatten` and `untagged` lose
//! spans and have no place in it.
//!
//! A section is checked as *every* host of the file sees it: a mistake in another host's override is found here and
//! now, not when that host restarts.
//!
//! A role says what its section is and what it makes of it ([`Role`]), collects what is wrong with it in a [`Report`], and
//! [`load`] does the rest. What may be written in more than one way has [`ShortForms`]. Who has another format besides reads files into [`Sources`] and ends with [`Loaded`] or
//! [`Invalid`], too.

pub mod finding;
mod forms;
mod load;
mod report;
mod sources;

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use crate::diagnostics::{Diagnostic, SourceFile};
use crate::suggest::did_you_mean;

pub use forms::ShortForms;
pub use load::{Built, Loaded, Role, load};
pub use report::{NameRule, Report, suggestion};
pub use sources::Sources;

/// The section that holds the overrides.
const HOST: &str = "host";

/// A configuration file larger than this is a mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Enough to correct a file in one go, few enough to read.
const SHOWN_MAX: usize = 30;

/// The same of what is wrong with a file before its rules are applied.
const DIAGNOSTICS_MAX: usize = 20;

/// A parsed file whose top-level structure is right.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    source: &'a SourceFile,
    root: DeTable<'a>,
}

/// Why there is no configuration. Prints with carets and without colour; `render` can colour.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read, or a directory that cannot be listed.
    #[error("{path}: {source}; check the name and who may read it", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes, which no configuration is", path = .0.display())]
    TooLarge(PathBuf),
    #[error("{path}: line {line} is not UTF-8 text", path = path.display())]
    NotText { path: PathBuf, line: usize },
    /// Nothing to do for a role.
    #[error("{path} has no [{section}] section; add one, or name another file", path = path.display())]
    NoSection { path: PathBuf, section: &'static str },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl ConfigError {
    /// As `Display`, with colour if asked for; ends with a newline.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Invalid(invalid) => invalid.render(colour),
            other => format!("{other}\n"),
        }
    }
}

/// What is wrong with a configuration, and its files. Prints with carets and without colour; `render` can colour.
#[derive(Debug, thiserror::Error)]
#[error("{}", .sources.render(.diagnostics, false).trim_end())]
pub struct Invalid {
    /// What the diagnostics point into.
    pub sources: Sources,
    /// At least one error, in the order of the files; not more than one reads.
    pub diagnostics: Vec<Diagnostic>,
}

impl Invalid {
    /// Puts them in order and keeps the first ones.
    #[must_use]
    pub fn new(sources: Sources, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        diagnostics.truncate(SHOWN_MAX);
        Self { sources, diagnostics }
    }

    /// With carets; ends with a newline.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        self.sources.render(&self.diagnostics, colour)
    }
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<SourceFile, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge(path.into()));
    }
    let text = String::from_utf8(text).map_err(|source| {
        let valid = &source.as_bytes()[..source.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::NotText {
            path: path.into(),
            line,
        }
    })?;
    Ok(SourceFile::new(path.display().to_string(), text))
}

impl<'a> Config<'a> {
    /// Parses a file; `roles` are the sections it may have.
    pub fn parse(source: &'a SourceFile, roles: &[&str]) -> Result<Self, Invalid> {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let root = root.into_inner();
        let mut diagnostics = syntax_diagnostics(source, &errors);
        if diagnostics.is_empty() {
            diagnostics = structure_diagnostics(&root, roles);
        }
        diagnostics.truncate(DIAGNOSTICS_MAX);
        if diagnostics.is_empty() {
            Ok(Self { source, root })
        } else {
            Err(Invalid::new(Sources::single(source.clone()), diagnostics))
        }
    }

    /// The hosts that have overrides, in the file's order.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.root
            .get(HOST)
            .and_then(|hosts| hosts.get_ref().as_table())
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name.get_ref())
    }

    /// What the file calls this host: its whole name if that has overrides, else the part up to the first dot.
    pub fn host_called<'h>(&self, host: &'h str) -> &'h str {
        if self.hosts().any(|known| known == host) {
            host
        } else {
            host.split('.').next().unwrap_or(host)
        }
    }

    /// A role's section as `host` sees it, or `None` if neither the file nor that host's overrides have one.
    pub fn section<T: DeserializeOwned>(&self, role: &str, host: &str) -> Result<Option<T>, Invalid> {
        let mut reader = SectionReader::default();
        let own = self.view(role, host).and_then(|view| reader.read(view));
        for other in self.hosts().filter(|other| *other != host) {
            let Some(view) = self.view(role, other) else {
                continue;
            };
            let known = reader.diagnostics.len();
            // Only the check matters: the value is another host's business.
            let _: Option<T> = reader.read(view);
            for diagnostic in reader.diagnostics.iter_mut().skip(known) {
                diagnostic
                    .label
                    .get_or_insert_with(|| format!("as the host `{other}` sees it"));
            }
        }
        if reader.diagnostics.is_empty() {
            return Ok(own);
        }
        Err(Invalid::new(
            Sources::single(self.source.clone()),
            reader.diagnostics,
        ))
    }

    fn view(&self, role: &str, host: &str) -> Option<Spanned<DeValue<'a>>> {
        let base = self.root.get(role);
        let over = table_at(&self.root, HOST)
            .and_then(|hosts| table_at(hosts, host))
            .and_then(|host| host.get(role));
        match (base, over) {
            (Some(base), Some(over)) => {
                let mut merged = base.clone();
                merge(&mut merged, over);
                Some(merged)
            }
            (base, over) => base.or(over).cloned(),
        }
    }
}

fn table_at<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<&'t DeTable<'a>> {
    table.get(key)?.get_ref().as_table()
}

/// Two tables become one; anything else is replaced, key and value, so that spans point at the override.
fn merge<'a>(base: &mut Spanned<DeValue<'a>>, over: &Spanned<DeValue<'a>>) {
    let (DeValue::Table(base), DeValue::Table(over)) = (base.get_mut(), over.get_ref()) else {
        *base = over.clone();
        return;
    };
    for (key, value) in over {
        match base.get_mut(key.get_ref().as_ref()) {
            Some(kept) if kept.get_ref().is_table() && value.get_ref().is_table() => merge(kept, value),
            _ => {
                base.remove(key.get_ref().as_ref());
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn syntax_diagnostics(source: &SourceFile, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut lines = Vec::new();
    let mut diagnostics = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        // The parser's later complaints about a line are echoes of its first.
        let (line, _) = source.position(span.start);
        if !lines.contains(&line) {
            lines.push(line);
            diagnostics.push(Diagnostic::error(span, error.message()));
        }
    }
    diagnostics
}

fn structure_diagnostics(root: &DeTable<'_>, roles: &[&str]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let sections: Vec<&str> = roles.iter().copied().chain([HOST]).collect();
    check_sections(root, &sections, &mut diagnostics);
    let Some(hosts) = root.get(HOST).and_then(|hosts| hosts.get_ref().as_table()) else {
        return diagnostics;
    };
    for (name, host) in hosts {
        match host.get_ref().as_table() {
            Some(host) => check_sections(host, roles, &mut diagnostics),
            None => diagnostics.push(
                Diagnostic::error(
                    name.span(),
                    format!("`{HOST}.{}` is not a section", name.get_ref()),
                )
                .help(format!(
                    "overrides are written [{HOST}.NAME.{}]",
                    roles.first().unwrap_or(&"ROLE")
                )),
            ),
        }
    }
    diagnostics
}

fn check_sections(table: &DeTable<'_>, allowed: &[&str], diagnostics: &mut Vec<Diagnostic>) {
    for (key, value) in table {
        let name: &str = key.get_ref();
        if !allowed.contains(&name) {
            let help = help_for(name, allowed, "section");
            diagnostics.push(Diagnostic::error(key.span(), format!("unknown section `{name}`")).help(help));
        } else if !value.get_ref().is_table() {
            diagnostics.push(
                Diagnostic::error(key.span(), format!("`{name}` is a section, not a value")).help(format!(
                    "write [{name}] on a line of its own and its keys below it"
                )),
            );
        }
    }
}

fn help_for(name: &str, allowed: &[&str], what: &str) -> String {
    match did_you_mean(name, allowed.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if allowed.is_empty() => format!("no {what} is known here"),
        None => format!("the known {what}s are: {}", allowed.join(", ")),
    }
}

/// Turns trees into typed values and collects what is wrong on the way.
///
/// serde stops at the first error. To report the others too, the offending entry is cut out of the tree and the rest
/// read again; complaints that the cutting itself causes ("missing field") are recognised and swallowed.
#[derive(Default)]
struct SectionReader {
    diagnostics: Vec<Diagnostic>,
}

impl SectionReader {
    fn read<T: DeserializeOwned>(&mut self, mut tree: Spanned<DeValue<'_>>) -> Option<T> {
        let mut cut: Vec<Cut> = Vec::new();
        for _ in 0..DIAGNOSTICS_MAX {
            let error = match T::deserialize(ValueDeserializer::from(tree.clone())) {
                Ok(value) => return cut.is_empty().then_some(value),
                Err(error) => error,
            };
            let complaint = Complaint::new(&error);
            let echo = |cut: &Cut| complaint.missing == Some(&cut.key) && cut.table == complaint.span;
            if !cut.iter().any(echo) {
                self.add(complaint.diagnostic());
            }
            cut.push(cut_out(&mut tree, &complaint.span)?);
        }
        None
    }

    /// Hosts share most of a section, and with it its mistakes.
    fn add(&mut self, diagnostic: Diagnostic) {
        let known = |other: &Diagnostic| other.span == diagnostic.span && other.message == diagnostic.message;
        if self.diagnostics.len() < DIAGNOSTICS_MAX && !self.diagnostics.iter().any(known) {
            self.diagnostics.push(diagnostic);
        }
    }
}

/// An entry that was removed, and the place of the table it was removed from.
struct Cut {
    table: Range<usize>,
    key: String,
}

/// Removes the entry or array element whose key or value lies exactly at `span`, if there is one.
fn cut_out(tree: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Cut> {
    let place = tree.span();
    match tree.get_mut() {
        DeValue::Table(table) => {
            let found = table
                .iter()
                .find(|(key, value)| key.span() == *span || value.span() == *span);
            if let Some((key, _)) = found {
                let key = key.get_ref().to_string();
                table.remove(key.as_str());
                return Some(Cut { table: place, key });
            }
            table.iter_mut().find_map(|(_, value)| cut_out(value, span))
        }
        DeValue::Array(array) => {
            if array.iter().any(|value| value.span() == *span) {
                let mut rest = DeArray::new();
                for value in array.iter().filter(|value| value.span() != *span) {
                    rest.push(value.clone());
                }
                *array = rest;
                return Some(Cut {
                    table: place,
                    key: String::new(),
                });
            }
            array.iter_mut().find_map(|value| cut_out(value, span))
        }
        _ => None,
    }
}

/// A serde error taken apart: its text is the only place where it says which words it would have accepted.
struct Complaint<'a> {
    message: &'a str,
    span: Range<usize>,
    missing: Option<&'a str>,
}

impl<'a> Complaint<'a> {
    fn new(error: &'a toml::de::Error) -> Self {
        let message = error.message();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        Self {
            message,
            span: error.span().unwrap_or_default(),
            missing,
        }
    }

    fn diagnostic(&self) -> Diagnostic {
        let error = |message: String| Diagnostic::error(self.span.clone(), message);
        if let Some(field) = self.missing {
            return error(format!("the key `{field}` is missing"))
                .help(format!("write `{field} = ...` in this section"));
        }
        for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
            let Some((word, rest)) = self
                .message
                .strip_prefix(prefix)
                .and_then(|rest| rest.split_once("`, "))
            else {
                continue;
            };
            let allowed: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
            return error(format!("unknown {what} `{word}`")).help(help_for(word, &allowed, what));
        }
        match self.message.rsplit_once(", expected ") {
            Some((found, expected)) => {
                let diagnostic = error(found.to_owned());
                diagnostic.label(format!("expected {}", in_words(expected)))
            }
            None => error(self.message.to_owned()),
        }
    }
}

/// What an operator understands in place of a Rust type name.
fn in_words(expected: &str) -> String {
    let range = match expected {
        "u8" => u8::MIN.to_string() + " to " + &u8::MAX.to_string(),
        "u16" => u16::MIN.to_string() + " to " + &u16::MAX.to_string(),
        "u32" => u32::MIN.to_string() + " to " + &u32::MAX.to_string(),
        "u64" | "usize" => return "a whole number from 0".into(),
        "i8" => i8::MIN.to_string() + " to " + &i8::MAX.to_string(),
        "i16" => i16::MIN.to_string() + " to " + &i16::MAX.to_string(),
        "i32" => i32::MIN.to_string() + " to " + &i32::MAX.to_string(),
        "i64" | "isize" => return "a whole number".into(),
        "f32" | "f64" => return "a number".into(),
        "a boolean" => return "true or false".into(),
        "a sequence" => return "a list in square brackets".into(),
        "a map" => return "a table".into(),
        other => match other.strip_prefix("struct ") {
            Some(_) => return "a table".into(),
            None => return other.into(),
        },
    };
    format!("a whole number from {range}")
}

#[cfg(test)]
mod tests;
