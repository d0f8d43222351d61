//! `vrrp_sync_group`.

use toml::Spanned;
use warren_kit::config::Report;

use super::keyword::{Arguments, Keyword, Table};
use super::track::{Kind, Trackers, Use, uses};
use super::{address, notify};
use crate::config::{Group, Notify};

#[derive(Debug, Default)]
pub(super) struct SyncGroup {
    pub(super) members: Vec<Spanned<String>>,
    pub(super) tracked: Vec<Use>,
    /// Members keep their weights.
    pub(super) tracking_weight: bool,
    notify: Notify,
}

pub(super) const GROUP: &Table<SyncGroup> = &[
    ("group", Keyword::Read(members)),
    (
        "track_interface",
        Keyword::Read(|group, arguments| track(group, arguments, Kind::Interface)),
    ),
    (
        "track_script",
        Keyword::Read(|group, arguments| track(group, arguments, Kind::Script)),
    ),
    (
        "track_process",
        Keyword::Read(|group, arguments| track(group, arguments, Kind::Process)),
    ),
    (
        "track_file",
        Keyword::Read(|group, arguments| track(group, arguments, Kind::File)),
    ),
    (
        "notify_master",
        Keyword::Read(|group, arguments| group.notify.master = notify::program(&mut group.notify, arguments)),
    ),
    (
        "notify_backup",
        Keyword::Read(|group, arguments| group.notify.backup = notify::program(&mut group.notify, arguments)),
    ),
    (
        "notify_fault",
        Keyword::Read(|group, arguments| group.notify.fault = notify::program(&mut group.notify, arguments)),
    ),
    (
        "notify_stop",
        Keyword::Read(|group, arguments| group.notify.stop = notify::program(&mut group.notify, arguments)),
    ),
    (
        "notify",
        Keyword::Read(|group, arguments| group.notify.change = notify::program(&mut group.notify, arguments)),
    ),
    (
        "sync_group_tracking_weight",
        Keyword::Read(|group, _| group.tracking_weight = true),
    ),
    (
        "global_tracking",
        Keyword::Read(|group, _| group.tracking_weight = true),
    ),
    (
        "smtp_alert",
        Keyword::NoEffect("mail is not sent: let a notify program or the metrics raise the alarm"),
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
        "track_bfd",
        Keyword::Refused("there is no BFD here: shorten the interval instead"),
    ),
];

fn members(group: &mut SyncGroup, arguments: &mut Arguments<'_, '_>) {
    let block = arguments.block();
    group.members.extend(address::names(arguments.report, block));
}

fn track(group: &mut SyncGroup, arguments: &mut Arguments<'_, '_>, kind: Kind) {
    let block = arguments.block();
    group.tracked.extend(uses(arguments.report, kind, block));
}

impl SyncGroup {
    pub(super) fn complete(self, report: &mut Report, trackers: &Trackers) -> Group {
        let weighted = self.tracked.iter().any(|used| trackers.has_weight(used));
        Group {
            routers: self.members,
            checks: self
                .tracked
                .iter()
                .filter_map(|used| trackers.resolve(report, used, true))
                .collect(),
            tracking_weight: self.tracking_weight || weighted,
            notify: notify::given(self.notify),
        }
    }
}
