//! The thread as the control thread sees it: commands in, events out. It has no wires here.

use std::net::IpAddr;

use tokio::sync::mpsc::Receiver;
use warren_vrrp::checksum::ChecksumPolicy;
use warren_vrrp::packet::{Auth, Interval};
use warren_vrrp::priority::Fitness;
use warren_vrrp::router::Failback;
use warren_vrrp::{Family, Priority, Settings, Version};

use super::*;
use crate::guard::messages::Received;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1));

fn installation(slot: Slot, vrid: u8) -> Installation {
    let interval = Duration::from_secs(1);
    Installation {
        slot,
        settings: Settings {
            vrid: vrid.try_into().unwrap(),
            version: Version::V3,
            family: Family::V4,
            interval,
            failback: Failback::Auto,
            dead_after: 3,
        },
        interval: Interval::new(Version::V3, interval).unwrap(),
        owner: true,
        addresses: vec![SOURCE],
        auth: Auth::None,
        checksum: ChecksumPolicy::Rfc9568,
        peers: Vec::new(),
        strict: false,
        receive_on: 0,
        receive_own_mac_on: None,
        send_on: 0,
        send_interface: "lo".into(),
        send_interface_index: 1,
    }
}

/// The thread with an owner in slot 3, which is active at once.
fn with_an_active_router(guard: Option<Channel>) -> (Handle, Receiver<Event>) {
    let (plumbing, _, _) = Plumbing::start(plumbing::Options::default()).unwrap();
    let (events, received) = tokio::sync::mpsc::channel(64);
    let (handle, _) = start(events, plumbing, guard, None).unwrap();
    handle.send(Command::Install(Box::new(installation(3, 51))));
    handle.input(3, Input::LinkReady { source: SOURCE });
    let fitness = Fitness {
        priority: Priority::OWNER,
        fit: true,
    };
    handle.input(3, Input::Fitness(fitness));
    (handle, received)
}

/// What happens up to the slot's last event, in short.
fn until_removed(events: &mut Receiver<Event>) -> Vec<(Slot, Option<State>)> {
    let mut seen = Vec::new();
    loop {
        match events.blocking_recv().unwrap() {
            Event::Transition { slot, to, .. } => seen.push((slot, Some(to))),
            Event::Removed { slot } => {
                seen.push((slot, None));
                return seen;
            }
            _ => {}
        }
    }
}

#[test]
fn a_slot_is_free_only_after_the_last_event_of_the_router_that_had_it() {
    let (handle, mut events) = with_an_active_router(None);
    // The control thread has heard of no transition yet.
    handle.send(Command::Remove {
        slot: 3,
        grace: Duration::ZERO,
    });
    assert_eq!(
        until_removed(&mut events),
        [(3, Some(State::Active)), (3, Some(State::Initialize)), (3, None)]
    );
    handle.send(Command::Exit);
}

#[test]
fn a_router_that_was_never_installed_is_removed_all_the_same() {
    let (handle, mut events) = with_an_active_router(None);
    handle.send(Command::Remove {
        slot: 200,
        grace: Duration::from_secs(1),
    });
    assert_eq!(until_removed(&mut events).last(), Some(&(200, None)));
    handle.send(Command::Exit);
}

#[test]
fn the_beat_stops_when_plumbing_has_been_silent_for_longer_than_patience_and_not_before() {
    let alive = Instant::from_nanos(5_000_000_000);
    let patience = Duration::from_secs(1);
    assert!(vouches(alive + patience, alive, patience));
    assert!(!vouches(
        alive + patience + Duration::from_nanos(1),
        alive,
        patience
    ));
    // It may have shown life after the clock was read here.
    assert!(vouches(alive, alive + patience, patience));
}

#[test]
fn a_role_that_the_guard_had_no_room_for_is_told_as_soon_as_it_has() {
    let (ours, theirs) = Channel::pair().unwrap();
    while theirs.send_small(&FromWorker::Beat).is_ok() {}
    let (handle, mut events) = with_an_active_router(Some(theirs));
    while !matches!(events.blocking_recv().unwrap(), Event::Transition { .. }) {}
    let mut buffer = Vec::new();
    crate::namespace::eventually(Duration::from_secs(5), || {
        match ours.receive(&mut buffer).unwrap() {
            Received::Message(FromWorker::Role {
                slot: 3,
                active: true,
                priority: 255,
            }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    handle.send(Command::Exit);
}

#[test]
fn no_command_is_forgotten_when_more_come_than_one_turn_takes() {
    let (handle, _events) = with_an_active_router(None);
    for _ in 0..10 * COMMANDS_PER_TURN {
        handle.send(Command::Groups(Vec::new()));
    }
    let (reply, view) = oneshot::channel();
    handle.send(Command::View(reply));
    assert_eq!(view.blocking_recv().unwrap().seats.len(), 1);
    handle.send(Command::Exit);
}
