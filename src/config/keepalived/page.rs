//! `docs/keepalived.md`: what becomes of every keyword, made from the tables that read them.

use std::fmt::Write;

use super::TOP_LEVEL;
use super::global::GLOBAL_DEFS;
use super::group::GROUP;
use super::instance::INSTANCE;
use super::keyword::{Keyword, Table};
use super::track::{FILE, PROCESS, SCRIPT};

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Keywords of keepalived.conf\n\n\
         Made by `scripts/gen` from the program. `warren vrrp -f keepalived.conf` runs such a file directly, and\n\
         `warren import keepalived.conf` prints the warren.toml it means. Defaults are keepalived's. A keyword that is not\n\
         listed here is an error, and so are a tracker that is used but not defined and `state SLAVE`.\n\n\
         Also read: `include` and its variants with wildcards, comments (`#` and `!`), quotes, `$NAME=value` with `$NAME` and\n\
         `${NAME}`, and lines for one host (`@NAME`, `@^NAME`). Not read: definitions of several lines, `~SEQ` and `~LST`.\n",
    );
    section(&mut page, "At the top", TOP_LEVEL);
    section(&mut page, "`global_defs`", GLOBAL_DEFS);
    section(&mut page, "`vrrp_instance`", INSTANCE);
    section(&mut page, "`vrrp_sync_group`", GROUP);
    section(&mut page, "`vrrp_script`", SCRIPT);
    section(&mut page, "`vrrp_track_process`", PROCESS);
    section(&mut page, "`track_file`, `vrrp_track_file`", FILE);
    page
}

fn section<T>(page: &mut String, title: &str, table: &Table<T>) {
    let _ = write!(page, "\n## {title}\n\n");
    let words = |pick: fn(&Keyword<T>) -> bool| -> String {
        let words = table
            .iter()
            .filter(|(_, keyword)| pick(keyword))
            .map(|(name, _)| format!("`{name}`"));
        words.collect::<Vec<_>>().join(" ")
    };
    let read = words(|keyword| matches!(keyword, Keyword::Read(_)));
    let implied = words(|keyword| matches!(keyword, Keyword::Implied));
    let _ = writeln!(page, "Read: {read}");
    if !implied.is_empty() {
        let _ = writeln!(page, "\nDone in any case: {implied}");
    }
    reasons(
        page,
        "Accepted with a warning, without effect",
        table,
        |keyword| match keyword {
            Keyword::NoEffect(why) => Some(why),
            _ => None,
        },
    );
    reasons(page, "Refused", table, |keyword| match keyword {
        Keyword::Refused(instead) => Some(instead),
        _ => None,
    });
}

/// Keywords with the same reason share a line.
fn reasons<T>(
    page: &mut String,
    title: &str,
    table: &Table<T>,
    reason: fn(&Keyword<T>) -> Option<&'static str>,
) {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, keyword) in table {
        let Some(why) = reason(keyword) else { continue };
        let name = format!("`{name}`");
        match lines.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => lines.push((why, vec![name])),
        }
    }
    if lines.is_empty() {
        return;
    }
    let _ = write!(page, "\n{title}:\n\n");
    for (why, names) in lines {
        let _ = writeln!(page, "- {}: {why}", names.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<T>(table: &Table<T>) -> Vec<&'static str> {
        table.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn no_keyword_has_two_entries() {
        let tables = [
            names(TOP_LEVEL),
            names(GLOBAL_DEFS),
            names(INSTANCE),
            names(GROUP),
            names(SCRIPT),
            names(PROCESS),
            names(FILE),
        ];
        for mut table in tables {
            let count = table.len();
            table.sort_unstable();
            table.dedup();
            assert_eq!(table.len(), count, "{table:?}");
        }
    }
}
