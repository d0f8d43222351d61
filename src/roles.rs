//! What the command line sets going: one function for each thing that is not a conversation with a running daemon.

use std::io::Write;
use std::path::PathBuf;

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

/// Says what is wrong with configuration files.
pub fn check(files: &[PathBuf], host: Option<&str>, colour: bool, out: &mut dyn Write) -> Result<(), Report> {
    let host = host.map_or_else(host_name, |host| Ok(host.to_owned()))?;
    let mut wrong = 0;
    for file in files {
        match config::load(file, config::Format::of(file), &host) {
            Ok(loaded) => {
                out.write_all(loaded.render_warnings(colour).as_bytes())?;
                writeln!(
                    out,
                    "{}: right, {} virtual routers",
                    file.display(),
                    loaded.plan.routers.len()
                )?;
            }
            Err(error) => {
                wrong += 1;
                out.write_all(error.render(colour).as_bytes())?;
            }
        }
    }
    match wrong {
        0 => Ok(()),
        _ => Err(Report::new(
            Code::Config,
            format!("{wrong} of {} files cannot be run", files.len()),
        )),
    }
}

fn host_name() -> Result<String, Report> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}

/// Prints the warren.toml that a keepalived.conf means.
pub fn import(file: &std::path::Path, _out: &mut dyn Write) -> Result<(), Report> {
    Err(Report::new(
        Code::Runtime,
        format!("this build cannot import {}", file.display()),
    ))
}
