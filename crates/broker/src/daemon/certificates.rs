//! Certificates that were renewed, without anybody's saying so: looked for now and then, put in place for who comes from then on,
//! and the old ones kept if the new ones are no good. What ends soon is said.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use warren_kit::clock::wall_clock;
use warren_kit::prints::Prints;

use super::serve::Daemon;
use crate::plan::Plan;
use crate::tls;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// So long before its end a certificate is warned of, as by the proxy.
const WARNING: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often that is said again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What was seen of the files, and when.
#[derive(Debug)]
pub(super) struct Watch {
    prints: Prints,
    looked: Instant,
    warned: Option<Instant>,
}

impl Watch {
    /// As the files of a plan are now. To be taken before they are read: what changes meanwhile is seen at the next look.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            prints: prints(plan),
            looked: Instant::now(),
            warned: None,
        }
    }
}

fn prints(plan: &Plan) -> Prints {
    Prints::of(plan.tls.as_ref().map(tls::paths).unwrap_or_default())
}

impl Daemon {
    /// When certificates are looked at next, if there are any.
    pub(super) fn looks_at_certificates(&self) -> Option<Instant> {
        self.plan.tls.as_ref().map(|_| self.watch.looked + LOOK)
    }

    /// Looks whether files have changed; reads nothing unless they have.
    pub(super) fn look_after_certificates(&mut self) {
        let Some(plan) = self.plan.tls.clone() else {
            return;
        };
        self.watch.looked = Instant::now();
        let now = prints(&self.plan);
        if now != self.watch.prints {
            self.watch.prints = now;
            match tls::load(&plan, self.tls.as_deref()) {
                Ok(tls) => {
                    for known in &self.listening {
                        known.change(&self.plan, Some(&tls));
                    }
                    self.tls = Some(tls);
                    *self.about.certificates.write() = tls::shown(&plan);
                    self.watch.warned = None;
                    tracing::info!("certificates have changed and were read again");
                }
                Err(error) => {
                    tracing::error!(%error, "certificates have changed and cannot be used, the earlier ones stay in force");
                }
            }
        }
        if self.watch.warned.is_none_or(|warned| warned.elapsed() >= AGAIN) {
            self.watch.warned = Some(Instant::now());
            self.warn_of_ends();
        }
    }

    fn warn_of_ends(&self) {
        let now: SystemTime = wall_clock();
        for certificate in self.about.certificates.read().iter() {
            let left = certificate.expires.since(now.into());
            if left.is_zero() {
                tracing::warn!(
                    file = certificate.file,
                    "certificate has expired: clients refuse it; renew it"
                );
            } else if left < WARNING {
                let days = left.as_secs() / (24 * 3600);
                tracing::warn!(
                    file = certificate.file,
                    days,
                    "certificate expires soon: renew it"
                );
            }
        }
    }
}
