//! From the file to the plan: every default filled in, every rule checked, every mistake named with its place.
//!
//! Nothing here asks the system: whether a name resolves, a file is readable or a user exists is for the running proxy
//! and `warren check` to say. The only files read are the pages of `error_files`, which are part of the plan.

mod actions;
pub(crate) mod address;
mod answer;
mod backend;
mod bind;
mod check;
mod condition;
mod cookie;
mod frontend;
mod global;
mod line;
mod log;
mod redirect;
mod rules;
mod sample;
mod server;
mod stats;
mod table;
mod timeouts;
mod tls;

/// What the reference of rules is made from.
pub(super) mod reference {
    pub(in crate::config) use super::actions::{
        AFTER_ACTIONS, REFUSED_ACTIONS, REQUEST_ACTIONS, RESPONSE_ACTIONS,
    };
    pub(in crate::config) use super::condition::PREDEFINED;
    pub(in crate::config) use super::sample::names as samples;
}

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use self::address::network;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::diagnostics::Diagnostic;

use super::file::{Proxy, Section};
use super::load::Machine;
use super::named::NAME;
use crate::plan::{Backend, BackendName, Frontend, LogTarget, Mode, Moment, Origin, Plan, ProxyId, Table};

/// The most proxies, and servers of one backend.
const PROXIES_MAX: usize = 4096;

/// The plan and the warnings, or everything there is to complain about.
pub fn build(
    file: &Proxy,
    origin: Origin,
    machine: &Machine,
) -> Result<(Plan, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut report = Report::default();
    let plan = plan(&mut report, file, origin, machine);
    report.finish().map(|warnings| (plan, warnings))
}

/// A section as the file has it.
struct Given<'a> {
    front: bool,
    back: bool,
    name: &'a Spanned<String>,
    section: &'a Section,
    id: ProxyId,
    mode: Mode,
}

/// What sections need to know of each other and of the whole.
struct Surroundings<'a> {
    file: &'a Proxy,
    origin: Origin,
    /// Of backends, in their order.
    backends: Vec<(&'a str, Mode)>,
    /// Of clients.
    tables: Vec<Table>,
    log: Vec<Arc<LogTarget>>,
    maxconn: NonZeroU32,
}

impl Surroundings<'_> {
    /// A backend by name.
    fn backend(&self, name: &str) -> Option<(BackendName, Mode)> {
        let (name, mode) = self.backends.iter().find(|(known, _)| *known == name)?;
        Some((BackendName::new(name), *mode))
    }

    fn backend_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.backends.iter().map(|(name, _)| *name)
    }
}

fn plan(report: &mut Report, file: &Proxy, origin: Origin, machine: &Machine) -> Plan {
    let mut sections = sections(file);
    report.at_most(0..0, "frontends and backends", sections.len(), PROXIES_MAX);
    // A runtime socket is number 1 to HAProxy, and exporters remember numbers.
    let first = 1 + u32::from(!file.sockets.is_empty());
    number(report, &mut sections, first);
    modes(report, &mut sections);
    let global = global::global(report, file, origin, machine);
    let surroundings = Surroundings {
        file,
        origin,
        backends: sections
            .iter()
            .filter(|given| given.back)
            .map(|given| (given.name.get_ref().as_str(), given.mode))
            .collect(),
        tables: tables(report, &sections),
        log: global.logs.clone(),
        maxconn: global.maxconn,
    };
    check_names(report, &sections);
    for given in &sections {
        misplaced(report, given);
    }
    let mut frontends: Vec<Frontend> = Vec::new();
    let mut backends: Vec<Backend> = Vec::new();
    for given in &sections {
        if given.front {
            frontends.push(frontend::frontend(report, given, &surroundings));
        }
        if given.back {
            backends.push(backend::backend(report, given, &surroundings));
        }
    }
    fullconns(&sections, &frontends, &mut backends);
    rules_of_backends(report, &sections, &surroundings, &mut frontends);
    tracks(report, &sections, &backends);
    if sections.is_empty() {
        report.warn(
            0..0,
            "there is nothing to listen on",
            "add a `listen` section, or a frontend and a backend",
        );
    }
    Plan {
        global,
        frontends: frontends.into_iter().map(Arc::new).collect(),
        backends: backends.into_iter().map(Arc::new).collect(),
        tables: surroundings.tables.into_iter().map(Arc::new).collect(),
    }
}

/// A frontend and a backend may have the same name, tables may not.
fn tables(report: &mut Report, sections: &[Given<'_>]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for given in sections {
        let Some(table) = table::table(report, given) else {
            continue;
        };
        if tables.iter().any(|known| known.name == table.name) {
            report.error(
                given.name.span(),
                format!("there are two tables called `{}`", table.name),
                "give one of the sections another name",
            );
        }
        tables.push(table);
    }
    tables
}

/// All sections in the order of the file.
fn sections(file: &Proxy) -> Vec<Given<'_>> {
    let kinds = [
        (&file.listen, true, true),
        (&file.frontend, true, false),
        (&file.backend, false, true),
    ];
    let mut sections: Vec<Given<'_>> = Vec::new();
    for (named, front, back) in kinds {
        sections.extend(named.iter().map(|(name, section)| Given {
            front,
            back,
            name,
            section,
            id: ProxyId(0),
            mode: Mode::Tcp,
        }));
    }
    sections.sort_by_key(|given| given.name.span().start);
    sections
}

/// By place in the file from `first` on, around the numbers that are given.
fn number(report: &mut Report, sections: &mut [Given<'_>], first: u32) {
    let mut used: BTreeMap<u32, Range<usize>> = BTreeMap::new();
    for given in sections.iter_mut() {
        let Some(id) = &given.section.id else { continue };
        let number: u32 = report.number("id", Some(id), 1..=i64::from(i32::MAX), 0);
        given.id = ProxyId(number);
        if let Some(first) = used.insert(number, id.span()) {
            report.conflict(
                id.span(),
                format!("the id {number} is used twice"),
                first,
                "first used here",
                "give one of them another number",
            );
        }
    }
    let mut next = first;
    for given in sections.iter_mut().filter(|given| given.section.id.is_none()) {
        while used.contains_key(&next) {
            next += 1;
        }
        given.id = ProxyId(next);
        next += 1;
    }
}

/// Of backends first, since a frontend speaks what its backend speaks.
fn modes(report: &mut Report, sections: &mut [Given<'_>]) {
    const MODES: [(&str, Mode); 3] = [("tcp", Mode::Tcp), ("http", Mode::Http), ("amqp", Mode::Amqp)];
    let mut known: BTreeMap<&str, Mode> = BTreeMap::new();
    sections.sort_by_key(|given| !given.back);
    for given in sections.iter_mut() {
        let section = given.section;
        let inherited = || {
            let name = section.default_backend.as_ref()?.get_ref();
            known.get(name.as_str()).copied()
        };
        given.mode = match &section.mode {
            Some(mode) => report
                .choice("mode", mode.span(), mode.get_ref(), &MODES)
                .unwrap_or(Mode::Tcp),
            None if section.stats.is_some() && section.servers.0.is_empty() => Mode::Http,
            None if given.back && server::all_on_amqp_port(section) => Mode::Amqp,
            None => inherited().unwrap_or(Mode::Tcp),
        };
        if given.back {
            known.insert(given.name.get_ref(), given.mode);
        }
    }
    sections.sort_by_key(|given| given.name.span().start);
}

fn check_names(report: &mut Report, sections: &[Given<'_>]) {
    for (what, of) in [
        ("frontend", (|given| given.front) as fn(&Given<'_>) -> bool),
        ("backend", |given| given.back),
    ] {
        let mut seen: BTreeMap<&str, Range<usize>> = BTreeMap::new();
        for given in sections.iter().filter(|given| of(given)) {
            report.name("proxy", given.name, &NAME);
            let name = given.name.get_ref().as_str();
            if let Some(first) = seen.insert(name, given.name.span()) {
                report.conflict(
                    given.name.span(),
                    format!("there are two {what}s called `{name}`"),
                    first,
                    "the other one",
                    "give one of them another name; a `listen` is both",
                );
            }
        }
    }
}

/// Keys of a backend in a frontend, and the other way round.
fn misplaced(report: &mut Report, given: &Given<'_>) {
    fn place<T>(key: &'static str, value: Option<&Spanned<T>>) -> Option<(&'static str, Range<usize>)> {
        value.map(|value| (key, value.span()))
    }
    let section = given.section;
    let front = [
        place("bind", section.bind.first()),
        place("maxconn", section.maxconn.as_ref()),
        place("rate_limit", section.rate_limit.as_ref()),
        place("per_source", section.per_source.as_ref()),
        place("default_backend", section.default_backend.as_ref()),
        place("use_backend", section.use_backend.first()),
        place("stats", section.stats.as_ref()),
        place("monitor_uri", section.monitor_uri.as_ref()),
        place("monitor_fail", section.monitor_fail.first()),
        place("log_format", section.log_format.as_ref()),
        place("client_keepalive", section.client_keepalive.as_ref()),
    ];
    let back = [
        place("server_keepalive", section.server_keepalive.as_ref()),
        place("balance", section.balance.as_ref()),
        place("hash_type", section.hash_type.as_ref()),
        section
            .servers
            .0
            .0
            .first()
            .map(|(name, _)| ("servers", name.span())),
        place("check", section.check.as_ref()),
        place("retries", section.retries.as_ref()),
        place("redispatch", section.redispatch.as_ref()),
        place("retry_on", section.retry_on.first()),
        place("fullconn", section.fullconn.as_ref()),
        place("stick", section.stick.as_ref()),
        place("use_server", section.use_server.first()),
        place("persist", section.persist.first()),
        place("rebalance", section.rebalance.as_ref()),
    ];
    let mut say = |found: &[Option<(&'static str, Range<usize>)>], here: &str, there: &str| {
        for (key, span) in found.iter().flatten() {
            report.error(
                span.clone(),
                format!("`{key}` has no place in a {here}"),
                format!("move it to a {there}, or make this a `listen`, which is both"),
            );
        }
    };
    if !given.front {
        say(&front, "backend", "frontend");
    }
    if !given.back {
        say(&back, "frontend", "backend");
    }
}

/// Rules about connections that a backend has are those of the frontend before it, as long as it leads nowhere else.
fn rules_of_backends(
    report: &mut Report,
    sections: &[Given<'_>],
    surroundings: &Surroundings<'_>,
    frontends: &mut [Frontend],
) {
    for given in sections.iter().filter(|given| given.back && !given.front) {
        let Some(first) = given.section.tcp_request.first() else {
            continue;
        };
        let rules = rules::Scope::new(&mut Report::default(), given, surroundings).tcp_rules(report);
        if rules.iter().any(|rule| rule.moment != Moment::Content) {
            report.error(
                first.span(),
                "a backend has no connection to accept or reject yet",
                "write `content`, or move the rule to the frontend",
            );
        }
        for frontend in frontends.iter_mut() {
            if !frontend.may_lead_to(given.name.get_ref(), given.mode) {
                continue;
            }
            if !frontend.switches.is_empty()
                || frontend
                    .tcp_rules
                    .iter()
                    .any(|rule| rule.moment == Moment::Content)
            {
                report.error(
                    first.span(),
                    format!(
                        "the frontend {} cannot take over these rules: it has its own, or other backends",
                        frontend.name
                    ),
                    "move the rules to the frontend",
                );
                continue;
            }
            frontend.tcp_rules.extend(rules.iter().cloned());
            let delay = given
                .section
                .inspect_delay
                .as_ref()
                .map(|delay| delay.get_ref().get());
            frontend.inspect_delay = frontend
                .inspect_delay
                .or_else(|| delay.filter(|delay| !delay.is_zero()));
        }
    }
}

/// Who is followed has to exist, to be checked in the end, and not to follow back.
fn tracks(report: &mut Report, sections: &[Given<'_>], backends: &[Backend]) {
    let find = |(backend, server): &(String, String)| {
        let backend = backends.iter().find(|known| known.name == *backend)?;
        backend.servers.iter().find(|known| known.name == *server)
    };
    let most: usize = backends.iter().map(|backend| backend.servers.len()).sum();
    let given = sections.iter().filter(|given| given.back);
    for (given, backend) in given.zip(backends) {
        for (server, (name, _)) in backend.servers.iter().zip(&given.section.servers.0) {
            let mut next = server.track.as_ref();
            let mut steps = 0;
            while let Some(track) = next {
                let (followed, its_server) = track;
                let problem = match find(track) {
                    None => format!("there is no server {followed}/{its_server} to follow"),
                    Some(_) if steps > most => {
                        format!("{}/{} follows itself in the end", backend.name, server.name)
                    }
                    Some(found)
                        if found.track.is_none() && found.check.is_none() && found.agent.is_none() =>
                    {
                        format!("{followed}/{its_server} is not checked: there is nothing to follow")
                    }
                    Some(found) => {
                        next = found.track.as_ref();
                        steps += 1;
                        continue;
                    }
                };
                report.error(
                    name.span(),
                    problem,
                    "write `track BACKEND/SERVER` with a server that is checked",
                );
                break;
            }
        }
    }
}

/// HAProxy's rule: a tenth of what the frontends that may lead to it may have, at least one.
fn fullconns(sections: &[Given<'_>], frontends: &[Frontend], backends: &mut [Backend]) {
    let given = sections.iter().filter(|given| given.back);
    for (given, backend) in given.zip(backends.iter_mut()) {
        if given.section.fullconn.is_some() {
            continue;
        }
        let leads_here = |frontend: &&Frontend| {
            // A `listen` leads to itself, even if there is nobody to be led to.
            if given.front && frontend.id == given.id {
                return true;
            }
            frontend.may_lead_to(&backend.name, backend.mode)
        };
        let most: u64 = frontends
            .iter()
            .filter(leads_here)
            .map(|frontend| u64::from(frontend.maxconn.get()))
            .sum();
        let tenth = u32::try_from(most.div_ceil(10)).unwrap_or(u32::MAX);
        backend.fullconn = NonZeroU32::new(tenth).unwrap_or(NonZeroU32::MIN);
    }
}

/// A whole number above zero.
fn positive(report: &mut Report, what: &str, value: Option<&Spanned<i64>>) -> Option<NonZeroU32> {
    value?;
    NonZeroU32::new(report.number(what, value, 1..=i64::from(i32::MAX), 1))
}

/// The same where zero means that there is no limit.
fn limit(report: &mut Report, what: &str, value: Option<&Spanned<i64>>) -> Option<NonZeroU32> {
    value?;
    NonZeroU32::new(report.number(what, value, 0..=i64::from(i32::MAX), 0))
}
