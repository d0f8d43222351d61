//! What operators have set: policies, topic permissions, limits, parameters.

use serde_json::Value;
use warren_api::broker::{Cell, Listing};
use warren_kit::control::Gone;
use warren_model::Name;
use warren_model::definitions::parameters_in;
use warren_model::meta::{Author, Meta, Policy, TopicPermissions, UserLimits, VhostLimits};

use super::super::acts;
use super::{Column, Rows, text};
use crate::node::Node;

/// Sends a row for each setting.
pub(super) async fn list(node: &Node, listing: &Listing, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    match listing {
        Listing::TopicPermissions { vhost } => {
            let found = node.read(|meta| meta.vhost(vhost).map(|_| topic_permissions(meta, vhost)));
            match found {
                Some(found) => rows.all(&found, topic_column).await,
                None => rows.refuse(acts::no_vhost(vhost)).await,
            }
        }
        Listing::UserTopicPermissions { user } => {
            let found = node.read(|meta| {
                let said = meta.user(user)?.topic_permissions.iter();
                let said = said.map(|((vhost, exchange), it)| Topic::new(vhost, exchange, it));
                Some(said.collect::<Vec<_>>())
            });
            match found {
                Some(found) => rows.all(&found, topic_column).await,
                None => rows.refuse(acts::no_user(user)).await,
            }
        }
        Listing::VhostLimits { vhost } => match vhost_limits(node, vhost.as_deref()) {
            Some(found) => rows.all(&found, limits_column).await,
            None => {
                rows.refuse(acts::no_vhost(vhost.as_deref().unwrap_or_default()))
                    .await
            }
        },
        Listing::UserLimits { user } => match user_limits(node, user.as_deref()) {
            Some(found) => rows.all(&found, limits_column).await,
            None => {
                rows.refuse(acts::no_user(user.as_deref().unwrap_or_default()))
                    .await
            }
        },
        Listing::Policies { vhost, operator } => {
            let author = if *operator { Author::Operator } else { Author::User };
            let found = node.read(|meta| {
                let policies = meta.vhost(vhost)?.policies(author);
                let found = policies.map(|(name, policy)| ListedPolicy {
                    vhost: vhost.clone(),
                    name: name.clone(),
                    policy: policy.clone(),
                });
                Some(found.collect::<Vec<_>>())
            });
            match found {
                Some(found) => rows.all(&found, policy_column).await,
                None => rows.refuse(acts::no_vhost(vhost)).await,
            }
        }
        Listing::Parameters { vhost } => match node.read(|meta| meta.vhost(vhost).map(parameters_in)) {
            Some(found) => rows.all(&found, parameter_column).await,
            None => rows.refuse(acts::no_vhost(vhost)).await,
        },
        Listing::GlobalParameters {} => {
            let found: Vec<_> = node.read(|meta| {
                let parameters = meta.parameters();
                let one = |(name, value): (&Name, &Value)| (String::new(), name.to_string(), value.clone());
                parameters.map(one).collect()
            });
            rows.all(&found, parameter_column).await
        }
        // Listed elsewhere.
        _ => Ok(()),
    }
}

/// Whose or where, and with which exchange.
struct Topic {
    of: Name,
    exchange: Name,
    permissions: TopicPermissions,
}

impl Topic {
    fn new(of: &Name, exchange: &Name, permissions: &TopicPermissions) -> Self {
        Self {
            of: of.clone(),
            exchange: exchange.clone(),
            permissions: permissions.clone(),
        }
    }
}

fn topic_permissions(meta: &Meta, vhost: &str) -> Vec<Topic> {
    let said = meta.users().flat_map(|(user, it)| {
        let here = it
            .topic_permissions
            .iter()
            .filter(|((other, _), _)| *other == *vhost);
        here.map(move |((_, exchange), permissions)| Topic::new(user, exchange, permissions))
    });
    said.collect()
}

fn topic_column(column: &str) -> Option<Column<Topic>> {
    Some(match column {
        "user" | "vhost" => |it| text(&it.of),
        "exchange" => |it| text(&it.exchange),
        "write" => |it| Cell::Text(it.permissions.write.as_str().to_owned()),
        "read" => |it| Cell::Text(it.permissions.read.as_str().to_owned()),
        _ => return None,
    })
}

/// Of a vhost or a user, in JSON.
type Limits = (Name, String);

/// Of all that have some, or of one, if it is there.
fn vhost_limits(node: &Node, vhost: Option<&str>) -> Option<Vec<Limits>> {
    node.read(|meta| {
        if let Some(vhost) = vhost {
            meta.vhost(vhost)?;
        }
        let said = meta.vhosts().filter(|(name, it)| match vhost {
            Some(vhost) => name.as_str() == vhost,
            None => it.limits != VhostLimits::default(),
        });
        let said = said.map(|(name, it)| (name.clone(), Value::Object(it.limits.to_settings()).to_string()));
        Some(said.collect())
    })
}

fn user_limits(node: &Node, user: Option<&str>) -> Option<Vec<Limits>> {
    node.read(|meta| {
        if let Some(user) = user {
            meta.user(user)?;
        }
        let said = meta.users().filter(|(name, it)| match user {
            Some(user) => name.as_str() == user,
            None => it.limits != UserLimits::default(),
        });
        let said = said.map(|(name, it)| (name.clone(), Value::Object(it.limits.to_settings()).to_string()));
        Some(said.collect())
    })
}

fn limits_column(column: &str) -> Option<Column<Limits>> {
    Some(match column {
        "user" | "vhost" => |(name, _)| text(name),
        "limits" => |(_, limits)| Cell::Text(limits.clone()),
        _ => return None,
    })
}

struct ListedPolicy {
    vhost: String,
    name: Name,
    policy: Policy,
}

fn policy_column(column: &str) -> Option<Column<ListedPolicy>> {
    Some(match column {
        "vhost" => |it| Cell::Text(it.vhost.clone()),
        "name" => |it| text(&it.name),
        "pattern" => |it| Cell::Text(it.policy.pattern.as_str().to_owned()),
        "apply-to" => |it| Cell::from(it.policy.apply_to.as_str()),
        "definition" => |it| Cell::Text(Value::Object(it.policy.definition.clone()).to_string()),
        "priority" => |it| Cell::Integer(it.policy.priority),
        _ => return None,
    })
}

fn parameter_column(column: &str) -> Option<Column<(String, String, Value)>> {
    Some(match column {
        "component" => |(component, _, _)| Cell::Text(component.clone()),
        "name" => |(_, name, _)| Cell::Text(name.clone()),
        "value" => |(_, _, value)| Cell::Text(value.to_string()),
        _ => return None,
    })
}
