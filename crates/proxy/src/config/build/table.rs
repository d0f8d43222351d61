//! Tables of clients, and who is counted in them.

use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use warren_kit::config::{Report, suggestion};

use super::{Given, Surroundings};
use crate::config::file::{Section, Table as File};
use crate::config::haproxy::duration;
use crate::config::words::Word;
use crate::logs::Format;
use crate::plan::{Counter, Table, TableKey, Track, TrackKey};

/// Numbers under which clients are counted, as in HAProxy.
pub(super) const SLOTS: u8 = 3;
const SIZES: std::ops::RangeInclusive<i64> = 1..=100_000_000;
const SIZE: u32 = 100_000;
const LENGTH_MAX: i64 = 1024;

/// The table of a section, if it has one: its own, or one for its limits of clients.
pub(super) fn table(report: &mut Report, given: &Given<'_>) -> Option<Table> {
    let section = given.section;
    let name = given.name.get_ref().clone();
    match (&section.table, &section.per_source) {
        (Some(table), limits) => {
            let limits = limits.as_ref().map(Spanned::get_ref);
            let said = limits.and_then(|limits| {
                let times = [&limits.period, &limits.expire].map(|time| time.as_ref().map(Spanned::span));
                let size = limits.size.as_ref().map(Spanned::span);
                times.into_iter().chain([size]).flatten().next()
            });
            if let Some(span) = said {
                report.error(
                    span,
                    "this is for the `table` to say",
                    "move it there, or remove `table`",
                );
            }
            Some(own(report, name, table.get_ref()))
        }
        (None, Some(_)) => Some(of_limits(report, name, section)),
        (None, None) => None,
    }
}

fn own(report: &mut Report, name: String, file: &File) -> Table {
    const KINDS: [(&str, TableKey); 4] = [
        ("ip", TableKey::Ip),
        ("ipv6", TableKey::Ipv6),
        ("integer", TableKey::Integer),
        ("string", TableKey::String(32)),
    ];
    let kind = file.kind.as_ref();
    let kind = kind.and_then(|kind| report.choice("type of a table", kind.span(), kind.get_ref(), &KINDS));
    let length = report.number("length", file.length.as_ref(), 1..=LENGTH_MAX, 32_u32);
    let key = match kind.unwrap_or(TableKey::Ip) {
        TableKey::String(_) => TableKey::String(usize::try_from(length).unwrap_or(usize::MAX)),
        other => other,
    };
    let mut stored: Vec<(Counter, Option<Duration>)> = Vec::new();
    for item in &file.store {
        stored.extend(counter(report, item));
    }
    stored.sort_by_key(|(counter, _)| Counter::ALL.iter().position(|(_, known)| known == counter));
    stored.dedup_by_key(|(counter, _)| *counter);
    Table {
        name,
        key,
        size: report.number("size", file.size.as_ref(), SIZES, SIZE),
        expire: file
            .expire
            .as_ref()
            .map(|expire| expire.get_ref().get())
            .filter(|expire| !expire.is_zero()),
        stored,
    }
}

/// `conn_cur`, `http_req_rate(10s)`
fn counter(report: &mut Report, item: &Spanned<String>) -> Option<(Counter, Option<Duration>)> {
    let text = item.get_ref().as_str();
    let (name, period) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (text, None),
    };
    let names = Counter::ALL.iter().map(|(name, _)| *name);
    let Some((_, counter)) = Counter::ALL.iter().find(|(known, _)| *known == name) else {
        report.error(
            item.span(),
            format!("`{name}` is not stored"),
            suggestion(name, names),
        );
        return None;
    };
    let period = match (counter.is_rate(), period) {
        (false, None) => None,
        (true, Some(period)) => match duration(period, "ms") {
            Ok(period) if !period.get().is_zero() => Some(period.get()),
            _ => {
                report.error(
                    item.span(),
                    format!("`{period}` is no period of a rate"),
                    format!("write such as {name}(10s)"),
                );
                return None;
            }
        },
        (true, None) => {
            report.error(
                item.span(),
                format!("`{name}` is taken over a period"),
                format!("write such as {name}(10s)"),
            );
            return None;
        }
        (false, Some(_)) => {
            report.error(
                item.span(),
                format!("`{name}` has no period"),
                format!("write {name}"),
            );
            return None;
        }
    };
    Some((*counter, period))
}

/// What `per_source` needs.
fn of_limits(report: &mut Report, name: String, section: &Section) -> Table {
    let file = section.per_source.as_ref().map(|file| file.get_ref().clone());
    let file = file.unwrap_or_default();
    let period = report.duration(
        "period",
        file.period.as_ref(),
        Duration::from_millis(1)..=Duration::from_secs(86_400),
        Duration::from_secs(10),
    );
    Table {
        name,
        key: TableKey::Ip,
        size: report.number("size", file.size.as_ref(), SIZES, SIZE),
        expire: Some(
            file.expire
                .map_or(Duration::from_secs(30), |expire| expire.get_ref().get()),
        ),
        stored: vec![
            (Counter::ConnCnt, None),
            (Counter::ConnRate, Some(period)),
            (Counter::ConnCur, None),
        ],
    }
}

/// `track-sc0`: the number of this word.
pub(super) fn slot(action: &str) -> Option<u8> {
    action.strip_prefix("track-sc")?.parse().ok()
}

/// What stands behind `track-scN`: `KEY [table NAME]`, and what follows. `requests` may be looked at.
pub(super) fn track<'w>(
    report: &mut Report,
    action: &Word,
    rest: &'w [Word],
    requests: bool,
    given: &Given<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<(Track, &'w [Word])> {
    let Some(slot) = slot(&action.text).filter(|slot| *slot < SLOTS) else {
        report.error(
            action.span.clone(),
            format!("`{}` is not one of the counters", action.text),
            "there are track-sc0, track-sc1 and track-sc2",
        );
        return None;
    };
    let Some((key, mut rest)) = rest.split_first() else {
        report.error(
            action.span.clone(),
            format!("`{}` needs what clients are known by", action.text),
            "write src behind it",
        );
        return None;
    };
    let track_key = match key.text.as_str() {
        "src" => TrackKey::Source,
        // What becomes of the text is the table's to say.
        text if requests => match Format::compile_expression(&text.replacen("hdr_ip(", "hdr(", 1)) {
            Ok(format) => TrackKey::Expression(Arc::new(format)),
            Err(error) => {
                let help = "write src, or what of a request clients are known by, such as req.hdr(x-api-key)";
                report.error(key.span.clone(), error.fault.to_string(), help);
                return None;
            }
        },
        _ => {
            report.error(
                key.span.clone(),
                "connections are known by their address only",
                "write src, or an http-request rule",
            );
            return None;
        }
    };
    let mut table = Word {
        text: given.name.get_ref().clone(),
        ..action.clone()
    };
    if let [word, name, more @ ..] = rest
        && word.text == "table"
    {
        table = name.clone();
        rest = more;
    }
    let table = named(report, &table, surroundings)?;
    let track = Track {
        slot,
        key: track_key,
        table,
    };
    Some((track, rest))
}

/// A table by its name, which there has to be.
pub(super) fn named(report: &mut Report, name: &Word, surroundings: &Surroundings<'_>) -> Option<Arc<str>> {
    let mut tables = surroundings.tables.iter();
    let found = tables.find(|table| table.name == name.text);
    if found.is_none() {
        let names = surroundings.tables.iter().map(|table| table.name.as_str());
        let known = suggestion(&name.text, names);
        report.error(
            name.span.clone(),
            format!("there is no table called `{}`", name.text),
            if surroundings.tables.is_empty() {
                "write `stick-table type ip size 100k expire 30s store http_req_rate(10s)` (warren.toml: table)".to_owned()
            } else {
                known
            },
        );
    }
    found.map(|table| table.name.as_str().into())
}
