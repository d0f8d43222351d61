//! The command line's conversations with running daemons: ask, and put the answer into words.
//!
//! What is asked and answered is typed in `warren-api`; how it travels is `warren-kit`'s. Here is what an operator
//! reads: text on a terminal or in a pipe, or the answer itself as JSON.
#![forbid(unsafe_code)]

pub mod broker;
mod clock;
mod paint;
pub mod proxy;
pub mod run;
pub mod vrrp;

use std::io::{self, Write};

use warren_kit::control::ClientError;

/// Where an answer goes and how it should look.
pub struct View<'a> {
    pub out: &'a mut dyn Write,
    pub colour: bool,
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon's own words.
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error("there is no virtual router `{name}`; {help}")]
    NoSuchRouter { name: String, help: String },
    #[error(
        "the daemon answered something else than was asked for; client and daemon may be of different versions"
    )]
    Unexpected,
    #[error("the installed binary does not start, and the old one goes on: see the daemon's log")]
    OldBinary,
    #[error("the installed binary was not running after {0:?}: see the daemon's log")]
    NotUpgraded(std::time::Duration),
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// The reader of our output has seen enough (`| head`): no error at all.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The caller's user may not do this.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Daemon(ClientError::Denied { .. }) => true,
            Self::Refused { code, .. } => code == warren_api::vrrp::refusal::FORBIDDEN,
            _ => false,
        }
    }
}

/// JSON as people read it: the whole value, indented, and a line's end.
fn write_json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), Error> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
