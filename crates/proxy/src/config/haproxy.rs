//! haproxy.cfg, read as HAProxy reads it.
//!
//! ```text
//!   files ──words──▶ statements ──sections, keyword tables──▶ drafts ──complete──▶ file::Proxy
//! ```
//!
//! The result is the same [`Proxy`] that a warren.toml becomes, with HAProxy's defaults written into it and with places
//! in the haproxy.cfg, so that the rules of `build` apply to both and point into either.
//!
//! Nothing is ignored in silence: a keyword is read, accepted with a warning that says why it cannot matter, or refused
//! by name with what to do instead.

mod balance;
mod bind;
mod check;
mod conditional;
mod databases;
mod global;
mod keyword;
mod options;
mod page;
mod pages;
mod proxy;
mod rules;
mod server;
mod stats;
mod userlist;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use warren_kit::config::{Report, Sources, suggestion};
use warren_kit::diagnostics::Diagnostic;

use self::conditional::Conditional;
use self::global::{GLOBAL, Globals};
pub(super) use self::keyword::duration;
use self::keyword::{Statement, read_statement};
pub use self::page::page;
use self::pages::{ERRORS, Errors};
use self::proxy::{Draft, Kind, PROXY};
use self::userlist::{USERLIST, Users};
use super::file::{Proxy, Section};
use super::named::{NAME, Named};
use super::words;

/// Whether this may follow the address of a server.
pub(crate) fn is_server_option(word: &str) -> bool {
    server::SERVER.iter().any(|(name, _)| *name == word)
}

/// What files say, and what there is to say about them.
pub(super) struct Imported {
    pub(super) file: Proxy,
    /// Warnings, or at least one error.
    pub(super) diagnostics: Result<Vec<Diagnostic>, Vec<Diagnostic>>,
}

/// Sections that are known and not supported, with what to do instead.
const REFUSED_SECTIONS: [(&str, &str); 8] = [
    (
        "peers",
        "tables of clients are not shared between hosts: remove the section",
    ),
    (
        "mailers",
        "no mail is sent: let a Prometheus alert on haproxy_server_status tell you",
    ),
    ("program", "start the program by a unit of its own"),
    ("ring", "log to syslog, the journal or standard output"),
    ("cache", "nothing is cached: put a cache in front"),
    ("fcgi-app", "put a web server in front of the application"),
    ("log-forward", "let the syslog daemon forward logs"),
    ("namespace_list", "use NetworkNamespacePath= in the unit"),
];

const SECTIONS: [&str; 8] = [
    "global",
    "defaults",
    "listen",
    "frontend",
    "backend",
    "userlist",
    "http-errors",
    "resolvers",
];

/// Reads what is in `sources`. `environment` knows variables.
pub(super) fn read(sources: &Sources, environment: &dyn Fn(&str) -> Option<String>) -> Imported {
    let mut reader = Reader::default();
    for (base, file) in sources.iter() {
        reader.leave();
        for statement in statements(&mut reader.report, &file.text, base, environment) {
            reader.line(&statement, environment);
        }
        reader.conditional.leave_file(&mut reader.report);
    }
    reader.leave();
    let file = reader.complete();
    Imported {
        file,
        diagnostics: reader.report.finish(),
    }
}

/// The lines that say something.
fn statements(
    report: &mut Report,
    text: &str,
    base: usize,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        match words::split(line.trim_end_matches(['\n', '\r']), base + start, environment) {
            Ok(words) if words.is_empty() => {}
            Ok(words) => {
                let span = words.first().map_or(0, |word| word.span.start)
                    ..words.last().map_or(0, |word| word.span.end);
                let raw = text.get(span.start - base..span.end - base).unwrap_or_default();
                statements.push(Statement::new(words, span, raw));
            }
            Err(wrong) => report.error(wrong.span, wrong.message, wrong.help),
        }
        start += line.len();
    }
    statements
}

#[derive(Default)]
struct Reader {
    report: Report,
    globals: Globals,
    users: Users,
    errors: Errors,
    /// In the order of the files.
    defaults: Vec<(Option<Spanned<String>>, Draft)>,
    proxies: Vec<Draft>,
    at: Option<At>,
    conditional: Conditional,
    drafts: Drafts,
}

/// Where the reader is.
enum At {
    Global,
    Userlist,
    Errors,
    Proxy(Box<Draft>),
    /// In a section that was refused, or a `resolvers`.
    Elsewhere,
}

/// What proxies need of each other once all are read.
#[derive(Default)]
struct Drafts {
    named: BTreeMap<(bool, String), Range<usize>>,
}

impl Reader {
    fn line(&mut self, statement: &Statement, environment: &dyn Fn(&str) -> Option<String>) {
        if statement.keyword().starts_with('.') {
            self.conditional
                .directive(&mut self.report, statement, environment);
        } else if self.conditional.counts() {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let keyword = statement.keyword();
        if SECTIONS.contains(&keyword) {
            self.leave();
            self.enter(statement);
        } else if let Some((_, instead)) = REFUSED_SECTIONS.iter().find(|(name, _)| *name == keyword) {
            self.leave();
            self.at = Some(At::Elsewhere);
            self.report.error(
                statement.whole(),
                format!("sections of type `{keyword}` are not supported"),
                *instead,
            );
        } else {
            self.inside(statement);
        }
    }

    fn inside(&mut self, statement: &Statement) {
        match &mut self.at {
            Some(At::Global) => read_statement(&mut self.report, statement, GLOBAL, &mut self.globals, None),
            Some(At::Userlist) => {
                read_statement(&mut self.report, statement, &[USERLIST], &mut self.users, None)
            }
            Some(At::Errors) => {
                read_statement(&mut self.report, statement, &[ERRORS], &mut self.errors, None)
            }
            Some(At::Proxy(draft)) => {
                let kind = draft.kind;
                read_statement(&mut self.report, statement, PROXY, draft, Some(kind));
            }
            Some(At::Elsewhere) => {}
            None => {
                let keyword = statement.keyword();
                self.report.error(
                    statement.whole(),
                    format!("`{keyword}` stands in no section"),
                    suggestion(keyword, SECTIONS.into_iter()),
                );
                // Once is enough: everything up to the next section would be the same mistake.
                self.at = Some(At::Elsewhere);
            }
        }
    }

    fn enter(&mut self, statement: &Statement) {
        self.at = Some(match statement.keyword() {
            "global" => At::Global,
            "userlist" => {
                self.users.begin(&mut self.report, statement);
                At::Userlist
            }
            "http-errors" => {
                self.errors.begin(&mut self.report, statement);
                At::Errors
            }
            "resolvers" => {
                self.report.warn(
                    statement.whole(),
                    "`resolvers` has no effect here",
                    "names of servers are resolved again and again by the system's own resolver",
                );
                At::Elsewhere
            }
            word => {
                let kind = match word {
                    "defaults" => Kind::Defaults,
                    "listen" => Kind::Listen,
                    "frontend" => Kind::Frontend,
                    _ => Kind::Backend,
                };
                match self.begin(statement, kind) {
                    Some(draft) => At::Proxy(Box::new(draft)),
                    None => At::Elsewhere,
                }
            }
        });
    }

    /// A proxy begins with what its defaults say.
    fn begin(&mut self, statement: &Statement, kind: Kind) -> Option<Draft> {
        let mut words = statement.words.iter().skip(1);
        let mut name = words.next();
        let mut from = None;
        if kind == Kind::Defaults && name.is_some_and(|word| word.text == "from") {
            from = words.next();
            name = None;
        } else if let Some(word) = words.next() {
            if word.text == "from" {
                from = words.next();
            } else {
                self.report.error(
                    word.span.clone(),
                    format!("unexpected `{}` after the name", word.text),
                    "addresses are written on a `bind` line of their own",
                );
            }
        }
        if let Some(extra) = words.next() {
            self.report.error(
                extra.span.clone(),
                format!("unexpected `{}` at the end of this line", extra.text),
                "put each setting on a line of its own",
            );
        }
        let defaults = match from {
            Some(from) => {
                let named = |(name, _): &&(Option<Spanned<String>>, Draft)| {
                    name.as_ref().is_some_and(|name| *name.get_ref() == from.text)
                };
                let found = self.defaults.iter().rev().find(named);
                if found.is_none() {
                    let names = self.defaults.iter().filter_map(|(name, _)| name.as_ref());
                    let names: Vec<&str> = names.map(|name| name.get_ref().as_str()).collect();
                    self.report.error(
                        from.span.clone(),
                        format!("there is no `defaults {}` above", from.text),
                        suggestion(&from.text, names.into_iter()),
                    );
                }
                found
            }
            // A `defaults` begins with nothing unless it says `from`.
            None if kind == Kind::Defaults => None,
            None => self.defaults.last(),
        };
        let mut draft = defaults.map(|(_, draft)| draft.clone()).unwrap_or_default();
        draft.pages = Arc::clone(&self.errors.pages);
        let Some(name) = name else {
            if kind == Kind::Defaults {
                return Some(draft.begun(kind, Spanned::new(statement.whole(), String::new())));
            }
            self.report.error(
                statement.whole(),
                format!("`{}` needs a name", statement.keyword()),
                format!("write `{} NAME`", statement.keyword()),
            );
            return None;
        };
        let name = Spanned::new(name.span.clone(), name.text.clone());
        if kind != Kind::Defaults {
            self.report.name("proxy", &name, &NAME);
            self.unique(kind, &name);
        }
        Some(draft.begun(kind, name))
    }

    fn unique(&mut self, kind: Kind, name: &Spanned<String>) {
        for front in [true, false] {
            if !(if front { kind.is_front() } else { kind.is_back() }) {
                continue;
            }
            let key = (front, name.get_ref().clone());
            if let Some(first) = self.drafts.named.get(&key) {
                self.report.conflict(
                    name.span(),
                    format!("the name `{}` is used twice", name.get_ref()),
                    first.clone(),
                    "first used here",
                    "give one of them another name",
                );
                return;
            }
            self.drafts.named.insert(key, name.span());
        }
    }

    /// Ends the current section.
    fn leave(&mut self) {
        if let Some(At::Proxy(draft)) = self.at.take() {
            if draft.kind == Kind::Defaults {
                let name = Some(draft.name.clone()).filter(|name| !name.get_ref().is_empty());
                self.defaults.push((name, *draft));
            } else {
                self.proxies.push(*draft);
            }
        }
    }

    fn complete(&mut self) -> Proxy {
        let tls = self.globals.tls.clone();
        let mut file = std::mem::take(&mut self.globals).complete();
        file.users = std::mem::take(&mut self.users).lists;
        for draft in std::mem::take(&mut self.proxies) {
            let (kind, name, section) = draft.complete(&mut self.report, &tls);
            let target: &mut Named<Section> = match kind {
                Kind::Listen => &mut file.listen,
                Kind::Frontend => &mut file.frontend,
                Kind::Backend | Kind::Defaults => &mut file.backend,
            };
            target.0.push((name, section));
        }
        file
    }
}
