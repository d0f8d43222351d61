//! `show info`: the process as a whole, with HAProxy's keys in HAProxy's order.
//!
//! Keys about what is not there (compression, peers, memory pools) have the values that HAProxy shows when it does
//! without. `TotalSplicdedBytesOut` is spelt as there.

use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::field::Tags;
use super::rows::Value;
use super::typed;
use crate::live::{Live, PipeCount};
use crate::session::relay::pipe::PIPES_MAX;
use crate::tls;

/// What the process is, and what of it nothing else in [`crate::live`] says. Made once, at the start.
#[derive(Debug)]
pub struct Process {
    /// Of the program.
    pub version: String,
    /// Of that version, `2026/10/17`.
    pub release_date: String,
    /// Ours.
    pub pid: u32,
    /// When the service began its work, which a binary upgrade keeps.
    pub started: SystemTime,
    /// Files it may open (`Ulimit-n`).
    pub files: u32,
    /// Name of the host, unless `node` says otherwise.
    pub host: String,
    /// It ends once its sessions have.
    pub stopping: AtomicBool,
    /// The process this one took over from, if it has sessions left.
    pub former: OnceLock<Former>,
    /// Log lines for which there was no room, or nobody to take them.
    pub dropped_logs: crate::logs::Dropped,
    /// Octets to clients in the last second; kept by [`super::History`].
    pub bytes_out_rate: AtomicU64,
    /// Percent of the last second in which nothing was to be done; kept by [`super::History`].
    pub idle_percent: AtomicU32,
}

/// A process that gave everything away but sessions that cannot travel, which it finishes.
#[derive(Debug)]
pub struct Former {
    /// Its number.
    pub pid: u32,
    /// Sessions that it kept; there are fewer and fewer.
    pub sessions: u32,
    /// Says when it has ended.
    life: OwnedFd,
}

impl Former {
    /// Nothing if it has no sessions, or is gone already.
    #[must_use]
    pub fn new(pid: u32, sessions: u32) -> Option<Self> {
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        let life = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()?;
        (sessions > 0).then_some(Self { pid, sessions, life })
    }

    fn lives(&self) -> bool {
        let mut ended = [PollFd::new(&self.life, PollFlags::IN)];
        // A descriptor of a process can be read from once that has ended.
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
    }
}

impl Process {
    /// Whoever served before and still has sessions.
    #[must_use]
    pub fn former(&self) -> Option<&Former> {
        self.former.get().filter(|former| former.lives())
    }

    /// This process, of this version.
    #[must_use]
    pub fn this(version: &str, release_date: &str) -> Self {
        let host = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok());
        let files = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        Self {
            version: version.to_owned(),
            release_date: release_date.to_owned(),
            pid: std::process::id(),
            started: warren_kit::clock::wall_clock(),
            files: files.map_or(0, |(soft, _)| u32::try_from(soft).unwrap_or(u32::MAX)),
            host: host.unwrap_or_default(),
            stopping: AtomicBool::new(false),
            former: OnceLock::new(),
            dropped_logs: crate::logs::Dropped::default(),
            bytes_out_rate: AtomicU64::new(0),
            idle_percent: AtomicU32::new(100),
        }
    }
}

/// One key with its value.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number, as typed output counts.
    pub place: usize,
    /// Its name.
    pub name: &'static str,
    /// What kind of value it is.
    pub tags: Tags,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// The value.
    pub value: Value,
}

/// All keys at one moment.
#[derive(Clone, Debug)]
pub struct Info {
    items: Vec<Item>,
    /// Number and sessions of the process that served before, while it has some.
    pub former: Option<(u32, u32)>,
}

/// What the values are made from.
struct Source<'a> {
    live: &'a Live,
    process: &'a Process,
    now: warren_balance::Instant,
    uptime: Duration,
    totals: crate::live::Totals,
    plan: std::sync::Arc<crate::plan::Plan>,
    listeners: u32,
}

impl Info {
    /// The process at `now`.
    #[must_use]
    pub fn take(live: &Live, process: &Process, now: std::time::Instant) -> Self {
        let snapshot = live.snapshot();
        let open = |frontend: &&std::sync::Arc<crate::live::Frontend>| {
            !frontend.stopped.load(Relaxed) && !frontend.paused.load(Relaxed) && !frontend.plan().disabled
        };
        let binds = snapshot
            .frontends
            .iter()
            .filter(open)
            .map(|it| it.plan().binds.len());
        let sockets = snapshot.plan.global.sockets.len();
        let source = Source {
            live,
            process,
            now: live.time(now),
            uptime: now.saturating_duration_since(live.started()),
            totals: live.tally.totals(),
            listeners: u32::try_from(binds.sum::<usize>() + sockets).unwrap_or(u32::MAX),
            plan: std::sync::Arc::clone(&snapshot.plan),
        };
        let item = |(place, name, tags, help, value): &Entry| Item {
            place: *place,
            name,
            tags: Tags::new(tags),
            help,
            value: value(&source),
        };
        Self {
            items: ENTRIES
                .iter()
                .map(item)
                .filter(|item| item.value != Value::Empty)
                .collect(),
            former: process.former().map(|former| (former.pid, former.sessions)),
        }
    }

    /// A value by its key.
    #[must_use]
    pub fn value(&self, name: &str) -> &Value {
        let item = self.items.iter().find(|item| item.name == name);
        item.map_or(&Value::Empty, |item| &item.value)
    }

    /// What a key says, in a sentence; empty if there is no such key.
    #[must_use]
    pub fn help(name: &str) -> &'static str {
        let entry = ENTRIES.iter().find(|(_, key, ..)| *key == name);
        entry.map_or("", |(.., help, _)| help)
    }

    /// `show info`.
    #[must_use]
    pub fn text(&self, described: bool) -> String {
        let mut text = String::new();
        for item in &self.items {
            let _ = write!(text, "{}: {}", item.name, item.value);
            if described {
                let _ = write!(text, ":\"{}\"", item.help);
            }
            text.push('\n');
        }
        text
    }

    /// `show info typed`.
    #[must_use]
    pub fn typed(&self, described: bool) -> String {
        let mut text = String::new();
        for item in &self.items {
            let _ = write!(text, "{}.", item.place);
            typed::write_line(&mut text, item.name, item.tags, &item.value);
            if described {
                let _ = write!(text, ":\"{}\"", item.help);
            }
            text.push('\n');
        }
        text
    }

    /// `show info json`.
    #[must_use]
    pub fn json(&self) -> String {
        let items = self.items.iter().filter_map(|item| {
            typed::item(item.place, item.name, item.tags, &item.value).map(|inside| format!("{{{inside}}}"))
        });
        format!("[{}]", items.collect::<Vec<_>>().join(","))
    }
}

impl Source<'_> {
    fn pipes(&self, which: fn(&PipeCount) -> &AtomicU32) -> Value {
        let numbers = self.live.pipes.iter().map(|count| which(count).load(Relaxed));
        Value::U32(numbers.fold(0, u32::saturating_add))
    }

    /// Of the clients that began TLS in the last second, those that went on with an earlier session.
    fn reuse(&self) -> Value {
        let keys = u64::from(self.live.encryption.client_keys.now(self.now));
        let all = u64::from(self.live.tls_rate.now(self.now)).max(keys);
        let percent = match all {
            0 => 0,
            all => 100 - (100 * keys + (all - 1) / 2) / all,
        };
        saturating(percent)
    }

    fn maxconn(&self) -> u32 {
        match self.live.maxconn.load(Relaxed) {
            0 => self.plan.global.maxconn.get(),
            limit => limit,
        }
    }

    fn connection_rate_limit(&self) -> Value {
        rate_limit(&self.live.rate_limits.connections, self.plan.global.maxconnrate)
    }

    fn handshake_rate_limit(&self) -> Value {
        rate_limit(&self.live.rate_limits.handshakes, self.plan.global.maxsslrate)
    }
}

/// What the operator has set, or else what the configuration says; 0 is no limit.
fn rate_limit(set: &AtomicU32, configured: Option<NonZeroU32>) -> Value {
    Value::U32(match set.load(Relaxed) {
        0 => configured.map_or(0, NonZeroU32::get),
        limit => limit,
    })
}

type Entry = (
    usize,
    &'static str,
    &'static str,
    &'static str,
    fn(&Source<'_>) -> Value,
);

fn nothing(_: &Source<'_>) -> Value {
    Value::U32(0)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned().into())
}

/// Wraps as HAProxy's 32-bit counters do.
#[expect(
    clippy::cast_possible_truncation,
    reason = "HAProxy's counters of this width wrap"
)]
const fn wrapping(number: u64) -> Value {
    Value::U32(number as u32)
}

fn saturating(number: u64) -> Value {
    Value::U32(u32::try_from(number).unwrap_or(u32::MAX))
}

fn uptime(uptime: Duration) -> Value {
    let seconds = uptime.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    Value::Text(format!("{days}d {hours}h{minutes:02}m{:02}s", seconds % 60).into())
}

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    (0, "Name", "POS", "Name of the product whose words these are.", |_| text("HAProxy")),
    (1, "Version", "POS", "Version.", |it| text(&it.process.version)),
    (2, "Release_date", "POS", "Date of the version.", |it| text(&it.process.release_date)),
    (3, "Nbthread", "CGS", "Worker threads.", |it| saturating(it.live.workers as u64)),
    (4, "Nbproc", "CGS", "Worker processes, always 1.", |_| Value::U32(1)),
    (5, "Process_num", "KGP", "Number of the process, always 1.", |_| Value::U32(1)),
    (6, "Pid", "SGP", "Number of the process for the system.", |it| Value::U32(it.process.pid)),
    (7, "Uptime", "MDP", "Time since the start in days, hours, minutes and seconds.", |it| uptime(it.uptime)),
    (8, "Uptime_sec", "MDP", "Seconds since the start.", |it| saturating(it.uptime.as_secs())),
    (9, "Memmax_MB", "CLP", "Limit on memory in MB, 0 is none.", nothing),
    (10, "PoolAlloc_MB", "MGP", "Memory of pools in MB; there are no pools here.", nothing),
    (11, "PoolUsed_MB", "MGP", "Memory of pools in use in MB.", nothing),
    (12, "PoolFailed", "MCP", "Allocations that failed.", nothing),
    (13, "Ulimit-n", "CLP", "Files that may be open.", |it| Value::U32(it.process.files)),
    (14, "Maxsock", "CLP", "Sockets that may be open.", |it| Value::U32(it.process.files)),
    (15, "Maxconn", "CLP", "Client connections allowed at once.", |it| Value::U32(it.maxconn())),
    (16, "Hard_maxconn", "CLP", "The most that Maxconn can be set to.", |it| Value::U32(it.plan.global.maxconn.get())),
    (17, "CurrConns", "MGP", "Client connections now.", |it| Value::U32(it.live.connections.now())),
    (18, "CumConns", "MCP", "Client connections.", |it| wrapping(it.totals.connections)),
    (19, "CumReq", "MCP", "Sessions and requests.", |it| wrapping(it.totals.sessions.max(it.totals.requests))),
    (20, "MaxSslConns", "MMP", "Limit on TLS connections, 0 is none.", nothing),
    (21, "CurrSslConns", "MGP", "TLS connections now, to clients and to servers.", |it| Value::U32(it.live.encryption.connections.now())),
    (22, "CumSslConns", "MCP", "TLS connections.", |it| wrapping(it.totals.handshakes)),
    (23, "Maxpipes", "CLP", "Limit on pipes, 0 is none.", |it| saturating((PIPES_MAX * it.live.workers) as u64)),
    (24, "PipesUsed", "MGP", "Pipes in use.", |it| it.pipes(|count| &count.used)),
    (25, "PipesFree", "MGP", "Pipes kept for use.", |it| it.pipes(|count| &count.spare)),
    (26, "ConnRate", "MRP", "New connections in the last second.", |it| Value::U32(it.live.connection_rate.now(it.now))),
    (27, "ConnRateLimit", "CLP", "New connections allowed per second, 0 is any number.", |it| it.connection_rate_limit()),
    (28, "MaxConnRate", "MMP", "Most new connections in a second.", |it| Value::U32(it.live.connection_rate.most())),
    (29, "SessRate", "MRP", "New sessions in the last second.", |it| Value::U32(it.live.session_rate.now(it.now))),
    (30, "SessRateLimit", "CLP", "New sessions allowed per second, 0 is any number.", |it| Value::U32(it.live.rate_limits.sessions.load(Relaxed))),
    (31, "MaxSessRate", "MRP", "Most new sessions in a second.", |it| Value::U32(it.live.session_rate.most())),
    (32, "SslRate", "MRP", "TLS handshakes in the last second.", |it| Value::U32(it.live.tls_rate.now(it.now))),
    (33, "SslRateLimit", "CLP", "TLS handshakes allowed per second, 0 is any number.", |it| it.handshake_rate_limit()),
    (34, "MaxSslRate", "MMP", "Most TLS handshakes in a second.", |it| Value::U32(it.live.tls_rate.most())),
    (35, "SslFrontendKeyRate", "MGP", "TLS keys made with clients in the last second.", |it| Value::U32(it.live.encryption.client_keys.now(it.now))),
    (36, "SslFrontendMaxKeyRate", "MMP", "Most TLS keys made with clients in a second.", |it| Value::U32(it.live.encryption.client_keys.most())),
    (37, "SslFrontendSessionReuse_pct", "MGP", "Percent of TLS connections of the last second that needed no new key.", |it| it.reuse()),
    (38, "SslBackendKeyRate", "MRP", "TLS keys made with servers in the last second.", |it| Value::U32(it.live.encryption.server_keys.now(it.now))),
    (39, "SslBackendMaxKeyRate", "MMP", "Most TLS keys made with servers in a second.", |it| Value::U32(it.live.encryption.server_keys.most())),
    (40, "SslCacheLookups", "MCP", "Lookups in the cache of TLS sessions.", |_| wrapping(tls::cache_lookups().all)),
    (41, "SslCacheMisses", "MCP", "Lookups that found nothing.", |_| wrapping(tls::cache_lookups().missed)),
    (42, "CompressBpsIn", "MRP", "Octets given to compression in the last second; there is none here.", nothing),
    (43, "CompressBpsOut", "MRP", "Octets that compression made in the last second.", nothing),
    (44, "CompressBpsRateLim", "CLP", "Limit on those, 0 is none.", nothing),
    (47, "Tasks", "MGP", "Sessions and what else is under way.", |it| Value::U32(it.live.connections.now())),
    (48, "Run_queue", "MGP", "Of these, those that could go on at once.", nothing),
    (49, "Idle_pct", "MaP", "Percent of the last second in which nothing was to be done.", |it| Value::U32(it.process.idle_percent.load(Relaxed))),
    (50, "node", "COS", "Name of the host, or as configured.", |it| text(it.plan.global.node.as_deref().unwrap_or(&it.process.host))),
    (51, "description", "COS", "Description, if there is one.", |it| it.plan.global.description.as_deref().map_or(Value::Empty, text)),
    (52, "Stopping", "MGP", "1 if the process ends once its sessions have.", |it| Value::U32(it.process.stopping.load(Relaxed).into())),
    (53, "Jobs", "MGP", "Client connections and listening sockets.", |it| Value::U32(it.live.connections.now().saturating_add(it.listeners))),
    (54, "Unstoppable Jobs", "MGP", "Of these, those that do not end with the process.", nothing),
    (55, "Listeners", "MGP", "Listening sockets.", |it| Value::U32(it.listeners)),
    (56, "ActivePeers", "MGP", "Peers that were heard; there are none here.", nothing),
    (57, "ConnectedPeers", "MGP", "Peers connected.", nothing),
    (58, "DroppedLogs", "MGP", "Log lines that were dropped.", |it| wrapping(it.process.dropped_logs.count())),
    (59, "BusyPolling", "MGP", "1 if threads ask without waiting; they never do.", nothing),
    (60, "FailedResolutions", "MGP", "Names that could not be resolved.", |it| wrapping(it.live.failed_resolutions.load(Relaxed))),
    (61, "TotalBytesOut", "MGP", "Octets to clients.", |it| Value::U64(it.totals.bytes_out)),
    (62, "TotalSplicdedBytesOut", "MGP", "Octets that went through a pipe of the kernel.", |it| Value::U64(it.live.spliced())),
    (63, "BytesOutRate", "MRP", "Octets to clients in the last second.", |it| Value::U64(it.process.bytes_out_rate.load(Relaxed))),
    (64, "DebugCommandsIssued", "MGP", "Commands that only developers use; there are none here.", nothing),
    (65, "CumRecvLogs", "MCP", "Log lines received for forwarding; nothing is received here.", nothing),
    (66, "Build info", "POS", "What was built.", |it| Value::Text(format!("warren {}", it.process.version).into())),
    (67, "Memmax_bytes", "CLP", "Limit on memory in octets, 0 is none.", nothing),
    (68, "PoolAlloc_bytes", "MGP", "Memory of pools; there are no pools here.", |_| Value::U64(0)),
    (69, "PoolUsed_bytes", "MGP", "Memory of pools in use.", |_| Value::U64(0)),
    (70, "Start_time_sec", "MDP", "When the process started, in seconds since the Unix epoch.", |it| {
        saturating(it.process.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }),
    (71, "Tainted", "SGP", "Experimental features in use; there are none here.", |_| text("0")),
];
