//! Warren's VRRP failover daemon and the appliance's entry point. ARCHITECTURE.md has the picture.
#![forbid(unsafe_code)]

mod addresses;
pub mod checking;
pub mod cli;
pub mod config;
mod control;
mod daemon;
pub mod daemonise;
pub mod docs;
pub mod formats;
pub mod frames;
pub mod guard;
mod history;
mod instance;
pub mod links;
mod metrics;
mod neighbour;
pub mod netlink;
pub mod notify;
pub mod plumbing;
pub mod program;
mod protocol;
mod realtime;
pub mod roles;
pub mod run;
mod status;
pub mod track;
mod wire;
mod words;

#[cfg(test)]
mod namespace;
#[cfg(test)]
#[path = "../tests/skip.rs"]
mod skip;
