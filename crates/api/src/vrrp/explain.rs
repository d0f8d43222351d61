//! Why a router is in its state, in sentences.
//!
//! Pure: what is said follows from the status alone, so the daemon's log and the command line say the same. The
//! caller brings `clock`, which turns a time into the words its reader wants (local time, on a terminal).

use super::{CheckStatus, Contribution, Peer, Phase, RouterStatus, State, Verdict, cause};
use crate::Timestamp;

/// The chain of causes, from what is so to what led there; the first sentence alone answers "why".
#[must_use]
pub fn explain(
    router: &RouterStatus,
    checks: &[CheckStatus],
    clock: &dyn Fn(Timestamp) -> String,
) -> Vec<String> {
    let teller = Teller {
        router,
        checks,
        clock,
    };
    let mut sentences = vec![format!(
        "{} is {} {}",
        router.name,
        router.state.word(),
        teller.present()
    )];
    sentences.extend(teller.priority_unless_said());
    sentences.extend(teller.came_here());
    sentences.extend(teller.failing_checks());
    sentences.extend(teller.next());
    sentences.extend(teller.alarms());
    sentences
}

/// The first of those sentences without its subject: what keeps the router where it is.
#[must_use]
pub fn reason(router: &RouterStatus, checks: &[CheckStatus], clock: &dyn Fn(Timestamp) -> String) -> String {
    let teller = Teller {
        router,
        checks,
        clock,
    };
    let clause = teller.present();
    clause.strip_prefix("because ").unwrap_or(&clause).to_owned()
}

/// `101`, or with its sum `99 = 101 - 2 (chk_haproxy)`.
#[must_use]
pub fn arithmetic(router: &RouterStatus) -> String {
    sum(router, |contribution| contribution.check.clone())
}

/// The clause after "because" for a transition's cause.
#[must_use]
pub fn cause_in_words(cause: &super::Cause) -> String {
    if !cause.text.is_empty() {
        return cause.text.clone();
    }
    let peer = cause
        .peer
        .map_or_else(|| "the active router".into(), |peer| peer.to_string());
    let theirs = cause.theirs.map_or_else(|| "?".into(), |it| it.to_string());
    let ours = cause.ours.map_or_else(|| "?".into(), |it| it.to_string());
    match cause.code.as_str() {
        cause::OWNER => "it owns the addresses (priority 255)".into(),
        cause::STARTED => "its interface became ready".into(),
        cause::ACTIVE_SILENT => match (cause.peer, cause.silence_us) {
            (Some(peer), Some(silence)) => format!("{peer} was silent for {silence}"),
            (Some(peer), None) => format!("{peer} fell silent"),
            (None, Some(silence)) => format!("nobody was heard for {silence}"),
            (None, None) => "nobody was heard".into(),
        },
        cause::PEER_RESIGNED => format!("{peer} resigned (priority 0)"),
        cause::OUTRANKED => format!(
            "{peer} announced {}",
            compared(&theirs, &ours, cause.theirs, cause.ours)
        ),
        cause::PREEMPTED => format!("{peer} announced {theirs} and ours is {ours}"),
        cause::LINK_LOST => "its interface was lost".into(),
        cause::UNFIT => "a check or the operator released the role".into(),
        cause::HANDED_OVER => format!("the role was handed over to {peer}"),
        cause::ADOPTED => "it continued the role of an earlier process".into(),
        cause::GROUP => "its sync group decided so".into(),
        cause::SURRENDERED => "its addresses could not be held".into(),
        cause::DRAINED => "the operator drained it".into(),
        cause::SHUTDOWN => "the daemon stopped".into(),
        "" => "of a reason the daemon did not give".into(),
        other => format!("of `{other}`"),
    }
}

/// `101 > 99`, or for equals the rule that breaks the tie.
fn compared(theirs: &str, ours: &str, their_number: Option<u8>, our_number: Option<u8>) -> String {
    if their_number.is_some() && their_number == our_number {
        format!("{theirs} = {ours} and has the higher address")
    } else {
        format!("{theirs} > {ours}")
    }
}

/// The sum with `name` in the parentheses.
fn sum(router: &RouterStatus, name: impl Fn(&Contribution) -> String) -> String {
    let counted: Vec<&Contribution> = router.contributions.iter().filter(|it| it.counted != 0).collect();
    if counted.is_empty() || router.base_priority == 255 {
        return router.priority.to_string();
    }
    let mut text = format!("{} = {}", router.priority, router.base_priority);
    let mut total = i64::from(router.base_priority);
    for contribution in counted {
        total += i64::from(contribution.counted);
        let sign = if contribution.counted < 0 { '-' } else { '+' };
        text += &format!(
            " {sign} {} ({})",
            contribution.counted.unsigned_abs(),
            name(contribution)
        );
    }
    if total != i64::from(router.priority) {
        text += " kept within 1 to 254";
    }
    text
}

struct Teller<'a> {
    router: &'a RouterStatus,
    checks: &'a [CheckStatus],
    clock: &'a dyn Fn(Timestamp) -> String,
}

impl Teller<'_> {
    /// What keeps the router where it is now.
    fn present(&self) -> String {
        let router = self.router;
        match (router.state, router.phase) {
            (State::Active, Some(Phase::HandingOver)) => {
                "but has announced priority 0 and keeps its addresses until a successor is heard".into()
            }
            (State::Active, Some(Phase::Listening)) => {
                "but was away and listens for another active router before it announces itself again".into()
            }
            (State::Active, _) => match router.active_peer.as_ref() {
                Some(peer) => format!(
                    "while {} announces itself as well, with {}",
                    address(peer),
                    peer.priority
                ),
                None => format!("because {}", cause_in_words(&router.cause)),
            },
            (State::Backup, _) => self.backup(),
            (State::Initialize, Some(Phase::WaitingForLink)) => {
                format!(
                    "because {} is missing, down or without a usable address; see `ip address show {}`",
                    router.interface, router.interface
                )
            }
            (State::Initialize, Some(Phase::StartupDelay)) => "because the start-up delay is running".into(),
            (State::Initialize, Some(Phase::Drained)) => {
                format!(
                    "because it was drained; `warren resume {}` ends that",
                    router.name
                )
            }
            (State::Initialize, Some(Phase::GroupUnfit)) => {
                "because another member of its sync group is not well".into()
            }
            (State::Initialize, Some(Phase::Unfit)) => self.unfit(),
            (State::Initialize, Some(Phase::Surrendered)) => format!(
                "because its addresses were deleted or held by somebody else too often; once that is settled, \
                 `warren resume {}` lets it try again",
                router.name
            ),
            _ => format!("because {}", cause_in_words(&router.cause)),
        }
    }

    fn backup(&self) -> String {
        let router = self.router;
        let Some(peer) = router.active_peer.as_ref() else {
            return "and hears no active router".into();
        };
        let who = address(peer);
        let ours = self.priority();
        match peer.priority.cmp(&router.priority) {
            std::cmp::Ordering::Greater => format!("because {who} announces {} > {ours}", peer.priority),
            std::cmp::Ordering::Equal if router.phase.is_none() => {
                format!(
                    "because {who} announces {}, the same as ours ({ours}), and was there first",
                    peer.priority
                )
            }
            _ if router.phase == Some(Phase::FailbackDelay) => format!(
                "because the failback delay is running: {who} announces {}, ours is {ours}",
                peer.priority
            ),
            _ => format!(
                "because {who} is active with {} and `failback` does not let this host take the role back from it \
                 (ours is {ours})",
                peer.priority
            ),
        }
    }

    fn unfit(&self) -> String {
        let releasing = self.router.contributions.iter().filter(|it| it.releases);
        let pending = |it: &&Contribution| {
            let check = self.check(&it.check);
            check.is_some_and(|check| check.verdict == Verdict::Pending)
        };
        let (pending, failing): (Vec<_>, Vec<_>) = releasing.partition(pending);
        let words = |checks: &[&Contribution]| -> String {
            let words: Vec<String> = checks.iter().map(|it| self.check_in_words(it)).collect();
            words.join("; ")
        };
        match (failing.as_slice(), pending.as_slice()) {
            ([], []) => "because a check has released the role".into(),
            ([], [one]) => format!("because the first result of {} is awaited", one.check),
            ([], _) => "because the first results of its checks are awaited".into(),
            (failing, _) => format!("because a failing check releases the role: {}", words(failing)),
        }
    }

    fn priority(&self) -> String {
        sum(self.router, |contribution| self.check_in_words(contribution))
    }

    /// `chk_haproxy failing since 12:03:04: exit 1`
    fn check_in_words(&self, contribution: &Contribution) -> String {
        let name = &contribution.check;
        let Some(check) = self.check(name) else {
            return name.clone();
        };
        let since = (self.clock)(check.since);
        match check.verdict {
            Verdict::Failed => match check.last.as_ref().filter(|last| !last.result.is_empty()) {
                Some(last) if !last.ok => format!("{name} failing since {since}: {}", last.result),
                _ => format!("{name} failing since {since}"),
            },
            Verdict::Well => format!("{name} well since {since}"),
            Verdict::Pending => format!("{name}, no result yet"),
            Verdict::Unknown => name.clone(),
        }
    }

    fn check(&self, name: &str) -> Option<&CheckStatus> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// The sum, where the first sentence does not contain it.
    fn priority_unless_said(&self) -> Option<String> {
        let router = self.router;
        let said = router.state == State::Backup && router.active_peer.is_some();
        let plain = router.contributions.iter().all(|it| it.counted == 0);
        (!said && !plain).then(|| format!("its priority is {}", self.priority()))
    }

    /// How the state was entered, where the first sentence is about the present.
    fn came_here(&self) -> Option<String> {
        let router = self.router;
        if router.since == Timestamp::default() {
            return None;
        }
        let when = (self.clock)(router.since);
        // Where the first sentence says it all. Nothing but the present matters to a router that takes no part.
        let about_the_past = match router.state {
            State::Active => router.phase.is_none() && router.active_peer.is_none(),
            State::Initialize => true,
            State::Backup | State::Unknown => false,
        };
        if about_the_past || (router.cause.code.is_empty() && router.cause.text.is_empty()) {
            return Some(format!("it has been so since {when}"));
        }
        Some(format!(
            "it became {} at {when} because {}",
            router.state.word(),
            cause_in_words(&router.cause)
        ))
    }

    /// What failing checks printed, which is often the answer.
    fn failing_checks(&self) -> Vec<String> {
        let failing = |check: &&CheckStatus| check.verdict == Verdict::Failed;
        self.router
            .contributions
            .iter()
            .filter_map(|contribution| self.check(&contribution.check))
            .filter(failing)
            .filter_map(|check| {
                let last = check.last.as_ref()?;
                let printed = last.output.trim();
                (!printed.is_empty()).then(|| format!("{} ({}) printed: {printed}", check.name, check.what))
            })
            .collect()
    }

    /// What would change it.
    fn next(&self) -> Option<String> {
        let router = self.router;
        if router.state != State::Backup {
            return None;
        }
        let silence = router.active_down_us;
        Some(match router.active_peer.as_ref() {
            Some(peer) => format!(
                "it takes over once {} has been silent for {silence}",
                address(peer)
            ),
            None => format!("it takes over after {silence} of silence"),
        })
    }

    fn alarms(&self) -> Vec<String> {
        let router = self.router;
        let mut alarms = Vec::new();
        if let Some(other) = &router.dual_active {
            let what = other
                .address
                .map_or_else(|| "an address".into(), |it| it.to_string());
            alarms.push(format!(
                "ALARM: {what} is also answered for by {} since {}; find that host and take the address from it",
                other.mac,
                (self.clock)(other.since)
            ));
        }
        for missing in router.addresses.iter().filter(|it| !it.in_kernel) {
            if let (State::Active, Some(address)) = (router.state, missing.address) {
                alarms.push(format!(
                    "ALARM: the kernel does not have {address} on {}",
                    missing.device
                ));
            }
        }
        alarms
    }
}

fn address(peer: &Peer) -> String {
    peer.address
        .map_or_else(|| "another router".into(), |address| address.to_string())
}
