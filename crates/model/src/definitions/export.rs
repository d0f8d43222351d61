//! Definitions of what there is.

use serde_json::json;

use super::table::to_json;
use crate::json::{Settings, Value};
use crate::meta::{
    Author, Destination, Exchange, Meta, PasswordHash, Policy, Queue, Vhost, VhostLimits, parameters,
};
use crate::name::Name;

/// The release of RabbitMQ whose definitions these are.
const VERSION: &str = "3.10.8";

/// Definitions, and what they leave out.
#[derive(Clone, Debug)]
pub struct Export {
    /// As they are written into a file.
    pub definitions: Value,
    /// What cannot be carried, one line each: to be shown to whoever asked.
    pub lost: Vec<String>,
}

/// All of it.
#[must_use]
pub fn export(meta: &Meta) -> Export {
    let mut lost = Vec::new();
    let users: Vec<Value> = meta
        .users()
        .map(|(name, user)| {
            let kept = user.password.as_ref().filter(|kept| kept.travels());
            if user.password.as_ref().is_some_and(|kept| !kept.travels()) {
                lost.push(format!(
                    "user '{name}': the password is kept in a way that definitions cannot carry; set it again where they are imported"
                ));
            }
            json!({
                "name": &**name,
                "password_hash": kept.map_or("", |kept| &kept.hash),
                "hashing_algorithm": kept.map_or(PasswordHash::SHA256, |kept| &kept.algorithm),
                "tags": user.tags.iter().map(|tag| &**tag).collect::<Vec<&str>>(),
                "limits": user.limits.to_settings(),
            })
        })
        .collect();
    let permissions = meta.users().flat_map(|(user, it)| {
        it.permissions.iter().map(move |(vhost, permissions)| {
            json!({
                "user": &**user,
                "vhost": &**vhost,
                "configure": permissions.configure.as_str(),
                "write": permissions.write.as_str(),
                "read": permissions.read.as_str(),
            })
        })
    });
    let topic_permissions = meta.users().flat_map(|(user, it)| {
        it.topic_permissions
            .iter()
            .map(move |((vhost, exchange), permissions)| {
                json!({
                    "user": &**user,
                    "vhost": &**vhost,
                    "exchange": &**exchange,
                    "write": permissions.write.as_str(),
                    "read": permissions.read.as_str(),
                })
            })
    });
    let global = meta
        .parameters()
        .map(|(name, value)| json!({"name": &**name, "value": value}));
    let mut definitions = head();
    definitions.insert("users".into(), users.into());
    definitions.insert("vhosts".into(), meta.vhosts().map(describe).collect());
    definitions.insert("permissions".into(), permissions.collect());
    definitions.insert("topic_permissions".into(), topic_permissions.collect());
    definitions.insert("global_parameters".into(), global.collect());
    objects(&mut definitions, &meta.vhosts().collect::<Vec<_>>());
    Export {
        definitions: Value::Object(definitions),
        lost,
    }
}

/// Of one vhost: what is in it, without who may use it.
#[must_use]
pub fn export_vhost(name: &Name, vhost: &Vhost) -> Value {
    let mut definitions = Settings::new();
    definitions.insert("rabbit_version".into(), VERSION.into());
    objects(&mut definitions, &[(name, vhost)]);
    Value::Object(definitions)
}

fn head() -> Settings {
    let mut head = Settings::new();
    for (name, value) in [
        ("rabbit_version", VERSION),
        ("rabbitmq_version", VERSION),
        ("product_name", "RabbitMQ"),
        ("product_version", VERSION),
    ] {
        head.insert(name.into(), value.into());
    }
    head
}

/// RabbitMQ's default vhost is written without what is said of it, as there.
fn describe((name, vhost): (&Name, &Vhost)) -> Value {
    let mut it = Settings::new();
    it.insert("name".into(), (&**name).into());
    if !vhost.description.is_empty() || !vhost.tags.is_empty() || vhost.default_queue_type.is_some() {
        let tags: Vec<&str> = vhost.tags.iter().map(|tag| &**tag).collect();
        let mut metadata = Settings::new();
        metadata.insert("description".into(), vhost.description.as_str().into());
        metadata.insert("tags".into(), tags.into());
        if let Some(kind) = vhost.default_queue_type {
            metadata.insert("default_queue_type".into(), kind.as_str().into());
        }
        it.insert("metadata".into(), metadata.into());
    }
    Value::Object(it)
}

fn objects(definitions: &mut Settings, vhosts: &[(&Name, &Vhost)]) {
    let each = |list: fn(&Name, &Vhost) -> Vec<Value>| -> Value {
        vhosts
            .iter()
            .flat_map(|(name, vhost)| list(name, vhost))
            .collect()
    };
    definitions.insert("parameters".into(), each(parameters_of));
    definitions.insert("policies".into(), each(policies_of));
    definitions.insert("queues".into(), each(queues_of));
    definitions.insert("exchanges".into(), each(exchanges_of));
    definitions.insert("bindings".into(), each(bindings_of));
}

fn parameters_of(name: &Name, vhost: &Vhost) -> Vec<Value> {
    let one = |(component, parameter, value)| json!({"vhost": &**name, "component": component, "name": parameter, "value": value});
    parameters_in(vhost).into_iter().map(one).collect()
}

/// The parameters of a vhost as RabbitMQ sees them, by component and name: limits and operator policies are among them.
#[must_use]
pub fn parameters_in(vhost: &Vhost) -> Vec<(String, String, Value)> {
    let limits = (vhost.limits != VhostLimits::default()).then(|| {
        let limits = Value::Object(vhost.limits.to_settings());
        (parameters::VHOST_LIMITS.to_owned(), "limits".to_owned(), limits)
    });
    let operators = vhost.policies(Author::Operator).map(|(policy, it)| {
        let settings = Value::Object(policy_settings(it));
        (
            parameters::OPERATOR_POLICY.to_owned(),
            policy.to_string(),
            settings,
        )
    });
    let others = vhost
        .parameters()
        .map(|(component, name, value)| (component.to_string(), name.to_string(), value.clone()));
    limits.into_iter().chain(operators).chain(others).collect()
}

fn policy_settings(policy: &Policy) -> Settings {
    let mut settings = Settings::new();
    settings.insert("pattern".into(), policy.pattern.as_str().into());
    settings.insert("apply-to".into(), policy.apply_to.as_str().into());
    settings.insert("definition".into(), Value::Object(policy.definition.clone()));
    settings.insert("priority".into(), policy.priority.into());
    settings
}

fn policies_of(vhost: &Name, it: &Vhost) -> Vec<Value> {
    let policies = it.policies(Author::User).map(|(name, policy)| {
        let mut settings = policy_settings(policy);
        settings.insert("vhost".into(), (&**vhost).into());
        settings.insert("name".into(), (&**name).into());
        Value::Object(settings)
    });
    policies.collect()
}

/// Exclusive queues are their connection's, which is not defined here.
fn queues_of(vhost: &Name, it: &Vhost) -> Vec<Value> {
    let queue = |(name, queue): (&Name, &Queue)| {
        json!({
            "name": &**name,
            "vhost": &**vhost,
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "arguments": to_json(&queue.arguments),
        })
    };
    it.queues()
        .filter(|(_, queue)| queue.exclusive.is_none())
        .map(queue)
        .collect()
}

fn exchanges_of(vhost: &Name, it: &Vhost) -> Vec<Value> {
    let exchange = |(name, exchange): (&Name, &Exchange)| {
        json!({
            "name": &**name,
            "vhost": &**vhost,
            "type": exchange.kind.name(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": to_json(&exchange.arguments),
        })
    };
    it.exchanges()
        .filter(|(name, _)| !name.is_empty() && !name.starts_with("amq."))
        .map(exchange)
        .collect()
}

fn bindings_of(vhost: &Name, it: &Vhost) -> Vec<Value> {
    let is_own = |name: &Name| it.queue(name).is_some_and(|queue| queue.exclusive.is_some());
    it.bindings()
        .filter(|binding| !binding.source.is_empty())
        .filter_map(|binding| {
            let (kind, destination) = match &binding.destination {
                Destination::Queue(name) if is_own(name) => return None,
                Destination::Queue(name) => ("queue", name),
                Destination::Exchange(name) => ("exchange", name),
            };
            Some(json!({
                "source": &*binding.source,
                "vhost": &**vhost,
                "destination": &**destination,
                "destination_type": kind,
                "routing_key": &*binding.key,
                "arguments": to_json(&binding.arguments),
            }))
        })
        .collect()
}
