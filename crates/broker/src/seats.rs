//! How many connections vhosts and users have, and how many channels: what limits are compared with.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use warren_amqp::ReplyCode;
use warren_model::meta::reached;
use warren_model::{Name, Refusal};

use crate::node::Node;

/// Taken places.
#[derive(Debug, Default)]
pub(crate) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    vhosts: BTreeMap<Name, usize>,
    users: BTreeMap<Name, OfUser>,
}

/// What a user has. He has no channel without a connection.
#[derive(Debug, Default)]
struct OfUser {
    connections: usize,
    channels: usize,
}

/// There is no place left.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Full {
    #[error("connection refused: node connection limit ({limit}) is reached")]
    Node { limit: u32 },
    #[error("access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached")]
    Vhost { vhost: Name, user: Name, limit: i64 },
    #[error("connection refused for user '{user}': user connection limit ({limit}) is reached")]
    User { user: Name, limit: i64 },
}

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    node: Arc<Node>,
    vhost: Name,
    user: Name,
    /// Channels that are open.
    channels: usize,
}

impl Seat {
    /// A place for a connection; limits are those of the vhost and of the user.
    pub(crate) fn take(
        node: &Arc<Node>,
        vhost: &Name,
        user: &Name,
        limits: (Option<i64>, Option<i64>),
    ) -> Result<Self, Full> {
        let mut taken = node.seats.0.lock();
        if let Some(limit) = node.settings().connection_max
            && taken.all >= limit as usize
        {
            return Err(Full::Node { limit });
        }
        let in_vhost = taken.vhosts.get(vhost).copied().unwrap_or_default();
        if let Some(limit) = reached(limits.0, in_vhost) {
            let (vhost, user) = (vhost.clone(), user.clone());
            return Err(Full::Vhost { vhost, user, limit });
        }
        let of_user = taken.users.get(user).map_or(0, |user| user.connections);
        if let Some(limit) = reached(limits.1, of_user) {
            let user = user.clone();
            return Err(Full::User { user, limit });
        }
        taken.all += 1;
        *taken.vhosts.entry(vhost.clone()).or_default() += 1;
        taken.users.entry(user.clone()).or_default().connections += 1;
        Ok(Self {
            node: Arc::clone(node),
            vhost: vhost.clone(),
            user: user.clone(),
            channels: 0,
        })
    }

    pub(crate) const fn vhost(&self) -> &Name {
        &self.vhost
    }

    /// So many channels are open now; more than before only if the user may have them.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn set_channels(&mut self, count: usize) -> Result<(), Refusal> {
        let more = count > self.channels;
        let limit = match more {
            true => self.node.read(|meta| meta.user(&self.user)?.limits.channels),
            false => None,
        };
        let mut taken = self.node.seats.0.lock();
        let Some(of_user) = taken.users.get_mut(&self.user) else {
            return Ok(());
        };
        if let Some(limit) = reached(limit, of_user.channels) {
            return Err(Refusal::new(
                ReplyCode::NotAllowed,
                format_args!(
                    "number of channels opened for user '{}' has reached the maximum allowed user limit of ({limit})",
                    self.user
                ),
            ));
        }
        of_user.channels = (of_user.channels + count).saturating_sub(self.channels);
        self.channels = count;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.node.seats.0.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(in_vhost) = taken.vhosts.get_mut(&self.vhost) {
            *in_vhost = in_vhost.saturating_sub(1);
            if *in_vhost == 0 {
                taken.vhosts.remove(&self.vhost);
            }
        }
        if let Some(of_user) = taken.users.get_mut(&self.user) {
            of_user.connections = of_user.connections.saturating_sub(1);
            of_user.channels = of_user.channels.saturating_sub(self.channels);
            if of_user.connections == 0 {
                taken.users.remove(&self.user);
            }
        }
    }
}
