//! Regular expressions of permissions and policies.
//!
//! They are those of Perl, since RabbitMQ's are: `^(?!amq\.).*` is in half of all policies. An expression that takes too many
//! steps on a name does not match it.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Steps that an expression may go back on one name.
const BACKTRACK_MAX: usize = 100_000;

/// A regular expression with its text. The empty one of a permission matches nothing but the empty name.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Not a regular expression.
#[derive(Debug, Error)]
#[error("{text:?} is not a regular expression: {why}")]
pub struct InvalidPattern {
    /// What was said.
    pub text: String,
    /// Where it goes wrong.
    pub why: String,
}

impl Pattern {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        // RabbitMQ reads an empty permission as "nothing": it becomes `^$`.
        let expression = if text.is_empty() { "^$" } else { text };
        RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_MAX)
            .build()
            .map(|regex| Self {
                text: text.to_owned(),
                regex,
            })
            .map_err(|error| InvalidPattern {
                text: text.to_owned(),
                why: error.to_string(),
            })
    }

    /// Does it match anywhere in the name?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }

    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_of_policies_may_look_ahead() {
        let pattern = Pattern::new(r"^(?!amq\.).*").unwrap();
        assert!(pattern.matches("orders"));
        assert!(!pattern.matches("amq.gen-1"));
    }

    #[test]
    fn an_empty_permission_is_none() {
        assert!(!Pattern::new("").unwrap().matches("orders"));
        assert!(Pattern::new("").unwrap().matches(""));
    }

    #[test]
    fn a_pattern_that_runs_away_matches_nothing() {
        let pattern = Pattern::new(r"^(a+)+(?=b)$").unwrap();
        assert!(!pattern.matches(&"a".repeat(200)));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_text() {
        let refused = Pattern::new("(").unwrap_err().to_string();
        assert!(
            refused.starts_with("\"(\" is not a regular expression: "),
            "{refused}"
        );
    }
}
