//! Policies: settings that operators give to all queues and exchanges whose names match, and take away again.
//!
//! One policy counts for a queue or an exchange, the one of highest priority that matches it, and beside it one operator
//! policy. Of settings that both have, which are numbers, the lower counts.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::arguments::QueueType;
use crate::json::{Settings, Value};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::refusal::Refusal;

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyTo {
    /// `all`
    #[default]
    All,
    /// `queues`
    Queues,
    /// `exchanges`
    Exchanges,
}

/// Whose a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Author {
    /// Whoever may set policies in a vhost.
    User,
    /// Whoever runs the broker: limits that users cannot lift.
    Operator,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Names it is for.
    pub pattern: Pattern,
    /// Things it is for.
    pub apply_to: ApplyTo,
    /// What it sets.
    #[serde(with = "crate::json")]
    pub definition: Settings,
    /// Of several that match, the one with the highest counts; of equal ones the first by name.
    pub priority: i64,
}

/// What policies set for one queue or exchange. Equal ones are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The policy that counts.
    pub policy: Option<Name>,
    /// The operator policy that counts.
    pub operator_policy: Option<Name>,
    /// What both set.
    pub definition: Settings,
}

/// What a policy is to be applied to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Thing<'a> {
    Queue(QueueType, &'a str),
    Exchange(&'a str),
}

/// The policies of a vhost.
#[derive(Debug, Default)]
pub(super) struct Policies {
    user: Ranked,
    operator: Ranked,
    /// What has been merged, by the names of both policies.
    merged: BTreeMap<(Option<Name>, Option<Name>), Arc<Applied>>,
}

/// Policies of one kind.
#[derive(Debug, Default)]
struct Ranked {
    by_name: BTreeMap<Name, Policy>,
    /// Their names, the first that matches counts.
    order: Vec<Name>,
}

impl ApplyTo {
    /// By the word that operators use.
    ///
    /// # Errors
    /// There is no such word.
    pub fn parse(word: &str) -> Result<Self, Refusal> {
        match word {
            "all" => Ok(Self::All),
            "queues" => Ok(Self::Queues),
            "exchanges" => Ok(Self::Exchanges),
            other => Err(Refusal::validation(format_args!(
                "apply-to '{other}' unrecognised; should be 'queues', 'exchanges' or 'all'"
            ))),
        }
    }

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
        }
    }
}

impl Policy {
    /// A policy as operators say it: `pattern` a regular expression, `definition` an object.
    ///
    /// # Errors
    /// The pattern is none, or a setting is not known or has a value that cannot be.
    pub fn new(
        author: Author,
        pattern: &str,
        apply_to: ApplyTo,
        definition: Settings,
        priority: i64,
    ) -> Result<Self, Refusal> {
        let pattern = Pattern::new(pattern).map_err(|error| {
            Refusal::validation(format_args!(
                "pattern should be regular expression but is invalid: {{\"{}\",0}}",
                error.why
            ))
        })?;
        let policy = Self {
            pattern,
            apply_to,
            definition,
            priority,
        };
        policy.check(author)?;
        Ok(policy)
    }

    /// Can there be such a policy?
    ///
    /// # Errors
    /// A setting is not known or has a value that cannot be.
    pub fn check(&self, author: Author) -> Result<(), Refusal> {
        rules::check(author, &self.definition)
    }

    fn matches(&self, thing: Thing<'_>) -> bool {
        let (applies, name) = match thing {
            Thing::Queue(kind, name) => (
                self.apply_to != ApplyTo::Exchanges
                    && (kind != QueueType::Quorum || !rules::is_for_mirrors(&self.definition)),
                name,
            ),
            Thing::Exchange(name) => (self.apply_to != ApplyTo::Queues, name),
        };
        // Unlike an empty permission, an empty pattern is one that matches everything.
        applies && (self.pattern.as_str().is_empty() || self.pattern.matches(name))
    }
}

impl Policies {
    const fn of(&self, author: Author) -> &Ranked {
        match author {
            Author::User => &self.user,
            Author::Operator => &self.operator,
        }
    }

    /// All of one kind, by name.
    pub(super) fn iter(&self, author: Author) -> impl Iterator<Item = (&Name, &Policy)> {
        self.of(author).by_name.iter()
    }

    /// One of them.
    pub(super) fn get(&self, author: Author, name: &str) -> Option<&Policy> {
        self.of(author).by_name.get(name)
    }

    /// Another policy, or none any more.
    pub(super) fn set(&mut self, author: Author, name: Name, policy: Option<Policy>) {
        self.merged.clear();
        let ranked = match author {
            Author::User => &mut self.user,
            Author::Operator => &mut self.operator,
        };
        match policy {
            Some(policy) => ranked.by_name.insert(name, policy),
            None => ranked.by_name.remove(&name),
        };
        let mut order: Vec<(&Name, i64)> = ranked
            .by_name
            .iter()
            .map(|(name, policy)| (name, policy.priority))
            .collect();
        order.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        ranked.order = order.into_iter().map(|(name, _)| name.clone()).collect();
    }

    /// What they set for a queue or an exchange; `None`: nothing matches.
    pub(super) fn applied(&mut self, thing: Thing<'_>) -> Option<Arc<Applied>> {
        let (user, operator) = (self.user.first(thing), self.operator.first(thing));
        let names = (
            user.map(|(name, _)| name.clone()),
            operator.map(|(name, _)| name.clone()),
        );
        if names == (None, None) {
            return None;
        }
        let merged = || {
            let of = |it: Option<(&Name, &Policy)>| it.map(|(_, policy)| policy.definition.clone());
            Arc::new(Applied {
                policy: names.0.clone(),
                operator_policy: names.1.clone(),
                definition: merge(of(user).unwrap_or_default(), of(operator).unwrap_or_default()),
            })
        };
        Some(Arc::clone(
            self.merged.entry(names.clone()).or_insert_with(merged),
        ))
    }
}

impl Ranked {
    fn first(&self, thing: Thing<'_>) -> Option<(&Name, &Policy)> {
        self.order
            .iter()
            .filter_map(|name| self.by_name.get_key_value(name))
            .find(|(_, policy)| policy.matches(thing))
    }
}

/// Both; of numbers that both have the lower.
fn merge(mut user: Settings, operator: Settings) -> Settings {
    for (name, limit) in operator {
        let lower = |value: &Value| value.as_i64() < limit.as_i64();
        if !user.get(&name).is_some_and(lower) {
            user.insert(name, limit);
        }
    }
    user
}
