//! The configuration reference, made from the comments on the fields of the file types: what the reader of the code
//! sees, the operator sees.
//!
//! The source is scanned by its shape (a comment, a `pub` field, its type), which `rustfmt` keeps; a test fails when
//! a section is not found any more.

use std::fmt::Write;

/// The code of one role's file types, and which of its structures are sections or tables of the file: their name in the
/// code, and where they stand in the file.
struct Role {
    title: &'static str,
    source: &'static str,
    sections: &'static [(&'static str, &'static str)],
}

const ROLES: [Role; 3] = [
    Role {
        title: "The failover daemon",
        source: include_str!("../config.rs"),
        sections: &VRRP,
    },
    Role {
        title: "The proxy",
        source: warren_proxy::config::REFERENCE,
        sections: &PROXY,
    },
    Role {
        title: "The broker",
        source: warren_broker::config::REFERENCE,
        sections: &BROKER,
    },
];

const VRRP: [(&str, &str); 12] = [
    ("Vrrp", "[vrrp]"),
    ("Router", "[vrrp.router.NAME]"),
    ("Check", "[vrrp.check.NAME]"),
    ("Group", "[vrrp.group.NAME]"),
    ("AddressTable", "an entry of `addresses`"),
    ("PeerTable", "an entry of `peers`"),
    ("CheckUseTable", "an entry of `checks`"),
    ("VirtualMacTable", "the table of `virtual_mac`"),
    ("Announce", "the table of `announce`"),
    ("Notify", "the table of `notify`"),
    ("Route", "an entry of `routes` or `static_routes`"),
    ("Rule", "an entry of `rules` or `static_rules`"),
];

const PROXY: [(&str, &str); 19] = [
    ("Proxy", "[proxy]"),
    (
        "Section",
        "[proxy.listen.NAME], [proxy.frontend.NAME], [proxy.backend.NAME]",
    ),
    ("Timeouts", "the table of `timeouts`"),
    ("BindTable", "an entry of `bind`"),
    ("BindTls", "the table of `tls` in it"),
    ("PerSource", "the table of `per_source`"),
    ("Table", "the table of `table`"),
    ("StatsTable", "the table of `stats`"),
    ("ForwardForTable", "the table of `forwardfor`"),
    (
        "KeepaliveTable",
        "the table of `client_keepalive` or `server_keepalive`",
    ),
    (
        "Server",
        "[proxy.backend.NAME.servers.NAME], or an entry of `servers`",
    ),
    ("ServerTlsTable", "the table of `tls` in it"),
    ("CheckTable", "the table of `check`"),
    ("AgentTable", "the table of `agent`"),
    ("Stick", "the table of `stick`"),
    ("RebalanceTable", "the table of `rebalance`"),
    ("SocketTable", "an entry of `sockets`"),
    ("Capture", "an entry of `request_captures` or `response_captures`"),
    ("CookieCapture", "the table of `cookie_capture`"),
];

const BROKER: [(&str, &str); 3] = [
    ("Broker", "[broker]"),
    ("Tls", "[broker.tls]"),
    ("First", "[broker.first]"),
];

struct Section {
    place: &'static str,
    about: String,
    keys: Vec<Key>,
}

struct Key {
    name: &'static str,
    about: String,
}

/// `docs/config.md`
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Configuration reference\n\n\
         Made by `scripts/gen` from the program; `warren config default` prints the same as a file to start from.\n\
         Durations are written with their unit, such as `\"100ms\"` or `\"1s\"`. Every key has a default unless it says\n\
         otherwise. A key or section that is not listed here is an error.\n\n\
         The same file can serve every host: what is written below `[host.NAME.vrrp]` replaces what `[vrrp]` says on the\n\
         host of that name, and so for `[proxy]` and `[broker]`.\n",
    );
    for role in &ROLES {
        let _ = write!(page, "\n## {}\n", role.title);
        for section in role.sections() {
            about(&mut page, section);
        }
    }
    page
}

fn about(page: &mut String, section: Section) {
    let place = if section.place.starts_with('[') {
        format!("`{}`", section.place)
    } else {
        section.place.to_owned()
    };
    let _ = write!(page, "\n### {place}\n\n");
    if !section.about.is_empty() {
        let _ = write!(page, "{}\n\n", section.about);
    }
    for key in section.keys {
        let _ = writeln!(page, "- `{}`: {}", key.name, or_same(&key.about));
    }
}

/// A configuration file in which every key is a comment.
#[must_use]
pub fn default_file() -> String {
    let mut file = String::from(
        "# /etc/warren/warren.toml: every key of every daemon, with its meaning and default.\n\
         # Nothing runs until a router is configured. `warren check FILE` says what is wrong with a file.\n",
    );
    let sections = ROLES.iter().flat_map(Role::sections);
    for section in sections.filter(|section| section.place.starts_with('[')) {
        // Sections with a name of the operator's choice are examples, and without one the proxy has nothing to do.
        let mark = if section.place == "[vrrp]" { "" } else { "# " };
        let _ = write!(file, "\n{}{mark}{}\n", comment(&section.about), section.place);
        for key in section.keys {
            let _ = write!(file, "\n{}# {} =\n", comment(or_same(&key.about)), key.name);
        }
    }
    file
}

/// A key without a text of its own follows the one above it.
fn or_same(about: &str) -> &str {
    if about.is_empty() {
        "as its name says."
    } else {
        about
    }
}

fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

impl Role {
    fn sections(&self) -> Vec<Section> {
        let known = self.sections.iter();
        known
            .filter_map(|(name, place)| self.section(name, place))
            .collect()
    }

    fn section(&self, name: &str, place: &'static str) -> Option<Section> {
        let head = format!("pub struct {name} {{");
        let start = self.source.find(&head)?;
        let body = &self.source[start + head.len()..];
        let body = &body[..body.find("\n}")?];
        Some(Section {
            place,
            about: comment_above(&self.source[..start]),
            keys: keys(body),
        })
    }
}

/// The `///` lines right above, attributes aside.
fn comment_above(text: &str) -> String {
    let mut lines: Vec<&str> = text
        .lines()
        .rev()
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter_map(|line| line.strip_prefix("///"))
        .map(str::trim)
        .collect();
    lines.reverse();
    lines.join("\n")
}

fn keys(body: &'static str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut about = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            about.push(text.trim());
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|line| line.split_once(':')) {
            keys.push(Key {
                name,
                about: about.join("\n  "),
            });
            about.clear();
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_found_with_its_keys() {
        for role in &ROLES {
            assert_eq!(role.sections().len(), role.sections.len());
            for section in role.sections() {
                assert!(!section.keys.is_empty(), "{}", section.place);
            }
        }
    }

    #[test]
    fn every_structure_with_keys_is_a_section() {
        for role in &ROLES {
            let missing: Vec<&str> = role
                .source
                .lines()
                .filter_map(|line| line.strip_prefix("pub struct ")?.strip_suffix(" {"))
                .filter(|name| !role.sections.iter().any(|(known, _)| known == name))
                .collect();
            assert!(
                missing.is_empty(),
                "not in the sections of {}: {missing:?}",
                role.title
            );
        }
    }

    #[test]
    fn the_default_file_loads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warren.toml");
        std::fs::write(&path, default_file()).unwrap();
        let loaded = crate::config::load(&path, crate::config::Format::Toml, "alpha").unwrap();
        assert!(loaded.plan.routers.is_empty());
    }
}
