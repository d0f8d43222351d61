//! What there is, as rows of the columns that were asked for.
//!
//! A column is a function from a thing to a value, found once for a listing. Things are taken a lot at a time: metadata is
//! locked for one lot, and one lot is in memory.

mod clients;
mod environment;
mod lots;
mod queues;
mod settings;

use std::sync::atomic::Ordering;

use warren_api::broker::{Cell, Listing, Reply, refusal};
use warren_kit::control::{Gone, Replies};
use warren_model::Name;
use warren_model::arguments::QueueType;
use warren_model::meta::{Binding, Destination, Exchange};

use super::{acts, cells, refused};
use crate::node::Node;
use lots::Lots;

/// Things in one line of an answer.
const LOT: usize = 500;

/// The value of a column.
type Column<T> = fn(&T) -> Cell;

/// Sends rows until there are no more.
pub(super) async fn list(
    node: &Node,
    listing: &Listing,
    columns: &[String],
    replies: &mut Replies<'_, Reply>,
) -> Result<(), Gone> {
    let mut rows = Rows { replies, columns };
    match listing {
        Listing::Users {} => {
            let users: Vec<_> = node.read(|meta| {
                let users = meta.users();
                users
                    .map(|(name, user)| (name.clone(), user.tags.clone()))
                    .collect()
            });
            rows.all(&users, user_column).await
        }
        Listing::Vhosts {} => {
            let vhosts: Vec<_> = node.read(|meta| {
                let vhosts = meta.vhosts();
                vhosts
                    .map(|(name, vhost)| Vhost {
                        name: name.clone(),
                        description: vhost.description.clone(),
                        tags: words(&vhost.tags),
                        kind: vhost.default_queue_type.map_or("undefined", QueueType::as_str),
                        tracing: node.firehose.is_on(name),
                        node: node.name.clone(),
                    })
                    .collect()
            });
            rows.all(&vhosts, vhost_column).await
        }
        Listing::Permissions { vhost } => {
            let found = node.read(|meta| {
                meta.vhost(vhost)?;
                let users = meta.users();
                let found = users.filter_map(|(name, user)| {
                    let permissions = user.permissions.get(&**vhost)?.clone();
                    Some((name.clone(), permissions))
                });
                Some(found.collect::<Vec<_>>())
            });
            match found {
                Some(found) => rows.all(&found, permissions_column).await,
                None => rows.refuse(acts::no_vhost(vhost)).await,
            }
        }
        Listing::UserPermissions { user } => {
            let found = node.read(|meta| {
                let permissions = meta.user(user)?.permissions.iter();
                Some(
                    permissions
                        .map(|(vhost, permissions)| (vhost.clone(), permissions.clone()))
                        .collect::<Vec<_>>(),
                )
            });
            match found {
                Some(found) => rows.all(&found, permissions_column).await,
                None => rows.refuse(acts::no_user(user)).await,
            }
        }
        Listing::TopicPermissions { .. }
        | Listing::UserTopicPermissions { .. }
        | Listing::VhostLimits { .. }
        | Listing::UserLimits { .. }
        | Listing::Policies { .. }
        | Listing::Parameters { .. }
        | Listing::GlobalParameters {} => settings::list(node, listing, &mut rows).await,
        Listing::Environment {} => {
            let found = environment::of(&node.settings());
            rows.all(&found, environment::column).await
        }
        Listing::Logins {} => {
            let found = logins(node);
            rows.all(&found, login_column).await
        }
        Listing::Exchanges { vhost } => exchanges(node, vhost.as_deref(), &mut rows).await,
        Listing::Bindings { vhost } => bindings(node, vhost.as_deref(), &mut rows).await,
        Listing::Queues { vhost } => queues::list(node, vhost.as_deref(), &mut rows).await,
        Listing::Consumers { vhost } => clients::consumers(node, vhost.as_deref(), &mut rows).await,
        Listing::Connections {} => clients::connections(node, &mut rows).await,
        Listing::Channels {} => clients::channels(node, &mut rows).await,
    }
}

/// Where rows go.
struct Rows<'a, 'b> {
    replies: &'a mut Replies<'b, Reply>,
    columns: &'a [String],
}

impl Rows<'_, '_> {
    /// A row for each thing.
    async fn all<T: Sync>(
        &mut self,
        things: &[T],
        column: fn(&str) -> Option<Column<T>>,
    ) -> Result<(), Gone> {
        match self.find(column) {
            Ok(columns) => self.send(things, &columns).await,
            Err(unknown) => self.refuse(unknown).await,
        }
    }

    fn find<T>(
        &self,
        column: fn(&str) -> Option<Column<T>>,
    ) -> Result<Vec<Column<T>>, warren_api::broker::Refused> {
        let find = |name: &String| {
            column(name).ok_or_else(|| {
                let text = format!("there is no column {name}: see the help of the listing");
                refused(refusal::BAD_REQUEST, text)
            })
        };
        self.columns.iter().map(find).collect()
    }

    async fn send<T: Sync>(&mut self, things: &[T], columns: &[Column<T>]) -> Result<(), Gone> {
        for lot in things.chunks(LOT) {
            let row = |thing: &T| columns.iter().map(|column| column(thing)).collect();
            let rows = lot.iter().map(row).collect();
            self.replies.send(&Reply::Rows { rows }).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, refused: warren_api::broker::Refused) -> Result<(), Gone> {
        self.replies.send(&Reply::Refused(refused)).await
    }

    /// Is this column wanted? Some cost more than others.
    fn want(&self, columns: &[&str]) -> bool {
        self.columns
            .iter()
            .any(|column| columns.contains(&column.as_str()))
    }
}

fn user_column(column: &str) -> Option<Column<(Name, Vec<Name>)>> {
    Some(match column {
        "user" => |(name, _)| text(name),
        "tags" => |(_, tags)| Cell::Words(words(tags)),
        _ => return None,
    })
}

struct Vhost {
    name: Name,
    description: String,
    tags: Vec<String>,
    /// Of its queues.
    kind: &'static str,
    tracing: bool,
    node: String,
}

fn vhost_column(column: &str) -> Option<Column<Vhost>> {
    Some(match column {
        "name" => |vhost| text(&vhost.name),
        "description" => |vhost| Cell::Text(vhost.description.clone()),
        "tags" => |vhost| Cell::Words(vhost.tags.clone()),
        "default_queue_type" => |vhost| Cell::from(vhost.kind),
        "tracing" => |vhost| Cell::Bool(vhost.tracing),
        "cluster_state" => |vhost| Cell::Text(format!("[{{{}, running}}]", vhost.node)),
        "metadata" => |_| Cell::Nothing,
        _ => return None,
    })
}

type Allowed = (Name, warren_model::meta::Permissions);

fn permissions_column(column: &str) -> Option<Column<Allowed>> {
    Some(match column {
        "user" | "vhost" => |(name, _)| text(name),
        "configure" => |(_, permissions)| Cell::Text(permissions.configure.as_str().to_owned()),
        "write" => |(_, permissions)| Cell::Text(permissions.write.as_str().to_owned()),
        "read" => |(_, permissions)| Cell::Text(permissions.read.as_str().to_owned()),
        _ => return None,
    })
}

struct ListedExchange {
    policy: Option<Name>,
    vhost: Name,
    name: Name,
    kind: String,
    flags: [bool; 3],
    arguments: Cell,
}

async fn exchanges(node: &Node, vhost: Option<&str>, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let columns = match rows.find(exchange_column) {
        Ok(columns) => columns,
        Err(unknown) => return rows.refuse(unknown).await,
    };
    let listed = |vhost: &Name, name: &Name, exchange: &Exchange| ListedExchange {
        vhost: vhost.clone(),
        name: name.clone(),
        kind: exchange.kind.name().to_owned(),
        flags: [exchange.durable, exchange.auto_delete, exchange.internal],
        arguments: cells::arguments(&exchange.arguments),
        policy: exchange
            .applied
            .as_ref()
            .and_then(|applied| applied.policy.clone()),
    };
    let mut lots = Lots::of(node, vhost);
    while let Some(lot) = lots.next(|vhost, it, last| {
        let exchanges = it.exchanges_behind(last).take(LOT);
        exchanges
            .map(|(name, exchange)| (name.clone(), listed(vhost, name, exchange)))
            .collect()
    }) {
        rows.send(&lot, &columns).await?;
    }
    Ok(())
}

fn exchange_column(column: &str) -> Option<Column<ListedExchange>> {
    Some(match column {
        "name" => |exchange| text(&exchange.name),
        "type" => |exchange| Cell::Text(exchange.kind.clone()),
        "durable" => |exchange| Cell::Bool(exchange.flags[0]),
        "auto_delete" => |exchange| Cell::Bool(exchange.flags[1]),
        "internal" => |exchange| Cell::Bool(exchange.flags[2]),
        "arguments" => |exchange| exchange.arguments.clone(),
        "policy" => |exchange| exchange.policy.as_ref().map_or(Cell::Nothing, text),
        "vhost" => |exchange| text(&exchange.vhost),
        _ => return None,
    })
}

async fn bindings(node: &Node, vhost: Option<&str>, rows: &mut Rows<'_, '_>) -> Result<(), Gone> {
    let columns = match rows.find(binding_column) {
        Ok(columns) => columns,
        Err(unknown) => return rows.refuse(unknown).await,
    };
    let mut lots = Lots::of(node, vhost);
    while let Some(lot) = lots.next(|vhost, it, last| {
        let places = it.bindings_behind(last).take(LOT);
        places
            .map(|(place, binding)| (place, binding.map(|binding| (vhost.clone(), binding))))
            .collect()
    }) {
        let bindings: Vec<_> = lot.into_iter().flatten().collect();
        rows.send(&bindings, &columns).await?;
    }
    Ok(())
}

fn binding_column(column: &str) -> Option<Column<(Name, Binding)>> {
    Some(match column {
        "source_name" => |(_, binding)| text(&binding.source),
        "source_kind" => |_| Cell::from("exchange"),
        "destination_name" => |(_, binding)| match &binding.destination {
            Destination::Queue(name) | Destination::Exchange(name) => text(name),
        },
        "destination_kind" => |(_, binding)| match &binding.destination {
            Destination::Queue(_) => Cell::from("queue"),
            Destination::Exchange(_) => Cell::from("exchange"),
        },
        "routing_key" => |(_, binding)| text(&binding.key),
        "arguments" => |(_, binding)| cells::arguments(&binding.arguments),
        "vhost" => |(vhost, _)| text(vhost),
        _ => return None,
    })
}

fn text(name: &Name) -> Cell {
    Cell::Text(name.as_str().to_owned())
}

/// All, failed, succeeded; nothing if there were none.
fn logins(node: &Node) -> Vec<[u64; 3]> {
    let attempts = &node.auth.attempts;
    let counts =
        [&attempts.total, &attempts.failed, &attempts.succeeded].map(|it| it.load(Ordering::Relaxed));
    match counts {
        [0, 0, 0] => Vec::new(),
        counts => vec![counts],
    }
}

fn login_column(column: &str) -> Option<Column<[u64; 3]>> {
    Some(match column {
        "protocol" => |_| Cell::from("amqp091"),
        "auth_attempts" => |[all, _, _]| Cell::count(*all),
        "auth_attempts_failed" => |[_, failed, _]| Cell::count(*failed),
        "auth_attempts_succeeded" => |[_, _, succeeded]| Cell::count(*succeeded),
        _ => return None,
    })
}

fn words(names: &[Name]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}
