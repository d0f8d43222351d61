//! What changes the metadata, and what has changed.

use serde::{Deserialize, Serialize};
use warren_amqp::Table;

use super::{
    Author, LimitChanges, PasswordHash, Permissions, Policy, TopicPermissions, UserLimits, VhostLimits,
};
use crate::json;
use crate::name::Name;
use crate::routing::{Kind, QueueId};

/// A change of the metadata. New kinds are added at the end: the number of a kind is in files.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// A queue goes, with its bindings, whichever has this name.
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
    /// A user, new or with another password and other tags: all that a file says of him.
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
    /// What is said of a vhost beside its name.
    DescribeVhost {
        /// Its name.
        name: Name,
        /// In somebody's words.
        description: String,
        /// `production`, …
        tags: Vec<Name>,
    },
    /// A policy, new or in the place of the one of this name.
    SetPolicy {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Whose it is.
        author: Author,
        /// What it says.
        policy: Policy,
    },
    /// A policy goes, and its settings with it.
    ClearPolicy {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Whose it is.
        author: Author,
    },
    /// How much a vhost may have, all of it: what is not said is not limited.
    SetVhostLimits {
        /// Where.
        vhost: Name,
        /// How much.
        limits: VhostLimits,
    },
    /// How much a user may have, all of it: what is not said is not limited.
    SetUserLimits {
        /// Who.
        user: Name,
        /// How much.
        limits: UserLimits,
    },
    /// Which routing keys a user may use with an exchange of type topic.
    SetTopicPermissions {
        /// Who.
        user: Name,
        /// Where.
        vhost: Name,
        /// With which exchange.
        exchange: Name,
        /// Which keys.
        permissions: TopicPermissions,
    },
    /// A user may use all keys with an exchange, or with all of a vhost.
    ClearTopicPermissions {
        /// Who.
        user: Name,
        /// Where.
        vhost: Name,
        /// With which exchange; `None`: all of them.
        exchange: Option<Name>,
    },
    /// A runtime parameter, new or in the place of the one of this name.
    SetParameter {
        /// Where; `None`: the whole broker's.
        vhost: Option<Name>,
        /// Whose: `federation-upstream`, `shovel`, … Empty for the whole broker's.
        component: Name,
        /// Its name.
        name: Name,
        /// What it says.
        #[serde(with = "crate::json")]
        value: json::Value,
    },
    /// A runtime parameter goes.
    ClearParameter {
        /// Where; `None`: the whole broker's.
        vhost: Option<Name>,
        /// Whose.
        component: Name,
        /// Its name.
        name: Name,
    },
    /// Queues to come get numbers above this one. After a restart a node says so of the highest that its log knows,
    /// since those of transient queues are not in any command that was kept.
    NumberQueuesAfter {
        /// The last number that may have been given to a queue.
        last: u64,
    },
    /// Of which type queues are that do not say one.
    SetDefaultQueueType {
        /// Where.
        vhost: Name,
        /// `classic` or `quorum`; `None`: classic, and arguments do not say so.
        kind: Option<Name>,
    },
    /// A queue goes, with its bindings, if it is still there: another one may have its name by now.
    RemoveQueue {
        /// Its number.
        id: QueueId,
    },
    /// A user, if there is none of this name.
    AddUser {
        /// His name.
        name: Name,
        /// What his password is compared with; `None`: he cannot log in with one.
        password: Option<PasswordHash>,
    },
    /// Another password for a user.
    SetPassword {
        /// Who.
        user: Name,
        /// What it is compared with; `None`: he cannot log in with one.
        password: Option<PasswordHash>,
    },
    /// Other tags for a user.
    SetUserTags {
        /// Who.
        user: Name,
        /// `administrator`, `monitoring`, … All of them.
        tags: Vec<Name>,
    },
    /// Some of the limits of a user; the others stay.
    ChangeUserLimits {
        /// Who.
        user: Name,
        /// Which, and how much.
        limits: LimitChanges,
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
    /// A user, his password, tags, limits or permissions are other ones.
    UserChanged(Name),
    /// A user went.
    UserRemoved(Name),
    /// Policies set something else for a queue: its [`super::Queue::meaning`] is another one, or the names of its policies are.
    QueueSettingsChanged(QueueId),
    /// Policies set something else for an exchange: vhost and name.
    ExchangeSettingsChanged(Name, Name),
    /// Limits, policies or what is said of a vhost are other ones.
    VhostChanged(Name),
    /// A runtime parameter is another one or went: its vhost, if it has one, component and name.
    ParameterChanged(Option<Name>, Name, Name),
}
