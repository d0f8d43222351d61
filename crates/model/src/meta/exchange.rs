//! An exchange and its bindings.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use warren_amqp::Table;

use super::policy::Applied;
use crate::name::Name;
use crate::refusal::Refusal;
use crate::routing::{Kind, Routes, Target};
use crate::wire_table;

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    /// Its type.
    pub kind: Kind,
    /// It outlives a restart.
    pub durable: bool,
    /// It goes with its last binding.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// As they were said.
    pub arguments: Table,
    /// Where messages go that found no way (`alternate-exchange`, of its arguments or else of a policy).
    pub alternate: Option<Name>,
    /// What policies set for it.
    pub applied: Option<Arc<Applied>>,
    pub(super) routes: Routes,
    pub(super) bindings: BTreeSet<Bound>,
}

/// A binding of an exchange, to be found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bound {
    pub(super) target: Target,
    pub(super) key: Name,
    pub(super) arguments: Bytes,
}

impl Bound {
    pub(super) fn new(target: Target, key: Name, arguments: &Table) -> Self {
        Self {
            target,
            key,
            arguments: wire_table::octets(arguments),
        }
    }

    pub(super) fn table(&self) -> Table {
        Table::decode_entries(self.arguments.clone()).unwrap_or_default()
    }
}

impl Exchange {
    pub(super) fn new(
        kind: Kind,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) -> Self {
        let routes = Routes::new(&kind, &arguments);
        let mut exchange = Self {
            kind,
            durable,
            auto_delete,
            internal,
            arguments,
            alternate: None,
            applied: None,
            routes,
            bindings: BTreeSet::new(),
        };
        exchange.apply(None);
        exchange
    }

    /// Other policies count for it.
    pub(super) fn apply(&mut self, applied: Option<Arc<Applied>>) {
        let set = || applied.as_ref()?.definition.get("alternate-exchange")?.as_str();
        let said = self.arguments.text("alternate-exchange");
        let name = said.as_deref().or_else(set);
        self.alternate = name.and_then(|name| Name::try_from(name).ok());
        self.applied = applied;
    }

    /// Declared again with the same properties?
    pub(super) fn check_equivalent(&self, other: &Self, name: &str, vhost: &str) -> Result<(), Refusal> {
        let differ = |argument, received: &str, current: &str| {
            let (received, current) = (format!("'{received}'"), format!("'{current}'"));
            Err(Refusal::inequivalent(
                argument, "exchange", name, vhost, &received, &current,
            ))
        };
        if self.kind.name() != other.kind.name() {
            return differ("type", &atom(other.kind.name()), &atom(self.kind.name()));
        }
        for (argument, current, received) in [
            ("durable", self.durable, other.durable),
            ("auto_delete", self.auto_delete, other.auto_delete),
            ("internal", self.internal, other.internal),
        ] {
            if current != received {
                return differ(argument, &received.to_string(), &current.to_string());
            }
        }
        super::queue::check_argument(
            &self.arguments,
            &other.arguments,
            "alternate-exchange",
            "exchange",
            name,
            vhost,
        )
    }

    /// How many bindings lead away from it.
    #[must_use]
    pub fn bindings(&self) -> usize {
        self.bindings.len()
    }
}

/// As Erlang says names that are not plain words.
fn atom(name: &str) -> String {
    match name.contains('-') {
        true => format!("'{name}'"),
        false => name.to_owned(),
    }
}
