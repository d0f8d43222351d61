use super::*;
use crate::config::{Format, load};

const BASE: &str = "interface = \"eth0\"\nvrid = 51\naddresses = [\"192.0.2.1\"]\n";

fn plan(text: &str) -> Plan {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.toml");
    std::fs::write(&path, text).unwrap();
    load(&path, Format::Toml, "host")
        .unwrap_or_else(|error| panic!("{error}"))
        .plan
}

fn router(lines: &str) -> String {
    format!("[vrrp.router.web]\n{lines}\n")
}

fn found(alpha: &str, beta: &str) -> String {
    let hosts = [("alpha".to_owned(), plan(alpha)), ("beta".to_owned(), plan(beta))];
    let lines = compare(&hosts).into_iter().map(|finding| {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        if finding.fix.is_empty() {
            format!("{severity}: {}", finding.text)
        } else {
            format!("{severity}: {} | {}", finding.text, finding.fix)
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn hosts_that_fit_are_not_commented_on() {
    let (alpha, beta) = (
        router(&format!("{BASE}priority = 200")),
        router(&format!("{BASE}priority = 100")),
    );
    assert_eq!(found(&alpha, &beta), "");
    assert_eq!(compare(&[("alpha".to_owned(), plan(&alpha))]), []);
}

/// What alpha and beta say, each in addition to an interface.
const PAIRS: &[(&str, &str, &str)] = &[
    (
        "vrid",
        "vrid = 51\naddresses = [\"192.0.2.1\"]",
        "vrid = 52\naddresses = [\"192.0.2.1\"]",
    ),
    (
        "version",
        "vrid = 51\nversion = 2",
        "vrid = 51\ninterval = \"1s\"",
    ),
    (
        "interval of version 3",
        "vrid = 51",
        "vrid = 51\ninterval = \"1s\"",
    ),
    (
        "interval of version 2",
        "vrid = 51\nversion = 2",
        "vrid = 51\nversion = 2\ninterval = \"2s\"",
    ),
    (
        "family",
        "vrid = 51\nfamily = \"ipv4\"",
        "vrid = 51\nfamily = \"ipv6\"",
    ),
    (
        "addresses",
        "vrid = 51\naddresses = [\"192.0.2.1\", \"192.0.2.2\"]",
        "vrid = 51\naddresses = [\"192.0.2.1/24\"]",
    ),
    (
        "excluded addresses",
        "vrid = 51\nexcluded_addresses = [\"192.0.2.1\"]",
        "vrid = 51",
    ),
    (
        "password",
        "vrid = 51\nversion = 2\npassword = \"one\"",
        "vrid = 51\nversion = 2\npassword = \"two\"",
    ),
    (
        "password on one host",
        "vrid = 51\nversion = 2\npassword = \"one\"",
        "vrid = 51\nversion = 2",
    ),
    (
        "checksum",
        "vrid = 51\nchecksum = \"rfc9568\"",
        "vrid = 51\nchecksum = \"pseudo-header\"",
    ),
    (
        "unicast and multicast",
        "vrid = 51\npeers = [\"10.0.0.2\"]",
        "vrid = 51",
    ),
    (
        "peers not symmetric",
        "vrid = 51\nsource = \"10.0.0.1\"\npeers = [\"10.0.0.3\"]",
        "vrid = 51\nsource = \"10.0.0.2\"\npeers = [\"10.0.0.1\"]",
    ),
    (
        "two owners",
        "vrid = 51\npriority = 255",
        "vrid = 51\npriority = 255",
    ),
    (
        "equal priorities",
        "vrid = 51\npriority = 100",
        "vrid = 51\npriority = 100",
    ),
    ("dead_after", "vrid = 51\ndead_after = 5", "vrid = 51"),
    ("virtual mac", "vrid = 51\nvirtual_mac = true", "vrid = 51"),
];

#[test]
fn every_difference_is_named_with_its_consequence_and_the_fix() {
    let mut book = String::new();
    for (title, alpha, beta) in PAIRS {
        let with = |lines: &str, priority: &str| {
            let priority = if lines.contains("priority") { "" } else { priority };
            router(&format!("interface = \"eth0\"\n{lines}\n{priority}"))
        };
        let found = found(&with(alpha, "priority = 200"), &with(beta, "priority = 100"));
        assert!(!found.is_empty(), "{title}");
        book += &format!("### {title}\n{found}\n\n");
    }
    assert!(
        !book.contains("\"one\"") && !book.contains("two\""),
        "a password is shown:\n{book}"
    );
    insta::assert_snapshot!("differences", book);
}

#[test]
fn a_router_of_one_host_is_named() {
    let alpha = router(BASE);
    let found = found(&alpha, "[vrrp]\n");
    assert!(found.contains("web: only alpha has it"), "{found}");
}

#[test]
fn groups_that_differ_are_named() {
    let two = router(&format!("{BASE}priority = 200"))
        + "[vrrp.router.other]\ninterface = \"eth1\"\nvrid = 52\npriority = 9\n";
    let lower = two
        .replace("priority = 200", "priority = 100")
        .replace("priority = 9", "priority = 8");
    let grouped = format!("{two}[vrrp.group.both]\nrouters = [\"web\", \"other\"]\n");
    assert!(found(&grouped, &lower).contains("alpha and beta have different sync groups"));
    assert_eq!(found(&two, &lower), "");
}

/// The router with a base priority and a check of a weight; `None` releases.
fn with_check(priority: u8, weight: Option<i16>, lines: &str) -> String {
    let weight = weight.map_or_else(String::new, |weight| format!("weight = {weight}\n"));
    router(&format!(
        "{BASE}priority = {priority}\nchecks = [\"haproxy\"]\n{lines}"
    )) + &format!("[vrrp.check.haproxy]\nprocess = \"haproxy\"\n{weight}")
}

#[test]
fn a_failing_check_is_played_through() {
    let run = |alpha: (u8, Option<i16>), beta: (u8, Option<i16>)| {
        found(&with_check(alpha.0, alpha.1, ""), &with_check(beta.0, beta.1, ""))
    };
    assert_eq!(
        run((101, Some(-2)), (100, Some(-2))),
        "note: web: with haproxy failing on alpha (alpha 99, beta 100): beta becomes active"
    );
    assert_eq!(
        run((101, None), (100, None)),
        "note: web: with haproxy failing on alpha (alpha out, beta 100): beta becomes active"
    );
    assert_eq!(
        run((150, Some(-2)), (100, Some(-2))),
        "warning: web: with haproxy failing on alpha (alpha 148, beta 100): alpha stays active, nothing moves | \
         make the weight -51 or lower (it is -2), or let the check release the role (weight 0)"
    );
    assert_eq!(
        run((102, Some(-2)), (100, Some(-2))),
        "warning: web: with haproxy failing on alpha (alpha 100, beta 100): the higher address decides | \
         make the weight larger than the gap between the priorities, or let the check release the role (weight 0)"
    );
}

#[test]
fn positive_weights_count_while_well() {
    let found = found(&with_check(100, Some(20), ""), &with_check(90, Some(20), ""));
    assert_eq!(
        found,
        "note: web: with haproxy failing on alpha (alpha 100, beta 110): beta becomes active"
    );
}

#[test]
fn a_failure_that_makes_a_backup_active_is_named() {
    let beta = with_check(90, Some(-20), "").replace(
        "checks = [\"haproxy\"]",
        "checks = [{ check = \"haproxy\", reverse = true }]",
    );
    let alpha = router(&format!("{BASE}priority = 100"));
    let found = found(&alpha, &beta);
    assert!(
        found.contains("with haproxy failing on beta (alpha 100, beta 110): the failure makes it active"),
        "{found}"
    );
}
