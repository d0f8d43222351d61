//! Reads a configuration file of either format into a plan.

use std::ops::Range;
use std::path::{Path, PathBuf};

use warren_kit::config::{Config, Invalid, read};
use warren_kit::diagnostics::{Diagnostic, SourceFile};

use super::plan::Plan;
use super::{Vrrp, build, keepalived};

/// The sections a warren.toml may have.
const ROLES: [&str; 2] = ["vrrp", "proxy"];
const VRRP: &str = "vrrp";
/// Enough to correct a file in one go, few enough to read.
const DIAGNOSTICS_MAX: usize = 30;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// warren.toml
    Toml,
    /// keepalived.conf
    Keepalived,
}

impl Format {
    /// By the name: `.toml` is ours, everything else keepalived's.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") {
            Self::Toml
        } else {
            Self::Keepalived
        }
    }
}

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// What the file says, for `import` and for those who ask where a value comes from.
    pub file: Vrrp,
    pub warnings: Vec<Diagnostic>,
    pub sources: Sources,
    /// The plan of every host the file speaks of, to be compared with each other.
    pub hosts: Vec<(String, Plan)>,
}

impl Loaded {
    /// The warnings with carets; empty if there are none.
    #[must_use]
    pub fn render_warnings(&self, color: bool) -> String {
        self.sources.render(&self.warnings, color)
    }

    /// The warnings on one line each, for logs.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| self.sources.line(warning))
    }
}

/// Why there is no plan. Prints with carets, without colour.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Unreadable(#[from] warren_kit::config::ConfigError),
    #[error("{path} has no [vrrp] section; add one, or name another file", path = .0.display())]
    NoSection(PathBuf),
    #[error("{}", .sources.render(.diagnostics, false).trim_end())]
    Invalid {
        sources: Sources,
        diagnostics: Vec<Diagnostic>,
    },
}

impl ConfigError {
    /// As `Display`, with colour if asked for; ends with a newline.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        match self {
            Self::Invalid { sources, diagnostics } => sources.render(diagnostics, color),
            other => format!("{other}\n"),
        }
    }

    fn invalid(sources: Sources, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.truncate(DIAGNOSTICS_MAX);
        Self::Invalid { sources, diagnostics }
    }
}

/// Reads, checks and plans. `host` is this host's name, whole or short, and selects the `[host.NAME]` overrides.
pub fn load(path: &Path, format: Format, host: &str) -> Result<Loaded, ConfigError> {
    load_as(path, format, host, None)
}

/// The same with the name by which a keepalived.conf selects its `@` lines; the host's unless given.
pub fn load_as(
    path: &Path,
    format: Format,
    host: &str,
    config_id: Option<&str>,
) -> Result<Loaded, ConfigError> {
    match format {
        Format::Toml => load_toml(path, host),
        Format::Keepalived => load_keepalived(path, host, config_id.unwrap_or_else(|| short_name(host))),
    }
}

fn short_name(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

fn load_toml(path: &Path, host: &str) -> Result<Loaded, ConfigError> {
    let source = read(path)?;
    let sources = Sources::single(source.clone());
    let invalid = |error: Invalid| ConfigError::invalid(sources.clone(), error.diagnostics);
    let config = Config::parse(&source, &ROLES).map_err(invalid)?;
    let name = host_in_file(&config, host);
    let section: Option<Vrrp> = config.section(VRRP, name).map_err(invalid)?;
    let Some(file) = section else {
        return Err(ConfigError::NoSection(path.to_owned()));
    };

    let mut sources = sources.clone();
    sources.hide(passwords(&file));
    let mut complaints = Vec::new();
    let built = build(&file, host).map_err(|found| complaints.extend(found));
    let mut hosts = Vec::new();
    for other in hosts_of(&config) {
        let Some(section) = config.section::<Vrrp>(VRRP, other).map_err(invalid)? else {
            continue;
        };
        sources.hide(passwords(&section));
        match build(&section, other) {
            Ok((plan, _)) => hosts.push((other.to_owned(), plan)),
            Err(found) => add_complaints_of_host(&mut complaints, other, found),
        }
    }
    match built {
        Ok((plan, warnings)) if complaints.is_empty() => Ok(Loaded {
            plan,
            file,
            warnings,
            sources,
            hosts,
        }),
        _ => Err(ConfigError::invalid(sources, complaints)),
    }
}

/// Where the secrets of a file stand.
fn passwords(file: &Vrrp) -> impl Iterator<Item = Range<usize>> {
    file.router
        .values()
        .filter_map(|router| router.password.as_ref())
        .map(toml::Spanned::span)
}

/// Hosts with overrides; one alone is compared with those that have none.
fn hosts_of<'a>(config: &'a Config<'_>) -> Vec<&'a str> {
    let mut hosts: Vec<&str> = config.hosts().collect();
    if hosts.len() == 1 {
        hosts.push("other hosts");
    }
    hosts
}

fn load_keepalived(path: &Path, host: &str, config_id: &str) -> Result<Loaded, ConfigError> {
    let imported = keepalived::read(path, config_id)?;
    let (file, mut sources) = (imported.file, imported.sources);
    sources.hide(passwords(&file));
    let mut warnings = match imported.diagnostics {
        Ok(warnings) => warnings,
        Err(diagnostics) => return Err(ConfigError::invalid(sources, diagnostics)),
    };
    match build(&file, host) {
        Ok((plan, more)) => {
            warnings.extend(more);
            warnings.sort_by_key(|warning| warning.span.start);
            Ok(Loaded {
                plan,
                file,
                warnings,
                sources,
                hosts: Vec::new(),
            })
        }
        Err(diagnostics) => Err(ConfigError::invalid(sources, diagnostics)),
    }
}

/// A mistake in another host's part is found now, not when that host restarts.
fn add_complaints_of_host(complaints: &mut Vec<Diagnostic>, host: &str, found: Vec<Diagnostic>) {
    for mut complaint in found.into_iter().filter(Diagnostic::is_error) {
        let known = complaints
            .iter()
            .any(|known| known.span == complaint.span && known.message == complaint.message);
        if !known {
            complaint
                .label
                .get_or_insert_with(|| format!("as the host `{host}` sees it"));
            complaints.push(complaint);
        }
    }
}

/// The whole name if the file knows it, else the part up to the first dot.
fn host_in_file<'a>(config: &Config<'_>, host: &'a str) -> &'a str {
    let short = short_name(host);
    if config.hosts().any(|known| known == host) {
        host
    } else {
        short
    }
}

/// The files a configuration consists of, one after the other: spans count through all of them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<(usize, SourceFile)>,
}

impl Sources {
    pub(crate) fn single(file: SourceFile) -> Self {
        let mut sources = Self::default();
        sources.add(file);
        sources
    }

    /// Where the spans of the added file begin.
    pub(crate) fn add(&mut self, file: SourceFile) -> usize {
        // One more than the text, so that "at the end of this file" is not "at the start of the next".
        let base = self
            .files
            .last()
            .map_or(0, |(base, last)| base + last.text.len() + 1);
        self.files.push((base, file));
        base
    }

    /// Replaces text that must not appear in messages.
    fn hide(&mut self, spans: impl Iterator<Item = Range<usize>>) {
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
    pub fn render(&self, diagnostics: &[Diagnostic], color: bool) -> String {
        let rendered = diagnostics.iter().filter_map(|diagnostic| {
            let (file, diagnostic) = self.locate(diagnostic)?;
            Some(diagnostic.render(file, color))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str, host: &str) -> Result<Loaded, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.toml");
        std::fs::write(&path, text).unwrap();
        load(&path, Format::of(&path), host)
    }

    const PAIR: &str = r#"
[vrrp.router.web]
interface = "eth0"
vrid = 51
addresses = ["192.0.2.1"]

[host.beta.vrrp.router.web]
priority = 200

[host."gamma.example.org".vrrp.router.web]
priority = 150
"#;

    #[test]
    fn a_host_is_known_by_its_whole_name_or_by_the_part_up_to_the_first_dot() {
        for (host, priority) in [
            ("beta", 200),
            ("beta.example.org", 200),
            ("gamma.example.org", 150),
            ("gamma", 254),
            ("alpha.example.org", 254),
        ] {
            let plan = loaded(PAIR, host).unwrap().plan;
            assert_eq!(plan.routers[0].priority, priority, "{host}");
            assert_eq!(plan.router_id, host);
        }
    }

    #[test]
    fn a_mistake_in_the_part_of_another_host_is_found_on_every_host() {
        let text = PAIR.replace("priority = 150", "priority = 300");
        let error = loaded(&text, "alpha").unwrap_err().to_string();
        assert!(error.contains("priority 300 is out of range"), "{error}");
        assert!(
            error.contains("as the host `gamma.example.org` sees it"),
            "{error}"
        );
    }

    #[test]
    fn a_password_is_not_shown_in_messages() {
        let text = PAIR.replace("vrid = 51", "vrid = 51\npassword = \"s3cret\"");
        let error = loaded(&text, "alpha").unwrap_err().to_string();
        assert!(error.contains("password = ********"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_file_without_the_section_says_so() {
        let error = loaded("", "alpha").unwrap_err().to_string();
        assert!(error.contains("has no [vrrp] section"), "{error}");
    }

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
}
