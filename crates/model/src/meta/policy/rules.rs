//! Which settings policies may have, with which values, and what RabbitMQ 3.10 says of others.

use super::Author;
use crate::json::{Settings, Value, term};
use crate::refusal::Refusal;

/// What is wrong with a setting: its value in the first place, then these words.
type Rule = (&'static str, fn(&Value) -> bool, &'static str);

const RULES: &[Rule] = &[
    (
        "alternate-exchange",
        Value::is_string,
        "is not a valid alternate exchange name",
    ),
    (
        "dead-letter-exchange",
        Value::is_string,
        "is not a valid dead letter exchange name",
    ),
    (
        "dead-letter-routing-key",
        Value::is_string,
        "is not a valid dead letter routing key",
    ),
    (
        "dead-letter-strategy",
        is_strategy,
        "is not a valid dead letter strategy",
    ),
    ("delivery-limit", is_count, "is not a valid delivery limit"),
    ("expires", is_positive, "is not a valid queue expiry"),
    (
        "federation-upstream",
        Value::is_string,
        "is not a valid federation upstream name",
    ),
    (
        "federation-upstream-pattern",
        Value::is_string,
        "is not a valid federation upstream pattern name",
    ),
    (
        "federation-upstream-set",
        Value::is_string,
        "is not a valid federation upstream set name",
    ),
    ("initial-cluster-size", is_count, "is not a valid cluster size"),
    ("max-age", is_age, "is not a valid max age"),
    (
        "max-in-memory-bytes",
        is_count,
        "is not a valid maximum memory in bytes",
    ),
    (
        "max-in-memory-length",
        is_count,
        "is not a valid maximum memory in bytes",
    ),
    ("max-length", is_count, "is not a valid maximum length"),
    (
        "max-length-bytes",
        is_count,
        "is not a valid maximum length in bytes",
    ),
    ("message-ttl", is_count, "is not a valid message TTL"),
    ("overflow", is_overflow, "is not a valid overflow value"),
    (
        "queue-leader-locator",
        is_leader_locator,
        "is not a valid queue leader locator value",
    ),
    (
        "queue-master-locator",
        is_master_locator,
        "invalid queue-master-locator value",
    ),
    ("queue-mode", is_mode, "is not a valid queue-mode value"),
    ("queue-version", is_version, "is not a valid queue-version value"),
    (
        "stream-max-segment-size-bytes",
        is_count,
        "is not a valid segment size",
    ),
];

/// What operators may set: limits.
const OPERATOR: [&str; 7] = [
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
];

/// Mirrored queues had these. They are kept and shown; where queues are replicated they say how often.
const MIRRORS: [&str; 6] = [
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-sync-batch-size",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
];

pub(super) fn check(author: Author, definition: &Settings) -> Result<(), Refusal> {
    if definition.is_empty() {
        return Err(Refusal::validation("no policy provided"));
    }
    let known = |name: &str| match author {
        Author::User => RULES.iter().any(|(known, ..)| *known == name) || MIRRORS.contains(&name),
        Author::Operator => OPERATOR.contains(&name),
    };
    for (name, value) in definition.iter().filter(|(name, _)| known(name)) {
        let rule = RULES.iter().find(|(known, ..)| known == name);
        if let Some((_, valid, words)) = rule
            && !valid(value)
        {
            return Err(Refusal::validation(format_args!("{} {words}", term(value))));
        }
    }
    if author == Author::User {
        check_mirrors(definition)?;
        check_federation(definition)?;
    }
    let unknown: Vec<String> = definition
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, value)| format!("{{<<{name:?}>>,{}}}", term(value)))
        .collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Refusal::validation(format_args!(
            "[{}] are not recognised policy settings",
            unknown.join(",")
        ))),
    }
}

/// RabbitMQ does not apply a policy that says anything of mirrors or of how a queue lies in memory to quorum queues.
pub(super) fn is_for_mirrors(definition: &Settings) -> bool {
    definition
        .keys()
        .any(|name| MIRRORS.contains(&name.as_str()) || NOT_FOR_QUORUM.contains(&name.as_str()))
}

const NOT_FOR_QUORUM: [&str; 3] = ["queue-mode", "queue-version", "queue-master-locator"];

fn check_mirrors(definition: &Settings) -> Result<(), Refusal> {
    let said = |name: &str| definition.get(name);
    let Some(mode) = said("ha-mode") else {
        return match MIRRORS.iter().any(|name| said(name).is_some()) {
            false => Ok(()),
            true => Err(Refusal::validation(
                "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
            )),
        };
    };
    let params = said("ha-params");
    let shown = || params.map_or_else(|| "none".to_owned(), term);
    match (mode.as_str(), params) {
        (Some("all"), None) => {}
        (Some("all"), Some(_)) => {
            return Err(Refusal::validation("ha-mode=\"all\" does not take parameters"));
        }
        (Some("exactly"), Some(count)) if is_positive(count) => {}
        (Some("exactly"), _) => {
            return Err(Refusal::validation(format_args!(
                "ha-mode=\"exactly\" takes an integer, {} given",
                shown()
            )));
        }
        (Some("nodes"), Some(Value::Array(nodes))) => check_nodes(nodes)?,
        (Some("nodes"), _) => {
            return Err(Refusal::validation(format_args!(
                "ha-mode=\"nodes\" takes a list, {} given",
                shown()
            )));
        }
        _ => {
            return Err(Refusal::validation(format_args!(
                "{} is not a valid ha-mode value",
                term(mode)
            )));
        }
    }
    check_word(definition, "ha-sync-mode", ["manual", "automatic"])?;
    if let Some(size) = said("ha-sync-batch-size")
        && !is_positive(size)
    {
        return Err(Refusal::validation(format_args!(
            "ha-sync-batch-size takes an integer greater than 0, {} given",
            term(size)
        )));
    }
    check_word(definition, "ha-promote-on-shutdown", ["always", "when-synced"])?;
    check_word(definition, "ha-promote-on-failure", ["always", "when-synced"])
}

fn check_nodes(nodes: &[Value]) -> Result<(), Refusal> {
    if nodes.is_empty() {
        return Err(Refusal::validation("ha-mode=\"nodes\" list must be non-empty"));
    }
    let others: Vec<String> = nodes.iter().filter(|node| !node.is_string()).map(term).collect();
    match others.is_empty() {
        true => Ok(()),
        false => Err(Refusal::validation(format_args!(
            "ha-mode=\"nodes\" takes a list of strings, [{}] was not a string",
            others.join(",")
        ))),
    }
}

fn check_word(definition: &Settings, name: &str, words: [&str; 2]) -> Result<(), Refusal> {
    let Some(value) = definition.get(name) else {
        return Ok(());
    };
    match value.as_str().is_some_and(|word| words.contains(&word)) {
        true => Ok(()),
        false => Err(Refusal::validation(format_args!(
            "{name} must be \"{}\" or \"{}\", got {}",
            words[0],
            words[1],
            term(value)
        ))),
    }
}

fn check_federation(definition: &Settings) -> Result<(), Refusal> {
    let ways = [
        "federation-upstream",
        "federation-upstream-set",
        "federation-upstream-pattern",
    ];
    if ways.iter().filter(|name| definition.contains_key(**name)).count() > 1 {
        return Err(Refusal::validation(
            "cannot specify federation-upstream, federation-upstream-set or federation-upstream-pattern together",
        ));
    }
    let pattern = definition
        .get("federation-upstream-pattern")
        .and_then(Value::as_str);
    match pattern.map(crate::pattern::Pattern::new) {
        Some(Err(error)) => Err(Refusal::validation(format_args!(
            "could not compile pattern {} to a regular expression. Error: {{\"{}\",0}}",
            error.text, error.why
        ))),
        Some(Ok(_)) | None => Ok(()),
    }
}

fn is_count(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| number >= 0)
}

fn is_positive(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| number > 0)
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.contains(&word))
}

fn is_strategy(value: &Value) -> bool {
    is_one_of(value, &["at-most-once", "at-least-once"])
}

fn is_overflow(value: &Value) -> bool {
    is_one_of(value, &["drop-head", "reject-publish", "reject-publish-dlx"])
}

fn is_mode(value: &Value) -> bool {
    is_one_of(value, &["default", "lazy"])
}

fn is_version(value: &Value) -> bool {
    matches!(value.as_i64(), Some(1 | 2))
}

fn is_leader_locator(value: &Value) -> bool {
    is_one_of(value, &["client-local", "balanced", "least-leaders", "random"])
}

fn is_master_locator(value: &Value) -> bool {
    is_one_of(value, &["client-local", "min-masters", "random"])
}

/// A number with a letter: years, months, days, hours, minutes, seconds.
fn is_age(value: &Value) -> bool {
    let number = value
        .as_str()
        .and_then(|age| age.strip_suffix(['Y', 'M', 'D', 'h', 'm', 's']));
    number.is_some_and(|number| number.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Author, check};

    fn refused(author: Author, definition: &Value) -> String {
        check(author, definition.as_object().unwrap()).unwrap_err().text
    }

    #[test]
    fn what_cannot_be_set_is_refused_in_rabbitmqs_words() {
        for (definition, text) in [
            (json!({}), "no policy provided"),
            (json!({"max-length": -1}), "-1 is not a valid maximum length"),
            (json!({"max-length": 1.5}), "1.5 is not a valid maximum length"),
            (
                json!({"max-length": {"a": 1}}),
                r#"#{<<"a">> => 1} is not a valid maximum length"#,
            ),
            (
                json!({"max-length": -1, "expires": 0}),
                "0 is not a valid queue expiry",
            ),
            (
                json!({"alternate-exchange": []}),
                "[] is not a valid alternate exchange name",
            ),
            (
                json!({"queue-master-locator": "x"}),
                r#"<<"x">> invalid queue-master-locator value"#,
            ),
            (
                json!({"overflow": "x"}),
                r#"<<"x">> is not a valid overflow value"#,
            ),
            (json!({"max-age": "5x"}), r#"<<"5x">> is not a valid max age"#),
            (
                json!({"no-such": "all"}),
                r#"[{<<"no-such">>,<<"all">>}] are not recognised policy settings"#,
            ),
            (
                json!({"a": 1, "b": "x", "max-length": -1}),
                "-1 is not a valid maximum length",
            ),
            (json!({"ha-mode": "x"}), r#"<<"x">> is not a valid ha-mode value"#),
            (
                json!({"ha-mode": "exactly"}),
                r#"ha-mode="exactly" takes an integer, none given"#,
            ),
            (
                json!({"ha-mode": "exactly", "ha-params": 0}),
                r#"ha-mode="exactly" takes an integer, 0 given"#,
            ),
            (
                json!({"ha-mode": "nodes", "ha-params": []}),
                r#"ha-mode="nodes" list must be non-empty"#,
            ),
            (
                json!({"ha-mode": "nodes", "ha-params": ["a", 1]}),
                r#"ha-mode="nodes" takes a list of strings, [1] was not a string"#,
            ),
            (
                json!({"ha-mode": "all", "ha-params": 3}),
                r#"ha-mode="all" does not take parameters"#,
            ),
            (
                json!({"ha-mode": "all", "ha-sync-mode": "x"}),
                r#"ha-sync-mode must be "manual" or "automatic", got <<"x">>"#,
            ),
            (
                json!({"ha-sync-mode": "automatic"}),
                "ha-mode must be specified to specify ha-params, ha-sync-mode or ha-promote-on-shutdown",
            ),
            (
                json!({"federation-upstream": "a", "federation-upstream-set": "b"}),
                "cannot specify federation-upstream, federation-upstream-set or federation-upstream-pattern together",
            ),
        ] {
            assert_eq!(
                refused(Author::User, &definition),
                format!("Validation failed\n\n{text}"),
                "{definition}"
            );
        }
    }

    #[test]
    fn operators_set_limits_only() {
        let text = refused(Author::Operator, &json!({"ha-mode": "all"}));
        assert_eq!(
            text,
            "Validation failed\n\n[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings"
        );
        check(Author::Operator, json!({"max-length": 5}).as_object().unwrap()).unwrap();
    }

    #[test]
    fn what_tutorials_set_is_taken() {
        for definition in [
            json!({"ha-mode": "all"}),
            json!({"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic"}),
            json!({"ha-mode": "nodes", "ha-params": ["rabbit@one"], "queue-master-locator": "min-masters"}),
            json!({"federation-upstream-set": "all"}),
            json!({"dead-letter-exchange": "", "dead-letter-routing-key": "k", "queue-mode": "lazy"}),
            json!({"message-ttl": 0, "max-length": 0, "delivery-limit": 0, "expires": 1, "max-age": "5m"}),
        ] {
            check(Author::User, definition.as_object().unwrap()).unwrap();
        }
    }
}
