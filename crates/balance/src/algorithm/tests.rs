//! Exact distributions of the deterministic algorithms, and properties of all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::hash::mix;

const TWO: NonZeroU8 = NonZeroU8::new(2).unwrap();

const ALL: [Algorithm; 7] = [
    Algorithm::RoundRobin,
    Algorithm::StaticRr,
    Algorithm::LeastConn,
    Algorithm::First,
    Algorithm::MapHash,
    Algorithm::ConsistentHash,
    Algorithm::Random { draws: TWO },
];

fn weighted(weights: &[u32]) -> Vec<Server> {
    (1..)
        .zip(weights)
        .map(|(id, weight)| Server::new(ServerId(id), Weight::try_from(*weight).unwrap()))
        .collect()
}

fn balancer(algorithm: Algorithm, servers: Vec<Server>) -> Balancer {
    Balancer::new(algorithm, Backups::First, servers).unwrap()
}

fn request(number: u64, inflight: &dyn Fn(ServerId) -> u32) -> Request<'_> {
    Request {
        key: mix(number),
        entropy: mix(!number),
        avoid: None,
        inflight,
    }
}

/// `count` choices while every server is idle.
fn idle(balancer: &mut Balancer, count: u64) -> Vec<u32> {
    (0..count)
        .map(|number| balancer.choose(&request(number, &|_| 0)).unwrap().0)
        .collect()
}

fn tally(chosen: &[u32]) -> BTreeMap<u32, u64> {
    chosen.iter().fold(BTreeMap::new(), |mut tally, id| {
        *tally.entry(*id).or_default() += 1;
        tally
    })
}

fn limited(mut server: Server, maxconn: u32) -> Server {
    server.maxconn = NonZeroU32::new(maxconn);
    server
}

#[test]
fn round_robin_of_equals_goes_in_the_order_of_the_configuration() {
    let mut balancer = balancer(Algorithm::RoundRobin, weighted(&[1, 1, 1]));
    assert_eq!(idle(&mut balancer, 7), [1, 2, 3, 1, 2, 3, 1]);
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_server() {
    let mut balancer = balancer(Algorithm::RoundRobin, weighted(&[3, 1]));
    assert_eq!(idle(&mut balancer, 8), [1, 1, 2, 1, 1, 1, 2, 1]);
    let mut balancer = self::balancer(Algorithm::RoundRobin, weighted(&[5, 1, 1]));
    assert_eq!(idle(&mut balancer, 7), [1, 1, 1, 2, 3, 1, 1]);
}

#[test]
fn static_round_robin_counts_with_the_configured_weight_only() {
    let mut servers = weighted(&[2, 4]);
    servers[0].share = Share::full(Weight::MAX);
    let mut balancer = balancer(Algorithm::StaticRr, servers);
    assert_eq!(idle(&mut balancer, 6), [2, 1, 2, 2, 1, 2]);
}

#[test]
fn round_robin_passes_over_full_servers_and_returns_to_them_without_a_burst() {
    let mut servers = weighted(&[1, 1]);
    servers[0] = limited(servers[0], 5);
    let mut balancer = balancer(Algorithm::RoundRobin, servers);
    for number in 0..100 {
        let full = request(number, &|_| 5);
        assert_eq!(balancer.choose(&full), Ok(ServerId(2)));
    }
    let chosen = idle(&mut balancer, 10);
    assert!(tally(&chosen)[&1] <= 6, "{chosen:?}");
}

#[test]
fn a_server_that_comes_back_takes_no_more_than_its_turns() {
    let mut balancer = balancer(Algorithm::RoundRobin, weighted(&[1, 1, 1]));
    let mut without = weighted(&[1, 1, 1]);
    without[1].usable = false;
    balancer.update(without).unwrap();
    assert!(!idle(&mut balancer, 100).contains(&2));
    balancer.update(weighted(&[1, 1, 1])).unwrap();
    let chosen = idle(&mut balancer, 9);
    assert_eq!(
        tally(&chosen),
        BTreeMap::from([(1, 3), (2, 3), (3, 3)]),
        "{chosen:?}"
    );
}

#[test]
fn leastconn_prefers_the_least_loaded_and_rotates_among_equals() {
    let mut balancer = balancer(Algorithm::LeastConn, weighted(&[1, 1, 1]));
    let busy = |id: ServerId| if id == ServerId(2) { 1 } else { 4 };
    assert_eq!(balancer.choose(&request(0, &busy)), Ok(ServerId(2)));
    assert_eq!(idle(&mut balancer, 6), [1, 3, 2, 1, 3, 2]);
}

#[test]
fn leastconn_divides_connections_by_weight() {
    let mut balancer = balancer(Algorithm::LeastConn, weighted(&[1, 3]));
    let held = std::cell::RefCell::new([0_u32; 3]);
    for number in 0..400 {
        let inflight = |id: ServerId| held.borrow()[id.0 as usize];
        let chosen = balancer.choose(&request(number, &inflight)).unwrap();
        held.borrow_mut()[chosen.0 as usize] += 1;
    }
    let [_, light, heavy] = *held.borrow();
    assert!(
        light.abs_diff(100) <= 1 && heavy.abs_diff(300) <= 1,
        "{light} {heavy}"
    );
}

#[test]
fn first_fills_the_lowest_id_before_the_next() {
    let servers: Vec<_> = weighted(&[1, 9, 9])
        .into_iter()
        .rev()
        .map(|one| limited(one, 2))
        .collect();
    let mut balancer = balancer(Algorithm::First, servers);
    let held = std::cell::RefCell::new([0_u32; 4]);
    let chosen: Vec<_> = (0..7)
        .map(|number| {
            let inflight = |id: ServerId| held.borrow()[id.0 as usize];
            let chosen = balancer.choose(&request(number, &inflight));
            if let Ok(id) = chosen {
                held.borrow_mut()[id.0 as usize] += 1;
            }
            chosen.map(|id| id.0)
        })
        .collect();
    let full = Err(Unchosen::AllFull);
    assert_eq!(chosen, [Ok(1), Ok(1), Ok(2), Ok(2), Ok(3), Ok(3), full]);
}

#[test]
fn a_hash_keeps_its_client_on_a_full_server() {
    for algorithm in [Algorithm::MapHash, Algorithm::ConsistentHash] {
        let servers: Vec<_> = weighted(&[1, 1]).into_iter().map(|one| limited(one, 1)).collect();
        let mut balancer = balancer(algorithm, servers);
        let idle = balancer.choose(&request(7, &|_| 0));
        assert_eq!(balancer.choose(&request(7, &|_| 9)), idle, "{algorithm:?}");
    }
}

#[test]
fn a_map_hash_gives_every_weight_its_exact_part_of_the_keys() {
    let mut balancer = balancer(Algorithm::MapHash, weighted(&[2, 4, 6]));
    let mut chosen = Vec::new();
    for key in 0..6000 {
        let request = Request {
            key,
            ..request(0, &|_| 0)
        };
        chosen.push(balancer.choose(&request).unwrap().0);
    }
    assert_eq!(tally(&chosen), BTreeMap::from([(1, 1000), (2, 2000), (3, 3000)]));
}

#[test]
fn random_and_consistent_hash_respect_weights() {
    for algorithm in [
        Algorithm::ConsistentHash,
        Algorithm::Random {
            draws: NonZeroU8::new(1).unwrap(),
        },
    ] {
        let mut balancer = balancer(algorithm, weighted(&[1, 2, 5]));
        let tally = tally(&idle(&mut balancer, 80_000));
        for (id, expected) in [(1, 10_000_u64), (2, 20_000), (3, 50_000)] {
            // Five standard deviations of a binomial distribution are at most 710.
            assert!(tally[&id].abs_diff(expected) < 710, "{algorithm:?}: {tally:?}");
        }
    }
}

#[test]
fn two_draws_take_the_less_loaded() {
    let mut balancer = balancer(Algorithm::Random { draws: TWO }, weighted(&[1, 1]));
    let busy = |id: ServerId| if id == ServerId(1) { 10 } else { 1 };
    let busier = (0..10_000)
        .filter(|number| balancer.choose(&request(*number, &busy)) == Ok(ServerId(1)))
        .count();
    // Only when both draws fall on the busier one: a quarter.
    assert!(busier.abs_diff(2500) < 220, "{busier}");
}

#[test]
fn backups_wait_until_no_active_server_is_usable() {
    let mut servers = weighted(&[1, 1, 1]);
    servers[1].backup = true;
    servers[2].backup = true;
    for algorithm in ALL {
        let mut first = Balancer::new(algorithm, Backups::First, servers.clone()).unwrap();
        assert!(idle(&mut first, 50).iter().all(|id| *id == 1), "{algorithm:?}");
        let mut down = servers.clone();
        down[0].usable = false;
        first.update(down.clone()).unwrap();
        assert!(idle(&mut first, 50).iter().all(|id| *id == 2), "{algorithm:?}");
        let all = Balancer::new(algorithm, Backups::All, down).unwrap();
        assert_eq!(all.candidates().len(), 2, "{algorithm:?}");
        first.update(servers.clone()).unwrap();
        assert!(idle(&mut first, 50).iter().all(|id| *id == 1), "{algorithm:?}");
    }
}

#[test]
fn the_server_that_refused_is_tried_again_only_if_it_is_alone() {
    for algorithm in ALL {
        let mut pair = balancer(algorithm, weighted(&[1, 1]));
        let mut alone = balancer(algorithm, weighted(&[1]));
        for number in 0..50 {
            let again = Request {
                avoid: Some(ServerId(1)),
                ..request(number, &|_| 0)
            };
            assert_eq!(pair.choose(&again), Ok(ServerId(2)), "{algorithm:?}");
            assert_eq!(alone.choose(&again), Ok(ServerId(1)), "{algorithm:?}");
        }
    }
}

#[test]
fn servers_that_cannot_be_balanced_are_refused_and_change_nothing() {
    let mut balancer = balancer(Algorithm::RoundRobin, weighted(&[1, 1]));
    let twice = vec![weighted(&[1])[0]; 2];
    assert_eq!(
        balancer.update(twice),
        Err(InvalidServers::Duplicate(ServerId(1)))
    );
    assert_eq!(
        balancer.update(weighted(&[1; 4096])),
        Err(InvalidServers::TooMany(4096))
    );
    assert_eq!(balancer.servers(), weighted(&[1, 1]));
    balancer.update(weighted(&[256; 4095])).unwrap();
    assert_eq!(idle(&mut balancer, 4095).len(), 4095);
}

#[test]
fn nobody_usable_and_everybody_full_are_told_apart() {
    for algorithm in ALL {
        let mut empty = balancer(algorithm, weighted(&[0, 0]));
        assert_eq!(
            empty.choose(&request(1, &|_| 0)),
            Err(Unchosen::NoServer),
            "{algorithm:?}"
        );
    }
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::StaticRr,
        Algorithm::LeastConn,
        ALL[6],
    ] {
        let servers: Vec<_> = weighted(&[1, 2]).into_iter().map(|one| limited(one, 3)).collect();
        let mut full = balancer(algorithm, servers);
        assert_eq!(
            full.choose(&request(1, &|_| 3)),
            Err(Unchosen::AllFull),
            "{algorithm:?}"
        );
        // One free slot anywhere is found, however the draws fall.
        for number in 0..50 {
            let inflight = |id: ServerId| if id == ServerId(1) { 2 } else { 3 };
            assert_eq!(
                full.choose(&request(number, &inflight)),
                Ok(ServerId(1)),
                "{algorithm:?}"
            );
        }
    }
}

fn any_server() -> impl Strategy<Value = Server> {
    (0..=256_u32, any::<bool>(), 0..4_u32, 0..=100_u64, 0..4_u32).prop_map(
        |(weight, backup, down, percent, maxconn)| {
            let weight = Weight::try_from(weight).unwrap();
            Server {
                backup,
                usable: down > 0,
                share: Share::full(weight).scaled(percent, NonZeroU32::new(100).unwrap()),
                maxconn: NonZeroU32::new(maxconn),
                ..Server::new(ServerId(0), weight)
            }
        },
    )
}

fn any_servers() -> impl Strategy<Value = Vec<Server>> {
    prop::collection::vec(any_server(), 0..8).prop_map(|mut servers| {
        for (id, server) in (1..).zip(&mut servers) {
            server.id = ServerId(id);
        }
        servers
    })
}

proptest! {
    #[test]
    fn only_eligible_servers_of_the_right_group_are_chosen_and_never_full_ones(
        rounds in prop::collection::vec((any_servers(), prop::collection::vec(any::<(u64, u8)>(), 0..20)), 1..6),
        index in 0..ALL.len(),
    ) {
        let algorithm = ALL[index];
        let mut balancer = Balancer::new(algorithm, Backups::All, Vec::new()).unwrap();
        for (servers, requests) in rounds {
            balancer.update(servers.clone()).unwrap();
            let active = servers.iter().any(|one| !one.backup && one.eligible());
            for (number, seed) in requests {
                let inflight = |id: ServerId| (u32::from(seed) >> (id.0 % 8)) % 5;
                let request = Request {
                    avoid: (seed % 3 == 0).then_some(ServerId(u32::from(seed) % 8)),
                    ..request(number, &inflight)
                };
                let may = |one: &&Server| one.eligible() && one.backup != active;
                let free = |one: &Server| one.maxconn.is_none_or(|max| inflight(one.id) < max.get());
                let hashed = matches!(algorithm, Algorithm::MapHash | Algorithm::ConsistentHash);
                let possible: Vec<_> = servers.iter().filter(may).filter(|one| hashed || free(one)).collect();
                match balancer.choose(&request) {
                    Ok(id) => {
                        prop_assert!(possible.iter().any(|one| one.id == id));
                        prop_assert!(request.avoid != Some(id) || possible.len() == 1);
                    }
                    Err(Unchosen::NoServer) => prop_assert!(!servers.iter().any(|one| may(&one))),
                    Err(Unchosen::AllFull) => prop_assert!(possible.is_empty() && servers.iter().any(|one| may(&one))),
                }
            }
        }
    }

    #[test]
    fn round_robin_is_never_further_from_the_exact_share_than_its_bound(
        weights in prop::collection::vec(1..=256_u32, 1..8),
        count in 1..3000_u64,
    ) {
        let mut balancer = balancer(Algorithm::RoundRobin, weighted(&weights));
        let tally = tally(&idle(&mut balancer, count));
        let total: u32 = weights.iter().sum();
        for (id, weight) in (1..).zip(&weights) {
            let part = f64::from(*weight) / f64::from(total);
            let exact = part * count as f64;
            let had = tally.get(&id).copied().unwrap_or(0) as f64;
            let bound = 1.0 + part * (weights.len() as f64) / 2.0;
            prop_assert!((had - exact).abs() <= bound, "server {id}: {had}, exact {exact}, bound {bound}");
        }
    }

    #[test]
    fn round_robin_gives_exact_shares_after_a_whole_round(weights in prop::collection::vec(1..=256_u32, 1..8)) {
        for algorithm in [Algorithm::RoundRobin, Algorithm::StaticRr] {
            let mut balancer = balancer(algorithm, weighted(&weights));
            let tally = tally(&idle(&mut balancer, weights.iter().map(|one| u64::from(*one)).sum()));
            let expected: BTreeMap<u32, u64> = (1..).zip(weights.iter().map(|one| u64::from(*one))).collect();
            prop_assert_eq!(tally, expected);
        }
    }

    #[test]
    fn weights_that_change_all_the_time_starve_nobody(changes in prop::collection::vec((0..3_usize, 1..=256_u32), 60..200)) {
        let mut servers = weighted(&[1, 1, 1]);
        let mut balancer = balancer(Algorithm::RoundRobin, servers.clone());
        for (number, (position, weight)) in (0..).zip(changes) {
            servers[position] = Server::new(servers[position].id, Weight::try_from(weight).unwrap());
            balancer.update(servers.clone()).unwrap();
            balancer.choose(&request(number, &|_| 0)).unwrap();
        }
        let total: u64 = servers.iter().map(|one| u64::from(one.weight.get())).sum();
        let chosen = idle(&mut balancer, 2 * total);
        prop_assert_eq!(tally(&chosen).len(), 3);
    }

    #[test]
    fn a_consistent_hash_moves_only_the_keys_of_a_server_that_goes(
        weights in prop::collection::vec(1..=256_u32, 2..8),
        gone in any::<prop::sample::Index>(),
    ) {
        let mut servers = weighted(&weights);
        let mut balancer = balancer(Algorithm::ConsistentHash, servers.clone());
        let before = idle(&mut balancer, 500);
        let gone = gone.index(servers.len());
        servers[gone].usable = false;
        let id = servers[gone].id.0;
        balancer.update(servers).unwrap();
        for (old, new) in before.iter().zip(idle(&mut balancer, 500)) {
            prop_assert!(new != id && (*old == new || *old == id));
        }
        // And they all come back with it.
        balancer.update(weighted(&weights)).unwrap();
        prop_assert_eq!(before, idle(&mut balancer, 500));
    }

    #[test]
    fn a_consistent_hash_moves_keys_only_to_a_server_that_gains_weight(
        weights in prop::collection::vec(1..=255_u32, 2..8),
        gains in any::<prop::sample::Index>(),
    ) {
        let mut balancer = balancer(Algorithm::ConsistentHash, weighted(&weights));
        let before = idle(&mut balancer, 500);
        let mut heavier = weights.clone();
        let gains = gains.index(weights.len());
        heavier[gains] = 256;
        balancer.update(weighted(&heavier)).unwrap();
        let id = u32::try_from(gains).unwrap() + 1;
        for (old, new) in before.iter().zip(idle(&mut balancer, 500)) {
            prop_assert!(*old == new || new == id);
        }
    }
}
