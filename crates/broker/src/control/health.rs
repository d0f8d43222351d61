//! Who waits on this node, and for what. Two looks a moment apart tell what grows from what only is, and who is stuck from
//! who is busy.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use warren_api::broker::{Guesser, Health, Holder, Publisher, Unattended};
use warren_model::QueueId;

use super::status::status;
use crate::about::About;
use crate::node::Node;
use crate::registry::State;

/// Between the two looks.
const MOMENT: Duration = Duration::from_millis(500);
/// Of each kind of thing no more are named.
const NAMED: usize = 10;
/// Who has no limit holds much from here on.
const MANY: u64 = 10_000;
/// A connection says what its channels are like as soon as its task runs.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn health(node: &Node, about: &About) -> Health {
    let before = unattended(node);
    let held = holders(node).await;
    tokio::time::sleep(MOMENT).await;
    let (unattended, unattended_count) = grown(unattended(node), &before);
    let stuck: HashSet<(u64, u16)> = held.into_iter().map(|(key, _)| key).collect();
    let mut holders: Vec<Holder> = holders(node)
        .await
        .into_iter()
        .filter_map(|(key, holder)| stuck.contains(&key).then_some(holder))
        .collect();
    let holders_count = holders.len() as u64;
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.messages));
    holders.truncate(NAMED);
    let connections = node.registry.connections();
    let state = |state| connections.iter().filter(move |entry| entry.state() == state);
    let blocked = state(State::Blocked).map(|entry| Publisher {
        connection: entry.facts.name(),
        user: entry.facts.user.to_string(),
        vhost: entry.facts.vhost.to_string(),
    });
    let guessers = node.auth.slowed().into_iter().map(|(address, failures)| Guesser {
        address: address.to_string(),
        failures: failures.into(),
    });
    Health {
        status: status(node, about),
        suspended: !node.gate.is_open(),
        blocked: blocked.take(NAMED).collect(),
        blocked_count: state(State::Blocked).count() as u64,
        slowed_count: state(State::Flow).count() as u64,
        unattended,
        unattended_count,
        looked_for: MOMENT.into(),
        holders,
        holders_count,
        logins_refused: node.auth.attempts.failed.load(Ordering::Relaxed),
        guessers: guessers.take(NAMED).collect(),
        not_accepted: node.registry.churn.not_accepted.load(Ordering::Relaxed),
        damaged: node.log.statistics().map_or(0, |log| log.damaged),
    }
}

/// Queues with messages that are ready and nobody to take them.
fn unattended(node: &Node) -> HashMap<QueueId, Unattended> {
    let (queues, _) = node.queues();
    let found = queues.iter().filter_map(|queue| {
        let (snapshot, identity) = (queue.snapshot(), queue.identity());
        let forsaken = snapshot.consumers == 0 && snapshot.counts.ready > 0 && !queue.is_delaying();
        forsaken.then(|| {
            let seen = Unattended {
                vhost: identity.vhost.to_string(),
                queue: identity.name.to_string(),
                messages: snapshot.counts.ready,
                octets: snapshot.counts.ready_octets,
                grown: 0,
            };
            (identity.id, seen)
        })
    });
    found.collect()
}

/// The worst, and how many there are: those that grow, then those that have the most.
fn grown(now: HashMap<QueueId, Unattended>, before: &HashMap<QueueId, Unattended>) -> (Vec<Unattended>, u64) {
    let count = now.len() as u64;
    let mut all: Vec<Unattended> = now
        .into_iter()
        .map(|(id, queue)| Unattended {
            grown: before
                .get(&id)
                .map_or(0, |before| queue.messages.saturating_sub(before.messages)),
            ..queue
        })
        .collect();
    all.sort_by_key(|queue| std::cmp::Reverse((queue.grown, queue.messages)));
    all.truncate(NAMED);
    (all, count)
}

/// Channels whose consumers have as many messages as they may, or very many. By connection and number.
async fn holders(node: &Node) -> Vec<((u64, u16), Holder)> {
    let mut all = Vec::new();
    for (entry, reports) in node.registry.channels(PATIENCE).await {
        for report in reports {
            let most = u64::from(report.prefetch) * report.consumers.len() as u64;
            let held = u64::from(report.unsettled);
            let is_full = if most > 0 { held >= most } else { held >= MANY };
            if report.consumers.is_empty() || !is_full {
                continue;
            }
            let mut queues: Vec<String> = report
                .consumers
                .iter()
                .map(|consumer| consumer.queue_name.to_string())
                .collect();
            queues.sort_unstable();
            queues.dedup();
            queues.truncate(NAMED);
            let holder = Holder {
                connection: entry.facts.name(),
                channel: report.number,
                user: entry.facts.user.to_string(),
                vhost: entry.facts.vhost.to_string(),
                queues,
                messages: held,
                prefetch: report.prefetch,
            };
            all.push(((entry.facts.number, report.number), holder));
        }
    }
    all
}
