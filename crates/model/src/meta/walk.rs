//! All there is of something, in pieces: whoever wants to see all of it lets others change it in between.
//!
//! Each begins behind the last one of the piece before, in an order that changes do not touch. So what is there from the first piece to
//! the last comes exactly once, as it is at the moment of its piece; what comes or goes meanwhile comes or not. Bindings are in the order
//! of the numbers of their queues: one that goes with its queue and comes again with another of that name may come twice.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use warren_amqp::Table;

use super::command::{Binding, Destination};
use super::exchange::{Bound, Exchange};
use super::queue::Queue;
use super::user::User;
use super::{Meta, Vhost};
use crate::name::Name;

/// Where a binding is among all of a vhost.
#[derive(Clone, Debug)]
pub struct BindingPlace(Place);

#[derive(Clone, Debug)]
enum Place {
    /// Of the default exchange to this queue; these come first.
    Default(Name),
    /// Of this exchange; nothing: before all of it.
    Made(Name, Option<Bound>),
}

impl Meta {
    /// Vhosts by name, behind the last one that was seen.
    pub fn vhosts_behind(&self, last: Option<&Name>) -> impl Iterator<Item = (&Name, &Vhost)> {
        behind(&self.vhosts, last)
    }

    /// Users by name, behind the last one that was seen.
    pub fn users_behind(&self, last: Option<&Name>) -> impl Iterator<Item = (&Name, &User)> {
        behind(&self.users, last)
    }
}

impl Vhost {
    /// Exchanges by name, behind the last one that was seen.
    pub fn exchanges_behind(&self, last: Option<&Name>) -> impl Iterator<Item = (&Name, &Exchange)> {
        behind(&self.exchanges, last)
    }

    /// Queues by name, behind the last one that was seen.
    pub fn queues_behind(&self, last: Option<&Name>) -> impl Iterator<Item = (&Name, &Queue)> {
        behind(&self.queues, last)
    }

    /// Bindings behind the last place that was seen, those of the default exchange to every queue included, which nobody made. An exchange
    /// has a place without a binding, so that a piece is no longer for those that have none.
    pub fn bindings_behind(
        &self,
        last: Option<&BindingPlace>,
    ) -> impl Iterator<Item = (BindingPlace, Option<Binding>)> {
        let (queue, made) = match last.map(|BindingPlace(place)| place) {
            None => (Some(None), None),
            Some(Place::Default(queue)) => (Some(Some(queue)), None),
            Some(Place::Made(source, bound)) => (None, Some((source, bound))),
        };
        let default = queue.into_iter().flat_map(|last| self.queues_behind(last));
        let default = default.map(|(queue, _)| {
            let binding = Binding {
                source: Name::empty(),
                destination: Destination::Queue(queue.clone()),
                key: queue.clone(),
                arguments: Table::new(),
            };
            (BindingPlace(Place::Default(queue.clone())), Some(binding))
        });
        let from = made.map_or(Unbounded, |(source, _)| Included(source));
        let exchanges = self.exchanges.range::<Name, _>((from, Unbounded));
        default.chain(exchanges.flat_map(move |(source, exchange)| {
            let begun = made.filter(|(begun, _)| *begun == source);
            let place = |bound| BindingPlace(Place::Made(source.clone(), bound));
            let itself = begun.is_none().then(|| (place(None), None));
            let last = begun.and_then(|(_, bound)| bound.as_ref());
            let rest = exchange
                .bindings
                .range((last.map_or(Unbounded, Excluded), Unbounded));
            let rest = rest.map(move |bound| (place(Some(bound.clone())), self.binding(source, bound)));
            itself.into_iter().chain(rest)
        }))
    }
}

fn behind<'a, T>(all: &'a BTreeMap<Name, T>, last: Option<&Name>) -> impl Iterator<Item = (&'a Name, &'a T)> {
    all.range::<Name, _>((last.map_or(Unbounded, Excluded), Unbounded))
}
