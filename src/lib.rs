//! Warren's VRRP failover daemon and the appliance's entry point. ARCHITECTURE.md has the picture.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod daemonise;
pub mod docs;
pub mod frames;
pub mod links;
pub mod netlink;
pub mod notify;
pub mod plumbing;
pub mod program;
pub mod roles;
pub mod track;

#[cfg(test)]
mod namespace;
