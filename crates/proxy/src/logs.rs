//! One line for each session, and one for each event: from a [`Record`] to whoever listens.
//!
//! ```text
//!   Record ──▶ decide: logged, and how severe? ──▶ Format: the line ──▶ Writer: one batch per outlet ──▶ sendmmsg
//! ```
//!
//! - [`Format`]: HAProxy's `log-format`, compiled once; also the templates in header values and redirections.
//! - [`Writer`]: one per thread. It formats into its own buffers, sends when it is told that the loop has turned, never
//!   waits, and counts what found no room.
//!
//! Deliberately absent: a thread that logs. Handing lines over would cost more than sending them in batches.

mod convert;
mod date;
mod fetch;
mod format;
mod json;
mod map;
mod render;
mod sink;
mod writer;

pub(crate) use convert::{Expression, NAMES as CONVERTERS, references};
pub use date::Dates;
pub(crate) use fetch::variable;
pub use fetch::{Fetch, Samples};
pub use format::{Format, FormatError, FormatFault};
pub(crate) use format::{HTTPS, split_call};
pub(crate) use map::read_lines;
pub use writer::{Dropped, Writer};

use crate::plan::{Level, Logging};
use crate::record::{Cause, Record};

/// How severe a session's line is; `None`: it is not logged.
///
/// HAProxy's rules: whoever never came in is an error, unless nothing was said and `option dontlognull` is set. What was redispatched, retried, answered with 5xx or ended for any reason but the usual one and
/// the proxy's own answers is an error. `option log-separate-errors` raises errors, `option dontlog-normal` keeps
/// nothing else, `option dontlognull` drops connections that never said anything.
#[must_use]
pub fn severity(logging: &Logging, record: &Record<'_>) -> Option<Level> {
    if logging.targets.is_empty() {
        return None;
    }
    if let Some(refused) = &record.refused {
        return match logging.dontlognull && refused.why.is_null() {
            true => None,
            false if logging.separate_errors => Some(Level::Err),
            false => Some(Level::Info),
        };
    }
    if logging.dontlognull && record.bytes_in == 0 {
        return None;
    }
    let error = match record.termination.cause {
        Cause::Normal => record.retries > 0,
        Cause::Local => false,
        _ => true,
    };
    let answered_badly =
        |http: &crate::record::HttpFacts<'_>| http.status.is_some_and(|status| status >= 500);
    let error = error || record.redispatched || record.http.as_ref().is_some_and(answered_badly);
    match error {
        false if logging.dontlog_normal => None,
        true if logging.separate_errors => Some(Level::Err),
        _ => Some(Level::Info),
    }
}

#[cfg(test)]
mod tests;
