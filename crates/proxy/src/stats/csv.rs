//! The statistics as text: CSV (`show stat`, `;csv`), typed lines and JSON, and which rows and columns of them.

use std::fmt::Write as _;

use super::field::Field;
use super::rows::{Kind, Row, Statistics, Value};
use super::typed::{item, write_line};
use crate::plan::ProxyId;

/// Which rows are wanted, and how much of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this proxy.
    pub proxy: Option<ProxyId>,
    /// Only these kinds, as a sum of 1 frontend, 2 backend, 4 server, 8 socket; `None` is all.
    pub kinds: Option<u8>,
    /// Only this server or socket.
    pub id: Option<u32>,
    /// No servers that are down (`up`).
    pub up: bool,
    /// No servers in maintenance (`no-maint`).
    pub no_maint: bool,
    /// Without addresses, cookies and algorithms: whoever asks may not see them.
    pub discreet: bool,
    /// Only proxies of these names (`stats scope`); empty is all.
    pub scope: Vec<String>,
}

impl Selection {
    /// The rows wanted.
    pub fn rows<'a>(&'a self, statistics: &'a Statistics) -> impl Iterator<Item = &'a Row> {
        statistics.rows.iter().filter(|row| self.takes(row))
    }

    /// Whether a row is wanted.
    #[must_use]
    pub fn takes(&self, row: &Row) -> bool {
        let server = row.kind == Kind::Server;
        let hidden = server
            && (self.up && row.is_down() || self.no_maint && row.text(Field::Status).starts_with("MAINT"));
        let bit = 1_u8 << row.kind as u8;
        !hidden
            && self.proxy.is_none_or(|proxy| proxy == row.proxy)
            && self.kinds.is_none_or(|kinds| kinds & bit != 0)
            && self.id.is_none_or(|id| id == row.id)
            && (self.scope.is_empty() || self.scope.iter().any(|name| name == row.text(Field::Pxname)))
    }

    /// A column, if it may be seen.
    pub(super) fn value<'a>(&self, row: &'a Row, field: Field) -> &'a Value {
        let private = matches!(field, Field::Addr | Field::Cookie | Field::Algo);
        if self.discreet && private {
            &Value::Empty
        } else {
            row.value(field)
        }
    }
}

/// The header line, with its newline.
#[must_use]
pub fn header() -> String {
    let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
    format!("# {},-,\n", names.join(","))
}

/// Header and rows.
#[must_use]
pub fn csv(statistics: &Statistics, selection: &Selection) -> String {
    let mut text = header();
    for row in selection.rows(statistics) {
        for field in Field::ALL {
            write_value(&mut text, selection.value(row, *field));
            if *field == Field::Status && row.kind == Kind::Backend && (selection.up || selection.no_maint) {
                write_share(&mut text, statistics, row);
            }
            text.push(',');
        }
        text.push_str("-,\n");
    }
    text
}

/// Where rows are left out, the backend says how many of its servers are up.
fn write_share(text: &mut String, statistics: &Statistics, backend: &Row) {
    let servers = statistics
        .rows
        .iter()
        .filter(|row| row.kind == Kind::Server && row.proxy == backend.proxy);
    let up = servers
        .clone()
        .filter(|row| !row.is_down() && !row.text(Field::Status).starts_with("DOWN"))
        .count();
    let _ = write!(text, " ({up}/{})", servers.count());
}

fn write_value(text: &mut String, value: &Value) {
    let _ = match value {
        Value::Empty => Ok(()),
        Value::U32(number) => write!(text, "{number}"),
        Value::U64(number) => write!(text, "{number}"),
        Value::S32(number) => write!(text, "{number}"),
        Value::Text(content) => {
            write_text(text, content);
            Ok(())
        }
    };
}

/// In quotes if it has what would end it (RFC 4180).
fn write_text(text: &mut String, content: &str) {
    if content.contains(['"', ',', '\n', '\r']) {
        let _ = write!(text, "\"{}\"", content.replace('"', "\"\""));
    } else {
        text.push_str(content);
    }
}

/// `show stat typed`: a line for each column that is not empty.
#[must_use]
pub fn typed(statistics: &Statistics, selection: &Selection, described: bool) -> String {
    let mut text = String::new();
    for row in selection.rows(statistics) {
        let letter = ['F', 'B', 'S', 'L'][row.kind as usize];
        for field in Field::ALL {
            let value = selection.value(row, *field);
            if *value == Value::Empty {
                continue;
            }
            let place = field.position();
            let _ = write!(text, "{letter}.{}.{}.{place}.", row.proxy.0, row.id);
            write_line(&mut text, field.name(), row.tags(*field), value);
            if described {
                let _ = write!(text, ":\"{}\"", field.help());
            }
            text.push('\n');
        }
    }
    text
}

/// `show stat json`, `;json`: a list of lists of such values.
#[must_use]
pub fn json(statistics: &Statistics, selection: &Selection) -> String {
    let rows = selection.rows(statistics).map(|row| {
        let values = Field::ALL.iter().filter_map(|field| {
            let value = selection.value(row, *field);
            let word = ["Frontend", "Backend", "Server", "Listener"][row.kind as usize];
            let item = item(field.position(), field.name(), row.tags(*field), value)?;
            Some(format!(
                "{{\"objType\":\"{word}\",\"proxyId\":{},\"id\":{},{item}}}",
                row.proxy.0, row.id
            ))
        });
        format!("[{}]", values.collect::<Vec<_>>().join(","))
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}
