//! Every server draws a number from the key and its own id; the best draw for its share wins.
//!
//! That is rendezvous hashing, by which the promise of `hash-type consistent` holds exactly: the draws of the others do
//! not depend on who is there, so a key moves only when its server goes or loses weight, or to a server that comes
//! or gains weight; and shares are exact for any weight, where a ring of points is off by its number of points.
//! The price is a look at every server, without any table.

use super::{Request, Server};
use crate::hash::mix;
use crate::types::ServerId;

pub(super) fn choose(candidates: &[Server], request: &Request<'_>) -> Option<ServerId> {
    candidates
        .iter()
        .filter(|server| request.avoid != Some(server.id))
        .map(|server| (wait(server, request.key), server.id))
        .min_by(|(one, id), (other, other_id)| one.total_cmp(other).then(id.cmp(other_id)))
        .map(|(_, id)| id)
}

/// Exponentially distributed with the share as its rate: the smallest of such is a server's with probability
/// share / sum of shares.
fn wait(server: &Server, key: u64) -> f64 {
    // 52 bits, so that the number is exact, and never 0 or 1.
    let bits = mix(key ^ mix(u64::from(server.id.0))) >> 12;
    #[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
    let uniform = (bits as f64 + 0.5) / (1_u64 << 52) as f64;
    -uniform.ln() / f64::from(server.share.get())
}
