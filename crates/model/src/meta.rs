//! Everything a broker knows but messages: vhosts with their exchanges, queues and bindings, users and what they may do.
//!
//! It changes by [`Command`]s only, one after another; the same commands in the same order make the same [`Meta`] on
//! every node and after every restart. What has to outlive a restart is written down as the commands that make it again
//! ([`Meta::durable`]).

mod check;
mod command;
mod exchange;
mod limits;
pub mod parameters;
mod policy;
mod queue;
#[cfg(test)]
mod tests;
mod user;
mod vhost;
mod walk;
mod work;

use std::collections::{BTreeMap, HashMap};

use warren_amqp::ReplyCode;

use crate::arguments::QueueType;
use crate::json::Value;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::routing::QueueId;
pub use command::{Binding, Change, Command, Destination, Done};
pub use exchange::Exchange;
pub use limits::{LimitChanges, UserLimits, VhostLimits, reached};
pub use policy::{Applied, ApplyTo, Author, Policy};
pub use queue::Queue;
pub use user::{Access, NamedPatterns, PasswordHash, Permissions, TopicPermissions, User};
pub use vhost::Vhost;
pub use walk::BindingPlace;
pub use work::Work;

/// All that is known.
#[derive(Debug, Default)]
pub struct Meta {
    vhosts: BTreeMap<Name, Vhost>,
    users: BTreeMap<Name, User>,
    /// The vhost of each queue.
    homes: HashMap<QueueId, Name>,
    /// Parameters of the whole broker.
    parameters: BTreeMap<Name, Value>,
    /// The last number given to a queue.
    last_queue: u64,
    /// See [`Meta::again`].
    is_again: bool,
}

impl Meta {
    /// Commands that were written down are carried out again from now on, or no more. Transient queues and bindings are not among them, so
    /// what went with the last of its bindings goes by a command of its own ([`Work::consequences`]), and not by itself.
    pub const fn again(&mut self, is_again: bool) {
        self.is_again = is_again;
    }

    /// Carries out a command, as a whole or not at all.
    ///
    /// # Errors
    /// What it asks for cannot be; nothing has changed.
    pub fn apply(&mut self, command: Command) -> Result<Done, Refusal> {
        let mut changes = Vec::new();
        if let Some(mut work) = self.check(command)? {
            while !self.carry_on(&mut work, &mut changes)? {}
        }
        Ok(Done { changes })
    }

    /// Carries out what is left of a command when it can be done at once. It has been checked.
    fn carry_out(&mut self, command: Command, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        match command {
            Command::AddVhost { name, description } => {
                if !self.vhosts.contains_key(&*name) {
                    self.vhosts
                        .insert(name.clone(), Vhost::new(name.clone(), description));
                    changes.push(Change::VhostAdded(name));
                }
            }
            Command::DeleteVhost { name } => {
                self.vhosts.remove(&*name);
                for user in self.users.values_mut() {
                    user.permissions.remove(&*name);
                    user.topic_permissions.retain(|(vhost, _), _| *vhost != name);
                }
                changes.push(Change::VhostRemoved(name));
            }
            Command::DeclareExchange {
                vhost,
                name,
                kind,
                durable,
                auto_delete,
                internal,
                arguments,
            } => {
                let exchange = Exchange::new(kind, durable, auto_delete, internal, arguments);
                self.vhost_mut(&vhost)?
                    .declare_exchange(name, exchange, changes)?;
            }
            Command::DeleteExchange { vhost, name, .. } => {
                self.vhost_mut(&vhost)?.remove_exchange(&name, changes);
            }
            Command::DeclareQueue {
                vhost,
                name,
                id,
                durable,
                auto_delete,
                exclusive,
                arguments,
            } => {
                let id = id.unwrap_or(QueueId(self.last_queue + 1));
                let home = self.vhosts.get_mut(&*vhost).ok_or_else(|| no_vhost(&vhost))?;
                if home.check_queue(&name, durable, auto_delete, exclusive, &arguments)? {
                    let queue = Queue::new(id, durable, auto_delete, exclusive, arguments, &name, &vhost)?;
                    self.homes.insert(id, home.name.clone());
                    home.declare_queue(name, queue, changes);
                }
                self.last_queue = self.last_queue.max(id.0);
            }
            Command::DeleteQueue { vhost, name } => {
                self.vhost_mut(&vhost)?.delete_queue(&name, changes);
            }
            Command::RemoveQueue { id } => {
                if let Some((vhost, name)) = self.address(id) {
                    self.vhost_mut(&vhost)?.delete_queue(&name, changes);
                }
            }
            Command::Bind { vhost, binding } => self.vhost_mut(&vhost)?.bind(&binding, changes)?,
            Command::Unbind { vhost, binding } => self.vhost_mut(&vhost)?.unbind(&binding, changes),
            Command::PutUser { name, password, tags } => {
                let user = self.users.entry(name.clone()).or_default();
                user.password = password;
                user.tags = tags;
                changes.push(Change::UserChanged(name));
            }
            Command::AddUser { name, password } => {
                let user = User {
                    password,
                    ..User::default()
                };
                self.users.insert(name.clone(), user);
                changes.push(Change::UserChanged(name));
            }
            Command::SetPassword { user, password } => {
                self.user_mut(&user)?.password = password;
                changes.push(Change::UserChanged(user));
            }
            Command::SetUserTags { user, tags } => {
                self.user_mut(&user)?.tags = tags;
                changes.push(Change::UserChanged(user));
            }
            Command::DeleteUser { name } => {
                self.users.remove(&*name).ok_or_else(|| no_user(&name))?;
                changes.push(Change::UserRemoved(name));
            }
            Command::SetPermissions {
                user,
                vhost,
                permissions,
            } => {
                self.vhost(&vhost).ok_or_else(|| no_vhost(&vhost))?;
                let entry = self.users.get_mut(&*user).ok_or_else(|| no_user(&user))?;
                entry.permissions.insert(vhost, permissions);
                changes.push(Change::UserChanged(user));
            }
            Command::ClearPermissions { user, vhost } => {
                let entry = self.users.get_mut(&*user).ok_or_else(|| no_user(&user))?;
                entry.permissions.remove(&*vhost);
                changes.push(Change::UserChanged(user));
            }
            setting @ (Command::DescribeVhost { .. }
            | Command::SetPolicy { .. }
            | Command::ClearPolicy { .. }
            | Command::SetVhostLimits { .. }
            | Command::SetUserLimits { .. }
            | Command::ChangeUserLimits { .. }
            | Command::SetTopicPermissions { .. }
            | Command::ClearTopicPermissions { .. }
            | Command::SetParameter { .. }
            | Command::ClearParameter { .. }
            | Command::NumberQueuesAfter { .. }
            | Command::SetDefaultQueueType { .. }) => return self.set(setting, changes),
        }
        Ok(())
    }

    /// Carries out a command that sets something for what there is.
    fn set(&mut self, command: Command, changes: &mut Vec<Change>) -> Result<(), Refusal> {
        match command {
            Command::DescribeVhost {
                name,
                description,
                tags,
            } => {
                let vhost = self.vhost_mut(&name)?;
                (vhost.description, vhost.tags) = (description, tags);
                changes.push(Change::VhostChanged(name));
            }
            Command::SetPolicy {
                vhost,
                name,
                author,
                policy,
            } => self
                .vhost_mut(&vhost)?
                .set_policy(author, name, Some(policy), changes),
            Command::ClearPolicy { vhost, name, author } => {
                self.vhost_mut(&vhost)?.set_policy(author, name, None, changes);
            }
            Command::SetVhostLimits { vhost, limits } => self.vhost_mut(&vhost)?.set_limits(limits, changes),
            Command::SetUserLimits { user, limits } => {
                self.user_mut(&user)?.limits = limits;
                changes.push(Change::UserChanged(user));
            }
            Command::ChangeUserLimits { user, limits } => {
                let known = &mut self.user_mut(&user)?.limits;
                *known = limits.of(*known);
                changes.push(Change::UserChanged(user));
            }
            Command::SetTopicPermissions {
                user,
                vhost,
                exchange,
                permissions,
            } => {
                self.vhost(&vhost).ok_or_else(|| no_vhost(&vhost))?;
                let entry = self.user_mut(&user)?;
                entry.topic_permissions.insert((vhost, exchange), permissions);
                changes.push(Change::UserChanged(user));
            }
            Command::ClearTopicPermissions {
                user,
                vhost,
                exchange,
            } => {
                let goes = |(other, name): &(Name, Name)| {
                    *other == vhost && exchange.as_ref().is_none_or(|exchange| exchange == name)
                };
                self.user_mut(&user)?
                    .topic_permissions
                    .retain(|key, _| !goes(key));
                changes.push(Change::UserChanged(user));
            }
            Command::SetParameter {
                vhost,
                component,
                name,
                value,
            } => self.set_parameter(vhost, component, name, Some(value), changes)?,
            Command::ClearParameter {
                vhost,
                component,
                name,
            } => self.set_parameter(vhost, component, name, None, changes)?,
            Command::NumberQueuesAfter { last } => self.last_queue = self.last_queue.max(last),
            Command::SetDefaultQueueType { vhost: name, kind } => {
                let vhost = self.vhost_mut(&name)?;
                vhost.default_queue_type = kind.as_deref().and_then(QueueType::parse);
                changes.push(Change::VhostChanged(name));
            }
            // The others are carried out above.
            _ => {}
        }
        Ok(())
    }

    fn set_parameter(
        &mut self,
        vhost: Option<Name>,
        component: Name,
        name: Name,
        value: Option<Value>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Refusal> {
        match (&vhost, value) {
            (Some(vhost), value) => {
                self.vhost_mut(vhost)?
                    .set_parameter(component.clone(), name.clone(), value);
            }
            (None, Some(value)) => drop(self.parameters.insert(name.clone(), value)),
            (None, None) => drop(self.parameters.remove(&name)),
        }
        changes.push(Change::ParameterChanged(vhost, component, name));
        Ok(())
    }

    /// A vhost.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Vhost> {
        self.vhosts.get(name)
    }

    /// A vhost, and its name as all share it.
    #[must_use]
    pub fn vhost_entry(&self, name: &str) -> Option<(&Name, &Vhost)> {
        self.vhosts.get_key_value(name)
    }

    /// All vhosts, by name.
    pub fn vhosts(&self) -> impl Iterator<Item = (&Name, &Vhost)> {
        self.vhosts.iter()
    }

    /// A queue by its number, with its vhost and name.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<(&Name, &Name, &Queue)> {
        let (vhost, it) = self.vhost_entry(self.homes.get(&id)?)?;
        let name = it.queue_name(id)?;
        Some((vhost, name, it.queue(name)?))
    }

    /// The vhost and the name of a queue.
    fn address(&self, id: QueueId) -> Option<(Name, Name)> {
        self.queue(id)
            .map(|(vhost, name, _)| (vhost.clone(), name.clone()))
    }

    /// A user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users, by name.
    pub fn users(&self) -> impl Iterator<Item = (&Name, &User)> {
        self.users.iter()
    }

    /// Parameters of the whole broker, by name.
    pub fn parameters(&self) -> impl Iterator<Item = (&Name, &Value)> {
        self.parameters.iter()
    }

    /// A parameter of the whole broker.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters.get(name)
    }

    /// The last number that was given to a queue.
    #[must_use]
    pub const fn last_queue(&self) -> QueueId {
        QueueId(self.last_queue)
    }

    /// The commands that make again all that outlives a restart, in an order in which they can be carried out.
    pub fn durable(&self) -> impl Iterator<Item = Command> {
        let users = self.users.iter().map(|(name, user)| Command::PutUser {
            name: name.clone(),
            password: user.password.clone(),
            tags: user.tags.clone(),
        });
        let permissions = self.users.iter().flat_map(|(name, user)| {
            user.permissions
                .iter()
                .map(|(vhost, permissions)| Command::SetPermissions {
                    user: name.clone(),
                    vhost: vhost.clone(),
                    permissions: permissions.clone(),
                })
        });
        let topics = self.users.iter().flat_map(|(name, user)| {
            let said = user.topic_permissions.iter();
            said.map(|((vhost, exchange), permissions)| Command::SetTopicPermissions {
                user: name.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                permissions: permissions.clone(),
            })
        });
        let limited = self
            .users
            .iter()
            .filter(|(_, user)| user.limits != UserLimits::default());
        let limits = limited.map(|(name, user)| Command::SetUserLimits {
            user: name.clone(),
            limits: user.limits,
        });
        let parameters = self.parameters.iter().map(|(name, value)| Command::SetParameter {
            vhost: None,
            component: Name::empty(),
            name: name.clone(),
            value: value.clone(),
        });
        let last = Command::NumberQueuesAfter {
            last: self.last_queue,
        };
        users
            .chain(limits)
            .chain(parameters)
            .chain(std::iter::once(last))
            .chain(self.vhosts.values().flat_map(Vhost::durable))
            .chain(permissions)
            .chain(topics)
    }

    /// Does this have to be written down?
    #[must_use]
    pub fn is_durable(&self, command: &Command) -> bool {
        match command {
            Command::DeclareExchange { durable, .. } => *durable,
            Command::DeclareQueue {
                durable, exclusive, ..
            } => *durable && exclusive.is_none(),
            Command::DeleteExchange { vhost, name, .. } => self
                .vhost(vhost)
                .and_then(|vhost| vhost.exchange(name))
                .is_some_and(|exchange| exchange.durable),
            Command::DeleteQueue { vhost, name } => self
                .vhost(vhost)
                .and_then(|vhost| vhost.queue(name))
                .is_some_and(Queue::outlives_restarts),
            Command::RemoveQueue { id } => self
                .queue(*id)
                .is_some_and(|(_, _, queue)| queue.outlives_restarts()),
            Command::Bind { vhost, binding } | Command::Unbind { vhost, binding } => {
                self.vhost(vhost).is_some_and(|vhost| vhost.is_durable(binding))
            }
            Command::AddVhost { .. }
            | Command::DeleteVhost { .. }
            | Command::PutUser { .. }
            | Command::DeleteUser { .. }
            | Command::SetPermissions { .. }
            | Command::ClearPermissions { .. }
            | Command::DescribeVhost { .. }
            | Command::SetPolicy { .. }
            | Command::ClearPolicy { .. }
            | Command::SetVhostLimits { .. }
            | Command::SetUserLimits { .. }
            | Command::SetTopicPermissions { .. }
            | Command::ClearTopicPermissions { .. }
            | Command::SetParameter { .. }
            | Command::ClearParameter { .. }
            | Command::NumberQueuesAfter { .. }
            | Command::SetDefaultQueueType { .. }
            | Command::AddUser { .. }
            | Command::SetPassword { .. }
            | Command::SetUserTags { .. }
            | Command::ChangeUserLimits { .. } => true,
        }
    }

    fn vhost_mut(&mut self, name: &str) -> Result<&mut Vhost, Refusal> {
        self.vhosts.get_mut(name).ok_or_else(|| no_vhost(name))
    }

    fn user_mut(&mut self, name: &str) -> Result<&mut User, Refusal> {
        self.users.get_mut(name).ok_or_else(|| no_user(name))
    }
}

fn no_vhost(name: &str) -> Refusal {
    Refusal::new(ReplyCode::NotAllowed, format_args!("vhost {name} not found"))
}

fn no_user(name: &str) -> Refusal {
    Refusal::new(ReplyCode::NotFound, format_args!("no user '{name}'"))
}
