//! Runtime parameters, of vhosts and of the whole broker.

use warren_api::broker::{Listing, Request, Setting};

use super::Verb;
use crate::broker::failure::Failure;
use crate::broker::session::Session;

const SECTION: &str = "Parameters";

pub(super) static VERBS: [Verb; 6] = [
    Verb::new(
        "clear_global_parameter",
        "<name>",
        "Takes a parameter of the whole broker away",
        (1, 1),
        clear_global,
    )
    .of(SECTION),
    Verb::new(
        "clear_parameter",
        "[--vhost <vhost>] <component_name> <name>",
        "Takes a parameter of a vhost away",
        (2, 2),
        clear,
    )
    .of(SECTION),
    Verb::new(
        "list_global_parameters",
        "[--no-table-headers] [--timeout <timeout>]",
        "Lists parameters of the whole broker",
        (0, 0),
        list_global,
    )
    .of(SECTION),
    Verb::new(
        "list_parameters",
        "[--vhost <vhost>] [--no-table-headers] [--timeout <timeout>]",
        "Lists parameters of a vhost",
        (0, 0),
        list,
    )
    .of(SECTION),
    Verb::new(
        "set_global_parameter",
        "<name> <value>",
        "Sets a parameter of the whole broker, in JSON",
        (2, 2),
        set_global,
    )
    .of(SECTION),
    Verb::new(
        "set_parameter",
        "[--vhost <vhost>] <component_name> <name> <value>",
        "Sets a parameter of a vhost, in JSON",
        (3, 3),
        set,
    )
    .of(SECTION),
];

fn change(
    session: &Session<'_, '_>,
    vhost: Option<String>,
    component: String,
    name: String,
    value: Option<String>,
) -> Result<(), Failure> {
    let setting = Setting::Parameter {
        vhost,
        component,
        name,
        value,
    };
    session.change(&Request::Set { setting })?;
    Ok(())
}

fn set(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [component, name, value] = [0, 1, 2].map(|place| session.line.argument(place).to_owned());
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!(
        "Setting runtime parameter \"{name}\" for component \"{component}\" to \"{value}\" in vhost \"{vhost}\" ..."
    ))?;
    change(session, Some(vhost), component, name, Some(value))
}

fn clear(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [component, name] = [0, 1].map(|place| session.line.argument(place).to_owned());
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!(
        "Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ..."
    ))?;
    change(session, Some(vhost), component, name, None)
}

fn list(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    session.banner(format_args!(
        "Listing runtime parameters for vhost \"{vhost}\" ..."
    ))?;
    session.list(Listing::Parameters { vhost }, &["component", "name", "value"])
}

fn set_global(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let [name, value] = [0, 1].map(|place| session.line.argument(place).to_owned());
    session.banner(format_args!(
        "Setting global runtime parameter \"{name}\" to \"{value}\" ..."
    ))?;
    change(session, None, String::new(), name, Some(value))
}

fn clear_global(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.line.argument(0).to_owned();
    session.banner(format_args!("Clearing global runtime parameter \"{name}\" ..."))?;
    change(session, None, String::new(), name, None)
}

fn list_global(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.banner("Listing global runtime parameters ...")?;
    session.list(Listing::GlobalParameters {}, &["name", "value"])
}
