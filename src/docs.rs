//! Pages made from the program itself, so that they cannot say anything else than it does: man pages and completions
//! from `cli.rs`, the configuration reference from `config.rs`, that of the metrics from `metrics/families.rs`.

pub mod reference;

use std::io;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::cli::Cli;

#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}; name a directory that exists and is yours to write to", path = path.display())]
pub struct DocsError {
    path: PathBuf,
    source: io::Error,
}

/// Writes `warren.1` and a page for each verb.
pub fn man(directory: &Path) -> Result<(), DocsError> {
    let command = Cli::command();
    clap_mangen::generate_to(command, directory).map_err(|source| DocsError {
        path: directory.into(),
        source,
    })
}

/// Writes the completions of every shell that has them, each under the name its shell looks for.
pub fn completions(directory: &Path) -> Result<(), DocsError> {
    let shells = Shell::value_variants()
        .iter()
        .filter(|shell| matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish));
    for shell in shells {
        clap_complete::generate_to(*shell, &mut Cli::command(), "warren", directory).map_err(|source| {
            DocsError {
                path: directory.into(),
                source,
            }
        })?;
    }
    Ok(())
}

/// Writes `config.md`, `keepalived.md`, `haproxy.md` and `rabbitmq.md`.
pub fn config(directory: &Path) -> Result<(), DocsError> {
    write(directory.join("config.md"), reference::page())?;
    write(directory.join("keepalived.md"), crate::config::keepalived_page())?;
    write(directory.join("haproxy.md"), warren_proxy::config::haproxy_page())?;
    write(
        directory.join("rabbitmq.md"),
        warren_broker::config::rabbitmq_page(),
    )
}

/// Writes `metrics.md`.
pub fn metrics(directory: &Path) -> Result<(), DocsError> {
    write(directory.join("metrics.md"), crate::metrics::page())
}

fn write(path: PathBuf, page: String) -> Result<(), DocsError> {
    std::fs::write(&path, page).map_err(|source| DocsError { path, source })
}
