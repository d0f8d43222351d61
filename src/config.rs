//! The `[vrrp]` section as it is written: every key, with the rule it stands for.
//!
//! Three steps lead from text to a running daemon, and each is a type: a file (`Vrrp`, here, from TOML or from
//! keepalived.conf), a validated [`plan::Plan`] with every default filled in, and the running routers. The rustdoc
//! of these fields is the configuration reference (`docs/config.md` is generated from it).
//!
//! Nothing here touches the system: whether an interface exists is for `warren check` and the daemon to say.

mod build;
mod check;
mod keepalived;
pub mod lint;
mod load;
mod names;
pub mod plan;
mod short_forms;
pub mod system;
mod translate;

pub use build::build;
pub use check::check;
pub use keepalived::page as keepalived_page;
pub use load::{Format, Loaded, load, load_as};
pub use translate::translate;
pub use warren_kit::config::ConfigError;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use warren_kit::duration::HumanDuration;

/// The failover daemon: `[vrrp]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vrrp {
    /// Name of this host in mails and notifications; the host name unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Scheduling priority (SCHED_RR) of the thread that sends advertisements, 1 to 99; 0 switches it off. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_priority: Option<Spanned<i64>>,
    /// Group that may use the control socket besides root and the daemon's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_group: Option<Spanned<String>>,
    /// Where Prometheus metrics are served, e.g. `"127.0.0.1:9112"`. Off unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Spanned<String>>,
    /// User (`"user"` or `"user:group"`) that scripts run as. Default: `keepalived_script` if it exists, else the daemon's own user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_user: Option<Spanned<String>>,
    /// Refuse to run a script as root that somebody other than root could change. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script_security: Option<bool>,
    /// How long the kernel keeps an address after the last renewal: `"auto"` (the active-down interval rounded up to a
    /// second), `"off"`, or a duration of whole seconds. Default `"auto"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Spanned<String>>,
    /// Wait this long after the start before taking part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_delay: Option<Spanned<HumanDuration>>,
    /// How often a deleted address is put back within a minute before the role is given up. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair_limit: Option<Spanned<i64>>,
    /// How addresses are announced, unless a router says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<Announce>,
    /// Programs and pipe told about every router's changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Virtual routers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub router: BTreeMap<Spanned<String>, Router>,
    /// Checks by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub check: BTreeMap<Spanned<String>, Check>,
    /// Sync groups by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub group: BTreeMap<Spanned<String>, Group>,
    /// Addresses, routes and rules that stay whatever the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_addresses: Vec<Spanned<Address>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_routes: Vec<Spanned<Route>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub static_rules: Vec<Spanned<Rule>>,
}

/// One virtual router: `[vrrp.router.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Network interface the protocol runs on.
    pub interface: Spanned<String>,
    /// Virtual router identifier, 1 to 255, the same on every host.
    pub vrid: Spanned<i64>,
    /// 2 or 3. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Spanned<i64>>,
    /// `"ipv4"` or `"ipv6"`; follows from the addresses unless there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Spanned<String>>,
    /// 1 to 254; 255 is the address owner. The highest becomes active. Default 254, which makes for the shortest skew;
    /// among equals the higher source address wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Spanned<i64>>,
    /// Advertisement interval: whole seconds for version 2, 10 ms to 40.95 s for version 3. Default `"100ms"` (version 2: `"1s"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Spanned<HumanDuration>>,
    /// Intervals without an advertisement after which the active router is taken for dead, 1 to 100. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_after: Option<Spanned<i64>>,
    /// Virtual addresses, in the order they are advertised. Without any, only the role is elected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Spanned<Address>>,
    /// Addresses that follow the role but are not advertised; either family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded_addresses: Vec<Spanned<Address>>,
    /// When this host takes the role back from a lower-priority one: `"auto"`, `"manual"` or `"after 60s"`. Default `"auto"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback: Option<Spanned<String>>,
    /// Checksum form of VRRPv3 over IPv4: `"auto"`, `"rfc9568"` or `"pseudo-header"`. Default `"auto"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Spanned<String>>,
    /// Form sent before any peer was heard when `checksum` is `"auto"`: `"rfc9568"` (default) or `"pseudo-header"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_first: Option<Spanned<String>>,
    /// VRRPv2 simple password, at most 8 bytes count. It travels in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Spanned<String>>,
    /// Source address of advertisements; the interface's primary (IPv6: link-local) address unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Spanned<IpAddr>>,
    /// Unicast: the other hosts. Without any, advertisements are multicast.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Spanned<Peer>>,
    /// Use the virtual MAC of the RFC on an interface of its own: `true`, or `{ name = "vrrp.51", transmit_base = true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_mac: Option<Spanned<VirtualMac>>,
    /// How addresses are announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<Announce>,
    /// Checks that decide about this router: a name, or `{ check = "NAME", weight = -2 }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Spanned<CheckUse>>,
    /// Ignore the state of `interface` itself (keepalived's dont_track_primary). Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_interface_down: bool,
    /// Routes that follow the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Spanned<Route>>,
    /// Policy rules that follow the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Spanned<Rule>>,
    /// Programs and pipe told about this router's changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Drop IPv6 advertisements whose first address is not link-local (they are only counted by default).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// An address: `"192.0.2.1/24"`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Address {
    /// Address with an optional prefix length; /32 or /128 without one.
    Short(String),
    /// The same with everything said.
    Long(AddressTable),
}

/// An address with its attributes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressTable {
    /// Address with an optional prefix length.
    pub address: String,
    /// Interface that carries it; the router's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Label shown by `ip addr` (IPv4), e.g. `"eth0:vip"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `"global"`, `"site"`, `"link"`, `"host"` or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Broadcast address, or `"+"` for the one of the prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<String>,
    /// Add the prefix's connected route as well. Default: no for /32 and /128, else yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_route: Option<bool>,
}

/// A unicast peer: `"10.0.0.2"`, or `{ address = "10.0.0.2", min_ttl = 254 }`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Peer {
    Short(IpAddr),
    Long(PeerTable),
}

/// A unicast peer with its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTable {
    pub address: IpAddr,
    /// Lowest TTL (hop limit) accepted from it. Default 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ttl: Option<u8>,
}

/// `true`, or a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum VirtualMac {
    Switch(bool),
    Table(VirtualMacTable),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VirtualMacTable {
    /// Name of the macvlan interface; `vrrp.VRID` (IPv6: `vrrp6.VRID`) unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Send advertisements from the base interface, with its own MAC. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub transmit_base: bool,
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Announce {
    /// When a series is sent, counted from the take-over. Default `["0s", "100ms", "1s"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Vec<Spanned<HumanDuration>>>,
    /// Frames per address in each round. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Spanned<i64>>,
    /// Repeated this often while active; `"0s"` for never. Default `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Spanned<HumanDuration>>,
    /// Frames per address in each refresh. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_repeat: Option<Spanned<i64>>,
    /// Rounds after a lower-priority active was heard. Default as `rounds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_priority_rounds: Option<Vec<Spanned<HumanDuration>>>,
    /// Frames per address in each of those. Default as `repeat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_priority_repeat: Option<Spanned<i64>>,
    /// Pause between two frames on one interface. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Spanned<HumanDuration>>,
    /// ARP forms: `["request", "reply"]` by default, since some equipment heeds only one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forms: Option<Vec<Spanned<String>>>,
}

/// A check used by a router: its name, or a table that overrides its weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CheckUse {
    Short(String),
    Long(CheckUseTable),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckUseTable {
    pub check: String,
    /// -253 to 253; 0 releases the role on failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// Turn the check's meaning round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<bool>,
}

/// A health check: `[vrrp.check.NAME]`. Exactly one of `script`, `process`, `file`, `interface`, `tcp`, `http` and `service`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Check {
    /// Program to run: words split as a shell would (`"killall -0 haproxy"`), or a list; exit status 0 is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Spanned<Command>>,
    /// Process that must run, by its exact name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Spanned<String>>,
    /// File with a number: 0 is success. With a weight, the number times the weight is added to the priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Spanned<PathBuf>>,
    /// Interface that must be operational.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Spanned<String>>,
    /// `host:port` that must accept a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Spanned<String>>,
    /// `http://host:port/path` that must answer with a status of 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Spanned<String>>,
    /// A role of this host that must be useful: `"proxy"`, which is asked whether every backend in use has a server, or
    /// `"proxy/BACKEND"`, whether that one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Spanned<String>>,

    /// Time from start to start. Default `"1s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Spanned<HumanDuration>>,
    /// When an attempt counts as failed, whatever it still does. Default: the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Spanned<HumanDuration>>,
    /// Successes in a row until it counts as well. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rise: Option<Spanned<i64>>,
    /// Failures in a row until it counts as failed. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fall: Option<Spanned<i64>>,
    /// What a failure does: `"release"` gives the role up, `"demote"` lowers the priority by `weight`. Default `"release"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Spanned<String>>,
    /// Negative: added to the priority while failed. Positive: added while well. 0: release. -253 to 253.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Spanned<i64>>,
    /// Turn the meaning round.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reverse: bool,
    /// Count as failed until the first success. Default false: the first result decides.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub start_failed: bool,
    /// `"user"` or `"user:group"` the script runs as; `script_user` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Spanned<String>>,
    /// Run the script's words through `/bin/sh -c`. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shell: bool,
    /// Match the whole command line instead of the process name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Vec<String>>,
    /// Fewest and most processes that must match. Defaults 1 and unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<Spanned<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<Spanned<i64>>,
    /// How long a process must have run, or have been gone, before it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_delay: Option<Spanned<HumanDuration>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_delay: Option<Spanned<HumanDuration>>,
}

/// A command: one string, split at blanks with shell quoting, or a list of words.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Command {
    Line(String),
    Words(Vec<String>),
}

/// A sync group: `[vrrp.group.NAME]`. Its routers change state together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Members, by name.
    pub routers: Vec<Spanned<String>>,
    /// Checks that count for every member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Spanned<CheckUse>>,
    /// Let checks with weights count for members (keepalived's sync_group_tracking_weight). Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tracking_weight: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

/// Programs that are told about changes. Each is called with keepalived's arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Called as active / backup / failed / stopped, with no arguments of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Spanned<Command>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Spanned<Command>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Spanned<Command>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Spanned<Command>>,
    /// Called after each of those with `INSTANCE|GROUP NAME STATE PRIORITY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Spanned<Command>>,
    /// Called when, as active, a lower-priority active is heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_priority: Option<Spanned<Command>>,
    /// Named pipe that gets a line `INSTANCE "NAME" STATE PRIORITY` for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo: Option<Spanned<PathBuf>>,
    /// Program started with the pipe's path as its last argument and kept running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo_reader: Option<Spanned<Command>>,
    /// `"user"` or `"user:group"`; `script_user` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Spanned<String>>,
    /// When a program is killed. Default `"30s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Spanned<HumanDuration>>,
}

/// A route that follows the role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination prefix, or `"default"`.
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// A policy rule that follows the role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// The name of this host, as the kernel has it. It selects the `[host.NAME]` overrides.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "localhost".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
