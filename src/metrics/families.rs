//! Every metric there is. The order is that of the text and of `docs/metrics.md`.
//!
//! The number of series is bounded: routers, checks and addresses are the operator's, states, causes and reasons are
//! ours, and of what the network says only [`PEERS_MAX`] peers and one series per foreign VRID are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus_client::metrics::MetricType::{self, Counter, Gauge, Histogram, Info};
use warren_api::vrrp::{AddressStatus, CheckStatus, Peer, RouterStatus, State, Verdict};
use warren_api::{Micros, Timestamp};

use super::Source::{Check, CheckParts, Daemon, Labelled, Router, RouterParts};
use super::Value::{self, Real, Whole};
use super::{Family, LoopLateness, ROUTER, Sample, Scrape, Source, Transition, router_labels};

/// Peers of a router that get series of their own: anybody on the network can be one.
pub(super) const PEERS_MAX: usize = 8;

const fn family(name: &'static str, kind: MetricType, help: &'static str, source: Source) -> Family {
    Family {
        name,
        kind,
        seconds: false,
        help,
        source,
    }
}

const fn seconds(name: &'static str, kind: MetricType, help: &'static str, source: Source) -> Family {
    Family {
        name,
        kind,
        seconds: true,
        help,
        source,
    }
}

#[rustfmt::skip]
pub(super) static FAMILIES: &[Family] = &[
    family("state", Gauge, "1 for the state that the router is in, 0 for the others.",
        RouterParts(&["state"], states)),
    seconds("state_age", Gauge, "Time since the router entered its state.",
        Labelled(&ROUTER, state_ages)),
    family("transitions", Counter, "Changes of state, by cause.",
        Labelled(&["router", "from", "to", "cause"], transitions)),
    family("became_active", Counter, "Times the router became active.",
        Router(|router| whole(router.counters.became_active))),
    family("base_priority", Gauge, "Priority as configured; 255 is the address owner's.",
        Router(|router| whole(router.base_priority))),
    family("priority", Gauge, "Priority that is advertised: the configured one and what the checks add to it.",
        Router(|router| whole(router.priority))),
    family("priority_contribution", Gauge, "What a check adds to the priority now.",
        RouterParts(&["check"], contributions)),
    family("drained", Gauge, "1 while the router is drained by the operator.",
        Router(|router| flag(router.drained))),
    family("dual_active", Gauge, "1 while another host answers for an address that the router holds.",
        Router(|router| flag(router.dual_active.is_some()))),
    family("address_in_kernel", Gauge, "1 if the kernel has the virtual address, as told by the kernel.",
        RouterParts(&["address", "device"], addresses)),
    family("repairs", Counter, "Virtual addresses put back after somebody else deleted them.",
        Router(|router| whole(router.counters.repairs))),
    family("announcements_sent", Counter, "Gratuitous ARP and unsolicited neighbour advertisement frames sent.",
        Router(|router| whole(router.counters.announcements_sent))),

    family("adverts_sent", Counter, "Advertisements sent.",
        Router(|router| whole(router.counters.adverts_sent))),
    family("adverts_received", Counter, "Advertisements received and accepted.",
        Router(|router| whole(router.counters.adverts_received))),
    family("resignations_sent", Counter, "Advertisements with priority 0 sent.",
        Router(|router| whole(router.counters.resignations_sent))),
    family("resignations_received", Counter, "Advertisements with priority 0 received.",
        Router(|router| whole(router.counters.resignations_received))),
    family("send_errors", Counter, "Advertisements that could not be sent.",
        Router(|router| whole(router.counters.send_errors))),
    family("rejected", Counter, "Packets that failed a receive check; a reason appears with its first one.",
        RouterParts(&["reason"], rejected)),
    seconds("active_peer_advert_age", Gauge, "Time since the last advertisement of another active router, where there is one.",
        Router(|router| router.active_peer.as_ref().map(|peer| Value::seconds(peer.heard_ago_us)))),
    seconds("peer_advert_age", Gauge, "Time since the last advertisement of each sender heard, at most 8.",
        RouterParts(&["peer"], |router| peers(router, |peer| Value::seconds(peer.heard_ago_us)))),
    family("peer_priority", Gauge, "Priority in that advertisement.",
        RouterParts(&["peer"], |router| peers(router, |peer| Whole(peer.priority.into())))),
    family("foreign_routers", Gauge, "Virtual routers heard that are not configured here.",
        Daemon(|scrape| count(scrape.status.foreign.len()))),
    seconds("foreign_router_advert_age", Gauge, "Time since the last advertisement of each of them.",
        Labelled(&["interface", "vrid", "family"], foreign_routers)),

    seconds("advert_interval", Gauge, "The router's own advertisement interval.",
        Router(|router| time(router.interval_us))),
    seconds("learned_advert_interval", Gauge, "The active router's interval, where one has been learned.",
        Router(|router| router.learned_interval_us.map(Value::seconds))),
    seconds("active_down_interval", Gauge, "Silence after which the active router is taken for dead.",
        Router(|router| time(router.active_down_us))),
    seconds("skew_time", Gauge, "Part of it that puts routers of higher priority first.",
        Router(|router| time(router.skew_us))),
    seconds("address_lease", Gauge, "Time the kernel keeps the addresses without renewal; absent when for ever.",
        Router(|router| router.lease_us.map(Value::seconds))),
    seconds("worst_lateness", Gauge, "The latest that a timer was acted on.",
        Router(|router| time(router.lateness.worst_us))),
    family("absences", Counter, "Times the router was so late that it treated itself as having been away.",
        Router(|router| whole(router.lateness.absences))),

    family("check_verdict", Gauge, "1 for the verdict on the check, 0 for the others.",
        CheckParts(&["verdict"], verdicts)),
    seconds("check_duration", Gauge, "Time that the last run of the check took.",
        Check(|check| check.last.as_ref().map(|last| Value::seconds(last.took_us)))),
    family("check_runs", Counter, "Runs of the check.",
        Check(|check| whole(check.runs))),
    family("check_failures", Counter, "Runs that failed.",
        Check(|check| whole(check.failures))),
    family("check_value", Gauge, "The number in the file, or the processes found, where the check has one.",
        Check(|check| check.value.map(|value| Real(value as f64)))),

    family("build", Info, "The running binary and its host.",
        Labelled(&["version", "host"], build)),
    seconds("start_time", Gauge, "When the worker started, since the Unix epoch.",
        Daemon(|scrape| moment(scrape.status.since))),
    seconds("config_read_time", Gauge, "When the configuration in force was read, since the Unix epoch.",
        Daemon(|scrape| moment(scrape.status.config_read))),
    family("warnings", Gauge, "Things that the operator should put right; `warren status` has them in words.",
        Daemon(|scrape| count(scrape.status.warnings.len()))),
    family("guard_restarts", Counter, "Times the guard restarted the worker.",
        Daemon(|scrape| Whole(scrape.status.processes.restarts.into()))),
    family("realtime_scheduling", Gauge, "1 if real-time scheduling was granted.",
        Daemon(|scrape| Value::flag(scrape.status.realtime.scheduling))),
    family("memory_locked", Gauge, "1 if the memory is locked.",
        Daemon(|scrape| Value::flag(scrape.status.realtime.memory_locked))),
    seconds("loop_lateness", Histogram, "How late the protocol thread woke up for its deadlines.",
        Daemon(|scrape| loop_lateness(scrape.lateness))),
    family("lease_cost_cores", Gauge, "Share of one core that renewing the addresses costs, 0 to 1.",
        Daemon(|scrape| Real(f64::from(scrape.status.lease.cost_millipercent) / 100_000.0))),
    family("lease_lengthened", Gauge, "1 if leases are longer than configured because renewing would cost too much.",
        Daemon(|scrape| Value::flag(scrape.status.lease.lengthened))),
    family("log_lines_dropped", Counter, "Log lines for which there was no room.",
        Daemon(|scrape| Whole(scrape.log_lines_dropped))),
];

fn whole(number: impl Into<u64>) -> Option<Value> {
    Some(Whole(number.into()))
}

fn flag(set: bool) -> Option<Value> {
    Some(Value::flag(set))
}

fn time(duration: impl Into<Duration>) -> Option<Value> {
    Some(Value::seconds(duration))
}

fn count(number: usize) -> Value {
    Whole(u64::try_from(number).unwrap_or(u64::MAX))
}

fn moment(time: Timestamp) -> Value {
    Value::seconds(Duration::from_millis(time.unix_millis()))
}

fn state_word(state: State) -> String {
    state.word().to_lowercase()
}

fn states(router: &RouterStatus) -> Vec<Sample> {
    [State::Initialize, State::Backup, State::Active]
        .map(|state| (vec![state_word(state)], Value::flag(state == router.state)))
        .into()
}

fn state_ages(scrape: &Scrape<'_>) -> Vec<Sample> {
    let age = |router: &RouterStatus| Value::seconds(scrape.status.time.since(router.since));
    let routers = scrape.status.routers.iter();
    routers
        .map(|router| (router_labels(router), age(router)))
        .collect()
}

fn transitions(scrape: &Scrape<'_>) -> Vec<Sample> {
    let labels = |it: &Transition| {
        vec![
            it.router.clone(),
            state_word(it.from),
            state_word(it.to),
            it.cause.clone(),
        ]
    };
    let transitions = scrape.transitions.iter();
    transitions
        .map(|(transition, count)| (labels(transition), Whole(*count)))
        .collect()
}

/// Checks without a weight release the role instead.
fn contributions(router: &RouterStatus) -> Vec<Sample> {
    let weighted = router.contributions.iter().filter(|it| it.weight.is_some());
    weighted
        .map(|it| (vec![it.check.clone()], Real(it.counted.into())))
        .collect()
}

fn addresses(router: &RouterStatus) -> Vec<Sample> {
    let sample = |it: &AddressStatus| {
        let address = format!("{}/{}", it.address?, it.prefix);
        Some((vec![address, it.device.clone()], Value::flag(it.in_kernel)))
    };
    router.addresses.iter().filter_map(sample).collect()
}

fn rejected(router: &RouterStatus) -> Vec<Sample> {
    let reasons = router.counters.rejected.iter();
    reasons
        .map(|(reason, count)| (vec![reason.clone()], Whole(*count)))
        .collect()
}

fn peers(router: &RouterStatus, value: fn(&Peer) -> Value) -> Vec<Sample> {
    let sample = |peer: &Peer| Some((vec![peer.address?.to_string()], value(peer)));
    router.peers.iter().take(PEERS_MAX).filter_map(sample).collect()
}

/// Of senders with the same VRID the one heard last counts: their addresses are not ours to bound.
fn foreign_routers(scrape: &Scrape<'_>) -> Vec<Sample> {
    let mut ages: BTreeMap<Vec<String>, Micros> = BTreeMap::new();
    for it in &scrape.status.foreign {
        let labels = vec![it.interface.clone(), it.vrid.to_string(), it.family.clone()];
        let age = ages.entry(labels).or_insert(it.heard_ago_us);
        *age = it.heard_ago_us.min(*age);
    }
    ages.into_iter()
        .map(|(labels, age)| (labels, Value::seconds(age)))
        .collect()
}

fn verdicts(check: &CheckStatus) -> Vec<Sample> {
    [
        (Verdict::Pending, "pending"),
        (Verdict::Well, "well"),
        (Verdict::Failed, "failed"),
    ]
    .map(|(verdict, word)| (vec![word.to_owned()], Value::flag(verdict == check.verdict)))
    .into()
}

fn build(scrape: &Scrape<'_>) -> Vec<Sample> {
    let labels = vec![scrape.status.version.clone(), scrape.status.host.clone()];
    vec![(labels, Whole(1))]
}

fn loop_lateness(lateness: LoopLateness<'_>) -> Value {
    let finite = lateness.buckets.iter().filter(|(bound, _)| bound.is_finite());
    let mut buckets: Vec<(f64, u64)> = finite.copied().collect();
    let bounded: u64 = buckets.iter().map(|(_, count)| count).sum();
    // The last bucket holds the rest, so that it and the count agree as the format demands.
    let count = lateness.count.max(bounded);
    buckets.push((f64::INFINITY, count - bounded));
    Value::Buckets {
        buckets,
        sum: lateness.sum,
        count,
    }
}
