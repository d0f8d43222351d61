//! From the command line to a running worker: what has to be there before the first advert, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::sys::stat::{SFlag, fstat};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use warren_api::vrrp::{self as api, kind};
use warren_kit::control::{ControlSocket, Limits, serve};
use warren_kit::report::{Code, Report};
use warren_kit::{accounts, child, metrics, runtime_dir};
use warren_vrrp::Input;

use super::links::Links;
use super::rivals::Rivals;
use super::statics::StaticsKept;
use super::{Daemon, Inbox};
use crate::cli::VrrpOptions;
use crate::config;
use crate::config::plan::Plan;
use crate::control::{ASKS_MAX, Desk};
use crate::guard::messages::{Channel, FromWorker, Received, ToWorker};
use crate::history::{History, event};
use crate::netlink::Netlink;
use crate::netlink::monitor::Monitor;
use crate::notify::Notifier;
use crate::program::{ProgramPolicy, ScriptSecurity};
use crate::track::Tracker;
use crate::words::timestamp;
use crate::{plumbing, protocol, realtime};

/// Name of the control socket in the runtime directory.
pub(crate) const SOCKET: &str = "vrrp.sock";
/// Messages of each kind that may wait for the control thread. A mass take-over of 4096 routers fits.
const EVENTS_MAX: usize = 16 * 1024;
/// How long the guard may take to say what to adopt.
const BEGIN_LIMIT: Duration = Duration::from_secs(2);

/// What the guard says before anything runs. Without a guard there is nothing.
#[derive(Default)]
struct Beginning {
    /// Roles of an earlier worker, by router, with the priority each was held at.
    adoptions: BTreeMap<String, u8>,
    restarts: u32,
    upgraded: bool,
}

impl Beginning {
    /// An earlier worker ran until a moment ago.
    fn goes_on(&self) -> bool {
        self.restarts > 0 || self.upgraded || !self.adoptions.is_empty()
    }

    fn in_words(&self, config: &Path) -> String {
        let config = config.display();
        let roles = self.adoptions.len();
        if self.upgraded {
            format!("continued after an upgrade with {config}, {roles} roles taken over")
        } else if self.restarts > 0 {
            let count = self.restarts;
            format!("restarted by the guard (restart {count}) with {config}, {roles} roles taken over")
        } else {
            format!("started with {config}")
        }
    }
}

/// The way to the guard and back.
pub(super) struct GuardLine {
    channel: Channel,
    incoming: tokio::net::UnixDatagram,
    /// What the guard had no room for, in order; of each kind and slot the last.
    pending: VecDeque<FromWorker>,
    buffer: Vec<u8>,
}

impl GuardLine {
    fn new(channel: Channel) -> io::Result<Self> {
        // A socket that keeps message boundaries is a datagram socket to everybody but its peer.
        let incoming = std::os::unix::net::UnixDatagram::from(channel.try_clone()?.into_fd());
        incoming.set_nonblocking(true)?;
        Ok(Self {
            channel,
            incoming: tokio::net::UnixDatagram::from_std(incoming)?,
            pending: VecDeque::new(),
            buffer: Vec::new(),
        })
    }

    /// The next order; `None` when the guard is gone.
    pub(super) async fn hear(&mut self) -> Option<ToWorker> {
        loop {
            self.incoming.readable().await.ok()?;
            let received = self.incoming.try_io(tokio::io::Interest::READABLE, || {
                match self.channel.receive(&mut self.buffer)? {
                    Received::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                    other => Ok(other),
                }
            });
            match received {
                Ok(Received::Message(message)) => return Some(message),
                Ok(Received::Closed) => return None,
                Ok(Received::Nothing) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::error!(%error, "message from the guard not understood");
                    return None;
                }
            }
        }
    }

    pub(super) fn tell(&mut self, message: FromWorker) {
        self.pending.retain(|earlier| !message.supersedes(earlier));
        self.pending.push_back(message);
        self.catch_up();
    }

    /// Sends what is left, as far as there is room. In a mass take-over the guard may not get to run for a while.
    pub(super) fn catch_up(&mut self) {
        while let Some(message) = self.pending.front() {
            match self.channel.send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // It is gone, which `hear` says as well.
                    tracing::warn!(%error, "guard not told");
                    self.pending.clear();
                }
                Ok(()) => {
                    self.pending.pop_front();
                }
            }
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Waits for what the guard wants adopted.
fn begin(channel: &Channel) -> Beginning {
    let mut beginning = Beginning::default();
    let mut buffer = Vec::new();
    let deadline = Instant::now() + BEGIN_LIMIT;
    while Instant::now() < deadline {
        match channel.receive(&mut buffer) {
            Ok(Received::Message(ToWorker::Adopt(roles))) => beginning.adoptions.extend(roles),
            Ok(Received::Message(ToWorker::Begin { restarts, upgraded })) => {
                return Beginning {
                    restarts,
                    upgraded,
                    ..beginning
                };
            }
            Ok(Received::Closed) | Err(_) => break,
            Ok(Received::Message(_)) => {}
            Ok(Received::Nothing) => {
                let mut fds = [nix::poll::PollFd::new(
                    channel.as_fd(),
                    nix::poll::PollFlags::POLLIN,
                )];
                let _ = nix::poll::poll(&mut fds, nix::poll::PollTimeout::from(100u8));
            }
        }
    }
    beginning
}

/// The channel that a guard passes as standard input; none if standard input is anything else.
fn inherited_channel() -> Option<Channel> {
    let stdin = io::stdin();
    let kind = fstat(stdin.as_fd())
        .ok()
        .map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    (kind == Some(SFlag::S_IFSOCK))
        .then(|| stdin.as_fd().try_clone_to_owned().ok().map(Channel::from_fd))
        .flatten()
}

pub(super) fn run(options: &VrrpOptions) -> Result<(), Report> {
    let began = Instant::now();
    // Programs that this thread starts get none of our capabilities.
    if let Err(error) = child::withhold_capabilities() {
        tracing::warn!(%error, "capabilities not withheld from programs");
    }
    let channel = inherited_channel();
    let beginning = channel.as_ref().map(begin).unwrap_or_default();
    let host = options.host.clone().unwrap_or_else(host_name);
    let (plan, warnings) =
        read_plan(options, &host).map_err(|text| Report::new(Code::Config, text.trim_end().to_owned()))?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    realtime::limit_runaway(protocol::RUNAWAY_LIMIT);
    let memory = realtime::lock_memory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let made = Made {
        options: options.clone(),
        host,
        plan,
        warnings,
        memory,
    };
    runtime.block_on(async move {
        let (mut daemon, mut inbox) = made.start(channel, &beginning).await?;
        tracing::info!(
            elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            routers = daemon.instances.len(),
            adopted = beginning.adoptions.len(),
            "started"
        );
        daemon.serve(&mut inbox).await;
        daemon.finish(inbox).await;
        Ok(())
    })
}

/// Reads and checks the configuration: the plan and its warnings, or the whole of what is wrong.
///
/// A thread of its own reads it, and its result is copied: the allocator gives back all that a parser has used only
/// when it has done so in a place of its own. Many megabytes, with thousands of addresses.
pub(super) fn read_plan(options: &VrrpOptions, host: &str) -> Result<(Plan, Vec<String>), String> {
    let load = || {
        config::load_as(
            &options.config,
            options.format,
            host,
            options.config_id.as_deref(),
        )
        .map(|loaded| (loaded.warning_lines().collect::<Vec<_>>(), loaded.plan))
        .map_err(|error| match error.render(false) {
            // With its place in the file, over several lines.
            text if text.contains("\n --> ") || text.contains("\n  --> ") => {
                format!("the configuration is wrong\n{text}")
            }
            text => text,
        })
    };
    let read = std::thread::scope(|scope| scope.spawn(load).join());
    match &read {
        Ok(Ok((warnings, plan))) => Ok((copied(plan), warnings.clone())),
        Ok(Err(text)) => Err(text.clone()),
        Err(_) => Err("the configuration could not be read: its reader stopped".into()),
    }
}

/// A copy that shares nothing with its original, not even names.
fn copied(plan: &Plan) -> Plan {
    let mut copy = plan.clone();
    let names = copy.routers.iter_mut().map(|router| &mut router.name);
    let names = names.chain(copy.checks.iter_mut().map(|check| &mut check.name));
    for name in names.chain(copy.groups.iter_mut().map(|group| &mut group.name)) {
        *name = Arc::from(&**name);
    }
    copy
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// What is known before anything runs.
struct Made {
    options: VrrpOptions,
    host: String,
    plan: Plan,
    warnings: Vec<String>,
    memory: Result<(), String>,
}

impl Made {
    async fn start(self, channel: Option<Channel>, beginning: &Beginning) -> Result<(Daemon, Inbox), Report> {
        let Self {
            options,
            host,
            plan,
            warnings,
            memory,
        } = self;
        let runtime_dir = runtime_dir::for_daemon(options.runtime_dir.as_deref())?;
        let plumbing_priority = plan
            .realtime_priority
            .map(|priority| priority.saturating_sub(1).max(1));
        let (plumbing, plumbing_reports, _) = plumbing::Plumbing::start(plumbing::Options {
            realtime_priority: plumbing_priority,
            ledger: plumbing::Ledger::needed(&runtime_dir),
        })?;
        let signals = Signals::handle()?;
        let monitor = Monitor::start(&[plumbing.port()])?;
        let (events, protocol_events) = mpsc::channel(EVENTS_MAX);
        let to_guard = channel.as_ref().map(Channel::try_clone).transpose()?;
        let (protocol, scheduling) =
            protocol::start(events, plumbing.clone(), to_guard, plan.realtime_priority)?;
        let (reports, checks) = mpsc::channel(EVENTS_MAX);
        let no_programs = ProgramPolicy {
            security: ScriptSecurity::Enforce,
            default_user: None,
        };
        let tracker = Tracker::start(Vec::new(), no_programs, runtime_dir.clone(), reports);
        let (desk, asks) = mpsc::channel(ASKS_MAX);
        let (scraper, scrapes) = mpsc::channel(ASKS_MAX);
        let (sighted, sightings) = mpsc::channel(EVENTS_MAX);
        let now = timestamp();
        let startup_delay = plan.startup_delay;
        let mut daemon = Daemon {
            guard: channel.map(GuardLine::new).transpose()?,
            options,
            runtime_dir,
            host,
            plan: plan.clone(),
            warnings,
            shortcomings: Vec::new(),
            instances: Vec::new(),
            groups: Vec::new(),
            links: Links::default(),
            rivals: Rivals::default(),
            statics: StaticsKept::open()?,
            monitor,
            protocol,
            plumbing,
            tracker,
            reports: BTreeMap::new(),
            notifier: Notifier::idle(),
            history: History::default(),
            started: now,
            config_read: now,
            realtime: api::Realtime::default(),
            // The delay is for a host that boots. A worker that goes on for another would lose its roles by it.
            hold_off_until: (!startup_delay.is_zero() && !beginning.goes_on())
                .then(|| Instant::now() + startup_delay),
            stopping: None,
            sweep_at: None,
            restarts: beginning.restarts,
            sightings: sighted,
            transitions: BTreeMap::new(),
            drains: Vec::new(),
        };
        let started = beginning.in_words(&daemon.options.config);
        daemon.history.record(event(kind::DAEMON, None, started));
        daemon.tell_beat();
        for router in &plan.routers {
            daemon.add(router.clone(), &plan);
        }
        daemon.groups = daemon.regroup(&plan);
        daemon.tell_groups();
        daemon.adopt(beginning);
        daemon.find_orphans();
        // Routers may speak from them.
        daemon.keep_statics();
        if !plan.static_addresses.is_empty() {
            daemon.monitor.refresh()?;
        }
        // Adopted roles first of all: their neighbours are waiting for an advert.
        daemon.attach_all();
        let policy = ProgramPolicy::of(&plan);
        daemon.notifier.reconfigure(&plan, &policy);
        daemon.tracker.reconfigure(plan.checks.clone(), policy.clone());
        daemon.tell_interfaces();
        daemon.warn_of_programs(&plan, &policy);
        daemon.note_scheduling(scheduling.await.ok(), memory);
        // Once the protocol thread has answered, every adopted role has been claimed: what is left over is nobody's.
        daemon.view().await;
        if daemon.sweep_at.is_none() {
            daemon.plumbing.sweep();
        }
        daemon.open_control(desk)?;
        daemon.open_metrics(scraper)?;
        daemon.tell_guard(FromWorker::Status(daemon.summary()));
        daemon.tell_guard(FromWorker::Ready);
        let inbox = Inbox {
            protocol: protocol_events,
            plumbing: plumbing_reports,
            checks,
            asks,
            scrapes,
            sightings,
            signals,
        };
        Ok((daemon, inbox))
    }
}

impl Daemon {
    /// Tells the routers whose role goes on; they take it up as soon as they have a link.
    fn adopt(&mut self, beginning: &Beginning) {
        for instance in self.instances.iter_mut().flatten() {
            if let Some(priority) = beginning.adoptions.get(&*instance.plan.name) {
                instance.adopted = Some(*priority);
                instance.legacy = Some(Input::Adopt);
            }
        }
    }

    /// Looks for addresses of our routers that an earlier run left without a guard to speak for them. Their routers
    /// listen for an interval and go on if nobody else has taken over; the sweep waits until then.
    fn find_orphans(&mut self) {
        let ledger = plumbing::Ledger::needed(&self.runtime_dir);
        let left = Netlink::open().and_then(|mut netlink| plumbing::leftovers(&mut netlink, ledger.as_ref()));
        let left: Vec<IpAddr> = match left {
            Ok(left) => left.into_iter().map(|address| address.address).collect(),
            Err(error) => return tracing::warn!(%error, "leftovers of an earlier run not looked for"),
        };
        let mut longest = Duration::ZERO;
        for instance in self.instances.iter_mut().flatten() {
            let addresses = &instance.plan.addresses;
            let all_left = addresses.iter().all(|address| left.contains(&address.address));
            if instance.legacy.is_none() && !addresses.is_empty() && all_left {
                instance.legacy = Some(Input::Orphaned);
                longest = longest.max(instance.plan.settings.interval);
            }
        }
        if !longest.is_zero() {
            self.sweep_at = Some(Instant::now() + longest * 2 + Duration::from_millis(50));
        }
    }

    /// Interface checks hear about everything that exists.
    fn tell_interfaces(&mut self) {
        let states: Vec<(String, bool)> = self
            .monitor
            .interfaces()
            .iter()
            .map(|interface| (interface.name.clone(), interface.operational()))
            .collect();
        for (name, up) in states {
            self.tracker.interface(&name, up);
        }
    }

    fn note_scheduling(&mut self, scheduling: Option<Result<(), String>>, memory: Result<(), String>) {
        let scheduling = scheduling.unwrap_or_else(|| Err("the protocol thread did not start".into()));
        let reasons: Vec<String> = [scheduling.as_ref().err(), memory.as_ref().err()]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if let Err(reason) = &scheduling
            && self.plan.realtime_priority.is_some()
        {
            let text = format!("adverts are sent without real-time scheduling: {reason}");
            tracing::warn!("{text}");
            self.shortcomings.push(text);
        }
        if let Err(reason) = &memory {
            let text = format!("memory is not locked: {reason}");
            tracing::warn!("{text}");
            self.shortcomings.push(text);
        }
        self.realtime = api::Realtime {
            scheduling: scheduling.is_ok(),
            priority: self.plan.realtime_priority,
            memory_locked: memory.is_ok(),
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
        };
    }

    fn open_control(&self, desk: mpsc::Sender<crate::control::Ask>) -> Result<(), Report> {
        let group = self
            .plan
            .control_group
            .as_deref()
            .map(accounts::group_id)
            .transpose()?;
        let socket = ControlSocket::bind(&self.runtime_dir.join(SOCKET), group)?;
        let proxy = self.runtime_dir.join(warren_api::proxy::SOCKET);
        tokio::spawn(async move {
            if let Err(error) = serve(socket, Limits::default(), Desk { asks: desk, proxy }).await {
                tracing::error!(%error, "control socket not served");
            }
        });
        Ok(())
    }

    /// Metrics are served where the configuration says, if it says so.
    fn open_metrics(&self, scraper: mpsc::Sender<oneshot::Sender<String>>) -> Result<(), Report> {
        let Some(address) = self.plan.metrics else {
            return Ok(());
        };
        let listener = std::net::TcpListener::bind(address).map_err(|error| {
            Report::new(
                Code::Runtime,
                format!("metrics cannot be served at {address}: {error}; change `metrics`"),
            )
        })?;
        let text = move || {
            let scraper = scraper.clone();
            async move {
                let (reply, text) = oneshot::channel();
                // A daemon that is stopping has no metrics any more.
                let _ = scraper.send(reply).await;
                text.await.unwrap_or_default()
            }
        };
        tokio::spawn(async move {
            if let Err(error) = metrics::serve(listener, metrics::Timeouts::default(), text).await {
                tracing::error!(%error, "metrics not served");
            }
        });
        Ok(())
    }
}

/// Signals, for a worker that has no guard to deal with them; with one they are heard and left to it, so that a Ctrl-C
/// or a stop of the whole control group does not end the worker under the guard's hands.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    others: Vec<Signal>,
}

impl Signals {
    /// Handlers, not a mask and not "ignore": programs that we start would inherit those.
    fn handle() -> io::Result<Self> {
        let kinds = [
            SignalKind::quit(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            others: kinds.into_iter().map(signal).collect::<Result<_, _>>()?,
        };
        // What the guard blocks for itself came with the exec.
        SigSet::all().thread_unblock()?;
        Ok(signals)
    }

    /// What a signal asks for.
    pub(super) async fn order(&mut self) -> ToWorker {
        debug_assert!(!self.others.is_empty(), "held so that their handlers stay");
        tokio::select! {
            _ = self.terminate.recv() => ToWorker::Stop,
            _ = self.interrupt.recv() => ToWorker::Stop,
            _ = self.reload.recv() => ToWorker::Reload,
        }
    }
}
