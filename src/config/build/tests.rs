use std::net::IpAddr;
use std::time::Duration;

use warren_kit::config::{Config, Sources};
use warren_kit::diagnostics::SourceFile;
use warren_vrrp::checksum::{ChecksumForm, ChecksumPolicy};
use warren_vrrp::router::Failback;
use warren_vrrp::{Family, Version};

use super::*;
use crate::config::plan::{CheckKind, Delivery};

/// The plan of a file and what was said about it.
fn planned(text: &str) -> Result<(Plan, String), String> {
    let source = SourceFile::new("warren.toml", text);
    let sources = Sources::single(source.clone());
    let config = Config::parse(&source, &["vrrp"]).map_err(|error| error.render(false))?;
    let file: Vrrp = config
        .section("vrrp", "alpha")
        .map_err(|error| error.render(false))?
        .expect("a [vrrp] section");
    match build(&file, "alpha") {
        Ok((plan, warnings)) => Ok((plan, sources.render(&warnings, false))),
        Err(errors) => Err(sources.render(&errors, false)),
    }
}

fn accepted(text: &str) -> Plan {
    match planned(text) {
        Ok((plan, warnings)) if warnings.is_empty() => plan,
        Ok((_, warnings)) => panic!("warnings:\n{warnings}"),
        Err(errors) => panic!("errors:\n{errors}"),
    }
}

/// A router with everything it must have, and `lines`.
fn router(lines: &str) -> String {
    format!("[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 51\n{lines}\n")
}

#[test]
fn a_router_needs_no_more_than_an_interface_and_a_vrid() {
    let plan = accepted(&router("addresses = [\"192.0.2.1\"]"));
    assert_eq!(plan.router_id, "alpha");
    assert_eq!(plan.realtime_priority, Some(50));
    assert_eq!(plan.lease, Lease::Auto);
    assert_eq!(plan.repair_limit, 5);
    assert!(plan.script_security);
    let [router] = plan.routers.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(&*router.name, "web");
    assert_eq!(router.priority, 254);
    assert_eq!(router.settings.version, Version::V3);
    assert_eq!(router.settings.family, Family::V4);
    assert_eq!(router.settings.interval, Duration::from_millis(100));
    assert_eq!(router.settings.failback, Failback::Auto);
    assert_eq!(router.settings.dead_after, 3);
    assert_eq!(
        router.checksum,
        ChecksumPolicy::Auto {
            first: ChecksumForm::Rfc9568
        }
    );
    assert_eq!(router.delivery, Delivery::Multicast);
    assert_eq!(router.announce.rounds, [0, 100, 1000].map(Duration::from_millis));
    assert_eq!(router.announce.refresh, Some(Duration::from_secs(60)));
    assert!(router.announce.arp_request && router.announce.arp_reply);
    assert_eq!(router.notify.timeout, Duration::from_secs(30));
    let [address] = router.addresses.as_slice() else {
        panic!("{router:?}")
    };
    assert_eq!(
        (address.prefix, address.prefix_route, address.scope),
        (32, false, 0)
    );
}

#[test]
fn version_2_defaults_to_one_second() {
    let plan = accepted(&router("version = 2"));
    assert_eq!(plan.routers[0].settings.interval, Duration::from_secs(1));
}

#[test]
fn a_prefix_shorter_than_the_host_brings_its_route_along() {
    let plan = accepted(&router(
        r#"addresses = ["192.0.2.1/24", { address = "192.0.2.2/24", prefix_route = false, broadcast = "+", scope = "link", label = "eth0:vip", device = "eth1" }]"#,
    ));
    let addresses = &plan.routers[0].addresses;
    assert!(addresses[0].prefix_route);
    assert!(!addresses[1].prefix_route);
    assert_eq!(addresses[1].broadcast, Some("192.0.2.255".parse().unwrap()));
    assert_eq!(addresses[1].scope, 253);
    assert_eq!(addresses[1].label.as_deref(), Some("eth0:vip"));
    assert_eq!(addresses[1].device.as_deref(), Some("eth1"));
}

#[test]
fn the_family_follows_from_whatever_is_there() {
    for (lines, family) in [
        (r#"addresses = ["fe80::1", "2001:db8::1/64"]"#, Family::V6),
        (r#"peers = ["2001:db8::2"]"#, Family::V6),
        (r#"source = "fe80::2""#, Family::V6),
        (r#"family = "ipv6""#, Family::V6),
        ("", Family::V4),
    ] {
        assert_eq!(
            accepted(&router(lines)).routers[0].settings.family,
            family,
            "{lines}"
        );
    }
}

#[test]
fn failback_has_three_forms() {
    for (text, failback) in [
        ("auto", Failback::Auto),
        ("manual", Failback::Manual),
        ("after 60s", Failback::After(Duration::from_secs(60))),
    ] {
        let plan = accepted(&router(&format!("failback = \"{text}\"")));
        assert_eq!(plan.routers[0].settings.failback, failback);
    }
}

#[test]
fn a_routers_announcement_keys_go_before_the_common_ones() {
    let text = router("announce = { repeat = 2, refresh = \"0s\" }")
        + "[vrrp.announce]\nrepeat = 5\nrounds = [\"5s\", \"0s\"]\nforms = [\"request\"]\n";
    let announce = &accepted(&text).routers[0].announce;
    assert_eq!((announce.repeat, announce.lower_priority_repeat), (2, 2));
    assert_eq!(announce.rounds, [0, 5].map(Duration::from_secs));
    assert_eq!(announce.lower_priority_rounds, announce.rounds);
    assert_eq!(announce.refresh, None);
    assert!(announce.arp_request && !announce.arp_reply);
}

#[test]
fn a_check_releases_unless_it_has_a_weight_and_the_use_overrides_it() {
    let text = router(
        r#"priority = 100
           checks = ["a", "b", { check = "c", weight = 0 }, { check = "d", weight = 7, reverse = true }]"#,
    ) + r#"
        [vrrp.check.a]
        script = "killall -0 haproxy"
        [vrrp.check.b]
        script = "/usr/local/bin/check 'two words'"
        weight = -20
        on_fail = "demote"
        [vrrp.check.c]
        tcp = "127.0.0.1:5672"
        weight = -20
        [vrrp.check.d]
        http = "http://[::1]/health"
        reverse = true
        interval = "500ms"
    "#;
    let plan = accepted(&text);
    let weights: Vec<_> = plan.routers[0]
        .checks
        .iter()
        .map(|check| (check.weight, check.reverse))
        .collect();
    assert_eq!(
        weights,
        [(None, false), (Some(-20), false), (None, false), (Some(7), false)]
    );
    let CheckKind::Process(process) = &plan.checks[0].kind else {
        panic!("{:?}", plan.checks[0])
    };
    assert_eq!(
        (process.name.as_str(), process.least, process.most),
        ("haproxy", 1, None)
    );
    let words = ["/usr/local/bin/check", "two words"].map(str::to_owned).to_vec();
    assert_eq!(
        plan.checks[1].kind,
        CheckKind::Script {
            argv: words,
            user: None
        }
    );
    assert_eq!(
        plan.checks[2].kind,
        CheckKind::Tcp {
            target: "127.0.0.1:5672".into()
        }
    );
    let http = CheckKind::Http {
        host: "[::1]".into(),
        target: "[::1]:80".into(),
        path: "/health".into(),
    };
    assert_eq!(plan.checks[3].kind, http);
    assert_eq!(plan.checks[3].timeout, Duration::from_millis(500));
}

#[test]
fn a_groups_checks_count_for_every_member() {
    let text = router("checks = [\"a\"]")
        + r#"
        [vrrp.router.other]
        interface = "eth1"
        vrid = 52
        [vrrp.group.pair]
        routers = ["web", "other"]
        checks = ["a", "b"]
        [vrrp.check.a]
        process = "a"
        [vrrp.check.b]
        file = "/run/b"
    "#;
    let plan = accepted(&text);
    let checks_of = |name: &str| {
        let router = plan.routers.iter().find(|router| &*router.name == name).unwrap();
        router.checks.iter().map(|used| used.check).collect::<Vec<_>>()
    };
    assert_eq!(checks_of("web"), [0, 1]);
    assert_eq!(checks_of("other"), [0, 1]);
    assert_eq!(plan.groups[0].routers, [1, 0]);
}

#[test]
fn scripts_run_as_the_nearest_user_named() {
    let text = router("checks = [\"a\", \"b\"]\nnotify = { master = \"/bin/a\" }")
        + r#"
        [vrrp.check.a]
        script = "/bin/a"
        user = "nobody:nogroup"
        [vrrp.check.b]
        script = "a | b"
        shell = true
        [vrrp]
        script_user = "checks"
    "#;
    let plan = accepted(&text);
    let users: Vec<String> = plan
        .checks
        .iter()
        .map(|check| match &check.kind {
            CheckKind::Script { user: Some(user), .. } => format!("{}:{:?}", user.user, user.group),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(users, ["nobody:Some(\"nogroup\")", "checks:None"]);
    assert_eq!(plan.routers[0].notify.user.as_ref().unwrap().user, "checks");
    let CheckKind::Script { argv, .. } = &plan.checks[1].kind else {
        panic!()
    };
    assert_eq!(argv, &["/bin/sh", "-c", "a | b"]);
}

#[test]
fn routes_and_rules_take_the_family_of_their_addresses() {
    let plan = accepted(&router(
        r#"routes = [{ to = "0.0.0.0/0", via = "192.0.2.254", metric = 10 }, { to = "2001:db8:1::/48", device = "eth1", scope = "link" }]
           rules = [{ from = "192.0.2.1", table = 100, preference = 5 }, { mark = 1, table = 7 }]"#,
    ));
    let router = &plan.routers[0];
    assert_eq!((router.routes[0].to, router.routes[0].family), (None, Family::V4));
    let prefix: IpAddr = "2001:db8:1::".parse().unwrap();
    assert_eq!(
        (router.routes[1].to, router.routes[1].family),
        (Some((prefix, 48)), Family::V6)
    );
    assert_eq!(router.rules[0].from, Some(("192.0.2.1".parse().unwrap(), 32)));
    assert_eq!((router.rules[1].from, router.rules[1].mark), (None, Some(1)));
}

/// One mistake each; the snapshot shows how each is explained.
const WRONG: &[(&str, &str)] = &[
    ("vrid zero", "[vrrp.router.a]\ninterface = \"eth0\"\nvrid = 0"),
    (
        "interface name",
        "[vrrp.router.a]\ninterface = \"a-name-too-long-for-linux\"\nvrid = 1",
    ),
    (
        "name with a blank",
        "[vrrp.router.\"a b\"]\ninterface = \"eth0\"\nvrid = 1",
    ),
    (
        "vrid twice",
        "[vrrp.router.a]\ninterface = \"eth0\"\nvrid = 1\n[vrrp.router.b]\ninterface = \"eth0\"\nvrid = 1",
    ),
    (
        "address of another router",
        "[vrrp.router.a]\ninterface = \"eth0\"\nvrid = 1\naddresses = [\"192.0.2.1\"]\n[vrrp.router.b]\ninterface = \"eth0\"\nvrid = 2\naddresses = [\"192.0.2.1/24\"]",
    ),
    (
        "same virtual mac",
        "[vrrp.router.a]\ninterface = \"eth0\"\nvrid = 1\nvirtual_mac = true\n[vrrp.router.b]\ninterface = \"eth1\"\nvrid = 1\nvirtual_mac = true",
    ),
    (
        "static address without device",
        "[vrrp]\nstatic_addresses = [\"192.0.2.1\"]",
    ),
    ("lease", "[vrrp]\nlease = \"1500ms\""),
    ("real time", "[vrrp]\nrealtime_priority = 100"),
    ("script user", "[vrrp]\nscript_user = \":group\""),
    ("group without members", "[vrrp.group.g]\nrouters = []"),
    (
        "group with a stranger",
        "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 1\n[vrrp.group.g]\nrouters = [\"wbe\"]",
    ),
    (
        "router in two groups",
        "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 1\n[vrrp.group.g]\nrouters = [\"web\"]\n[vrrp.group.h]\nrouters = [\"web\"]",
    ),
    (
        "weights in a group",
        "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 1\nchecks = [{ check = \"c\", weight = 5 }]\n[vrrp.check.c]\nprocess = \"x\"\n[vrrp.group.g]\nrouters = [\"web\"]",
    ),
    ("check of nothing", "[vrrp.check.c]\ninterval = \"1s\""),
    (
        "check of two things",
        "[vrrp.check.c]\nprocess = \"x\"\ntcp = \"127.0.0.1:1\"",
    ),
    (
        "key of another kind",
        "[vrrp.check.c]\ntcp = \"127.0.0.1:1\"\nuser = \"x\"",
    ),
    (
        "demote without weight",
        "[vrrp.check.c]\nprocess = \"x\"\non_fail = \"demote\"",
    ),
    (
        "release with weight",
        "[vrrp.check.c]\nprocess = \"x\"\non_fail = \"release\"\nweight = -2",
    ),
    (
        "on_fail word",
        "[vrrp.check.c]\nprocess = \"x\"\non_fail = \"relase\"",
    ),
    (
        "weight out of range",
        "[vrrp.check.c]\nprocess = \"x\"\nweight = -254",
    ),
    (
        "check interval",
        "[vrrp.check.c]\nscript = \"x\"\ninterval = \"1ms\"",
    ),
    ("rise", "[vrrp.check.c]\nscript = \"x\"\nrise = 0"),
    ("unclosed quote", "[vrrp.check.c]\nscript = \"a 'b\""),
    ("empty script", "[vrrp.check.c]\nscript = \" \""),
    ("process path", "[vrrp.check.c]\nprocess = \"/usr/sbin/haproxy\""),
    (
        "process bounds",
        "[vrrp.check.c]\nprocess = \"x\"\nleast = 3\nmost = 2",
    ),
    ("relative file", "[vrrp.check.c]\nfile = \"drain\""),
    ("tcp target", "[vrrp.check.c]\ntcp = \"::1:5672\""),
    ("https", "[vrrp.check.c]\nhttp = \"https://127.0.0.1/\""),
    (
        "fifo reader without fifo",
        "[vrrp.notify]\nfifo_reader = \"/bin/cat\"",
    ),
    ("version", "ROUTER\nversion = 4"),
    ("v2 below a second", "ROUTER\nversion = 2\ninterval = \"500ms\""),
    ("v2 too long", "ROUTER\nversion = 2\ninterval = \"256s\""),
    ("v3 too long", "ROUTER\ninterval = \"60s\""),
    ("v3 too fine", "ROUTER\ninterval = \"15ms\""),
    ("v3 too short", "ROUTER\ninterval = \"5ms\""),
    ("v2 and IPv6", "ROUTER\nversion = 2\naddresses = [\"fe80::1\"]"),
    ("priority", "ROUTER\npriority = 256"),
    (
        "owner with a weight",
        "ROUTER\npriority = 255\nchecks = [{ check = \"c\", weight = -1 }]\n[vrrp.check.c]\nprocess = \"x\"",
    ),
    ("password in v3", "ROUTER\npassword = \"secret\""),
    ("empty password", "ROUTER\nversion = 2\npassword = \"\""),
    (
        "mixed families",
        "ROUTER\naddresses = [\"192.0.2.1\", \"2001:db8::1\"]",
    ),
    ("not an address", "ROUTER\naddresses = [\"192.0.2.256\"]"),
    ("prefix length", "ROUTER\naddresses = [\"192.0.2.1/33\"]"),
    ("multicast address", "ROUTER\naddresses = [\"224.0.0.1\"]"),
    (
        "address twice",
        "ROUTER\naddresses = [\"192.0.2.1\"]\nexcluded_addresses = [\"192.0.2.1/24\"]",
    ),
    (
        "label",
        "ROUTER\naddresses = [{ address = \"192.0.2.1\", label = \"a-label-too-long\" }]",
    ),
    (
        "label of IPv6",
        "ROUTER\naddresses = [\"fe80::1\", { address = \"2001:db8::1\", label = \"x\" }]",
    ),
    (
        "scope",
        "ROUTER\naddresses = [{ address = \"192.0.2.1\", scope = \"hots\" }]",
    ),
    (
        "unknown key of an address",
        "ROUTER\naddresses = [{ address = \"192.0.2.1\", lable = \"x\" }]",
    ),
    (
        "strict link-local",
        "ROUTER\nstrict = true\naddresses = [\"2001:db8::1\"]",
    ),
    (
        "peer of the other family",
        "ROUTER\naddresses = [\"192.0.2.1\"]\npeers = [\"2001:db8::2\"]",
    ),
    (
        "peer is the source",
        "ROUTER\nsource = \"192.0.2.7\"\npeers = [\"192.0.2.7\"]",
    ),
    (
        "peer twice",
        "ROUTER\npeers = [\"192.0.2.7\", { address = \"192.0.2.7\", min_ttl = 250 }]",
    ),
    ("peer with prefix", "ROUTER\npeers = [\"192.0.2.7/24\"]"),
    (
        "source is virtual",
        "ROUTER\nsource = \"192.0.2.1\"\naddresses = [\"192.0.2.1\"]",
    ),
    ("failback", "ROUTER\nfailback = \"never\""),
    ("failback delay", "ROUTER\nfailback = \"after 60\""),
    (
        "unknown check",
        "ROUTER\nchecks = [\"chk_haproxi\"]\n[vrrp.check.chk_haproxy]\nprocess = \"haproxy\"",
    ),
    (
        "check used twice",
        "ROUTER\nchecks = [\"c\", \"c\"]\n[vrrp.check.c]\nprocess = \"x\"",
    ),
    ("checksum form", "ROUTER\nchecksum = \"rfc5798\""),
    (
        "checksum_first with a fixed form",
        "ROUTER\nchecksum = \"rfc9568\"\nchecksum_first = \"pseudo-header\"",
    ),
    ("route to nowhere", "ROUTER\nroutes = [{ to = \"192.0.2.0/24\" }]"),
    (
        "route with host bits",
        "ROUTER\nroutes = [{ to = \"192.0.2.7/24\", via = \"10.0.0.1\" }]",
    ),
    ("rule without table", "ROUTER\nrules = [{ from = \"192.0.2.7\" }]"),
    ("virtual mac as text", "ROUTER\nvirtual_mac = \"yes\""),
];

const HARMLESS: &[(&str, &str)] = &[
    ("not link-local", "ROUTER\naddresses = [\"2001:db8::1\"]"),
    ("password", "ROUTER\nversion = 2\npassword = \"longer-than-8\""),
    (
        "no failback with weights",
        "ROUTER\nfailback = \"manual\"\nchecks = [{ check = \"c\", weight = -1 }]\n[vrrp.check.c]\nprocess = \"x\"",
    ),
    (
        "owner without failback",
        "ROUTER\npriority = 255\nfailback = \"manual\"",
    ),
    ("check that nobody uses", "[vrrp.check.c]\nprocess = \"x\""),
    (
        "shell operator",
        "ROUTER\nchecks = [\"c\"]\n[vrrp.check.c]\nscript = \"pidof a || exit 1\"",
    ),
    ("public metrics", "[vrrp]\nmetrics = \"0.0.0.0:9112\""),
    (
        "checksum without a choice",
        "ROUTER\nversion = 2\nchecksum = \"rfc9568\"",
    ),
];

fn expand(text: &str) -> String {
    text.replace("ROUTER\n", "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 51\n")
}

#[test]
fn every_mistake_is_shown_where_it_is_with_the_rule_and_the_fix() {
    let mut book = String::new();
    for (title, text) in WRONG {
        let errors = match planned(&expand(text)) {
            Err(errors) => errors,
            Ok((plan, _)) => panic!("{title} was accepted: {plan:?}"),
        };
        assert!(errors.contains('^'), "{title} has no caret:\n{errors}");
        book += &format!("### {title}\n{errors}\n");
    }
    insta::assert_snapshot!("mistakes", book);
}

#[test]
fn what_works_but_surprises_is_a_warning() {
    let mut book = String::new();
    for (title, text) in HARMLESS {
        match planned(&expand(text)) {
            Ok((_, warnings)) if !warnings.is_empty() => book += &format!("### {title}\n{warnings}\n"),
            other => panic!("{title}: {other:?}"),
        }
    }
    insta::assert_snapshot!("surprises", book);
}

#[test]
fn everything_that_can_grow_has_a_limit() {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().join(", ");
    let addresses = many(256, &|n| format!("\"10.0.{}.{}\"", n / 200, n % 200 + 1));
    let peers = many(256, &|n| format!("\"10.0.{}.{}\"", n / 200, n % 200 + 1));
    let checks: String = (0..1025)
        .map(|n| format!("[vrrp.check.c{n}]\nprocess = \"x\"\n"))
        .collect();
    let routers: String = (0..4097)
        .map(|n| format!("[vrrp.router.r{n}]\ninterface = \"eth{n}\"\nvrid = 1\n"))
        .collect();
    for (text, message) in [
        (
            router(&format!("addresses = [{addresses}]")),
            "256 addresses in one router are too many",
        ),
        (router(&format!("peers = [{peers}]")), "256 peers are too many"),
        (checks, "1025 checks are too many"),
        (routers, "4097 routers are too many"),
    ] {
        let errors = planned(&text).unwrap_err();
        assert!(
            errors.contains(message),
            "{message}:\n{}",
            &errors[..errors.len().min(2000)]
        );
    }
}

#[test]
fn a_check_that_nobody_uses_does_not_run() {
    let text =
        router("checks = [\"b\"]") + "[vrrp.check.a]\nprocess = \"a\"\n[vrrp.check.b]\nprocess = \"b\"\n";
    let (plan, warnings) = planned(&text).unwrap();
    let names: Vec<&str> = plan.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(plan.routers[0].checks[0].check, 0);
    assert!(
        warnings.contains("no router uses the check \"a\": it does not run"),
        "{warnings}"
    );
}
