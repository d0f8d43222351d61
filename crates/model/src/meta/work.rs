//! Commands that are much work, in pieces: whoever only looks need not wait for all of it.
//!
//! A queue with ten thousand bindings, a policy for ten thousand queues: between two pieces others may read, and see some of them gone or
//! changed and others not. No other command may come in between.

use super::vhost::{Reached, Vhost};
use super::{Change, Command, Meta};
use crate::name::Name;
use crate::refusal::Refusal;

/// A command that has been checked ([`Meta::check`]) and changes something.
#[derive(Debug)]
pub struct Work {
    /// Until what is left of it can be done at once.
    command: Option<Command>,
    /// What is left to be done in a vhost when the command has been carried out.
    rest: Option<(Name, Rest)>,
    consequences: Vec<Command>,
}

#[derive(Debug)]
enum Rest {
    /// It has other policies, which have been applied so far.
    Policies(Reached),
    /// Exchanges of it may have lost their last bindings, and go.
    Leaving,
}

impl Work {
    pub(super) const fn new(command: Command) -> Self {
        Self {
            command: Some(command),
            rest: None,
            consequences: Vec::new(),
        }
    }

    /// The command, until something of it has been done.
    #[must_use]
    pub const fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    /// Durable exchanges that have gone with their last bindings, which nothing else that is written down need lead to: the commands that do.
    #[must_use]
    pub fn consequences(&self) -> &[Command] {
        &self.consequences
    }
}

impl Meta {
    /// Does a piece of a work, and adds what is different then to `changes`. True: all is done.
    ///
    /// # Errors
    /// Another command has come in between.
    pub fn carry_on(&mut self, work: &mut Work, changes: &mut Vec<Change>) -> Result<bool, Refusal> {
        let before = changes.len();
        let done = self.carry_out_piece(work, changes);
        for change in changes.get(before..).unwrap_or_default() {
            if let Change::QueueRemoved(id) = change {
                self.homes.remove(id);
            }
        }
        done
    }

    fn carry_out_piece(&mut self, work: &mut Work, changes: &mut Vec<Change>) -> Result<bool, Refusal> {
        if let Some((vhost, rest)) = &mut work.rest {
            let is_again = self.is_again;
            let vhost = self.vhost_mut(vhost)?;
            return Ok(vhost.carry_on(rest, is_again, changes, &mut work.consequences));
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
        work.rest = self.rest(&command);
        self.carry_out(command, changes)?;
        match work.rest {
            Some(_) => self.carry_out_piece(work, changes),
            None => Ok(true),
        }
    }

    /// What will be left to be done when a command has been carried out.
    fn rest(&self, command: &Command) -> Option<(Name, Rest)> {
        Some(match command {
            Command::SetPolicy { vhost, .. } | Command::ClearPolicy { vhost, .. } => {
                (vhost.clone(), Rest::Policies(Reached::Exchange(None)))
            }
            Command::DeleteQueue { vhost, .. }
            | Command::DeleteExchange { vhost, .. }
            | Command::Unbind { vhost, .. } => (vhost.clone(), Rest::Leaving),
            Command::RemoveQueue { id } => (self.homes.get(id)?.clone(), Rest::Leaving),
            _ => return None,
        })
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

impl Vhost {
    /// True: there is no further.
    fn carry_on(
        &mut self,
        rest: &mut Rest,
        is_again: bool,
        changes: &mut Vec<Change>,
        consequences: &mut Vec<Command>,
    ) -> bool {
        match rest {
            Rest::Policies(reached) => self.apply_policies(reached, changes),
            Rest::Leaving if is_again => self.keep_leaving(),
            Rest::Leaving => self.thin_leaving(changes, consequences),
        }
    }
}
