//! What can be listed, and by which columns.

use serde::{Deserialize, Serialize};

/// Things of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Listing {
    Users {},
    Vhosts {},
    /// Who may do what in a vhost.
    Permissions {
        vhost: String,
    },
    /// What a user may do where.
    UserPermissions {
        user: String,
    },
    /// Who may use which routing keys with which exchange of a vhost.
    TopicPermissions {
        vhost: String,
    },
    /// Which routing keys a user may use where.
    UserTopicPermissions {
        user: String,
    },
    /// What one vhost may have, or those that may not have as much as they like.
    VhostLimits {
        vhost: Option<String>,
    },
    /// What one user may have, or those who may not have as much as they like.
    UserLimits {
        user: Option<String>,
    },
    /// Runtime parameters of a vhost: limits and operator policies are among them.
    Parameters {
        vhost: String,
    },
    /// Runtime parameters of the whole broker.
    GlobalParameters {},
    /// What the node goes by, under RabbitMQ's names, in JSON.
    Environment {},
    /// How many logins there were.
    Logins {},
    /// Of one vhost, or of all.
    Exchanges {
        vhost: Option<String>,
    },
    Queues {
        vhost: Option<String>,
    },
    Bindings {
        vhost: Option<String>,
    },
    Consumers {
        vhost: Option<String>,
    },
    Connections {},
    Channels {},
    /// Policies of a vhost, or those of operators.
    Policies {
        vhost: String,
        operator: bool,
    },
}

impl Listing {
    /// The columns there are. RabbitMQ's come first; what follows is more than it has.
    #[must_use]
    pub const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Users {} => &["user", "tags"],
            Self::Vhosts {} => &[
                "name",
                "description",
                "tags",
                "default_queue_type",
                "tracing",
                "cluster_state",
                "metadata",
            ],
            Self::Permissions { .. } => &["user", "configure", "write", "read"],
            Self::UserPermissions { .. } => &["vhost", "configure", "write", "read"],
            Self::TopicPermissions { .. } => &["user", "exchange", "write", "read"],
            Self::UserTopicPermissions { .. } => &["vhost", "exchange", "write", "read"],
            Self::VhostLimits { .. } => &["vhost", "limits"],
            Self::UserLimits { .. } => &["user", "limits"],
            Self::Parameters { .. } => &["component", "name", "value"],
            Self::GlobalParameters {} | Self::Environment {} => &["name", "value"],
            Self::Logins {} => &[
                "protocol",
                "auth_attempts",
                "auth_attempts_failed",
                "auth_attempts_succeeded",
            ],
            Self::Exchanges { .. } => &[
                "name",
                "type",
                "durable",
                "auto_delete",
                "internal",
                "arguments",
                "policy",
                "vhost",
            ],
            Self::Queues { .. } => &[
                "name",
                "durable",
                "auto_delete",
                "arguments",
                "policy",
                "pid",
                "owner_pid",
                "exclusive",
                "exclusive_consumer_pid",
                "exclusive_consumer_tag",
                "messages_ready",
                "messages_unacknowledged",
                "messages",
                "messages_ready_ram",
                "messages_unacknowledged_ram",
                "messages_ram",
                "messages_persistent",
                "message_bytes",
                "message_bytes_ready",
                "message_bytes_unacknowledged",
                "message_bytes_ram",
                "message_bytes_persistent",
                "head_message_timestamp",
                "disk_reads",
                "disk_writes",
                "consumers",
                "consumer_utilisation",
                "consumer_capacity",
                "memory",
                "slave_pids",
                "synchronised_slave_pids",
                "mirror_pids",
                "synchronised_mirror_pids",
                "state",
                "type",
                "leader",
                "members",
                "online",
                "operator_policy",
                "effective_policy_definition",
                "single_active_consumer_pid",
                "single_active_consumer_tag",
                "vhost",
            ],
            Self::Bindings { .. } => &[
                "source_name",
                "source_kind",
                "destination_name",
                "destination_kind",
                "routing_key",
                "arguments",
                "vhost",
            ],
            Self::Consumers { .. } => &[
                "queue_name",
                "channel_pid",
                "consumer_tag",
                "ack_required",
                "prefetch_count",
                "active",
                "activity_status",
                "arguments",
                "vhost",
            ],
            Self::Connections {} => &[
                "pid",
                "name",
                "port",
                "host",
                "peer_port",
                "peer_host",
                "ssl",
                "ssl_protocol",
                "ssl_key_exchange",
                "ssl_cipher",
                "ssl_hash",
                "peer_cert_subject",
                "peer_cert_issuer",
                "peer_cert_validity",
                "state",
                "channels",
                "protocol",
                "auth_mechanism",
                "user",
                "vhost",
                "timeout",
                "frame_max",
                "channel_max",
                "client_properties",
                "recv_oct",
                "recv_cnt",
                "send_oct",
                "send_cnt",
                "send_pend",
                "connected_at",
                "user_provided_name",
            ],
            Self::Policies { .. } => &["vhost", "name", "pattern", "apply-to", "definition", "priority"],
            Self::Channels {} => &[
                "pid",
                "connection",
                "name",
                "number",
                "user",
                "vhost",
                "transactional",
                "confirm",
                "consumer_count",
                "messages_unacknowledged",
                "messages_uncommitted",
                "acks_uncommitted",
                "messages_unconfirmed",
                "prefetch_count",
                "global_prefetch_count",
                "state",
            ],
        }
    }
}
