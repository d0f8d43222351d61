//! Users, vhosts, and who may do what where.

use serde_json::json;
use warren_api::broker::{Listing, Refused, Request, Secret, refusal};

use super::{MANY, Verb};
use crate::broker::failure::{DATA, Failure, NO_USER, SOFTWARE, UNAVAILABLE, USAGE};
use crate::broker::output::Format;
use crate::broker::session::Session;

const USERS: &str = "Users";
const ACCESS: &str = "Access Control";
const VHOSTS: &str = "Virtual hosts";

pub(super) static VERBS: [Verb; 15] = [
    Verb::new(
        "add_user",
        "<username> <password>",
        "Adds a user, who may do nothing yet; without a password it is read from standard input",
        (1, 2),
        add_user,
    )
    .of(USERS),
    Verb::new(
        "authenticate_user",
        "<username> <password>",
        "Says whether this is the user's password",
        (1, 2),
        authenticate_user,
    )
    .of(USERS),
    Verb::new(
        "change_password",
        "<username> <password>",
        "Gives a user another password",
        (1, 2),
        change_password,
    )
    .of(USERS),
    Verb::new(
        "clear_password",
        "<username>",
        "Takes a user's password away: nobody logs in with it any more",
        (1, 1),
        clear_password,
    )
    .of(USERS),
    Verb::new("delete_user", "<username>", "Deletes a user", (1, 1), delete_user).of(USERS),
    Verb::new(
        "list_users",
        "[--no-table-headers] [--timeout <timeout>]",
        "Lists users and their tags",
        (0, 0),
        list_users,
    )
    .of(USERS),
    Verb::new(
        "set_user_tags",
        "<username> <tag> [...]",
        "Sets the tags of a user, such as administrator",
        (1, MANY),
        set_user_tags,
    )
    .of(USERS),
    Verb::new(
        "clear_permissions",
        "[--vhost <vhost>] <username>",
        "Lets a user do nothing in a vhost",
        (1, 1),
        clear_permissions,
    )
    .of(ACCESS),
    Verb::new(
        "list_permissions",
        "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
        "Lists who may do what in a vhost",
        (0, 0),
        list_permissions,
    )
    .of(ACCESS),
    Verb::new(
        "list_user_permissions",
        "[--no-table-headers] <username> [--timeout <timeout>]",
        "Lists what a user may do where",
        (1, 1),
        list_user_permissions,
    )
    .of(ACCESS),
    Verb::new(
        "set_permissions",
        "[--vhost <vhost>] <username> <conf> <write> <read>",
        "Says what a user may do in a vhost, by patterns of names",
        (4, 4),
        set_permissions,
    )
    .of(ACCESS),
    Verb::new(
        "list_vhosts",
        "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
        "Lists vhosts",
        (0, MANY),
        list_vhosts,
    )
    .of(ACCESS),
    Verb::new(
        "add_vhost",
        "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]",
        "Adds a vhost",
        (1, 1),
        add_vhost,
    )
    .options(&["description", "tags", "default-queue-type"])
    .of(VHOSTS),
    Verb::new(
        "delete_vhost",
        "<vhost>",
        "Deletes a vhost with all that is in it",
        (1, 1),
        delete_vhost,
    )
    .of(VHOSTS),
    Verb::new(
        "restart_vhost",
        "[--vhost <vhost>] [--timeout <timeout>]",
        "Does nothing: vhosts do not stop one by one",
        (0, 0),
        restart_vhost,
    )
    .of(VHOSTS),
];

fn add_user(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.named(0, "user")?;
    let password = password(session)?;
    session.banner(format_args!("Adding user \"{user}\" ..."))?;
    match session.try_change(&Request::AddUser {
        user: user.clone(),
        password: Some(password),
    })? {
        Ok(_) if session.format()? == Format::Json => {
            let node = session.node()?;
            session.say(json!({"message": GRANT, "node": node, "status": "ok"}))
        }
        Ok(_) => session.banner(GRANT),
        Err(refused) if refused.code == refusal::EXISTS => {
            let node = session.node()?;
            let text = format!("User {user} already exists");
            let failure = Failure::new(SOFTWARE, format_args!("User \"{user}\" already exists"));
            Err(failure.or_json(json!({"message": text, "node": node})))
        }
        Err(refused) => Err(Failure::refused(&refused)),
    }
}

/// Changes a user.
fn change_user(session: &mut Session<'_, '_>, user: &str, request: &Request) -> Result<(), Failure> {
    let Err(refused) = session.try_change(request)? else {
        return Ok(());
    };
    let failure = Failure::refused(&refused);
    if refused.code != refusal::NO_SUCH_USER {
        return Err(failure);
    }
    let text = format!("User {user} does not exists");
    Err(failure.or_json(json!({"message": text, "node": session.node()?})))
}

const GRANT: &str = "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.";

/// As an argument, or as the first line of standard input, so that it is in no list of processes.
fn password(session: &Session<'_, '_>) -> Result<Secret, Failure> {
    if session.line.arguments().len() > 1 {
        return Ok(Secret(session.line.argument(1).to_owned()));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Failure::argument(USAGE, "not enough arguments.")),
        password => Ok(Secret(password.to_owned())),
    }
}

fn authenticate_user(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    let password = password(session)?;
    session.banner(format_args!("Authenticating user \"{user}\" ..."))?;
    let request = Request::AuthenticateUser {
        user: user.clone(),
        password,
    };
    match session.try_change(&request)? {
        Ok(_) if session.format()? == Format::Json => session.say(json!({"message": "Success"})),
        Ok(_) => session.say("Success"),
        Err(refused) => Err(Failure::new(
            DATA,
            format_args!(
                "Error: failed to authenticate user \"{user}\"\n{}",
                refused.message
            ),
        )),
    }
}

fn change_password(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    let password = password(session)?;
    session.banner(format_args!("Changing password for user \"{user}\" ..."))?;
    let request = Request::ChangePassword {
        user: user.clone(),
        password,
    };
    change_user(session, &user, &request)
}

fn clear_password(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    session.banner(format_args!("Clearing password for user \"{user}\" ..."))?;
    session
        .try_change(&Request::ClearPassword { user: user.clone() })?
        .map_err(|refused| no_such_user(&refused, &user))?;
    Ok(())
}

fn delete_user(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    session.banner(format_args!("Deleting user \"{user}\" ..."))?;
    change_user(session, &user, &Request::DeleteUser { user: user.clone() })
}

fn list_users(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.banner("Listing users ...")?;
    session.list(Listing::Users {}, &["user", "tags"])
}

fn set_user_tags(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    let words = session.line.arguments().iter().skip(1);
    let tags = words.flat_map(|word| word.split(','));
    let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    session.banner(format_args!(
        "Setting tags for user \"{user}\" to [{}] ...",
        tags.join(", ")
    ))?;
    let request = Request::SetUserTags {
        user: user.clone(),
        tags,
    };
    change_user(session, &user, &request)
}

fn clear_permissions(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (user, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    session.banner(format_args!(
        "Clearing permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    permit(session, &Request::ClearPermissions { user, vhost })
}

fn set_permissions(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (user, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    session.banner(format_args!(
        "Setting permissions for user \"{user}\" in vhost \"{vhost}\" ..."
    ))?;
    let [configure, write, read] = [1, 2, 3].map(|place| session.line.argument(place).to_owned());
    permit(
        session,
        &Request::SetPermissions {
            user,
            vhost,
            configure,
            write,
            read,
        },
    )
}

/// Here users and vhosts that there are not are said without quotes.
pub(super) fn permit(session: &mut Session<'_, '_>, request: &Request) -> Result<(), Failure> {
    let Err(refused) = session.try_change(request)? else {
        return Ok(());
    };
    let (status, text) = match refused.code.as_str() {
        refusal::NO_SUCH_USER => (
            NO_USER,
            format!("User {} does not exist", session.line.argument(0)),
        ),
        refusal::NO_SUCH_VHOST => (
            UNAVAILABLE,
            format!("Virtual host {} does not exist", session.line.vhost()),
        ),
        _ => return Err(Failure::refused(&refused)),
    };
    Err(Failure::new(status, &text).or_json(json!({"message": text, "node": session.node()?})))
}

fn list_permissions(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!("Listing permissions for vhost \"{vhost}\" ..."))?;
    let listing = Listing::Permissions { vhost };
    session.list(listing, &["user", "configure", "write", "read"])
}

fn list_user_permissions(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let user = session.line.argument(0).to_owned();
    session.banner(format_args!("Listing permissions for user \"{user}\" ..."))?;
    let listing = Listing::UserPermissions { user: user.clone() };
    let listed = session.list(listing, &["vhost", "configure", "write", "read"]);
    listed.map_err(|failure| match failure.status {
        NO_USER => unknown_user(&user),
        _ => failure,
    })
}

fn list_vhosts(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let columns = session.columns(&Listing::Vhosts {}, &["name"])?;
    session.banner("Listing vhosts ...")?;
    session.list(Listing::Vhosts {}, &columns)
}

fn add_vhost(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.named(0, "virtual host name")?;
    let description = session.line.value("description").unwrap_or_default().to_owned();
    let tags = session.line.value("tags").unwrap_or_default().split(',');
    let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let default_queue_type = session.line.value("default-queue-type").map(str::to_owned);
    session.banner(format_args!("Adding vhost \"{vhost}\" ..."))?;
    match default_queue_type.as_deref() {
        None | Some("classic" | "quorum") => {}
        Some("stream") => {
            let text = "there are no streams here: use classic or quorum";
            return Err(Failure::new(UNAVAILABLE, text));
        }
        Some(_) => return Err(Failure::new(UNAVAILABLE, "invalid_queue_type")),
    }
    session.change(&Request::AddVhost {
        vhost,
        description,
        tags,
        default_queue_type,
    })?;
    Ok(())
}

fn delete_vhost(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.argument(0).to_owned();
    session.banner(format_args!("Deleting vhost \"{vhost}\" ..."))?;
    session.change(&Request::DeleteVhost { vhost })?;
    Ok(())
}

fn restart_vhost(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (node, vhost) = (session.node()?, session.line.vhost().to_owned());
    session.banner(format_args!(
        "Trying to restart vhost '{vhost}' on node '{node}' ..."
    ))?;
    let vhosts = session.rows_of(Listing::Vhosts {}, &["name"])?;
    match vhosts.into_iter().flatten().any(|name| name == vhost) {
        true => session.say(format_args!(
            "Vhost '{vhost}' is already running on node '{node}'"
        )),
        false => Err(Failure::new(
            SOFTWARE,
            format_args!(
                "Failed to start vhost '{vhost}' on node '{node}'Reason: {{:no_such_vhost, \"{vhost}\"}}"
            ),
        )),
    }
}

/// Where RabbitMQ's own error reaches the terminal.
pub(super) fn no_such_user(refused: &Refused, user: &str) -> Failure {
    match refused.code == refusal::NO_SUCH_USER {
        true => unknown_user(user),
        false => Failure::refused(refused),
    }
}

pub(super) fn unknown_user(user: &str) -> Failure {
    Failure::new(UNAVAILABLE, format_args!("{{:no_such_user, \"{user}\"}}"))
}
