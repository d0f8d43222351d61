//! Where log lines go.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::{Given, Surroundings, line};
use crate::config::words::Word;
use crate::logs::{Format, HTTPS};
use crate::plan::{Facility, Level, LogFormat, LogTarget, Logging, Mode, Transport};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const LEVELS: [(&str, Level); 8] = [
    ("emerg", Level::Emerg),
    ("alert", Level::Alert),
    ("crit", Level::Crit),
    ("err", Level::Err),
    ("warning", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];
const SYSLOG_PORT: u16 = 514;
const LENGTH: usize = 1024;
const LENGTHS: std::ops::RangeInclusive<usize> = 80..=65_535;

/// `ADDRESS [len N] [format F] FACILITY [LEVEL [LEVEL]]`
pub(super) fn target(report: &mut Report, text: &Spanned<String>) -> Option<LogTarget> {
    let words = line::words(report, text)?;
    let mut words = words.iter();
    let Some(address) = words.next() else {
        report.error(
            text.span(),
            "a log without an address",
            "write one such as \"127.0.0.1 local0\"",
        );
        return None;
    };
    let transport = transport(report, address)?;
    let mut length = LENGTH;
    let mut word = words.next();
    while let Some(option) = word.filter(|word| ["len", "format", "sample"].contains(&word.text.as_str())) {
        let value = words.next();
        match (option.text.as_str(), value) {
            ("len", Some(value)) => match value.text.parse().ok().filter(|value| LENGTHS.contains(value)) {
                Some(value) => length = value,
                None => report.error(
                    value.span.clone(),
                    format!("`{}` is no length of a line", value.text),
                    "write a number from 80 to 65535",
                ),
            },
            ("format", Some(value))
                if ["rfc3164", "local", "raw", "short"].contains(&value.text.as_str()) => {}
            ("format", Some(value)) => report.warn(
                value.span.clone(),
                format!("the format `{}` is not written", value.text),
                "syslog lines are sent as RFC 3164 says",
            ),
            ("sample", Some(value)) => report.error(
                value.span.clone(),
                "every line is sent",
                "remove `sample` and its range",
            ),
            (_, _) => report.error(
                option.span.clone(),
                format!("`{}` needs a value", option.text),
                "write it behind",
            ),
        }
        word = words.next();
    }
    let syslog = matches!(transport, Transport::Udp(_) | Transport::Unix(_));
    let facility = match word {
        Some(word) => facility(report, word)?,
        None if syslog => {
            report.error(
                text.span(),
                "a log without a facility",
                "write one behind the address, such as local0",
            );
            return None;
        }
        // Nothing else knows of facilities.
        None => Facility(16),
    };
    let mut level = |word: Option<&Word>| {
        let word = word?;
        report.choice("level", word.span.clone(), &word.text, &LEVELS)
    };
    let least = level(words.next()).unwrap_or(Level::Debug);
    let most = level(words.next()).unwrap_or(Level::Emerg);
    if let Some(word) = words.next() {
        report.error(
            word.span.clone(),
            format!("unexpected `{}` at the end of a log line", word.text),
            "an address, a facility and two levels are all there is",
        );
    }
    Some(LogTarget {
        transport,
        facility,
        level: least,
        level_at_most: most,
        length,
    })
}

fn transport(report: &mut Report, word: &Word) -> Option<Transport> {
    const HELP: &str = "write an IP address, a path, \"stdout\", \"stderr\" or \"journal\"";
    let text = word.text.as_str();
    let udp = |text: &str| {
        let plain = ["udp@", "udp4@", "udp6@", "ipv4@", "ipv6@"]
            .iter()
            .find_map(|family| text.strip_prefix(family))
            .unwrap_or(text);
        if let Ok(address) = plain.parse::<SocketAddr>() {
            return Some(address);
        }
        if let Ok(ip) = plain.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, SYSLOG_PORT));
        }
        let (host, port) = plain.rsplit_once(':')?;
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?))
    };
    match text {
        "stdout" | "fd@1" => return Some(Transport::Stdout),
        "stderr" | "fd@2" => return Some(Transport::Stderr),
        "journal" => return Some(Transport::Journal),
        _ => {}
    }
    let path = text.strip_prefix("unix@").unwrap_or(text);
    if path.starts_with('/') {
        return Some(Transport::Unix(PathBuf::from(path)));
    }
    if let Some(address) = udp(text) {
        return Some(Transport::Udp(address));
    }
    let help = if text.starts_with("ring@") || text.starts_with("tcp@") {
        "lines are sent over UDP, to a socket, or to standard output"
    } else {
        HELP
    };
    report.error(
        word.span.clone(),
        format!("`{text}` is no place for log lines"),
        help,
    );
    None
}

fn facility(report: &mut Report, word: &Word) -> Option<Facility> {
    let index = FACILITIES.iter().position(|name| *name == word.text);
    if index.is_none() {
        report.error(
            word.span.clone(),
            format!("unknown facility `{}`", word.text),
            suggestion(&word.text, FACILITIES.into_iter()),
        );
    }
    index.and_then(|index| u8::try_from(index).ok()).map(Facility)
}

/// What a proxy logs.
pub(super) fn logging(report: &mut Report, given: &Given<'_>, surroundings: &Surroundings<'_>) -> Logging {
    let section = given.section;
    let mut targets = Vec::new();
    match &section.log {
        None => targets.clone_from(&surroundings.log),
        Some(list) => {
            for text in list {
                if text.get_ref() == "global" {
                    targets.extend(surroundings.log.iter().cloned());
                } else {
                    targets.extend(target(report, text).map(Arc::new));
                }
            }
        }
    }
    let format = match &section.log_format {
        None if given.mode == Mode::Http => LogFormat::Http,
        None => LogFormat::Tcp,
        Some(format) => match format.get_ref().as_str() {
            "plain" => LogFormat::Plain,
            "tcplog" => LogFormat::Tcp,
            "json" => LogFormat::Json,
            "httplog" if given.mode == Mode::Http => LogFormat::Http,
            "httpslog" if given.mode == Mode::Http => {
                let usual = Spanned::new(format.span(), HTTPS.to_owned());
                compiled(report, &usual)
            }
            // As HAProxy: a warning, and the line of the mode it has.
            "httplog" | "httpslog" => {
                if !targets.is_empty() {
                    report.warn(
                        format.span(),
                        "lines of HTTP in a frontend that does not speak it",
                        "it is taken for tcplog; write `mode http`, or tcplog",
                    );
                }
                LogFormat::Tcp
            }
            custom if custom.contains('%') => compiled(report, format),
            other => {
                report.error(
                    format.span(),
                    format!("unknown format \"{other}\""),
                    "write \"tcplog\", \"httplog\", \"httpslog\", \"json\", \"plain\", or a text with % variables",
                );
                LogFormat::Plain
            }
        },
    };
    Logging {
        targets,
        format,
        dontlognull: section.dontlognull.unwrap_or(true),
        dontlog_normal: section.dontlog_normal,
        logasap: section.logasap,
        separate_errors: section.log_separate_errors,
        tag: section.log_tag.clone(),
    }
}

/// A format of the operator's own.
fn compiled(report: &mut Report, format: &Spanned<String>) -> LogFormat {
    match Format::compile(format.get_ref()) {
        Ok(format) => LogFormat::Custom(Arc::new(format)),
        Err(error) => {
            report.error(
                format.span(),
                error.to_string(),
                "a format is text with %variables and %[samples]",
            );
            LogFormat::Plain
        }
    }
}
