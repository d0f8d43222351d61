//! Sync groups: virtual routers that are active together or not at all.
//!
//! Pure rules, no state: what the members are worth together, and what one member's change of state asks of the
//! others. The shell gives each router the shared [`Fitness`] and passes the [`Order`]s on as inputs.
//!
//! Three things keep two hosts with the same group from pulling the role to and fro:
//! - members share the weights of their checks, so that all of them win or lose together;
//! - a change of state that was ordered orders nothing in turn, and a member ordered down does not preempt by itself
//!   (see `Input::GroupStepDown`);
//! - equal priorities are decided by addresses, which may order two links differently: only the first member's
//!   link counts then. Both hosts therefore list the group's members in the same order.
//!
//! Deliberately absent: a cure for hosts whose *base* priorities cross (host A better on one link, host B on the
//! other). No rule can please both; the configuration check refuses it.

use crate::priority::{self, Fitness};
use crate::router::{Cause, Input, State};
use crate::types::Priority;

/// A member as far as the group is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Configured priority.
    pub base: Priority,
    /// Its own assessment.
    pub fitness: Fitness,
    /// Its link is ready and it has not surrendered.
    pub ready: bool,
}

/// What a member's change of state asks of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Become active.
    TakeOver,
    /// Stop being active.
    StepDown,
}

impl From<Order> for Input {
    fn from(order: Order) -> Self {
        match order {
            Order::TakeOver => Self::GroupTakeOver,
            Order::StepDown => Self::GroupStepDown,
        }
    }
}

/// What each member is worth as part of the group, in the same order.
///
/// One that is unfit or without a link makes all unfit. What checks add or subtract is shared: the member that
/// suffers most decides for all, on top of each one's own base.
#[must_use]
pub fn fitness(members: &[Member]) -> Vec<Fitness> {
    let fit = members.iter().all(|member| member.ready && member.fitness.fit);
    let amount = members
        .iter()
        .filter(|member| member.base != Priority::OWNER)
        .map(|member| i32::from(member.fitness.priority.0) - i32::from(member.base.0))
        .min()
        .unwrap_or(0);
    members
        .iter()
        .map(|member| Fitness {
            priority: priority::clamp(member.base, amount),
            fit,
        })
        .collect()
}

/// What to tell which members after member `changed` went to its state in `states` because of `cause`.
///
/// Members that drop out (link, checks, shutdown) take the others along through [`fitness`], not through orders. One
/// that starts again while others kept the role, as after a link that was away for a moment, joins them.
pub fn orders<'a>(
    states: &'a [State],
    changed: usize,
    cause: &Cause,
) -> impl Iterator<Item = (usize, Order)> + use<'a> {
    let to = states.get(changed).copied().unwrap_or(State::Initialize);
    let joins = to == State::Backup && *cause == Cause::Started && states.contains(&State::Active);
    let order = match (to, cause) {
        (State::Active, Cause::Group) => None,
        (
            State::Active,
            Cause::Owner
            | Cause::Started
            | Cause::ActiveSilent { .. }
            | Cause::PeerResigned { .. }
            | Cause::Outranked { .. }
            | Cause::Preempted { .. }
            | Cause::LinkLost
            | Cause::Unfit
            | Cause::HandedOver { .. }
            | Cause::Adopted
            | Cause::Surrendered
            | Cause::Shutdown,
        ) => Some(Order::TakeOver),
        (State::Backup, Cause::Outranked { theirs, ours, .. }) => {
            (theirs > ours || changed == 0).then_some(Order::StepDown)
        }
        (
            State::Backup,
            Cause::Owner
            | Cause::Started
            | Cause::ActiveSilent { .. }
            | Cause::PeerResigned { .. }
            | Cause::Preempted { .. }
            | Cause::LinkLost
            | Cause::Unfit
            | Cause::HandedOver { .. }
            | Cause::Adopted
            | Cause::Group
            | Cause::Surrendered
            | Cause::Shutdown,
        )
        | (State::Initialize, _) => None,
    };
    let told = move |index: usize| match (index == changed, order) {
        (true, _) => joins.then_some((index, Order::TakeOver)),
        (false, Some(order)) => Some((index, order)),
        (false, None) => None,
    };
    (0..states.len()).filter_map(told)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn member(base: u8, priority: u8) -> Member {
        Member {
            base: Priority(base),
            fitness: Fitness {
                priority: Priority(priority),
                fit: true,
            },
            ready: true,
        }
    }

    fn priorities(members: &[Member]) -> Vec<u8> {
        fitness(members)
            .iter()
            .map(|fitness| fitness.priority.0)
            .collect()
    }

    fn told(changed: usize, to: State, cause: &Cause) -> Vec<(usize, Order)> {
        let mut states = [State::Backup; 3];
        states[changed] = to;
        orders(&states, changed, cause).collect()
    }

    fn outranked(theirs: u8, ours: u8) -> Cause {
        Cause::Outranked {
            peer: PEER,
            theirs: Priority(theirs),
            ours: Priority(ours),
        }
    }

    #[test]
    fn unfit_member_makes_all_unfit() {
        let mut members = [member(100, 100), member(100, 100)];
        assert!(fitness(&members).iter().all(|fitness| fitness.fit));
        members[1].fitness.fit = false;
        assert!(fitness(&members).iter().all(|fitness| !fitness.fit));
    }

    #[test]
    fn member_without_a_link_makes_all_unfit() {
        let mut members = [member(100, 100), member(100, 100)];
        members[0].ready = false;
        assert!(fitness(&members).iter().all(|fitness| !fitness.fit));
    }

    #[test]
    fn weights_are_shared() {
        assert_eq!(priorities(&[member(101, 99), member(101, 101)]), [99, 99]);
        assert_eq!(priorities(&[member(150, 148), member(100, 95)]), [145, 95]);
        assert_eq!(priorities(&[member(100, 110), member(100, 105)]), [105, 105]);
    }

    #[test]
    fn owner_is_not_weighed() {
        assert_eq!(priorities(&[member(255, 255), member(100, 90)]), [255, 90]);
        assert_eq!(priorities(&[member(255, 255)]), [255]);
    }

    #[test]
    fn member_that_becomes_active_takes_the_others_along() {
        let resigned = Cause::PeerResigned { peer: PEER };
        assert_eq!(
            told(1, State::Active, &resigned),
            [(0, Order::TakeOver), (2, Order::TakeOver)]
        );
    }

    #[test]
    fn member_outranked_takes_the_others_along() {
        let steps_down = [(0, Order::StepDown), (2, Order::StepDown)];
        assert_eq!(told(1, State::Backup, &outranked(101, 100)), steps_down);
    }

    #[test]
    fn equal_priorities_are_decided_on_the_first_members_link() {
        assert_eq!(told(1, State::Backup, &outranked(100, 100)), []);
        assert_eq!(told(0, State::Backup, &outranked(100, 100)).len(), 2);
    }

    #[test]
    fn change_that_was_ordered_orders_nothing() {
        assert_eq!(told(1, State::Active, &Cause::Group), []);
        assert_eq!(told(1, State::Backup, &Cause::Group), []);
        assert_eq!(told(1, State::Backup, &Cause::HandedOver { peer: PEER }), []);
    }

    #[test]
    fn member_that_starts_while_others_are_active_joins_them() {
        let orders_to = |states: [State; 2]| orders(&states, 0, &Cause::Started).collect::<Vec<_>>();
        assert_eq!(orders_to([State::Backup, State::Active]), [(0, Order::TakeOver)]);
        assert_eq!(orders_to([State::Backup, State::Backup]), []);
    }

    #[test]
    fn leaving_is_shared_through_fitness_not_orders() {
        assert_eq!(told(0, State::Initialize, &Cause::LinkLost), []);
    }

    proptest! {
        /// Whatever the members are worth by themselves, together they keep the order of their bases: no check can
        /// make one member of a group win and another lose between two hosts that agree on the bases.
        #[test]
        fn checks_never_divide_a_group(
            bases in prop::collection::vec(1u8..=254, 1..6),
            amounts in prop::collection::vec(-20i16..20, 6),
        ) {
            let members: Vec<_> = bases
                .iter()
                .zip(&amounts)
                .map(|(base, amount)| member(*base, priority::clamp(Priority(*base), i32::from(*amount)).0))
                .collect();
            let shared = priorities(&members);
            for (one, other) in shared.iter().zip(&bases).flat_map(|a| shared.iter().zip(&bases).map(move |b| (a, b))) {
                prop_assert!(one.1 != other.1 || one.0 == other.0);
                prop_assert!(one.1 <= other.1 || one.0 >= other.0);
            }
            prop_assert_eq!(shared.len(), members.len());
        }
    }
}
