//! How a server is checked: what its backend says, then what holds for all of its servers, then what it says itself.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use toml::Spanned;
use warren_balance::health;
use warren_kit::config::{Report, suggestion};

use super::{Given, line, tls};
use crate::config::file::{CheckTable, CheckUse};
use crate::plan::{BackendTimeouts, Check, CheckKind, Expect, Expected, Mode, Server, Step};

const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(86_400 * 24);
const MANAGEMENT_PORT: u16 = 15_672;
/// The most steps of one check.
const STEPS_MAX: usize = 64;

/// The three places a check may be written at.
pub(super) struct Written<'a> {
    pub(super) backend: Option<&'a Spanned<CheckUse>>,
    pub(super) defaults: Option<&'a Spanned<CheckUse>>,
    pub(super) own: Option<&'a Spanned<CheckUse>>,
}

macro_rules! take_over {
    ($to:ident, $from:ident: $($field:ident),+; $($list:ident),+) => {
        $(if $from.$field.is_some() { $to.$field.clone_from(&$from.$field); })+
        $(if !$from.$list.is_empty() { $to.$list.clone_from(&$from.$list); })+
    };
}

impl Written<'_> {
    /// Later ones over earlier ones; `None` if there is no check.
    fn merged(&self) -> Option<CheckTable> {
        let mut merged = CheckTable::default();
        let mut checked = true;
        for written in [self.backend, self.defaults, self.own].into_iter().flatten() {
            checked = true;
            match written.get_ref() {
                CheckUse::Switch(on) => checked = *on,
                CheckUse::Kind(kind) => merged.kind = Some(Spanned::new(written.span(), kind.clone())),
                CheckUse::Table(table) => {
                    take_over!(merged, table: kind, level, user, password, vhost, management_port, method, uri, version,
                        body, expect, interval, fast_interval, down_interval, rise, fall, port, address, tls, send_proxy;
                        headers, steps);
                }
            }
        }
        checked.then_some(merged)
    }
}

/// `server` is complete but for its check.
pub(super) fn check(
    report: &mut Report,
    given: &Given<'_>,
    server: &Server,
    written: &Written<'_>,
    timeouts: &BackendTimeouts,
) -> Option<Check> {
    let table = written.merged()?;
    let kind = kind(report, given, &table);
    let amqp = !matches!(
        kind,
        CheckKind::Tcp | CheckKind::Tls | CheckKind::Http { .. } | CheckKind::Script(_)
    );
    let default = Duration::from_secs(if amqp { 5 } else { 2 });
    let inter = report.duration("interval", table.interval.as_ref(), INTERVALS, default);
    let fast = inter.min(Duration::from_secs(1));
    let timing = health::Check {
        rise: rounds(report, "rise", table.rise.as_ref(), 2),
        fall: rounds(report, "fall", table.fall.as_ref(), 3),
        inter,
        fastinter: Some(report.duration("fast_interval", table.fast_interval.as_ref(), INTERVALS, fast))
            .filter(|fast| *fast != inter),
        downinter: Some(report.duration("down_interval", table.down_interval.as_ref(), INTERVALS, inter))
            .filter(|down| *down != inter),
    };
    let address = table.address.as_ref().and_then(|address| ip(report, address));
    let port: Option<u16> = table
        .port
        .as_ref()
        .map(|port| report.number("port", Some(port), 1..=65_535, 1));
    let elsewhere = address.is_some() || port.is_some();
    Some(Check {
        kind,
        timing,
        connect_timeout: timeouts.connect.map_or(inter, |connect| connect.min(inter)),
        timeout: timeouts.check.unwrap_or(inter),
        port,
        address,
        tls: match &table.tls {
            Some(_) => tls::of_server(table.tls.as_ref(), &server.address),
            None if elsewhere => None,
            None => server.tls.clone(),
        },
        send_proxy: table
            .send_proxy
            .unwrap_or_else(|| server.send_proxy.is_some() && !elsewhere),
    })
}

/// Mistakes in a check that no server has yet.
pub(super) fn unused(report: &mut Report, given: &Given<'_>) {
    let written = Written {
        backend: given.section.check.as_ref(),
        defaults: None,
        own: None,
    };
    if let Some(table) = written.merged() {
        kind(report, given, &table);
    }
}

fn rounds(report: &mut Report, what: &str, written: Option<&Spanned<i64>>, default: u8) -> NonZeroU8 {
    NonZeroU8::new(report.number(what, written, 1..=255, default)).unwrap_or(NonZeroU8::MIN)
}

/// An address without a port.
pub(super) fn ip(report: &mut Report, address: &Spanned<String>) -> Option<IpAddr> {
    let parsed = address.get_ref().trim_matches(['[', ']']).parse().ok();
    if parsed.is_none() {
        report.error(
            address.span(),
            format!("\"{}\" is not an IP address", address.get_ref()),
            "write one such as 192.0.2.1, without a port",
        );
    }
    parsed
}

fn kind(report: &mut Report, given: &Given<'_>, table: &CheckTable) -> CheckKind {
    const KINDS: [&str; 5] = ["tcp", "tls", "http", "script", "amqp"];
    let Some(word) = &table.kind else {
        return match given.mode {
            Mode::Amqp => amqp(report, table),
            Mode::Tcp | Mode::Http => CheckKind::Tcp,
        };
    };
    match word.get_ref().as_str() {
        "tcp" => CheckKind::Tcp,
        "tls" => CheckKind::Tls,
        "http" => http(report, table),
        // Without a step it is connecting.
        "script" if table.steps.is_empty() => CheckKind::Tcp,
        "script" => CheckKind::Script(steps(report, &table.steps)),
        "amqp" => amqp(report, table),
        other => {
            report.error(
                word.span(),
                format!("unknown check \"{other}\""),
                suggestion(other, KINDS.into_iter()),
            );
            CheckKind::Tcp
        }
    }
}

fn amqp(report: &mut Report, table: &CheckTable) -> CheckKind {
    let text = |written: &Option<Spanned<String>>, default: &str| {
        written
            .as_ref()
            .map_or_else(|| default.to_owned(), |text| text.get_ref().clone())
    };
    let (user, password) = (text(&table.user, "guest"), text(&table.password, "guest"));
    let vhost = table.vhost.clone().unwrap_or_else(|| "/".to_owned());
    let port: u16 = report.number(
        "management_port",
        table.management_port.as_ref(),
        1..=65_535,
        MANAGEMENT_PORT,
    );
    let level = table.level.as_ref().and_then(|word| {
        let levels = [("greeting", 0), ("login", 1), ("management", 2), ("full", 3)];
        report.choice("level", word.span(), word.get_ref(), &levels)
    });
    match level {
        Some(1) => CheckKind::AmqpLogin {
            user,
            password,
            vhost,
        },
        Some(2) => CheckKind::AmqpManagement { port, user, password },
        Some(3) => CheckKind::AmqpFull {
            user,
            password,
            vhost,
            port,
        },
        _ => CheckKind::AmqpGreeting,
    }
}

fn http(report: &mut Report, table: &CheckTable) -> CheckKind {
    let text = |written: &Option<Spanned<String>>, default: &str| {
        written
            .as_ref()
            .map_or_else(|| default.to_owned(), |text| text.get_ref().clone())
    };
    let mut headers = Vec::new();
    for header in &table.headers {
        match header.get_ref().split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            _ => report.error(
                header.span(),
                format!("\"{}\" is not a header", header.get_ref().escape_debug()),
                "write \"Name: value\"",
            ),
        }
    }
    CheckKind::Http {
        method: text(&table.method, "GET"),
        uri: text(&table.uri, "/"),
        version: text(&table.version, "HTTP/1.1"),
        headers,
        body: table.body.clone(),
        expect: table
            .expect
            .as_ref()
            .and_then(|expect| expected(report, expect))
            .unwrap_or(Expect {
                negated: false,
                what: Expected::Success,
            }),
    }
}

/// `[min-recv N] [comment TEXT] [!] status|rstatus|string|rstring VALUE`
fn expected(report: &mut Report, written: &Spanned<String>) -> Option<Expect> {
    let words = line::words(report, written)?;
    let mut words = words.iter();
    let mut negated = false;
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            if value.is_none() {
                report_missing(report, word);
            }
            value
        };
        let what = match word.text.as_str() {
            "!" => {
                negated = true;
                continue;
            }
            "min-recv" | "comment" | "ok-status" | "error-status" | "tout-status" | "on-success"
            | "on-error" | "status-code" => {
                value();
                continue;
            }
            "status" => {
                let value = value()?;
                match statuses(&value.text) {
                    Some(ranges) => Expected::Statuses(ranges),
                    None => {
                        report.error(
                            value.span.clone(),
                            format!("`{}` are no statuses", value.text),
                            "write one such as 200, or several such as 200-299,401",
                        );
                        return None;
                    }
                }
            }
            "string" => Expected::Body(value()?.text.clone()),
            "rstatus" => {
                let value = value()?.clone();
                Expected::StatusRegex(regex(report, &value)?)
            }
            "rstring" => {
                let value = value()?.clone();
                Expected::BodyRegex(regex(report, &value)?)
            }
            other => {
                let names = ["status", "rstatus", "string", "rstring"];
                report.error(
                    word.span.clone(),
                    format!("`{other}` is nothing to expect"),
                    suggestion(other, names.into_iter()),
                );
                return None;
            }
        };
        return Some(Expect { negated, what });
    }
    report.error(
        written.span(),
        "nothing is expected",
        "write what, such as status 200",
    );
    None
}

fn report_missing(report: &mut Report, word: &crate::config::words::Word) {
    report.error(
        word.span.clone(),
        format!("`{}` needs a value", word.text),
        "write it behind",
    );
}

/// `200`, `200-299`, `200,204-206`
fn statuses(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && (100..=999).contains(&first) && last <= 999).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// A regular expression, with the place of what is wrong with it.
pub(super) fn regex(report: &mut Report, word: &crate::config::words::Word) -> Option<regex::bytes::Regex> {
    const SIZE_MAX: usize = 1 << 20;
    let built = regex::bytes::RegexBuilder::new(&word.text)
        .size_limit(SIZE_MAX)
        .build();
    match built {
        Ok(regex) => Some(regex),
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            report.error(
                word.span.clone(),
                format!(
                    "`{}` is no regular expression: {}",
                    word.text,
                    last.trim_start_matches("error: ")
                ),
                "look-around and back references are not supported",
            );
            None
        }
    }
}

/// `connect [port N] [ssl]`, `send TEXT`, `send-binary HEX`, `expect [!] string|rstring|binary VALUE`,
/// `mysql greeting|login`
fn steps(report: &mut Report, written: &[Spanned<String>]) -> Vec<Step> {
    if let Some(last) = written.last() {
        report.at_most(last.span(), "steps of one check", written.len(), STEPS_MAX);
    }
    let mut steps = Vec::new();
    for line in written {
        steps.extend(step(report, line));
    }
    steps
}

fn step(report: &mut Report, line: &Spanned<String>) -> Option<Step> {
    let words = line::words(report, line)?;
    let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let (first, rest) = text.split_first()?;
    let wrong = |report: &mut Report, message: String, help: &str| {
        report.error(line.span(), message, help);
        None
    };
    match (*first, rest) {
        ("connect", options) => connect(report, line, options),
        ("send", [data, more @ ..]) if is_comment(more) => Some(Step::Send(data.as_bytes().to_vec())),
        ("send-binary", [data, more @ ..]) if is_comment(more) => match hexadecimal(data) {
            Some(octets) => Some(Step::Send(octets)),
            None => wrong(
                report,
                format!("`{data}` is not hexadecimal"),
                "write two digits for each octet",
            ),
        },
        ("mysql", ["greeting"]) => Some(Step::ExpectMysql { login: false }),
        ("mysql", ["login"]) => Some(Step::ExpectMysql { login: true }),
        ("expect", options) => {
            let place = words.len() - options.len();
            let mut negated = false;
            let mut at = 0;
            loop {
                match options.get(at..)? {
                    ["!", ..] => {
                        negated = true;
                        at += 1;
                    }
                    [
                        "min-recv" | "comment" | "ok-status" | "error-status" | "tout-status" | "on-success"
                        | "on-error",
                        _,
                        ..,
                    ] => {
                        at += 2;
                    }
                    ["string", value, ..] => {
                        return Some(Step::Expect {
                            octets: value.as_bytes().to_vec(),
                            negated,
                        });
                    }
                    ["binary", value, ..] => match hexadecimal(value) {
                        Some(octets) => return Some(Step::Expect { octets, negated }),
                        None => {
                            return wrong(
                                report,
                                format!("`{value}` is not hexadecimal"),
                                "write two digits for each octet",
                            );
                        }
                    },
                    ["rstring", _, ..] => {
                        let word = words.get(place + at + 1)?;
                        return regex(report, word).map(|regex| Step::ExpectRegex { regex, negated });
                    }
                    _ => {
                        return wrong(
                            report,
                            "this expects nothing that is known".to_owned(),
                            "write `expect string TEXT`, `expect rstring REGEX` or `expect binary HEX`",
                        );
                    }
                }
            }
        }
        (other, _) => wrong(
            report,
            format!("`{other}` is no step of a check"),
            "write connect, send, send-binary or expect, and what belongs to it; or mysql greeting, mysql login",
        ),
    }
}

fn is_comment(words: &[&str]) -> bool {
    matches!(words, [] | ["comment", _])
}

fn connect(report: &mut Report, line: &Spanned<String>, options: &[&str]) -> Option<Step> {
    let (mut port, mut tls) = (None, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "port" => {
                port = options
                    .next()
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0);
                if port.is_none() {
                    report.error(line.span(), "`port` needs a number", "write one from 1 to 65535");
                    return None;
                }
            }
            "ssl" => tls = true,
            "default" | "linger" => {}
            "comment" => drop(options.next()),
            other => {
                report.error(
                    line.span(),
                    format!("`{other}` is not supported in `tcp-check connect`"),
                    "known are port and ssl; the rest comes from the `server` line",
                );
                return None;
            }
        }
    }
    Some(Step::Connect { port, tls })
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| octet * 16 + digit))
            .collect(),
    )
}
