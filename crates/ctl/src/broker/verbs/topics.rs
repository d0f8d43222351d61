//! Which routing keys users may use with exchanges of type topic.

use warren_api::broker::{Listing, Request, Setting};

use super::Verb;
use super::accounts::{permit, unknown_user};
use crate::broker::failure::{Failure, NO_USER};
use crate::broker::session::Session;

const ACCESS: &str = "Access Control";

pub(super) static VERBS: [Verb; 4] = [
    Verb::new(
        "clear_topic_permissions",
        "[--vhost <vhost>] <username> [<exchange>]",
        "Lets a user use all routing keys again, with an exchange or with all of a vhost",
        (1, 2),
        clear,
    )
    .of(ACCESS),
    Verb::new(
        "list_topic_permissions",
        "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
        "Lists who may use which routing keys in a vhost",
        (0, 0),
        list,
    )
    .of(ACCESS),
    Verb::new(
        "list_user_topic_permissions",
        "[--no-table-headers] <username> [--timeout <timeout>]",
        "Lists which routing keys a user may use where",
        (1, 1),
        list_of_user,
    )
    .of(ACCESS),
    Verb::new(
        "set_topic_permissions",
        "[--vhost <vhost>] <username> <exchange> <write> <read>",
        "Says which routing keys a user may publish and bind with",
        (4, 4),
        set,
    )
    .of(ACCESS),
];

fn set(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [user, exchange, write, read] = [0, 1, 2, 3].map(|place| session.line.argument(place).to_owned());
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!(
        "Setting topic permissions on \"{exchange}\" for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let setting = Setting::TopicPermissions {
        user,
        vhost,
        exchange,
        write,
        read,
    };
    permit(session, &Request::Set { setting })
}

fn clear(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (user, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    let exchange = session.line.arguments().get(1).cloned();
    let on = exchange
        .as_ref()
        .map_or(String::new(), |exchange| format!("on \"{exchange}\" "));
    session.banner(format_args!(
        "Clearing topic permissions {on}for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let setting = Setting::NoTopicPermissions {
        user,
        vhost,
        exchange,
    };
    permit(session, &Request::Set { setting })
}

fn list(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!(
        "Listing topic permissions for vhost \"{vhost}\" ..."
    ))?;
    let columns = ["user", "exchange", "write", "read"];
    session.list(Listing::TopicPermissions { vhost }, &columns)
}

/// RabbitMQ writes no headers here.
fn list_of_user(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    session.banner(format_args!("Listing topic permissions for user \"{user}\" ..."))?;
    let columns = ["vhost", "exchange", "write", "read"];
    let listing = Listing::UserTopicPermissions { user: user.clone() };
    session
        .list_without_headers(listing, &columns)
        .map_err(|failure| match failure.status {
            NO_USER => unknown_user(&user),
            _ => failure,
        })
}
