//! What the command line sets going: one function for each thing that is not a conversation with a running daemon.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use warren_kit::report::{Code, Report};

use crate::cli::VrrpOptions;
use crate::config;

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

/// Says what is wrong with configuration files, with carets.
pub fn check(
    files: &[PathBuf],
    host: Option<&str>,
    colour: bool,
    out: &mut dyn Write,
) -> Result<Code, Report> {
    let host = host.map_or_else(config::host_name, str::to_owned);
    let mut code = Code::Success;
    for file in files {
        match config::load(file, config::Format::of(file), &host) {
            Ok(loaded) => {
                out.write_all(loaded.render_warnings(colour).as_bytes())?;
                let routers = loaded.plan.routers.len();
                writeln!(
                    out,
                    "{}: right, {routers} virtual router{}",
                    file.display(),
                    if routers == 1 { "" } else { "s" }
                )?;
            }
            Err(error) => {
                out.write_all(error.render(colour).as_bytes())?;
                code = Code::Config;
            }
        }
    }
    Ok(code)
}

/// Prints the warren.toml that a keepalived.conf means; what is wrong with it goes to standard error.
pub fn import(file: &Path, colour: bool, out: &mut dyn Write) -> Result<Code, Report> {
    match config::load(file, config::Format::Keepalived, &config::host_name()) {
        Ok(loaded) => {
            out.write_all(config::translate(&loaded).as_bytes())?;
            Ok(Code::Success)
        }
        Err(error) => {
            io::stderr().write_all(error.render(colour).as_bytes())?;
            Ok(Code::Config)
        }
    }
}
