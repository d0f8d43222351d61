//! Which program's format a file is in, for commands that take any: by its name, and where that says nothing, by the
//! sections it has.

use std::path::Path;

/// A format that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// warren.toml: every role.
    Toml,
    /// keepalived.conf
    Keepalived,
    /// haproxy.cfg
    Haproxy,
    /// rabbitmq.conf
    Rabbitmq,
}

/// Words that begin a section of haproxy.cfg, and are none of keepalived's.
const SECTIONS: [&str; 6] = ["global", "defaults", "listen", "frontend", "backend", "userlist"];

/// A file that cannot be read is keepalived's: reading it says what is wrong.
#[must_use]
pub fn of(path: &Path) -> Format {
    if path.is_dir() {
        return Format::Haproxy;
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("toml") => Format::Toml,
        Some("cfg") => Format::Haproxy,
        _ => by_content(&std::fs::read_to_string(path).unwrap_or_default()),
    }
}

fn by_content(text: &str) -> Format {
    let mut words = text.lines().filter_map(|line| line.split_whitespace().next());
    let first = words.find(|word| !word.starts_with(['#', '!']));
    match first {
        Some(word) if SECTIONS.contains(&word) => Format::Haproxy,
        _ if is_rabbitmq(text) => Format::Rabbitmq,
        _ => Format::Keepalived,
    }
}

/// `key = value` in its first line that says something: in keepalived.conf an `=` stands at the end of no first word.
fn is_rabbitmq(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let Some((key, _)) = first.and_then(|line| line.split_once('=')) else {
        return false;
    };
    !key.starts_with(['$', '@']) && key.split_whitespace().count() == 1
}

/// The roles that a warren.toml has something to say to, of those that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The failover daemon.
    pub vrrp: bool,
    /// The proxy.
    pub proxy: bool,
    /// The broker.
    pub broker: bool,
}

impl Roles {
    /// The failover daemon alone.
    pub const VRRP: Self = Self {
        vrrp: true,
        proxy: false,
        broker: false,
    };
    /// The proxy alone.
    pub const PROXY: Self = Self {
        vrrp: false,
        proxy: true,
        broker: false,
    };
    /// The broker alone.
    pub const BROKER: Self = Self {
        vrrp: false,
        proxy: false,
        broker: true,
    };
}

/// The roles of a warren.toml, by its sections and those of its hosts. One that cannot be read, or has none, is for the
/// failover daemon to complain about.
#[must_use]
pub fn roles(path: &Path) -> Roles {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Ok(file) = text.parse::<toml::Table>() else {
        return Roles::VRRP;
    };
    let hosts = file.get("host").and_then(toml::Value::as_table);
    let sections = hosts.into_iter().flat_map(|hosts| hosts.values());
    let tables: Vec<_> = sections
        .filter_map(toml::Value::as_table)
        .chain([&file])
        .collect();
    let has = |role: &str| tables.iter().any(|table| table.contains_key(role));
    Roles {
        vrrp: has("vrrp") || !(has("proxy") || has("broker")),
        proxy: has("proxy"),
        broker: has("broker"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_meaning_is_judged_by_the_first_section() {
        assert_eq!(by_content("# note\n\nglobal\n  daemon\n"), Format::Haproxy);
        assert_eq!(by_content("! note\nglobal_defs {\n}\n"), Format::Keepalived);
        assert_eq!(by_content(""), Format::Keepalived);
    }

    #[test]
    fn the_roles_of_a_file_are_those_of_its_sections_and_its_hosts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            roles(file.path())
        };
        assert_eq!(written("[proxy]\n"), Roles::PROXY);
        assert_eq!(written("[vrrp]\n"), Roles::VRRP);
        assert_eq!(written("[broker]\n"), Roles::BROKER);
        assert_eq!(written(""), Roles::VRRP);
        assert_eq!(written("[vrrp\n"), Roles::VRRP);
        let both = written("[vrrp]\n[host.beta.proxy]\n");
        assert!(both.vrrp && both.proxy);
    }

    #[test]
    fn an_ending_that_has_a_meaning_decides() {
        assert_eq!(of(Path::new("/nowhere/warren.toml")), Format::Toml);
        assert_eq!(of(Path::new("/nowhere/haproxy.cfg")), Format::Haproxy);
        assert_eq!(of(Path::new("/nowhere/keepalived.conf")), Format::Keepalived);
    }
}
