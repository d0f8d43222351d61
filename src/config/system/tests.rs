use super::*;
use crate::config::{Format, load};

fn plan(text: &str) -> Plan {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.toml");
    std::fs::write(&path, text).unwrap();
    load(&path, Format::Toml, "alpha")
        .unwrap_or_else(|error| panic!("{error}"))
        .plan
}

fn router(lines: &str) -> Plan {
    plan(&format!(
        "[vrrp.router.web]\ninterface = \"eth0\"\nvrid = 51\n{lines}\n"
    ))
}

/// eth0 is up with 10.0.0.1/24 and fe80::1/64.
fn system() -> System {
    let addresses = vec![
        ("10.0.0.1".parse().unwrap(), 24),
        ("fe80::1".parse().unwrap(), 64),
    ];
    let eth0 = Interface {
        state: "up".into(),
        addresses,
    };
    System {
        interfaces: BTreeMap::from([("eth0".into(), eth0)]),
        ..System::default()
    }
}

fn texts(plan: &Plan, system: &System) -> Vec<String> {
    judge(plan, system)
        .into_iter()
        .map(|finding| finding.text)
        .collect()
}

#[test]
fn a_system_that_fits_is_not_commented_on() {
    let none: [&str; 0] = [];
    assert_eq!(
        texts(
            &router("addresses = [\"10.0.0.100\", \"192.0.2.1/24\"]"),
            &system()
        ),
        none
    );
    assert_eq!(texts(&router("addresses = [\"fe80::51\"]"), &system()), none);
}

#[test]
fn an_interface_that_is_missing_or_down_is_named() {
    let mut system = system();
    assert_eq!(
        texts(
            &plan("[vrrp.router.web]\ninterface = \"eth1\"\nvrid = 51"),
            &system
        ),
        ["web: this host has no interface eth1"]
    );
    system.interfaces.get_mut("eth0").unwrap().state = "down".into();
    assert_eq!(texts(&router(""), &system), ["web: the interface eth0 is down"]);
}

#[test]
fn an_address_outside_the_networks_of_its_interface_is_named() {
    assert_eq!(
        texts(&router("addresses = [\"10.0.1.100\"]"), &system()),
        ["web: 10.0.1.100 is in none of the networks of eth0 (10.0.0.1/24, fe80::1/64)"]
    );
}

#[test]
fn advertisements_need_a_source_that_is_not_virtual() {
    let mut system = system();
    system.interfaces.get_mut("eth0").unwrap().addresses = vec![("10.0.0.100".parse().unwrap(), 24)];
    assert_eq!(
        texts(&router("addresses = [\"10.0.0.100\"]"), &system),
        ["web: eth0 has no IPv4 address of its own to advertise from"]
    );
    assert_eq!(
        texts(&router("source = \"10.0.0.7\""), &system),
        ["web: the source 10.0.0.7 is not on eth0"]
    );
}

#[test]
fn settings_that_spoil_announcements_are_named() {
    let mut system = system();
    system
        .settings
        .insert("net/ipv4/conf/eth0/drop_gratuitous_arp".into(), "1".into());
    let [text] = texts(&router(""), &system).try_into().unwrap();
    assert_eq!(
        text,
        "web: net.ipv4.conf.eth0.drop_gratuitous_arp is 1: this host ignores the announcements of the others"
    );
}

/// An nftables input chain with a policy and rules.
fn nft(policy: &str, rules: &[&str]) -> Firewall {
    let rules: String = rules
        .iter()
        .map(|expr| {
            format!(r#",{{"rule":{{"family":"inet","table":"filter","chain":"input","expr":[{expr}]}}}}"#)
        })
        .collect();
    Firewall::from_nft(&format!(
        r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{{"table":{{"family":"inet","name":"filter"}}}},
        {{"chain":{{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","prio":0,"policy":"{policy}"}}}},
        {{"chain":{{"family":"inet","table":"filter","name":"allowed"}}}},
        {{"rule":{{"family":"inet","table":"filter","chain":"allowed","expr":[{{"match":{{"op":"==","left":{{"meta":{{"key":"l4proto"}}}},"right":"vrrp"}}}},{{"accept":null}}]}}}}{rules}]}}"#
    ))
}

const VRRP: &str =
    r#"{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":{"set":["vrrp","esp"]}}}"#;
const PAYLOAD: &str =
    r#"{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"protocol"}},"right":112}}"#;
const TCP: &str = r#"{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":22}}"#;
const ESTABLISHED: &str =
    r#"{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}}"#;
const ETH0: &str = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}}"#;
const ETH1: &str = r#"{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth1"}}"#;
const STATES: &str =
    r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}]]}}}"#;
const INTERFACES: &str =
    r#"{"vmap":{"key":{"meta":{"key":"iifname"}},"data":{"set":[["eth0",{"jump":{"target":"lan"}}]]}}}"#;
const ACCEPT: &str = r#"{"accept":null}"#;
const DROP: &str = r#"{"drop":null}"#;

#[test]
fn nftables_rules_decide_as_the_kernel_would() {
    let pair = |condition: &str, action: &str| format!("{condition},{action}");
    for (what, policy, rules, dropped) in [
        ("open", "accept", vec![], false),
        ("closed", "drop", vec![], true),
        (
            "closed but for ssh",
            "drop",
            vec![pair(TCP, ACCEPT), pair(ESTABLISHED, ACCEPT)],
            true,
        ),
        (
            "closed but for vrrp",
            "drop",
            vec![pair(TCP, ACCEPT), pair(VRRP, ACCEPT)],
            false,
        ),
        (
            "closed but for protocol 112",
            "drop",
            vec![pair(PAYLOAD, ACCEPT)],
            false,
        ),
        (
            "closed but for this interface",
            "drop",
            vec![pair(ETH0, ACCEPT)],
            false,
        ),
        (
            "closed but for another interface",
            "drop",
            vec![pair(ETH1, ACCEPT)],
            true,
        ),
        ("open but for vrrp", "accept", vec![pair(VRRP, DROP)], true),
        ("open but for ssh", "accept", vec![pair(TCP, DROP)], false),
        (
            "everything dropped at the end",
            "accept",
            vec![pair(TCP, ACCEPT), DROP.to_owned()],
            true,
        ),
        (
            "accepted before the end",
            "accept",
            vec![pair(VRRP, ACCEPT), DROP.to_owned()],
            false,
        ),
        (
            "accepted after a jump",
            "drop",
            vec![r#"{"jump":{"target":"allowed"}}"#.to_owned()],
            false,
        ),
        (
            "a jump that never comes",
            "drop",
            vec![pair(TCP, r#"{"jump":{"target":"allowed"}}"#)],
            true,
        ),
        ("a map of states", "drop", vec![STATES.to_owned()], true),
        ("a map of interfaces", "drop", vec![INTERFACES.to_owned()], false),
        (
            "a jump to itself",
            "drop",
            vec![r#"{"jump":{"target":"input"}}"#.to_owned()],
            true,
        ),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let firewall = nft(policy, &rules);
        let why = firewall.drops_vrrp(Family::V4, "eth0");
        assert_eq!(why.is_some(), dropped, "{what}: {why:?}");
    }
}

#[test]
fn iptables_rules_decide_as_the_kernel_would() {
    for (what, text, dropped) in [
        ("open", ":INPUT ACCEPT [0:0]\n", false),
        (
            "closed",
            ":INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n",
            true,
        ),
        (
            "closed but for vrrp",
            ":INPUT DROP [0:0]\n-A INPUT -p vrrp -j ACCEPT\n",
            false,
        ),
        (
            "closed but for protocol 112",
            ":INPUT DROP [0:0]\n-A INPUT -d 224.0.0.18/32 -i eth0 -p 112 -j ACCEPT\n",
            false,
        ),
        (
            "closed but for what is not tcp",
            ":INPUT DROP [0:0]\n-A INPUT ! -p tcp -j ACCEPT\n",
            false,
        ),
        (
            "only answers",
            ":INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
            true,
        ),
        (
            "rejected at the end",
            ":INPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j REJECT --reject-with icmp-host-prohibited\n",
            true,
        ),
        (
            "accepted in another chain",
            ":INPUT DROP [0:0]\n:ha - [0:0]\n-A INPUT -j ha\n-A ha -p vrrp -j ACCEPT\n",
            false,
        ),
        (
            "dropped by name",
            ":INPUT ACCEPT [0:0]\n-A INPUT -p vrrp -j DROP\n",
            true,
        ),
    ] {
        let mut firewall = Firewall::default();
        firewall.add_iptables(&format!("*filter\n{text}COMMIT\n"), Family::V4);
        let why = firewall.drops_vrrp(Family::V4, "eth0");
        assert_eq!(why.is_some(), dropped, "{what}: {why:?}");
        assert_eq!(firewall.drops_vrrp(Family::V6, "eth0"), None);
    }
}

#[test]
fn what_is_no_ruleset_is_no_reason_to_complain() {
    for text in [
        "",
        "[]",
        "{\"nftables\": 5}",
        "{\"nftables\": [{\"rule\": {}}, {\"chain\": {\"family\": 1}}]}",
    ] {
        assert_eq!(
            Firewall::from_nft(text).drops_vrrp(Family::V4, "eth0"),
            None,
            "{text}"
        );
    }
}

#[test]
fn this_system_can_be_read() {
    let system = System::read(&router(""));
    let loopback = system
        .interfaces
        .get("lo")
        .expect("every host has a loopback interface");
    assert!(!loopback.state.is_empty());
}
