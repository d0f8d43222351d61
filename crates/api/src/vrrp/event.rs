//! What happened, one line each: the same record in history, on the event stream and in the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cause, State};
use crate::Timestamp;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Counts up by one from 1 since the daemon started; a gap means that the reader was too slow.
    pub sequence: u64,
    pub time: Timestamp,
    /// One of [`kind`]; readers skip those they do not know.
    pub kind: String,
    /// The router it happened to; `None` = the whole daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Old and new state of a transition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<State>,
    /// Why, for transitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The whole of it in a sentence, without time and router.
    pub text: String,
    /// Everything else, by name: `check`, `peer`, `address`, `interface`, `count`, ...
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Kinds of [`Event`].
pub mod kind {
    /// A router changed state.
    pub const TRANSITION: &str = "transition";
    /// A router's effective priority changed.
    pub const PRIORITY: &str = "priority";
    /// A check changed its verdict.
    pub const CHECK: &str = "check";
    /// An interface became usable or ceased to be.
    pub const LINK: &str = "link";
    /// A packet was rejected (the first of its kind from its sender, then at most one event a minute).
    pub const REJECTED: &str = "rejected";
    /// A virtual address was deleted by somebody else and put back, or not.
    pub const REPAIR: &str = "repair";
    /// Another host holds our address, or has let it go again.
    pub const DUAL_ACTIVE: &str = "dual-active";
    /// A VRID that we do not have was heard.
    pub const FOREIGN: &str = "foreign";
    /// A router was drained or resumed.
    pub const DRAIN: &str = "drain";
    /// The configuration was read again.
    pub const RELOAD: &str = "reload";
    /// The daemon started, stopped, was restarted by its guard or upgraded.
    pub const DAEMON: &str = "daemon";
    /// The daemon was late: it was stopped, or the host is overloaded.
    pub const LATE: &str = "late";
    /// A notify program failed or was killed.
    pub const NOTIFY: &str = "notify";
}
