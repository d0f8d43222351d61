//! Runtime parameters: settings of a vhost, or of the whole broker, that a component keeps here. What they mean is the
//! component's business; what cannot mean anything is refused here, in RabbitMQ 3.10's words.

use warren_amqp::ReplyCode;

use crate::json::{Value, term};
use crate::refusal::Refusal;

/// Upstreams of federation.
pub const FEDERATION_UPSTREAM: &str = "federation-upstream";
/// Sets of them.
pub const FEDERATION_UPSTREAM_SET: &str = "federation-upstream-set";
/// Shovels.
pub const SHOVEL: &str = "shovel";
/// Has one parameter, `limits`: those of the vhost.
pub const VHOST_LIMITS: &str = "vhost-limits";
/// Operator policies, by their names.
pub const OPERATOR_POLICY: &str = "operator_policy";

/// What is not there cannot be taken away.
pub(super) fn missing() -> Refusal {
    Refusal::new(ReplyCode::NotFound, "Parameter does not exist")
}

/// Can there be such a parameter?
pub(super) fn check(component: &str, name: &str, value: &Value) -> Result<(), Refusal> {
    let refused = |words: Vec<String>| match words.is_empty() {
        true => Ok(()),
        false => Err(Refusal::validation(words.join("\n"))),
    };
    let key_missing = |key: &str| {
        value
            .get(key)
            .is_none()
            .then(|| format!("Key \"{key}\" not found in {name}"))
    };
    match (component, value) {
        (FEDERATION_UPSTREAM, Value::Object(_)) => refused(
            key_missing("uri")
                .into_iter()
                .chain(bad_uri(value.get("uri")))
                .collect(),
        ),
        (FEDERATION_UPSTREAM_SET, Value::Array(upstreams)) => {
            let without = upstreams.iter().any(|one| one.get("upstream").is_none());
            refused(
                without
                    .then(|| format!("Key \"upstream\" not found in {name}"))
                    .into_iter()
                    .collect(),
            )
        }
        (SHOVEL, Value::Object(settings)) => {
            let source = ["src-exchange", "src-queue", "src-address"]
                .iter()
                .any(|key| settings.contains_key(*key));
            let words = (!source).then(|| "Must specify 'src-exchange' or 'src-queue'".to_owned());
            let words = words
                .into_iter()
                .chain(key_missing("dest-uri"))
                .chain(key_missing("src-uri"));
            refused(words.collect())
        }
        (FEDERATION_UPSTREAM | FEDERATION_UPSTREAM_SET | SHOVEL, other) => {
            Err(Refusal::validation(format_args!(
                "{name} should be a {}, actually was {}",
                shape(component),
                term(other)
            )))
        }
        ("policy" | OPERATOR_POLICY, _) => Err(Refusal::new(
            ReplyCode::PreconditionFailed,
            "policies may not be set using this method",
        )),
        _ => Err(Refusal::validation(format_args!(
            "component {component} not found"
        ))),
    }
}

const fn shape(component: &str) -> &'static str {
    match component.len() == FEDERATION_UPSTREAM_SET.len() {
        true => "list",
        false => "map",
    }
}

/// One address or a list of them, of AMQP.
fn bad_uri(uri: Option<&Value>) -> Option<String> {
    let one = |uri: &Value| match uri.as_str() {
        Some(text) if text.starts_with("amqp://") || text.starts_with("amqps://") => None,
        Some(text) => {
            let scheme = text.split(':').next().unwrap_or_default();
            Some(format!(
                "\"{text}\" not a valid URI: {{{{unexpected_uri_scheme,\"{scheme}\"}},\"{text}\"}}"
            ))
        }
        None => Some(format!("uri should be a string, actually was {}", term(uri))),
    };
    match uri? {
        Value::Array(uris) => uris.iter().find_map(one),
        uri => one(uri),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check;

    #[test]
    fn parameters_are_refused_in_rabbitmqs_words() {
        for (component, value, text) in [
            ("nocomp", json!(1), "component nocomp not found"),
            ("federation-upstream", json!({}), "Key \"uri\" not found in a"),
            (
                "federation-upstream",
                json!({"uri": "http://x"}),
                "\"http://x\" not a valid URI: {{unexpected_uri_scheme,\"http\"},\"http://x\"}",
            ),
            (
                "shovel",
                json!({}),
                "Must specify 'src-exchange' or 'src-queue'\nKey \"dest-uri\" not found in a\nKey \"src-uri\" not found in a",
            ),
        ] {
            assert_eq!(
                check(component, "a", &value).unwrap_err().text,
                format!("Validation failed\n\n{text}")
            );
        }
        let set = json!([{"upstream": "node1"}]);
        check("federation-upstream-set", "myset", &set).unwrap();
        let several = json!({"uri": ["amqp://one", "amqps://two"], "max-hops": 1});
        check("federation-upstream", "a", &several).unwrap();
    }
}
