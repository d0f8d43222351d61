//! Reads configuration files of either format into a plan.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use warren_kit::config::{self, Built, ConfigError, Report, Role, Sources, read};
use warren_kit::diagnostics::SourceFile;

use super::build::build;
use super::environment::Environment;
use super::file::Broker;
use super::rabbitmq;
use crate::plan::Plan;

/// The sections a warren.toml may have.
const ROLES: [&str; 3] = ["vrrp", "proxy", "broker"];

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// warren.toml
    Toml,
    /// rabbitmq.conf
    Rabbitmq,
}

/// What the defaults depend on besides the file.
#[derive(Debug, Clone)]
pub struct Machine {
    /// This host's name, whole or short.
    pub host: String,
    /// Where data is unless said otherwise.
    pub data: PathBuf,
}

/// A valid configuration.
pub type Loaded = config::Loaded<Plan, Broker>;

/// Reads, checks and plans a warren.toml.
///
/// # Errors
/// It cannot be read, or is wrong.
pub fn load_toml(path: &Path, machine: &Machine) -> Result<Loaded, ConfigError> {
    load_toml_text(read(path)?, machine)
}

/// The same for text that is at hand.
///
/// # Errors
/// It is wrong.
pub fn load_toml_text(source: SourceFile, machine: &Machine) -> Result<Loaded, ConfigError> {
    config::load(&Toml { machine }, &ROLES, source, &machine.host)
}

/// `[broker]` of a warren.toml.
struct Toml<'a> {
    machine: &'a Machine,
}

impl Role for Toml<'_> {
    const NAME: &'static str = "broker";
    type File = Broker;
    type Plan = Plan;

    fn secrets(&self, file: &Broker) -> Vec<Range<usize>> {
        secrets(file)
    }

    fn build(&self, file: &Broker, host: &str) -> Built<Plan> {
        let machine = Machine {
            host: host.to_owned(),
            data: self.machine.data.clone(),
        };
        build(file, &machine)
    }
}

/// The same for rabbitmq.conf: files in this order, and of a directory those called `*.conf` in the order of their names. A
/// later line wins over an earlier one, and the environment over both.
///
/// # Errors
/// One cannot be read, or something is wrong.
pub fn load_rabbitmq(
    paths: &[PathBuf],
    environment: &Environment,
    machine: &Machine,
) -> Result<Loaded, ConfigError> {
    load_sources(Sources::read(paths, "conf")?, environment, machine)
}

/// The same for text that is at hand, without an environment.
///
/// # Errors
/// It is wrong.
pub fn load_rabbitmq_text(source: SourceFile, machine: &Machine) -> Result<Loaded, ConfigError> {
    load_sources(Sources::single(source), &Environment::default(), machine)
}

/// The same where nothing is written but the environment.
///
/// # Errors
/// The environment is wrong.
pub fn load_none(environment: &Environment, machine: &Machine) -> Result<Loaded, ConfigError> {
    load_sources(Sources::default(), environment, machine)
}

fn load_sources(
    mut sources: Sources,
    environment: &Environment,
    machine: &Machine,
) -> Result<Loaded, ConfigError> {
    let mut report = Report::default();
    let mut file = rabbitmq::read(&sources, &mut report);
    let written = rabbitmq::secrets(&sources);
    environment.apply(&mut file, &mut sources, &mut report);
    sources.hide(written.into_iter());
    let built = build(&file, machine);
    Loaded::concluded(report.finish(), built, file, sources)
}

/// Where the secrets of a file stand.
fn secrets(file: &Broker) -> Vec<Range<usize>> {
    file.first.password.iter().map(Spanned::span).collect()
}
