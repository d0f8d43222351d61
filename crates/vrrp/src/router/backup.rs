//! Backup: listening for an active router (section 6.4.2).

use std::net::IpAddr;
use std::time::Duration;

use super::{Cause, Failback, Peer, Role, Router, State};
use crate::time::Instant;
use crate::types::Priority;

#[derive(Clone, Copy, Debug)]
pub(super) struct Backup {
    /// When Active_Down_Timer fires.
    pub(super) down_due: Instant,
    /// Since when we are Backup.
    entered: Instant,
    /// The timer fired too late and was restarted; a second time in a row it is believed.
    postponed: bool,
    /// The active router said so itself.
    resigned: Option<IpAddr>,
    /// Since when the active router is one worth less than we are.
    pub(super) lower_since: Option<Instant>,
    /// The sync group stepped down: do not preempt.
    pub(super) hold: bool,
    /// The sync group stepped down: no resignation makes us take over before this.
    defer_until: Instant,
}

impl Backup {
    pub(super) fn new(now: Instant, down_due: Instant) -> Self {
        Self {
            down_due,
            entered: now,
            postponed: false,
            resigned: None,
            lower_since: None,
            hold: false,
            defer_until: now,
        }
    }
}

impl Router {
    pub(super) fn backup_hears(&mut self, now: Instant, mut backup: Backup, peer: Peer) {
        if peer.priority == Priority::RESIGN {
            self.backup_hears_resignation(now, backup, peer.address);
            return;
        }
        if self.overshadowed(now, backup, peer) {
            let discard = peer.priority < self.ours()
                && self.preempts(now, backup.lower_since.unwrap_or(now), backup.hold);
            if !discard && peer.interval > self.learned {
                backup.down_due = backup.down_due.max(now + self.active_down_of(peer.interval));
                self.role = Role::Backup(backup);
            }
            return;
        }
        self.active = Some(peer);
        if peer.priority >= self.ours() {
            backup.lower_since = None;
        } else {
            let since = *backup.lower_since.get_or_insert(now);
            if self.preempts(now, since, backup.hold) {
                // RFC 9568 §6.4.2: with Preempt_Mode a lower-priority advertisement MUST be discarded, so that the
                // down timer runs out. [9568-6.4.2-4]
                self.role = Role::Backup(backup);
                return;
            }
        }
        // RFC 9568 §6.4.2: any other advertisement MUST restart the down timer. [9568-6.4.2-5]
        self.learn(peer.interval);
        self.heard = Some(now);
        backup.down_due = now + self.active_down();
        backup.resigned = None;
        backup.postponed = false;
        self.role = Role::Backup(backup);
    }

    /// Whether a better active router than `peer` was heard just now. It will correct `peer` by itself; if we took
    /// `peer`'s interval over meanwhile, a stranger announcing 10 ms between the lines of an active router that
    /// speaks once a second would make us believe that one dead. So such an advertisement teaches nothing; but one
    /// of a slower router lengthens this wait, in case it is the one that stays. One missed advertisement short of dead, the better
    /// router no longer counts, so that its successor is always believed in time.
    fn overshadowed(&self, now: Instant, backup: Backup, peer: Peer) -> bool {
        let patience = u32::from(self.settings.dead_after.saturating_sub(1));
        backup.resigned.is_none()
            && self.active.is_some_and(|known| {
                known.address != peer.address
                    && known.beats(peer.priority, Some(peer.address))
                    && now.since(known.heard) < known.interval.saturating_mul(patience)
            })
    }

    /// The RFC lets anybody's priority 0 shorten the wait. Here it must come from the router known to be active, or
    /// find none known: a stranger's cannot make us take over under a living active router. And it only ever
    /// shortens the wait: one repeated for ever does not keep us from taking over.
    fn backup_hears_resignation(&mut self, now: Instant, mut backup: Backup, address: IpAddr) {
        if self.active.is_some_and(|active| active.address != address) {
            return;
        }
        // RFC 9568 §6.4.2: on priority 0 the down timer MUST be set to Skew_Time. [9568-6.4.2-6]
        backup.down_due = backup.down_due.min((now + self.skew()).max(backup.defer_until));
        backup.resigned = Some(address);
        self.heard = Some(now);
        self.role = Role::Backup(backup);
    }

    fn preempts(&self, now: Instant, lower_since: Instant, hold: bool) -> bool {
        // RFC 9568 §6.1: the address owner MUST preempt whatever Preempt_Mode says. [9568-6.1-3]
        if self.ours() == Priority::OWNER {
            return true;
        }
        match self.settings.failback {
            Failback::Auto => !hold,
            Failback::Manual => false,
            Failback::After(delay) => !hold && now.since(lower_since) >= delay,
        }
    }

    /// A deadline handled more than one interval late means that we were away, not the active router: what it sent
    /// meanwhile may be lost. We wait once more in full. Once only: on a host so overloaded that every wake-up is
    /// late, taking over late is better than never.
    pub(super) fn backup_wakes(&mut self, now: Instant, mut backup: Backup) {
        if now.since(backup.down_due) > self.learned && !backup.postponed {
            self.stalls += 1;
            backup.postponed = true;
            backup.resigned = None;
            backup.down_due = now + self.active_down();
            self.role = Role::Backup(backup);
            return;
        }
        let cause = self.cause_of_silence(now, backup);
        // RFC 9568 §6.4.2: when the down timer fires the router MUST become Active. [9568-6.4.2-7]
        self.enter(now, State::Active, cause);
    }

    fn cause_of_silence(&self, now: Instant, backup: Backup) -> Cause {
        let lower = self.active.filter(|active| {
            active.priority < self.ours() && now.since(active.heard) <= active.interval.saturating_mul(2)
        });
        match (backup.resigned, lower) {
            (Some(peer), Some(_) | None) => Cause::PeerResigned { peer },
            (None, Some(peer)) => Cause::Preempted {
                peer: peer.address,
                theirs: peer.priority,
                ours: self.ours(),
            },
            (None, None) => Cause::ActiveSilent {
                peer: self.active.map(|active| active.address),
                silence: now.since(self.active.map_or(backup.entered, |active| active.heard)),
            },
        }
    }

    /// The sync group stepped down. The one that outranked it may be slow to speak on this link, so the wait is that of
    /// the slowest router remembered.
    pub(super) fn hold_back(&mut self, now: Instant) {
        let slowest = self
            .peers()
            .iter()
            .map(|peer| peer.interval)
            .max()
            .unwrap_or_default();
        let wait = now + self.active_down_of(self.learned.max(slowest));
        if let Role::Backup(backup) = &mut self.role {
            backup.hold = true;
            backup.defer_until = wait;
            backup.down_due = wait;
        }
    }

    /// A new priority shifts the running timer by the difference it makes to the skew, no more: checks that flap
    /// do not keep us from taking over.
    pub(super) fn backup_worth(
        &mut self,
        now: Instant,
        mut backup: Backup,
        skew: Duration,
        before: Priority,
    ) {
        if before == self.ours() {
            return;
        }
        backup.hold = false;
        backup.down_due = (backup.down_due + self.skew()).max(now + skew) - skew;
        self.role = Role::Backup(backup);
    }
}
