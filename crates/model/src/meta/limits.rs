//! How much of something a vhost or a user may have. A negative number is no limit.

use serde::{Deserialize, Serialize};

use crate::json::{Settings, Value, term};
use crate::refusal::Refusal;

/// Limits of a vhost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostLimits {
    /// `max-connections`
    pub connections: Option<i64>,
    /// `max-queues`
    pub queues: Option<i64>,
}

/// Limits of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLimits {
    /// `max-connections`
    pub connections: Option<i64>,
    /// `max-channels`
    pub channels: Option<i64>,
}

/// What is different in the limits of a user: a limit, or `None` for none any more. What is not said stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitChanges {
    /// `max-connections`
    pub connections: Option<Option<i64>>,
    /// `max-channels`
    pub channels: Option<Option<i64>>,
}

/// With so many, may there be another one? Says the limit if not.
#[must_use]
pub fn reached(limit: Option<i64>, count: usize) -> Option<i64> {
    limit.filter(|limit| usize::try_from(*limit).is_ok_and(|limit| count >= limit))
}

impl VhostLimits {
    /// As operators say them: `{"max-connections": 256, "max-queues": -1}`.
    ///
    /// # Errors
    /// Something else is said.
    pub fn parse(said: &Settings) -> Result<Self, Refusal> {
        let [connections, queues] =
            numbers(said, ["max-connections", "max-queues"], "limits").map_err(Refusal::validation)?;
        Ok(Self { connections, queues })
    }

    /// As operators say them.
    #[must_use]
    pub fn to_settings(self) -> Settings {
        settings([("max-connections", self.connections), ("max-queues", self.queues)])
    }
}

impl LimitChanges {
    /// None is left.
    pub const NO_LIMITS: Self = Self {
        connections: Some(None),
        channels: Some(None),
    };

    /// As operators say them: `{"max-connections": 2, "max-channels": 5}`.
    ///
    /// # Errors
    /// Something else is said.
    pub fn parse(said: &Settings) -> Result<Self, Refusal> {
        let [connections, channels] = numbers(said, ["max-connections", "max-channels"], "user-limits")
            .map_err(|text| Refusal::new(warren_amqp::ReplyCode::PreconditionFailed, text))?;
        Ok(Self {
            connections: connections.map(Some),
            channels: channels.map(Some),
        })
    }

    /// Those limits, changed.
    #[must_use]
    pub fn of(self, known: UserLimits) -> UserLimits {
        UserLimits {
            connections: self.connections.unwrap_or(known.connections),
            channels: self.channels.unwrap_or(known.channels),
        }
    }
}

impl UserLimits {
    /// As operators say them.
    #[must_use]
    pub fn to_settings(self) -> Settings {
        settings([
            ("max-channels", self.channels),
            ("max-connections", self.connections),
        ])
    }
}

fn settings(limits: [(&str, Option<i64>); 2]) -> Settings {
    let said = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?))));
    said.collect()
}

fn numbers(said: &Settings, names: [&str; 2], what: &str) -> Result<[Option<i64>; 2], String> {
    let unknown: Vec<String> = said
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()))
        .map(|(name, value)| format!("{{<<{name:?}>>,{}}}", term(value)))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("Unrecognised terms [{}] in {what}", unknown.join(",")));
    }
    let mut numbers = [None; 2];
    for (number, name) in numbers.iter_mut().zip(names) {
        if let Some(value) = said.get(name) {
            let said = value.as_i64();
            *number =
                Some(said.ok_or_else(|| format!("{name} should be a number, actually was {}", term(value)))?);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{LimitChanges, UserLimits, VhostLimits, reached};

    #[test]
    fn limits_are_refused_in_rabbitmqs_words() {
        for (said, text) in [
            (
                json!({"max-foo": 7}),
                "Validation failed\n\nUnrecognised terms [{<<\"max-foo\">>,7}] in limits",
            ),
            (
                json!({"max-queues": "x"}),
                "Validation failed\n\nmax-queues should be a number, actually was <<\"x\">>",
            ),
        ] {
            assert_eq!(
                VhostLimits::parse(said.as_object().unwrap()).unwrap_err().text,
                text
            );
        }
        let said = json!({"max-channels": "x"});
        assert_eq!(
            LimitChanges::parse(said.as_object().unwrap()).unwrap_err().text,
            "max-channels should be a number, actually was <<\"x\">>"
        );
    }

    #[test]
    fn limits_of_a_user_are_added_to_each_other() {
        let channels = json!({"max-channels": 7});
        let connections = json!({"max-connections": 2});
        let limits = [channels, connections]
            .iter()
            .fold(UserLimits::default(), |known, said| {
                LimitChanges::parse(said.as_object().unwrap()).unwrap().of(known)
            });
        assert_eq!((limits.connections, limits.channels), (Some(2), Some(7)));
        let fewer = LimitChanges {
            channels: Some(None),
            ..LimitChanges::default()
        };
        assert_eq!(
            fewer.of(limits).to_settings(),
            *json!({"max-connections": 2}).as_object().unwrap()
        );
        assert_eq!(LimitChanges::NO_LIMITS.of(limits), UserLimits::default());
    }

    #[test]
    fn zero_lets_nobody_in_and_less_lets_everybody() {
        assert_eq!(reached(Some(0), 0), Some(0));
        assert_eq!(reached(Some(2), 1), None);
        assert_eq!(reached(Some(2), 2), Some(2));
        assert_eq!(reached(Some(-1), 1000), None);
        assert_eq!(reached(None, 1000), None);
    }
}
