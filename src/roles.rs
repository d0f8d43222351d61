//! What the command line sets going: one function for each thing that is not a conversation with a running daemon.

use std::io::Write;
use std::path::PathBuf;

use warren_kit::report::{Code, Report};

use crate::cli::VrrpOptions;

/// Runs the failover daemon until it is told to stop.
pub fn vrrp(options: &VrrpOptions) -> Result<(), Report> {
    Err(Report::new(
        Code::Runtime,
        format!(
            "this build has no failover daemon to run {} with",
            options.config.display()
        ),
    ))
}

/// Says what is wrong with configuration files.
pub fn check(files: &[PathBuf], _host: Option<&str>, _out: &mut dyn Write) -> Result<(), Report> {
    Err(Report::new(
        Code::Runtime,
        format!("this build cannot check {} files", files.len()),
    ))
}

/// Prints the warren.toml that a keepalived.conf means.
pub fn import(file: &std::path::Path, _out: &mut dyn Write) -> Result<(), Report> {
    Err(Report::new(
        Code::Runtime,
        format!("this build cannot import {}", file.display()),
    ))
}
