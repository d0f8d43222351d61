//! Rows of a listing, as tables that scripts take apart at tabs, as tables for people, as JSON or CSV.
//!
//! A row is written when it comes, but for tables that have to know how wide their columns are.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Value, json};
use warren_api::broker::{Argument, Cell};

use crate::paint::{Paint, clean};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns are separated by tabs.
    #[default]
    Table,
    /// Columns are lines of a frame.
    Pretty,
    Json,
    Csv,
}

impl Format {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "table" | "string" | "plain" => Self::Table,
            "pretty_table" => Self::Pretty,
            "json" => Self::Json,
            "csv" => Self::Csv,
            _ => return None,
        })
    }

    /// What else is said does not disturb whoever reads rows.
    pub(super) const fn has_banner(self) -> bool {
        matches!(self, Self::Table | Self::Pretty)
    }
}

/// Rows on their way out.
pub(super) struct Table {
    format: Format,
    columns: Vec<String>,
    headers: bool,
    colour: bool,
    count: usize,
    /// Rows that wait until all are there.
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(format: Format, columns: &[&str], headers: bool, colour: bool) -> Self {
        Self {
            format,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            headers,
            colour,
            count: 0,
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: Vec<Cell>, out: &mut dyn Write) -> io::Result<()> {
        self.count += 1;
        match self.format {
            Format::Table => {
                if self.count == 1 && self.headers {
                    writeln!(out, "{}", self.columns.join("\t"))?;
                }
                let cells: Vec<String> = row.iter().map(|cell| clean(&text(cell))).collect();
                writeln!(out, "{}", cells.join("\t"))
            }
            Format::Csv => {
                if self.count == 1 && self.headers {
                    writeln!(out, "{}", quoted(self.columns.iter().cloned()))?;
                }
                writeln!(out, "{}", quoted(row.iter().map(text)))
            }
            Format::Json => {
                // In the order of the columns, which a map would not keep.
                let fields = self.columns.iter().zip(&row);
                let fields: Vec<String> = fields
                    .map(|(column, cell)| format!("{}:{}", json!(column), value(cell)))
                    .collect();
                let start = if self.count == 1 { "[\n" } else { "," };
                writeln!(out, "{start}{{{}}}", fields.join(","))
            }
            Format::Pretty => {
                self.rows
                    .push(row.iter().map(|cell| clean(&text(cell))).collect());
                Ok(())
            }
        }
    }

    pub(super) fn end(self, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Json if self.count == 0 => writeln!(out, "[\n]"),
            Format::Json => writeln!(out, "]"),
            Format::Pretty if self.count > 0 => out.write_all(self.framed().as_bytes()),
            Format::Table | Format::Csv | Format::Pretty => Ok(()),
        }
    }

    fn framed(&self) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(place));
                cells
                    .chain([column])
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let rule = |left: &str, middle: &str, right: &str| {
            let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}\n", lines.join(middle))
        };
        let paint = Paint(self.colour);
        let line = |cells: &[String], head: bool| {
            let mut line = String::from("│");
            for (cell, width) in cells.iter().zip(&widths) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let cell = if head { paint.strong(cell) } else { cell.clone() };
                // Into a String nothing fails.
                let _ = write!(line, " {cell}{padding} │");
            }
            line + "\n"
        };
        let mut framed = rule("┌", "┬", "┐");
        if self.headers {
            framed += &line(&self.columns, true);
            framed += &rule("├", "┼", "┤");
        }
        let rows: Vec<String> = self.rows.iter().map(|row| line(row, false)).collect();
        framed += &rows.join(&rule("├", "┼", "┤"));
        framed + &rule("└", "┴", "┘")
    }
}

fn quoted(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells
        .map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")))
        .collect();
    cells.join(",")
}

/// As a table shows it.
pub(super) fn text(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Bool(value) => value.to_string(),
        Cell::Integer(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Words(words) => format!("[{}]", words.join(", ")),
        Cell::Arguments(arguments) => term(arguments),
    }
}

/// Arguments as Erlang writes them: `[{"x-max-length",5}]`.
fn term(arguments: &[Argument]) -> String {
    let one = |argument: &Argument| {
        let value = match &argument.value {
            Cell::Text(text) => format!("{text:?}"),
            other => text(other),
        };
        match argument.name.is_empty() {
            true => value,
            false => format!("{{{:?},{value}}}", argument.name),
        }
    };
    let all: Vec<String> = arguments.iter().map(one).collect();
    format!("[{}]", all.join(","))
}

/// As JSON has it: arguments with their types, what is missing as an empty text.
fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Nothing => json!(""),
        Cell::Bool(value) => json!(value),
        Cell::Integer(number) => json!(number),
        Cell::Float(number) => json!(number),
        Cell::Text(text) => json!(text),
        Cell::Words(words) => json!(words),
        Cell::Arguments(arguments) => arguments.iter().map(argument).collect(),
    }
}

fn argument(argument: &Argument) -> Value {
    let value = value(&argument.value);
    match argument.name.is_empty() {
        true => json!([argument.kind, value]),
        false => json!([argument.name, argument.kind, value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        let argument = |name: &str, kind: &str, value| Argument {
            name: name.into(),
            kind: kind.into(),
            value,
        };
        let arguments = vec![
            argument("x-max-length", "signedint", Cell::Integer(100)),
            argument("x-dead-letter-exchange", "longstr", Cell::from("dlx")),
        ];
        vec![
            vec![Cell::from("q 1"), Cell::Integer(2), Cell::Arguments(arguments)],
            vec![Cell::from("q\"2"), Cell::Nothing, Cell::Arguments(Vec::new())],
        ]
    }

    fn written(format: Format, headers: bool, rows: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new(format, &["name", "messages", "arguments"], headers, false);
        let mut out = Vec::new();
        for row in rows {
            table.row(row, &mut out).unwrap();
        }
        table.end(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_is_as_rabbitmq_writes_it() {
        assert_eq!(
            written(Format::Table, true, rows()),
            "name\tmessages\targuments\n\
             q 1\t2\t[{\"x-max-length\",100},{\"x-dead-letter-exchange\",\"dlx\"}]\n\
             q\"2\t\t[]\n"
        );
        assert_eq!(
            written(Format::Csv, true, rows()),
            "\"name\",\"messages\",\"arguments\"\n\
             \"q 1\",\"2\",\"[{\"\"x-max-length\"\",100},{\"\"x-dead-letter-exchange\"\",\"\"dlx\"\"}]\"\n\
             \"q\"\"2\",\"\",\"[]\"\n"
        );
        assert_eq!(
            written(Format::Json, true, rows()),
            "[\n\
             {\"name\":\"q 1\",\"messages\":2,\"arguments\":[[\"x-max-length\",\"signedint\",100],[\"x-dead-letter-exchange\",\"longstr\",\"dlx\"]]}\n\
             ,{\"name\":\"q\\\"2\",\"messages\":\"\",\"arguments\":[]}\n\
             ]\n"
        );
    }

    #[test]
    fn of_nothing_only_json_says_something() {
        for format in [Format::Table, Format::Csv, Format::Pretty] {
            assert_eq!(written(format, true, Vec::new()), "", "{format:?}");
        }
        assert_eq!(written(Format::Json, true, Vec::new()), "[\n]\n");
    }

    #[test]
    fn a_frame_is_as_wide_as_what_is_in_it() {
        let rows = vec![vec![Cell::from("a"), Cell::Integer(10_000_000), Cell::Nothing]];
        assert_eq!(
            written(Format::Pretty, true, rows),
            "┌──────┬──────────┬───────────┐\n\
             │ name │ messages │ arguments │\n\
             ├──────┼──────────┼───────────┤\n\
             │ a    │ 10000000 │           │\n\
             └──────┴──────────┴───────────┘\n"
        );
    }

    #[test]
    fn what_steers_a_terminal_does_not_reach_it() {
        let rows = vec![vec![Cell::from("a\x1b[2J"), Cell::Nothing, Cell::Nothing]];
        assert!(!written(Format::Table, false, rows).contains('\x1b'));
    }
}
