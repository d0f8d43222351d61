//! `vrrp_instance`: read as written, then completed with keepalived's defaults.

use std::ops::Range;

use toml::Spanned;
use warren_kit::config::Report;
use warren_kit::duration::HumanDuration;

use super::garp::{Garp, unwritten};
use super::global::Globals;
use super::keyword::{Arguments, Keyword, Table, read_block};
use super::track::{Kind, Trackers, Use, uses};
use super::{address, notify};
use crate::config::{Address, Notify, Peer, Route, Router, Rule, VirtualMac, VirtualMacTable};

/// What an instance says.
#[derive(Debug, Default)]
pub(super) struct Instance {
    state_master: Option<Range<usize>>,
    pub(super) interface: Option<Spanned<String>>,
    vrid: Option<Spanned<i64>>,
    priority: Option<Spanned<i64>>,
    version: Option<Spanned<i64>>,
    interval: Option<Spanned<HumanDuration>>,
    password: Option<Spanned<String>>,
    addresses: Vec<Spanned<Address>>,
    excluded: Vec<Spanned<Address>>,
    routes: Vec<Spanned<Route>>,
    rules: Vec<Spanned<Rule>>,
    source: Option<Spanned<String>>,
    peers: Vec<Spanned<Peer>>,
    fault_without_peers: Option<Range<usize>>,
    nopreempt: Option<Range<usize>>,
    preempt_delay: Option<Spanned<HumanDuration>>,
    strict: Option<Range<usize>>,
    not_strict: bool,
    dont_track_primary: bool,
    native_ipv6: bool,
    vmac: Option<(Range<usize>, Option<String>)>,
    vmac_xmit_base: bool,
    dead_after: Option<Spanned<i64>>,
    checksum_as_v2: bool,
    garp: Garp,
    pub(super) tracked: Vec<Use>,
    notify: Notify,
}

const MAIL: &str = "mail is not sent: let a notify program or the metrics raise the alarm";
const ACCEPTING: &str = "hosts always accept packets to the addresses they hold: services listen there";

pub(super) const INSTANCE: &Table<Instance> = &[
    ("state", Keyword::Read(state)),
    (
        "interface",
        Keyword::Read(|instance, arguments| instance.interface = arguments.text("the name of an interface")),
    ),
    (
        "virtual_router_id",
        Keyword::Read(|instance, arguments| instance.vrid = arguments.number()),
    ),
    (
        "priority",
        Keyword::Read(|instance, arguments| instance.priority = arguments.number()),
    ),
    (
        "version",
        Keyword::Read(|instance, arguments| instance.version = arguments.number()),
    ),
    (
        "advert_int",
        Keyword::Read(|instance, arguments| instance.interval = arguments.seconds()),
    ),
    ("authentication", Keyword::Read(authentication)),
    ("virtual_ipaddress", Keyword::Read(addresses)),
    ("virtual_ipaddress_excluded", Keyword::Read(excluded)),
    ("virtual_routes", Keyword::Read(routes)),
    ("virtual_rules", Keyword::Read(rules)),
    (
        "unicast_src_ip",
        Keyword::Read(|instance, arguments| instance.source = arguments.text("an address")),
    ),
    (
        "mcast_src_ip",
        Keyword::Read(|instance, arguments| instance.source = arguments.text("an address")),
    ),
    ("unicast_peer", Keyword::Read(peers)),
    (
        "unicast_fault_no_peer",
        Keyword::Read(|instance, arguments| instance.fault_without_peers = Some(arguments.span())),
    ),
    (
        "nopreempt",
        Keyword::Read(|instance, arguments| instance.nopreempt = Some(arguments.span())),
    ),
    ("preempt", Keyword::Read(|instance, _| instance.nopreempt = None)),
    (
        "preempt_delay",
        Keyword::Read(|instance, arguments| instance.preempt_delay = arguments.seconds()),
    ),
    ("strict_mode", Keyword::Read(strict_mode)),
    (
        "dont_track_primary",
        Keyword::Read(|instance, _| instance.dont_track_primary = true),
    ),
    (
        "native_ipv6",
        Keyword::Read(|instance, _| instance.native_ipv6 = true),
    ),
    ("use_vmac", Keyword::Read(use_vmac)),
    (
        "vmac_xmit_base",
        Keyword::Read(|instance, _| instance.vmac_xmit_base = true),
    ),
    (
        "down_timer_adverts",
        Keyword::Read(|instance, arguments| instance.dead_after = arguments.number()),
    ),
    (
        "v3_checksum_as_v2",
        Keyword::Read(|instance, arguments| instance.checksum_as_v2 = arguments.switch()),
    ),
    (
        "garp_master_delay",
        Keyword::Read(|instance, arguments| instance.garp.master_delay = arguments.seconds()),
    ),
    (
        "garp_master_repeat",
        Keyword::Read(|instance, arguments| instance.garp.master_repeat = arguments.number()),
    ),
    (
        "garp_master_refresh",
        Keyword::Read(|instance, arguments| instance.garp.refresh = arguments.seconds()),
    ),
    (
        "garp_master_refresh_repeat",
        Keyword::Read(|instance, arguments| instance.garp.refresh_repeat = arguments.number()),
    ),
    (
        "garp_lower_prio_delay",
        Keyword::Read(|instance, arguments| instance.garp.lower_prio_delay = arguments.seconds()),
    ),
    (
        "garp_lower_prio_repeat",
        Keyword::Read(|instance, arguments| instance.garp.lower_prio_repeat = arguments.number()),
    ),
    (
        "garp_interval",
        Keyword::Read(|instance, arguments| instance.garp.pause(arguments.seconds())),
    ),
    (
        "gna_interval",
        Keyword::Read(|instance, arguments| instance.garp.pause(arguments.seconds())),
    ),
    (
        "track_interface",
        Keyword::Read(|instance, arguments| track(instance, arguments, Kind::Interface)),
    ),
    (
        "track_script",
        Keyword::Read(|instance, arguments| track(instance, arguments, Kind::Script)),
    ),
    (
        "track_process",
        Keyword::Read(|instance, arguments| track(instance, arguments, Kind::Process)),
    ),
    (
        "track_file",
        Keyword::Read(|instance, arguments| track(instance, arguments, Kind::File)),
    ),
    (
        "notify_master",
        Keyword::Read(|instance, arguments| {
            instance.notify.master = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify_backup",
        Keyword::Read(|instance, arguments| {
            instance.notify.backup = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify_fault",
        Keyword::Read(|instance, arguments| {
            instance.notify.fault = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify_stop",
        Keyword::Read(|instance, arguments| {
            instance.notify.stop = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify",
        Keyword::Read(|instance, arguments| {
            instance.notify.change = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify_master_rx_lower_pri",
        Keyword::Read(|instance, arguments| {
            instance.notify.lower_priority = notify::program(&mut instance.notify, arguments)
        }),
    ),
    (
        "notify_fifo",
        Keyword::Read(|instance, arguments| notify::fifo(&mut instance.notify, arguments)),
    ),
    (
        "notify_fifo_script",
        Keyword::Read(|instance, arguments| {
            instance.notify.fifo_reader = notify::program(&mut instance.notify, arguments)
        }),
    ),
    // What is done anyway.
    ("accept", Keyword::Implied),
    ("no_virtual_ipaddress", Keyword::Implied),
    ("check_unicast_src", Keyword::Implied),
    ("track_src_ip", Keyword::Implied),
    ("promote_secondaries", Keyword::Implied),
    // What cannot matter.
    ("no_accept", Keyword::NoEffect(ACCEPTING)),
    ("smtp_alert", Keyword::NoEffect(MAIL)),
    ("debug", Keyword::NoEffect("the flag -D shows every decision")),
    (
        "skip_check_adv_addr",
        Keyword::NoEffect("the comparison of addresses costs next to nothing"),
    ),
    (
        "lower_prio_no_advert",
        Keyword::NoEffect("a lower-priority master is always answered, as RFC 9568 says"),
    ),
    (
        "higher_prio_send_advert",
        Keyword::NoEffect("the winner announces its addresses in any case"),
    ),
    (
        "garp_extra_if",
        Keyword::NoEffect("every address is announced on its own interface"),
    ),
    (
        "kernel_rx_buf_size",
        Keyword::NoEffect("buffers are sized by the daemon"),
    ),
    (
        "linkbeat_use_polling",
        Keyword::NoEffect("link changes are told by the kernel"),
    ),
    (
        "notify_priority_changes",
        Keyword::NoEffect("changes of priority are in `warren events`"),
    ),
    (
        "notify_deleted",
        Keyword::NoEffect("a removed instance is told as FAULT"),
    ),
    (
        "unicast_ttl",
        Keyword::NoEffect("advertisements always leave with a TTL of 255"),
    ),
    // What would matter.
    (
        "vrf",
        Keyword::Refused("run a daemon inside the VRF (ip vrf exec)"),
    ),
    (
        "use_vmac_addr",
        Keyword::Refused("give each address an instance on its own interface"),
    ),
    (
        "use_ipvlan",
        Keyword::Refused("use `use_vmac`, or no interface of its own"),
    ),
    (
        "mcast_dst_ip",
        Keyword::Refused("remove it, or use unicast peers"),
    ),
    (
        "old_unicast_checksum",
        Keyword::Refused("upgrade the peers: it is for keepalived before 1.3.6"),
    ),
    (
        "track_bfd",
        Keyword::Refused("there is no BFD here: shorten the interval instead"),
    ),
    (
        "lvs_sync_daemon_interface",
        Keyword::Refused("there is no LVS here"),
    ),
    (
        "timer_expired_backup",
        Keyword::Refused("remove it: a router that woke late always treats itself as having been away"),
    ),
    (
        "auth_hmac",
        Keyword::Refused(
            "keepalived's HMAC trailer is not spoken: use version 2 with a password, or a protected network",
        ),
    ),
];

fn state(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let Some(word) = arguments.required("MASTER or BACKUP") else {
        return;
    };
    match word.text.as_str() {
        "MASTER" => instance.state_master = Some(word.span.clone()),
        "BACKUP" => instance.state_master = None,
        other => {
            let meant = if other.eq_ignore_ascii_case("slave") {
                "write BACKUP"
            } else {
                "write MASTER or BACKUP"
            };
            arguments
                .report
                .error(word.span.clone(), format!("there is no state `{other}`"), meant);
        }
    }
}

fn authentication(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    #[derive(Default)]
    struct Authentication {
        simple: bool,
        password: Option<Spanned<String>>,
    }
    const AUTHENTICATION: &Table<Authentication> = &[
        ("auth_type", Keyword::Read(auth_type)),
        (
            "auth_pass",
            Keyword::Read(|draft, arguments| draft.password = arguments.text("a password")),
        ),
    ];
    fn auth_type(draft: &mut Authentication, arguments: &mut Arguments<'_, '_>) {
        let Some(word) = arguments.required("PASS") else {
            return;
        };
        match word.text.as_str() {
            "PASS" => draft.simple = true,
            "AH" => {
                draft.simple = true;
                arguments.report.error(
                    word.span.clone(),
                    "IPsec authentication headers (AH) are not supported",
                    "use `auth_type PASS` on every host, or no authentication: RFC 3768 removed both",
                );
            }
            _ => arguments.report.error(
                word.span.clone(),
                format!("there is no authentication `{}`", word.text),
                "write `auth_type PASS`",
            ),
        }
    }

    let mut draft = Authentication::default();
    let span = arguments.span();
    let block = arguments.block();
    read_block(arguments.report, block, AUTHENTICATION, &mut draft);
    match (draft.simple, draft.password) {
        (true, Some(password)) => instance.password = Some(password),
        (true, None) => {
            arguments
                .report
                .error(span, "there is no password", "add a line `auth_pass PASSWORD`")
        }
        (false, Some(password)) => arguments.report.error(
            password.span(),
            "there is a password but no `auth_type`",
            "add a line `auth_type PASS`, or remove the password",
        ),
        (false, None) => {}
    }
}

fn addresses(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    instance
        .addresses
        .extend(address::addresses(arguments.report, block));
}

fn excluded(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    instance
        .excluded
        .extend(address::addresses(arguments.report, block));
}

fn routes(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    instance.routes.extend(address::routes(arguments.report, block));
}

fn rules(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    instance.rules.extend(address::rules(arguments.report, block));
}

fn peers(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    instance.peers.extend(address::peers(arguments.report, block));
}

fn track(instance: &mut Instance, arguments: &mut Arguments<'_, '_>, kind: Kind) {
    let block = arguments.block();
    instance.tracked.extend(uses(arguments.report, kind, block));
}

fn strict_mode(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let on = arguments.switch();
    instance.strict = on.then(|| arguments.span());
    instance.not_strict = !on;
}

/// `use_vmac [NAME]`
fn use_vmac(instance: &mut Instance, arguments: &mut Arguments<'_, '_>) {
    let name = arguments.optional();
    let mac = arguments
        .optional()
        .or_else(|| name.filter(|word| word.text.contains(':')));
    if let Some(mac) = mac {
        arguments.report.error(
            mac.span.clone(),
            "a MAC address of one's own is not supported",
            "remove it: the virtual MAC of the RFC is used",
        );
    }
    instance.vmac = Some((arguments.span(), name.map(|word| word.text.clone())));
}

impl Instance {
    /// A pause that a `garp_group` sets for the interface.
    pub(super) fn pause(&mut self, pause: Option<Spanned<HumanDuration>>) {
        self.garp.pause(pause);
    }

    /// With keepalived's defaults. `None` if it lacks what no router can be without.
    pub(super) fn complete(
        mut self,
        report: &mut Report,
        name: &Spanned<String>,
        globals: &Globals,
        trackers: &Trackers,
        weights_count: bool,
    ) -> Option<Router> {
        let strict = self
            .strict
            .take()
            .or_else(|| globals.strict.clone().filter(|_| !self.not_strict));
        let version = self.version_spoken(globals);
        let failback = self.failback(report, strict.as_ref());
        let password = self.password_spoken(report, *version.get_ref(), strict.as_ref());
        self.say_what_strict_means(report, strict.as_ref());
        if let (Some(span), true) = (&self.fault_without_peers, self.peers.is_empty()) {
            report.error(
                span.clone(),
                "there are no unicast peers",
                "add `unicast_peer`, or remove this line",
            );
        }
        let virtual_mac = self.virtual_mac(report, globals);
        let source = self.source.as_ref().and_then(|text| ip(report, text));
        let as_v2 = self.checksum_as_v2 || globals.checksum_as_v2;
        let two_forms = *version.get_ref() == 3 && !self.speaks_ipv6();
        let checks = self
            .tracked
            .iter()
            .filter_map(|used| trackers.resolve(report, used, weights_count))
            .collect();
        let mut need = |missing: bool, keyword: &str| {
            if missing {
                report.error(
                    name.span(),
                    format!("\"{}\" has no `{keyword}`", name.get_ref()),
                    format!("add a line `{keyword} ...`"),
                );
            }
        };
        need(self.interface.is_none(), "interface");
        need(self.vrid.is_none(), "virtual_router_id");

        Some(Router {
            interface: self.interface?,
            vrid: self.vrid?,
            version: Some(version),
            family: self.native_ipv6.then(|| unwritten("ipv6".to_owned())),
            priority: Some(self.priority.unwrap_or_else(|| unwritten(100))),
            interval: Some(
                self.interval
                    .unwrap_or_else(|| unwritten(HumanDuration::from_secs(1))),
            ),
            dead_after: self.dead_after.or_else(|| globals.dead_after.clone()),
            addresses: self.addresses,
            excluded_addresses: self.excluded,
            failback,
            checksum: None,
            checksum_first: (two_forms && !as_v2).then(|| unwritten("pseudo-header".to_owned())),
            password,
            source,
            peers: self.peers,
            virtual_mac,
            announce: self.garp.overrides(),
            checks,
            ignore_interface_down: self.dont_track_primary,
            routes: self.routes,
            rules: self.rules,
            notify: notify::given(self.notify),
            strict: strict.is_some(),
        })
    }

    fn speaks_ipv6(&self) -> bool {
        let first = self.addresses.first().map(|address| match address.get_ref() {
            Address::Short(text) => text.contains(':'),
            Address::Long(table) => table.address.contains(':'),
        });
        let source = self.source.as_ref().map(|text| text.get_ref().contains(':'));
        self.native_ipv6 || first.or(source).unwrap_or(false)
    }

    /// IPv6 always speaks version 3; else the instance, the file, 2.
    fn version_spoken(&self, globals: &Globals) -> Spanned<i64> {
        if self.speaks_ipv6() {
            return self
                .version
                .clone()
                .filter(|version| *version.get_ref() != 2)
                .unwrap_or_else(|| unwritten(3));
        }
        self.version
            .clone()
            .or_else(|| globals.version.clone())
            .unwrap_or_else(|| unwritten(2))
    }

    fn failback(&self, report: &mut Report, strict: Option<&Range<usize>>) -> Option<Spanned<String>> {
        let owner = self
            .priority
            .as_ref()
            .is_some_and(|priority| *priority.get_ref() == 255);
        if let Some(master) = &self.state_master {
            let delayed = self
                .nopreempt
                .clone()
                .or_else(|| self.preempt_delay.as_ref().map(Spanned::span));
            match delayed {
                Some(delayed) => report.push(
                    warren_kit::diagnostics::Diagnostic::warning(
                        delayed,
                        "with `state MASTER` keepalived ignores nopreempt and preempt_delay, and so do we",
                    )
                    .related(master.clone(), "said here")
                    .help("write `state BACKUP` on every host if the role should stay where it is"),
                ),
                None if !owner => report.warn(
                    master.clone(),
                    "`state MASTER` has no effect: every router listens first",
                    "the priorities decide; write `state BACKUP` on every host",
                ),
                None => {}
            }
            return None;
        }
        match (&self.nopreempt, &self.preempt_delay, strict) {
            (Some(span), delay, _) => {
                if let Some(delay) = delay {
                    report.warn(
                        delay.span(),
                        "`nopreempt` leaves `preempt_delay` nothing to delay",
                        "remove one of the two",
                    );
                }
                Some(Spanned::new(span.clone(), "manual".to_owned()))
            }
            (None, Some(delay), Some(_)) => {
                report.warn(
                    delay.span(),
                    "strict mode leaves preempt_delay out, as keepalived does",
                    "remove one of the two",
                );
                None
            }
            (None, Some(delay), None) => {
                Some(Spanned::new(delay.span(), format!("after {}", delay.get_ref())))
            }
            (None, None, _) => None,
        }
    }

    /// keepalived leaves the password out where the protocol has none.
    fn password_spoken(
        &mut self,
        report: &mut Report,
        version: i64,
        strict: Option<&Range<usize>>,
    ) -> Option<Spanned<String>> {
        let password = self.password.take()?;
        let why = match strict {
            Some(_) => "strict mode",
            None if version == 3 => "version 3",
            None => return Some(password),
        };
        report.warn(
            password.span(),
            format!("{why} has no passwords: none is sent and none is demanded, as in keepalived"),
            "remove the authentication block",
        );
        None
    }

    fn say_what_strict_means(&self, report: &mut Report, strict: Option<&Range<usize>>) {
        let Some(strict) = strict else { return };
        if let Some(peer) = self.peers.first() {
            report.conflict(
                peer.span(),
                "strict mode has no unicast peers",
                strict.clone(),
                "strict mode is on here",
                "remove one of the two",
            );
        }
        let owner = self
            .priority
            .as_ref()
            .is_some_and(|priority| *priority.get_ref() == 255);
        if !owner {
            report.warn(
                strict.clone(),
                "strict mode does not make hosts drop packets to their virtual addresses",
                "keepalived would, which few want: services listen there",
            );
        }
    }

    fn virtual_mac(&self, report: &mut Report, globals: &Globals) -> Option<Spanned<VirtualMac>> {
        let Some((span, name)) = &self.vmac else {
            if self.vmac_xmit_base {
                report.warn(
                    0..0,
                    "`vmac_xmit_base` has no effect without `use_vmac`",
                    "remove it",
                );
            }
            return None;
        };
        if !self.peers.is_empty() && !self.vmac_xmit_base {
            report.error(
                span.clone(),
                "with unicast peers the virtual MAC cannot send advertisements",
                "add `vmac_xmit_base`, or remove `use_vmac`",
            );
        }
        let prefixed = || {
            let (prefix, vrid) = (globals.vmac_prefix.as_ref()?, self.vrid.as_ref()?);
            Some(format!(
                "{prefix}{}.{}",
                if self.speaks_ipv6() { "6" } else { "" },
                vrid.get_ref()
            ))
        };
        let name = name.clone().or_else(prefixed);
        let mac = match (name, self.vmac_xmit_base) {
            (None, false) => VirtualMac::Switch(true),
            (name, transmit_base) => VirtualMac::Table(VirtualMacTable { name, transmit_base }),
        };
        Some(Spanned::new(span.clone(), mac))
    }
}

fn ip(report: &mut Report, text: &Spanned<String>) -> Option<Spanned<std::net::IpAddr>> {
    match text.get_ref().parse() {
        Ok(ip) => Some(Spanned::new(text.span(), ip)),
        Err(_) => {
            report.error(
                text.span(),
                format!("`{}` is not an IP address", text.get_ref()),
                "write an address of this host, without a prefix length",
            );
            None
        }
    }
}
