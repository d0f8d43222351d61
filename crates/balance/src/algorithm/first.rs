//! The lowest id with a free slot. HAProxy manual, `balance first`: it "ignores the server weight" and makes sense
//! only with maxconn.

use super::{Request, Server};
use crate::types::ServerId;

/// `candidates` are in the order of their ids.
pub(super) fn choose(candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
    candidates
        .iter()
        .find(|server| request.accepts(server))
        .map(|server| server.id)
}
