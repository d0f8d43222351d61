//! rabbitmq.conf: lines of `key = value`, as RabbitMQ reads them since 3.7.
//!
//! ```text
//! # a comment
//! listeners.tcp.local = 127.0.0.1:5672        a later line of the same key wins
//! default_pass = 'with a # in it'             quotes keep everything
//! ```
//!
//! Every key either does what it does there, or is accepted because it cannot matter here, which is a warning, or is
//! refused with its place and what to do instead. Deliberately absent: advanced.config, whose terms are Erlang's.

mod keys;
mod page;
mod value;

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use warren_kit::config::{Report, Sources, suggestion};

use super::file::Broker;
use keys::{Effect, KEYS};

pub use page::page;

/// A line, with where its halves stand.
struct Line {
    key: Spanned<String>,
    value: Spanned<String>,
}

impl Line {
    fn text(&self) -> &str {
        self.value.get_ref()
    }

    /// The part of the key that the operator chose.
    fn name(&self) -> &str {
        let key = self.key.get_ref();
        key.rsplit_once('.').map_or(key.as_str(), |(_, name)| name)
    }

    fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// The value, in its place.
    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(self.span(), value)
    }
}

/// Reads all files as one.
pub(super) fn read(sources: &Sources, report: &mut Report) -> Broker {
    let mut last: BTreeMap<String, Line> = BTreeMap::new();
    for (base, file) in sources.iter() {
        let mut start = base;
        for text in file.text.split('\n') {
            match line(text, start) {
                Ok(Some(line)) => drop(last.insert(line.key.get_ref().clone(), line)),
                Ok(None) => {}
                Err((span, message, help)) => report.error(span, message, help),
            }
            start += text.len() + 1;
        }
    }
    let mut lines: Vec<Line> = last.into_values().collect();
    lines.sort_by_key(|line| line.key.span().start);
    let mut broker = Broker::default();
    for line in &lines {
        apply(line, &mut broker, report);
    }
    broker
}

/// Where passwords stand: behind every key that is one by its name, whatever is wrong with its line.
pub(super) fn secrets(sources: &Sources) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    for (base, file) in sources.iter() {
        let mut start = base;
        for text in file.text.split('\n') {
            let end_of_key = |text: &str| text.find(|c: char| c == '=' || c.is_whitespace());
            let indent = text.len() - text.trim_start().len();
            let key = text.trim_start();
            if let Some(end) = end_of_key(key)
                && key.get(..end).is_some_and(|key| key.contains("pass"))
            {
                spans.push(start + indent + end + 1..start + text.trim_end().len());
            }
            start += text.len() + 1;
        }
    }
    spans.retain(|span| !span.is_empty());
    spans
}

fn apply(line: &Line, broker: &mut Broker, report: &mut Report) {
    let key = line.key.get_ref();
    match KEYS.iter().find(|known| known.fits(key)) {
        Some(known) => match known.effect {
            Effect::Set(set) => {
                if let Err((message, help)) = set(line, broker) {
                    report.error(line.span(), message, help);
                }
            }
            Effect::None(why) => report.warn(
                line.key.span(),
                format!("{key} has no effect: {why}"),
                "remove it",
            ),
            Effect::Refused(instead) => {
                report.error(line.key.span(), format!("{key} is not possible here"), instead);
            }
        },
        None => {
            let names = KEYS.iter().map(|known| known.name);
            report.error(
                line.key.span(),
                format!("unknown key `{key}`"),
                suggestion(key, names),
            );
        }
    }
}

type Malformed = (Range<usize>, &'static str, &'static str);

fn line(text: &str, start: usize) -> Result<Option<Line>, Malformed> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    let at = start + (text.len() - text.trim_start().len());
    let Some((key, value)) = trimmed.split_once('=') else {
        return Err((
            at..at + trimmed.len(),
            "this line has no `=`",
            "write key = value, or # before a comment",
        ));
    };
    let value_at = at + key.len() + 1 + (value.len() - value.trim_start().len());
    let (value, value_at) = unquoted(value.trim(), value_at)?;
    let key = key.trim_end();
    if value.is_empty() {
        return Err((
            at..at + key.len(),
            "this key has no value",
            "write one behind the `=`",
        ));
    }
    Ok(Some(Line {
        key: Spanned::new(at..at + key.len(), key.to_owned()),
        value: Spanned::new(value_at..value_at + value.len(), value.to_owned()),
    }))
}

/// Without quotes or the comment behind it, and where that begins.
fn unquoted(value: &str, at: usize) -> Result<(&str, usize), Malformed> {
    let Some(inner) = value.strip_prefix('\'') else {
        let value = value.split_once(" #").map_or(value, |(value, _)| value);
        return Ok((value.trim_end(), at));
    };
    match inner.split_once('\'') {
        Some((inner, rest)) if rest.trim().is_empty() || rest.trim_start().starts_with('#') => {
            Ok((inner, at + 1))
        }
        Some(_) => Err((
            at..at + value.len(),
            "something follows the quote",
            "end the line there",
        )),
        None => Err((
            at..at + value.len(),
            "this quote is never closed",
            "close it on the same line",
        )),
    }
}

#[cfg(test)]
mod tests;
