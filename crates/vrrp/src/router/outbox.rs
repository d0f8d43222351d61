//! Effects waiting for the shell, bounded whatever the shell does.
//!
//! Every effect states an aim, so a later one makes an earlier one of its kind pointless: a queue that nobody
//! empties holds one advertisement, one claim or release, one announcement of each reason and the last few
//! transitions.

use std::collections::VecDeque;

use super::{AnnounceReason, Effect};

/// Transitions kept when nobody polls.
const TRANSITIONS_MAX: usize = 16;

/// No outbox is longer than this.
pub(super) const OUTBOX_MAX: usize = TRANSITIONS_MAX + 4;

#[derive(Debug, Default)]
pub(super) struct Outbox(VecDeque<Effect>);

impl Outbox {
    pub(super) fn push(&mut self, effect: Effect) {
        self.0.retain(|waiting| !supersedes(&effect, waiting));
        if matches!(effect, Effect::Transition { .. }) && self.transitions() >= TRANSITIONS_MAX {
            let oldest = self
                .0
                .iter()
                .position(|waiting| matches!(waiting, Effect::Transition { .. }));
            oldest.and_then(|index| self.0.remove(index));
        }
        self.0.push_back(effect);
    }

    pub(super) fn pop(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn transitions(&self) -> usize {
        self.0
            .iter()
            .filter(|waiting| matches!(waiting, Effect::Transition { .. }))
            .count()
    }
}

/// Whether `later` makes `earlier`, not yet carried out, pointless.
fn supersedes(later: &Effect, earlier: &Effect) -> bool {
    match (later, earlier) {
        (Effect::SendAdvert { .. }, Effect::SendAdvert { .. })
        | (Effect::Claim | Effect::Release, Effect::Claim | Effect::Release)
        // Nobody announces an address that is about to go.
        | (Effect::Release, Effect::Announce { .. })
        | (
            Effect::Announce { reason: AnnounceReason::Claimed },
            Effect::Announce { reason: AnnounceReason::Claimed },
        )
        | (
            Effect::Announce { reason: AnnounceReason::LowerPriorityActive },
            Effect::Announce { reason: AnnounceReason::LowerPriorityActive },
        ) => true,
        (
            Effect::SendAdvert { .. }
            | Effect::Claim
            | Effect::Announce { .. }
            | Effect::Release
            | Effect::Transition { .. },
            Effect::SendAdvert { .. }
            | Effect::Claim
            | Effect::Announce { .. }
            | Effect::Release
            | Effect::Transition { .. },
        ) => false,
    }
}
