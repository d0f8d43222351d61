use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::node::Settings;

/// What RabbitMQ 3.10.8 serves at `/metrics`, but for its scrapes themselves: names, types, labels.
const RECORDED: &str = include_str!("../../recorded/metrics.txt");
/// What it serves at `/metrics/detailed`, with the family before each.
const DETAILED: &str = include_str!("../../recorded/metrics-detailed.txt");
const DOCUMENT: &str = include_str!("../../../../docs/broker-metrics.md");

/// Beginnings of names that are not there: nothing here corresponds to them, or nobody counts it. The document says why.
const ABSENT: [&str; 22] = [
    "erlang_",
    "rabbitmq_channel_acks_uncommitted",
    "rabbitmq_channel_messages_uncommitted",
    "rabbitmq_channel_messages_unconfirmed",
    "rabbitmq_channel_prefetch",
    "rabbitmq_channel_process_",
    "rabbitmq_connection_process_",
    "rabbitmq_consumer_prefetch",
    "rabbitmq_erlang_",
    "rabbitmq_io_",
    "rabbitmq_msg_store_",
    "rabbitmq_queue_consumer_capacity",
    "rabbitmq_queue_consumer_utilisation",
    "rabbitmq_queue_disk_",
    "rabbitmq_queue_head_message_timestamp",
    "rabbitmq_queue_index_",
    "rabbitmq_queue_messages_paged_out_bytes",
    "rabbitmq_queue_messages_persistent",
    "rabbitmq_queue_messages_ram_bytes",
    "rabbitmq_queue_process_",
    "rabbitmq_raft_",
    "rabbitmq_schema_db_",
];
/// Families of `/metrics/detailed` of which nothing is there.
const ABSENT_FAMILIES: [&str; 7] = [
    "auth_attempt_detailed_metrics",
    "channel_exchange_metrics",
    "channel_process_metrics",
    "channel_queue_exchange_metrics",
    "channel_queue_metrics",
    "node_persister_metrics",
    "ra_metrics",
];

fn node() -> Arc<Node> {
    Node::new("rabbit@test".to_owned(), Settings::default())
}

async fn page(node: &Arc<Node>, wanted: Wanted) -> String {
    text(Arc::clone(node), Arc::default(), wanted).await
}

/// Names and labels of a page, without values of either.
fn shapes(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let shape = |line: &str| {
        let (name, labels) = line.split_once('{').unwrap_or((line, ""));
        let labels: Vec<&str> = labels
            .split(',')
            .filter_map(|label| label.split_once("=\""))
            .map(|(name, _)| name)
            .collect();
        let name = name.split(' ').next().unwrap_or_default();
        format!("{name} {}", labels.join(","))
    };
    lines.map(shape).collect()
}

/// Is this name of RabbitMQ's on a page, with this type and these labels? If not, it is one of those that are left out.
fn is_there(page: &str, name: &str, kind: &str, labels: &str) -> bool {
    let Some((_, rest)) = page.split_once(&format!("# TYPE {name} ")) else {
        let plain = name.replacen("_detailed_", "_", 1);
        assert!(ABSENT.iter().any(|absent| plain.starts_with(absent)), "no {name}");
        return false;
    };
    assert!(rest.starts_with(&format!("{kind}\n")), "{name} is no {kind}");
    let ours = shapes(page);
    let ours = ours
        .iter()
        .find_map(|shape| shape.strip_prefix(&format!("{name} ")));
    let ours: Vec<&str> = ours.unwrap_or_default().split(',').collect();
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        assert!(ours.contains(&label), "{name} has no {label}");
    }
    true
}

#[tokio::test]
async fn what_rabbitmq_serves_is_there_by_its_name_with_its_type_and_its_labels() {
    let page = page(&node(), Wanted::Sums).await;
    let (mut served, mut used) = (0, BTreeSet::<&str>::new());
    for line in RECORDED.lines() {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        // Of other nodes, of which there is none here: only its headline.
        let labels = words.next().filter(|_| name != "erlang_vm_dist_node_state");
        match is_there(&page, name, kind, labels.unwrap_or_default()) {
            true => served += 1,
            false => used.extend(ABSENT.iter().filter(|absent| name.starts_with(**absent))),
        }
    }
    assert_eq!(served, 82, "as many of RabbitMQ's names are there");
    assert_eq!(used.len(), ABSENT.len(), "only {used:?} are absent");
    for absent in ABSENT {
        assert!(DOCUMENT.contains(absent), "nothing is said of {absent}");
    }
}

#[tokio::test]
async fn what_rabbitmq_details_is_detailed_by_its_name_with_its_type_and_its_labels() {
    let (node, address) = crate::testing::node().await;
    let mut client = crate::testing::Client::open(address).await;
    client.declare("some").await;
    let mut served = 0;
    for line in DETAILED.lines() {
        let mut words = line.split(' ');
        let [family, name, kind] = [(); 3].map(|()| words.next().unwrap());
        if ABSENT_FAMILIES.contains(&family) {
            assert!(
                DOCUMENT.contains(&format!("`{family}`")),
                "nothing is said of {family}"
            );
            continue;
        }
        let wanted = Wanted::Detailed {
            families: vec![family.to_owned()],
            vhosts: Vec::new(),
        };
        let page = page(&node, wanted).await;
        served += u32::from(is_there(&page, name, kind, words.next().unwrap_or_default()));
    }
    assert_eq!(served, 44);
}

#[test]
fn every_family_has_a_name_of_its_own_that_says_its_type() {
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for family in FAMILIES {
        let counts = family.name.ends_with("_total");
        assert_eq!(family.kind == "counter", counts, "{}", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
        assert!(family.sum.is_some() || family.each.is_some(), "{}", family.name);
    }
}

#[tokio::test]
async fn a_scrape_of_ten_thousand_queues_has_as_many_lines_as_one_of_none_and_takes_less_than_50_ms() {
    const QUEUES: usize = 10_000;
    let node = node();
    let few = page(&node, Wanted::Sums).await;
    let queues: Vec<_> = (0..QUEUES)
        .map(|number| serde_json::json!({"name": format!("q{number}"), "vhost": "/", "durable": true}))
        .collect();
    let definitions = serde_json::json!({ "queues": queues }).to_string();
    let imported = node.import_definitions(&definitions, None).unwrap();
    assert_eq!((imported.done, imported.refused.len()), (QUEUES, 0));
    let mut fastest = Duration::MAX;
    // Others may have the processor meanwhile; the work itself is what counts.
    for _ in 0..20 {
        let start = Instant::now();
        let many = page(&node, Wanted::Sums).await;
        fastest = fastest.min(start.elapsed());
        assert_eq!(shapes(&many), shapes(&few));
        assert!(many.contains(&format!("\nrabbitmq_queues {QUEUES}\n")), "{many}");
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
    let each = page(&node, Wanted::PerObject).await;
    assert!(each.contains("rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q7\"} 0\n"));
}

#[tokio::test]
async fn only_the_families_that_were_asked_for_are_detailed() {
    let wanted = Wanted::Detailed {
        families: vec!["queue_coarse_metrics".to_owned()],
        vhosts: Vec::new(),
    };
    let page = page(&node(), wanted).await;
    assert!(
        page.contains("# TYPE rabbitmq_detailed_queue_messages gauge\n"),
        "{page}"
    );
    assert!(page.contains("rabbitmq_identity_info{"), "{page}");
    assert!(
        !page.contains("queue_consumers") && !page.contains("connection_"),
        "{page}"
    );
}

#[tokio::test]
async fn queues_of_the_vhosts_that_were_asked_for_are_detailed() {
    let node = node();
    let queues = serde_json::json!({
        "vhosts": [{"name": "wanted"}, {"name": "other"}],
        "queues": [{"name": "a", "vhost": "wanted"}, {"name": "b", "vhost": "other"}],
    });
    node.import_definitions(&queues.to_string(), None).unwrap();
    let detailed = |vhosts: &[&str]| Wanted::Detailed {
        families: vec!["queue_coarse_metrics".to_owned()],
        vhosts: vhosts.iter().map(ToString::to_string).collect(),
    };
    let counts = async |vhosts: &[&str]| {
        let page = page(&node, detailed(vhosts)).await;
        ["a", "b"].map(|queue| page.matches(&format!("queue=\"{queue}\"")).count() > 0)
    };
    assert_eq!(counts(&[]).await, [true, true]);
    assert_eq!(counts(&["wanted"]).await, [true, false]);
    assert_eq!(counts(&["nowhere"]).await, [false, false]);
}
