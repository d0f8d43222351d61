//! What all connections of a broker share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::sync::watch;
use warren_amqp::content::BODY_SIZE_DEFAULT;
use warren_amqp::{FrameMax, Table, Value};
use warren_cluster::queue::{Identity, Past, Traffic};
use warren_cluster::{Aftermath, Queue};
use warren_model::meta::{Change, Command, Done};
use warren_model::queue::Run;
use warren_model::routing::delaying_queue;
use warren_model::{MessageId, Meta, Name, Position, QueueId, Refusal};
use warren_store::{AppendError, Disk, Options, Recovered, StreamId, Ticket};

use crate::alarms::{Alarms, DiskLimit, MemoryLimit};
use crate::auth::Auth;
use crate::clock::{now, time_of_day};
use crate::dead_letter;
use crate::exclusive::Exclusive;
use crate::furniture::Furniture;
use crate::gate::Gate;
use crate::output::Output;
use crate::password::Hashing;
use crate::registry::{Churn, Registry};
use crate::reply_to::Replies;
use crate::returns;
use crate::seats::Seats;
use crate::storage::{Storage, StorageError};
use crate::timers::{Alarm, Timers};

/// What an operator may say about connections. It may change while there are some: each goes on with what was agreed when
/// it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The largest frame, offered.
    pub frame_max: FrameMax,
    /// The highest channel number, offered.
    pub channel_max: u16,
    /// How many connections may be open at once.
    pub connection_max: Option<u32>,
    /// Seconds between signs of life, offered.
    pub heartbeat: u16,
    /// How long a client may take until its connection is open.
    pub handshake_timeout: Duration,
    /// Octets of the largest body.
    pub body_max: u64,
    /// How long a client may have a message without settling it.
    pub consumer_timeout: Option<Duration>,
    /// Memory from which on publishers wait.
    pub memory_limit: MemoryLimit,
    /// Room on disk below which publishers wait.
    pub disk_free_limit: DiskLimit,
    /// What a node that is new begins with.
    pub first: Furniture,
    /// Users who may log in from this host only.
    pub loopback_users: Vec<String>,
    /// How new passwords are kept.
    pub hashing: Hashing,
}

impl Default for Settings {
    /// RabbitMQ 3.10's.
    fn default() -> Self {
        Self {
            frame_max: FrameMax::DEFAULT,
            channel_max: 2047,
            connection_max: None,
            heartbeat: 60,
            handshake_timeout: Duration::from_secs(10),
            body_max: BODY_SIZE_DEFAULT,
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            memory_limit: MemoryLimit::DEFAULT,
            disk_free_limit: DiskLimit::DEFAULT,
            first: Furniture::default(),
            loopback_users: vec!["guest".to_owned()],
            hashing: Hashing::default(),
        }
    }
}

/// Parameters of the whole broker that say what its cluster is called, and what it is known by.
const CLUSTER_NAME: &str = "cluster_name";
const CLUSTER_ID: &str = "internal_cluster_id";

/// A broker's node.
#[derive(Debug)]
pub struct Node {
    /// `rabbit@host`.
    pub name: String,
    settings: ArcSwap<Settings>,
    /// Held for the whole of a change, also while others may read.
    changing: Mutex<()>,
    meta: RwLock<Meta>,
    /// Grows with every change of the metadata: what was derived from an older one has to be derived anew.
    version: AtomicU64,
    /// Grows with every change of users and of what they may do.
    users_version: AtomicU64,
    queues: RwLock<HashMap<QueueId, Arc<Queue>>>,
    pub(crate) timers: Timers,
    pub(crate) replies: Replies,
    incarnation: u64,
    messages: AtomicU64,
    connections: AtomicU64,
    /// Who is connected, and what was counted.
    pub registry: Registry,
    /// Who may be connected.
    pub auth: Auth,
    /// What is short.
    pub alarms: Alarms,
    /// How many have places that are limited.
    pub(crate) seats: Seats,
    /// Whether clients may come in.
    pub(crate) gate: Gate,
    exclusive: Exclusive,
    storage: Option<Storage>,
    failure: watch::Receiver<Option<String>>,
    /// What was written has been read: changes are written from now on.
    is_open: AtomicBool,
}

impl Node {
    /// A node in memory only: what it knows and has is gone when it ends. It begins with what [`Settings::first`] says.
    #[must_use]
    pub fn new(name: String, settings: Settings) -> Self {
        let node = Self::empty(name, settings, None, watch::channel(None).1, time_of_day().0);
        node.furnish();
        node.identify();
        node
    }

    /// A node with all that is in its data directory. A new one begins with what
    /// [`Settings::first`] says.
    ///
    /// # Errors
    /// The directory is in use, damaged, or of another version.
    pub fn open(
        name: String,
        settings: Settings,
        directory: &Path,
        disk: Arc<dyn Disk>,
        options: Options,
    ) -> Result<(Self, Recovered), StorageError> {
        let (failed, failure) = watch::channel(None);
        let (storage, recovered) = Storage::open(directory, disk, options, failed)?;
        let commands = storage.commands()?;
        let node = Self::empty(name, settings, Some(storage), failure, recovered.incarnation);
        let written = commands.len() as u64;
        for command in commands {
            // What was refused then is refused again.
            node.change(command).ok();
        }
        // Transient queues had numbers, too, which are in no command that was kept.
        let queues = recovered.streams.iter().map(|state| state.stream);
        let last = queues
            .filter(|stream| *stream != returns::STREAM)
            .map(|stream| stream.0)
            .max();
        node.change(Command::NumberQueuesAfter {
            last: last.unwrap_or_default(),
        })
        .ok();
        node.is_open.store(true, Ordering::Relaxed);
        match written {
            0 => node.furnish(),
            _ => node.rewrite(written)?,
        }
        node.identify();
        // A crash may have come between an exchange and its queue.
        if let Err(refusal) = node.add_delaying_queues() {
            tracing::error!(%refusal, "an exchange cannot delay messages");
        }
        node.recover(&recovered)?;
        Ok((node, recovered))
    }

    fn empty(
        name: String,
        settings: Settings,
        storage: Option<Storage>,
        failure: watch::Receiver<Option<String>>,
        incarnation: u64,
    ) -> Self {
        Self {
            name,
            settings: ArcSwap::from_pointee(settings),
            changing: Mutex::default(),
            meta: RwLock::default(),
            version: AtomicU64::new(1),
            users_version: AtomicU64::new(1),
            queues: RwLock::default(),
            timers: Timers::default(),
            replies: Replies::default(),
            incarnation,
            messages: AtomicU64::new(1),
            connections: AtomicU64::new(1),
            registry: Registry::default(),
            auth: Auth::default(),
            alarms: Alarms::default(),
            seats: Seats::default(),
            gate: Gate::default(),
            exclusive: Exclusive::default(),
            storage,
            failure,
            is_open: AtomicBool::new(false),
        }
    }

    fn rewrite(&self, written: u64) -> Result<(), StorageError> {
        let commands: Vec<Command> = self.read(|meta| meta.durable().collect());
        self.storage
            .as_ref()
            .map_or(Ok(()), |storage| storage.rewrite(written, &commands))
    }

    /// Gives queues the messages that the log has of them, and forgets those of queues that are not there any more.
    fn recover(&self, recovered: &Recovered) -> Result<(), StorageError> {
        let Some(storage) = &self.storage else {
            return Ok(());
        };
        let mut left = storage.left(recovered)?;
        let mut returned = Vec::new();
        for state in recovered
            .streams
            .iter()
            .filter(|state| ![StreamId::METADATA, returns::STREAM].contains(&state.stream))
        {
            let id = QueueId(state.stream.0);
            let Some(queue) = self.queue(id) else {
                storage.remove(&[id])?;
                continue;
            };
            let next = Position(state.next);
            let run = state.first.filter(|_| state.messages > 0).map(|first| Run {
                first: Position(first),
                last: Position(state.next - 1),
                count: state.messages,
                octets: state.octets,
            });
            let past = left.of(id, run.map_or(next, |run| run.first), next);
            returned.extend(past.returned(id));
            match run {
                // Which of them comes first depends on what is in them.
                Some(run) if queue.has_priorities() => {
                    queue.recover_entries(next, past, storage.all(id, run.first));
                }
                run => queue.recover(next, past, run),
            }
            match run {
                // All of them have to be read, or have been.
                Some(_) if queue.is_delaying() || queue.has_priorities() => {
                    self.timers.set(now(), id, Alarm::Messages);
                }
                Some(run) => self.timers.look(id, run.first),
                None => {}
            }
        }
        if !left.is_empty() {
            // That the last process ended in order is not to be found again if this one does not.
            let written = storage.rewrite_returned(None, returned)?;
            storage.wait(written).map_err(AppendError::from)?;
        }
        Ok(())
    }

    /// Nobody gets messages any more; what has to be known of them when the next process starts is on disk. The last thing
    /// that is done with a node, and without it the next process takes all messages for seen.
    pub fn stop(&self) {
        let Some(storage) = &self.storage else { return };
        let queues = self.queues().0;
        let pasts: Vec<(QueueId, Past)> = queues
            .iter()
            .filter(|queue| queue.identity().durable)
            .map(|queue| (queue.identity().id, queue.past(true)))
            .collect();
        if let Err(error) = storage.stop(&pasts) {
            tracing::error!(%error, "who has seen which messages is not on disk");
        }
    }

    /// Writes anew how often messages came back, in place of all records before one.
    fn rewrite_returned(&self, before: u64) {
        let Some(storage) = &self.storage else { return };
        let queues = self.queues().0;
        let kept = queues.iter().filter(|queue| queue.identity().durable);
        let mut returned = Vec::new();
        kept.for_each(|queue| returned.extend(queue.past(false).returned(queue.identity().id)));
        if let Err(error) = storage.rewrite_returned(Some(before), returned) {
            tracing::error!(%error, "how often messages came back is not written anew");
        }
    }

    /// Why nothing can be written any more, as soon as that is so: the process has to end.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.clone()
    }

    /// Does what operations on queues have left to be done. Gives the ticket of what has to be on disk, if anything has.
    ///
    /// # Errors
    /// Messages cannot be written: none of them is safe.
    pub(crate) fn carry_out(self: &Arc<Self>, after: &mut Aftermath) -> Result<Option<Ticket>, AppendError> {
        self.carry_out_promised(after, false)
    }

    /// As [`Node::carry_out`]; `promised`: what was published is among it, and [`Node::has_room`] said that it can be written.
    pub(crate) fn carry_out_promised(
        self: &Arc<Self>,
        after: &mut Aftermath,
        promised: bool,
    ) -> Result<Option<Ticket>, AppendError> {
        let returned = !after.returned.is_empty();
        let written = self.write_out(after, promised);
        if returned && let Some(before) = self.storage.as_ref().and_then(Storage::has_many_returned) {
            let node = Arc::clone(self);
            tokio::task::spawn_blocking(move || node.rewrite_returned(before));
        }
        for (queue, run) in after.missing.drain(..) {
            crate::paging::fetch(self, queue, run);
        }
        for queue in after.paged.drain(..) {
            crate::paging::page_out(self, queue);
        }
        written
    }

    /// All of that but what has to be brought from the disk, or to be put there.
    fn write_out(&self, after: &mut Aftermath, promised: bool) -> Result<Option<Ticket>, AppendError> {
        dead_letter::publish(self, now(), after);
        after.refused.clear();
        for (queue, time) in after.deadlines.drain(..) {
            self.timers.set(time, queue, Alarm::Messages);
        }
        match &self.storage {
            Some(storage) => storage.write(after, promised),
            None => {
                after.placed.clear();
                after.settled.clear();
                after.purged.clear();
                after.returned.clear();
                Ok(None)
            }
        }
    }

    pub(crate) const fn storage(&self) -> Option<&Storage> {
        self.storage.as_ref()
    }

    /// The last change of the metadata, as long as it is not on disk.
    pub(crate) fn change_under_way(&self) -> Option<Ticket> {
        self.storage.as_ref()?.change_under_way()
    }

    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        self.storage
            .as_ref()
            .is_none_or(|storage| storage.is_durable(ticket))
    }

    /// Does the disk take messages of so many octets?
    pub(crate) fn has_room(&self, octets: u64) -> bool {
        self.storage
            .as_ref()
            .is_none_or(|storage| storage.has_room(octets))
    }

    /// So much waits for the disk that publishers should wait, too.
    pub(crate) fn is_behind(&self) -> bool {
        self.storage.as_ref().is_some_and(Storage::is_behind)
    }

    /// Wakes a connection when a ticket is durable.
    pub(crate) fn tell_when_durable(&self, ticket: Ticket, output: &Arc<Output>) {
        if let Some(storage) = &self.storage {
            storage.tell(ticket, output);
        }
    }

    /// What the cluster is called: as an operator said, or like the node.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        self.global_text(CLUSTER_NAME)
            .unwrap_or_else(|| self.name.clone())
    }

    /// What the cluster is known by for ever, whatever it is called.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.global_text(CLUSTER_ID).unwrap_or_default()
    }

    fn global_text(&self, name: &str) -> Option<String> {
        self.read(|meta| Some(meta.parameter(name)?.as_str()?.to_owned()))
    }

    /// A cluster that has nothing to be known by is given something, as RabbitMQ writes it.
    fn identify(&self) {
        if self.read(|meta| meta.parameter(CLUSTER_ID).is_some()) {
            return;
        }
        let id = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let Ok(name) = Name::try_from(CLUSTER_ID) else {
            return;
        };
        let command = Command::SetParameter {
            vhost: None,
            component: Name::empty(),
            name,
            value: format!("rabbitmq-cluster-id-{id}").into(),
        };
        if let Err(refusal) = self.apply(command) {
            tracing::error!(%refusal, "the cluster has no permanent id");
        }
    }

    fn furnish(&self) {
        let commands = self.settings().first.commands(rand::random());
        for command in commands.into_iter().flatten() {
            if let Err(refusal) = self.apply(command) {
                tracing::error!(%refusal, "default was refused");
            }
        }
    }

    /// What an operator said last.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Other settings for connections that come from now on.
    pub fn change_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Reads the metadata. Short: everybody else waits.
    pub fn read<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        look(&self.meta.read())
    }

    /// Changes the metadata, and queues with it. What has to outlive a restart is on disk then.
    ///
    /// # Errors
    /// What the command asks for cannot be, or cannot be written.
    pub fn apply(&self, command: Command) -> Result<Done, Refusal> {
        let (done, ticket) = self.change(command)?;
        self.wait(ticket)?;
        if done
            .changes
            .iter()
            .any(|change| matches!(change, Change::ExchangeAdded(..)))
        {
            self.add_delaying_queues()?;
        }
        Ok(done)
    }

    /// Messages wait in a queue for an exchange that delays them.
    fn add_delaying_queues(&self) -> Result<(), Refusal> {
        let missing: Vec<Command> = self.read(|meta| {
            let vhosts = meta.vhosts();
            let exchanges = vhosts.flat_map(|(vhost, it)| {
                it.without_delaying_queue()
                    .map(move |(name, exchange)| (vhost, name, exchange))
            });
            exchanges
                .filter_map(|(vhost, name, exchange)| {
                    Some(Command::DeclareQueue {
                        vhost: vhost.clone(),
                        name: delaying_queue(name)?,
                        id: None,
                        durable: exchange.durable,
                        auto_delete: false,
                        exclusive: None,
                        arguments: Table::new().with("x-delayed-exchange", Value::text(name)),
                    })
                })
                .collect()
        });
        for command in missing {
            let (_, ticket) = self.change(command)?;
            self.wait(ticket)?;
        }
        Ok(())
    }

    /// Waits until something is on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn wait(&self, ticket: Option<Ticket>) -> Result<(), Refusal> {
        match (&self.storage, ticket) {
            (Some(storage), Some(ticket)) => storage.wait(ticket).map_err(|error| not_written(&error)),
            _ => Ok(()),
        }
    }

    /// Changes the metadata, and says what has to be on disk before it counts.
    ///
    /// One command after another, each written down before anything changes: what cannot be written has not happened. What is much work
    /// is done in pieces, between which others look.
    pub(crate) fn change(&self, command: Command) -> Result<(Done, Option<Ticket>), Refusal> {
        let mut after = Aftermath::default();
        let changed = self.change_in_order(command, &mut after)?;
        if let Err(error) = self.write_out(&mut after, false) {
            tracing::error!(%error, "what a change leads to is not on disk");
        }
        for (queue, run) in after.missing.drain(..) {
            self.timers.fetch(queue, run);
        }
        // Whoever uses the queue next will see to it.
        after.paged.drain(..).for_each(|queue| queue.stop_paging());
        after.tell();
        Ok(changed)
    }

    fn change_in_order(
        &self,
        command: Command,
        after: &mut Aftermath,
    ) -> Result<(Done, Option<Ticket>), Refusal> {
        let _order = self.changing.lock();
        let checked = {
            let meta = self.meta.read();
            let is_durable = meta.is_durable(&command);
            meta.check(command)?.map(|work| (work, is_durable))
        };
        let Some((mut work, is_durable)) = checked else {
            return Ok((Done::default(), None));
        };
        let ticket = match work.command().filter(|_| is_durable) {
            Some(command) => self.record(command)?,
            None => None,
        };
        let (mut changes, mut gone) = (Vec::new(), Vec::new());
        loop {
            let mut meta = self.meta.write();
            let before = changes.len();
            let done = meta.carry_on(&mut work, &mut changes)?;
            let new = changes.get(before..).unwrap_or_default();
            // Nobody sees a queue in the metadata that is not there.
            for change in new {
                if let Change::QueueAdded(id) = change {
                    self.open_queue(&meta, *id);
                }
            }
            if done {
                self.version.fetch_add(1, Ordering::Release);
            }
            // Whoever waits to look has a look before the next piece.
            RwLockWriteGuard::unlock_fair(meta);
            let meta = self.meta.read();
            for change in new {
                self.follow(&meta, change, &mut gone, after);
            }
            if done {
                break;
            }
        }
        // If this is not on disk when the node starts again, it finds messages of queues that are not there.
        if let Some(storage) = &self.storage
            && let Err(error) = storage.remove(&gone)
        {
            tracing::error!(%error, "messages of deleted queues stay until the next start");
        }
        Ok((Done { changes }, ticket))
    }

    /// Writes a command down, in the order in which commands are carried out.
    fn record(&self, command: &Command) -> Result<Option<Ticket>, Refusal> {
        match &self.storage {
            Some(storage) if self.is_open.load(Ordering::Relaxed) => {
                let written = storage.command(command);
                written.map(Some).map_err(|error| not_written(&error))
            }
            _ => Ok(None),
        }
    }

    /// A number that is another one after every change of the metadata.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Nobody waits for answers at this address any more.
    pub(crate) fn close_replies(&self, name: &Name) {
        if self.replies.close(name) {
            // So that nobody remembers that the address led anywhere.
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// A number that is another one after every change of users and of what they may do.
    #[must_use]
    pub(crate) fn users_version(&self) -> u64 {
        self.users_version.load(Ordering::Acquire)
    }

    /// A queue by its number.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.read().get(&id).cloned()
    }

    /// How listings name something of this node, a connection (0) or one of its channels: as Erlang names processes, so
    /// that scripts that pass such names on find nothing new.
    #[must_use]
    pub fn pid(&self, number: u64, channel: u64) -> String {
        format!("<{}.{}.{number}.{channel}>", self.name, self.incarnation)
    }

    /// The connection that such a name means, if it is of this run of this node.
    #[must_use]
    pub fn pid_number(&self, pid: &str) -> Option<u64> {
        let inside = pid.strip_prefix('<')?.strip_suffix('>')?;
        let numbers = inside.strip_prefix(&format!("{}.{}.", self.name, self.incarnation))?;
        let (number, _channel) = numbers.split_once('.')?;
        number.parse().ok()
    }

    /// All queues, in no order, and what those counted that are gone: classic ones, quorum ones.
    #[must_use]
    pub fn queues(&self) -> (Vec<Arc<Queue>>, [Traffic; 2]) {
        let queues = self.queues.read();
        (queues.values().cloned().collect(), self.registry.retired())
    }

    /// A number for a message.
    #[must_use]
    pub fn message_id(&self) -> MessageId {
        MessageId {
            incarnation: self.incarnation,
            sequence: self.messages.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A number for a connection.
    #[must_use]
    pub fn connection_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// A connection is gone, and with it the queues that were its own.
    pub(crate) fn forget_connection(&self, number: u64) {
        for id in self.exclusive.of(number) {
            let found = self.read(|meta| {
                let (vhost, name, _) = meta.queue(id)?;
                Some((vhost.clone(), name.clone()))
            });
            let Some((vhost, name)) = found else { continue };
            if let Err(refusal) = self.apply(Command::DeleteQueue { vhost, name }) {
                tracing::warn!(%refusal, "exclusive queue stays");
            }
        }
    }

    /// A queue has been declared.
    fn open_queue(&self, meta: &Meta, id: QueueId) {
        let Some((vhost, name, declared)) = meta.queue(id) else {
            return;
        };
        let identity = Identity {
            id,
            vhost: vhost.clone(),
            name: name.clone(),
            durable: declared.outlives_restarts(),
            kind: declared.meaning.kind,
        };
        let meaning = &declared.meaning;
        let queue = match &meaning.delayed_exchange {
            Some(_) => Queue::delaying(identity, meaning.limits, now()),
            None => Queue::new(
                identity,
                meaning.limits,
                meaning.priority_max,
                meaning.single_active,
                now(),
            ),
        };
        self.queues.write().insert(id, Arc::new(queue));
        if let Some(connection) = declared.exclusive {
            self.exclusive.add(id, connection);
        }
        Churn::one(&self.registry.churn.queues_created);
        if let Some(expires) = meaning.expires {
            self.timers.set(now().after(expires), id, Alarm::Unused);
        }
    }

    fn follow(&self, meta: &Meta, change: &Change, gone: &mut Vec<QueueId>, after: &mut Aftermath) {
        match change {
            Change::QueueRemoved(id) => {
                self.exclusive.remove(*id);
                let mut queues = self.queues.write();
                if let Some(queue) = queues.remove(id) {
                    queue.close(after);
                    gone.extend(queue.identity().durable.then_some(*id));
                    if let Some(storage) = &self.storage {
                        storage.spill.remove(*id);
                    }
                    // Under the lock under which sums are made.
                    self.registry
                        .retire(queue.identity().kind, queue.snapshot().traffic);
                    Churn::one(&self.registry.churn.queues_deleted);
                }
            }
            Change::QueueSettingsChanged(id) => {
                let meaning = meta.queue(*id).map(|(_, _, queue)| &queue.meaning);
                if let (Some(meaning), Some(queue)) = (meaning, self.queue(*id)) {
                    queue.set_limits(now(), meaning.limits, after);
                    if let Some(expires) = meaning.expires {
                        self.timers.set(now().after(expires), *id, Alarm::Unused);
                    }
                }
            }
            Change::VhostRemoved(_) => {
                self.users_version.fetch_add(1, Ordering::Release);
            }
            Change::VhostAdded(_)
            | Change::VhostChanged(_)
            | Change::QueueAdded(_)
            | Change::ExchangeSettingsChanged(..)
            | Change::ParameterChanged(..)
            | Change::ExchangeAdded(..)
            | Change::ExchangeRemoved(..)
            | Change::BindingsChanged(..) => {}
            Change::UserChanged(user) | Change::UserRemoved(user) => {
                self.users_version.fetch_add(1, Ordering::Release);
                self.auth.forget(user);
            }
        }
    }
}

fn not_written(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(%error, "change of the metadata was not written");
    Refusal::new(
        warren_amqp::ReplyCode::InternalError,
        "the change cannot be written",
    )
}

#[cfg(test)]
mod tests;
