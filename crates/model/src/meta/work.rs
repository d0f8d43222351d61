//! Commands that are much work, in pieces: whoever only looks need not wait for all of it.
//!
//! A queue with ten thousand bindings, a policy for ten thousand queues: between two pieces others may read, and see some of them gone or
//! changed and others not. No other command may come in between.

use super::vhost::Vhost;
use super::{Change, Command, Meta};
use crate::name::Name;
use crate::refusal::Refusal;

/// A command that has been checked ([`Meta::check`]) and changes something.
#[derive(Debug)]
pub struct Work {
    /// Until what is left of it can be done at once.
    command: Option<Command>,
    /// A vhost with other policies, and the last queue that was looked at.
    policies: Option<(Name, Option<Name>)>,
}

impl Work {
    pub(super) const fn new(command: Command) -> Self {
        Self {
            command: Some(command),
            policies: None,
        }
    }

    /// The command, until something of it has been done.
    #[must_use]
    pub const fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }
}

impl Meta {
    /// Does a piece of a work, and adds what is different then to `changes`. True: all is done.
    ///
    /// # Errors
    /// Another command has come in between.
    pub fn carry_on(&mut self, work: &mut Work, changes: &mut Vec<Change>) -> Result<bool, Refusal> {
        if let Some((vhost, last)) = &mut work.policies {
            *last = self.vhost_mut(vhost)?.apply_policies(last.as_ref(), changes);
            return Ok(last.is_none());
        }
        if work
            .command
            .as_ref()
            .is_some_and(|command| !self.thin(command, changes))
        {
            return Ok(false);
        }
        let Some(command) = work.command.take() else {
            return Ok(true);
        };
        if let Command::SetPolicy { vhost, .. } | Command::ClearPolicy { vhost, .. } = &command {
            work.policies = Some((vhost.clone(), None));
        }
        self.carry_out(command, changes)?;
        Ok(work.policies.is_none())
    }

    /// Takes some of what will go. True: what is left can go at once.
    fn thin(&mut self, command: &Command, changes: &mut Vec<Change>) -> bool {
        let found = match command {
            Command::RemoveQueue { id } => self.address(*id),
            _ => None,
        };
        let mut thin = |vhost: &Name, piece: &mut dyn FnMut(&mut Vhost, &mut Vec<Change>) -> bool| {
            let vhost = self.vhosts.get_mut(vhost);
            vhost.is_none_or(|vhost| piece(vhost, changes))
        };
        match command {
            Command::DeleteQueue { vhost, name } => {
                thin(vhost, &mut |vhost, changes| vhost.thin_queue(name, changes))
            }
            Command::RemoveQueue { .. } => found.is_none_or(|(vhost, name)| {
                thin(&vhost, &mut |vhost, changes| vhost.thin_queue(&name, changes))
            }),
            Command::DeleteExchange { vhost, name, .. } => {
                thin(vhost, &mut |vhost, changes| vhost.thin_exchange(name, changes))
            }
            Command::DeleteVhost { name } => thin(name, &mut |vhost, changes| vhost.thin(changes)),
            _ => true,
        }
    }
}
