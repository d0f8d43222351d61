//! Moving connections back: after a server has returned, the others keep what fled to them until somebody ends it.
//!
//! ```text
//!   every second, for each backend that wants it:
//!   who has more than his share, who has been up long enough and has less ──▶ [`surplus`]
//!   ──▶ the workers end that many, those on which nothing is under way, the oldest first ──▶ their clients come again
//! ```
//!
//! Where a client comes back to is for `balance` to say; with leastconn it is the server that has too few. Never under a
//! haproxy.cfg: connections that HAProxy would leave alone stay where they are. An operator may ask for it at once,
//! whether or not the backend wants it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use warren_balance::ServerId;
use warren_balance::health::State;

use crate::live::{Backend, Live, Server, Snapshot};
use crate::plan::{Origin, Rebalance};
use crate::record::Cause;
use crate::worker::{Command, Move, Moved, Scope, Workers};

/// Between two looks.
const ROUND: Duration = Duration::from_secs(1);
/// How long a client may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a worker may take to say what it did; it is busy with better things then.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks after all backends, as long as somebody may read the configuration again. Sleeps where no backend wants it.
pub(crate) async fn run(live: Arc<Live>, workers: Workers, mut reloads: watch::Receiver<()>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    loop {
        if !is_wanted(&live.snapshot()) {
            match reloads.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        rounds.tick().await;
        for backend in &live.snapshot().backends {
            if let Some(rules) = backend.plan().rebalance {
                turn += 1;
                round(backend, &rules, live.time(Instant::now()), &workers, turn).await;
            }
        }
    }
}

fn is_wanted(snapshot: &Snapshot) -> bool {
    let mut backends = snapshot.backends.iter();
    snapshot.plan.global.origin != Origin::Haproxy
        && backends.any(|backend| backend.plan().rebalance.is_some())
}

/// Moves what the servers of a backend have too many of, at its rate, until nothing is left that may be moved. Says how
/// many connections it has moved so far if it is given up before.
pub(crate) async fn now(backend: &Backend, live: &Live, workers: &Workers, until: Instant) -> u32 {
    let rules = Rebalance {
        after: Duration::ZERO,
        ..backend.plan().rebalance.unwrap_or_default()
    };
    let (mut moved, mut turn) = (0, 0);
    while Instant::now() < until {
        let begun = round(backend, &rules, live.time(Instant::now()), workers, turn).await;
        if begun == 0 {
            break;
        }
        moved += begun;
        turn += 1;
        tokio::time::sleep(ROUND).await;
    }
    moved
}

/// One look at one backend. Says how many connections it has begun to move.
pub(crate) async fn round(
    backend: &Backend,
    rules: &Rebalance,
    now: warren_balance::Instant,
    workers: &Workers,
    turn: usize,
) -> u32 {
    let mut budget = rules.rate.get();
    let (servers, loads): (Vec<_>, Vec<_>) = loads(backend, rules, now).into_iter().unzip();
    for (id, count) in surplus(&loads) {
        let place = loads.iter().position(|load| load.id == id);
        let Some(server) = place.and_then(|place| servers.get(place)) else {
            continue;
        };
        let scope = Scope::Server(Arc::clone(server));
        let mut leaving = 0;
        for worker in 0..workers.count() {
            leaving += ask(workers, worker, &scope, 0, rules).await.leaving;
        }
        let mut count = count.saturating_sub(leaving).min(budget);
        // Each time another worker is the first.
        for worker in (0..workers.count()).map(|worker| (worker + turn) % workers.count()) {
            if count == 0 {
                break;
            }
            let begun = ask(workers, worker, &scope, count, rules).await.begun;
            count = count.saturating_sub(begun);
            budget = budget.saturating_sub(begun);
        }
    }
    let moved = rules.rate.get() - budget;
    if moved > 0 {
        tracing::debug!(backend = %backend.name, count = moved, "moved connections");
    }
    moved
}

async fn ask(workers: &Workers, worker: usize, scope: &Scope, count: u32, rules: &Rebalance) -> Moved {
    let (sender, mut answer) = mpsc::channel(1);
    let request = Move {
        scope: scope.clone(),
        count,
        silence: rules.idle,
        cause: Cause::Up,
        deadline: ANSWER,
        answer: sender,
    };
    workers.send(worker, Command::Move(request));
    match tokio::time::timeout(PATIENCE, answer.recv()).await {
        Ok(Some(moved)) => moved,
        Ok(None) | Err(_) => Moved::default(),
    }
}

/// How a server is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which.
    pub id: ServerId,
    /// Connections it has.
    pub sessions: u32,
    /// What it is worth now; 0 gets no new connections.
    pub share: u32,
    /// It has been up for long enough to get connections of others.
    pub settled: bool,
}

/// The servers of a backend that are well.
fn loads(backend: &Backend, rules: &Rebalance, now: warren_balance::Instant) -> Vec<(Arc<Server>, Load)> {
    let servers = backend.servers();
    let up = |server: &Server| server.state() == State::Up && server.target.load().is_some();
    let actives = servers.iter().any(|server| !server.plan().backup && up(server));
    servers
        .iter()
        .filter(|server| up(server))
        .map(|server| {
            let operational = server.operational.lock();
            let view = operational.health.server(now);
            let since = Duration::from_millis(now.millis_since(operational.changed));
            let load = Load {
                id: server.id(),
                sessions: server.sessions.now(),
                // A backup is for when nobody else is there.
                share: if view.backup && actives {
                    0
                } else {
                    view.share.get()
                },
                settled: since >= rules.after,
            };
            (Arc::clone(server), load)
        })
        .collect()
}

/// How many connections each server has too many, the most loaded first, and no more in all than others have too few.
///
/// A server is short if it has a tenth less than its share, or two connections; so chance alone moves nobody.
#[must_use]
pub fn surplus(loads: &[Load]) -> Vec<(ServerId, u32)> {
    let sessions: u64 = loads.iter().map(|load| u64::from(load.sessions)).sum();
    let shares: u64 = loads.iter().map(|load| u64::from(load.share)).sum();
    if shares == 0 {
        return Vec::new();
    }
    let fair = |load: &Load| sessions * u64::from(load.share) / shares;
    let mut room: u64 = loads
        .iter()
        .filter(|load| load.settled)
        .map(|load| (fair(load).saturating_sub(u64::from(load.sessions)), fair(load)))
        .filter(|(short, fair)| *short >= (fair / 10).max(2))
        .map(|(short, _)| short)
        .sum();
    let mut surplus: Vec<(u64, ServerId)> = loads
        .iter()
        .map(|load| {
            let ceiling = (sessions * u64::from(load.share)).div_ceil(shares);
            (u64::from(load.sessions).saturating_sub(ceiling), load.id)
        })
        .filter(|(many, _)| *many > 0)
        .collect();
    surplus.sort_unstable_by_key(|(many, id)| (std::cmp::Reverse(*many), *id));
    surplus
        .into_iter()
        .map_while(|(many, id)| {
            let many = many.min(room);
            room -= many;
            Some((id, u32::try_from(many).ok()?)).filter(|(_, many)| *many > 0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(id: u32, sessions: u32, share: u32, settled: bool) -> Load {
        Load {
            id: ServerId(id),
            sessions,
            share,
            settled,
        }
    }

    #[test]
    fn what_fled_to_two_servers_goes_back_to_the_third() {
        let loads = [load(1, 50, 1, true), load(2, 40, 1, true), load(3, 0, 1, true)];
        assert_eq!(surplus(&loads), [(ServerId(1), 20), (ServerId(2), 10)]);
    }

    #[test]
    fn a_server_that_has_just_come_up_gets_nothing_yet() {
        let loads = [load(1, 50, 1, true), load(2, 50, 1, true), load(3, 0, 1, false)];
        assert_eq!(surplus(&loads), []);
    }

    #[test]
    fn what_chance_does_is_left_alone() {
        let loads = [load(1, 105, 1, true), load(2, 100, 1, true), load(3, 95, 1, true)];
        assert_eq!(surplus(&loads), []);
        assert_eq!(surplus(&[load(1, 2, 1, true), load(2, 0, 1, true)]), []);
    }

    #[test]
    fn backups_give_everything_back() {
        let loads = [load(1, 0, 1, true), load(2, 0, 1, true), load(3, 30, 0, true)];
        assert_eq!(surplus(&loads), [(ServerId(3), 30)]);
    }

    #[test]
    fn shares_count() {
        let loads = [load(1, 50, 1, true), load(2, 50, 3, true)];
        assert_eq!(surplus(&loads), [(ServerId(1), 25)]);
    }

    proptest! {
        #[test]
        fn moving_the_surplus_overloads_nobody_and_comes_to_an_end(
            loads in prop::collection::vec((0..300_u32, 0..4_u32, any::<bool>()), 0..6),
        ) {
            let mut loads: Vec<Load> = loads
                .into_iter()
                .zip(1..)
                .map(|((sessions, share, settled), id)| load(id, sessions, share, settled))
                .collect();
            let total: u32 = loads.iter().map(|load| load.sessions).sum();
            for _ in 0..1000 {
                let Some((from, many)) = surplus(&loads).first().copied() else { break };
                for _ in 0..many {
                    // As leastconn does.
                    let to = loads.iter().filter(|load| load.share > 0)
                        .min_by_key(|load| (u64::from(load.sessions) * 100 / u64::from(load.share), load.id))
                        .map(|load| load.id);
                    for load in &mut loads {
                        load.sessions -= u32::from(load.id == from);
                        load.sessions += u32::from(Some(load.id) == to);
                    }
                }
            }
            prop_assert_eq!(surplus(&loads), []);
            prop_assert_eq!(loads.iter().map(|load| load.sessions).sum::<u32>(), total);
        }
    }
}
