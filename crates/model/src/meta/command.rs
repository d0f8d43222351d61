//! What changes the metadata, and what has changed.

use serde::{Deserialize, Serialize};
use warren_amqp::Table;

use super::{PasswordHash, Permissions};
use crate::name::Name;
use crate::routing::{Kind, QueueId};

/// A change of the metadata. New kinds are added at the end: the number of a kind is in files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "commands are rare and short-lived")]
pub enum Command {
    /// A vhost, if there is none of this name.
    AddVhost {
        /// Its name.
        name: Name,
        /// In somebody's words.
        description: String,
    },
    /// A vhost goes, with all that is in it.
    DeleteVhost {
        /// Its name.
        name: Name,
    },
    /// An exchange, or nothing if there is one like it.
    DeclareExchange {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its type.
        kind: Kind,
        /// It outlives a restart.
        durable: bool,
        /// It goes with its last binding.
        auto_delete: bool,
        /// Clients cannot publish to it.
        internal: bool,
        /// As they were said.
        #[serde(with = "crate::wire_table")]
        arguments: Table,
    },
    /// An exchange goes, with its bindings.
    DeleteExchange {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Only if it has no bindings.
        if_unused: bool,
    },
    /// A queue, or nothing if there is one like it.
    DeclareQueue {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its number, if it has one already.
        id: Option<QueueId>,
        /// It outlives a restart.
        durable: bool,
        /// It goes with its last consumer.
        auto_delete: bool,
        /// The connection that alone may use it.
        exclusive: Option<u64>,
        /// As they were said.
        #[serde(with = "crate::wire_table")]
        arguments: Table,
    },
    /// A queue goes, with its bindings.
    DeleteQueue {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
    },
    /// A binding, if there is no such.
    Bind {
        /// Where.
        vhost: Name,
        /// From where to where.
        binding: Binding,
    },
    /// A binding goes, if there is such.
    Unbind {
        /// Where.
        vhost: Name,
        /// From where to where.
        binding: Binding,
    },
    /// A user, new or with another password and other tags.
    PutUser {
        /// His name.
        name: Name,
        /// What his password is compared with; `None`: he cannot log in with one.
        password: Option<PasswordHash>,
        /// `administrator`, `monitoring`, …
        tags: Vec<Name>,
    },
    /// A user goes.
    DeleteUser {
        /// His name.
        name: Name,
    },
    /// What a user may do in a vhost.
    SetPermissions {
        /// Who.
        user: Name,
        /// Where.
        vhost: Name,
        /// What.
        permissions: Permissions,
    },
    /// A user may do nothing in a vhost.
    ClearPermissions {
        /// Who.
        user: Name,
        /// Where.
        vhost: Name,
    },
}

/// The end of a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// A queue.
    Queue(Name),
    /// An exchange.
    Exchange(Name),
}

/// From where to where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: Name,
    /// Where they go.
    pub destination: Destination,
    /// The routing key, or a pattern.
    pub key: Name,
    /// As they were said.
    #[serde(with = "crate::wire_table")]
    pub arguments: Table,
}

/// What a command has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// In order. None if all was as it was to be.
    pub changes: Vec<Change>,
}

/// One thing that is different now. Whoever keeps something about it (messages, caches, consumers) acts on it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A vhost came.
    VhostAdded(Name),
    /// A vhost went; its queues went before.
    VhostRemoved(Name),
    /// A queue came.
    QueueAdded(QueueId),
    /// A queue went.
    QueueRemoved(QueueId),
    /// An exchange came: vhost and name.
    ExchangeAdded(Name, Name),
    /// An exchange went: vhost and name.
    ExchangeRemoved(Name, Name),
    /// Bindings of an exchange came or went: vhost and name.
    BindingsChanged(Name, Name),
    /// A user, his password, tags or permissions are other ones.
    UserChanged(Name),
    /// A user went.
    UserRemoved(Name),
}
