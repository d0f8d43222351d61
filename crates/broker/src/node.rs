//! What all connections of a broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use warren_amqp::content::BODY_SIZE_DEFAULT;
use warren_amqp::{FrameMax, Table, Value};
use warren_cluster::meta_store::Found;
use warren_cluster::queue::{Identity, OnlyIf, Past, Stays, Traffic, Tries};
use warren_cluster::{
    Aftermath, ConfirmTicket, Follower, Gone, LogStore, Member, MetaStore, MetadataView, NotWritten,
    Placement, Queue, QueueHandle, Recovered, Session, StorageError, lock,
};
use warren_model::meta::{Change, Command, Done, Exchange};
use warren_model::routing::{Kind, delaying_queue};
use warren_model::{MessageId, Meta, Name, QueueId, Refusal};

use crate::alarms::{Alarms, DiskLimit, MemoryLimit};
use crate::auth::{Auth, Mechanism};
use crate::clock::{now, time_of_day};
use crate::connection::Greeting;
use crate::dead_letter;
use crate::exclusive::Exclusive;
use crate::firehose::Firehose;
use crate::furniture::Furniture;
use crate::gate::Gate;
use crate::newcomers::Newcomers;
use crate::output::ALARM;
use crate::paging::Turns;
use crate::password::Hashing;
use crate::registry::{Churn, Registry};
use crate::reply_to::Replies;
use crate::seats::Seats;
use crate::timers::{Alarm, Timers};
use crate::tls::CertificateName;

/// Connections that end at a time, however many have been lost at once: their queues and messages are a lot of work, and whoever
/// stays must not have to wait for all of it.
const ENDING_MAX: usize = 2;

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
    /// How clients may log in; nothing: as is usual.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// What in a client's certificate is the name of its user.
    pub certificate_name: CertificateName,
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
            mechanisms: None,
            certificate_name: CertificateName::default(),
        }
    }
}

/// Parameters of the whole broker that say what its cluster is called, and what it is known by.
const CLUSTER_NAME: &str = "cluster_name";
const CLUSTER_ID: &str = "internal_cluster_id";

/// Why a queue is still there.
#[derive(Debug)]
pub(crate) enum NotDeleted {
    /// It is not as it would have to be.
    Stays(Stays),
    /// The change cannot be made.
    Refused(Refusal),
}

/// A broker's node.
pub struct Node {
    /// `rabbit@host`.
    pub name: String,
    settings: ArcSwap<Settings>,
    metadata: Box<dyn MetaStore>,
    view: Arc<MetadataView>,
    /// Grows with every change of users and of what they may do.
    users_version: AtomicU64,
    placement: Placement,
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
    /// Where it is on.
    pub(crate) firehose: Firehose,
    /// Whether clients may come in.
    pub(crate) newcomers: Newcomers,
    pub(crate) gate: Gate,
    /// What they hear first.
    pub(crate) greeting: Greeting,
    /// Turns of connections that end, [`ENDING_MAX`] at a time.
    ending: Semaphore,
    exclusive: Exclusive,
    pub(crate) paging: Turns,
    pub(crate) log: Arc<dyn LogStore>,
    pub(crate) session: Session,
}

impl Node {
    /// A node in memory only: what it knows and has is gone when it ends. It begins with what [`Settings::first`] says.
    ///
    /// # Panics
    /// Never: there is nothing that could be read wrongly.
    #[must_use]
    pub fn new(name: String, settings: Settings) -> Arc<Self> {
        let opened = Self::open(name, settings, Member::in_memory(time_of_day().0));
        opened.expect("nothing is read").0
    }

    /// A node with all that is kept where it stands. A new one begins with what [`Settings::first`] says.
    ///
    /// # Errors
    /// What is kept cannot be read.
    pub fn open(
        name: String,
        settings: Settings,
        member: Member,
    ) -> Result<(Arc<Self>, Recovered), StorageError> {
        let Member {
            metadata,
            view,
            log,
            session,
            recovered,
        } = member;
        let node = Arc::new(Self {
            name,
            settings: ArcSwap::from_pointee(settings),
            metadata,
            view,
            users_version: AtomicU64::new(1),
            placement: Placement::default(),
            timers: Timers::default(),
            replies: Replies::default(),
            incarnation: recovered.incarnation,
            messages: AtomicU64::new(1),
            connections: AtomicU64::new(1),
            registry: Registry::default(),
            auth: Auth::default(),
            alarms: Alarms::default(),
            seats: Seats::default(),
            firehose: Firehose::default(),
            newcomers: Newcomers::default(),
            gate: Gate::default(),
            greeting: Greeting::default(),
            ending: Semaphore::new(ENDING_MAX),
            exclusive: Exclusive::default(),
            paging: Turns::default(),
            log,
            session,
        });
        let follower: Weak<dyn Follower> = Arc::<Self>::downgrade(&node);
        if node.metadata.start(follower)? == Found::Nothing {
            node.furnish();
        }
        node.identify();
        // A crash may have come between an exchange and its queue.
        if let Err(refusal) = node.add_delaying_queues() {
            tracing::error!(%refusal, "an exchange cannot delay messages");
        }
        node.recover(&recovered)?;
        Ok((node, recovered))
    }

    /// Gives queues the messages that were kept of them, and forgets those of queues that are not there any more.
    fn recover(&self, recovered: &Recovered) -> Result<(), NotWritten> {
        let (mut after, mut tries) = (Aftermath::default(), Vec::new());
        for found in &recovered.queues {
            let Some(queue) = self.queue(found.id) else {
                after.gone.push(Gone {
                    queue: found.id,
                    durable: true,
                });
                continue;
            };
            let past = found.past.clone();
            tries.extend(past.tries.iter().map(|some| (found.id, *some)));
            match found.run {
                // Which of them comes first depends on what is in them.
                Some(run) if queue.has_priorities() => {
                    queue.recover(found.next, past, None);
                    self.log
                        .all(found.id, run.first, |entries| queue.recover_entries(entries));
                }
                run => queue.recover(found.next, past, run),
            }
            match found.run {
                // All of them have to be read, or have been, or the first at once.
                Some(_) if queue.is_delaying() || queue.has_priorities() || queue.came_too_often() => {
                    self.timers.set(now(), found.id, Alarm::Messages);
                }
                Some(run) => self.timers.look(found.id, run.first),
                None => {}
            }
        }
        self.log.write(&mut after)?;
        self.log.started(tries)
    }

    /// Nobody gets messages any more; what has to be known of them when the next process starts is on disk. The last thing
    /// that is done with a node, and without it the next process takes all messages for seen.
    pub fn stop(&self) {
        let queues = self.queues().0;
        let pasts: Vec<(QueueId, Past)> = queues
            .iter()
            .filter(|queue| queue.identity().durable)
            .map(|queue| (queue.identity().id, queue.stop()))
            .collect();
        if let Err(error) = self.log.stop(&pasts) {
            tracing::error!(%error, "who has seen which messages is not on disk");
        }
    }

    /// Writes anew how often messages were given out, in place of all records before one.
    fn rewrite_tries(&self, before: u64) {
        let mut tries: Vec<(QueueId, Tries)> = Vec::new();
        for queue in self.queues().0 {
            let of_queue = queue.tries().into_iter();
            tries.extend(of_queue.map(|some| (queue.identity().id, some)));
        }
        if let Err(error) = self.log.rewrite_tries(before, tries) {
            tracing::error!(%error, "how often messages were given out is not written anew");
        }
    }

    /// Why nothing can be written any more, as soon as that is so: the process has to end.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.session.ended()
    }

    /// Does what operations on queues have left to be done. Gives the ticket of what has to be on disk, if anything has.
    ///
    /// # Errors
    /// Messages cannot be written: none of them is safe.
    pub(crate) fn carry_out(
        self: &Arc<Self>,
        after: &mut Aftermath,
    ) -> Result<Option<ConfirmTicket>, NotWritten> {
        let counts = !after.tries.is_empty();
        let written = self.write_out(after);
        if counts && let Some(before) = self.log.has_many_tries() {
            let node = Arc::clone(self);
            tokio::task::spawn_blocking(move || node.rewrite_tries(before));
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
    fn write_out(&self, after: &mut Aftermath) -> Result<Option<ConfirmTicket>, NotWritten> {
        lock::at_length(after.removed.len(), || dead_letter::publish(self, now(), after));
        after.refused.clear();
        after.crowded.clear();
        for (queue, time) in after.deadlines.drain(..) {
            self.timers.set(time, queue, Alarm::Messages);
        }
        self.log.write(after)
    }

    /// The last change of the metadata, as long as it is not safe.
    pub(crate) fn change_under_way(&self) -> Option<ConfirmTicket> {
        self.metadata.under_way()
    }

    /// What the cluster is called: as an operator said, or like the node.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        self.global_text(CLUSTER_NAME)
            .unwrap_or_else(|| self.name.clone())
    }

    /// Calls the cluster so, if it is called otherwise.
    pub(crate) fn name_cluster(&self, name: Option<&str>) {
        let Some(name) = name.filter(|name| **name != self.cluster_name()) else {
            return;
        };
        let command = Name::try_from(CLUSTER_NAME).map(|parameter| Command::SetParameter {
            vhost: None,
            component: Name::empty(),
            name: parameter,
            value: name.into(),
        });
        match command.map(|command| self.apply(command)) {
            Ok(Ok(_)) => tracing::info!(name, "the cluster is called so, as configured"),
            Ok(Err(refusal)) => tracing::error!(%refusal, "the cluster keeps its name"),
            Err(error) => tracing::error!(%error, "the cluster keeps its name"),
        }
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
        let commands = {
            let settings = self.settings();
            settings.first.commands(settings.hashing, rand::random())
        };
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

    /// Other settings for connections that come from now on; limits of memory and disk count for all.
    pub fn change_settings(&self, settings: Settings) {
        let settings = Arc::new(settings);
        self.settings.store(Arc::clone(&settings));
        if self.alarms.limits_change(&settings) {
            self.registry.tell(ALARM);
        }
    }

    /// Reads the metadata. Short: everybody else waits.
    pub fn read<T>(&self, look: impl FnOnce(&Meta) -> T) -> T {
        self.view.read(look)
    }

    /// Changes the metadata, and queues with it. What has to outlive a restart is on disk then.
    ///
    /// # Errors
    /// What the command asks for cannot be, or cannot be written.
    pub fn apply(&self, command: Command) -> Result<Done, Refusal> {
        let (done, ticket) = self.begin(command)?;
        self.wait(ticket)?;
        Ok(done)
    }

    /// The same, but for the waiting: it is on disk when the ticket is safe.
    ///
    /// # Errors
    /// What the command asks for cannot be.
    pub(crate) fn begin(&self, command: Command) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        // One that is there already may have been declared by somebody who is about to make its queue.
        let delays = match &command {
            Command::DeclareExchange {
                vhost,
                name,
                kind: Kind::Delayed(_),
                ..
            } => Some((vhost.clone(), name.clone())),
            _ => None,
        };
        let (done, ticket) = self.change(command)?;
        let Some((vhost, name)) = delays else {
            return Ok((done, ticket));
        };
        let missing = self.read(|meta| {
            let (name, exchange) = meta.vhost(&vhost)?.without_its_delaying_queue(&name)?;
            delaying(&vhost, name, exchange)
        });
        Ok((done, self.declare(missing)?.or(ticket)))
    }

    /// Deletes a queue, if it is as `only_if` says, which it stays until it is gone. Says how many messages were ready in it, and when it is gone
    /// for ever.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn delete_queue(
        &self,
        queue: &QueueHandle,
        only_if: OnlyIf,
    ) -> Result<(u64, Option<ConfirmTicket>), NotDeleted> {
        let ready = queue.leave(only_if).map_err(NotDeleted::Stays)?;
        let id = queue.identity().id;
        match self.change(Command::RemoveQueue { id }) {
            Ok((_, ticket)) => Ok((ready, ticket)),
            Err(refusal) => {
                queue.stay();
                Err(NotDeleted::Refused(refusal))
            }
        }
    }

    /// Messages wait in a queue for an exchange that delays them: there is one for each. Gives the ticket of the last of these queues that is new.
    pub(crate) fn add_delaying_queues(&self) -> Result<Option<ConfirmTicket>, Refusal> {
        let missing: Vec<Command> = self.read(|meta| {
            let vhosts = meta.vhosts();
            let exchanges = vhosts.flat_map(|(vhost, it)| {
                it.without_delaying_queue()
                    .filter_map(move |(name, exchange)| delaying(vhost, name, exchange))
            });
            exchanges.collect()
        });
        self.declare(missing)
    }

    /// Gives the ticket of the last that has one.
    fn declare(&self, queues: impl IntoIterator<Item = Command>) -> Result<Option<ConfirmTicket>, Refusal> {
        let mut last = None;
        for queue in queues {
            last = self.change(queue)?.1.or(last);
        }
        Ok(last)
    }

    /// Waits until something is on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn wait(&self, ticket: Option<ConfirmTicket>) -> Result<(), Refusal> {
        let Some(ticket) = ticket else { return Ok(()) };
        self.log.wait(ticket).map_err(|error| {
            tracing::error!(%error, "change of the metadata was not written");
            Refusal::new(
                warren_amqp::ReplyCode::InternalError,
                "the change cannot be written",
            )
        })
    }

    /// Changes the metadata, and queues with it, and says what has to be safe before it counts.
    pub(crate) fn change(&self, command: Command) -> Result<(Done, Option<ConfirmTicket>), Refusal> {
        self.metadata.propose(command)
    }

    /// A number that is another one after every change of the metadata.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// Turns the firehose of a vhost on or off.
    pub(crate) fn set_tracing(&self, vhost: Name, on: bool) {
        self.firehose.set(vhost.clone(), on);
        // Publishers look when something has changed.
        self.view.outdate();
        for entry in self.registry.connections() {
            if entry.facts.vhost == vhost {
                entry.tap(on);
            }
        }
    }

    /// Nobody waits for answers at this address any more.
    pub(crate) fn close_replies(&self, name: &Name) {
        if let Some(queue) = self.replies.close(name) {
            self.timers.forget(queue.identity().id);
            // So that nobody remembers that the address led anywhere.
            self.view.outdate();
        }
    }

    /// A number that is another one after every change of users and of what they may do.
    #[must_use]
    pub(crate) fn users_version(&self) -> u64 {
        self.users_version.load(Ordering::Acquire)
    }

    /// The way to a queue, wherever it is.
    #[must_use]
    pub(crate) fn way(&self, id: QueueId) -> Option<QueueHandle> {
        self.placement.way(id)
    }

    /// A queue of this node.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.placement.here(id)
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

    /// All queues of this node, in no order, and what those counted that are gone: classic ones, quorum ones.
    #[must_use]
    pub fn queues(&self) -> (Vec<Arc<Queue>>, [Traffic; 2]) {
        self.placement.all_here(|| self.registry.retired())
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

    /// Waits for the turn of a connection to end. Thousands may go at once, and who stays has his turn between theirs: whoever ends goes
    /// to the end of the line, and nobody else who ends gets into it meanwhile.
    pub(crate) async fn turn_to_end(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.ending.acquire().await.ok();
        tokio::task::yield_now().await;
        turn
    }

    /// Are there queues that are this connection's alone?
    pub(crate) fn has_queues_of(&self, connection: u64) -> bool {
        self.exclusive.has(connection)
    }

    /// A connection is gone, and with it the queues that were its own.
    pub(crate) fn forget_connection(&self, number: u64) {
        for id in self.exclusive.of(number) {
            if let Err(refusal) = self.change(Command::RemoveQueue { id }) {
                tracing::warn!(%refusal, "exclusive queue stays");
            }
        }
    }
}

/// The queue in which messages wait for an exchange.
fn delaying(vhost: &Name, name: &Name, exchange: &Exchange) -> Option<Command> {
    Some(Command::DeclareQueue {
        vhost: vhost.clone(),
        name: delaying_queue(name)?,
        id: None,
        durable: exchange.durable,
        auto_delete: false,
        exclusive: None,
        arguments: Table::new().with("x-delayed-exchange", Value::text(name)),
    })
}

impl Follower for Node {
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
        self.placement.open(queue);
        if let Some(connection) = declared.exclusive {
            self.exclusive.add(id, connection);
        }
        Churn::one(&self.registry.churn.queues_created);
        if let Some(expires) = meaning.expires {
            self.timers.set(now().after(expires), id, Alarm::Unused);
        }
    }

    fn follow(&self, meta: &Meta, change: &Change, after: &mut Aftermath) {
        match change {
            Change::QueueRemoved(id) => {
                self.exclusive.remove(*id);
                self.timers.forget(*id);
                // What it has in memory is given up before and after whoever looks for queues would have to wait.
                let queue = self.queue(*id);
                if let Some(queue) = &queue {
                    queue.close(after);
                }
                self.placement.close(*id, |queue| {
                    self.registry
                        .retire(queue.identity().kind, queue.snapshot().traffic);
                    Churn::one(&self.registry.churn.queues_deleted);
                });
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

    fn followed(&self, mut after: Aftermath) {
        if let Err(error) = self.write_out(&mut after) {
            tracing::error!(%error, "what a change leads to is not on disk");
        }
        for (queue, run) in after.missing.drain(..) {
            self.timers.fetch(queue, run);
        }
        // Whoever uses the queue next will see to it.
        after.paged.drain(..).for_each(|queue| queue.stop_paging());
        after.tell();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod noticed;
#[cfg(test)]
mod tests;
