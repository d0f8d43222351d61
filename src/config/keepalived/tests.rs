use std::path::PathBuf;
use std::time::Duration;

use warren_vrrp::Version;
use warren_vrrp::checksum::{ChecksumForm, ChecksumPolicy};
use warren_vrrp::packet::Password;
use warren_vrrp::router::Failback;

use crate::config::plan::{CheckKind, Delivery, Lease, Plan};
use crate::config::{Format, Loaded, load, translate};

/// Loads a text; its warnings and errors name the file `keepalived.conf`.
fn loaded(text: &str) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keepalived.conf");
    std::fs::write(&path, text).unwrap();
    let place = format!("{}/", directory.path().display());
    load(&path, Format::Keepalived, "alpha").map_err(|error| error.to_string().replace(&place, ""))
}

/// The plan of an instance with everything it must have, and `lines`.
fn instance(lines: &str) -> Plan {
    let text = format!("vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 51\n{lines}\n}}\n");
    loaded(&text).unwrap_or_else(|errors| panic!("{errors}")).plan
}

#[test]
fn the_defaults_are_keepaliveds() {
    let plan = instance("virtual_ipaddress {\n192.0.2.1\n}");
    assert!(!plan.script_security);
    assert_eq!(plan.lease, Lease::Auto);
    let router = &plan.routers[0];
    assert_eq!(router.priority, 100);
    assert_eq!(router.settings.version, Version::V2);
    assert_eq!(router.settings.interval, Duration::from_secs(1));
    assert_eq!(router.settings.failback, Failback::Auto);
    assert_eq!(
        router.checksum,
        ChecksumPolicy::Auto {
            first: ChecksumForm::Rfc9568
        }
    );
    let announce = &router.announce;
    assert_eq!(announce.rounds, [0, 5].map(Duration::from_secs));
    assert_eq!(announce.lower_priority_rounds, announce.rounds);
    assert_eq!((announce.repeat, announce.lower_priority_repeat), (5, 5));
    assert_eq!(announce.refresh, None);
    assert!(announce.arp_request && !announce.arp_reply);
}

#[test]
fn version_3_begins_with_the_pseudo_header_unless_told_otherwise() {
    for (lines, first) in [
        ("version 3", ChecksumForm::PseudoHeader),
        ("version 3\nv3_checksum_as_v2", ChecksumForm::Rfc9568),
        ("version 3\nv3_checksum_as_v2 off", ChecksumForm::PseudoHeader),
        ("version 2", ChecksumForm::Rfc9568),
    ] {
        assert_eq!(
            instance(lines).routers[0].checksum,
            ChecksumPolicy::Auto { first },
            "{lines}"
        );
    }
}

#[test]
fn ipv6_speaks_version_3() {
    let plan = instance("virtual_ipaddress {\nfe80::1\n}");
    assert_eq!(plan.routers[0].settings.version, Version::V3);
}

#[test]
fn preemption_follows_state_nopreempt_and_delay() {
    for (lines, failback) in [
        ("state BACKUP\nnopreempt", Failback::Manual),
        ("nopreempt", Failback::Manual),
        ("nopreempt\npreempt_delay 5", Failback::Manual),
        ("preempt_delay 4.5", Failback::After(Duration::from_millis(4500))),
        ("nopreempt\npreempt", Failback::Auto),
        ("state MASTER\nnopreempt", Failback::Auto),
        ("state MASTER\npreempt_delay 5", Failback::Auto),
        ("strict_mode\npreempt_delay 5", Failback::Auto),
    ] {
        assert_eq!(instance(lines).routers[0].settings.failback, failback, "{lines}");
    }
}

#[test]
fn passwords_are_left_out_where_the_protocol_has_none() {
    let block = "authentication {\nauth_type PASS\nauth_pass 1234\n}\n";
    assert_eq!(instance(block).routers[0].password, Some(Password::new("1234")));
    assert_eq!(instance(&format!("version 3\n{block}")).routers[0].password, None);
    assert_eq!(
        instance(&format!("strict_mode\n{block}")).routers[0].password,
        None
    );
}

#[test]
fn announcements_of_an_instance_go_before_those_of_the_file() {
    let text = "global_defs {\nvrrp_garp_master_repeat 2\nvrrp_garp_master_delay 0\n}
        vrrp_instance a {\ninterface eth0\nvirtual_router_id 1\ngarp_master_delay 7\n}";
    let announce = &loaded(text).unwrap().plan.routers[0].announce;
    assert_eq!(announce.rounds, [0, 7].map(Duration::from_secs));
    assert_eq!(announce.lower_priority_rounds, [Duration::ZERO]);
    assert_eq!((announce.repeat, announce.lower_priority_repeat), (2, 2));
}

#[test]
fn weights_come_from_the_use_then_the_script_then_0() {
    let text = "vrrp_script a {\nscript /bin/a\nweight -2 reverse\n}
        vrrp_script b {\nscript /bin/b\n}
        vrrp_track_process p {\nprocess p\n}
        track_file f {\nfile /run/f\n}
        vrrp_instance i {\ninterface eth0\nvirtual_router_id 1
        track_script {\na weight 5 noreverse\nb\n}
        track_process {\np\n}\ntrack_file {\nf\n}
        track_interface {\neth1\neth2 weight -9 reverse\n}\n}
        vrrp_instance j {\ninterface eth1\nvirtual_router_id 1\ntrack_script {\na\n}\n}";
    let plan = loaded(text).unwrap().plan;
    let weights = |router: usize| {
        let checks = plan.routers[router].checks.iter();
        checks
            .map(|used| (&*plan.checks[used.check].name, used.weight, used.reverse))
            .collect::<Vec<_>>()
    };
    let expected = [
        ("a", Some(5), false),
        ("b", None, false),
        ("p", None, false),
        ("f", Some(1), false),
        ("eth1", None, false),
        ("eth2", Some(-9), true),
    ];
    assert_eq!(weights(0), expected);
    assert_eq!(weights(1), [("a", Some(-2), true)]);
}

#[test]
fn members_of_a_sync_group_lose_their_weights_unless_the_group_keeps_them() {
    let text = |line: &str| {
        format!(
            "vrrp_script c {{\nscript /bin/c\nweight -2\n}}
            vrrp_sync_group g {{\ngroup {{\ni\n}}\n{line}\n}}
            vrrp_instance i {{\ninterface eth0\nvirtual_router_id 1\ntrack_script {{\nc\n}}\n}}"
        )
    };
    let without = loaded(&text("")).unwrap();
    assert_eq!(without.plan.routers[0].checks[0].weight, None);
    assert!(
        without
            .render_warnings(false)
            .contains("in a sync group the weight does not count")
    );
    let with = loaded(&text("sync_group_tracking_weight")).unwrap();
    assert_eq!(with.plan.routers[0].checks[0].weight, Some(-2));
    assert!(with.plan.groups[0].tracking_weight);
}

#[test]
fn two_kinds_of_trackers_may_share_a_name() {
    let text = "vrrp_script x {\nscript /bin/x\n}\nvrrp_track_process x {\nprocess y\n}
        vrrp_instance i {\ninterface eth0\nvirtual_router_id 1\ntrack_process {\nx\n}\n}";
    let plan = loaded(text).unwrap().plan;
    let check = &plan.checks[plan.routers[0].checks[0].check];
    assert_eq!(&*check.name, "process-x");
    let CheckKind::Process(process) = &check.kind else {
        panic!("{check:?}")
    };
    assert_eq!(process.name, "y");
}

#[test]
fn unicast_peers_are_accepted_from_afar_unless_a_ttl_is_set() {
    let plan =
        instance("unicast_src_ip 10.0.0.1\nunicast_peer {\n10.0.0.2\n10.0.0.3 min_ttl 254 max_ttl 255\n}");
    let Delivery::Unicast(peers) = &plan.routers[0].delivery else {
        panic!("{plan:?}")
    };
    let ttls: Vec<u8> = peers.iter().map(|peer| peer.min_ttl).collect();
    assert_eq!(ttls, [0, 254]);
}

#[test]
fn an_error_in_an_included_file_names_that_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("conf.d")).unwrap();
    let main = directory.path().join("keepalived.conf");
    std::fs::write(&main, "global_defs {\nrouter_id a\n}\ninclude conf.d/*.conf\n").unwrap();
    let included = directory.path().join("conf.d/vip.conf");
    std::fs::write(
        &included,
        "vrrp_instance a {\ninterface eth0\nvirtual_router_id 300\n}\n",
    )
    .unwrap();
    let error = load(&main, Format::Keepalived, "alpha").unwrap_err().to_string();
    assert!(error.contains(&format!("{}:3:19", included.display())), "{error}");
    assert!(
        error.contains("virtual router identifier 300 is out of range"),
        "{error}"
    );
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    let error = loaded("include keepalived.conf\n").unwrap_err();
    assert!(
        error.contains("files include each other more than 16 deep"),
        "{error}"
    );
}

#[test]
fn nothing_that_is_read_can_make_the_reader_fail_otherwise_than_by_an_error() {
    let everything = std::fs::read_to_string(fixture("everything.conf")).unwrap();
    // Cut in many places, and with a byte there replaced by a character that means something.
    for at in (0..everything.len()).step_by(11) {
        let _ = loaded(&everything[..at]);
        let mut damaged = everything.clone();
        let replacement = ["{", "}", "\"", "$", "@", "\n", "#", "\\"][at % 8];
        damaged.replace_range(at..at + 1, replacement);
        let _ = loaded(&damaged);
    }
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/keepalived")
        .join(name)
}

/// Every mistake and what is said about it.
const WRONG: &[(&str, &str)] = &[
    ("unknown section", "vrrp_instnace a {\n}"),
    ("unknown keyword of an instance", "I\nvirtual_routr_id 51"),
    ("unknown keyword of global_defs", "global_defs {\nrouterid x\n}"),
    ("state SLAVE", "I\nstate SLAVE"),
    ("no interface and no VRID", "vrrp_instance a {\n}"),
    (
        "VRID out of range",
        "vrrp_instance a {\ninterface eth0\nvirtual_router_id 256\n}",
    ),
    ("not a number", "I\npriority high"),
    ("missing value", "I\npriority"),
    ("words left over", "I\npriority 100 200"),
    ("half a second in version 2", "I\nadvert_int 0.5"),
    (
        "unknown script",
        "vrrp_script chk_haproxy {\nscript \"killall -0 haproxy\"\n}\nI\ntrack_script {\nchk_haproxi\n}",
    ),
    (
        "two scripts on a line",
        "vrrp_script a {\nscript /bin/a\n}\nvrrp_script b {\nscript /bin/b\n}\nI\ntrack_script { a b }",
    ),
    ("script without a command", "vrrp_script a {\ninterval 1\n}"),
    ("AH", "I\nauthentication {\nauth_type AH\nauth_pass x\n}"),
    ("password without a type", "I\nauthentication {\nauth_pass x\n}"),
    ("LVS", "virtual_server 10.0.0.1 80 {\n}"),
    ("BFD", "bfd_instance b {\n}"),
    ("vrf", "I\nvrf blue"),
    ("address", "I\nvirtual_ipaddress {\n192.0.2.256\n}"),
    ("address option", "I\nvirtual_ipaddress {\n192.0.2.1 labl x\n}"),
    (
        "mixed families",
        "I\nvirtual_ipaddress {\n192.0.2.1\n2001:db8::1\n}",
    ),
    (
        "two next hops",
        "I\nvirtual_routes {\n192.0.2.0/24 via 10.0.0.1 or 10.0.0.2\n}",
    ),
    (
        "routing table by name",
        "I\nvirtual_routes {\n192.0.2.0/24 via 10.0.0.1 table blue\n}",
    ),
    ("rule", "I\nvirtual_rules {\nfrom 192.0.2.1 goto 5\n}"),
    ("instance twice", "I\n}\nI"),
    (
        "group with a stranger",
        "vrrp_sync_group g {\ngroup {\nVI_2\n}\n}\nI",
    ),
    (
        "block never closed",
        "vrrp_instance a {\ninterface eth0\nvirtual_router_id 1",
    ),
    ("block closed twice", "I\n}\n}"),
    (
        "quote never closed",
        "vrrp_script a {\nscript \"killall -0 haproxy\n}",
    ),
    ("missing file", "includea nothing.conf"),
    (
        "virtual MAC and unicast",
        "I\nuse_vmac\nunicast_peer {\n10.0.0.2\n}",
    ),
    (
        "strict and unicast",
        "I\nstrict_mode\nunicast_peer {\n10.0.0.2\n}",
    ),
    (
        "two users",
        "I\nnotify_master /bin/a alice\nnotify_backup /bin/b bob",
    ),
    (
        "multicast group",
        "global_defs {\nvrrp_mcast_group4 224.0.0.99\n}",
    ),
    ("switch", "I\nstrict_mode maybe"),
    ("sequence", "~SEQ(i, 1, 5) x $i"),
    ("unicast without peers", "I\nunicast_fault_no_peer"),
];

const ACCEPTED: &[(&str, &str)] = &[
    ("state MASTER", "I\nstate MASTER"),
    ("state MASTER with nopreempt", "I\nstate MASTER\nnopreempt"),
    (
        "mail and SNMP",
        "global_defs {\nsmtp_server 127.0.0.1\nenable_snmp_vrrp\nnotification_email {\na@b\n}\n}",
    ),
    ("no_accept", "I\nno_accept"),
    ("strict", "global_defs {\nvrrp_strict\n}\nI"),
    (
        "comment inside a password",
        "I\nauthentication {\nauth_type PASS\nauth_pass abc!def\n}",
    ),
    (
        "password in version 3",
        "I\nversion 3\nauthentication {\nauth_type PASS\nauth_pass abc\n}",
    ),
    (
        "command without quotes",
        "vrrp_script a {\nscript killall -0 haproxy\n}",
    ),
    ("given twice", "I\npriority 100\npriority 101"),
    ("missing include", "include nothing.conf"),
];

fn expand(text: &str) -> String {
    match text.replace(
        "I\n",
        "vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\n",
    ) {
        closed if closed == text || closed.ends_with("}\n}") && text.ends_with("\n}\n}") => closed,
        open => open + "\n}",
    }
}

#[test]
fn every_mistake_is_shown_in_the_file_with_the_fix() {
    let mut book = String::new();
    for (title, text) in WRONG {
        let text = expand(text.replace("}\nI", "}\nI\n").as_str());
        let errors = match loaded(&text) {
            Err(errors) => errors,
            Ok(loaded) => panic!("{title} was accepted: {:?}", loaded.plan),
        };
        assert!(errors.contains('^'), "{title} has no caret:\n{errors}");
        book += &format!("### {title}\n{errors}\n\n");
    }
    insta::assert_snapshot!("mistakes", book);
}

#[test]
fn what_is_accepted_without_effect_is_said() {
    let mut book = String::new();
    for (title, text) in ACCEPTED {
        let text = expand(text.replace("}\nI", "}\nI\n").as_str());
        let loaded = loaded(&text).unwrap_or_else(|errors| panic!("{title}:\n{errors}"));
        assert!(!loaded.warnings.is_empty(), "{title} went without a word");
        let lines: Vec<String> = loaded
            .warning_lines()
            .map(|line| {
                line.rsplit_once("keepalived.conf")
                    .map_or_else(|| line.clone(), |(_, rest)| format!("keepalived.conf{rest}"))
            })
            .collect();
        book += &format!("### {title}\n{}\n\n", lines.join("\n"));
    }
    insta::assert_snapshot!("accepted", book);
}

#[test]
fn the_toml_of_an_import_means_the_same() {
    let names = [
        "tutorial-master.conf",
        "tutorial-backup.conf",
        "haproxy-pair-a.conf",
        "haproxy-pair-b.conf",
        "everything.conf",
        "sync-group.conf",
    ];
    for name in names {
        let direct = load(&fixture(name), Format::Keepalived, "alpha")
            .unwrap_or_else(|error| panic!("{name}:\n{error}"));
        let text = translate(&direct).replace(fixture("").to_str().unwrap(), "");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.toml");
        std::fs::write(&path, &text).unwrap();
        let through_toml =
            load(&path, Format::Toml, "alpha").unwrap_or_else(|error| panic!("{name}:\n{text}\n{error}"));
        assert_eq!(through_toml.plan, direct.plan, "{name}");
        insta::assert_snapshot!(format!("import-{name}"), text);
    }
}
