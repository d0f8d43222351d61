use std::num::NonZeroUsize;

use warren_kit::diagnostics::SourceFile;

use warren_kit::config::finding::Severity;

use super::*;
use crate::config::{Machine, load_haproxy_text};

const HEAD: &str = "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n";

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    match name {
        "rabbit1" => Ok(vec![[10, 0, 0, 1].into()]),
        "localhost" => Ok(vec![[127, 0, 0, 1].into()]),
        _ => Err("no such host".to_owned()),
    }
}

fn plan(text: &str) -> Plan {
    let machine = Machine {
        host: "alpha".to_owned(),
        processors: NonZeroUsize::MIN,
        open_files: 20_000,
    };
    load_haproxy_text(SourceFile::new("haproxy.cfg", text), &machine)
        .unwrap_or_else(|error| panic!("{error}"))
        .plan
}

/// The texts of what is found, the severity before each.
fn found(text: &str) -> Vec<String> {
    let findings = lint(&plan(&format!("{HEAD}{text}")), &resolve, 20_000);
    findings
        .into_iter()
        .map(|finding| format!("{:?}: {}", finding.severity, finding.text))
        .collect()
}

#[test]
fn nothing_is_said_about_what_is_right() {
    let text =
        "listen l\n bind 127.0.0.1:1\n server a rabbit1:80 check\n server b 10.0.0.2:80 check backup\n";
    assert_eq!(found(text), Vec::<String>::new());
}

#[test]
fn servers_that_are_never_chosen_are_named() {
    let text = "listen l\n bind :1\n server a 10.0.0.1:80\n server b 10.0.0.2:80 check backup\n \
                server c 10.0.0.3:80 check weight 0\n server d 10.0.0.4:80 disabled\n";
    assert_eq!(
        found(text),
        [
            "Warning: l/c has weight 0 and gets no connections",
            "Note: l/d starts in maintenance (`disabled`)",
            "Warning: l/b is a backup that is never needed: l/a is not checked and so is always up",
        ]
    );
    let text = "listen l\n bind :1\n server a 10.0.0.1:80 check\n server b 10.0.0.2:80 backup\n \
                server c 10.0.0.3:80 check backup\n";
    assert_eq!(
        found(text),
        ["Warning: l/c is never needed: the backup l/b comes before it and is always up"]
    );
    let text = "listen l\n bind :1\n server a 10.0.0.1:80 disabled\n";
    assert!(found(text).contains(&"Error: no server of l is ever chosen".to_owned()));
}

#[test]
fn a_timeout_of_two_heartbeats_in_front_of_amqp_servers_is_too_short() {
    let text = |client: &str| {
        format!("listen l\n bind :1\n timeout client {client}\n server a 10.0.0.1:5672 check\n")
    };
    let said = found(&text("120s"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("timeout client 2m"), "{said:?}");
    assert_eq!(found(&text("121s")), Vec::<String>::new());
    assert_eq!(found(&text("0")), Vec::<String>::new());
    let web = "listen l\n bind :1\n timeout client 5s\n server a 10.0.0.1:80 check\n";
    assert_eq!(found(web), Vec::<String>::new());
}

#[test]
fn names_that_do_not_resolve_are_errors_unless_the_proxy_may_start_without_them() {
    let text =
        "listen l\n bind :1\n server a nowhere:80 check\n server b elsewhere:80 check init-addr none\n";
    assert_eq!(
        found(text),
        [
            "Error: l/a: nowhere does not resolve: no such host",
            "Warning: l/b: elsewhere does not resolve: no such host",
        ]
    );
}

#[test]
fn listeners_that_clash_are_named() {
    let text = "frontend f\n bind 10.0.0.1:80\n bind :80\n default_backend b\nfrontend g\n bind 10.0.0.1:80\n bind :81\n \
                default_backend b\nbackend b\n server a 10.0.0.9:1 check\n";
    assert_eq!(
        found(text),
        [
            "Warning: f listens on 10.0.0.1:80 and 0.0.0.0:80: the one that names an address gets the connections to it",
            "Error: f and g listen on 10.0.0.1:80 twice",
            "Warning: f and g listen on 0.0.0.0:80 and 10.0.0.1:80: the one that names an address gets the connections to it",
        ]
    );
}

#[test]
fn a_server_that_is_the_frontend_itself_is_an_error() {
    for (bind, server) in [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("10.0.0.1:80", "rabbit1:80"),
        ("*:80", "127.0.0.1:80"),
        ("*:80", "localhost:80"),
    ] {
        let said = found(&format!("listen l\n bind {bind}\n server a {server} check\n"));
        assert!(
            said.iter().any(|text| text.starts_with("Error: l/a is l itself")),
            "{bind} {server}: {said:?}"
        );
    }
    assert_eq!(
        found("listen l\n bind *:80\n server a 10.0.0.1:80 check\n"),
        Vec::<String>::new()
    );
}

#[test]
fn what_leads_nowhere_is_named() {
    let text = "frontend f\n bind :1\nfrontend g\n default_backend b\nbackend b\nbackend c\n server a 10.0.0.1:1 check\n";
    assert_eq!(
        found(text),
        [
            "Warning: f has no backend: every connection is refused",
            "Warning: g listens nowhere",
            "Warning: g leads to b, which has no servers",
            "Warning: no frontend leads to the backend c",
        ]
    );
}

#[test]
fn a_maxconn_that_does_not_fit_says_what_would() {
    let plan = plan(&format!(
        "global\n maxconn 4096\n{HEAD}listen l\n bind :1\n maxconn 5000\n server a 10.0.0.1:1 check\n"
    ));
    let findings = lint(&plan, &resolve, 1024);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(
        findings[0].text,
        "maxconn 4096 needs 8292 open files, and 1024 are allowed"
    );
    assert!(
        findings[0].fix.ends_with("set maxconn to 462"),
        "{}",
        findings[0].fix
    );
    assert!(
        findings[1].text.contains("l may have 5000 sessions"),
        "{}",
        findings[1].text
    );
}
