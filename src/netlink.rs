//! Everything said to and heard from the kernel over route netlink.
//!
//! `rtnetlink` breaks its interface with every release; it is used in this module only, and mostly for its message
//! types: the requests are sent by our own blocking [`Netlink`], many in one system call.
//! Deliberately absent: any knowledge of virtual routers.

pub mod address;
pub mod batch;
mod interfaces;
pub mod macvlan;
pub mod monitor;
pub mod route;
pub mod statics;

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;

pub use address::{Address, kernel_keeps_tags, leftovers, present};
pub use batch::{Batch, Failure, Netlink, NetlinkError};
pub use interfaces::{Change, Interface, Interfaces};
pub use monitor::Monitor;
pub use route::{Route, Rule, delete_leftover_routes_and_rules};

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

#[cfg(test)]
mod tests;
