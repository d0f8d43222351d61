//! Who is at the other end of a connection, and what he may do.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use warren_amqp::{MethodId, ReplyCode};
use warren_model::meta::{Access, NamedPatterns};
use warren_model::routing::Kind;
use warren_model::{Meta, Name, Refusal};

use crate::node::Node;
use crate::output::Output;
use crate::registry::Entry;

/// Who is at the other end.
#[derive(Debug)]
pub(crate) struct Client {
    /// The connection's number: exclusive queues are its.
    pub(crate) number: u64,
    pub(crate) user: Name,
    pub(crate) vhost: Name,
    /// He understands `basic.cancel` from a server.
    pub(crate) consumer_cancel_notify: bool,
    /// He understands `connection.blocked` from a server.
    pub(crate) blocked_notify: bool,
    pub(crate) node: Arc<Node>,
    pub(crate) output: Arc<Output>,
    /// What others see of the connection.
    pub(crate) entry: Arc<Entry>,
    pub(crate) rights: Rights,
}

/// What a client was found to be allowed, as long as nobody's rights change: what he does he mostly does again.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    allowed: Mutex<Allowed>,
    topics: Mutex<NamedPatterns>,
}

#[derive(Debug, Default)]
struct Allowed {
    /// Of the users, when this was found.
    version: u64,
    /// The newest last.
    known: VecDeque<(Access, bool, Box<str>)>,
}

/// Rights that are remembered of a connection.
const RIGHTS_MAX: usize = 12;

impl Client {
    /// May he do this? `kind` is `queue` or `exchange`.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn check(&self, access: Access, kind: &str, name: &str) -> Result<(), Refusal> {
        let is_queue = kind == "queue";
        let version = self.node.users_version();
        let mut rights = self.rights.allowed.lock();
        if rights.version != version {
            rights.known.clear();
            rights.version = version;
        }
        let same = |(one, queue, other): &(Access, bool, Box<str>)| {
            *one == access && *queue == is_queue && **other == *name
        };
        if rights.known.iter().any(same) {
            return Ok(());
        }
        self.node.read(|meta| match meta.user(&self.user) {
            Some(user) => user.check(access, kind, name, &self.vhost, &self.user),
            None => Err(Refusal::access(kind, name, &self.vhost, &self.user)),
        })?;
        if rights.known.len() >= RIGHTS_MAX {
            rights.known.pop_front();
        }
        rights.known.push_back((access, is_queue, name.into()));
        Ok(())
    }

    /// May he use this key with an exchange, if that is one of type topic? `access` is to publish or to bind.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn check_topic(
        &self,
        meta: &Meta,
        access: Access,
        exchange: &str,
        key: &[u8],
    ) -> Result<(), Refusal> {
        let found = meta.vhost(&self.vhost).and_then(|vhost| vhost.exchange(exchange));
        let is_topic = found.is_some_and(|exchange| exchange.kind == Kind::Topic);
        match meta.user(&self.user) {
            Some(user) if is_topic => {
                let key = String::from_utf8_lossy(key);
                let mut named = self.rights.topics.lock();
                user.check_topic(access, exchange, &key, (&self.vhost, &self.user), &mut named)
            }
            _ => Ok(()),
        }
    }
}

/// What is wrong, and with which method: it closes a channel or the connection, by its code.
pub(crate) fn exception(refusal: Refusal, method: MethodId) -> warren_amqp::Exception {
    warren_amqp::Exception::new(refusal.code, refusal.text, method)
}

/// A precondition that does not hold.
pub(crate) fn precondition(text: impl std::fmt::Display) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text)
}
