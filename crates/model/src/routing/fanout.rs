//! Fanout: every target, once, however many bindings lead to it.

use std::collections::HashMap;

use super::Target;

/// Targets, each with the number of its bindings.
#[derive(Debug, Default)]
pub struct Fanout {
    targets: Vec<Target>,
    /// Where a target is, and how many bindings it has.
    places: HashMap<Target, (usize, usize)>,
}

impl Fanout {
    pub(super) fn add(&mut self, target: &Target) {
        let next = self.targets.len();
        let (_, count) = self.places.entry(target.clone()).or_insert((next, 0));
        *count += 1;
        if *count == 1 {
            self.targets.push(target.clone());
        }
    }

    pub(super) fn remove(&mut self, target: &Target) {
        let Some((index, count)) = self.places.get_mut(target) else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        let index = *index;
        self.places.remove(target);
        self.targets.swap_remove(index);
        // The last one is in its place now.
        if let Some((place, _)) = self
            .targets
            .get(index)
            .and_then(|moved| self.places.get_mut(moved))
        {
            *place = index;
        }
    }

    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }
}
