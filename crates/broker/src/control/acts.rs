//! What operators change: users, vhosts, permissions, queues, connections.

use std::sync::Arc;
use std::time::Duration;

use warren_amqp::ReplyCode;
use warren_api::broker::{Refused, Reply, Request, Secret, refusal};
use warren_cluster::queue::{OnlyIf, Stays};
use warren_cluster::{Aftermath, lock};
use warren_model::meta::{ApplyTo, Author, Command, Permissions, Policy};
use warren_model::{Name, Pattern, Refusal};

use super::{refused, settings};
use crate::node::{Node, NotDeleted};
use crate::registry::Entry;

/// Carries a request out.
pub(super) async fn act(node: &Arc<Node>, request: Request) -> Result<Reply, Refused> {
    match request {
        Request::AddUser { user, password } => add_user(node, &user, password),
        Request::DeleteUser { user } => {
            let name = existing_user(node, &user)?;
            let reply = apply(node, Command::DeleteUser { name: name.clone() })?;
            // What he consumes asks for no permission any more.
            end_connections(node, &format!("user '{name}' is deleted"), |it| {
                it.facts.user == name
            });
            Ok(reply)
        }
        Request::ChangePassword { user, password } => {
            let user = existing_user(node, &user)?;
            let password = Some(node.hash_password(&password.0));
            apply(node, Command::SetPassword { user, password })
        }
        Request::ClearPassword { user } => {
            let (user, password) = (existing_user(node, &user)?, None);
            apply(node, Command::SetPassword { user, password })
        }
        Request::AuthenticateUser { user, password } => authenticate(node, &user, &password),
        Request::SetUserTags { user, tags } => {
            let tags = tags.iter().map(|tag| name(tag)).collect::<Result<Vec<_>, _>>()?;
            let user = existing_user(node, &user)?;
            apply(node, Command::SetUserTags { user, tags })
        }
        Request::AddVhost {
            vhost,
            description,
            tags,
            default_queue_type,
        } => add_vhost(node, &vhost, description, &tags, default_queue_type.as_deref()),
        Request::DeleteVhost { vhost } => {
            let name = existing_vhost(node, &vhost)?;
            let reply = apply(node, Command::DeleteVhost { name: name.clone() })?;
            end_connections(node, &format!("vhost '{name}' is deleted"), |it| {
                it.facts.vhost == name
            });
            Ok(reply)
        }
        Request::SetPermissions {
            user,
            vhost,
            configure,
            write,
            read,
        } => {
            let permissions = Permissions {
                configure: pattern(&configure)?,
                write: pattern(&write)?,
                read: pattern(&read)?,
            };
            let command = Command::SetPermissions {
                user: existing_user(node, &user)?,
                vhost: existing_vhost(node, &vhost)?,
                permissions,
            };
            apply(node, command)
        }
        Request::ClearPermissions { user, vhost } => {
            let command = Command::ClearPermissions {
                user: existing_user(node, &user)?,
                vhost: existing_vhost(node, &vhost)?,
            };
            apply(node, command)
        }
        Request::SetPolicy {
            vhost,
            name: policy_name,
            pattern,
            definition,
            priority,
            apply_to,
            operator,
        } => {
            let vhost = existing_vhost(node, &vhost)?;
            let definition = serde_json::from_str(&definition)
                .map_err(|_| refused(refusal::INVALID, "JSON decoding error. Reason: badarg"))?;
            let author = author(operator);
            let policy = ApplyTo::parse(&apply_to)
                .and_then(|apply_to| Policy::new(author, &pattern, apply_to, definition, priority))
                .map_err(|refusal| refused(refusal::INVALID, refusal.text))?;
            apply(
                node,
                Command::SetPolicy {
                    vhost,
                    name: name(&policy_name)?,
                    author,
                    policy,
                },
            )
        }
        Request::ClearPolicy {
            vhost,
            name: policy_name,
            operator,
        } => apply(
            node,
            Command::ClearPolicy {
                vhost: name(&vhost)?,
                name: name(&policy_name)?,
                author: author(operator),
            },
        ),
        Request::Set { setting } => settings::set(node, setting),
        Request::ImportDefinitions { definitions } => import(node, definitions).await,
        Request::ExportDefinitions { vhost } => {
            let export = lock::blocking(|| node.export_definitions(vhost.as_deref()));
            let export = export.ok_or_else(|| no_vhost(vhost.as_deref().unwrap_or_default()))?;
            Ok(Reply::Definitions {
                definitions: export.definitions.to_string(),
                notes: export.lost,
            })
        }
        Request::DeleteQueue {
            vhost,
            queue,
            if_unused,
            if_empty,
        } => delete_queue(node, &vhost, &queue, if_unused, if_empty),
        Request::PurgeQueue { vhost, queue } => {
            let found = existing_queue(node, &vhost, &queue)?;
            let mut after = Aftermath::default();
            let count = found.purge(&mut after);
            let written = node.carry_out(&mut after);
            after.tell();
            written.map_err(|error| refused(refusal::FAILED, error))?;
            Ok(done(count))
        }
        Request::CloseConnection { connection, reason } => {
            let entry = find_connection(node, &connection)?;
            entry.close(&reason);
            tracing::info!(connection = %entry.facts.name(), %reason, "connection is closed for an operator");
            Ok(done(1))
        }
        Request::CloseConnections {
            vhost,
            user,
            limit,
            delay_us,
            reason,
        } => {
            let chosen = node.registry.connections().into_iter().filter(|entry| {
                vhost.as_ref().is_none_or(|vhost| *vhost == *entry.facts.vhost)
                    && user.as_ref().is_none_or(|user| *user == *entry.facts.user)
            });
            let most = match limit {
                0 => usize::MAX,
                limit => usize::try_from(limit).unwrap_or(usize::MAX),
            };
            Ok(done(
                close(chosen.take(most).collect(), &reason, delay_us.into()).await,
            ))
        }
        Request::Listeners { open } => listeners(node, open).await,
        Request::Drain {} => {
            node.gate.set_maintenance(true);
            listeners(node, false).await?;
            let all = node.registry.connections();
            Ok(done(
                close(all, "Node was put into maintenance mode", Duration::ZERO).await,
            ))
        }
        Request::Revive {} => {
            listeners(node, true).await?;
            node.gate.set_maintenance(false);
            Ok(done(1))
        }
        Request::ResetLogins {} => {
            node.auth.attempts.reset();
            Ok(done(1))
        }
        Request::Stop {} => {
            // To the loop that is told to end in this way by everybody else.
            let ourselves = nix::unistd::getpid();
            match nix::sys::signal::kill(ourselves, nix::sys::signal::SIGTERM) {
                Ok(()) => Ok(done(1)),
                Err(error) => Err(refused(refusal::FAILED, error)),
            }
        }
        // Answered elsewhere.
        Request::Status {} | Request::Health {} | Request::List { .. } => {
            Err(refused(refusal::BAD_REQUEST, "nothing to be done"))
        }
    }
}

fn end_connections(node: &Node, reason: &str, whose: impl Fn(&Entry) -> bool) {
    let all = node.registry.connections().into_iter();
    all.filter(|entry| whose(entry))
        .for_each(|entry| entry.close(reason));
}

const fn author(operator: bool) -> Author {
    match operator {
        true => Author::Operator,
        false => Author::User,
    }
}

/// Waits for the disk at the end: where nobody else waits.
async fn import(node: &Arc<Node>, definitions: String) -> Result<Reply, Refused> {
    let importing = Arc::clone(node);
    let imported =
        tokio::task::spawn_blocking(move || importing.import_definitions(&definitions, None)).await;
    let imported = imported
        .map_err(|error| refused(refusal::FAILED, error))?
        .map_err(|error| refused(refusal::BAD_REQUEST, error))?;
    Ok(Reply::Done {
        message: String::new(),
        count: imported.done as u64,
        notes: imported.refused,
    })
}

fn add_user(node: &Node, user: &str, password: Option<Secret>) -> Result<Reply, Refused> {
    let name = name(user)?;
    if node.read(|meta| meta.user(&name).is_some()) {
        return Err(refused(
            refusal::EXISTS,
            format_args!("user \"{name}\" already exists"),
        ));
    }
    let password = password.map(|password| node.hash_password(&password.0));
    match node.apply(Command::AddUser { name, password }) {
        Ok(_) => Ok(done(1)),
        // Somebody else has been faster.
        Err(Refusal {
            code: ReplyCode::PreconditionFailed,
            text,
            ..
        }) => Err(refused(refusal::EXISTS, text)),
        Err(Refusal { text, .. }) => Err(refused(refusal::INVALID, text)),
    }
}

/// Nothing if there is one of this name.
fn add_vhost(
    node: &Node,
    vhost: &str,
    description: String,
    tags: &[String],
    kind: Option<&str>,
) -> Result<Reply, Refused> {
    let name_of_it = name(vhost)?;
    if node.read(|meta| meta.vhost(vhost).is_some()) {
        return Ok(done(0));
    }
    let tags = tags.iter().map(|tag| name(tag)).collect::<Result<Vec<_>, _>>()?;
    let kind = kind.map(name).transpose()?;
    let added = apply(
        node,
        Command::AddVhost {
            name: name_of_it.clone(),
            description: description.clone(),
        },
    )?;
    if !tags.is_empty() {
        let name = name_of_it.clone();
        let command = Command::DescribeVhost {
            name,
            description,
            tags,
        };
        apply(node, command)?;
    }
    if kind.is_some() {
        let vhost = name_of_it;
        apply(node, Command::SetDefaultQueueType { vhost, kind })?;
    }
    Ok(added)
}

fn authenticate(node: &Node, user: &str, password: &Secret) -> Result<Reply, Refused> {
    match node.authenticate(user, &password.0) {
        true => Ok(done(1)),
        false => Err(refused(
            refusal::NOT_AUTHENTICATED,
            format_args!("user '{user}' - invalid credentials"),
        )),
    }
}

fn delete_queue(
    node: &Node,
    vhost: &str,
    queue: &str,
    if_unused: bool,
    if_empty: bool,
) -> Result<Reply, Refused> {
    let found = existing_queue(node, vhost, queue)?;
    let only_if = OnlyIf {
        unused: if_unused,
        empty: if_empty,
    };
    let deleted = node.delete_queue(&found, only_if).and_then(|(ready, ticket)| {
        node.wait(ticket).map_err(NotDeleted::Refused)?;
        Ok(ready)
    });
    match deleted {
        Ok(ready) => Ok(done(ready)),
        Err(NotDeleted::Stays(Stays::InUse)) => Err(refused(refusal::IN_USE, "Queue is in use")),
        Err(NotDeleted::Stays(Stays::NotEmpty)) => Err(refused(refusal::IN_USE, "Queue is not empty")),
        Err(NotDeleted::Refused(refusal)) => Err(refused(refusal::INVALID, refusal.text)),
    }
}

/// Gives how many there were.
async fn close(chosen: Vec<Arc<Entry>>, reason: &str, delay: Duration) -> u64 {
    for entry in &chosen {
        entry.close(reason);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    tracing::info!(count = chosen.len(), %reason, "connections are closed for an operator");
    chosen.len() as u64
}

async fn listeners(node: &Node, open: bool) -> Result<Reply, Refused> {
    let what = if open { "opened" } else { "closed" };
    tracing::info!("listeners are {what} for an operator");
    match node.gate.set(open).await {
        Ok(()) => Ok(done(1)),
        Err(why) => Err(refused(
            refusal::FAILED,
            format_args!("listeners are not {what}: {why}"),
        )),
    }
}

/// By `<node.creation.number.0>`, as listings show it, or by name, if no other has it.
fn find_connection(node: &Node, said: &str) -> Result<Arc<Entry>, Refused> {
    let found = match node.pid_number(said) {
        Some(number) => node.registry.connection(number),
        None => {
            let named = |entry: &Arc<Entry>| {
                entry.facts.name() == said || entry.facts.given_name().as_deref() == Some(said)
            };
            let mut named = node.registry.connections().into_iter().filter(named);
            let first = named.next();
            let others = named.count();
            if others > 0 {
                let text = format!(
                    "{} connections are called {said}: name one by its pid, which list_connections pid name peer_host shows",
                    others + 1
                );
                return Err(refused(refusal::INVALID, text));
            }
            first
        }
    };
    found.ok_or_else(|| {
        refused(
            refusal::NOT_FOUND,
            format_args!("there is no connection {said}: list_connections pid name shows those there are"),
        )
    })
}

pub(super) fn existing_user(node: &Node, user: &str) -> Result<Name, Refused> {
    match node.read(|meta| meta.user(user).is_some()) {
        true => name(user),
        false => Err(no_user(user)),
    }
}

pub(super) fn no_user(user: &str) -> Refused {
    refused(
        refusal::NO_SUCH_USER,
        format_args!("User \"{user}\" does not exist"),
    )
}

pub(super) fn existing_vhost(node: &Node, vhost: &str) -> Result<Name, Refused> {
    match node.read(|meta| meta.vhost(vhost).is_some()) {
        true => name(vhost),
        false => Err(no_vhost(vhost)),
    }
}

pub(super) fn no_vhost(vhost: &str) -> Refused {
    refused(
        refusal::NO_SUCH_VHOST,
        format_args!("Virtual host '{vhost}' does not exist"),
    )
}

fn existing_queue(node: &Node, vhost: &str, queue: &str) -> Result<warren_cluster::QueueHandle, Refused> {
    let id = node.read(|meta| Some(meta.vhost(vhost)?.queue(queue)?.id));
    id.and_then(|id| node.way(id))
        .ok_or_else(|| refused(refusal::NOT_FOUND, "Queue not found"))
}

pub(super) fn name(text: &str) -> Result<Name, Refused> {
    Name::try_from(text).map_err(|error| refused(refusal::INVALID, error))
}

fn pattern(text: &str) -> Result<Pattern, Refused> {
    Pattern::new(text).map_err(|error| refused(refusal::INVALID, error))
}

pub(super) fn apply(node: &Node, command: Command) -> Result<Reply, Refused> {
    match node.apply(command) {
        Ok(_) => Ok(done(1)),
        Err(Refusal { text, .. }) => Err(refused(refusal::INVALID, text)),
    }
}

pub(super) fn done(count: u64) -> Reply {
    Reply::Done {
        message: String::new(),
        count,
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use warren_api::broker::Setting;

    use super::*;

    #[tokio::test]
    async fn a_password_is_hashed_while_nothing_is_locked() {
        let node = Node::new("rabbit@test".to_owned(), crate::Settings::default());
        let user = || "ann".to_owned();
        let secret = |text: &str| Secret(text.to_owned());
        let password = Some(secret("first"));
        act(
            &node,
            Request::AddUser {
                user: user(),
                password,
            },
        )
        .await
        .unwrap();
        let password = secret("second");
        act(
            &node,
            Request::ChangePassword {
                user: user(),
                password,
            },
        )
        .await
        .unwrap();
        assert!(node.authenticate("ann", "second") && !node.authenticate("ann", "first"));
    }

    fn said(node: &Arc<Node>, request: Request) -> Result<Reply, Refused> {
        let alone = tokio::runtime::Builder::new_current_thread().build().unwrap();
        alone.block_on(act(node, request))
    }

    #[test]
    fn what_two_operators_change_of_a_user_at_once_both_counts() {
        let node = Node::new("rabbit@test".to_owned(), crate::Settings::default());
        let user = || "ann".to_owned();
        let add = || Request::AddUser {
            user: user(),
            password: None,
        };
        said(&node, add()).unwrap();
        assert_eq!(said(&node, add()).unwrap_err().code, refusal::EXISTS);
        for round in 0..200 {
            let (password, tag) = (format!("p{round}"), format!("t{round}"));
            let limits = |what: &str| Setting::UserLimits {
                user: user(),
                limits: format!("{{\"max-{what}\": {round}}}"),
            };
            let both = std::sync::Barrier::new(2);
            let one_after_another = |requests: [Request; 2]| {
                for request in requests {
                    both.wait();
                    said(&node, request).unwrap();
                }
            };
            let setting = |setting| Request::Set { setting };
            std::thread::scope(|scope| {
                let password = Secret(password.clone());
                let one = Request::ChangePassword {
                    user: user(),
                    password,
                };
                scope.spawn(|| one_after_another([one, setting(limits("channels"))]));
                let tags = vec![tag.clone()];
                let other = Request::SetUserTags { user: user(), tags };
                one_after_another([other, setting(limits("connections"))]);
            });
            assert!(node.authenticate("ann", &password), "round {round}");
            let (tags, limits) = node.read(|meta| {
                let ann = meta.user("ann").unwrap();
                (ann.tags.clone(), ann.limits)
            });
            assert_eq!(tags, [name(&tag).unwrap()], "round {round}");
            assert_eq!((limits.connections, limits.channels), (Some(round), Some(round)));
        }
    }
}
