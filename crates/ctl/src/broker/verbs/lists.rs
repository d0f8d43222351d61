//! What there is: queues, exchanges, bindings, and who is connected.

use warren_api::broker::Listing;

use super::{MANY, Verb};
use crate::broker::failure::Failure;
use crate::broker::session::Session;

const MONITORING: &str = "Monitoring, observability and health checks";
const COLUMNS: &str = "[--vhost <vhost>] [--no-table-headers] [<column> ...] [--timeout <timeout>]";

pub(super) static VERBS: [Verb; 7] = [
    Verb::new(
        "list_queues",
        "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] [--timeout <timeout>]",
        "Lists queues and what they have",
        (0, MANY),
        list_queues,
    )
    .options(&["online", "offline", "local"])
    .of(MONITORING),
    Verb::new("list_exchanges", COLUMNS, "Lists exchanges", (0, MANY), list_exchanges).of(MONITORING),
    Verb::new("list_bindings", COLUMNS, "Lists bindings", (0, MANY), list_bindings).of(MONITORING),
    Verb::new(
        "list_consumers",
        COLUMNS,
        "Lists who consumes from which queue",
        (0, MANY),
        list_consumers,
    )
    .of(MONITORING),
    Verb::new(
        "list_connections",
        "[--no-table-headers] [<column> ...] [--timeout <timeout>]",
        "Lists connections",
        (0, MANY),
        list_connections,
    )
    .of(MONITORING),
    Verb::new(
        "list_channels",
        "[--no-table-headers] [<column> ...]",
        "Lists channels of all connections",
        (0, MANY),
        list_channels,
    )
    .of(MONITORING),
    Verb::new(
        "list_unresponsive_queues",
        "[--local] [--queue-timeout <milliseconds>] [<column> ...] [--no-table-headers] [--timeout <timeout>]",
        "Lists queues that do not answer: none, as a queue is no process here",
        (0, MANY),
        list_unresponsive_queues,
    )
    .options(&["local", "queue-timeout", "all"])
    .of(MONITORING),
];

fn list_queues(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let listing = Listing::Queues {
        vhost: Some(vhost.clone()),
    };
    let columns = session.columns(&listing, &["name", "messages"])?;
    session.banner(format_args!("Timeout: {:.1} seconds ...", session.seconds()))?;
    session.banner(format_args!("Listing queues for vhost {vhost} ..."))?;
    match session.line.is_set("offline") && !session.line.is_set("online") {
        // Whoever answers is online, and there is nobody else.
        true => session.rows(&columns, []),
        false => session.list(listing, &columns),
    }
}

fn list_exchanges(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let listing = Listing::Exchanges {
        vhost: Some(vhost.clone()),
    };
    let columns = session.columns(&listing, &["name", "type"])?;
    session.banner(format_args!("Listing exchanges for vhost {vhost} ..."))?;
    session.list(listing, &columns)
}

fn list_bindings(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let listing = Listing::Bindings {
        vhost: Some(vhost.clone()),
    };
    let usual = [
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
    ];
    let columns = session.columns(&listing, &usual)?;
    session.banner(format_args!("Listing bindings for vhost {vhost}..."))?;
    session.list(listing, &columns)
}

fn list_consumers(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    let listing = Listing::Consumers {
        vhost: Some(vhost.clone()),
    };
    let usual = [
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "arguments",
    ];
    let columns = session.columns(&listing, &usual)?;
    session.banner(format_args!("Listing consumers in vhost {vhost} ..."))?;
    session.list(listing, &columns)
}

fn list_connections(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let usual = ["user", "peer_host", "peer_port", "state"];
    let columns = session.columns(&Listing::Connections {}, &usual)?;
    session.banner("Listing connections ...")?;
    session.list(Listing::Connections {}, &columns)
}

fn list_channels(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let usual = ["pid", "user", "consumer_count", "messages_unacknowledged"];
    let columns = session.columns(&Listing::Channels {}, &usual)?;
    session.banner("Listing channels ...")?;
    session.list(Listing::Channels {}, &columns)
}

/// All columns of a listing, for whoever is asked for help.
pub(super) fn report(session: &mut Session<'_, '_>, listing: Listing) -> Result<(), Failure> {
    let columns = listing.columns();
    session.say(format_args!("\n{}:", title(&listing)))?;
    session.list(listing, columns)
}

const fn title(listing: &Listing) -> &'static str {
    match listing {
        Listing::Connections {} => "Connections",
        Listing::Channels {} => "Channels",
        Listing::Queues { .. } => "Queues",
        Listing::Exchanges { .. } => "Exchanges",
        Listing::Bindings { .. } => "Bindings",
        Listing::Consumers { .. } => "Consumers",
        Listing::Permissions { .. } => "Permissions",
        Listing::Policies { operator: false, .. } => "Policies",
        Listing::Policies { operator: true, .. } => "Operator policies",
        Listing::Parameters { .. } => "Parameters",
        Listing::GlobalParameters {} => "Global parameters",
        _ => "Others",
    }
}

fn list_unresponsive_queues(session: &mut Session<'_, '_>) -> Result<(), Failure> {
    let vhost = session.line.vhost().to_owned();
    // A broker that does not answer has none that do.
    session.node()?;
    session.banner(format_args!("Listing unresponsive queues for vhost {vhost} ..."))
}
