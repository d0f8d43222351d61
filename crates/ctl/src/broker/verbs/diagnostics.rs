//! What `rabbitmq-diagnostics` is asked beside health checks: logins, certificates, logs, and the runtime of RabbitMQ that
//! is not here.

use std::net::ToSocketAddrs;
use std::time::Duration;

use serde_json::{Value, json};
use warren_api::broker::{Certificate, Listing, Request};

use super::{MANY, Verb};
use crate::broker::failure::{Failure, UNAVAILABLE, USAGE};
use crate::broker::output::Format;
use crate::broker::session::Session;

const MONITORING: &str = "Monitoring, observability and health checks";
const SECTION: &str = "Configuration and Environment";
const FLAGS: &str = "Feature flags";
const DEPRECATED: &str = "Deprecated";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A verb that asks Erlang.
const fn erlang(
    name: &'static str,
    usage: &'static str,
    arguments: (usize, usize),
    section: &'static str,
) -> Verb {
    Verb::new(
        name,
        usage,
        "Says that there is no Erlang here",
        arguments,
        no_erlang,
    )
    .of(section)
}

/// Those that `rabbitmqctl` has, too.
pub(super) static BOTH: [Verb; 5] = [
    Verb::new(
        "list_node_auth_attempt_stats",
        "[--by-source]",
        "Shows how many logins there were",
        (0, 0),
        list_logins,
    )
    .options(&["by-source"])
    .of(MONITORING),
    Verb::new(
        "node_health_check",
        "",
        "Says that the node answers; check_running and check_local_alarms say more",
        (0, 0),
        node_health_check,
    )
    .of(DEPRECATED),
    erlang("list_ciphers", "", (0, 0), MONITORING),
    erlang("list_hashes", "", (0, 0), MONITORING),
    erlang(
        "schema_info",
        "[--no-table-headers] [<column> ...]",
        (0, MANY),
        MONITORING,
    ),
];

/// Those that only `rabbitmqctl` has.
pub(super) static CTL: [Verb; 5] = [
    Verb::new(
        "enable_feature_flag",
        "<all | feature_flag>",
        "Does nothing: feature flags are always on",
        (1, 1),
        enable_feature_flag,
    )
    .of(FLAGS),
    Verb::new(
        "hipe_compile",
        "<directory>",
        "Does nothing: there is no Erlang here",
        (1, 1),
        |session| {
            session.say("This command is a no-op. HiPE is no longer supported by modern Erlang versions")
        },
    )
    .alone()
    .of(DEPRECATED),
    Verb::new(
        "decode",
        "value passphrase",
        "Says that configurations are not encrypted here",
        (0, MANY),
        not_encrypted,
    )
    .of(SECTION),
    Verb::new(
        "encode",
        "value passphrase",
        "Says that configurations are not encrypted here",
        (0, MANY),
        not_encrypted,
    )
    .of(SECTION),
    erlang("exec", "<expr>", (1, MANY), SECTION),
];

pub(super) static VERBS: [Verb; 22] = [
    Verb::new(
        "certificates",
        "",
        "Shows the certificates of listeners with TLS",
        (0, 0),
        certificates,
    )
    .of(SECTION),
    Verb::new(
        "check_certificate_expiration",
        "[--within <period>] [--unit <unit>]",
        "Fails if a certificate of a listener expires soon, in 4 weeks unless said otherwise",
        (0, 0),
        check_certificate_expiration,
    )
    .options(&["within", "unit"])
    .of(MONITORING),
    Verb::new(
        "reset_node_auth_attempt_metrics",
        "",
        "Counts logins from nothing",
        (0, 0),
        reset_logins,
    )
    .of(SECTION),
    Verb::new(
        "disable_auth_attempt_source_tracking",
        "",
        "Does nothing: logins are not counted by address",
        (0, 0),
        |session| {
            session.node()?;
            session.banner("Disabling authentication attempt source tracking ...")
        },
    )
    .of(SECTION),
    Verb::new(
        "enable_auth_attempt_source_tracking",
        "",
        "Does not count logins by address: the log names who was refused",
        (0, 0),
        |session| {
            Err(Failure::new(
                UNAVAILABLE,
                format_args!(
                    "{}: logins are not counted by address; the log names user and address of each that was refused",
                    session.verb.name
                ),
            ))
        },
    )
    .of(SECTION),
    Verb::new(
        "log_tail",
        "[--number|-N <number>] [--timeout <timeout>]",
        "Says how the end of the log is read",
        (0, 0),
        log_elsewhere,
    )
    .options(&["number"])
    .of(MONITORING),
    Verb::new(
        "log_tail_stream",
        "[--duration|-d <seconds>] [--timeout <timeout>]",
        "Says how the log is followed",
        (0, 0),
        log_elsewhere,
    )
    .options(&["duration"])
    .of(MONITORING),
    Verb::new(
        "consume_event_stream",
        "[--duration|-d <seconds>] [--pattern <pattern>]",
        "Says how the log is followed, which has what happens",
        (0, 0),
        log_elsewhere,
    )
    .options(&["duration", "pattern"])
    .of(MONITORING),
    Verb::new(
        "erlang_version",
        "[--details]",
        "Says that there is no Erlang here",
        (0, 0),
        erlang_version,
    )
    .options(&["details"])
    .of(MONITORING),
    erlang("erlang_cookie_hash", "", (0, 0), SECTION),
    erlang("remote_shell", "", (0, 0), MONITORING),
    erlang("observer", "", (0, 0), MONITORING),
    Verb::new(
        "maybe_stuck",
        "[--timeout <timeout>]",
        "Finds no process of Erlang that is stuck: there are none",
        (0, 0),
        maybe_stuck,
    )
    .of(MONITORING),
    Verb::new(
        "os_env",
        "",
        "Lists the environment variables of RabbitMQ that count here",
        (0, 0),
        os_env,
    )
    .alone()
    .of(SECTION),
    Verb::new(
        "tls_versions",
        "",
        "Lists the versions of TLS that are spoken",
        (0, 0),
        tls_versions,
    )
    .of(MONITORING),
    Verb::new(
        "resolve_hostname",
        "<hostname> [--address-family <ipv4 | ipv6>]",
        "Shows the addresses of a name, as this host knows them",
        (1, 1),
        resolve_hostname,
    )
    .options(&["address-family"])
    .of(SECTION),
    Verb::new(
        "cipher_suites",
        "[--format <openssl | erlang | map>] [--all]",
        "Lists the cipher suites that TLS uses",
        (0, 0),
        cipher_suites,
    )
    .options(&["format", "all"])
    .of(MONITORING),
    erlang("command_line_arguments", "", (0, 0), SECTION),
    erlang("erlang_cookie_sources", "", (0, 0), SECTION),
    Verb::new(
        "list_network_interfaces",
        "[--offline]",
        "Says how interfaces are listed",
        (0, 0),
        interfaces,
    )
    .options(&["offline"])
    .of(MONITORING),
    erlang("resolver_info", "[--offline]", (0, 0), SECTION).options(&["offline"]),
    erlang("runtime_thread_stats", "[--sample-interval <interval>]", (0, 0), MONITORING).options(&["sample-interval"]),
];

fn list_logins(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Listing authentication\n attempts for node \"{node}\" ..."
    ))?;
    let listing = Listing::Logins {};
    let columns = listing.columns();
    let found = match session.line.is_set("by-source") {
        // They are not counted so.
        true => Vec::new(),
        false => session.rows_of(listing.clone(), columns)?,
    };
    if session.format()? == Format::Json {
        let one = |row: &Vec<String>| {
            let field = |(column, value): (&&str, &String)| {
                let value = value
                    .parse::<u64>()
                    .map_or_else(|_| json!(value), |count| json!(count));
                ((*column).to_owned(), value)
            };
            columns
                .iter()
                .zip(row)
                .map(field)
                .collect::<serde_json::Map<_, _>>()
        };
        let attempts: Vec<Value> = found.iter().map(one).map(Value::Object).collect();
        return session.say(json!({"attempts": attempts, "node": node, "result": "ok"}));
    }
    match found.is_empty() {
        true => session.say(format_args!(
            "Node {node} reported no authentication attempt stats"
        )),
        false => session.list(listing, columns),
    }
}

fn reset_logins(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!("Reset auth attempt metrics on node {node} ..."))?;
    session.change(&Request::ResetLogins {})?;
    Ok(())
}

fn node_health_check(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(
        "This command is DEPRECATED and will be removed in a future version.\n\
         It performs intrusive, opinionated health checks and requires a fully booted node.\n\
         Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.",
    )?;
    let seconds = session.line.timeout().map_or(70, |timeout| timeout.as_secs());
    session.banner(format_args!("Timeout: {seconds} seconds ..."))?;
    session.banner(format_args!("Checking health of node {node} ..."))?;
    match super::node::alarms(session.status()?) {
        None => session.say("Health check passed"),
        Some(alarms) => Err(Failure::new(
            super::super::failure::SOFTWARE,
            format_args!("health check failed. Message: resource alarm(s) in effect: {alarms}"),
        )),
    }
}

fn enable_feature_flag(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let flag = session.line.argument(0).to_owned();
    let node = session.node()?;
    match flag.as_str() {
        "all" => session.banner("Enabling all feature flags ..."),
        flag => {
            session.banner(format_args!("Enabling feature flag \"{flag}\" ..."))?;
            match super::node::FEATURE_FLAGS.contains(&flag) {
                true => Ok(()),
                false => Err(Failure::new(
                    USAGE,
                    format_args!("This feature flag is not supported by node {node}"),
                )),
            }
        }
    }
}

fn certificates(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let status = session.status()?.clone();
    session.banner(format_args!("Certificates of node {} ...", status.node))?;
    match status.certificates.is_empty() {
        true => session.say("#{}"),
        false => status
            .certificates
            .iter()
            .try_for_each(|certificate| session.say(describe(certificate))),
    }
}

fn describe(certificate: &Certificate) -> String {
    format!(
        "{}: {}, until {}",
        certificate.file, certificate.subject, certificate.expires
    )
}

fn check_certificate_expiration(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let unit = session.line.value("unit").unwrap_or("weeks").to_lowercase();
    let days: u32 = match unit.as_str() {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        other => {
            let text =
                format!("\"unit '{other}' is not supported. Please use one of: days, weeks, months, years\"");
            return Err(Failure::argument(USAGE, text));
        }
    };
    let within = session.line.value("within").unwrap_or("4").to_owned();
    let count: u32 = within
        .parse()
        .map_err(|_| Failure::argument(USAGE, format_args!("\"within {within} is no number of {unit}\"")))?;
    let status = session.status()?.clone();
    session.banner(format_args!(
        "Checking certificate expiration on node {} ...",
        status.node
    ))?;
    let patience = DAY.saturating_mul(count.saturating_mul(days));
    let soon: Vec<String> = status
        .certificates
        .iter()
        .filter(|certificate| certificate.expires.since(status.time) <= patience)
        .map(describe)
        .collect();
    let unit = match count {
        1 => unit.trim_end_matches('s'),
        _ => unit.as_str(),
    };
    match soon.is_empty() {
        true => session.say(format_args!(
            "No certificates are expiring within {count} {unit}."
        )),
        false => Err(Failure::new(
            UNAVAILABLE,
            format_args!(
                "The following certificates expire within {count} {unit}: replace their files, which are read by themselves\n{}",
                soon.join("\n")
            ),
        )),
    }
}

fn log_elsewhere(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let places = session.status()?.log_files.clone();
    let name = session.verb.name;
    let text = match places.iter().find(|place| place.starts_with('/')) {
        Some(file) => {
            format!("{name}: the node logs to {file}: read it with tail -n 50, and follow it with tail -f")
        }
        None => format!(
            "{name}: the node logs to {}, which is read with journalctl -u warren-broker -n 50, and followed with -f",
            places.join(", ")
        ),
    };
    Err(Failure::new(UNAVAILABLE, text))
}

fn erlang_version(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let status = session.status()?.clone();
    session.banner(format_args!(
        "Asking node {} for its Erlang/OTP version...",
        status.node
    ))?;
    session.say(format_args!("none: Warren {} is written in Rust", status.version))
}

fn no_erlang(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    Err(Failure::new(
        UNAVAILABLE,
        format_args!(
            "{}: there is no Erlang here; status, environment and report say what the node is doing",
            session.verb.name
        ),
    ))
}

fn not_encrypted(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    Err(Failure::new(
        UNAVAILABLE,
        format_args!(
            "{}: values of a configuration are not encrypted here; let nobody but the broker's user read the file",
            session.verb.name
        ),
    ))
}

fn interfaces(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    Err(Failure::new(
        UNAVAILABLE,
        format_args!(
            "{}: `ip address` lists the interfaces of this host, and `warren broker status` where the broker listens",
            session.verb.name
        ),
    ))
}

/// Those that are safe, as OpenSSL calls them: nobody can choose others.
fn cipher_suites(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.banner("Listing available cipher suites in OpenSSL format")?;
    [
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_GCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ]
    .iter()
    .try_for_each(|suite| session.say(suite))
}

fn maybe_stuck(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let node = session.node()?;
    session.banner(format_args!(
        "Asking node {node} to detect potentially stuck Erlang processes..."
    ))?;
    session.say("There are 0 processes.")
}

/// Those of whoever asks: the broker's own may be others.
fn os_env(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.banner("Listing RabbitMQ-specific environment variables of this shell...")?;
    let mut found: Vec<(String, String)> = std::env::vars()
        .filter(|(name, _)| {
            name.starts_with("RABBITMQ_") && !name.contains("PASS") && !name.contains("COOKIE")
        })
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .try_for_each(|(name, value)| session.say(format_args!("{name}={value}")))
}

fn tls_versions(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    session.banner("Listing all TLS versions supported by the runtime...")?;
    ["tlsv1.3", "tlsv1.2"]
        .iter()
        .try_for_each(|version| session.say(version))
}

fn resolve_hostname(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let (host, node) = (session.line.argument(0).to_owned(), session.node()?);
    let six = session
        .line
        .value("address-family")
        .is_some_and(|family| family.eq_ignore_ascii_case("ipv6"));
    let family = if six { "IPv6" } else { "IPv4" };
    session.banner(format_args!(
        "Asking node {node} to resolve hostname {host} to {family} addresses..."
    ))?;
    let found = (host.as_str(), 0).to_socket_addrs();
    let found = found.map_err(|error| Failure::new(UNAVAILABLE, format_args!("{host}: {error}")))?;
    let mut addresses: Vec<String> = found
        .filter(|address| address.is_ipv6() == six)
        .map(|address| address.ip().to_string())
        .collect();
    addresses.dedup();
    addresses.into_iter().try_for_each(|address| session.say(address))
}
