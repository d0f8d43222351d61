//! What a router is worth: base priority, weights, drain, clamps.

use crate::types::Priority;

/// What a router is worth right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// Effective priority, 1..=255.
    pub priority: Priority,
    /// False: take no part (a releasing check failed, drained, group member failed).
    pub fit: bool,
}
