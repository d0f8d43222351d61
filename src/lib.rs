//! Warren's VRRP failover daemon and the appliance's entry point. ARCHITECTURE.md has the picture.
#![forbid(unsafe_code)]

pub mod config;
pub mod frames;
pub mod netlink;

#[cfg(test)]
mod namespace;
