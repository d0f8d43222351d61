//! The validated configuration: every default filled in, every name resolved, every number in range.
//!
//! `PartialEq` on each part is what a reload compares: an equal router keeps running untouched.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use warren_vrrp::packet::Password;
use warren_vrrp::{Family, Settings};

/// Everything the daemon runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of this host as it appears in notifications.
    pub router_id: String,
    /// SCHED_RR priority of the protocol thread; `None` = ordinary scheduling.
    pub realtime_priority: Option<u8>,
    pub control_group: Option<String>,
    pub metrics: Option<SocketAddr>,
    pub lease: Lease,
    pub startup_delay: Duration,
    pub repair_limit: u32,
    pub script_security: bool,
    pub routers: Vec<RouterPlan>,
    pub groups: Vec<GroupPlan>,
    pub checks: Vec<CheckPlan>,
    pub notify: NotifyPlan,
    pub static_addresses: Vec<AddressPlan>,
    pub static_routes: Vec<RoutePlan>,
    pub static_rules: Vec<RulePlan>,
}

/// How long the kernel keeps our addresses without renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Per router: max(1 s, active-down interval rounded up to a second).
    Auto,
    /// For ever.
    Off,
    /// Whole seconds.
    Fixed(Duration),
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterPlan {
    pub name: Arc<str>,
    pub interface: String,
    pub settings: Settings,
    /// Base priority; 255 = owner.
    pub priority: u8,
    /// Advertised addresses, in order.
    pub addresses: Vec<AddressPlan>,
    /// Addresses that follow the role unadvertised.
    pub excluded: Vec<AddressPlan>,
    pub checksum: warren_vrrp::checksum::ChecksumPolicy,
    /// VRRPv2 simple password.
    pub password: Option<Password>,
    /// Source of advertisements instead of the interface's own.
    pub source: Option<IpAddr>,
    pub delivery: Delivery,
    pub virtual_mac: Option<VirtualMacPlan>,
    pub announce: AnnouncePlan,
    /// Checks that decide, with the weight each has here.
    pub checks: Vec<CheckWeight>,
    pub ignore_interface_down: bool,
    pub routes: Vec<RoutePlan>,
    pub rules: Vec<RulePlan>,
    pub notify: NotifyPlan,
    /// Refuse adverts whose first IPv6 address is not link-local.
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Multicast,
    Unicast(Vec<PeerPlan>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerPlan {
    pub address: IpAddr,
    pub min_ttl: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMacPlan {
    /// Name of the macvlan interface.
    pub name: String,
    pub mac: [u8; 6],
    /// Advertise from the base interface.
    pub transmit_base: bool,
}

/// An address we add and remove.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressPlan {
    pub address: IpAddr,
    pub prefix: u8,
    /// Interface that carries it; `None` = the router's (or its virtual MAC interface).
    pub device: Option<String>,
    pub label: Option<String>,
    /// rtnetlink scope: 0 global, 253 link, 254 host.
    pub scope: u8,
    pub broadcast: Option<std::net::Ipv4Addr>,
    /// Let the kernel add the connected route of the prefix.
    pub prefix_route: bool,
}

impl AddressPlan {
    #[must_use]
    pub fn family(&self) -> Family {
        if self.address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncePlan {
    /// Offsets from the take-over, ascending.
    pub rounds: Vec<Duration>,
    pub repeat: u32,
    /// `None` = never.
    pub refresh: Option<Duration>,
    pub refresh_repeat: u32,
    pub lower_priority_rounds: Vec<Duration>,
    pub lower_priority_repeat: u32,
    pub gap: Duration,
    pub arp_request: bool,
    pub arp_reply: bool,
}

/// A check as one router uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckWeight {
    /// Index into `Plan::checks`.
    pub check: usize,
    /// `None` = a failure releases the role.
    pub weight: Option<i16>,
    pub reverse: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CheckPlan {
    pub name: Arc<str>,
    pub kind: CheckKind,
    pub interval: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
    pub start_failed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// A program; `killall -0 NAME`, `pidof NAME` and `pgrep -x NAME` have become `Process`.
    Script {
        argv: Vec<String>,
        user: Option<UserPlan>,
    },
    Process(ProcessPlan),
    /// The file's number: 0 is success; weighted uses multiply it.
    File {
        path: PathBuf,
    },
    Interface {
        name: String,
    },
    Tcp {
        target: String,
    },
    Http {
        host: String,
        target: String,
        path: String,
    },
    /// The proxy of this host, asked over its control socket whether clients would be served.
    Service {
        /// By this backend; by all that are in use if not named.
        backend: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    pub name: String,
    /// Whole command line instead of the name.
    pub command_line: Option<Vec<String>>,
    pub least: u32,
    pub most: Option<u32>,
    pub up_delay: Duration,
    pub down_delay: Duration,
}

/// The user a program runs as, by name; resolved when the daemon starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPlan {
    pub user: String,
    pub group: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GroupPlan {
    pub name: Arc<str>,
    /// Indices into `Plan::routers`.
    pub routers: Vec<usize>,
    pub tracking_weight: bool,
    pub notify: NotifyPlan,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct NotifyPlan {
    pub master: Option<Vec<String>>,
    pub backup: Option<Vec<String>>,
    pub fault: Option<Vec<String>>,
    pub stop: Option<Vec<String>>,
    pub change: Option<Vec<String>>,
    pub lower_priority: Option<Vec<String>>,
    pub fifo: Option<PathBuf>,
    pub fifo_reader: Option<Vec<String>>,
    pub user: Option<UserPlan>,
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutePlan {
    pub family: Family,
    /// `None` = default.
    pub to: Option<(IpAddr, u8)>,
    pub via: Option<IpAddr>,
    pub device: Option<String>,
    pub source: Option<IpAddr>,
    pub table: Option<u32>,
    pub metric: Option<u32>,
    pub scope: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RulePlan {
    pub family: Family,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    pub table: Option<u32>,
    pub preference: Option<u32>,
    pub mark: Option<u32>,
    pub device: Option<String>,
}
