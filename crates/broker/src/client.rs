//! Who is at the other end of a connection, and what he may do.

use std::sync::Arc;

use warren_amqp::{MethodId, ReplyCode};
use warren_model::meta::Access;
use warren_model::{Name, Refusal};

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
}

impl Client {
    /// May he do this? `kind` is `queue` or `exchange`.
    ///
    /// # Errors
    /// He may not.
    pub(crate) fn check(&self, access: Access, kind: &str, name: &str) -> Result<(), Refusal> {
        self.node.read(|meta| match meta.user(&self.user) {
            Some(user) => user.check(access, kind, name, &self.vhost, &self.user),
            None => Err(Refusal::access(kind, name, &self.vhost, &self.user)),
        })
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
