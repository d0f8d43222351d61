//! Reads configuration files of either format into a plan.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use warren_kit::config::{Config, Invalid, read};
use warren_kit::diagnostics::{Diagnostic, SourceFile};

use super::build::build;
use super::file::{CheckUse, Proxy, Section, ServerUse, StatsUse};
use super::haproxy;
use super::sources::Sources;
use crate::plan::{Origin, Plan};

/// The sections a warren.toml may have.
const ROLES: [&str; 2] = ["vrrp", "proxy"];
const PROXY: &str = "proxy";
/// Enough to correct a file in one go, few enough to read.
const DIAGNOSTICS_MAX: usize = 30;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// warren.toml
    Toml,
    /// haproxy.cfg
    Haproxy,
}

impl Format {
    /// By the name: `.toml` is ours, everything else HAProxy's.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") {
            Self::Toml
        } else {
            Self::Haproxy
        }
    }
}

/// What the defaults depend on besides the file.
#[derive(Debug, Clone)]
pub struct Machine {
    /// This host's name, whole or short.
    pub host: String,
    /// Processors that may be used.
    pub processors: NonZeroUsize,
    /// Files this process may have open at once, once the limit is raised as far as it may be.
    pub open_files: u64,
}

impl Machine {
    /// The one this runs on.
    #[must_use]
    pub fn here(host: &str) -> Self {
        // 1024 is what a process has that nobody thought of.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        Self {
            host: host.to_owned(),
            processors: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            open_files: hard,
        }
    }
}

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What is to be done.
    pub plan: Plan,
    /// What the file says, for `import` and for those who ask where a value comes from.
    pub file: Proxy,
    /// What was accepted and may not be meant.
    pub warnings: Vec<Diagnostic>,
    /// What the warnings point into.
    pub sources: Sources,
}

impl Loaded {
    /// The warnings with carets; empty if there are none.
    #[must_use]
    pub fn render_warnings(&self, colour: bool) -> String {
        self.sources.render(&self.warnings, colour)
    }

    /// The warnings on one line each, for logs.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> {
        self.warnings.iter().map(|warning| self.sources.line(warning))
    }
}

/// Why there is no plan. Prints with carets, without colour.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that cannot be read at all.
    #[error(transparent)]
    Unreadable(#[from] warren_kit::config::ConfigError),
    /// A directory that cannot be listed.
    #[error("{path}: {source}; check the name and who may read it", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing to do.
    #[error("{path} has no [proxy] section; add one, or name another file", path = .0.display())]
    NoSection(PathBuf),
    /// Mistakes in the files.
    #[error("{}", .sources.render(.diagnostics, false).trim_end())]
    Invalid {
        /// What the diagnostics point into.
        sources: Sources,
        /// At least one error, in the order of the files.
        diagnostics: Vec<Diagnostic>,
    },
}

impl ConfigError {
    /// As `Display`, with colour if asked for; ends with a newline.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        match self {
            Self::Invalid { sources, diagnostics } => sources.render(diagnostics, colour),
            other => format!("{other}\n"),
        }
    }

    fn invalid(sources: Sources, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.truncate(DIAGNOSTICS_MAX);
        Self::Invalid { sources, diagnostics }
    }
}

/// Reads, checks and plans one file. `host` is this host's name and selects the `[host.NAME]` overrides of a warren.toml.
pub fn load(path: &Path, format: Format, host: &str) -> Result<Loaded, ConfigError> {
    let machine = Machine::here(host);
    match format {
        Format::Toml => load_toml(path, &machine),
        Format::Haproxy => load_haproxy(&[path.to_owned()], &machine),
    }
}

/// The same for a warren.toml, on any machine.
pub fn load_toml(path: &Path, machine: &Machine) -> Result<Loaded, ConfigError> {
    load_toml_text(read(path)?, machine)
}

/// The same for text that is at hand.
pub fn load_toml_text(source: SourceFile, machine: &Machine) -> Result<Loaded, ConfigError> {
    let mut sources = Sources::single(source.clone());
    let invalid = |error: Invalid| ConfigError::invalid(Sources::single(source.clone()), error.diagnostics);
    let config = Config::parse(&source, &ROLES).map_err(invalid)?;
    let name = host_in_file(&config, &machine.host);
    let section: Option<Proxy> = config.section(PROXY, name).map_err(invalid)?;
    let Some(file) = section else {
        return Err(ConfigError::NoSection(PathBuf::from(&source.name)));
    };
    sources.hide(secrets(&file).into_iter());
    let mut complaints = Vec::new();
    let built = build(&file, Origin::Toml, machine).map_err(|found| complaints.extend(found));
    for other in config.hosts() {
        let Some(section) = config.section::<Proxy>(PROXY, other).map_err(invalid)? else {
            continue;
        };
        sources.hide(secrets(&section).into_iter());
        if let Err(found) = build(&section, Origin::Toml, machine) {
            add_complaints_of_host(&mut complaints, other, found);
        }
    }
    match built {
        Ok((plan, warnings)) if complaints.is_empty() => Ok(Loaded {
            plan,
            file,
            warnings,
            sources,
        }),
        _ => Err(ConfigError::invalid(sources, merged(complaints, Vec::new()))),
    }
}

/// The same for haproxy.cfg: files in this order, and of a directory those called `*.cfg` in the order of their names,
/// as `haproxy -f` reads them.
pub fn load_haproxy(paths: &[PathBuf], machine: &Machine) -> Result<Loaded, ConfigError> {
    let mut sources = Sources::default();
    for path in files(paths)? {
        sources.add(read(&path)?);
    }
    load_haproxy_sources(sources, machine, &|name| std::env::var(name).ok())
}

/// The same for text that is at hand, without an environment.
pub fn load_haproxy_text(source: SourceFile, machine: &Machine) -> Result<Loaded, ConfigError> {
    load_haproxy_sources(Sources::single(source), machine, &|_| None)
}

fn load_haproxy_sources(
    mut sources: Sources,
    machine: &Machine,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigError> {
    let imported = haproxy::read(&sources, environment);
    let file = imported.file;
    sources.hide(secrets(&file).into_iter());
    match (imported.diagnostics, build(&file, Origin::Haproxy, machine)) {
        (Ok(warnings), Ok((plan, more))) => Ok(Loaded {
            plan,
            file,
            warnings: merged(warnings, more),
            sources,
        }),
        (Ok(warnings), Err(found)) => Err(ConfigError::invalid(sources, merged(warnings, found))),
        (Err(found), Ok(_)) => Err(ConfigError::invalid(sources, found)),
        // Warnings about what was read in part would be echoes.
        (Err(found), Err(mut more)) => {
            more.retain(Diagnostic::is_error);
            Err(ConfigError::invalid(sources, merged(found, more)))
        }
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = |source| ConfigError::Directory {
            path: path.clone(),
            source,
        };
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let visible = name
                .to_str()
                .is_some_and(|name| name.ends_with(".cfg") && !name.starts_with('.'));
            if visible {
                inside.push(path.join(name));
            }
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// Where the secrets of a file stand.
fn secrets(file: &Proxy) -> Vec<Range<usize>> {
    let sections = [&file.listen, &file.frontend, &file.backend];
    let sections = sections.into_iter().flatten().map(|(_, section)| section);
    let users = file.users.values().flat_map(|list| list.values());
    let mut spans: Vec<Range<usize>> = users.map(toml::Spanned::span).collect();
    for section in sections {
        spans.extend(secrets_of(section));
    }
    spans
}

fn secrets_of(section: &Section) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    if let Some(StatsUse::Table(stats)) = section.stats.as_ref().map(toml::Spanned::get_ref) {
        spans.extend(stats.users.values().map(toml::Spanned::span));
    }
    let servers = section.servers.0.iter().filter_map(|(_, server)| match server {
        ServerUse::Long(server) => server.check.as_ref(),
        ServerUse::Short(_) => None,
    });
    let defaults = section
        .server_defaults
        .iter()
        .filter_map(|server| server.check.as_ref());
    for check in section.check.iter().chain(servers).chain(defaults) {
        if let CheckUse::Table(check) = check.get_ref() {
            spans.extend(check.password.iter().map(toml::Spanned::span));
        }
    }
    spans
}

/// In the order of the files.
fn merged(mut diagnostics: Vec<Diagnostic>, more: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.extend(more);
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    diagnostics
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
    if config.hosts().any(|known| known == host) {
        host
    } else {
        host.split('.').next().unwrap_or(host)
    }
}
