//! Whether a command can be carried out, before anything has changed: what is written down is carried out, and what cannot be written
//! down is not.

use warren_amqp::ReplyCode;

use super::exchange::Exchange;
use super::queue::Queue;
use super::user::User;
use super::work::Work;
use super::{Command, Meta, Vhost, no_user, no_vhost, parameters};
use crate::arguments::QueueType;
use crate::refusal::Refusal;
use crate::routing::QueueId;

fn no_type(name: &str) -> Refusal {
    Refusal::new(
        ReplyCode::PreconditionFailed,
        format_args!("unsupported default queue type '{name}': use classic or quorum"),
    )
}

fn user_exists(name: &str) -> Refusal {
    Refusal::new(
        ReplyCode::PreconditionFailed,
        format_args!("user \"{name}\" already exists"),
    )
}

impl Meta {
    /// Makes a command ready to be carried out ([`Meta::carry_on`]); a queue that it makes has its number then. `None`: all is as it is
    /// to be.
    ///
    /// # Errors
    /// What it asks for cannot be.
    pub fn check(&self, mut command: Command) -> Result<Option<Work>, Refusal> {
        let changes = self.changes(&command)?;
        if let Command::DeclareQueue { id, .. } = &mut command {
            id.get_or_insert(QueueId(self.last_queue + 1));
        }
        Ok(changes.then(|| Work::new(command)))
    }

    fn changes(&self, command: &Command) -> Result<bool, Refusal> {
        let vhost_of = |name: &str| self.vhosts.get(name).ok_or_else(|| no_vhost(name));
        let user_of = |name: &str| self.users.get(name).ok_or_else(|| no_user(name));
        match command {
            Command::AddVhost { name, .. } => Ok(!self.vhosts.contains_key(&**name)),
            Command::DeleteVhost { name } | Command::DescribeVhost { name, .. } => {
                vhost_of(name).map(|_| true)
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
                let exchange =
                    Exchange::new(kind.clone(), *durable, *auto_delete, *internal, arguments.clone());
                vhost_of(vhost)?.check_exchange(name, &exchange)
            }
            Command::DeleteExchange {
                vhost,
                name,
                if_unused,
            } => vhost_of(vhost)?.check_exchange_deletion(name, *if_unused),
            Command::DeclareQueue {
                vhost,
                name,
                durable,
                auto_delete,
                exclusive,
                arguments,
                ..
            } => {
                let is_new =
                    vhost_of(vhost)?.check_queue(name, *durable, *auto_delete, *exclusive, arguments)?;
                if is_new {
                    let (id, arguments) = (QueueId(0), arguments.clone());
                    Queue::new(id, *durable, *auto_delete, *exclusive, arguments, name, vhost)?;
                }
                Ok(is_new)
            }
            Command::DeleteQueue { vhost, name } => {
                vhost_of(vhost).map(|vhost: &Vhost| vhost.queue(name).is_some())
            }
            Command::RemoveQueue { id } => Ok(self.queue(*id).is_some()),
            Command::Bind { vhost, binding } => vhost_of(vhost)?.check_binding(binding),
            Command::Unbind { vhost, binding } => vhost_of(vhost)?.check_unbinding(binding),
            Command::PutUser { .. } => Ok(true),
            Command::AddUser { name, .. } => match self.users.contains_key(&**name) {
                true => Err(user_exists(name)),
                false => Ok(true),
            },
            Command::SetPassword { user, password } => Ok(user_of(user)?.password != *password),
            Command::SetUserTags { user, tags } => Ok(user_of(user)?.tags != *tags),
            Command::ChangeUserLimits { user, limits } => {
                let known = user_of(user)?.limits;
                Ok(limits.of(known) != known)
            }
            Command::DeleteUser { name } => user_of(name).map(|_| true),
            Command::SetPermissions { user, vhost, .. }
            | Command::SetTopicPermissions { user, vhost, .. } => {
                vhost_of(vhost)?;
                user_of(user).map(|_| true)
            }
            Command::ClearTopicPermissions { user, vhost, .. } => {
                vhost_of(vhost)?;
                user_of(user).map(|_| true)
            }
            Command::ClearPermissions { user, .. } | Command::SetUserLimits { user, .. } => {
                user_of(user).map(|_: &User| true)
            }
            Command::SetPolicy {
                vhost,
                name,
                author,
                policy,
            } => vhost_of(vhost)?.check_policy(*author, name, policy),
            Command::ClearPolicy { vhost, name, author } => vhost_of(vhost)?.check_clearing(*author, name),
            Command::SetVhostLimits { vhost, limits } => Ok(vhost_of(vhost)?.limits != *limits),
            Command::SetParameter {
                vhost: Some(vhost),
                component,
                name,
                value,
            } => {
                parameters::check(component, name, value)?;
                vhost_of(vhost).map(|_| true)
            }
            Command::SetParameter { vhost: None, .. } => Ok(true),
            Command::ClearParameter {
                vhost,
                component,
                name,
            } => {
                let there = match vhost {
                    Some(vhost) => vhost_of(vhost)?.has_parameter(component, name),
                    None => self.parameters.contains_key(&**name),
                };
                there.then_some(true).ok_or_else(parameters::missing)
            }
            Command::NumberQueuesAfter { last } => Ok(*last > self.last_queue),
            Command::SetDefaultQueueType { vhost, kind } => {
                let known = kind
                    .as_deref()
                    .map(|name| QueueType::parse(name).ok_or_else(|| no_type(name)));
                Ok(vhost_of(vhost)?.default_queue_type != known.transpose()?)
            }
        }
    }
}
