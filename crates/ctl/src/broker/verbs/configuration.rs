//! What a running node goes by: limits of memory and disk, names, and what RabbitMQ has beside them.

use serde_json::{Map, Value, json};
use warren_api::broker::{Listing, Request, Setting, Watermark};

use super::{MANY, Verb, lists};
use crate::broker::failure::{DATA, Failure, UNAVAILABLE, USAGE};
use crate::broker::output::Format;
use crate::broker::session::Session;

const SECTION: &str = "Configuration and Environment";
const MONITORING: &str = "Monitoring, observability and health checks";
const VHOSTS: &str = "Virtual hosts";
const OPERATIONS: &str = "Operations";

pub(super) static SETTINGS: [Verb; 10] = [
    Verb::new(
        "set_cluster_name",
        "<name>",
        "Gives the cluster another name",
        (1, 1),
        set_cluster_name,
    )
    .of(SECTION),
    Verb::new(
        "set_disk_free_limit",
        "<disk_limit> | mem_relative <fraction>",
        "Sets the room on disk below which publishers wait, until the configuration is read again",
        (1, 2),
        set_disk_free_limit,
    )
    .of(SECTION),
    Verb::new(
        "set_vm_memory_high_watermark",
        "<fraction> | absolute <value>",
        "Sets the memory from which on publishers wait, until the configuration is read again",
        (1, 2),
        set_memory_limit,
    )
    .of(SECTION),
    Verb::new(
        "set_log_level",
        "<log_level>",
        "Says what is logged, until the configuration is read again",
        (1, 1),
        set_log_level,
    )
    .of(SECTION),
    Verb::new(
        "rotate_logs",
        "",
        "Does nothing: the journal keeps the log",
        (0, 0),
        rotate_logs,
    )
    .of(SECTION),
    Verb::new(
        "set_vhost_tags",
        "<vhost> <tag> [...]",
        "Sets the tags of a vhost",
        (1, MANY),
        set_vhost_tags,
    )
    .of(VHOSTS),
    Verb::new(
        "trace_off",
        "[--vhost <vhost>]",
        "Stops publishing to amq.rabbitmq.trace what clients publish and get",
        (0, MANY),
        |session| trace(session, false),
    )
    .of(VHOSTS),
    Verb::new(
        "trace_on",
        "[--vhost <vhost>]",
        "Publishes to amq.rabbitmq.trace what clients of a vhost publish and get, too",
        (0, MANY),
        |session| trace(session, true),
    )
    .of(VHOSTS),
    Verb::new(
        "eval",
        "<expression>",
        "Evaluates nothing: there is no Erlang here",
        (1, MANY),
        eval,
    )
    .of(OPERATIONS),
    Verb::new(
        "eval_file",
        "<file path>",
        "Evaluates nothing: there is no Erlang here",
        (1, 1),
        eval,
    )
    .of(OPERATIONS),
];

pub(super) static REPORTS: [Verb; 2] = [
    Verb::new(
        "environment",
        "",
        "Shows what the node goes by, under RabbitMQ's names",
        (0, 0),
        environment,
    )
    .of(SECTION),
    Verb::new(
        "report",
        "",
        "Shows everything: for whoever is asked for help",
        (0, 0),
        report,
    )
    .of(MONITORING),
];

fn set(session: &Session<'_, '_>, setting: Setting) -> Result<(), Failure> {
    session.change(&Request::Set { setting })?;
    Ok(())
}

fn set_cluster_name(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let name = session.line.argument(0).to_owned();
    session.banner(format_args!("Setting cluster name to {name} ..."))?;
    let setting = Setting::Parameter {
        vhost: None,
        component: String::new(),
        name: "cluster_name".into(),
        value: Some(Value::from(name).to_string()),
    };
    set(session, setting)
}

/// Another argument behind the word that needs one, and none behind what needs none.
fn second<'a>(session: &'a Session<'_, '_>, word: &str) -> Result<Option<&'a str>, Failure> {
    match session.line.arguments() {
        [first] if first == word => Err(Failure::argument(USAGE, "not enough arguments.")),
        [first, second] if first == word => Ok(Some(second)),
        [_, _] => Err(Failure::argument(USAGE, "too many arguments.")),
        _ => Ok(None),
    }
}

fn bad_argument(why: &str) -> Failure {
    Failure::argument(DATA, format_args!("Bad argument{why}"))
}

fn set_memory_limit(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (limit, shown) = match second(session, "absolute")? {
        Some(absolute) => {
            let octets = octets(absolute).ok_or_else(|| bad_argument(": Invalid units."))?;
            (Watermark::Octets(octets), format!("{absolute} bytes"))
        }
        None => {
            let said = session.line.argument(0).to_owned();
            let part = said.parse::<f64>().map_err(|_| bad_argument("."))?;
            let millionths = millionths(part, 1.0)
                .ok_or_else(|| bad_argument(": The threshold should be a fraction between 0.0 and 1.0"))?;
            (Watermark::Millionths(millionths), said)
        }
    };
    let node = session.node()?;
    session.banner(format_args!("Setting memory threshold on {node} to {shown} ..."))?;
    set(session, Setting::MemoryLimit { limit })
}

fn set_disk_free_limit(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let bad = || bad_argument(".");
    let (limit, shown) = match second(session, "mem_relative")? {
        Some(said) => {
            let part = said.parse::<f64>().map_err(|_| bad())?;
            let millionths = millionths(part, f64::from(u32::MAX) / 1e6).ok_or_else(bad)?;
            (
                Watermark::Millionths(millionths),
                format!("{said} times the total RAM"),
            )
        }
        None => {
            let said = session.line.argument(0).to_owned();
            // As with RabbitMQ: less than nothing is no limit.
            let negative = said.parse::<i64>().is_ok_and(|number| number < 0);
            let octets = if negative { Some(0) } else { octets(&said) };
            (
                Watermark::Octets(octets.ok_or_else(bad)?),
                format!("{said} bytes"),
            )
        }
    };
    let node = session.node()?;
    session.banner(format_args!("Setting disk free limit on {node} to {shown} ..."))?;
    set(session, Setting::DiskLimit { limit })
}

/// A part of the memory, at most so much of it.
fn millionths(part: f64, most: f64) -> Option<u32> {
    // In the range that was asked for it fits.
    (0.0..=most).contains(&part).then(|| (part * 1e6).round() as u32)
}

/// `50000000`, `50MB`, `1GiB`
fn octets(said: &str) -> Option<u64> {
    let end = said
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(said.len());
    let (number, unit) = said.split_at(end);
    let times: u64 = match unit.trim() {
        "" => 1,
        "k" | "kiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(times)
}

fn set_log_level(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let level = session.line.argument(0).to_owned();
    let known = ["debug", "info", "warning", "error", "critical", "none"].contains(&level.as_str());
    if known {
        session.banner(format_args!("Setting log level to \"{level}\" ..."))?;
    }
    set(session, Setting::LogLevel { level })
}

fn rotate_logs(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.node()?;
    Err(Failure::new(
        UNAVAILABLE,
        "This command does not rotate logs anymore [deprecated]",
    ))
}

fn set_vhost_tags(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.argument(0).to_owned();
    let words = session.line.arguments().iter().skip(1);
    let tags = words.flat_map(|word| word.split(','));
    let tags: Vec<String> = tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    session.banner(format_args!(
        "Setting tags for virtual host \"{vhost}\" to [{}] ...",
        tags.join(", ")
    ))?;
    let setting = Setting::VhostTags {
        vhost: vhost.clone(),
        tags,
    };
    let node = session.node()?;
    set(session, setting).map_err(|failure| match failure.status {
        DATA => Failure::new(DATA, format_args!("Virtual host \"{vhost}\" does not exist")).or_json(json!({
            "message": format!("Virtual host \"{vhost}\" does not exists"), "node": node,
        })),
        _ => failure,
    })
}

fn trace(session: &mut Session<'_, '_>, on: bool) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let (doing, done) = match on {
        true => ("Starting", "enabled"),
        false => ("Stopping", "disabled"),
    };
    session.banner(format_args!("{doing} tracing for vhost \"{vhost}\" ..."))?;
    let setting = Setting::Tracing {
        vhost: vhost.clone(),
        on,
    };
    set(session, setting)?;
    let text = format!("Trace {done} for vhost {vhost}");
    session.answer(serde_json::json!({"value": text}), &text)
}

fn eval(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    Err(Failure::new(
        UNAVAILABLE,
        format_args!(
            "{}: Warren has no Erlang to evaluate. What is mostly asked for so has a verb: list_queues, list_connections, \
             status, environment, list_global_parameters, close_all_connections; `warren ctl help` lists them all.",
            session.verb.name
        ),
    ))
}

fn environment(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!("Application environment of node {node} ..."))?;
    let rows = session.rows_of(Listing::Environment {}, &["name", "value"])?;
    let read = |row: &[String]| {
        let [name, value] = row else { return None };
        Some((name.clone(), serde_json::from_str::<Value>(value).ok()?))
    };
    let items: Map<String, Value> = rows.iter().filter_map(|row| read(row)).collect();
    if session.format()? == Format::Json {
        return session.say(serde_json::json!({ "rabbit": items }));
    }
    let lines: Vec<String> = items
        .iter()
        .map(|(name, value)| format!("{{{name},{}}}", term(value)))
        .collect();
    session.say(format_args!("[{{rabbit,\n     [{}]}}]", lines.join(",\n      ")))
}

/// As Erlang writes it.
fn term(value: &Value) -> String {
    match value {
        Value::String(text) if matches!(text.as_str(), "infinity" | "undefined") => text.clone(),
        Value::String(text) => format!("<<{text:?}>>"),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(term).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{{{name},{}}}", term(value)))
                .collect();
            fields.join(",")
        }
        other => other.to_string(),
    }
}

/// One listing after the other, of every vhost.
fn report(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (node, time) = {
        let status = session.status()?;
        (status.node.clone(), status.time)
    };
    session.say(format_args!(
        "Reporting server status of node {node} at {time} ...\n"
    ))?;
    super::node::status(session)?;
    session.say("")?;
    super::node::cluster_status(session)?;
    session.say("")?;
    environment(session)?;
    for listing in [Listing::Connections {}, Listing::Channels {}] {
        lists::report(session, listing)?;
    }
    let vhosts = session.rows_of(Listing::Vhosts {}, &["name"])?;
    for vhost in vhosts.into_iter().flatten() {
        let some = Some(vhost.clone());
        for listing in [
            Listing::Queues { vhost: some.clone() },
            Listing::Exchanges { vhost: some.clone() },
            Listing::Bindings { vhost: some.clone() },
            Listing::Consumers { vhost: some.clone() },
            Listing::Permissions { vhost: vhost.clone() },
            Listing::Policies {
                vhost: vhost.clone(),
                operator: false,
            },
            Listing::Policies {
                vhost: vhost.clone(),
                operator: true,
            },
            Listing::Parameters { vhost: vhost.clone() },
        ] {
            session.say(format_args!("\nIn vhost {vhost}:"))?;
            lists::report(session, listing)?;
        }
    }
    lists::report(session, Listing::GlobalParameters {})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{millionths, octets, term};

    #[test]
    fn octets_are_said_with_rabbitmqs_units() {
        for (said, meant) in [
            ("50MB", Some(50_000_000)),
            ("1GiB", Some(1 << 30)),
            ("7", Some(7)),
            ("2k", Some(2048)),
            ("1Foo", None),
            ("MB", None),
            ("", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(octets(said), meant, "{said}");
        }
    }

    #[test]
    fn parts_of_the_memory_are_between_nothing_and_all() {
        assert_eq!(millionths(0.4, 1.0), Some(400_000));
        assert_eq!(millionths(1.5, 1.0), None);
        assert_eq!(millionths(-0.1, 1.0), None);
        assert_eq!(millionths(f64::NAN, 1.0), None);
    }

    #[test]
    fn terms_are_erlangs() {
        assert_eq!(
            term(&json!({"absolute": 5})) + &term(&json!(["guest", "infinity", 0.4])),
            "{absolute,5}[<<\"guest\">>,infinity,0.4]"
        );
    }
}
