//! What operators set for a vhost: policies, limits, parameters.

use std::ops::Bound;
use std::sync::Arc;

use super::{Change, Command, PIECE, Vhost, VhostLimits};
use crate::json::Value;
use crate::meta::parameters;
use crate::meta::policy::{Applied, Author, Policy, Thing};
use crate::name::Name;
use crate::refusal::Refusal;

/// The last exchange for which policies were looked at, or the last queue: exchanges come first.
#[derive(Debug)]
pub(in crate::meta) enum Reached {
    Exchange(Option<Name>),
    Queue(Option<Name>),
}

impl Vhost {
    /// Its policies, by name.
    pub fn policies(&self, author: Author) -> impl Iterator<Item = (&Name, &Policy)> {
        self.policies.iter(author)
    }

    /// Its runtime parameters by component and name. Limits and operator policies are not among them.
    pub fn parameters(&self) -> impl Iterator<Item = (&Name, &Name, &Value)> {
        self.parameters
            .iter()
            .map(|((component, name), value)| (component, name, value))
    }

    /// May it be set; is it another one than there is?
    pub(in crate::meta) fn check_policy(
        &self,
        author: Author,
        name: &Name,
        policy: &Policy,
    ) -> Result<bool, Refusal> {
        policy.check(author)?;
        Ok(self.policies.get(author, name) != Some(policy))
    }

    /// Is there one to be cleared?
    pub(in crate::meta) fn check_clearing(&self, author: Author, name: &Name) -> Result<bool, Refusal> {
        let there = self.policies.get(author, name).map(|_| true);
        there.ok_or_else(parameters::missing)
    }

    /// Another policy, or none any more. What it means for what there is is found out afterwards ([`Self::apply_policies`]).
    pub(in crate::meta) fn set_policy(
        &mut self,
        author: Author,
        name: Name,
        policy: Option<Policy>,
        changes: &mut Vec<Change>,
    ) {
        self.policies.set(author, name, policy);
        changes.push(Change::VhostChanged(self.name.clone()));
    }

    pub(in crate::meta) fn set_limits(&mut self, limits: VhostLimits, changes: &mut Vec<Change>) {
        if self.limits != limits {
            self.limits = limits;
            changes.push(Change::VhostChanged(self.name.clone()));
        }
    }

    pub(in crate::meta) fn has_parameter(&self, component: &Name, name: &Name) -> bool {
        self.parameters.contains_key(&(component.clone(), name.clone()))
    }

    /// Another value for a parameter, or none any more.
    pub(in crate::meta) fn set_parameter(&mut self, component: Name, name: Name, value: Option<Value>) {
        match value {
            Some(value) => self.parameters.insert((component, name), value),
            None => self.parameters.remove(&(component, name)),
        };
    }

    /// Looks again which policies count for some of the exchanges and queues, those behind where it came last. Says so of everything for
    /// which others do, or the same with other settings. True: there is no further.
    pub(in crate::meta) fn apply_policies(
        &mut self,
        applied: &mut Reached,
        changes: &mut Vec<Change>,
    ) -> bool {
        match applied {
            Reached::Exchange(last) => {
                *last = self.apply_to_exchanges(last.as_ref(), changes);
                if last.is_none() {
                    *applied = Reached::Queue(None);
                }
                false
            }
            Reached::Queue(last) => {
                *last = self.apply_to_queues(last.as_ref(), changes);
                last.is_none()
            }
        }
    }

    /// Gives the last one; none: there is no further.
    fn apply_to_exchanges(&mut self, last: Option<&Name>, changes: &mut Vec<Change>) -> Option<Name> {
        // Behind the default exchange, which is first.
        let from = Bound::Excluded(last.map_or("", Name::as_str));
        let mut exchanges = self.exchanges.range_mut::<str, _>((from, Bound::Unbounded));
        let mut last = None;
        for (name, exchange) in exchanges.by_ref().take(PIECE) {
            let applied = self.policies.applied(Thing::Exchange(name));
            if differ(&exchange.applied, &applied) {
                exchange.apply(applied);
                changes.push(Change::ExchangeSettingsChanged(self.name.clone(), name.clone()));
            }
            last = Some(name);
        }
        let last = last.cloned();
        exchanges.next().and(last)
    }

    /// The same for queues.
    fn apply_to_queues(&mut self, last: Option<&Name>, changes: &mut Vec<Change>) -> Option<Name> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut queues = self.queues.range_mut::<Name, _>((from, Bound::Unbounded));
        let mut last = None;
        for (name, queue) in queues.by_ref().take(PIECE) {
            let applied = self.policies.applied(Thing::Queue(queue.meaning.kind, name));
            if differ(&queue.applied, &applied) {
                queue.apply(applied, name, &self.name);
                changes.push(Change::QueueSettingsChanged(queue.id));
            }
            last = Some(name);
        }
        let last = last.cloned();
        queues.next().and(last)
    }

    /// The commands that make its policies again.
    pub(super) fn policy_commands(&self) -> impl Iterator<Item = Command> {
        [Author::User, Author::Operator]
            .into_iter()
            .flat_map(move |author| {
                self.policies(author)
                    .map(move |(name, policy)| Command::SetPolicy {
                        vhost: self.name.clone(),
                        name: name.clone(),
                        author,
                        policy: policy.clone(),
                    })
            })
    }

    /// The commands that make again everything else that was set.
    pub(super) fn setting_commands(&self) -> impl Iterator<Item = Command> {
        let described = (!self.tags.is_empty()).then(|| Command::DescribeVhost {
            name: self.name.clone(),
            description: self.description.clone(),
            tags: self.tags.clone(),
        });
        let limits = (self.limits != VhostLimits::default()).then(|| Command::SetVhostLimits {
            vhost: self.name.clone(),
            limits: self.limits,
        });
        let parameters = self
            .parameters()
            .map(|(component, name, value)| Command::SetParameter {
                vhost: Some(self.name.clone()),
                component: component.clone(),
                name: name.clone(),
                value: value.clone(),
            });
        let kind = self.default_queue_type.map(|kind| Command::SetDefaultQueueType {
            vhost: self.name.clone(),
            kind: Name::try_from(kind.as_str()).ok(),
        });
        described.into_iter().chain(kind).chain(limits).chain(parameters)
    }
}

/// Other policies, or the same with other settings.
fn differ(one: &Option<Arc<Applied>>, other: &Option<Arc<Applied>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => !Arc::ptr_eq(one, other) && one != other,
        (one, other) => one.is_some() != other.is_some(),
    }
}
