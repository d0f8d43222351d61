//! The status as an operator reads it: one block for each router, alarms where they cannot be missed.

use std::fmt::Write;
use std::time::Duration;

use warren_api::vrrp::{
    AddressStatus, CheckStatus, Peer, Phase, RouterStatus, State, Status, Verdict, arithmetic, reason,
};
use warren_api::{Micros, Timestamp};

use crate::clock::Clock;
use crate::paint::{self, Paint, clean};

/// Lines of a failing check's output that are shown.
const OUTPUT_LINES: usize = 5;

pub(super) fn text(status: &Status, clock: &Clock, paint: Paint) -> String {
    let mut page = Page {
        status,
        clock,
        paint,
        text: String::new(),
    };
    page.daemon();
    for router in &status.routers {
        page.router(router);
    }
    page.groups();
    page.foreign();
    page.text
}

struct Page<'a> {
    status: &'a Status,
    clock: &'a Clock,
    paint: Paint,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text += line.trim_end();
        self.text.push('\n');
    }

    /// A line of a block: what it is about, then what is so.
    fn row(&mut self, label: &str, value: &str) {
        let label = self.paint.faint(&format!("{label:<9}"));
        self.line(&format!("  {label}  {value}"));
    }

    fn daemon(&mut self) {
        let status = self.status;
        let host = self.paint.strong(&clean(&status.host));
        self.line(&format!(
            "{host}  warren {}  {}  {}",
            clean(&status.version),
            self.since(status.since),
            clean(&status.config)
        ));
        if status.processes.restarts > 0 {
            self.row(
                "restarts",
                &format!("{} of the worker by its guard", status.processes.restarts),
            );
        }
        if let Some(reason) = &status.realtime.reason {
            let no = self.paint.waiting("not in full");
            self.row("real-time", &format!("{no}: {}", clean(reason)));
        }
        if status.lease.lengthened {
            self.row("lease", "longer than configured, as renewing would cost too much");
        }
        for warning in &status.warnings {
            let label = self.paint.waiting("warning");
            self.line(&format!("  {label}    {}", paint::warning(warning)));
        }
    }

    fn router(&mut self, router: &RouterStatus) {
        self.line("");
        self.line(&format!(
            "{}  {}{}  {}  priority {}  {} vrid {} v{} {}",
            self.paint.strong(&clean(&router.name)),
            self.paint.state(router.state),
            phase(router.phase),
            self.since(router.since),
            clean(&arithmetic(router)),
            clean(&router.interface),
            router.vrid,
            router.version,
            router.learned_interval_us.unwrap_or(router.interval_us),
        ));
        let why = reason(router, &self.status.checks, &|time| self.clock.words(time));
        self.row("because", &clean(&why));
        if let Some(other) = &router.dual_active {
            let what = other
                .address
                .map_or_else(|| "an address".into(), |it| it.to_string());
            let alarm = self.paint.bad("ALARM");
            self.row(
                "",
                &format!("{alarm} {what} is also held by {}", clean(&other.mac)),
            );
        }
        if router.drained && router.phase != Some(Phase::Drained) {
            self.row("drained", "by the operator");
        }
        if !router.addresses.is_empty() {
            let addresses: Vec<String> = router
                .addresses
                .iter()
                .map(|it| self.address(router, it))
                .collect();
            self.row("addresses", &addresses.join(", "));
        }
        if !router.peers.is_empty() {
            let peers: Vec<String> = router.peers.iter().map(|it| peer(router, it)).collect();
            self.row("peers", &peers.join(", "));
        }
        for contribution in &router.contributions {
            match self.status.checks.iter().find(|it| it.name == contribution.check) {
                Some(check) => self.check(check),
                None => self.row("check", &clean(&contribution.check)),
            }
        }
        let rejected = &router.counters.rejected;
        if !rejected.is_empty() {
            let counts: Vec<String> = rejected
                .iter()
                .map(|(reason, count)| format!("{count} {}", clean(reason)))
                .collect();
            self.row("rejected", &counts.join(", "));
        }
    }

    /// A tick means that the kernel was asked; what should not be so is said in words.
    fn address(&self, router: &RouterStatus, address: &AddressStatus) -> String {
        let number = address.address.map_or_else(|| "?".into(), |it| it.to_string());
        let text = format!("{number}/{} {}", address.prefix, clean(&address.device));
        match (router.state == State::Active, address.in_kernel) {
            (true, true) => format!("{text} {}", self.paint.good("✓")),
            (true, false) => format!("{text} {}", self.paint.bad("✗ not in the kernel")),
            (false, true) => format!("{text} {}", self.paint.bad("✗ still in the kernel")),
            (false, false) => text,
        }
    }

    fn check(&mut self, check: &CheckStatus) {
        let since = self.since(check.since);
        let verdict = match check.verdict {
            Verdict::Well => format!("{} {since}", self.paint.good("well")),
            Verdict::Failed => format!("{} {since}", self.paint.bad("FAILED")),
            Verdict::Pending => self.paint.waiting("no result yet"),
            Verdict::Unknown => "unknown".into(),
        };
        let failed = check.last.as_ref().filter(|last| !last.ok);
        let result = match failed {
            Some(last) if !last.result.is_empty() => format!(": {}", clean(&last.result)),
            _ => String::new(),
        };
        self.row(
            "check",
            &format!(
                "{} ({}) {verdict}{result}",
                clean(&check.name),
                clean(&check.what)
            ),
        );
        let output = failed.map(|last| clean(last.output.trim())).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        for line in &lines[lines.len().saturating_sub(OUTPUT_LINES)..] {
            self.row("", &self.paint.faint(&format!("| {line}")));
        }
    }

    fn groups(&mut self) {
        for group in &self.status.groups {
            self.line("");
            self.line(&format!(
                "group {}  {}  {}  {}",
                self.paint.strong(&clean(&group.name)),
                self.paint.state(group.state),
                self.since(group.since),
                clean(&group.routers.join(", "))
            ));
        }
    }

    fn foreign(&mut self) {
        if self.status.foreign.is_empty() {
            return;
        }
        self.line("");
        self.line("heard, but not ours");
        for other in &self.status.foreign {
            let from = other.address.map_or_else(|| "?".into(), |it| it.to_string());
            self.line(&format!(
                "  {} vrid {} {} from {from} priority {}, {} ago",
                clean(&other.interface),
                other.vrid,
                clean(&other.family),
                other.priority,
                other.heard_ago_us
            ));
        }
    }

    /// `since 12:03:04 (3 m)`
    fn since(&self, time: Timestamp) -> String {
        let mut text = format!("since {}", self.clock.words(time));
        let age: Duration = self.status.time.since(time);
        // Younger than a second: the clock says it already.
        if age >= Duration::from_secs(1) {
            let whole = Duration::from_secs(age.as_secs());
            let _ = write!(text, " ({})", Micros::from(whole));
        }
        text
    }
}

fn phase(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "",
        Some(Phase::WaitingForLink) => " (waiting for its interface)",
        Some(Phase::StartupDelay) => " (start-up delay)",
        Some(Phase::Unfit) => " (released by a check)",
        Some(Phase::GroupUnfit) => " (released by its group)",
        Some(Phase::Drained) => " (drained)",
        Some(Phase::Surrendered) => " (given up)",
        Some(Phase::Listening) => " (listening)",
        Some(Phase::HandingOver) => " (handing over)",
        Some(Phase::FailbackDelay) => " (failback delay)",
        Some(Phase::Unknown) => " (?)",
    }
}

fn peer(router: &RouterStatus, peer: &Peer) -> String {
    let address = peer.address.map_or_else(|| "?".into(), |it| it.to_string());
    let active = router
        .active_peer
        .as_ref()
        .is_some_and(|active| active.address == peer.address);
    format!(
        "{address}{} priority {}, heard {} ago",
        if active { " ACTIVE" } else { "" },
        peer.priority,
        peer.heard_ago_us
    )
}
