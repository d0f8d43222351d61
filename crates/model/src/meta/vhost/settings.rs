//! What operators set for a vhost: policies, limits, parameters.

use std::sync::Arc;

use super::{Change, Command, Vhost, VhostLimits};
use crate::json::Value;
use crate::meta::parameters;
use crate::meta::policy::{Applied, Author, Policy, Thing};
use crate::name::Name;
use crate::refusal::Refusal;

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

    pub(in crate::meta) fn set_policy(
        &mut self,
        author: Author,
        name: Name,
        policy: Policy,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        policy.check(author)?;
        let now = policy.clone();
        if self.policies.set(author, name, Some(policy)).as_ref() != Some(&now) {
            self.apply_policies(changes);
        }
        Ok(())
    }

    pub(in crate::meta) fn clear_policy(
        &mut self,
        author: Author,
        name: Name,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        self.policies
            .set(author, name, None)
            .ok_or_else(parameters::missing)?;
        self.apply_policies(changes);
        Ok(())
    }

    pub(in crate::meta) fn set_limits(&mut self, limits: VhostLimits, changes: &mut Vec<Change>) {
        if self.limits != limits {
            self.limits = limits;
            changes.push(Change::VhostChanged(self.name.clone()));
        }
    }

    /// Another value for a parameter, or none any more. Says which it had.
    pub(in crate::meta) fn set_parameter(
        &mut self,
        component: Name,
        name: Name,
        value: Option<Value>,
    ) -> Option<Value> {
        match value {
            Some(value) => self.parameters.insert((component, name), value),
            None => self.parameters.remove(&(component, name)),
        }
    }

    /// Looks again which policies count for what. Says so of everything for which others do, or the same with other settings.
    fn apply_policies(&mut self, changes: &mut Vec<Change>) {
        changes.push(Change::VhostChanged(self.name.clone()));
        let other = |one: &Option<Arc<Applied>>, other: &Option<Arc<Applied>>| match (one, other) {
            (Some(one), Some(other)) => !Arc::ptr_eq(one, other) && one != other,
            (one, other) => one.is_some() != other.is_some(),
        };
        for (name, exchange) in self.exchanges.iter_mut().filter(|(name, _)| !name.is_empty()) {
            let applied = self.policies.applied(Thing::Exchange(name));
            if other(&exchange.applied, &applied) {
                exchange.apply(applied);
                changes.push(Change::ExchangeSettingsChanged(self.name.clone(), name.clone()));
            }
        }
        for (name, queue) in &mut self.queues {
            let applied = self.policies.applied(Thing::Queue(queue.meaning.kind, name));
            if other(&queue.applied, &applied) {
                queue.apply(applied, name, &self.name);
                changes.push(Change::QueueSettingsChanged(queue.id));
            }
        }
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
        described.into_iter().chain(limits).chain(parameters)
    }
}
