//! How much vhosts and users may have.

use serde_json::json;
use warren_api::broker::{Listing, Request, Setting};

use super::Verb;
use super::accounts::{no_such_user, unknown_user};
use crate::broker::failure::{Failure, NO_USER};
use crate::broker::output::Format;
use crate::broker::session::Session;

const USERS: &str = "Users";
const VHOSTS: &str = "Virtual hosts";

pub(super) static VERBS: [Verb; 6] = [
    Verb::new(
        "clear_user_limits",
        "<username> <limit_type> | all",
        "Lets a user have as many connections or channels as he likes",
        (2, 2),
        clear_user_limits,
    )
    .of(USERS),
    Verb::new(
        "list_user_limits",
        "[--user <username>] [--global]",
        "Shows the limits of a user, or of all who have some",
        (0, 0),
        list_user_limits,
    )
    .options(&["user", "global"])
    .of(USERS),
    Verb::new(
        "set_user_limits",
        "<username> <definition>",
        "Limits a user's connections and channels: {\"max-connections\": 10, \"max-channels\": 50}",
        (2, 2),
        set_user_limits,
    )
    .of(USERS),
    Verb::new(
        "clear_vhost_limits",
        "[--vhost <vhost>]",
        "Lets a vhost have as many connections and queues as are wanted",
        (0, 0),
        clear_vhost_limits,
    )
    .of(VHOSTS),
    Verb::new(
        "list_vhost_limits",
        "[--vhost <vhost>] [--global] [--no-table-headers]",
        "Shows the limits of a vhost, or of all that have some",
        (0, 0),
        list_vhost_limits,
    )
    .options(&["global"])
    .of(VHOSTS),
    Verb::new(
        "set_vhost_limits",
        "[--vhost <vhost>] <definition>",
        "Limits connections and queues of a vhost: {\"max-connections\": 100, \"max-queues\": 500}",
        (1, 1),
        set_vhost_limits,
    )
    .of(VHOSTS),
];

fn set(setting: Setting) -> Request {
    Request::Set { setting }
}

fn set_user_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [user, limits] = [0, 1].map(|place| session.line.argument(place).to_owned());
    session.banner(format_args!(
        "Setting user limits to \"{limits}\" for user \"{user}\" ..."
    ))?;
    let request = set(Setting::UserLimits {
        user: user.clone(),
        limits,
    });
    session
        .try_change(&request)?
        .map_err(|refused| no_such_user(&refused, &user))?;
    Ok(())
}

fn clear_user_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [user, limit] = [0, 1].map(|place| session.line.argument(place).to_owned());
    match limit.as_str() {
        "all" => session.banner(format_args!("Clearing all limits for user \"{user}\" ..."))?,
        limit => session.banner(format_args!("Clearing \"{limit}\" limit for user \"{user}\" ..."))?,
    }
    let request = set(Setting::NoUserLimit {
        user: user.clone(),
        limit,
    });
    session
        .try_change(&request)?
        .map_err(|refused| no_such_user(&refused, &user))?;
    Ok(())
}

fn list_user_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    if session.line.is_set("global") {
        session.banner("Listing limits for all users ...")?;
        return session.list(Listing::UserLimits { user: None }, &["user", "limits"]);
    }
    let user = session.line.value("user").unwrap_or("guest").to_owned();
    session.banner(format_args!("Listing limits for user \"{user}\" ..."))?;
    let listing = Listing::UserLimits {
        user: Some(user.clone()),
    };
    let limits = session
        .only(listing, "limits")
        .map_err(|failure| match failure.status {
            NO_USER => unknown_user(&user),
            _ => failure,
        })?;
    match session.format()? {
        Format::Json => session.say(json!({"message": limits})),
        _ => session.say(limits),
    }
}

fn set_vhost_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (vhost, limits) = (
        session.line.vhost().to_owned(),
        session.line.argument(0).to_owned(),
    );
    session.banner(format_args!(
        "Setting vhost limits to \"{limits}\" for vhost \"{vhost}\" ..."
    ))?;
    let limits = Some(limits);
    session.change(&set(Setting::VhostLimits { vhost, limits }))?;
    Ok(())
}

fn clear_vhost_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!("Clearing vhost \"{vhost}\" limits ..."))?;
    let limits = None;
    session.change(&set(Setting::VhostLimits { vhost, limits }))?;
    Ok(())
}

fn list_vhost_limits(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    if session.line.is_set("global") {
        session.banner("Listing limits for all vhosts ...")?;
        return session.list(Listing::VhostLimits { vhost: None }, &["vhost", "limits"]);
    }
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!("Listing limits for vhost \"{vhost}\" ..."))?;
    let limits = session.only(Listing::VhostLimits { vhost: Some(vhost) }, "limits")?;
    match (session.format()?, limits.as_str()) {
        (Format::Json, _) => {
            let node = session.node()?;
            session.say(json!({"node": node, "result": "ok", "value": limits}))
        }
        (_, "{}") => session.say(""),
        _ => session.say(limits),
    }
}
