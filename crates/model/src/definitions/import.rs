//! Definitions that somebody wrote: RabbitMQ's own files of all versions that are still about, with what is odd in them.
//!
//! - tags are a list, or words between commas;
//! - an object is an object, or a list of pairs: `rabbitmqctl` of 3.10 writes some so;
//! - limits of a vhost are a parameter, or stand with the vhost;
//! - operator policies are parameters;
//! - a hash without the name of an algorithm is MD5.

use super::{Definitions, InvalidDefinitions, from_json};
use crate::json::{Settings, Value};
use crate::meta::{
    ApplyTo, Author, Binding, Command, Destination, LimitChanges, PasswordHash, Permissions, Policy,
    TopicPermissions, UserLimits, VhostLimits, parameters,
};
use crate::name::Name;
use crate::pattern::Pattern;
use crate::routing::Kind;

/// An object, and what is wrong with it.
type Object<T> = Result<T, String>;
/// The commands that an object is, and what it is called in refusals.
type Reading<'a> = dyn FnMut(&Fields<'_>, &mut Vec<Command>) -> Object<String> + 'a;

pub(super) fn read(
    text: &str,
    into: Option<&Name>,
    hash: &mut dyn FnMut(&str) -> PasswordHash,
) -> Result<Definitions, InvalidDefinitions> {
    let json: Value =
        serde_json::from_str(text).map_err(|error| InvalidDefinitions::NotJson(error.to_string()))?;
    let Value::Object(file) = json else {
        return Err(InvalidDefinitions::NotAnObject);
    };
    let mut definitions = Definitions::default();
    // What others need comes first.
    let lists: [(&'static str, &mut Reading<'_>); 10] = [
        ("users", &mut |fields, out| user(fields, out, hash)),
        ("vhosts", &mut vhost),
        ("permissions", &mut permissions),
        ("topic_permissions", &mut topic_permissions),
        ("parameters", &mut parameter),
        ("global_parameters", &mut global_parameter),
        ("policies", &mut policy),
        ("queues", &mut queue),
        ("exchanges", &mut exchange),
        ("bindings", &mut binding),
    ];
    for (list, read) in lists {
        let objects = match file.get(list) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(objects)) => objects,
            Some(_) => return Err(InvalidDefinitions::NotAList(list)),
        };
        for (index, object) in objects.iter().enumerate() {
            let fields = object
                .as_object()
                .ok_or(InvalidDefinitions::NotAList(list))
                .map(|said| Fields { said, into })?;
            let mut commands = Vec::new();
            let object = read(&fields, &mut commands).map_err(|why| InvalidDefinitions::Object {
                object: fields.called(list, index),
                why,
            })?;
            definitions
                .commands
                .extend(commands.into_iter().map(|command| (object.clone(), command)));
        }
    }
    Ok(definitions)
}

/// An object of a list.
struct Fields<'a> {
    said: &'a Settings,
    /// The vhost of all that names none.
    into: Option<&'a Name>,
}

impl Fields<'_> {
    /// What it is called before it is known to be right.
    fn called(&self, list: &str, index: usize) -> String {
        let text = |key: &str| self.said.get(key).and_then(Value::as_str);
        match (text("name").or_else(|| text("user")), text("vhost")) {
            (Some(name), Some(vhost)) => format!("{list}[{index}] ('{name}' in vhost '{vhost}')"),
            (Some(name), None) => format!("{list}[{index}] ('{name}')"),
            (None, _) => format!("{list}[{index}]"),
        }
    }

    fn text(&self, key: &str) -> Object<&str> {
        match self.said.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(format!("\"{key}\" is {}, expected a text", kind(other))),
            None => Err(format!("\"{key}\" is missing")),
        }
    }

    fn text_or<'a>(&'a self, key: &str, default: &'a str) -> Object<&'a str> {
        match self.said.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.text(key),
        }
    }

    fn name(&self, key: &str) -> Object<Name> {
        Name::try_from(self.text(key)?).map_err(|error| format!("\"{key}\": {error}"))
    }

    fn vhost(&self) -> Object<Name> {
        match (self.said.get("vhost"), self.into) {
            (None, Some(into)) => Ok(into.clone()),
            _ => self.name("vhost"),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Object<bool> {
        match self.said.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(format!("\"{key}\" is {}, expected true or false", kind(other))),
        }
    }

    fn object(&self, key: &str) -> Object<Settings> {
        match self.said.get(key) {
            None | Some(Value::Null) => Ok(Settings::new()),
            Some(value) => {
                object(value).ok_or_else(|| format!("\"{key}\" is {}, expected an object", kind(value)))
            }
        }
    }

    fn pattern(&self, key: &str) -> Object<Pattern> {
        Pattern::new(self.text(key)?).map_err(|error| format!("\"{key}\": {error}"))
    }

    fn words(&self, key: &str) -> Object<Vec<Name>> {
        let wrong = |other: &Value| format!("\"{key}\" is {}, expected a list of texts", kind(other));
        let words: Vec<&str> = match self.said.get(key) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(words)) => words.split(',').collect(),
            Some(Value::Array(words)) => words
                .iter()
                .map(|word| word.as_str().ok_or_else(|| wrong(word)))
                .collect::<Result<_, _>>()?,
            Some(other) => return Err(wrong(other)),
        };
        let names = words.into_iter().map(str::trim).filter(|word| !word.is_empty());
        names
            .map(|word| Name::try_from(word).map_err(|error| format!("\"{key}\": {error}")))
            .collect()
    }
}

/// An object, or what `rabbitmqctl` makes of one: a list of pairs.
fn object(value: &Value) -> Option<Settings> {
    match value {
        Value::Object(object) => Some(object.clone()),
        Value::Array(pairs) => pairs
            .iter()
            .map(|pair| match pair.as_array()?.as_slice() {
                [Value::String(name), value] => Some((name.clone(), value.clone())),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn user(
    fields: &Fields<'_>,
    out: &mut Vec<Command>,
    hash: &mut dyn FnMut(&str) -> PasswordHash,
) -> Object<String> {
    let name = fields.name("name")?;
    let password = match fields.said.get("password") {
        Some(_) => Some(hash(fields.text("password")?)).filter(|_| fields.text("password") != Ok("")),
        None => {
            let kept = PasswordHash {
                algorithm: fields.text_or("hashing_algorithm", PasswordHash::MD5)?.to_owned(),
                hash: fields.text_or("password_hash", "")?.to_owned(),
            };
            (!kept.hash.is_empty()).then_some(kept)
        }
    };
    if let Some(kept) = &password
        && ![
            PasswordHash::MD5,
            PasswordHash::SHA256,
            PasswordHash::SHA512,
            PasswordHash::ARGON2ID,
        ]
        .contains(&kept.algorithm.as_str())
    {
        return Err(format!(
            "\"hashing_algorithm\": nobody knows {:?}",
            kept.algorithm
        ));
    }
    let said = LimitChanges::parse(&fields.object("limits")?).map_err(|refusal| refusal.text)?;
    let limits = said.of(UserLimits::default());
    out.push(Command::PutUser {
        name: name.clone(),
        password,
        tags: fields.words("tags")?,
    });
    if limits != UserLimits::default() {
        let user = name.clone();
        out.push(Command::SetUserLimits { user, limits });
    }
    Ok(format!("user '{name}'"))
}

fn vhost(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let name = fields.name("name")?;
    let metadata = fields.object("metadata")?;
    let metadata = Fields {
        said: &metadata,
        into: None,
    };
    // Until 3.9 both stood beside the name.
    let description = metadata.text_or("description", fields.text_or("description", "")?)?;
    let mut tags = metadata.words("tags")?;
    if tags.is_empty() {
        tags = fields.words("tags")?;
    }
    out.push(Command::AddVhost {
        name: name.clone(),
        description: description.to_owned(),
    });
    if !description.is_empty() || !tags.is_empty() {
        out.push(Command::DescribeVhost {
            name: name.clone(),
            description: description.to_owned(),
            tags,
        });
    }
    let kind = metadata.text_or(
        "default_queue_type",
        fields.text_or("default_queue_type", "undefined")?,
    )?;
    if kind != "undefined" {
        out.push(Command::SetDefaultQueueType {
            vhost: name.clone(),
            kind: Some(Name::try_from(kind).map_err(|error| format!("\"default_queue_type\": {error}"))?),
        });
    }
    let limits = fields.object("limits")?;
    if !limits.is_empty() {
        out.push(Command::SetVhostLimits {
            vhost: name.clone(),
            limits: VhostLimits::parse(&limits).map_err(|refusal| refusal.text)?,
        });
    }
    Ok(format!("vhost '{name}'"))
}

fn permissions(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (user, vhost) = (fields.name("user")?, fields.vhost()?);
    let object = format!("permissions of user '{user}' in vhost '{vhost}'");
    out.push(Command::SetPermissions {
        user,
        vhost,
        permissions: Permissions {
            configure: fields.pattern("configure")?,
            write: fields.pattern("write")?,
            read: fields.pattern("read")?,
        },
    });
    Ok(object)
}

fn topic_permissions(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (user, vhost) = (fields.name("user")?, fields.vhost()?);
    let object = format!("topic permissions of user '{user}' in vhost '{vhost}'");
    out.push(Command::SetTopicPermissions {
        user,
        vhost,
        exchange: fields.name("exchange")?,
        permissions: TopicPermissions {
            write: fields.pattern("write")?,
            read: fields.pattern("read")?,
        },
    });
    Ok(object)
}

fn parameter(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (vhost, name) = (fields.vhost()?, fields.name("name")?);
    let component = fields.name("component")?;
    let called = format!("parameter '{name}' of component '{component}' in vhost '{vhost}'");
    let value = fields.said.get("value").ok_or("\"value\" is missing")?;
    out.push(match component.as_str() {
        parameters::VHOST_LIMITS => Command::SetVhostLimits {
            vhost,
            limits: VhostLimits::parse(&fields.object("value")?).map_err(|refusal| refusal.text)?,
        },
        parameters::OPERATOR_POLICY => {
            let said = fields.object("value")?;
            let said = Fields {
                said: &said,
                into: None,
            };
            let policy = policy_of(&said, Author::Operator)?;
            let author = Author::Operator;
            Command::SetPolicy {
                vhost,
                name,
                author,
                policy,
            }
        }
        _ => Command::SetParameter {
            vhost: Some(vhost),
            component,
            name,
            // Settings of an upstream may be a list of pairs, too; a set of upstreams is a list of objects.
            value: object(value).map_or_else(
                || value.clone(),
                |settings| match settings.is_empty() {
                    true => value.clone(),
                    false => Value::Object(settings),
                },
            ),
        },
    });
    Ok(called)
}

fn global_parameter(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let name = fields.name("name")?;
    let called = format!("global parameter '{name}'");
    let value = fields.said.get("value").ok_or("\"value\" is missing")?.clone();
    // It says which cluster this was, which is not the one that it is read into.
    if name != "internal_cluster_id" {
        out.push(Command::SetParameter {
            vhost: None,
            component: Name::empty(),
            name,
            value,
        });
    }
    Ok(called)
}

fn policy(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (vhost, name) = (fields.vhost()?, fields.name("name")?);
    let called = format!("policy '{name}' in vhost '{vhost}'");
    out.push(Command::SetPolicy {
        vhost,
        name,
        author: Author::User,
        policy: policy_of(fields, Author::User)?,
    });
    Ok(called)
}

fn policy_of(fields: &Fields<'_>, author: Author) -> Object<Policy> {
    let priority = match fields.said.get("priority") {
        None | Some(Value::Null) => 0,
        Some(number) => number
            .as_i64()
            .ok_or_else(|| format!("\"priority\" is {}, expected a whole number", kind(number)))?,
    };
    let (pattern, apply_to) = (fields.text("pattern")?, fields.text_or("apply-to", "all")?);
    let apply_to = ApplyTo::parse(apply_to).map_err(|refusal| refusal.text)?;
    Policy::new(author, pattern, apply_to, fields.object("definition")?, priority)
        .map_err(|refusal| refusal.text)
}

fn queue(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (vhost, name) = (fields.vhost()?, fields.name("name")?);
    let called = format!("queue '{name}' in vhost '{vhost}'");
    let mut arguments = fields.object("arguments")?;
    // 3.8 and later say the type a second time.
    if let Some(kind @ ("quorum" | "stream")) = fields.said.get("type").and_then(Value::as_str) {
        arguments.entry("x-queue-type").or_insert_with(|| kind.into());
    }
    out.push(Command::DeclareQueue {
        vhost,
        name,
        id: None,
        durable: fields.flag("durable", true)?,
        auto_delete: fields.flag("auto_delete", false)?,
        exclusive: None,
        arguments: from_json(&arguments)?,
    });
    Ok(called)
}

fn exchange(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (vhost, name) = (fields.vhost()?, fields.name("name")?);
    let called = format!("exchange '{name}' in vhost '{vhost}'");
    let arguments = from_json(&fields.object("arguments")?)?;
    // Those of federation are made again by federation.
    if fields.text("type")? == "x-federation-upstream" {
        return Ok(called);
    }
    out.push(Command::DeclareExchange {
        vhost,
        name,
        kind: Kind::parse(fields.text("type")?, &arguments).map_err(|refusal| refusal.text)?,
        durable: fields.flag("durable", true)?,
        auto_delete: fields.flag("auto_delete", false)?,
        internal: fields.flag("internal", false)?,
        arguments,
    });
    Ok(called)
}

fn binding(fields: &Fields<'_>, out: &mut Vec<Command>) -> Object<String> {
    let (vhost, source, end) = (
        fields.vhost()?,
        fields.name("source")?,
        fields.name("destination")?,
    );
    let called = format!("binding from exchange '{source}' to '{end}' in vhost '{vhost}'");
    let destination = match fields.text("destination_type")? {
        "queue" => Destination::Queue(end),
        "exchange" => Destination::Exchange(end),
        other => {
            return Err(format!(
                "\"destination_type\" is \"{other}\", expected \"queue\" or \"exchange\""
            ));
        }
    };
    // Those of the default exchange come with the queues; those of federation's own exchanges with federation.
    if source.is_empty() || called.contains("federation: ") {
        return Ok(called);
    }
    out.push(Command::Bind {
        vhost,
        binding: Binding {
            source,
            destination,
            key: fields.name("routing_key")?,
            arguments: from_json(&fields.object("arguments")?)?,
        },
    });
    Ok(called)
}
