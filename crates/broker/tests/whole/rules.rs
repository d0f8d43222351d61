//! What clients and their test suites rely on, rule by rule. RabbitMQ is asked whether it keeps them, too; the names that a
//! rule uses are its own, since RabbitMQ is one for all.

pub(crate) mod confirms;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod declarations;
pub(crate) mod deletions;
pub(crate) mod hashing;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod routing;
