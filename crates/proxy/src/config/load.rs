//! Reads configuration files of either format into a plan.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use warren_kit::config::{self, Built, ConfigError, Role, Sources, read};
use warren_kit::diagnostics::SourceFile;

use super::build::build;
use super::file::{CheckUse, Proxy, Section, ServerUse, StatsUse};
use super::haproxy;
use crate::plan::{Origin, Plan};

/// The sections a warren.toml may have.
const ROLES: [&str; 3] = ["vrrp", "proxy", "broker"];

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
pub type Loaded = config::Loaded<Plan, Proxy>;

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
    config::load(&Toml { machine }, &ROLES, source, &machine.host)
}

/// `[proxy]` of a warren.toml.
struct Toml<'a> {
    machine: &'a Machine,
}

impl Role for Toml<'_> {
    const NAME: &'static str = "proxy";
    type File = Proxy;
    type Plan = Plan;

    fn secrets(&self, file: &Proxy) -> Vec<Range<usize>> {
        secrets(file)
    }

    fn build(&self, file: &Proxy, _host: &str) -> Built<Plan> {
        build(file, Origin::Toml, self.machine)
    }
}

/// The same for haproxy.cfg: files in this order, and of a directory those called `*.cfg` in the order of their names,
/// as `haproxy -f` reads them.
pub fn load_haproxy(paths: &[PathBuf], machine: &Machine) -> Result<Loaded, ConfigError> {
    let sources = Sources::read(paths, "cfg")?;
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
    let built = build(&file, Origin::Haproxy, machine);
    Loaded::concluded(imported.diagnostics, built, file, sources)
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
