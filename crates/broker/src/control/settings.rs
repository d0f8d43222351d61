//! What operators set beside users, vhosts and policies: topic permissions, limits, parameters.

use serde_json::{Map, Value};
use warren_api::broker::{Refused, Reply, Setting, Watermark, refusal};
use warren_model::Refusal;
use warren_model::meta::{Command, LimitChanges, TopicPermissions, VhostLimits, parameters};

use super::acts::{apply, done, existing_user, existing_vhost, name, no_vhost};
use super::refused;
use crate::alarms::{DiskLimit, MemoryLimit};
use crate::daemon::log_at;
use crate::node::Node;
use crate::plan::LogLevel;

/// Sets something, or takes it away.
pub(super) fn set(node: &Node, setting: Setting) -> Result<Reply, Refused> {
    match setting {
        Setting::TopicPermissions {
            user,
            vhost,
            exchange,
            write,
            read,
        } => {
            let permissions = TopicPermissions {
                write: topic_pattern(&write)?,
                read: topic_pattern(&read)?,
            };
            let command = Command::SetTopicPermissions {
                user: existing_user(node, &user)?,
                vhost: existing_vhost(node, &vhost)?,
                exchange: name(&exchange)?,
                permissions,
            };
            apply(node, command)
        }
        Setting::NoTopicPermissions {
            user,
            vhost,
            exchange,
        } => {
            let command = Command::ClearTopicPermissions {
                user: existing_user(node, &user)?,
                vhost: existing_vhost(node, &vhost)?,
                exchange: exchange.as_deref().map(name).transpose()?,
            };
            apply(node, command)
        }
        Setting::VhostLimits { vhost, limits } => vhost_limits(node, &vhost, limits.as_deref()),
        Setting::UserLimits { user, limits } => {
            let user = existing_user(node, &user)?;
            let limits = LimitChanges::parse(&object(&limits)?).map_err(invalid)?;
            apply(node, Command::ChangeUserLimits { user, limits })
        }
        Setting::NoUserLimit { user, limit } => {
            let user = existing_user(node, &user)?;
            let mut limits = LimitChanges::default();
            match limit.as_str() {
                "all" => limits = LimitChanges::NO_LIMITS,
                "max-connections" => limits.connections = Some(None),
                "max-channels" => limits.channels = Some(None),
                // What there is not is not there any more.
                _ => {}
            }
            apply(node, Command::ChangeUserLimits { user, limits })
        }
        Setting::Parameter {
            vhost,
            component,
            name,
            value,
        } => parameter(node, vhost.as_deref(), &component, &name, value.as_deref()),
        Setting::VhostTags { vhost, tags } => {
            let known = node.read(|meta| meta.vhost(&vhost).map(|it| it.description.clone()));
            let description = known.ok_or_else(|| no_vhost(&vhost))?;
            let tags = tags.iter().map(|tag| name(tag)).collect::<Result<Vec<_>, _>>()?;
            let command = Command::DescribeVhost {
                name: name(&vhost)?,
                description,
                tags,
            };
            apply(node, command)
        }
        Setting::Tracing { vhost, on } => {
            tracing::info!(%vhost, on, "firehose is changed for an operator");
            node.set_tracing(name(&vhost)?, on);
            Ok(done(1))
        }
        Setting::LogLevel { level } => log_level(&level),
        Setting::MemoryLimit { limit } => {
            let mut settings = (*node.settings()).clone();
            settings.memory_limit = match limit {
                Watermark::Millionths(part) => MemoryLimit::Millionths(part),
                Watermark::Octets(octets) => MemoryLimit::Octets(octets),
            };
            tracing::info!(limit = ?settings.memory_limit, "memory limit is changed for an operator");
            node.change_settings(settings);
            Ok(done(1))
        }
        Setting::DiskLimit { limit } => {
            let mut settings = (*node.settings()).clone();
            settings.disk_free_limit = match limit {
                Watermark::Millionths(part) => DiskLimit::MillionthsOfMemory(part),
                Watermark::Octets(octets) => DiskLimit::Octets(octets),
            };
            tracing::info!(limit = ?settings.disk_free_limit, "disk limit is changed for an operator");
            node.change_settings(settings);
            Ok(done(1))
        }
    }
}

fn log_level(level: &str) -> Result<Reply, Refused> {
    let level = match level {
        "debug" => LogLevel::Debug,
        "info" => LogLevel::Info,
        "warning" => LogLevel::Warning,
        "error" | "critical" => LogLevel::Error,
        "none" => LogLevel::None,
        other => {
            let text = format!(
                "level {other} is not supported. Try one of debug, info, warning, error, critical, none"
            );
            return Err(refused(refusal::INVALID, text));
        }
    };
    log_at(level);
    tracing::debug!(?level, "log level is changed for an operator");
    Ok(done(1))
}

/// Nothing takes them away.
fn vhost_limits(node: &Node, vhost: &str, said: Option<&str>) -> Result<Reply, Refused> {
    let known = node.read(|meta| meta.vhost(vhost).map(|it| it.limits));
    let limits = match (said, known) {
        (Some(_), None) => return Err(no_vhost(vhost)),
        (None, known) if known.unwrap_or_default() == VhostLimits::default() => return Err(missing()),
        (None, _) => VhostLimits::default(),
        (Some(said), Some(_)) => VhostLimits::parse(&object(said)?).map_err(invalid)?,
    };
    let vhost = name(vhost)?;
    apply(node, Command::SetVhostLimits { vhost, limits })
}

/// Nothing takes it away. Limits of a vhost are a parameter, too; policies are not.
fn parameter(
    node: &Node,
    vhost: Option<&str>,
    component: &str,
    parameter: &str,
    value: Option<&str>,
) -> Result<Reply, Refused> {
    match (vhost, component) {
        (Some(vhost), parameters::VHOST_LIMITS) => return vhost_limits(node, vhost, value),
        (Some(_), "policy" | parameters::OPERATOR_POLICY) => {
            let done = if value.is_some() { "set" } else { "cleared" };
            let text = format!("policies may not be {done} using this method");
            return Err(refused(refusal::INVALID, text));
        }
        _ => {}
    }
    let parameter = name(parameter)?;
    let component = match component {
        "" => warren_model::Name::empty(),
        component => name(component)?,
    };
    let vhost = match (vhost, value) {
        (Some(vhost), Some(_)) => Some(existing_vhost(node, vhost)?),
        // Where there is no vhost there is no parameter.
        (Some(vhost), None) => Some(existing_vhost(node, vhost).map_err(|_| missing())?),
        (None, _) => None,
    };
    let command = match value {
        Some(value) => Command::SetParameter {
            vhost,
            component,
            name: parameter,
            value: json(value)?,
        },
        None => Command::ClearParameter {
            vhost,
            component,
            name: parameter,
        },
    };
    apply(node, command)
}

fn topic_pattern(text: &str) -> Result<warren_model::Pattern, Refused> {
    warren_model::Pattern::new(text).map_err(|error| {
        let text = format!("{{:invalid_regexp, \"{}\", {{'{}', 0}}}}", error.text, error.why);
        refused(refusal::INVALID, text)
    })
}

fn json(text: &str) -> Result<Value, Refused> {
    serde_json::from_str(text).map_err(|_| refused(refusal::INVALID, "JSON decoding error. Reason: badarg"))
}

fn object(text: &str) -> Result<Map<String, Value>, Refused> {
    match json(text)? {
        Value::Object(object) => Ok(object),
        other => Err(refused(
            refusal::INVALID,
            format_args!("{other} is no object of JSON: say {{\"max-connections\": 10}}, for example"),
        )),
    }
}

fn missing() -> Refused {
    refused(refusal::NOT_FOUND, "Parameter does not exist")
}

fn invalid(refusal: Refusal) -> Refused {
    refused(refusal::INVALID, refusal.text)
}
