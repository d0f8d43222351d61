//! The state of a failover daemon at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Micros, Timestamp};

/// Everything `warren status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Name of this host as notifications give it.
    pub host: String,
    /// Version of the running binary.
    pub version: String,
    /// When this was true.
    pub time: Timestamp,
    /// When the worker started.
    pub since: Timestamp,
    pub processes: Processes,
    /// Path of the configuration in force.
    pub config: String,
    /// When it was read.
    pub config_read: Timestamp,
    pub realtime: Realtime,
    pub lease: Lease,
    pub routers: Vec<RouterStatus>,
    pub groups: Vec<GroupStatus>,
    pub checks: Vec<CheckStatus>,
    /// VRIDs heard on our interfaces that we do not have, at most a few dozen.
    pub foreign: Vec<ForeignRouter>,
    /// What an operator should put right, one sentence each.
    pub warnings: Vec<String>,
}

/// The processes of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processes {
    /// The unit's main process; `None` = the worker runs without one.
    pub guard: Option<u32>,
    pub worker: u32,
    /// How often the guard has restarted the worker.
    pub restarts: u32,
}

/// Whether adverts are sent by a real-time thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Realtime {
    /// SCHED_RR is in force.
    pub scheduling: bool,
    /// Its priority when it is.
    pub priority: Option<u8>,
    /// Memory is locked.
    pub memory_locked: bool,
    /// Why one of the two is not so, ending with what to do.
    pub reason: Option<String>,
}

/// How long the kernel keeps virtual addresses that nobody renews.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// `"auto"`, `"off"` or `"fixed"`.
    pub mode: String,
    /// Share of one core that renewing costs, in thousandths of a percent.
    pub cost_millipercent: u32,
    /// Leases are longer than configured because renewing would cost too much.
    pub lengthened: bool,
}

/// State of the protocol's section 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not taking part.
    #[default]
    Initialize,
    /// Listening for an active router.
    Backup,
    /// Holding the addresses.
    Active,
    /// A word of a newer daemon.
    #[serde(other)]
    Unknown,
}

impl State {
    /// As the protocol's texts write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Initialize => "INITIALIZE",
            Self::Backup => "BACKUP",
            Self::Active => "ACTIVE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What a router is doing within its state; absent when it is doing the ordinary thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Initialize: the interface is missing, down or without a usable source address.
    WaitingForLink,
    /// Initialize: the start-up delay is running.
    StartupDelay,
    /// Initialize: a releasing check has failed, or its first result is awaited.
    Unfit,
    /// Initialize: a member of the sync group is not well.
    GroupUnfit,
    /// Initialize: drained by the operator.
    Drained,
    /// Initialize: gave up because its addresses were deleted again and again or held by another host.
    Surrendered,
    /// Active, but woke up late: listens for another active before it speaks again.
    Listening,
    /// Active, has announced priority 0 and keeps the addresses until the successor is heard.
    HandingOver,
    /// Backup: would preempt, and waits for the failback delay to pass.
    FailbackDelay,
    /// A word of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// Why a router is in its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// For programs, see [`cause`].
    pub code: String,
    /// A clause that follows "because", e.g. `10.0.0.2 was silent for 3.6 s`; empty lets [`super::cause_in_words`]
    /// build it from the fields below.
    pub text: String,
    /// The other router, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Its priority at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<u8>,
    /// Ours at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ours: Option<u8>,
    /// How long nothing had been heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence_us: Option<Micros>,
}

/// Codes of [`Cause`].
pub mod cause {
    pub const OWNER: &str = "owner";
    pub const STARTED: &str = "started";
    pub const ACTIVE_SILENT: &str = "active-silent";
    pub const PEER_RESIGNED: &str = "peer-resigned";
    pub const OUTRANKED: &str = "outranked";
    pub const PREEMPTED: &str = "preempted";
    pub const LINK_LOST: &str = "link-lost";
    pub const UNFIT: &str = "unfit";
    pub const HANDED_OVER: &str = "handed-over";
    pub const ADOPTED: &str = "adopted";
    pub const GROUP: &str = "group";
    pub const SURRENDERED: &str = "surrendered";
    pub const DRAINED: &str = "drained";
    pub const SHUTDOWN: &str = "shutdown";
}

/// One virtual router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterStatus {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    /// `"ipv4"` or `"ipv6"`.
    pub family: String,
    /// Protocol version, 2 or 3.
    pub version: u8,
    pub state: State,
    pub phase: Option<Phase>,
    /// What keepalived calls it: `MASTER`, `BACKUP`, `FAULT` or `STOP`.
    pub keepalived: String,
    /// When `state` was entered.
    pub since: Timestamp,
    /// Why it was.
    pub cause: Cause,
    /// As configured; 255 is the address owner's.
    pub base_priority: u8,
    /// What is advertised: `base_priority` and the contributions, kept within 1 to 254.
    pub priority: u8,
    /// Every check of this router and its group, in configured order.
    pub contributions: Vec<Contribution>,
    /// Own advertisement interval.
    pub interval_us: Micros,
    /// The active router's, when it differs (version 3).
    pub learned_interval_us: Option<Micros>,
    /// Silence after which the active router is taken for dead.
    pub active_down_us: Micros,
    /// This router's head start over lower ones, part of the above.
    pub skew_us: Micros,
    /// How long the kernel keeps its addresses without renewal; `None` = for ever.
    pub lease_us: Option<Micros>,
    /// The other router that is active, as seen from here.
    pub active_peer: Option<Peer>,
    /// Every sender heard for this router, at most a few dozen.
    pub peers: Vec<Peer>,
    pub addresses: Vec<AddressStatus>,
    /// Drained by the operator.
    pub drained: bool,
    /// Another host answers for one of our addresses while we are active.
    pub dual_active: Option<DualActive>,
    pub counters: Counters,
    pub lateness: Lateness,
}

/// What one check does to one router's priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contribution {
    /// Name of the check.
    pub check: String,
    /// `None` = a failure releases the role.
    pub weight: Option<i16>,
    /// The check's meaning is turned round for this router.
    pub reverse: bool,
    /// What is being added to the priority now.
    pub counted: i32,
    /// This check is what keeps the router from taking part.
    pub releases: bool,
}

/// Another router of the same VRID.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    pub address: Option<IpAddr>,
    /// The last one it announced.
    pub priority: u8,
    /// When it was last heard.
    pub heard_ago_us: Micros,
    /// Its advertisement interval.
    pub interval_us: Micros,
    /// Checksum form it uses (version 3 over IPv4): `"rfc9568"` or `"pseudo-header"`.
    pub checksum: Option<String>,
}

/// A virtual address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressStatus {
    pub address: Option<IpAddr>,
    /// Prefix length.
    pub prefix: u8,
    /// Interface that carries it.
    pub device: String,
    /// Part of the advertisement; false for excluded addresses.
    pub advertised: bool,
    /// The kernel has it, as told by the kernel.
    pub in_kernel: bool,
}

/// Another host answers for our address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DualActive {
    pub address: Option<IpAddr>,
    /// Its MAC address, `02:00:5e:00:00:01`.
    pub mac: String,
    pub since: Timestamp,
}

/// Counts since the router was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    /// Advertisements with priority 0.
    pub resignations_sent: u64,
    pub resignations_received: u64,
    pub send_errors: u64,
    /// Packets that failed a receive check, by its name; zeroes are left out.
    pub rejected: BTreeMap<String, u64>,
    pub became_active: u64,
    /// Gratuitous ARP and unsolicited neighbour advertisement frames.
    pub announcements_sent: u64,
    /// Virtual addresses put back after somebody else deleted them.
    pub repairs: u64,
}

/// How late timers were acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lateness {
    pub last_us: Micros,
    pub worst_us: Micros,
    /// Times the router treated itself as having been away.
    pub absences: u64,
}

/// Routers that change state together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupStatus {
    pub name: String,
    pub state: State,
    /// What keepalived calls it.
    pub keepalived: String,
    pub since: Timestamp,
    /// Names of the members.
    pub routers: Vec<String>,
}

/// A VRID on the wire that is not ours: another pair, or a mistake in a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForeignRouter {
    pub interface: String,
    pub vrid: u8,
    /// `"ipv4"` or `"ipv6"`.
    pub family: String,
    pub address: Option<IpAddr>,
    pub priority: u8,
    pub heard_ago_us: Micros,
}

/// Verdict on a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No result yet.
    #[default]
    Pending,
    Well,
    Failed,
    /// A word of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// One check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckStatus {
    pub name: String,
    /// What is looked at: `script /usr/bin/chk`, `process haproxy`, `tcp 127.0.0.1:80`.
    pub what: String,
    pub verdict: Verdict,
    /// When the verdict was reached.
    pub since: Timestamp,
    pub interval_us: Micros,
    pub timeout_us: Micros,
    /// Successes in a row it takes to be well, and failures to be failed.
    pub rise: u32,
    pub fall: u32,
    /// Results in a row that speak against the verdict.
    pub contrary: u32,
    /// A file's number; the processes found.
    pub value: Option<i64>,
    pub runs: u64,
    pub failures: u64,
    pub last: Option<CheckRun>,
    /// Routers it decides about.
    pub routers: Vec<String>,
}

/// The last attempt of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckRun {
    pub ok: bool,
    pub time: Timestamp,
    pub took_us: Micros,
    /// `exit 1`, `timed out after 2 s`, `connection refused`, `no process haproxy`.
    pub result: String,
    /// The last lines it printed, cut to a few hundred bytes.
    pub output: String,
}
