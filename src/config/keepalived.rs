//! keepalived.conf, read as keepalived reads it.
//!
//! ```text
//!   files ──source──▶ lines of words ──tree──▶ statements ──keyword tables──▶ drafts ──complete──▶ Vrrp
//! ```
//!
//! The result is the same [`Vrrp`] that a warren.toml becomes, with keepalived's defaults written into it and with
//! places in the keepalived.conf, so that the rules of `build` apply to both and point into either.
//!
//! Nothing is ignored in silence: a keyword is read, accepted with a warning that says why it cannot matter, or refused
//! by name with what to do instead. Absent on purpose: LVS, BFD, SNMP, D-Bus, mail.

mod address;
mod garp;
mod glob;
mod global;
mod group;
mod instance;
mod keyword;
mod notify;
mod page;
mod source;
mod track;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::Spanned;
use warren_kit::config::{ConfigError, Report, Sources};
use warren_kit::diagnostics::Diagnostic;

use self::garp::Garp;
use self::global::{GLOBAL_DEFS, Globals};
use self::group::{GROUP, SyncGroup};
use self::instance::{INSTANCE, Instance};
use self::keyword::{Arguments, Keyword, Table, read_block};
pub use self::page::page;
use self::track::{Kind, Trackers};
use super::{Address, Route, Rule, Vrrp};

/// What a file says, and what there is to say about it.
pub(super) struct Imported {
    pub(super) file: Vrrp,
    pub(super) sources: Sources,
    /// Warnings, or at least one error.
    pub(super) diagnostics: Result<Vec<Diagnostic>, Vec<Diagnostic>>,
}

/// Reads a file and those it includes. `config_id` decides about lines that begin with `@`.
pub(super) fn read(path: &Path, config_id: &str) -> Result<Imported, ConfigError> {
    let mut report = Report::default();
    let mut reader = source::Reader::new(config_id);
    reader.read(&mut report, path)?;
    let statements = tree::parse(&mut report, reader.lines);
    let mut drafts = Drafts::default();
    read_block(&mut report, &statements, TOP_LEVEL, &mut drafts);
    let file = drafts.complete(&mut report);
    Ok(Imported {
        file,
        sources: reader.sources,
        diagnostics: report.finish(),
    })
}

/// Everything as written; blocks may refer to later ones.
#[derive(Default)]
struct Drafts {
    globals: Globals,
    trackers: Trackers,
    instances: BTreeMap<Spanned<String>, Instance>,
    groups: BTreeMap<Spanned<String>, SyncGroup>,
    static_addresses: Vec<Spanned<Address>>,
    static_routes: Vec<Spanned<Route>>,
    static_rules: Vec<Spanned<Rule>>,
    /// Pauses between frames, by interface.
    pauses: Vec<(Vec<String>, Garp)>,
}

const LVS: &str = "there is no LVS here: the proxy balances load";

const TOP_LEVEL: &Table<Drafts> = &[
    ("global_defs", Keyword::Read(global_defs)),
    ("vrrp_instance", Keyword::Read(vrrp_instance)),
    ("vrrp_sync_group", Keyword::Read(vrrp_sync_group)),
    (
        "vrrp_script",
        Keyword::Read(|drafts, arguments| tracker(drafts, arguments, Kind::Script)),
    ),
    (
        "vrrp_track_process",
        Keyword::Read(|drafts, arguments| tracker(drafts, arguments, Kind::Process)),
    ),
    (
        "vrrp_track_file",
        Keyword::Read(|drafts, arguments| tracker(drafts, arguments, Kind::File)),
    ),
    (
        "track_file",
        Keyword::Read(|drafts, arguments| tracker(drafts, arguments, Kind::File)),
    ),
    ("static_ipaddress", Keyword::Read(static_ipaddress)),
    ("static_routes", Keyword::Read(static_routes)),
    ("static_rules", Keyword::Read(static_rules)),
    ("garp_group", Keyword::Read(garp_group)),
    (
        "track_group",
        Keyword::Read(|_, arguments| pass_over(arguments, "no instance depends on static addresses")),
    ),
    (
        "linkbeat_interfaces",
        Keyword::Read(|_, arguments| pass_over(arguments, "link changes are told by the kernel")),
    ),
    (
        "linkbeat_use_polling",
        Keyword::NoEffect("link changes are told by the kernel"),
    ),
    ("use_pid_dir", Keyword::Implied),
    (
        "child_wait_time",
        Keyword::NoEffect("the processes are managed by the service manager"),
    ),
    (
        "interface_up_down_delays",
        Keyword::Refused("debounce the link in its driver or bond (updelay, downdelay)"),
    ),
    (
        "net_namespace",
        Keyword::Refused("use NetworkNamespacePath= in the unit"),
    ),
    (
        "net_namespace_ipvs",
        Keyword::Refused("use NetworkNamespacePath= in the unit"),
    ),
    (
        "namespace_with_ipsets",
        Keyword::NoEffect("no firewall rules are made"),
    ),
    (
        "instance",
        Keyword::Refused("give each daemon a runtime directory of its own (--runtime-dir)"),
    ),
    ("virtual_server", Keyword::Refused(LVS)),
    ("virtual_server_group", Keyword::Refused(LVS)),
    ("real_server", Keyword::Refused(LVS)),
    ("SSL", Keyword::Refused(LVS)),
    ("lvs_sync_daemon", Keyword::Refused(LVS)),
    (
        "bfd_instance",
        Keyword::Refused("there is no BFD here: shorten the interval instead"),
    ),
];

fn global_defs(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    read_block(arguments.report, block, GLOBAL_DEFS, &mut drafts.globals);
}

fn vrrp_instance(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let Some(name) = arguments.text("a name") else {
        return;
    };
    let block = arguments.block();
    let mut instance = Instance::default();
    read_block(arguments.report, block, INSTANCE, &mut instance);
    if unused(arguments.report, "instance", &name, &drafts.instances) {
        drafts.instances.insert(name, instance);
    }
}

fn vrrp_sync_group(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let Some(name) = arguments.text("a name") else {
        return;
    };
    let block = arguments.block();
    let mut group = SyncGroup::default();
    read_block(arguments.report, block, GROUP, &mut group);
    if unused(arguments.report, "sync group", &name, &drafts.groups) {
        drafts.groups.insert(name, group);
    }
}

/// A second block of the same name would have to win or to lose.
fn unused<T>(
    report: &mut Report,
    what: &str,
    name: &Spanned<String>,
    known: &BTreeMap<Spanned<String>, T>,
) -> bool {
    let Some((first, _)) = known.get_key_value(name) else {
        return true;
    };
    report.conflict(
        name.span(),
        format!("the {what} \"{}\" is defined twice", name.get_ref()),
        first.span(),
        "first defined here",
        "give one of them another name",
    );
    false
}

fn tracker(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>, kind: Kind) {
    let Some(name) = arguments.text("a name") else {
        return;
    };
    let block = arguments.block();
    let read = match kind {
        Kind::Script => track::script,
        Kind::Process => track::process,
        Kind::File | Kind::Interface => track::file,
    };
    let check = read(arguments.report, &name, block);
    drafts.trackers.define(arguments.report, kind, name, check);
}

fn static_ipaddress(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    drafts
        .static_addresses
        .extend(address::addresses(arguments.report, block));
}

fn static_routes(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    drafts
        .static_routes
        .extend(address::routes(arguments.report, block));
}

fn static_rules(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    drafts
        .static_rules
        .extend(address::rules(arguments.report, block));
}

fn garp_group(drafts: &mut Drafts, arguments: &mut Arguments<'_, '_>) {
    type Draft = (Vec<String>, Garp);
    const GARP_GROUP: &Table<Draft> = &[
        (
            "garp_interval",
            Keyword::Read(|draft, arguments| draft.1.pause(arguments.seconds())),
        ),
        (
            "gna_interval",
            Keyword::Read(|draft, arguments| draft.1.pause(arguments.seconds())),
        ),
        (
            "interface",
            Keyword::Read(|draft, arguments| {
                draft
                    .0
                    .extend(arguments.required("a name").map(|word| word.text.clone()))
            }),
        ),
        ("interfaces", Keyword::Read(interfaces)),
    ];
    fn interfaces(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
        let block = arguments.block();
        draft.0.extend(
            address::names(arguments.report, block)
                .into_iter()
                .map(Spanned::into_inner),
        );
    }

    let block = arguments.block();
    let mut draft = Draft::default();
    read_block(arguments.report, block, GARP_GROUP, &mut draft);
    drafts.pauses.push(draft);
}

fn pass_over(arguments: &mut Arguments<'_, '_>, why: &str) {
    arguments.rest();
    arguments.block();
    let keyword = arguments.statement.keyword();
    arguments
        .report
        .warn(arguments.span(), format!("`{keyword}` has no effect here"), why);
}

impl Drafts {
    fn complete(mut self, report: &mut Report) -> Vrrp {
        let uses = self.instances.values().flat_map(|instance| &instance.tracked);
        self.trackers
            .define_interfaces(uses.chain(self.groups.values().flat_map(|group| &group.tracked)));
        // Members of a group without sync_group_tracking_weight lose their weights.
        let weightless: BTreeSet<String> = self
            .groups
            .values()
            .filter(|group| !group.tracking_weight)
            .flat_map(|group| &group.members)
            .map(|member| member.get_ref().clone())
            .collect();
        let mut routers = BTreeMap::new();
        for (name, mut instance) in self.instances {
            let on_its_interface = |(interfaces, _): &&(Vec<String>, Garp)| {
                instance
                    .interface
                    .as_ref()
                    .is_some_and(|own| interfaces.contains(own.get_ref()))
            };
            if let Some((_, pause)) = self.pauses.iter().find(on_its_interface) {
                instance.pause(pause.interval.clone());
            }
            let weights_count = !weightless.contains(name.get_ref());
            let router = instance.complete(report, &name, &self.globals, &self.trackers, weights_count);
            routers.extend(router.map(|router| (name, router)));
        }
        let trackers = &self.trackers;
        let group = self
            .groups
            .into_iter()
            .map(|(name, group)| (name, group.complete(report, trackers)))
            .collect();
        let globals = self.globals;
        Vrrp {
            router_id: globals.router_id,
            realtime_priority: globals.realtime_priority,
            script_user: globals.script_user,
            script_security: Some(globals.script_security),
            startup_delay: globals.startup_delay,
            announce: Some(globals.garp.complete()),
            notify: notify::given(globals.notify),
            router: routers,
            group,
            check: self.trackers.into_checks(),
            static_addresses: address::on_interface(
                self.static_addresses,
                globals.default_interface.as_deref().unwrap_or("eth0"),
            ),
            static_routes: self.static_routes,
            static_rules: self.static_rules,
            ..Vrrp::default()
        }
    }
}
