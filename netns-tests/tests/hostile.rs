//! Packets nobody should send: whatever arrives, the active speaks on time and nobody changes state.
//!
//! keepalived re-arms its advert timer for packets it refuses; the one test of it here shows that the injector bites.

use std::net::Ipv4Addr;
use std::time::Duration;

use warren_lab::{Flavour, Injector, eventually, frame::Forged, now};

use crate::pair::{PATIENCE, Pair, Router};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 9, 1);
/// What the attacker would be if it were believed: better than everyone.
const PRIORITY: u8 = 254;

/// A way to be wrong: the number of the packet makes the frame.
type Forgery = fn(u64) -> Vec<u8>;

/// Wrong in one way each, right in everything else.
const REFUSED: &[(&str, Forgery)] = &[
    ("bad checksum", |_| {
        changed(|forged| forged.message[6] ^= 0xff, false)
    }),
    ("version 2", |_| {
        Forged::v2(ATTACKER, 51, PRIORITY, 1, None, &[ADDRESS]).frame()
    }),
    ("version 4", |_| changed(|forged| forged.message[0] = 0x41, true)),
    ("type 2", |_| changed(|forged| forged.message[0] = 0x32, true)),
    ("truncated header", |_| {
        changed(|forged| forged.message.truncate(6), false)
    }),
    ("truncated addresses", |_| {
        changed(|forged| forged.message.truncate(10), true)
    }),
    ("count 0", |_| Forged::v3(ATTACKER, 51, PRIORITY, 10, &[]).frame()),
    ("count above the packet", |_| {
        changed(|forged| forged.message[3] = 20, true)
    }),
    ("time to live 254", |_| changed(|forged| forged.ttl = 254, true)),
    ("interval 0", |_| {
        Forged::v3(ATTACKER, 51, PRIORITY, 0, &[ADDRESS]).frame()
    }),
    ("random bytes", |number| {
        changed(|forged| fill(&mut forged.message[1..], number), false)
    }),
    ("one bit flipped", |number| {
        changed(|forged| flip(&mut forged.message, number), false)
    }),
    ("another virtual router", |_| {
        Forged::v3(ATTACKER, 99, PRIORITY, 10, &[ADDRESS]).frame()
    }),
];

fn changed(change: impl FnOnce(&mut Forged), sum: bool) -> Vec<u8> {
    let mut forged = Forged::v3(ATTACKER, 51, PRIORITY, 10, &[ADDRESS]);
    change(&mut forged);
    if sum {
        forged.sum(true);
    }
    forged.frame()
}

/// Reproducible nonsense (a linear congruential generator).
fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for byte in bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
}

fn flip(bytes: &mut [u8], number: u64) {
    let bit = (number % (bytes.len() as u64 * 8)) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn attacked(
    flavour: Flavour,
    rate: u32,
    period: Duration,
    pair: &Pair,
    forgery: Forgery,
) -> Result<(), String> {
    let attacker = pair.network.host_with("attacker", &["10.77.0.66/16"]);
    let injector = Injector::new(&attacker);
    let start = now();
    injector.flood(rate, period, forgery);
    let silence = pair.longest_silence("a", start);
    let usurped = pair.adverts("b", start).len();
    let left = pair
        .adverts("a", start)
        .iter()
        .filter(|(_, advert)| advert.priority == 0)
        .count();
    let holders = pair.holders();
    if silence < 2 * pair.a.router.interval && usurped == 0 && left == 0 && holders == ["a"] {
        return Ok(());
    }
    Err(format!(
        "{flavour:?}, {rate}/s: a silent for {silence:?}, left {left} times, b sent {usurped} adverts, held by {holders:?}"
    ))
}

#[test]
fn warren_is_moved_by_no_refused_packet_at_100_a_second() {
    no_refused_packet_moves(100, Duration::from_millis(800));
}

#[test]
fn warren_is_moved_by_no_refused_packet_at_10_000_a_second() {
    no_refused_packet_moves(10_000, Duration::from_millis(800));
}

#[track_caller]
fn no_refused_packet_moves(rate: u32, period: Duration) {
    let pair = Pair::plain((crate::WARREN, crate::WARREN));
    let moved: Vec<String> = REFUSED
        .iter()
        .filter_map(|(what, forgery)| {
            attacked(crate::WARREN, rate, period, &pair, *forgery)
                .err()
                .map(|how| format!("{what}: {how}"))
        })
        .collect();
    assert!(moved.is_empty(), "{moved:#?}");
}

#[test]
fn warren_is_not_silenced_by_a_wrong_password() {
    let secret = |priority| {
        Router::new(priority)
            .v2()
            .line("authentication {\n auth_type PASS\n auth_pass secret\n }")
    };
    let pair = Pair::start((crate::WARREN, crate::WARREN), secret(101), secret(100));
    let wrong: Forgery = |_| Forged::v2(ATTACKER, 51, PRIORITY, 1, Some("guess"), &[ADDRESS]).frame();
    // Longer than a backup needs to lose patience.
    for rate in [100, 10_000] {
        attacked(crate::WARREN, rate, Duration::from_millis(4500), &pair, wrong).unwrap();
    }
}

/// Shows that the attack above is one: the same packets at the same rate silence the other daemon.
#[test]
fn keepalived_is_silenced_by_refused_packets() {
    let pair = Pair::plain((crate::KEEPALIVED, crate::KEEPALIVED));
    let bad_checksum = REFUSED[0].1;
    eventually(PATIENCE, "the active is silenced", || {
        match attacked(
            crate::KEEPALIVED,
            100,
            Duration::from_secs(1),
            &pair,
            bad_checksum,
        ) {
            Ok(()) => Err("adverts on time"),
            Err(_) => Ok(()),
        }
    });
}

/// What a well-formed stranger may do: a better advert takes the role, and its end gives it back.
#[test]
fn warren_yields_to_a_better_advert_and_returns_after_it_falls_silent() {
    let pair = Pair::plain((crate::WARREN, crate::WARREN));
    let attacker = pair.network.host_with("attacker", &["10.77.0.66/16"]);
    let injector = Injector::new(&attacker);
    let better = Forged::v3(ATTACKER, 51, PRIORITY, 10, &[ADDRESS]).frame();
    injector.flood(20, Duration::from_secs(1), |_| better.clone());
    assert_eq!(pair.holders(), Vec::<&str>::new());
    pair.eventually_served_by("a");
}
