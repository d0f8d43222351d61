//! Is what tests expect of us what RabbitMQ does? All scenarios, against the real one.

use std::net::SocketAddr;

use super::rabbitmq::RabbitMq;
use super::rules::{
    confirms, connections, consumers, declarations, deletions, hashing, messages, names, routing,
};
use super::{dead_letters, limits, quorum, reply_to, transactions};

/// The scenarios that do not go at a broker as they are expected to.
pub(crate) fn disagreements(at: SocketAddr) -> Vec<&'static str> {
    let scenarios = [
        dead_letters::scenarios::ALL,
        limits::scenarios::ALL,
        confirms::scenarios::ALL,
        connections::scenarios::ALL,
        consumers::scenarios::ALL,
        declarations::scenarios::ALL,
        deletions::scenarios::ALL,
        hashing::scenarios::ALL,
        messages::scenarios::ALL,
        names::scenarios::ALL,
        routing::scenarios::ALL,
        quorum::scenarios::ALL,
        reply_to::scenarios::ALL,
        transactions::scenarios::ALL,
    ];
    scenarios
        .into_iter()
        .flatten()
        .filter(|(_, scenario)| std::panic::catch_unwind(|| scenario(at)).is_err())
        .map(|(name, _)| *name)
        .collect()
}

#[test]
fn rabbitmq_does_what_is_expected_of_us() {
    if let Some(rabbitmq) = RabbitMq::start() {
        let wrong = disagreements(rabbitmq.at);
        assert!(wrong.is_empty(), "RabbitMQ does otherwise: {wrong:?}");
    }
}
