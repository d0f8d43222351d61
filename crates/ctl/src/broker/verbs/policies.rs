//! Policies, and definitions of everything.

use std::io::Read as _;

use warren_api::broker::{Listing, Request};

use super::Verb;
use crate::broker::failure::{DATA, Failure, UNAVAILABLE, USAGE};
use crate::broker::session::Session;

const POLICIES: &str = "Policies";
const DEFINITIONS: &str = "Definitions";
const SET: &str =
    "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>";
const LIST: &str = "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]";
const CLEAR: &str = "[--vhost <vhost>] <name>";

pub(super) static VERBS: [Verb; 8] = [
    Verb::new(
        "clear_operator_policy",
        CLEAR,
        "Clears an operator policy",
        (1, 1),
        |session| clear(session, true),
    )
    .of(POLICIES),
    Verb::new("clear_policy", CLEAR, "Clears a policy", (1, 1), |session| {
        clear(session, false)
    })
    .of(POLICIES),
    Verb::new(
        "list_operator_policies",
        LIST,
        "Lists operator policies",
        (0, 0),
        |session| list(session, true),
    )
    .of(POLICIES),
    Verb::new("list_policies", LIST, "Lists policies", (0, 0), |session| {
        list(session, false)
    })
    .of(POLICIES),
    Verb::new(
        "set_operator_policy",
        SET,
        "Sets limits that users cannot lift",
        (3, 3),
        |session| set(session, true),
    )
    .options(&["priority", "apply-to"])
    .of(POLICIES),
    Verb::new(
        "set_policy",
        SET,
        "Sets what holds for queues and exchanges by their names",
        (3, 3),
        |session| set(session, false),
    )
    .options(&["priority", "apply-to"])
    .of(POLICIES),
    Verb::new(
        "export_definitions",
        "<file_path | \"-\"> [--format <json | erlang>] [--timeout <timeout>]",
        "Writes users, vhosts, policies, queues, exchanges and bindings into a file",
        (1, 1),
        export,
    )
    .options(&["format"])
    .of(DEFINITIONS),
    Verb::new(
        "import_definitions",
        "<file_path | \"-\"> [--format <json | erlang>] [--skip-if-unchanged] [--timeout <timeout>]",
        "Adds what a file of definitions says to what there is",
        (0, 1),
        import,
    )
    .options(&["format", "skip-if-unchanged"])
    .of(DEFINITIONS),
];

fn set(session: &mut Session<'_, '_>, operator: bool) -> Result<(), Failure> {
    let [name, pattern, definition] = [0, 1, 2].map(|place| session.line.argument(place).to_owned());
    let vhost = session.line.vhost().to_owned();
    let priority = session.line.value("priority").unwrap_or("0").to_owned();
    let apply_to = session.line.value("apply-to").unwrap_or("all").to_owned();
    let what = if operator {
        "operator policy override"
    } else {
        "policy"
    };
    session.banner(format_args!(
        "Setting {what} \"{name}\" for pattern \"{pattern}\" to \"{definition}\" with priority \"{priority}\" for vhost \"{vhost}\" ..."
    ))?;
    let request = Request::SetPolicy {
        vhost,
        name,
        pattern,
        definition,
        priority: priority.parse().unwrap_or(0),
        apply_to,
        operator,
    };
    session.change(&request)?;
    Ok(())
}

fn clear(session: &mut Session<'_, '_>, operator: bool) -> Result<(), Failure> {
    let (name, vhost) = (
        session.line.argument(0).to_owned(),
        session.line.vhost().to_owned(),
    );
    let what = if operator { "operator policy" } else { "policy" };
    session.banner(format_args!(
        "Clearing {what} \"{name}\" on vhost \"{vhost}\" ..."
    ))?;
    let cleared = session.try_change(&Request::ClearPolicy {
        vhost,
        name,
        operator,
    })?;
    cleared.map_err(|_| Failure::new(UNAVAILABLE, "Parameter does not exist"))?;
    Ok(())
}

fn list(session: &mut Session<'_, '_>, operator: bool) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let what = if operator {
        "operator policy overrides"
    } else {
        "policies"
    };
    session.banner(format_args!("Listing {what} for vhost \"{vhost}\" ..."))?;
    let listing = Listing::Policies { vhost, operator };
    let columns = listing.columns();
    session.list(listing, columns)
}

fn json_only(session: &Session<'_, '_>) -> Result<(), Failure> {
    match session.line.value("format") {
        None | Some("json") => Ok(()),
        Some(other) => Err(Failure::argument(
            USAGE,
            format_args!("there is no format {other} of definitions: use json"),
        )),
    }
}

fn export(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    json_only(session)?;
    let path = session.line.argument(0).to_owned();
    let (definitions, notes) = session.definitions(None)?;
    for note in notes {
        writeln!(session.around.err, "note: {note}")?;
    }
    if path == "-" {
        return session.say(definitions);
    }
    session.banner(format_args!(
        "Exporting definitions in JSON to a file at \"{path}\" ..."
    ))?;
    std::fs::write(&path, definitions).map_err(|error| Failure::new(DATA, format_args!("{path}: {error}")))
}

fn import(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    json_only(session)?;
    let path = session.line.argument(0).to_owned();
    let definitions = if path.is_empty() || path == "-" {
        session.banner("Importing definitions in JSON from standard input ...")?;
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    } else {
        let text = std::fs::read_to_string(&path)
            .map_err(|_| Failure::argument(DATA, format_args!("Bad argument: File {path} does not exist")))?;
        session.banner(format_args!(
            "Importing definitions in JSON from a file at \"{path}\" ..."
        ))?;
        text
    };
    let notes = session.import(definitions)?;
    for note in notes {
        writeln!(session.around.err, "note: {note}")?;
    }
    session.banner(
        "Successfully started definition import. This process is asynchronous and can take some time.",
    )
}
