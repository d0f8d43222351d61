//! What is in vhosts, a lot at a time: metadata is locked for one lot, and one lot is in memory.

use std::vec;

use warren_model::Name;
use warren_model::meta::Vhost;

use crate::node::Node;

/// How far a listing is. `P` is what a thing has its place by in the order of all of its vhost.
pub(super) struct Lots<'a, P> {
    node: &'a Node,
    vhosts: vec::IntoIter<Name>,
    /// The vhost, and the last place that was seen in it.
    reached: Option<(Name, Option<P>)>,
}

impl<'a, P> Lots<'a, P> {
    /// Of one vhost, or of all.
    pub(super) fn of(node: &'a Node, vhost: Option<&str>) -> Self {
        let vhosts: Vec<Name> = node.read(|meta| match vhost {
            Some(vhost) => meta
                .vhost_entry(vhost)
                .map(|(name, _)| name.clone())
                .into_iter()
                .collect(),
            None => meta.vhosts().map(|(name, _)| name.clone()).collect(),
        });
        Self {
            node,
            vhosts: vhosts.into_iter(),
            reached: None,
        }
    }

    /// The next lot, which `lot` takes from behind a place. `None`: that was all.
    pub(super) fn next<T>(
        &mut self,
        lot: impl Fn(&Name, &Vhost, Option<&P>) -> Vec<(P, T)>,
    ) -> Option<Vec<T>> {
        loop {
            let (vhost, last) = match self.reached.take() {
                Some(reached) => reached,
                None => (self.vhosts.next()?, None),
            };
            let found = self
                .node
                .read(|meta| meta.vhost(&vhost).map(|it| lot(&vhost, it, last.as_ref())));
            let (mut places, things): (Vec<P>, Vec<T>) = found.unwrap_or_default().into_iter().unzip();
            if let Some(place) = places.pop() {
                self.reached = Some((vhost, Some(place)));
                return Some(things);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_model::meta::Command;

    use super::*;
    use crate::testing::{declare, name};

    #[test]
    fn a_listing_has_what_stays_once_and_lets_others_in_after_each_lot() {
        let node = Node::new("rabbit@test".to_owned(), crate::Settings::default());
        let apply = |command| drop(node.apply(command).unwrap());
        for vhost in ["a", "b", "c", "d"] {
            apply(Command::AddVhost {
                name: name(vhost),
                description: String::new(),
            });
        }
        for vhost in ["a", "c", "d"] {
            (0..10).for_each(|number| apply(declare(vhost, &format!("q{number}"))));
        }
        let mut seen: Vec<Vec<String>> = Vec::new();
        let mut lots = Lots::of(&node, None);
        while let Some(lot) = lots.next(|vhost, it, last: Option<&Name>| {
            let queues = it.queues_behind(last).take(4);
            queues
                .map(|(queue, _)| (queue.clone(), format!("{vhost} {queue}")))
                .collect()
        }) {
            seen.push(lot);
            match seen.len() {
                1 => {
                    // The last one that was seen, one that was, one that was not; and two come, before that place and behind it.
                    for gone in ["q3", "q1", "q5"] {
                        let (vhost, name) = (name("a"), name(gone));
                        apply(Command::DeleteQueue { vhost, name });
                    }
                    apply(declare("a", "q0a"));
                    apply(declare("a", "q8a"));
                    apply(Command::DeleteVhost { name: name("c") });
                }
                4 => apply(Command::DeleteVhost { name: name("d") }),
                _ => {}
            }
        }
        let lots: Vec<String> = seen.iter().map(|lot| lot.join(", ")).collect();
        assert_eq!(
            lots,
            [
                "a q0, a q1, a q2, a q3",
                "a q4, a q6, a q7, a q8",
                "a q8a, a q9",
                "d q0, d q1, d q2, d q3",
            ]
        );
        let none = Lots::of(&node, Some("none")).next(|_, _, _: Option<&Name>| vec![(name(""), ())]);
        assert_eq!(none, None);
    }
}
