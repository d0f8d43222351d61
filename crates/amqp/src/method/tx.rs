//! Class tx: publishing and acknowledging that takes effect together. Asked by the client, answered by the server.

use super::class::methods;

methods! {
    90;

    /// From here on the channel is transactional.
    10 Select {}

    /// It is.
    11 SelectOk {}

    /// What came since takes effect.
    20 Commit {}

    /// It has.
    21 CommitOk {}

    /// What came since is forgotten.
    30 Rollback {}

    /// It is.
    31 RollbackOk {}
}
