//! Checks: what is looked at, how often, and what a router makes of the answer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::command::{argv, asked_process, user};
use crate::config::names;
use crate::config::plan::{CheckKind, CheckPlan, CheckWeight, ProcessPlan, UserPlan};
use crate::config::{Check, CheckUse};

const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(1_000_000);
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(1_000_000);
const DELAYS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
const COUNT_MAX: i64 = 1_000_000;
const WEIGHT_MAX: i64 = 253;

/// The checks of a file, in the order of `Plan::checks`.
pub(super) struct Checks<'a> {
    names: Vec<&'a str>,
    files: Vec<&'a Check>,
}

impl<'a> Checks<'a> {
    pub(super) fn new(checks: &'a BTreeMap<Spanned<String>, Check>) -> Self {
        Self {
            names: checks.keys().map(|name| name.get_ref().as_str()).collect(),
            files: checks.values().collect(),
        }
    }

    /// A check as it counts where it is used; `None` if there is no such check.
    pub(super) fn weigh(&self, report: &mut Report, used: &Spanned<CheckUse>) -> Option<CheckWeight> {
        let (name, weight, reverse) = match used.get_ref() {
            CheckUse::Short(name) => (name, None, None),
            CheckUse::Long(table) => (&table.check, table.weight, table.reverse),
        };
        let Some(check) = self.names.iter().position(|known| known == name) else {
            report.error(
                used.span(),
                format!("there is no check \"{name}\""),
                suggestion(name, self.names.iter().copied()),
            );
            return None;
        };
        let file = self.files.get(check)?;
        let weight = match (weight, &file.weight) {
            (Some(weight), _) => checked_weight(report, used.span(), weight),
            (None, Some(weight)) => *weight.get_ref(),
            (None, None) => 0,
        };
        Some(CheckWeight {
            check,
            weight: i16::try_from(weight).ok().filter(|weight| *weight != 0),
            reverse: file.reverse != reverse.unwrap_or(false),
        })
    }
}

pub(super) fn check(
    report: &mut Report,
    name: &Spanned<String>,
    check: &Check,
    script_user: Option<&UserPlan>,
) -> CheckPlan {
    report.name("check", name, &names::NAME);
    let kind = kind(report, name, check, script_user);
    check_weight_agrees(report, check);
    let interval = report.duration("interval", check.interval.as_ref(), INTERVALS, INTERVAL);
    CheckPlan {
        name: Arc::from(name.get_ref().as_str()),
        kind,
        interval,
        timeout: report.duration("timeout", check.timeout.as_ref(), TIMEOUTS, interval),
        rise: report.number("rise", check.rise.as_ref(), 1..=COUNT_MAX, 1),
        fall: report.number("fall", check.fall.as_ref(), 1..=COUNT_MAX, 1),
        start_failed: check.start_failed,
    }
}

/// Exactly one of the seven, and no key that belongs to another.
fn kind(
    report: &mut Report,
    name: &Spanned<String>,
    check: &Check,
    script_user: Option<&UserPlan>,
) -> CheckKind {
    let given = kinds_given(check);
    match given.as_slice() {
        [] => {
            report.error(
                name.span(),
                format!("the check \"{}\" looks at nothing", name.get_ref()),
                "give it one of: script, process, file, interface, tcp, http, service",
            );
            return CheckKind::Interface { name: String::new() };
        }
        [_] => {}
        [(first, first_span), (second, second_span), ..] => report.conflict(
            second_span.clone(),
            format!("a check is either `{first}` or `{second}`"),
            first_span.clone(),
            "already said here what it looks at",
            "make them two checks; a router can use both",
        ),
    }
    refuse_foreign_keys(report, name, check);
    if let Some(command) = &check.script {
        let own_user = check.user.as_ref().map(|name| user(report, name));
        let argv = argv(report, command, check.shell);
        return match asked_process(&argv) {
            Some(process) if !check.shell => CheckKind::Process(ProcessPlan {
                name: process.to_owned(),
                command_line: None,
                least: 1,
                most: None,
                up_delay: Duration::ZERO,
                down_delay: Duration::ZERO,
            }),
            _ => CheckKind::Script {
                argv,
                user: own_user.or_else(|| script_user.cloned()),
            },
        };
    }
    if let Some(process_name) = &check.process {
        return CheckKind::Process(process(report, check, process_name));
    }
    if let Some(path) = &check.file {
        return CheckKind::File {
            path: absolute(report, path),
        };
    }
    if let Some(interface) = &check.interface {
        return CheckKind::Interface {
            name: names::interface(report, interface.span(), interface.get_ref()),
        };
    }
    if let Some(target) = &check.tcp {
        return CheckKind::Tcp {
            target: tcp_target(report, target.span(), target.get_ref()),
        };
    }
    if let Some(name) = &check.service {
        return service(report, name);
    }
    match &check.http {
        Some(url) => http(report, url),
        None => CheckKind::Interface { name: String::new() },
    }
}

/// `proxy` or `proxy/BACKEND`: the one role that can be asked so far.
fn service(report: &mut Report, name: &Spanned<String>) -> CheckKind {
    let (role, backend) = match name.get_ref().split_once('/') {
        Some((role, backend)) => (role, Some(backend.to_owned())),
        None => (name.get_ref().as_str(), None),
    };
    if role != "proxy" || backend.as_deref() == Some("") {
        report.error(
            name.span(),
            format!("\"{}\" is no service that can be asked", name.get_ref()),
            "say \"proxy\", or \"proxy/BACKEND\" for one backend",
        );
    }
    CheckKind::Service { backend }
}

fn kinds_given(check: &Check) -> Vec<(&'static str, Range<usize>)> {
    [
        ("script", check.script.as_ref().map(Spanned::span)),
        ("process", check.process.as_ref().map(Spanned::span)),
        ("file", check.file.as_ref().map(Spanned::span)),
        ("interface", check.interface.as_ref().map(Spanned::span)),
        ("tcp", check.tcp.as_ref().map(Spanned::span)),
        ("http", check.http.as_ref().map(Spanned::span)),
        ("service", check.service.as_ref().map(Spanned::span)),
    ]
    .into_iter()
    .filter_map(|(kind, span)| Some((kind, span?)))
    .collect()
}

/// A key that cannot have an effect is a misunderstanding.
fn refuse_foreign_keys(report: &mut Report, name: &Spanned<String>, check: &Check) {
    let script_only = [
        ("user", check.user.as_ref().map(Spanned::span)),
        ("shell", check.shell.then(|| name.span())),
    ];
    let process_only = [
        ("command_line", check.command_line.as_ref().map(|_| name.span())),
        ("least", check.least.as_ref().map(Spanned::span)),
        ("most", check.most.as_ref().map(Spanned::span)),
        ("up_delay", check.up_delay.as_ref().map(Spanned::span)),
        ("down_delay", check.down_delay.as_ref().map(Spanned::span)),
    ];
    let scripts = ("script", check.script.is_some(), script_only.as_slice());
    let processes = ("process", check.process.is_some(), process_only.as_slice());
    for (kind, present, keys) in [scripts, processes] {
        for (key, span) in keys {
            if let Some(span) = span.clone().filter(|_| !present) {
                report.error(
                    span,
                    format!("`{key}` means nothing for the check \"{}\"", name.get_ref()),
                    format!("`{key}` belongs to `{kind}` checks: remove it"),
                );
            }
        }
    }
}

fn process(report: &mut Report, check: &Check, name: &Spanned<String>) -> ProcessPlan {
    if name.get_ref().is_empty() || name.get_ref().contains(['/', '\0']) {
        report.error(
            name.span(),
            format!("\"{}\" is not the name of a process", name.get_ref().escape_debug()),
            "write the name that `ps -o comm` shows, without a path; `command_line` matches the whole command line",
        );
    }
    let least = report.number("least", check.least.as_ref(), 0..=COUNT_MAX, 1);
    let most = check
        .most
        .as_ref()
        .map(|most| report.number("most", Some(most), 0..=COUNT_MAX, u32::MAX));
    if let (Some(most), Some(most_file)) = (most, &check.most)
        && most < least
    {
        report.error(
            most_file.span(),
            format!("at most {most} and at least {least} processes cannot both be"),
            "make `most` as large as `least`, or remove one of them",
        );
    }
    ProcessPlan {
        name: name.get_ref().clone(),
        command_line: check.command_line.clone(),
        least,
        most,
        up_delay: report.duration("up_delay", check.up_delay.as_ref(), DELAYS, Duration::ZERO),
        down_delay: report.duration("down_delay", check.down_delay.as_ref(), DELAYS, Duration::ZERO),
    }
}

fn check_weight_agrees(report: &mut Report, check: &Check) {
    let weight = check
        .weight
        .as_ref()
        .map(|weight| checked_weight(report, weight.span(), *weight.get_ref()));
    let Some(on_fail) = &check.on_fail else { return };
    let choices = [("release", false), ("demote", true)];
    let Some(demotes) = report.choice("value of on_fail", on_fail.span(), on_fail.get_ref(), &choices) else {
        return;
    };
    match (demotes, weight) {
        (true, None | Some(0)) => report.error(
            on_fail.span(),
            "on_fail = \"demote\" needs a weight",
            "add e.g. `weight = -20`: more than the gap between this host's priority and the next host's",
        ),
        (false, Some(weight)) if weight != 0 => report.error(
            on_fail.span(),
            format!("on_fail = \"release\" contradicts weight {weight}"),
            "remove `weight`, or write on_fail = \"demote\"",
        ),
        _ => {}
    }
}

fn checked_weight(report: &mut Report, span: Range<usize>, weight: i64) -> i64 {
    if weight.abs() <= WEIGHT_MAX {
        return weight;
    }
    report.error(
        span,
        format!("weight {weight} is out of range"),
        format!("write a number from -{WEIGHT_MAX} to {WEIGHT_MAX}; 0 releases the role on failure"),
    );
    0
}

pub(super) fn absolute(report: &mut Report, path: &Spanned<PathBuf>) -> PathBuf {
    if !path.get_ref().is_absolute() {
        report.error(
            path.span(),
            format!("\"{}\" is not an absolute path", path.get_ref().display()),
            "begin it with `/`: the daemon's working directory is nobody's business",
        );
    }
    path.get_ref().clone()
}

fn tcp_target(report: &mut Report, span: Range<usize>, target: &str) -> String {
    let parts = target.rsplit_once(':').filter(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && (bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if parts.is_none() {
        report.error(
            span,
            format!("\"{target}\" is not a host and a port"),
            "write \"127.0.0.1:5672\", \"[::1]:5672\" or \"name:5672\"",
        );
    }
    target.to_owned()
}

fn http(report: &mut Report, url: &Spanned<String>) -> CheckKind {
    let text = url.get_ref().as_str();
    if text.starts_with("https://") {
        report.error(
            url.span(),
            "https is not supported in checks",
            "check the port with `tcp`, or run a script such as \"curl -fsS URL\"",
        );
    } else if !text.starts_with("http://") || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        report.error(
            url.span(),
            format!("\"{}\" is not an http URL", text.escape_debug()),
            "write \"http://host:port/path\"",
        );
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    let target = if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    CheckKind::Http {
        host: host.to_owned(),
        target: tcp_target(report, url.span(), &target),
        path: path.to_owned(),
    }
}
