//! The tutorials' commands, as typed on one host: the server in the background, its cookie, users, a stop and a start.

use std::time::Duration;

use warren_lab::{End, Host, Network, Session, warren_binary};

const PATIENCE: Duration = Duration::from_secs(20);
const COOKIE: &str = "/var/lib/rabbitmq/.erlang.cookie";

/// A host on which our program has RabbitMQ's names, and the directories are as a package leaves them.
fn prepared(host: &Host) {
    host.sh(
        "mkdir -p /var/lib/rabbitmq /etc/rabbitmq && mount -t tmpfs tmpfs /var/lib/rabbitmq && mount -t tmpfs tmpfs /etc/rabbitmq \
         && mkdir -p /run/names",
    );
    host.sh(&format!("{} links /run/names", warren_binary().display()));
}

/// A line of a tutorial: what came of it, and all that it said.
fn try_type(host: &Host, line: &str) -> (Option<i32>, String) {
    let output = host.try_sh(&format!("PATH=/run/names:$PATH; {line}"));
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), said.concat())
}

#[track_caller]
fn type_in(host: &Host, line: &str) -> String {
    let (code, said) = try_type(host, line);
    assert_eq!(code, Some(0), "{line}: {said}");
    said
}

fn guest(host: &Host) -> std::io::Result<Session> {
    Session::open(host, ([127, 0, 0, 1], 5672).into(), PATIENCE)
}

#[test]
fn the_server_goes_to_the_background_and_its_tools_do_what_the_tutorials_say() {
    let network = Network::new();
    let host = network.host("rabbitmq1");
    prepared(&host);
    type_in(&host, "rabbitmq-server -detached");
    assert_eq!(type_in(&host, &format!("stat -c '%a %s' {COOKIE}")), "400 20\n");
    drop(guest(&host).expect("it serves when the line has come back"));

    type_in(&host, "rabbitmqctl add_user admin 123");
    type_in(&host, "rabbitmqctl set_user_tags admin administrator");
    type_in(
        &host,
        "rabbitmqctl set_permissions -p \"/\" admin \".*\" \".*\" \".*\"",
    );
    type_in(
        &host,
        "rabbitmqctl set_policy -p '/' ha-all '.+' '{\"ha-mode\": \"all\"}'",
    );
    assert!(type_in(&host, "rabbitmqctl cluster_status").contains("Running Nodes"));
    let as_admin = "amqp-publish --url=amqp://admin:123@127.0.0.1 -r hello -b x";
    type_in(&host, as_admin);

    let client = guest(&host).expect("it serves");
    assert!(
        type_in(&host, "rabbitmqctl stop_app").starts_with("Stopping rabbit application on node rabbit@")
    );
    assert_eq!(client.end(PATIENCE), End::Closed(320), "clients are told");
    assert!(guest(&host).is_err(), "nobody comes in");
    assert!(
        type_in(&host, "rabbitmqctl -q list_users").contains("admin"),
        "tools are answered"
    );
    assert!(type_in(&host, "rabbitmqctl start_app").starts_with("Starting node rabbit@"));
    drop(guest(&host).expect("it serves again"));
    type_in(&host, as_admin);

    type_in(&host, "rabbitmqctl stop");
    assert!(guest(&host).is_err());
    let (code, said) = try_type(&host, "rabbitmqctl status");
    assert_eq!(code, Some(69), "{said}");
    type_in(&host, "rabbitmq-server -detached");
    type_in(&host, as_admin);
}

#[test]
fn a_cookie_is_made_once_refused_when_others_can_read_it_and_nothing_to_the_tools() {
    let network = Network::new();
    let host = network.host("rabbitmq1");
    prepared(&host);
    type_in(&host, "rabbitmq-server -detached");
    let made = type_in(&host, &format!("cat {COOKIE}"));
    // The tools come in by the control socket, where the kernel says who they are.
    type_in(
        &host,
        &format!("rm -f {COOKIE}; printf WRONG > {COOKIE}; chmod 400 {COOKIE}"),
    );
    type_in(&host, "rabbitmqctl status");
    type_in(&host, "rabbitmqctl stop");
    type_in(
        &host,
        &format!("rm -f {COOKIE}; printf '%s' '{made}' > {COOKIE}; chmod 644 {COOKIE}"),
    );
    let (code, said) = try_type(&host, "rabbitmq-server -detached");
    assert_ne!(code, Some(0));
    assert!(said.contains("has mode 644: chmod 400 it"), "{said}");
    type_in(&host, &format!("chmod 400 {COOKIE}"));
    type_in(&host, "rabbitmq-server -detached");
    assert_eq!(
        type_in(&host, &format!("cat {COOKIE}")),
        made,
        "what is copied from another host stays"
    );
    drop(guest(&host).expect("it serves"));
}
