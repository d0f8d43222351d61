//! Direct: the routing key is the binding key.

use std::collections::HashMap;

use super::Target;
use super::targets::Targets;

/// Targets by key.
#[derive(Debug, Default)]
pub struct Direct(HashMap<Box<[u8]>, Targets>);

impl Direct {
    pub(super) fn add(&mut self, key: &str, target: &Target) {
        self.0.entry(key.as_bytes().into()).or_default().add(target);
    }

    pub(super) fn remove(&mut self, key: &str, target: &Target) {
        let Some(targets) = self.0.get_mut(key.as_bytes()) else {
            return;
        };
        targets.remove(target);
        if targets.is_empty() {
            self.0.remove(key.as_bytes());
        }
    }

    pub(super) fn route<'a>(&'a self, key: &[u8], found: &mut Vec<&'a Target>) {
        found.extend(self.0.get(key).map(Targets::as_slice).unwrap_or_default());
    }
}
