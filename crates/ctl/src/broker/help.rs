//! What verbs there are, and how one is used.

use super::command_line::CommandLine;
use super::failure::{Failure, USAGE};
use super::verbs::{self, Verb};
use super::{Surroundings, Tool, usage_of};
use crate::paint::Paint;

/// Options that every verb takes.
const OPTIONS: &str = "\
-n, --node NODE          the node's name, to be sure that it is this one
-p, --vhost VHOST        where, if it is about a vhost [default: /]
-q, --quiet              say nothing but the answer
-s, --silent             say not even headers
-t, --timeout SECONDS    how long an answer may take
    --formatter FORMAT   table, pretty_table, json or csv
    --no-table-headers   rows only
    --runtime-dir DIR    where the broker's control socket is
";

/// `help`, `help VERB`, `VERB --help`
pub(super) fn help(tool: Tool, line: &CommandLine, around: &mut Surroundings<'_>) -> Result<(), Failure> {
    if line.is_set("list-commands") {
        for verb in verbs::of(tool) {
            writeln!(around.out, "{}", verb.name)?;
        }
        return Ok(());
    }
    let name = match line.verb() {
        Some("help") => line.arguments().first().map(String::as_str),
        verb => verb,
    };
    let page = match name {
        None => overview(tool, around.colour),
        Some(name) => {
            let verb = verbs::find(tool, name)
                .ok_or_else(|| Failure::new(USAGE, format_args!("\nCommand '{name}' not found.")))?;
            about(tool, verb, around.colour)
        }
    };
    writeln!(around.out, "{page}")?;
    Ok(())
}

/// All verbs, by what they are about.
pub(super) fn overview(tool: Tool, colour: bool) -> String {
    let paint = Paint(colour);
    let mut page = format!(
        "\n{}\n\n{} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n",
        paint.strong("Usage"),
        tool.program()
    );
    let width = verbs::of(tool).map(|verb| verb.name.len()).max().unwrap_or(0);
    let mut sections: Vec<&str> = Vec::new();
    for verb in verbs::of(tool) {
        if !sections.contains(&verb.section) {
            sections.push(verb.section);
        }
    }
    for section in sections {
        page += &format!("\n{}:\n\n", paint.strong(section));
        for verb in verbs::of(tool).filter(|verb| verb.section == section) {
            page += &format!("   {:width$}  {}\n", verb.name, verb.summary);
        }
    }
    page + &format!(
        "\nUse '{} help <command>' to learn more about a specific command",
        tool.program()
    )
}

fn about(tool: Tool, verb: &Verb, colour: bool) -> String {
    let paint = Paint(colour);
    format!(
        "\n{}\n\n{} [--node <node>] [--longnames] [--quiet] {}\n\n{}\n{}\n{}\n\n{OPTIONS}",
        paint.strong("Usage"),
        tool.program(),
        usage_of(verb),
        verb.summary,
        match verb.columns() {
            Some(columns) => format!("\n{}\n\n{}\n", paint.strong("Columns"), columns.join(", ")),
            None => String::new(),
        },
        paint.strong("Options")
    )
}
