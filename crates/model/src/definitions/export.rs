//! Definitions of what there is.
//!
//! It may be very much, and is looked at in pieces, between which it may change. What is there from the first piece to the last comes
//! exactly once; what comes or goes meanwhile may be in it or not, a binding that comes again with its queue also twice. Nothing is in it without what it needs: a binding not without both of
//! its ends, a permission not without its vhost.

use std::collections::HashSet;

use serde_json::json;

use super::table::to_json;
use crate::json::{Settings, Value};
use crate::meta::{
    Author, Binding, Destination, Exchange, Meta, PasswordHash, Policy, Queue, Vhost, VhostLimits, parameters,
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

/// What is asked once for each piece, and may be another one each time.
pub trait Look {
    /// Looks at the metadata. Short: everybody else waits.
    fn look<T>(&self, look: impl FnOnce(&Meta) -> T) -> T;
}

impl Look for Meta {
    fn look<T>(&self, look: impl FnOnce(&Self) -> T) -> T {
        look(self)
    }
}

/// All of it.
#[must_use]
pub fn export(from: &impl Look) -> Export {
    let vhosts = in_pieces(from, |meta, last| {
        let piece = meta.vhosts_behind(last).take(PIECE);
        let piece = piece.map(|(name, vhost)| (name.clone(), (name.clone(), describe(name, vhost))));
        piece.collect()
    });
    let (names, vhosts): (Vec<Name>, Vec<Value>) = vhosts.into_iter().unzip();
    let mut definitions = head();
    let lost = users(&mut definitions, from, &names.iter().collect());
    definitions.insert("vhosts".into(), vhosts.into());
    let global = from.look(|meta| {
        let parameters = meta.parameters();
        let parameters = parameters.map(|(name, value)| json!({"name": &**name, "value": value}));
        parameters.collect()
    });
    definitions.insert("global_parameters".into(), global);
    objects(&mut definitions, from, &names);
    Export {
        definitions: Value::Object(definitions),
        lost,
    }
}

/// Of one vhost: what is in it, without who may use it. `None`: there is no such vhost.
#[must_use]
pub fn export_vhost(from: &impl Look, name: &str) -> Option<Value> {
    let name = from.look(|meta| meta.vhost_entry(name).map(|(name, _)| name.clone()))?;
    let mut definitions = Settings::new();
    definitions.insert("rabbit_version".into(), VERSION.into());
    objects(&mut definitions, from, &[name]);
    Some(Value::Object(definitions))
}

/// Things that are looked at together: a fraction of a millisecond. Few in tests, so that little is much.
const PIECE: usize = if cfg!(test) { 2 } else { 128 };

/// All things, each piece of them behind the last place of the one before.
fn in_pieces<P, T>(from: &impl Look, piece: impl Fn(&Meta, Option<&P>) -> Vec<(P, T)>) -> Vec<T> {
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let (mut places, things): (Vec<P>, Vec<T>) =
            from.look(|meta| piece(meta, last.as_ref())).into_iter().unzip();
        all.extend(things);
        match places.pop() {
            Some(place) => last = Some(place),
            None => return all,
        }
    }
}

/// The same of a vhost, if it is still there.
fn of_vhost<P, T>(
    from: &impl Look,
    name: &Name,
    piece: impl Fn(&Vhost, Option<&P>) -> Vec<(P, T)>,
) -> Vec<T> {
    in_pieces(from, |meta, last| {
        meta.vhost(name)
            .map(|vhost| piece(vhost, last))
            .unwrap_or_default()
    })
}

/// Users and what they may do in these vhosts. Gives what is lost of them.
fn users(definitions: &mut Settings, from: &impl Look, vhosts: &HashSet<&Name>) -> Vec<String> {
    let all = in_pieces(from, |meta, last| {
        let piece = meta.users_behind(last).take(PIECE);
        let piece = piece.map(|(name, user)| (name.clone(), (name.clone(), user.clone())));
        piece.collect()
    });
    let (mut users, mut permissions, mut topics, mut lost) = (vec![], vec![], vec![], vec![]);
    for (name, user) in &all {
        let kept = user.password.as_ref().filter(|kept| kept.travels());
        if user.password.as_ref().is_some_and(|kept| !kept.travels()) {
            lost.push(format!(
                "user '{name}': the password is kept in a way that definitions cannot carry; set it again where they are imported"
            ));
        }
        users.push(json!({
            "name": &**name,
            "password_hash": kept.map_or("", |kept| &kept.hash),
            "hashing_algorithm": kept.map_or(PasswordHash::SHA256, |kept| &kept.algorithm),
            "tags": user.tags.iter().map(|tag| &**tag).collect::<Vec<&str>>(),
            "limits": user.limits.to_settings(),
        }));
        let said = user
            .permissions
            .iter()
            .filter(|(vhost, _)| vhosts.contains(vhost));
        permissions.extend(said.map(|(vhost, permissions)| {
            json!({
                "user": &**name,
                "vhost": &**vhost,
                "configure": permissions.configure.as_str(),
                "write": permissions.write.as_str(),
                "read": permissions.read.as_str(),
            })
        }));
        let said = user.topic_permissions.iter();
        let said = said.filter(|((vhost, _), _)| vhosts.contains(vhost));
        topics.extend(said.map(|((vhost, exchange), permissions)| {
            json!({
                "user": &**name,
                "vhost": &**vhost,
                "exchange": &**exchange,
                "write": permissions.write.as_str(),
                "read": permissions.read.as_str(),
            })
        }));
    }
    definitions.insert("users".into(), users.into());
    definitions.insert("permissions".into(), permissions.into());
    definitions.insert("topic_permissions".into(), topics.into());
    lost
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
fn describe(name: &Name, vhost: &Vhost) -> Value {
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

fn objects(definitions: &mut Settings, from: &impl Look, vhosts: &[Name]) {
    let (mut parameters, mut policies) = (vec![], vec![]);
    let (mut queues, mut exchanges, mut bindings) = (vec![], vec![], vec![]);
    for name in vhosts {
        let said = from.look(|meta| {
            let vhost = meta.vhost(name)?;
            Some((parameters_of(name, vhost), policies_of(name, vhost)))
        });
        let (of_vhost, policies_of_vhost) = said.unwrap_or_default();
        parameters.extend(of_vhost);
        policies.extend(policies_of_vhost);
        let mut ends = HashSet::new();
        queues.extend(queues_of(from, name, &mut ends));
        exchanges.extend(exchanges_of(from, name, &mut ends));
        bindings.extend(bindings_of(from, name, &ends));
    }
    definitions.insert("parameters".into(), parameters.into());
    definitions.insert("policies".into(), policies.into());
    definitions.insert("queues".into(), queues.into());
    definitions.insert("exchanges".into(), exchanges.into());
    definitions.insert("bindings".into(), bindings.into());
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
fn queues_of(from: &impl Look, vhost: &Name, ends: &mut HashSet<Destination>) -> Vec<Value> {
    let json = |name: &Name, queue: &Queue| {
        json!({
            "name": &**name,
            "vhost": &**vhost,
            "durable": queue.durable,
            "auto_delete": queue.auto_delete,
            "arguments": to_json(&queue.arguments),
        })
    };
    let all = of_vhost(from, vhost, |it, last| {
        let piece = it.queues_behind(last).take(PIECE);
        let piece = piece.map(|(name, queue)| {
            let is_defined = queue.exclusive.is_none();
            (
                name.clone(),
                is_defined.then(|| (name.clone(), json(name, queue))),
            )
        });
        piece.collect()
    });
    let all = all.into_iter().flatten().map(|(name, json)| {
        ends.insert(Destination::Queue(name));
        json
    });
    all.collect()
}

fn exchanges_of(from: &impl Look, vhost: &Name, ends: &mut HashSet<Destination>) -> Vec<Value> {
    let json = |name: &Name, exchange: &Exchange| {
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
    let all = of_vhost(from, vhost, |it, last| {
        let piece = it.exchanges_behind(last).take(PIECE);
        let piece = piece.map(|(name, exchange)| (name.clone(), (name.clone(), json(name, exchange))));
        piece.collect()
    });
    // Who binds to the default exchange is refused, and those of ours are everywhere.
    let all = all.into_iter().filter(|(name, _)| !name.is_empty());
    let all = all.filter_map(|(name, json)| {
        let is_ours = name.starts_with("amq.");
        ends.insert(Destination::Exchange(name));
        (!is_ours).then_some(json)
    });
    all.collect()
}

/// Those that nobody made lead from the default exchange, which is no end.
fn bindings_of(from: &impl Look, vhost: &Name, ends: &HashSet<Destination>) -> Vec<Value> {
    let json = |binding: &Binding| {
        let (kind, destination) = match &binding.destination {
            Destination::Queue(name) => ("queue", name),
            Destination::Exchange(name) => ("exchange", name),
        };
        json!({
            "source": &*binding.source,
            "vhost": &**vhost,
            "destination": &**destination,
            "destination_type": kind,
            "routing_key": &*binding.key,
            "arguments": to_json(&binding.arguments),
        })
    };
    let is_whole = |binding: &Binding| {
        ends.contains(&binding.destination) && ends.contains(&Destination::Exchange(binding.source.clone()))
    };
    let all = of_vhost(from, vhost, |it, last| {
        let piece = it.bindings_behind(last).take(PIECE);
        let piece = piece.map(|(place, binding)| {
            let json = binding.filter(is_whole).map(|binding| json(&binding));
            (place, json)
        });
        piece.collect()
    });
    all.into_iter().flatten().collect()
}
