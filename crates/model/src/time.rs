//! Time as the model knows it: said by whoever asks something of it.

/// Milliseconds since the Unix epoch, by the clock of the node that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// So many milliseconds later; the end of time at most.
    #[must_use]
    pub const fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}
