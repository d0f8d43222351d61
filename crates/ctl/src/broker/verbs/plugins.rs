//! `rabbitmq-plugins`: what are plugins there is built in here, and always on. Enabling such a plugin succeeds and changes
//! nothing. Of those that tutorials enable and that are not there yet it is said what is missing; others are refused, so
//! that nobody waits for what they do.

use super::{MANY, Verb};
use crate::broker::failure::{Failure, SOFTWARE, UNAVAILABLE};
use crate::broker::session::Session;

const SECTION: &str = "Plugin Management";

/// Plugins that are accepted, so that scripts go on, and whose work nobody does yet.
const ABSENT: [(&str, &str); 7] = [
    ("rabbitmq_federation", "federation"),
    ("rabbitmq_federation_management", "federation"),
    ("rabbitmq_management", "the management UI and its HTTP API"),
    ("rabbitmq_management_agent", "the management UI and its HTTP API"),
    ("rabbitmq_shovel", "shovels"),
    ("rabbitmq_shovel_management", "shovels"),
    ("rabbitmq_web_dispatch", "the management UI and its HTTP API"),
];

/// Plugins whose work is done here.
pub(super) const BUILT_IN: [&str; 4] = [
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
];

pub(super) static VERBS: [Verb; 7] = [
    Verb::new(
        "list",
        "[pattern] [--verbose] [--minimal] [--enabled] [--implicitly-enabled]",
        "Lists plugins and whether they are enabled",
        (0, 1),
        list,
    )
    .options(&["verbose", "minimal", "enabled", "implicitly-enabled", "if-empty"])
    .of(SECTION),
    Verb::new(
        "enable",
        "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
        "Enables plugins: those that are built in are",
        (0, MANY),
        enable,
    )
    .options(&["all", "offline", "online"])
    .of(SECTION),
    Verb::new(
        "disable",
        "<plugin1> [ <plugin2>] | --all [--offline] [--online]",
        "Does not disable plugins: they are built in",
        (0, MANY),
        disable,
    )
    .options(&["all", "offline", "online"])
    .of(SECTION),
    Verb::new(
        "set",
        "[<plugin1> ...] [--offline] [--online]",
        "Enables these plugins: those that are built in are",
        (0, MANY),
        enable,
    )
    .options(&["offline", "online"])
    .of(SECTION),
    Verb::new(
        "directories",
        "[--offline] [--online]",
        "Says that plugins have no directory: they are built in",
        (0, 0),
        directories,
    )
    .options(&["offline", "online"])
    .of(SECTION),
    Verb::new(
        "is_enabled",
        "<plugin1> [ <plugin2>] [--offline] [--online]",
        "Fails if one of the plugins is not enabled",
        (1, MANY),
        is_enabled,
    )
    .options(&["offline", "online"])
    .of(SECTION),
    Verb::new(
        "help",
        "<command>",
        "Shows all verbs, or how one is used",
        (0, MANY),
        |_| Ok(()),
    )
    .alone()
    .of("Help"),
];

/// `--offline` asks nobody.
fn node(session: &mut Session<'_, '_>) -> Result<String, Failure> {
    match session.line.is_set("offline") {
        true => Ok(session.line.value("node").unwrap_or("this node").to_owned()),
        false => session.node(),
    }
}

fn list(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let pattern = session.line.arguments().first().cloned();
    let shown = pattern.as_deref().unwrap_or(".*");
    session.banner(format_args!("Listing plugins with pattern \"{shown}\" ..."))?;
    let names = BUILT_IN.iter().filter(|name| {
        pattern
            .as_deref()
            .is_none_or(|part| part == ".*" || name.contains(part))
    });
    if session.line.is_set("minimal") {
        return names.copied().try_for_each(|name| session.say(name));
    }
    let node = session.node()?;
    session.banner(" Configured: E = explicitly enabled; e = implicitly enabled")?;
    session.banner(format_args!(" | Status: * = running on {node}\n |/"))?;
    let width = names.clone().map(|name| name.len()).max().unwrap_or(0);
    names.copied().try_for_each(|name| {
        session.say(format_args!(
            "[E*] {name:width$} {}",
            warren_api::broker::RABBITMQ_VERSION
        ))
    })
}

fn enable(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = node(session)?;
    let wanted = session.line.arguments().to_vec();
    session.say(format_args!("Enabling plugins on node {node}:"))?;
    wanted.iter().try_for_each(|name| session.say(name))?;
    missing(&wanted)?;
    configured(session)?;
    session.say(format_args!("Applying plugin configuration to {node}..."))?;
    session.say("Plugin configuration unchanged.")?;
    for (name, what) in ABSENT
        .iter()
        .filter(|(name, _)| wanted.iter().any(|wanted| wanted == name))
    {
        let note = format!("note: {name} is accepted, but {what} is not part of this version of Warren yet");
        writeln!(session.around.err, "{note}")?;
    }
    Ok(())
}

fn disable(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = node(session)?;
    let wanted = session.line.arguments().to_vec();
    session.say(format_args!("Disabling plugins on node {node}:"))?;
    wanted.iter().try_for_each(|name| session.say(name))?;
    missing(&wanted)?;
    Err(Failure::new(
        SOFTWARE,
        "these plugins are built in and cannot be disabled; nothing was changed",
    ))
}

fn directories(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = node(session)?;
    session.banner(format_args!("Listing plugin directories used by node {node}"))?;
    for what in [
        "Plugin archives directory",
        "Plugin expansion directory",
        "Enabled plugins file",
    ] {
        session.say(format_args!("{what}: none, plugins are built in"))?;
    }
    Ok(())
}

fn is_enabled(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = node(session)?;
    let wanted = session.line.arguments().to_vec();
    let names = wanted.join(", ");
    match wanted.len() {
        1 => session.banner(format_args!("Asking node {node} if plugin {names} is enabled..."))?,
        _ => session.banner(format_args!(
            "Asking node {node} if plugins {names} are enabled..."
        ))?,
    }
    let off: Vec<String> = wanted.iter().filter(|name| !is_built_in(name)).cloned().collect();
    match off.is_empty() {
        true if wanted.len() == 1 => session.say(format_args!("Plugin {names} is enabled on node {node}")),
        true => session.say(format_args!("Plugins {names} are enabled on node {node}")),
        false => {
            let (are, off) = match off.as_slice() {
                [one] => ("Plugin", format!("{one} is")),
                several => ("Plugins", format!("{} are", several.join(", "))),
            };
            Err(Failure::new(
                UNAVAILABLE,
                format_args!(
                    "{are} {off} not enabled on node {node}. Enabled plugins and dependencies: {}",
                    BUILT_IN.join(", ")
                ),
            ))
        }
    }
}

fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}

fn missing(wanted: &[String]) -> Result<(), Failure> {
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !is_built_in(name) && !ABSENT.iter().any(|(absent, _)| absent == name))
        .map(|name| format!(":{name}"))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(
            SOFTWARE,
            format_args!("{{:plugins_not_found, [{}]}}", missing.join(", ")),
        )),
    }
}

fn configured(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.say("The following plugins have been configured:")?;
    BUILT_IN
        .iter()
        .try_for_each(|name| session.say(format_args!("  {name}")))
}
