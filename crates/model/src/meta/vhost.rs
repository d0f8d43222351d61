//! A vhost: exchanges, queues, and the bindings between them.

mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use warren_amqp::{ShortString, Table, Value};

use super::command::{Binding, Change, Command, Destination};
use super::exchange::{Bound, Exchange};
use super::limits::{self, VhostLimits};
use super::policy::{Policies, Thing};
use super::queue::Queue;
use crate::arguments::QueueType;
use crate::json;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::routing::{Kind, QueueId, Said, Target, delaying_queue};
pub(super) use settings::Reached;

/// Bindings or queues that one piece of a longer work takes: a fraction of a millisecond.
pub(super) const PIECE: usize = 128;

/// Exchanges that are there from the beginning and stay.
const PREDECLARED: [(&str, Kind, bool); 7] = [
    ("", Kind::Direct, false),
    ("amq.direct", Kind::Direct, false),
    ("amq.fanout", Kind::Fanout, false),
    ("amq.headers", Kind::Headers, false),
    ("amq.match", Kind::Headers, false),
    ("amq.rabbitmq.trace", Kind::Topic, true),
    ("amq.topic", Kind::Topic, false),
];

/// A vhost.
#[derive(Debug)]
pub struct Vhost {
    pub(super) name: Name,
    /// In somebody's words.
    pub description: String,
    /// `production`, …
    pub tags: Vec<Name>,
    /// How much it may have.
    pub limits: VhostLimits,
    /// Of which type queues are that do not say one, as far as they can be.
    pub default_queue_type: Option<QueueType>,
    policies: Policies,
    parameters: BTreeMap<(Name, Name), json::Value>,
    pub(super) exchanges: BTreeMap<Name, Exchange>,
    pub(super) queues: BTreeMap<Name, Queue>,
    names: HashMap<QueueId, Name>,
    /// Which exchanges lead to a target, by which bindings.
    inbound: HashMap<Target, BTreeSet<(Name, Bound)>>,
    /// Exchanges that are deleted with their last binding, and have none any more. None between two commands.
    leaving: BTreeSet<Name>,
}

impl Vhost {
    pub(super) fn new(name: Name, description: String) -> Self {
        let exchanges = PREDECLARED
            .iter()
            .filter_map(|(name, kind, internal)| {
                let exchange = Exchange::new(kind.clone(), true, false, *internal, Table::new());
                Some((Name::try_from(*name).ok()?, exchange))
            })
            .collect();
        Self {
            name,
            description,
            tags: Vec::new(),
            limits: VhostLimits::default(),
            default_queue_type: None,
            policies: Policies::default(),
            parameters: BTreeMap::new(),
            exchanges,
            queues: BTreeMap::new(),
            names: HashMap::new(),
            inbound: HashMap::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// An exchange.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// All exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = (&Name, &Exchange)> {
        self.exchanges.iter()
    }

    /// A queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// All queues, by name.
    pub fn queues(&self) -> impl Iterator<Item = (&Name, &Queue)> {
        self.queues.iter()
    }

    /// The name of a queue.
    #[must_use]
    pub fn queue_name(&self, id: QueueId) -> Option<&Name> {
        self.names.get(&id)
    }

    /// All bindings, those of the default exchange to every queue included, which nobody made.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.bindings_behind(None).filter_map(|(_, binding)| binding)
    }

    /// Which queues a message goes to, each once. Nothing happens to it if there is no such exchange.
    pub fn route(&self, exchange: &str, said: &Said<'_>, queues: &mut Vec<QueueId>) {
        if exchange.is_empty() {
            queues.extend(said.keys().filter_map(|key| self.named(key)));
            return only_once(queues);
        }
        let mut found = Vec::new();
        let mut visited: HashSet<&str> = HashSet::new();
        let mut next = vec![exchange];
        while let Some(name) = next.pop() {
            if !visited.insert(name) {
                continue;
            }
            let Some((name, exchange)) = self.exchanges.get_key_value(name) else {
                continue;
            };
            if name.is_empty() {
                // As somebody's alternate exchange.
                queues.extend(said.keys().filter_map(|key| self.named(key)));
                continue;
            }
            if matches!(exchange.kind, Kind::Delayed(_))
                && said.is_delayed()
                && let Some(queue) = delaying_queue(name).and_then(|queue| self.queues.get(&queue))
            {
                queues.push(queue.id);
                continue;
            }
            found.clear();
            exchange.routes.route(said, &mut found);
            if found.is_empty() {
                next.extend(exchange.alternate.as_deref());
            }
            for target in &found {
                match target {
                    Target::Queue(id) => queues.push(*id),
                    Target::Exchange(name) => next.push(name),
                }
            }
        }
        only_once(queues);
    }

    /// Where the default exchange leads.
    fn named(&self, key: &[u8]) -> Option<QueueId> {
        let name = std::str::from_utf8(key).ok()?;
        self.queues.get(name).map(|queue| queue.id)
    }

    /// May it be declared; would it be another one?
    pub(super) fn check_exchange(&self, name: &Name, exchange: &Exchange) -> Result<bool, Refusal> {
        if name.is_empty() {
            return Err(Refusal::default_exchange());
        }
        if let Some(current) = self.exchanges.get(name) {
            current.check_equivalent(exchange, name, &self.name)?;
            return Ok(false);
        }
        if name.starts_with("amq.") {
            return Err(Refusal::reserved_prefix("exchange", name));
        }
        if matches!(exchange.kind, Kind::Delayed(_)) && delaying_queue(name).is_none() {
            return Err(Refusal::new(
                warren_amqp::ReplyCode::PreconditionFailed,
                format_args!("exchange name '{name}' is too long for type 'x-delayed-message'"),
            ));
        }
        Ok(true)
    }

    pub(super) fn declare_exchange(
        &mut self,
        name: Name,
        mut exchange: Exchange,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        if !self.check_exchange(&name, &exchange)? {
            return Ok(());
        }
        changes.push(Change::ExchangeAdded(self.name.clone(), name.clone()));
        exchange.apply(self.policies.applied(Thing::Exchange(&name)));
        self.exchanges.insert(name, exchange);
        Ok(())
    }

    /// May it be deleted; is there one?
    pub(super) fn check_exchange_deletion(&self, name: &Name, if_unused: bool) -> Result<bool, Refusal> {
        if name.is_empty() {
            return Err(Refusal::default_exchange());
        }
        if name.starts_with("amq.") && self.exchanges.contains_key(name) {
            return Err(Refusal::system_exchange(name, &self.name));
        }
        let exchange = self.exchanges.get(name);
        if if_unused && exchange.is_some_and(|exchange| !exchange.bindings.is_empty()) {
            return Err(Refusal::in_use("exchange", name, &self.name));
        }
        Ok(exchange.is_some())
    }

    /// The arguments of a queue as a client declares it, with the vhost's type if they say none and the queue can have it.
    #[must_use]
    pub fn with_default_type(
        &self,
        mut arguments: Table,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
    ) -> Table {
        const TYPE: &str = "x-queue-type";
        let kind = self.default_queue_type.filter(|kind| match kind {
            QueueType::Classic => true,
            QueueType::Quorum => durable && !exclusive && !auto_delete,
        });
        if let (Some(kind), None) = (kind, arguments.get(TYPE)) {
            arguments.push(ShortString::from_static(TYPE), Value::text(kind.as_str()));
        }
        arguments
    }

    /// May it be declared; would it be another one? Its arguments are looked at when it would.
    pub(super) fn check_queue(
        &self,
        name: &Name,
        durable: bool,
        auto_delete: bool,
        exclusive: Option<u64>,
        arguments: &Table,
    ) -> Result<bool, Refusal> {
        if let Some(current) = self.queues.get(name) {
            current.check_equivalent(durable, auto_delete, exclusive, arguments, name, &self.name)?;
            return Ok(false);
        }
        match limits::reached(self.limits.queues, self.queues.len()) {
            Some(limit) => Err(Refusal::queue_limit(name, &self.name, limit)),
            None => Ok(true),
        }
    }

    pub(super) fn declare_queue(&mut self, name: Name, mut queue: Queue, changes: &mut Vec<Change>) {
        let applied = self.policies.applied(Thing::Queue(queue.meaning.kind, &name));
        if applied.is_some() {
            queue.apply(applied, &name, &self.name);
        }
        changes.push(Change::QueueAdded(queue.id));
        self.names.insert(queue.id, name.clone());
        self.queues.insert(name, queue);
    }

    pub(super) fn delete_queue(&mut self, name: &Name, changes: &mut Vec<Change>) {
        let Some(queue) = self.queues.remove(name) else {
            return;
        };
        self.names.remove(&queue.id);
        self.forget_target(&Target::Queue(queue.id), changes);
        changes.push(Change::QueueRemoved(queue.id));
    }

    /// May there be such a binding; is there none yet?
    pub(super) fn check_binding(&self, binding: &Binding) -> Result<bool, Refusal> {
        let (exchange, target) = self.check_ends(binding)?;
        exchange.routes.check(&binding.key, &binding.arguments)?;
        let bound = Bound::new(target, binding.key.clone(), &binding.arguments);
        Ok(!exchange.bindings.contains(&bound))
    }

    /// May it be undone; is there such a binding?
    pub(super) fn check_unbinding(&self, binding: &Binding) -> Result<bool, Refusal> {
        if binding.source.is_empty() || binding.destination == Destination::Exchange(Name::empty()) {
            return Err(Refusal::default_exchange());
        }
        let Some(target) = self.target(&binding.destination) else {
            return Ok(false);
        };
        let bound = Bound::new(target, binding.key.clone(), &binding.arguments);
        let exchange = self.exchanges.get(&binding.source);
        Ok(exchange.is_some_and(|exchange| exchange.bindings.contains(&bound)))
    }

    pub(super) fn bind(&mut self, binding: &Binding, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        let (_, target) = self.check_ends(binding)?;
        let Some(exchange) = self.exchanges.get_mut(&binding.source) else {
            return Ok(());
        };
        let bound = Bound::new(target.clone(), binding.key.clone(), &binding.arguments);
        if exchange.bindings.insert(bound.clone()) {
            exchange.routes.add(&binding.key, &binding.arguments, &target);
            self.inbound
                .entry(target)
                .or_default()
                .insert((binding.source.clone(), bound));
            changes.push(Change::BindingsChanged(self.name.clone(), binding.source.clone()));
        }
        Ok(())
    }

    /// What is not there is unbound already.
    pub(super) fn unbind(&mut self, binding: &Binding, changes: &mut Vec<Change>) {
        let Some(target) = self.target(&binding.destination) else {
            return;
        };
        let bound = Bound::new(target, binding.key.clone(), &binding.arguments);
        self.forget_inbound(&binding.source, bound.clone());
        self.remove_binding(&binding.source, &bound, changes);
    }

    pub(super) fn is_durable(&self, binding: &Binding) -> bool {
        let source = self
            .exchanges
            .get(&binding.source)
            .is_some_and(|exchange| exchange.durable);
        source
            && match &binding.destination {
                Destination::Queue(name) => self.queues.get(name).is_some_and(Queue::outlives_restarts),
                Destination::Exchange(name) => {
                    self.exchanges.get(name).is_some_and(|exchange| exchange.durable)
                }
            }
    }

    /// The commands that make this vhost again.
    pub(super) fn durable(&self) -> impl Iterator<Item = Command> {
        let vhost = std::iter::once(Command::AddVhost {
            name: self.name.clone(),
            description: self.description.clone(),
        });
        let exchanges = self
            .exchanges
            .iter()
            .filter(|(name, exchange)| exchange.durable && !name.is_empty() && !name.starts_with("amq."))
            .map(|(name, exchange)| Command::DeclareExchange {
                vhost: self.name.clone(),
                name: name.clone(),
                kind: exchange.kind.clone(),
                durable: true,
                auto_delete: exchange.auto_delete,
                internal: exchange.internal,
                arguments: exchange.arguments.clone(),
            });
        let queues = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.outlives_restarts())
            .map(|(name, queue)| Command::DeclareQueue {
                vhost: self.name.clone(),
                name: name.clone(),
                id: Some(queue.id),
                durable: true,
                auto_delete: queue.auto_delete,
                exclusive: None,
                arguments: queue.arguments.clone(),
            });
        let bindings = self
            .bindings()
            .filter(|binding| !binding.source.is_empty() && self.is_durable(binding))
            .map(|binding| Command::Bind {
                vhost: self.name.clone(),
                binding,
            });
        // Limits last: what is there is there.
        vhost
            .chain(self.policy_commands())
            .chain(exchanges)
            .chain(queues)
            .chain(bindings)
            .chain(self.setting_commands())
    }

    /// Both have to be there; the source is looked for first.
    fn check_ends(&self, binding: &Binding) -> Result<(&Exchange, Target), Refusal> {
        if binding.source.is_empty() || binding.destination == Destination::Exchange(Name::empty()) {
            return Err(Refusal::default_exchange());
        }
        let missing = |kind, name| Refusal::not_found(kind, name, &self.name);
        let source = self.exchanges.get(&binding.source);
        let source = source.ok_or_else(|| missing("exchange", &binding.source))?;
        let target = self.target(&binding.destination);
        let target = target.ok_or_else(|| match &binding.destination {
            Destination::Queue(name) => missing("queue", name),
            Destination::Exchange(name) => missing("exchange", name),
        })?;
        Ok((source, target))
    }

    fn target(&self, destination: &Destination) -> Option<Target> {
        match destination {
            Destination::Queue(name) => self.queues.get(name).map(|queue| Target::Queue(queue.id)),
            Destination::Exchange(name) => self
                .exchanges
                .get_key_value(name)
                .map(|(name, _)| Target::Exchange(name.clone())),
        }
    }

    pub(super) fn binding(&self, source: &Name, bound: &Bound) -> Option<Binding> {
        let destination = match &bound.target {
            Target::Queue(id) => Destination::Queue(self.names.get(id)?.clone()),
            Target::Exchange(name) => Destination::Exchange(name.clone()),
        };
        Some(Binding {
            source: source.clone(),
            destination,
            key: bound.key.clone(),
            arguments: bound.table(),
        })
    }

    pub(super) fn remove_exchange(&mut self, name: &Name, changes: &mut Vec<Change>) {
        let Some(exchange) = self.exchanges.remove(name) else {
            return;
        };
        for bound in exchange.bindings {
            self.forget_inbound(name, bound);
        }
        self.forget_target(&Target::Exchange(name.clone()), changes);
        changes.push(Change::ExchangeRemoved(self.name.clone(), name.clone()));
        if matches!(exchange.kind, Kind::Delayed(_))
            && let Some(queue) = delaying_queue(name)
        {
            // What waits for it has nowhere to go.
            self.delete_queue(&queue, changes);
        }
    }

    /// Exchanges that delay messages and have no queue for those yet.
    pub fn without_delaying_queue(&self) -> impl Iterator<Item = (&Name, &Exchange)> {
        self.exchanges
            .iter()
            .filter(|entry| self.lacks_delaying_queue(entry))
    }

    /// This exchange, if it is one of them.
    #[must_use]
    pub fn without_its_delaying_queue(&self, name: &str) -> Option<(&Name, &Exchange)> {
        let found = self.exchanges.get_key_value(name);
        found.filter(|entry| self.lacks_delaying_queue(entry))
    }

    fn lacks_delaying_queue(&self, (name, exchange): &(&Name, &Exchange)) -> bool {
        matches!(exchange.kind, Kind::Delayed(_))
            && delaying_queue(name).is_some_and(|queue| !self.queues.contains_key(&queue))
    }

    /// Takes some of the bindings away that lead to a queue that will go. True: the rest is no work worth mentioning.
    pub(super) fn thin_queue(&mut self, name: &Name, changes: &mut Vec<Change>) -> bool {
        let id = self.queues.get(name).map(|queue| queue.id);
        id.is_none_or(|id| self.thin_target(&Target::Queue(id), changes))
    }

    /// Takes some of the bindings away that lead to or from an exchange that will go, which it follows until then. True: as above.
    pub(super) fn thin_exchange(&mut self, name: &Name, changes: &mut Vec<Change>) -> bool {
        for _ in 0..PIECE {
            let exchange = self.exchanges.get_mut(name);
            let Some(bound) = exchange.and_then(|exchange| exchange.bindings.pop_first()) else {
                return self.thin_target(&Target::Exchange(name.clone()), changes);
            };
            self.forget_inbound(name, bound);
        }
        false
    }

    /// Takes some of the exchanges away that are deleted with their last binding and have none any more, and of what leads to them: each may
    /// be the last to which another led. True: there is none any more.
    pub(super) fn thin_leaving(
        &mut self,
        changes: &mut Vec<Change>,
        consequences: &mut Vec<Command>,
    ) -> bool {
        for _ in 0..PIECE {
            let Some(name) = self.leaving.first().cloned() else {
                return true;
            };
            let bindings = self.inbound.get(&Target::Exchange(name.clone()));
            let many = bindings.is_some_and(|bindings| bindings.len() > 1);
            // By itself: this may be many.
            if many && !self.thin_target(&Target::Exchange(name.clone()), changes) {
                return false;
            }
            self.leaving.remove(&name);
            if self.exchange(&name).is_some_and(|exchange| exchange.durable) {
                consequences.push(Command::DeleteExchange {
                    vhost: self.name.clone(),
                    name: name.clone(),
                    if_unused: false,
                });
            }
            self.remove_exchange(&name, changes);
        }
        false
    }

    /// All of them stay.
    pub(super) fn keep_leaving(&mut self) -> bool {
        self.leaving.clear();
        true
    }

    /// Takes some of the queues away, and of what leads to them, and then some of the exchanges. True: there is none any more.
    pub(super) fn thin(&mut self, changes: &mut Vec<Change>) -> bool {
        if self.queues.is_empty() {
            return self.thin_exchanges(changes);
        }
        for _ in 0..PIECE {
            let Some(name) = self.queues.keys().next().cloned() else {
                return false;
            };
            let id = self.queues.get(&name).map(|queue| Target::Queue(queue.id));
            let bindings = id.and_then(|target| self.inbound.get(&target));
            if bindings.is_some_and(|bindings| bindings.len() > 1) {
                // By itself: this may be many.
                if self.thin_queue(&name, changes) {
                    self.delete_queue(&name, changes);
                }
                return false;
            }
            self.delete_queue(&name, changes);
        }
        false
    }

    fn thin_exchanges(&mut self, changes: &mut Vec<Change>) -> bool {
        for _ in 0..PIECE {
            let Some((name, exchange)) = self.exchanges.first_key_value() else {
                return true;
            };
            let name = name.clone();
            if exchange.bindings.is_empty() && !self.inbound.contains_key(&Target::Exchange(name.clone())) {
                self.exchanges.remove(&name);
            } else {
                // By itself: this may be many.
                if self.thin_exchange(&name, changes) {
                    self.exchanges.remove(&name);
                }
                return false;
            }
        }
        false
    }

    fn thin_target(&mut self, target: &Target, changes: &mut Vec<Change>) -> bool {
        for _ in 0..PIECE {
            let first = self.inbound.get_mut(target).and_then(BTreeSet::pop_first);
            let Some((source, bound)) = first else {
                self.inbound.remove(target);
                return true;
            };
            self.remove_binding(&source, &bound, changes);
        }
        false
    }

    /// A binding of an exchange is gone.
    fn forget_inbound(&mut self, source: &Name, bound: Bound) {
        let target = bound.target.clone();
        if let Some(bindings) = self.inbound.get_mut(&target) {
            bindings.remove(&(source.clone(), bound));
            if bindings.is_empty() {
                self.inbound.remove(&target);
            }
        }
    }

    /// Nothing leads to it any more.
    fn forget_target(&mut self, target: &Target, changes: &mut Vec<Change>) {
        for (source, bound) in self.inbound.remove(target).into_iter().flatten() {
            self.remove_binding(&source, &bound, changes);
        }
    }

    /// An exchange that is deleted with its last binding goes afterwards, if this was it ([`Self::thin_leaving`]).
    fn remove_binding(&mut self, source: &Name, bound: &Bound, changes: &mut Vec<Change>) {
        let Some(exchange) = self.exchanges.get_mut(source) else {
            return;
        };
        if !exchange.bindings.remove(bound) {
            return;
        }
        exchange.routes.remove(&bound.key, &bound.table(), &bound.target);
        if exchange.auto_delete && exchange.bindings.is_empty() {
            self.leaving.insert(source.clone());
        }
        match changes.last() {
            Some(Change::BindingsChanged(_, same)) if same == source => {}
            _ => changes.push(Change::BindingsChanged(self.name.clone(), source.clone())),
        }
    }
}

fn only_once(queues: &mut Vec<QueueId>) {
    if queues.len() > 1 {
        queues.sort_unstable();
        queues.dedup();
    }
}
