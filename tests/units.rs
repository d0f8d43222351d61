//! The units as systemd itself judges them. Skipped, and saying so, where systemd's tools are not installed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tenths of the exposure level of `systemd-analyze security`. What remains is what checks and notify programs need.
const EXPOSURE_MAX: u32 = 35;

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// Standard output and error of a tool that must succeed; `None` where it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            crate::skip::skip(&format!("{program} is not installed"));
            return None;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}",
        output.status
    );
    Some(text)
}

#[test]
fn systemd_finds_nothing_to_complain_about() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for name in [
        "warren-vrrp.service",
        "warren-proxy.service",
        "warren-broker.service",
        "warren.target",
    ] {
        let text = std::fs::read_to_string(units().join(name)).unwrap();
        // Verifying looks for the program, which is not installed here.
        let text = text.replace("/usr/bin/warren", env!("CARGO_BIN_EXE_warren"));
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        files.push(file.display().to_string());
    }
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(files.iter().map(String::as_str));
    if let Some(said) = run("systemd-analyze", &arguments) {
        // Complaints about keys it does not know do not change its exit status.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("warren")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
}

#[test]
fn the_daemons_are_exposed_no_more_than_they_must() {
    for name in [
        "warren-vrrp.service",
        "warren-proxy.service",
        "warren-broker.service",
    ] {
        let unit = units().join(name).display().to_string();
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        run(
            "systemd-analyze",
            &["security", "--offline=yes", "--no-pager", &threshold, &unit],
        );
    }
}

#[test]
fn the_user_can_be_made() {
    let file = units().join("sysusers.d/warren.conf").display().to_string();
    run("systemd-sysusers", &["--dry-run", &file]);
}

#[test]
fn the_units_start_the_daemons_with_flags_that_exist() {
    let text = [
        "warren-vrrp.service",
        "warren-proxy.service",
        "warren-broker.service",
    ]
    .map(|name| std::fs::read_to_string(units().join(name)).unwrap())
    .concat();
    let commands = text
        .lines()
        .filter_map(|line| line.split_once("=/usr/bin/warren "))
        .map(|(_, arguments)| {
            arguments
                .replace(
                    "$WARREN_VRRP_OPTIONS",
                    "--use-file=/etc/keepalived/keepalived.conf",
                )
                .replace("$WARREN_PROXY_OPTIONS", "--use-file=/etc/haproxy/haproxy.cfg")
                .replace("$WARREN_BROKER_OPTIONS", "--use-file=/etc/rabbitmq/rabbitmq.conf")
        });
    let mut count = 0;
    for arguments in commands {
        use clap::Parser;
        let words = std::iter::once("warren").chain(arguments.split_whitespace());
        warren::cli::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        count += 1;
    }
    assert_eq!(count, 4, "ExecStart of all, ExecStopPost of one");
}
