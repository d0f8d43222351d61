//! The control thread's side of one virtual router: its plan, its link, what its checks say, what it is worth.
//!
//! What the protocol thread decides arrives as events and is only remembered here, for status, `why` and notify.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use warren_api::Timestamp;
use warren_api::vrrp as api;
use warren_vrrp::group::Member;
use warren_vrrp::packet::{Auth, Interval, UnicastPeer};
use warren_vrrp::priority::{Assessment, CheckState, Fitness, Rule, effective};
use warren_vrrp::{Input, Priority, State};

use crate::config::plan::{CheckKind, Delivery, Plan, RouterPlan};
use crate::protocol::{Installation, Slot};
use crate::track::{CheckReport, Verdict};
use crate::words::timestamp;

/// A check as this router uses it, by name: indices shift when a configuration is edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckRule {
    pub(crate) name: Arc<str>,
    pub(crate) rule: Rule,
    pub(crate) reverse: bool,
}

/// Where the router lives at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) interface_index: u32,
    pub(crate) receive_on: usize,
    /// See [`Installation::receive_own_mac_on`].
    pub(crate) receive_own_mac_on: Option<usize>,
    pub(crate) send_on: usize,
    pub(crate) send_interface: String,
    pub(crate) send_interface_index: u32,
    /// The interface that carries the addresses, and its MAC.
    pub(crate) carrier: String,
    pub(crate) carrier_index: u32,
    pub(crate) carrier_mac: [u8; 6],
    /// The other interfaces that addresses and routes name, as they are now.
    pub(crate) devices: Vec<(String, Option<u32>)>,
}

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) slot: Slot,
    pub(crate) plan: RouterPlan,
    pub(crate) checks: Vec<CheckRule>,
    pub(crate) link: Option<Link>,
    /// Source address, while the interface is usable.
    pub(crate) source: Option<IpAddr>,
    /// Why it is not.
    pub(crate) link_problem: Option<String>,
    pub(crate) drained: bool,
    /// Effective priority of an earlier worker whose role goes on, until every check has reported.
    pub(crate) adopted: Option<u8>,
    /// What an earlier process left, as the protocol thread has yet to be told.
    pub(crate) legacy: Option<Input>,
    pub(crate) surrendered: bool,
    /// When to claim again what expired while the process was stopped, should the role still be ours then.
    pub(crate) reclaim_at: Option<Instant>,
    pub(crate) group: Option<usize>,
    pub(crate) assessment: Option<Assessment>,
    /// What was last said to the protocol thread.
    pub(crate) fitness: Option<Fitness>,
    pub(crate) state: State,
    pub(crate) since: Timestamp,
    pub(crate) cause: api::Cause,
    /// How often the link was asked after an address.
    pub(crate) looks: usize,
    /// Who answered for one of the addresses before we were active.
    pub(crate) held_by: Option<(IpAddr, [u8; 6])>,
    pub(crate) dual_active: Option<api::DualActive>,
    pub(crate) repairs: VecDeque<Instant>,
    pub(crate) repairs_total: u64,
    /// Being taken out of the configuration: forget it once it has left.
    pub(crate) leaving: bool,
}

impl Instance {
    pub(crate) fn new(slot: Slot, plan: RouterPlan, whole: &Plan) -> Self {
        Self {
            slot,
            checks: rules(&plan, whole),
            group: group_of(&plan, whole),
            plan,
            link: None,
            source: None,
            link_problem: Some("not looked at yet".into()),
            drained: false,
            adopted: None,
            legacy: None,
            reclaim_at: None,
            surrendered: false,
            assessment: None,
            fitness: None,
            state: State::Initialize,
            since: timestamp(),
            cause: api::Cause::default(),
            looks: 0,
            held_by: None,
            dual_active: None,
            repairs: VecDeque::new(),
            repairs_total: 0,
            leaving: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    pub(crate) fn owner(&self) -> bool {
        self.plan.priority == 255
    }

    /// What the router is worth by itself, by what its checks say now.
    pub(crate) fn assess(&mut self, reports: &BTreeMap<Arc<str>, CheckReport>) -> Fitness {
        let states: Vec<CheckState> = self
            .checks
            .iter()
            .map(|check| {
                let report = reports.get(&check.name);
                let rule = match check.rule {
                    // A tracked file's number times its weight.
                    Rule::Value(weight) => {
                        let value = report.map_or(0, |report| report.value);
                        Rule::Value(clamp_weight(i64::from(weight) * i64::from(value)))
                    }
                    other => other,
                };
                CheckState {
                    name: check.name.to_string(),
                    ok: report.map(|report| report.verdict == Verdict::Up),
                    rule,
                    reverse: check.reverse,
                }
            })
            .collect();
        let pending = states.iter().any(|state| state.ok.is_none());
        let assessment = effective(Priority(self.plan.priority), &states, self.drained);
        let fitness = match self.adopted {
            // An earlier worker, or the time before a reload, knew; its word holds until every check has spoken, unless
            // one says no.
            Some(priority) if pending && !self.drained && assessment.failing.is_empty() => Fitness {
                priority: Priority(priority),
                fit: true,
            },
            _ => {
                if !pending {
                    self.adopted = None;
                }
                assessment.fitness
            }
        };
        self.assessment = Some(assessment);
        fitness
    }

    /// Checks that a reload adds must not move the role before they have said anything.
    pub(crate) fn take_checks(&mut self, checks: Vec<CheckRule>) {
        let was_fit = self
            .assessment
            .as_ref()
            .filter(|assessment| assessment.fitness.fit);
        if let Some(assessment) = was_fit {
            let moved = i32::from(assessment.fitness.priority.0) - i32::from(assessment.base.0);
            let priority = match self.plan.priority {
                255 => 255,
                base => (i32::from(base) + moved).clamp(1, 254),
            };
            self.adopted = u8::try_from(priority).ok();
        }
        self.checks = checks;
    }

    /// As a member of its sync group.
    pub(crate) fn member(&self, fitness: Fitness) -> Member {
        Member {
            base: Priority(self.plan.priority),
            fitness,
            ready: self.source.is_some() && !self.surrendered,
        }
    }

    /// What the protocol thread needs, once there is a link.
    pub(crate) fn installation(&self) -> Option<Installation> {
        let link = self.link.as_ref()?;
        let settings = self.plan.settings.clone();
        Some(Installation {
            slot: self.slot,
            interval: Interval::new(settings.version, settings.interval).ok()?,
            settings,
            owner: self.owner(),
            addresses: self
                .plan
                .addresses
                .iter()
                .map(|address| address.address)
                .collect(),
            auth: self.plan.password.map_or(Auth::None, Auth::Pass),
            checksum: self.plan.checksum,
            peers: match &self.plan.delivery {
                Delivery::Multicast => Vec::new(),
                Delivery::Unicast(peers) => peers
                    .iter()
                    .map(|peer| UnicastPeer {
                        address: peer.address,
                        min_ttl: peer.min_ttl,
                    })
                    .collect(),
            },
            strict: self.plan.strict,
            receive_on: link.receive_on,
            receive_own_mac_on: link.receive_own_mac_on,
            send_on: link.send_on,
            send_interface: link.send_interface.clone(),
            send_interface_index: link.send_interface_index,
        })
    }

    /// Whether `plan` can be gone over to without leaving the role: everything that makes a router another one is equal.
    /// The name is for people, and a host has a VRID once per interface and family.
    pub(crate) fn is_same_router(&self, plan: &RouterPlan) -> bool {
        self.plan.interface == plan.interface
            && self.plan.settings.vrid == plan.settings.vrid
            && self.plan.settings.family == plan.settings.family
            && self.plan.settings.version == plan.settings.version
            && self.plan.virtual_mac == plan.virtual_mac
    }
}

/// The checks of a router by name.
pub(crate) fn rules(plan: &RouterPlan, whole: &Plan) -> Vec<CheckRule> {
    plan.checks
        .iter()
        .filter_map(|used| {
            let check = whole.checks.get(used.check)?;
            let rule = match (used.weight, &check.kind) {
                (None | Some(0), _) => Rule::Release,
                (Some(weight), CheckKind::File { .. }) => Rule::Value(weight),
                (Some(weight), _) => Rule::Weight(weight),
            };
            Some(CheckRule {
                name: Arc::clone(&check.name),
                rule,
                reverse: used.reverse,
            })
        })
        .collect()
}

fn group_of(plan: &RouterPlan, whole: &Plan) -> Option<usize> {
    let index = whole.routers.iter().position(|router| router.name == plan.name)?;
    whole
        .groups
        .iter()
        .position(|group| group.routers.contains(&index))
}

fn clamp_weight(amount: i64) -> i16 {
    i16::try_from(amount.clamp(-254, 254)).unwrap_or(0)
}
