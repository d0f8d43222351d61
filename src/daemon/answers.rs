//! What is answered on the control socket.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use warren_api::vrrp::{self as api, Reply, Request, kind, refusal};
use warren_vrrp::State;

use super::Daemon;
use crate::config::plan::Lease;
use crate::control::{Answer, Ask};
use crate::guard::messages::FromWorker;
use crate::history::event;
use crate::instance::Instance;
use crate::metrics;
use crate::netlink::{self, Netlink, NetlinkError};
use crate::protocol::{Command, LATENESS_BOUNDS, Slot, View};
use crate::status::{self, Plumbed};
use crate::words;

/// Every address in the kernel, by interface.
fn addresses_in_kernel() -> Result<BTreeSet<(u32, IpAddr)>, NetlinkError> {
    let present = netlink::present(&mut Netlink::open()?)?;
    Ok(present
        .into_iter()
        .map(|address| (address.ifindex, address.address))
        .collect())
}

impl Daemon {
    pub(super) async fn answer(&mut self, ask: Ask) {
        let Ask {
            request,
            peer,
            answer,
        } = ask;
        tracing::debug!(uid = peer.uid, pid = peer.pid, ?request, "control request");
        let reply = match request {
            Request::Status {} => Answer::One(Box::new(Reply::Status(Box::new(self.status().await)))),
            Request::Events {
                follow,
                after,
                router,
            } => Answer::Events {
                past: self.history.since(after, router.as_deref()),
                future: follow.then(|| self.history.follow()),
                router,
            },
            Request::Drain { router } => match self.set_drained(&router, true) {
                // The answer comes when the role is gone.
                Ok(slot)
                    if self
                        .instance(slot)
                        .is_some_and(|instance| instance.state == State::Active) =>
                {
                    self.drains.push((slot, answer));
                    return;
                }
                Ok(_) => Answer::done(
                    format!("{router} is drained: it takes no part until resumed"),
                    Vec::new(),
                ),
                Err(refused) => refused,
            },
            Request::Resume { router } => match self.set_drained(&router, false) {
                Ok(_) => Answer::done(format!("{router} takes part again"), Vec::new()),
                Err(refused) => refused,
            },
            Request::Reload {} => match self.reload() {
                Ok(summary) => Answer::done(summary, self.warnings.clone()),
                Err(problem) => Answer::refused(refusal::BAD_CONFIGURATION, problem),
            },
            Request::Upgrade {} => self.upgrade(),
        };
        // A client that has hung up does not want it any more.
        let _ = answer.send(reply);
    }

    fn set_drained(&mut self, router: &str, drained: bool) -> Result<Slot, Answer> {
        let Some(slot) = self.slot_of(router) else {
            let known: Vec<&str> = self
                .instances
                .iter()
                .flatten()
                .map(|instance| instance.name())
                .collect();
            let message = format!("there is no router {router}; there is {}", known.join(", "));
            return Err(Answer::refused(refusal::NO_SUCH_ROUTER, message));
        };
        if let Some(instance) = self.instance_mut(slot) {
            if instance.surrendered && !drained {
                // Resuming is what a router that has surrendered waits for: it is unfit for a moment and then fit again.
                instance.drained = true;
                self.reassess_all();
            }
            if let Some(instance) = self.instance_mut(slot) {
                instance.drained = drained;
                instance.surrendered &= drained;
                instance.repairs.clear();
            }
        }
        let text = if drained {
            "drained by the operator"
        } else {
            "resumed by the operator"
        };
        self.history.record(event(kind::DRAIN, Some(router), text));
        self.reassess_all();
        Ok(slot)
    }

    /// Answers those who wait for this router to have given up its role.
    pub(super) fn answer_drains(&mut self, slot: Slot) {
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.drains)
            .into_iter()
            .partition(|(waits_for, _)| *waits_for == slot);
        self.drains = waiting;
        let Some(instance) = self.instance(slot) else {
            return;
        };
        let how = api::cause_in_words(&instance.cause);
        for (_, answer) in done {
            let text = format!(
                "{} is drained ({how}): it takes no part until resumed",
                instance.name()
            );
            let _ = answer.send(Answer::done(text, Vec::new()));
        }
    }

    fn upgrade(&mut self) -> Answer {
        if self.guard.is_none() {
            return Answer::refused(
                refusal::FAILED,
                "there is no guard to start another binary; restart the daemon",
            );
        }
        self.history.record(event(
            kind::DAEMON,
            None,
            "starting the installed binary in place",
        ));
        self.tell_guard(FromWorker::Upgrade);
        Answer::done(
            "starting the installed binary; addresses and roles stay",
            Vec::new(),
        )
    }

    pub(super) async fn view(&self) -> View {
        let (reply, view) = oneshot::channel();
        self.protocol.send(Command::View(reply));
        view.await.unwrap_or_default()
    }

    pub(super) async fn status(&self) -> api::Status {
        self.status_from(&self.view().await)
    }

    fn status_from(&self, view: &View) -> api::Status {
        let figures = self.plumbing.figures();
        let factor = figures.lease_factor.load(Relaxed);
        // Asked afresh: the monitor does not hear of our own doing.
        let held = addresses_in_kernel().unwrap_or_default();
        let routers = self
            .instances
            .iter()
            .flatten()
            // One that leaves may have a successor of its name.
            .filter(|instance| !instance.leaving)
            .map(|instance| {
                let in_kernel = self.in_kernel(instance, &held);
                let lease = self.lease_of(&instance.plan);
                let plumbed = Plumbed {
                    in_kernel: &in_kernel,
                    announcements: self.plumbing.announced(usize::from(instance.slot)),
                    lease: lease.map(|lease| crate::plumbing::effective_lease(lease, factor)),
                };
                status::router(instance, view, &plumbed, self.hold_off_until.is_some())
            })
            .collect();
        api::Status {
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: words::timestamp(),
            since: self.started,
            processes: api::Processes {
                guard: self
                    .guard
                    .as_ref()
                    .and_then(|_| u32::try_from(nix::unistd::getppid().as_raw()).ok()),
                worker: std::process::id(),
                restarts: self.restarts,
            },
            config: self.options.config.display().to_string(),
            config_read: self.config_read,
            realtime: self.realtime.clone(),
            lease: api::Lease {
                mode: match self.plan.lease {
                    Lease::Auto => "auto".into(),
                    Lease::Off => "off".into(),
                    Lease::Fixed(_) => "fixed".into(),
                },
                cost_millipercent: figures.renewal_share_ppm.load(Relaxed) / 10,
                lengthened: factor > 1,
            },
            routers,
            groups: self.groups.clone(),
            checks: self.checks(),
            foreign: self.rivals.foreign(),
            warnings: self.standing_warnings(view),
        }
    }

    /// What is not as it should be and has no other place.
    fn standing_warnings(&self, view: &View) -> Vec<String> {
        let mut warnings = [&self.shortcomings[..], &self.warnings].concat();
        for instance in self.instances.iter().flatten() {
            if let Some(problem) = &instance.link_problem {
                warnings.push(format!("{}: {problem}", instance.name()));
            }
            let seat = view.seats.iter().find(|seat| seat.slot == instance.slot);
            if let Some(peer) = seat.and_then(|seat| seat.addresses_differ) {
                warnings.push(format!(
                    "{}: {peer} advertises other addresses than this host has",
                    instance.name()
                ));
            }
        }
        if view.events_lost > 0 {
            warnings.push(format!(
                "{} events were lost because too many came at once",
                view.events_lost
            ));
        }
        warnings
    }

    /// For a scrape.
    pub(super) async fn metrics(&self) -> String {
        let view = self.view().await;
        let lateness = view.lateness;
        let mut buckets = Vec::with_capacity(LATENESS_BOUNDS.len());
        for (bound, count) in LATENESS_BOUNDS.iter().zip(lateness.buckets) {
            buckets.push((bound.as_secs_f64(), count));
        }
        let late = metrics::LoopLateness {
            buckets: &buckets,
            sum: lateness.sum.as_secs_f64(),
            count: lateness.buckets.iter().sum(),
        };
        metrics::text(&self.status_from(&view), late, &self.transitions)
    }

    fn checks(&self) -> Vec<api::CheckStatus> {
        let mut checks = self.tracker.status();
        for check in &mut checks {
            check.routers = self
                .instances
                .iter()
                .flatten()
                .filter(|instance| instance.checks.iter().any(|used| *used.name == *check.name))
                .map(|instance| instance.name().to_owned())
                .collect();
        }
        checks
    }

    /// The router's addresses that are where they belong, by what the kernel has just said.
    fn in_kernel(&self, instance: &Instance, held: &BTreeSet<(u32, IpAddr)>) -> BTreeSet<IpAddr> {
        let Some(link) = &instance.link else {
            return BTreeSet::new();
        };
        let plan = &instance.plan;
        plan.addresses
            .iter()
            .chain(&plan.excluded)
            .filter(|address| {
                self.place_of(link, address)
                    .is_some_and(|index| held.contains(&(index, address.address)))
            })
            .map(|address| address.address)
            .collect()
    }
}
