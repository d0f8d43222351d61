//! `global_defs`.

use std::ops::Range;

use toml::Spanned;
use warren_kit::duration::HumanDuration;

use super::garp::Garp;
use super::keyword::{Arguments, Keyword, Table};
use super::notify;
use crate::config::Notify;

#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) router_id: Option<String>,
    pub(super) script_user: Option<Spanned<String>>,
    pub(super) script_security: bool,
    pub(super) realtime_priority: Option<Spanned<i64>>,
    pub(super) startup_delay: Option<Spanned<HumanDuration>>,
    pub(super) default_interface: Option<String>,
    pub(super) notify: Notify,
    pub(super) garp: Garp,
    /// Defaults for every instance.
    pub(super) version: Option<Spanned<i64>>,
    pub(super) strict: Option<Range<usize>>,
    pub(super) dead_after: Option<Spanned<i64>>,
    pub(super) checksum_as_v2: bool,
    pub(super) vmac_prefix: Option<String>,
}

const MAIL: &str = "mail is not sent: let a notify program or the metrics raise the alarm";
const SNMP: &str =
    "there is no SNMP: state and counters are in `warren status` and in the Prometheus metrics";
const DBUS: &str =
    "there is no D-Bus interface: use the control socket through `warren status` and `warren events`";
const LVS: &str = "there is no LVS here: the proxy balances load";
const PROCESS: &str = "the processes keep their names and are managed by the service manager";
const FIREWALL: &str = "no firewall rules are made";
const BUFFERS: &str = "buffers are sized by the daemon";
const RELOAD: &str = "a reload always checks the file first and changes all or nothing";
const DEBUG: &str = "it is for debugging keepalived itself";
const SCHEDULING: &str =
    "the protocol thread runs with real-time priority and locked memory; `vrrp_rt_priority` changes it";
const ASSERTING: &str = "a lower-priority master is always answered with an advertisement, as RFC 9568 says";
const PREFIXED: &str = "the interfaces of virtual MACs for other devices are not made";

pub(super) const GLOBAL_DEFS: &Table<Globals> = &[
    (
        "router_id",
        Keyword::Read(|globals, arguments| globals.router_id = word(arguments, "a name")),
    ),
    ("script_user", Keyword::Read(script_user)),
    (
        "enable_script_security",
        Keyword::Read(|globals, _| globals.script_security = true),
    ),
    (
        "vrrp_version",
        Keyword::Read(|globals, arguments| globals.version = arguments.number()),
    ),
    ("vrrp_strict", Keyword::Read(strict)),
    (
        "vrrp_down_timer_adverts",
        Keyword::Read(|globals, arguments| globals.dead_after = arguments.number()),
    ),
    (
        "vrrp_startup_delay",
        Keyword::Read(|globals, arguments| globals.startup_delay = arguments.seconds()),
    ),
    (
        "vrrp_rt_priority",
        Keyword::Read(|globals, arguments| globals.realtime_priority = arguments.number()),
    ),
    (
        "default_interface",
        Keyword::Read(|globals, arguments| globals.default_interface = word(arguments, "an interface")),
    ),
    (
        "vmac_prefix",
        Keyword::Read(|globals, arguments| globals.vmac_prefix = word(arguments, "a prefix")),
    ),
    (
        "v3_checksum_as_v2",
        Keyword::Read(|globals, arguments| globals.checksum_as_v2 = arguments.switch()),
    ),
    (
        "vrrp_v3_checksum_as_v2",
        Keyword::Read(|globals, arguments| globals.checksum_as_v2 = arguments.switch()),
    ),
    (
        "vrrp_garp_master_delay",
        Keyword::Read(|globals, arguments| globals.garp.master_delay = arguments.seconds()),
    ),
    (
        "vrrp_garp_master_repeat",
        Keyword::Read(|globals, arguments| globals.garp.master_repeat = arguments.number()),
    ),
    (
        "vrrp_garp_master_refresh",
        Keyword::Read(|globals, arguments| globals.garp.refresh = arguments.seconds()),
    ),
    (
        "vrrp_garp_master_refresh_repeat",
        Keyword::Read(|globals, arguments| globals.garp.refresh_repeat = arguments.number()),
    ),
    (
        "vrrp_garp_lower_prio_delay",
        Keyword::Read(|globals, arguments| globals.garp.lower_prio_delay = arguments.seconds()),
    ),
    (
        "vrrp_garp_lower_prio_repeat",
        Keyword::Read(|globals, arguments| globals.garp.lower_prio_repeat = arguments.number()),
    ),
    (
        "vrrp_garp_interval",
        Keyword::Read(|globals, arguments| globals.garp.pause(arguments.seconds())),
    ),
    (
        "vrrp_gna_interval",
        Keyword::Read(|globals, arguments| globals.garp.pause(arguments.seconds())),
    ),
    (
        "vrrp_min_garp",
        Keyword::Read(|globals, arguments| globals.garp.minimal = arguments.switch()),
    ),
    (
        "vrrp_notify_fifo",
        Keyword::Read(|globals, arguments| notify::fifo(&mut globals.notify, arguments)),
    ),
    (
        "notify_fifo",
        Keyword::Read(|globals, arguments| notify::fifo(&mut globals.notify, arguments)),
    ),
    ("vrrp_notify_fifo_script", Keyword::Read(fifo_reader)),
    ("notify_fifo_script", Keyword::Read(fifo_reader)),
    (
        "vrrp_mcast_group4",
        Keyword::Read(|_, arguments| group(arguments, "224.0.0.18")),
    ),
    (
        "vrrp_mcast_group6",
        Keyword::Read(|_, arguments| group(arguments, "ff02::12")),
    ),
    // What is done anyway.
    ("dynamic_interfaces", Keyword::Implied),
    ("vrrp_check_unicast_src", Keyword::Implied),
    ("vrrp_no_swap", Keyword::Implied),
    ("log_unknown_vrids", Keyword::Implied),
    ("reload_check_config", Keyword::Implied),
    ("use_pid_dir", Keyword::Implied),
    // What cannot matter.
    ("notification_email", Keyword::Read(notification_email)),
    ("notification_email_from", Keyword::NoEffect(MAIL)),
    ("smtp_server", Keyword::NoEffect(MAIL)),
    ("smtp_helo_name", Keyword::NoEffect(MAIL)),
    ("smtp_connect_timeout", Keyword::NoEffect(MAIL)),
    ("smtp_alert", Keyword::NoEffect(MAIL)),
    ("smtp_alert_vrrp", Keyword::NoEffect(MAIL)),
    ("smtp_alert_checker", Keyword::NoEffect(MAIL)),
    ("no_email_faults", Keyword::NoEffect(MAIL)),
    ("no_checker_emails", Keyword::NoEffect(MAIL)),
    ("snmp_socket", Keyword::NoEffect(SNMP)),
    ("enable_snmp_vrrp", Keyword::NoEffect(SNMP)),
    ("enable_snmp_keepalived", Keyword::NoEffect(SNMP)),
    ("enable_snmp_checker", Keyword::NoEffect(SNMP)),
    ("enable_snmp_rfc", Keyword::NoEffect(SNMP)),
    ("enable_snmp_rfcv2", Keyword::NoEffect(SNMP)),
    ("enable_snmp_rfcv3", Keyword::NoEffect(SNMP)),
    ("enable_traps", Keyword::NoEffect(SNMP)),
    ("enable_dbus", Keyword::NoEffect(DBUS)),
    ("dbus_service_name", Keyword::NoEffect(DBUS)),
    ("process_names", Keyword::NoEffect(PROCESS)),
    ("process_name", Keyword::NoEffect(PROCESS)),
    ("vrrp_process_name", Keyword::NoEffect(PROCESS)),
    ("checker_process_name", Keyword::NoEffect(PROCESS)),
    ("bfd_process_name", Keyword::NoEffect(PROCESS)),
    ("child_wait_time", Keyword::NoEffect(PROCESS)),
    ("umask", Keyword::NoEffect(PROCESS)),
    ("vrrp_priority", Keyword::NoEffect(SCHEDULING)),
    ("max_auto_priority", Keyword::NoEffect(SCHEDULING)),
    ("min_auto_priority_delay", Keyword::NoEffect(SCHEDULING)),
    (
        "vrrp_cpu_affinity",
        Keyword::NoEffect("set CPUAffinity= in the unit instead"),
    ),
    (
        "vrrp_rlimit_rttime",
        Keyword::NoEffect("the daemon sets its own limit"),
    ),
    (
        "vrrp_rlimit_rtime",
        Keyword::NoEffect("the daemon sets its own limit"),
    ),
    ("checker_priority", Keyword::NoEffect(LVS)),
    ("checker_no_swap", Keyword::NoEffect(LVS)),
    ("checker_cpu_affinity", Keyword::NoEffect(LVS)),
    ("checker_rt_priority", Keyword::NoEffect(LVS)),
    ("checker_rlimit_rttime", Keyword::NoEffect(LVS)),
    ("checker_log_all_failures", Keyword::NoEffect(LVS)),
    ("bfd_priority", Keyword::NoEffect("there is no BFD here")),
    ("bfd_no_swap", Keyword::NoEffect("there is no BFD here")),
    ("bfd_cpu_affinity", Keyword::NoEffect("there is no BFD here")),
    ("bfd_rt_priority", Keyword::NoEffect("there is no BFD here")),
    ("bfd_rlimit_rttime", Keyword::NoEffect("there is no BFD here")),
    ("lvs_timeouts", Keyword::NoEffect(LVS)),
    ("lvs_flush", Keyword::NoEffect(LVS)),
    ("lvs_flush_onstop", Keyword::NoEffect(LVS)),
    ("lvs_flush_on_stop", Keyword::NoEffect(LVS)),
    ("lvs_notify_fifo", Keyword::NoEffect(LVS)),
    ("lvs_notify_fifo_script", Keyword::NoEffect(LVS)),
    ("lvs_netlink_cmd_rcv_bufs", Keyword::NoEffect(LVS)),
    ("lvs_netlink_cmd_rcv_bufs_force", Keyword::NoEffect(LVS)),
    ("lvs_netlink_monitor_rcv_bufs", Keyword::NoEffect(LVS)),
    ("lvs_netlink_monitor_rcv_bufs_force", Keyword::NoEffect(LVS)),
    ("rs_init_notifies", Keyword::NoEffect(LVS)),
    ("vrrp_iptables", Keyword::NoEffect(FIREWALL)),
    ("vrrp_ipsets", Keyword::NoEffect(FIREWALL)),
    ("namespace_with_ipsets", Keyword::NoEffect(FIREWALL)),
    ("nftables", Keyword::NoEffect(FIREWALL)),
    ("nftables_priority", Keyword::NoEffect(FIREWALL)),
    ("nftables_counters", Keyword::NoEffect(FIREWALL)),
    ("nftables_ifindex", Keyword::NoEffect(FIREWALL)),
    ("nftables_ipvs", Keyword::NoEffect(LVS)),
    ("nftables_ipvs_priority", Keyword::NoEffect(LVS)),
    ("nftables_ipvs_start_fwmark", Keyword::NoEffect(LVS)),
    (
        "disable_local_igmp",
        Keyword::NoEffect("set net.ipv4.igmp_link_local_mcast_reports=0 in /etc/sysctl.d"),
    ),
    ("vrrp_netlink_cmd_rcv_bufs", Keyword::NoEffect(BUFFERS)),
    ("vrrp_netlink_cmd_rcv_bufs_force", Keyword::NoEffect(BUFFERS)),
    ("vrrp_netlink_monitor_rcv_bufs", Keyword::NoEffect(BUFFERS)),
    ("vrrp_netlink_monitor_rcv_bufs_force", Keyword::NoEffect(BUFFERS)),
    ("process_monitor_rcv_bufs", Keyword::NoEffect(BUFFERS)),
    ("process_monitor_rcv_bufs_force", Keyword::NoEffect(BUFFERS)),
    ("vrrp_rx_bufs_policy", Keyword::NoEffect(BUFFERS)),
    ("vrrp_rx_bufs_multiplier", Keyword::NoEffect(BUFFERS)),
    (
        "vrrp_skip_check_adv_addr",
        Keyword::NoEffect("the comparison of addresses costs next to nothing"),
    ),
    ("vrrp_lower_prio_no_advert", Keyword::NoEffect(ASSERTING)),
    ("vrrp_higher_prio_send_advert", Keyword::NoEffect(ASSERTING)),
    (
        "vrrp_notify_priority_changes",
        Keyword::NoEffect("changes of priority are in `warren events`"),
    ),
    (
        "fifo_write_vrrp_states_on_reload",
        Keyword::NoEffect("a reload that changes no state says nothing"),
    ),
    (
        "vrrp_garp_extra_if",
        Keyword::NoEffect("every address is announced on its own interface"),
    ),
    ("vmac_addr_prefix", Keyword::NoEffect(PREFIXED)),
    ("reload_time_file", Keyword::NoEffect(RELOAD)),
    ("reload_repeat", Keyword::NoEffect(RELOAD)),
    ("reload_file", Keyword::NoEffect(RELOAD)),
    (
        "include_check",
        Keyword::NoEffect("use includea, includem or includew for files that must be there"),
    ),
    ("tmp_config_directory", Keyword::NoEffect(DEBUG)),
    ("config_save_dir", Keyword::NoEffect(DEBUG)),
    ("data_use_instance", Keyword::NoEffect(DEBUG)),
    ("random_seed", Keyword::NoEffect(DEBUG)),
    (
        "linkbeat_use_polling",
        Keyword::NoEffect("link changes are told by the kernel"),
    ),
    // What would matter.
    (
        "startup_script",
        Keyword::Refused("use ExecStartPre= in the unit"),
    ),
    (
        "startup_script_timeout",
        Keyword::Refused("use ExecStartPre= in the unit"),
    ),
    (
        "shutdown_script",
        Keyword::Refused("use ExecStopPost= in the unit"),
    ),
    (
        "shutdown_script_timeout",
        Keyword::Refused("use ExecStopPost= in the unit"),
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
        "instance",
        Keyword::Refused("give each daemon a runtime directory of its own (--runtime-dir)"),
    ),
    ("lvs_sync_daemon", Keyword::Refused(LVS)),
];

fn word(arguments: &mut Arguments<'_, '_>, what: &str) -> Option<String> {
    arguments.required(what).map(|word| word.text.clone())
}

fn script_user(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    globals.script_user = notify::user(arguments);
    if globals.script_user.is_none() {
        arguments.report.error(
            arguments.span(),
            "`script_user` needs a user",
            "write `script_user USER [GROUP]`",
        );
    }
}

fn strict(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    globals.strict = arguments.switch().then(|| arguments.span());
}

fn fifo_reader(globals: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    globals.notify.fifo_reader = notify::program(&mut globals.notify, arguments);
}

fn notification_email(_: &mut Globals, arguments: &mut Arguments<'_, '_>) {
    arguments.block();
    arguments
        .report
        .warn(arguments.span(), "`notification_email` has no effect here", MAIL);
}

/// Other groups would be heard by nobody else.
fn group(arguments: &mut Arguments<'_, '_>, usual: &str) {
    let Some(word) = arguments.required("an address") else {
        return;
    };
    if word.text != usual {
        arguments.report.error(
            word.span.clone(),
            format!("the multicast group {} is not supported", word.text),
            format!("remove the line: the group is {usual}; or use unicast peers"),
        );
    }
}
