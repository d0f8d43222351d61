//! Programs and pipes that are told about changes.

use std::time::Duration;

use toml::Spanned;
use warren_kit::config::Report;

use super::check::absolute;
use super::command::{argv, user};
use crate::config::plan::{NotifyPlan, UserPlan};
use crate::config::{Command, Notify};

const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);

pub(super) fn notify(
    report: &mut Report,
    notify: Option<&Notify>,
    script_user: Option<&UserPlan>,
) -> NotifyPlan {
    let Some(notify) = notify else {
        return NotifyPlan {
            user: script_user.cloned(),
            timeout: TIMEOUT,
            ..NotifyPlan::default()
        };
    };
    if let (Some(reader), None) = (&notify.fifo_reader, &notify.fifo) {
        report.error(
            reader.span(),
            "there is no pipe for this program to read",
            "add `fifo` with the path of the pipe",
        );
    }
    let own_user = notify.user.as_ref().map(|name| user(report, name));
    let mut words =
        |command: &Option<Spanned<Command>>| command.as_ref().map(|command| argv(report, command, false));
    NotifyPlan {
        master: words(&notify.master),
        backup: words(&notify.backup),
        fault: words(&notify.fault),
        stop: words(&notify.stop),
        change: words(&notify.change),
        lower_priority: words(&notify.lower_priority),
        fifo_reader: words(&notify.fifo_reader),
        fifo: notify.fifo.as_ref().map(|path| absolute(report, path)),
        user: own_user.or_else(|| script_user.cloned()),
        timeout: report.duration("timeout", notify.timeout.as_ref(), TIMEOUTS, TIMEOUT),
    }
}
