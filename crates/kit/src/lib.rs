//! What every daemon of the appliance needs and no word of any domain.
//!
//! Reading a file and telling what is wrong with it:
//! - [`duration`]: durations as operators write them, `"100ms"`.
//! - [`diagnostics`]: messages that point into a file with a caret.
//! - [`suggest`]: "did you mean".
//! - [`config`]: `warren.toml` with spans, host overrides and one section per role, and from there to a role's plan;
//!   the sources of other formats.
//! - [`report`]: exit codes, and the chain of causes a program ends with.
//!
//! Being a process among others:
//! - [`clock`]: the one place that reads clocks.
//! - [`accounts`]: users and groups by name.
//! - [`chains`]: how many may vouch for a client's certificate.
//! - [`words`]: a command line taken apart without a shell.
//! - [`child`]: a program run to its end or its deadline.
//! - [`control`]: control sockets, both ends.
//! - [`logging`]: where log lines go, without ever waiting.
//! - [`repeats`]: keeps what happens all the time out of the log.
//! - [`metrics`]: text for a Prometheus server over HTTP.
//! - [`form`]: values of forms and queries.
//! - [`pacing`]: connections that stay on this host need none.
//! - [`prints`]: whether files have changed.
//! - [`proxy_header`]: the PROXY protocol, by which one daemon tells the next who a client is.
//! - [`runtime_dir`]: the directory of sockets.
//! - [`systemd`]: ready, reloading, stopping, alive.
//! - [`terminal`]: whether to use colour.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod chains;
pub mod child;
pub mod clock;
pub mod config;
pub mod control;
pub mod descriptors;
pub mod diagnostics;
pub mod duration;
pub mod form;
pub mod logging;
pub mod metrics;
pub mod pacing;
pub mod prints;
pub mod proxy_header;
pub mod repeats;
pub mod report;
pub mod runtime_dir;
pub mod setbacks;
pub mod suggest;
pub mod systemd;
pub mod terminal;
pub mod threads;
pub mod words;
