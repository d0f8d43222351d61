//! `[proxy]` of warren.toml: how little has to be said, and what is said about mistakes.

use std::num::NonZeroUsize;
use std::time::Duration;

use warren_balance::Algorithm;
use warren_proxy::config::{ConfigError, Loaded, Machine, load_toml};
use warren_proxy::plan::{CheckKind, HostAddress, LogFormat, Mode, Plan};

fn load(text: &str) -> Result<Loaded, ConfigError> {
    load_on(text, "alpha")
}

fn load_on(text: &str, host: &str) -> Result<Loaded, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.toml");
    std::fs::write(&path, text).unwrap();
    let machine = Machine {
        host: host.to_owned(),
        processors: NonZeroUsize::new(4).unwrap(),
        open_files: 20_000,
    };
    load_toml(&path, &machine)
}

fn plan(text: &str) -> Plan {
    load(text).unwrap_or_else(|error| panic!("{error}")).plan
}

/// What is said about a file, without the name of its directory.
fn complaints(text: &str) -> String {
    let said = match load(text) {
        Ok(loaded) => loaded.render_warnings(false),
        Err(error) => error.render(false),
    };
    let lines = said.lines().map(|line| match line.split_once("--> ") {
        Some((before, place)) => format!("{before}--> {}", place.rsplit('/').next().unwrap()),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

const MINIMAL: &str = r#"
[proxy.listen.rabbitmq]
bind = "*:5670"

[proxy.listen.rabbitmq.servers]
rabbit1 = "10.0.0.1:5672"
rabbit2 = "10.0.0.2:5672"
rabbit3 = "rabbit3.example.org:5672"
"#;

#[test]
fn a_cluster_takes_seven_lines() {
    let plan = plan(MINIMAL);
    assert_eq!((plan.global.threads.get(), plan.global.maxconn.get()), (4, 9900));
    let front = &plan.frontends[0];
    assert_eq!(front.mode, Mode::Amqp);
    assert_eq!(front.log.format, LogFormat::Tcp);
    assert_eq!(front.timeouts.client, None, "an idle consumer is never cut");
    assert!(front.keepalive.on);
    let back = &plan.backends[0];
    assert_eq!(back.mode, Mode::Amqp);
    assert_eq!(back.balance.algorithm, Algorithm::LeastConn);
    assert_eq!(back.timeouts.connect, Some(Duration::from_secs(5)));
    assert_eq!(back.redispatch, Some(1));
    assert_eq!(back.rebalance, None);
    let server = &back.servers[2];
    assert_eq!(server.name, "rabbit3");
    assert_eq!(server.id.0, 3);
    assert_eq!(
        server.address,
        HostAddress::Name("rabbit3.example.org".into(), 5672)
    );
    assert!(server.may_be_unresolved && server.shutdown_sessions);
    assert_eq!(server.slowstart, Duration::from_secs(10));
    let check = server.check.as_ref().unwrap();
    assert_eq!(check.kind, CheckKind::AmqpGreeting);
    assert_eq!(check.timing.inter, Duration::from_secs(5));
    assert_eq!(check.timing.fastinter, Some(Duration::from_secs(1)));
}

#[test]
fn servers_may_be_a_list_and_are_called_after_their_hosts() {
    let plan = plan(
        "[proxy.listen.x]\nbind = [\":80\", \":81\"]\nservers = [\"a:80\", \"b:80\", \"c:80\", \"c:81\"]\n",
    );
    let names: Vec<&str> = plan.backends[0]
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c:80", "c:81"]);
    assert_eq!(plan.frontends[0].binds.len(), 2);
    assert_eq!(plan.frontends[0].mode, Mode::Tcp);
    assert_eq!(
        plan.backends[0].servers[0].check.as_ref().unwrap().kind,
        CheckKind::Tcp
    );
}

#[test]
fn names_keep_the_order_of_the_file() {
    let plan = plan(
        "[proxy.backend.z]\nservers = { z = \"h:1\", a = \"i:1\" }\n[proxy.frontend.m]\nbind = \":1\"\ndefault_backend = \"z\"\n\
         [proxy.backend.a]\nservers = [\"h:1\"]\n[proxy.frontend.b]\nbind = \":2\"\ndefault_backend = \"a\"\n",
    );
    let backends: Vec<(&str, u32)> = plan
        .backends
        .iter()
        .map(|it| (it.name.as_str(), it.id.0))
        .collect();
    assert_eq!(backends, [("z", 1), ("a", 3)]);
    let servers: Vec<&str> = plan.backends[0]
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .collect();
    assert_eq!(servers, ["z", "a"]);
}

#[test]
fn a_frontend_speaks_what_its_backend_speaks() {
    let plan = plan(
        "[proxy.frontend.in]\nbind = \":5670\"\ndefault_backend = \"out\"\n[proxy.backend.out]\nservers = [\"a:5672\"]\n\
         [proxy.listen.page]\nbind = \":8100\"\nstats = true\n",
    );
    assert_eq!(plan.frontends[0].mode, Mode::Amqp);
    assert_eq!(plan.frontends[1].mode, Mode::Http);
    assert!(plan.frontends[1].stats.is_some());
}

#[test]
fn what_a_server_says_goes_over_what_holds_for_all() {
    let plan = plan(
        "[proxy.listen.x]\nbind = \":1\"\ncheck = { kind = \"http\", uri = \"/ready\", interval = \"1s\", rise = 1 }\n\
         [proxy.listen.x.server_defaults]\nweight = 20\nmaxconn = 100\ncheck = { fall = 5 }\n\
         [proxy.listen.x.servers]\na = \"h:1\"\nb = { address = \"h:2\", weight = 5, check = { rise = 9 } }\n\
         c = { address = \"h:3\", check = false }\n",
    );
    let servers = &plan.backends[0].servers;
    let numbers = |index: usize| {
        let timing = servers[index].check.as_ref().unwrap().timing;
        (servers[index].weight.get(), timing.rise.get(), timing.fall.get())
    };
    assert_eq!(numbers(0), (20, 1, 5));
    assert_eq!(numbers(1), (5, 9, 5));
    assert!(servers[2].check.is_none());
    assert_eq!(servers[2].maxconn.unwrap().get(), 100);
}

#[test]
fn a_host_may_have_servers_of_its_own() {
    let text = format!("{MINIMAL}\n[host.beta.proxy.listen.rabbitmq]\nbind = \"10.9.9.9:5670\"\n");
    let on = |host: &str| {
        load_on(&text, host).unwrap().plan.frontends[0].binds[0]
            .address
            .clone()
    };
    assert_ne!(on("alpha"), on("beta.example.org"));
}

#[test]
fn every_level_of_an_amqp_check_can_be_had() {
    for (level, expected) in [
        ("", CheckKind::AmqpGreeting),
        (
            "level = \"login\", user = \"u\", password = \"p\", vhost = \"v\"",
            CheckKind::AmqpLogin {
                user: "u".into(),
                password: "p".into(),
                vhost: "v".into(),
            },
        ),
        (
            "level = \"management\"",
            CheckKind::AmqpManagement {
                port: 15_672,
                user: "guest".into(),
                password: "guest".into(),
            },
        ),
        (
            "level = \"full\", management_port = 1",
            CheckKind::AmqpFull {
                user: "guest".into(),
                password: "guest".into(),
                vhost: "/".into(),
                port: 1,
            },
        ),
    ] {
        let comma = if level.is_empty() { "" } else { ", " };
        let text = format!(
            "{MINIMAL}\n[proxy.listen.rabbitmq.server_defaults]\ncheck = {{ kind = \"amqp\"{comma}{level} }}\n"
        );
        let check = plan(&text).backends[0].servers[0].check.clone().unwrap();
        assert_eq!(check.kind, expected);
    }
}

#[test]
fn mistakes_are_named_all_at_once_with_their_places() {
    insta::assert_snapshot!(complaints(
        r#"
[proxy]
maxcon = 10
threads = 0
log = ["127.0.0.1 local9", "nowhere local0"]

[proxy.listen.rabbitmq]
bind = "*"
mode = "ampq"
balance = "leastcon"
retries = "3"
"#
    ));
    insta::assert_snapshot!(complaints(
        r#"
[proxy.listen.rabbitmq]
bind = "*"
mode = "ampq"
balance = "leastcon"
use_backend = ["api if is_apj { path_beg /x }"]
acl = ["is_api path_beg /api"]
http_request = ["set-header X-From %[srcc]", "denny"]
check = { kind = "http", expect = "stat 200" }
default_backend = "rabitmq"

[proxy.listen.rabbitmq.servers]
a = "10.0.0.1"
b = { address = "10.0.0.1:5672", weight = 1000, track = "a" }
"#
    ));
}

#[test]
fn keys_of_the_other_half_are_named() {
    insta::assert_snapshot!(complaints(
        "[proxy.frontend.f]\nbind = \":1\"\nservers = [\"a:1\"]\nbalance = \"first\"\n[proxy.backend.b]\nbind = \":2\"\n"
    ));
}

#[test]
fn passwords_are_not_shown_in_messages() {
    let said = complaints(
        "[proxy.users.people]\nalice = \"s3cret\"\n[proxy.listen.x]\nbind = \"?\"\nmode = \"http\"\n\
         stats = { users = { admin = \"hunter2\" }, uri = \"stats\" }\ncheck = { kind = \"amqp\", password = \"guest5\", level = \"x\" }\n",
    );
    for secret in ["s3cret", "hunter2", "guest5"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(said.contains("*****"), "{said}");
}
