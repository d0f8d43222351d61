//! Who a client is.
//!
//! ```text
//!   response ─▶ credentials ─▶ known to be right? ── yes ─────────────────────▶ loopback? ─▶ user
//!                                 └─ no ─▶ throttle: wait ─▶ hash, slow ones on a pool ─▶┘
//! ```
//!
//! Credentials that were right once are known again by a keyed hash, so that thousands of clients that come back at once
//! neither wait nor cost a hash each. They are forgotten when anything about their user changes.

mod credentials;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use warren_cluster::lock;
use warren_model::Name;
use warren_model::meta::PasswordHash;

use crate::arrival::Arrival;
use crate::node::Node;
use crate::password::{self, SLOW_MAX, hash_with};
pub use credentials::Mechanism;
pub(crate) use credentials::mechanisms;
use throttle::Throttle;

/// Users whose credentials are remembered; beyond that all are forgotten.
const KNOWN_MAX: usize = 65_536;

/// Logins: what is known of them, and how many there were.
#[derive(Debug)]
pub struct Auth {
    /// Of this process. Nothing that it makes is worth anything to anybody else.
    key: [u8; 32],
    known: Mutex<HashMap<Name, [u8; 32]>>,
    throttle: Mutex<Throttle>,
    pool: Semaphore,
    /// How many there were.
    pub attempts: Attempts,
}

/// How many logins there were since the node started.
#[derive(Debug, Default)]
pub struct Attempts {
    /// All of them.
    pub total: AtomicU64,
    /// Let in.
    pub succeeded: AtomicU64,
    /// Refused.
    pub failed: AtomicU64,
    /// Refused or let in after a wait, since others from there had failed.
    pub slowed: AtomicU64,
}

impl Attempts {
    /// Counts from nothing.
    pub(crate) fn reset(&self) {
        for count in [&self.total, &self.succeeded, &self.failed, &self.slowed] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// Why somebody may not log in. The client hears nothing of the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginRefused {
    /// The client is told that the login was refused, if it understands that.
    #[error("user '{}' {why}", user.escape_debug())]
    Credentials {
        /// As it was said.
        user: String,
        /// For the log.
        why: &'static str,
    },
    /// The client is told the same.
    #[error("the client showed no certificate that names a user")]
    NoCertificate,
    /// There is nobody to be told anything: the connection is closed.
    #[error("what was sent is no login with a mechanism that was offered: {mechanism:?}")]
    Malformed {
        /// As it was said.
        mechanism: String,
    },
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            key: rand::random(),
            known: Mutex::default(),
            throttle: Mutex::default(),
            pool: Semaphore::new(SLOW_MAX),
            attempts: Attempts::default(),
        }
    }
}

impl Auth {
    /// Something about a user is different: he shows his credentials anew.
    pub(crate) fn forget(&self, user: &str) {
        self.known.lock().remove(user);
    }

    fn seal(&self, user: &Name, kept: &PasswordHash, password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.key);
        for part in [user.as_bytes(), kept.hash.as_bytes(), password] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn is_known(&self, user: &Name, seal: &[u8; 32]) -> bool {
        let known = self.known.lock();
        known.get(&**user).is_some_and(|known| known.ct_eq(seal).into())
    }

    fn remember(&self, user: Name, seal: [u8; 32]) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(user, seal);
    }
}

impl Auth {
    /// Addresses whose next attempts have to wait, those that failed most often first.
    pub(crate) fn slowed(&self) -> Vec<(IpAddr, u32)> {
        let mut slowed = self.throttle.lock().slowed(Instant::now());
        slowed.sort_by_key(|(_, failures)| std::cmp::Reverse(*failures));
        slowed
    }
}

impl Node {
    /// Is this the user's password? Neither counted nor slowed: for who runs the broker.
    #[must_use]
    pub fn authenticate(&self, user: &str, password: &str) -> bool {
        let kept = self.read(|meta| meta.user(user)?.password.clone());
        kept.is_some_and(|kept| lock::blocking(|| password::verify(&kept, password.as_bytes())))
    }

    /// What a new password is kept as, by [`crate::node::Settings::hashing`]. That may be slow.
    #[must_use]
    pub fn hash_password(&self, password: &str) -> PasswordHash {
        let hashing = self.settings().hashing;
        lock::blocking(|| hash_with(hashing, password.as_bytes(), rand::random()))
    }

    /// Lets a client log in.
    pub(crate) async fn login(
        &self,
        mechanism: &str,
        response: &bytes::Bytes,
        arrival: &Arrival,
    ) -> Result<Name, LoginRefused> {
        let attempts = &self.auth.attempts;
        attempts.total.fetch_add(1, Ordering::Relaxed);
        let done = self.check_login(mechanism, response, arrival).await;
        match &done {
            Ok(_) => attempts.succeeded.fetch_add(1, Ordering::Relaxed),
            Err(refused) => {
                tracing::warn!(peer = %arrival.peer, mechanism = %mechanism.escape_debug(), %refused, "login refused");
                let address = arrival.peer.ip();
                self.auth.throttle.lock().failed(address, Instant::now());
                attempts.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
        done
    }

    async fn check_login(
        &self,
        mechanism: &str,
        response: &bytes::Bytes,
        arrival: &Arrival,
    ) -> Result<Name, LoginRefused> {
        let malformed = || LoginRefused::Malformed {
            mechanism: mechanism.to_owned(),
        };
        let offered = credentials::mechanism(mechanism, self, arrival).ok_or_else(malformed)?;
        let certificate = credentials::certificate(arrival);
        if offered == Mechanism::External && certificate.is_none() {
            return Err(LoginRefused::NoCertificate);
        }
        let credentials = credentials::read(offered, response, certificate).ok_or_else(malformed)?;
        let refused = |why| LoginRefused::Credentials {
            user: String::from_utf8_lossy(&credentials.user).into_owned(),
            why,
        };
        let invalid = || refused("- invalid credentials");
        let user = Name::try_from(credentials.user.as_ref()).map_err(|_| invalid())?;
        match &credentials.password {
            Some(password) => {
                if !self.check_password(&user, password, arrival).await {
                    return Err(invalid());
                }
            }
            None => {
                self.read(|meta| meta.user(&user).map(|_| ()))
                    .ok_or_else(invalid)?;
            }
        }
        let here_only = self.settings().loopback_users.iter().any(|other| *other == *user);
        match here_only && !arrival.from_loopback {
            true => Err(refused("can only connect via localhost")),
            false => Ok(user),
        }
    }

    async fn check_password(&self, user: &Name, password: &[u8], arrival: &Arrival) -> bool {
        let kept = self.read(|meta| meta.user(user)?.password.clone());
        let seal = kept.as_ref().map(|kept| self.auth.seal(user, kept, password));
        if seal.is_some_and(|seal| self.auth.is_known(user, &seal)) {
            return true;
        }
        let wait = self.auth.throttle.lock().wait(arrival.peer.ip(), Instant::now());
        match wait {
            Some(wait) if wait.is_zero() => {}
            Some(wait) => {
                self.auth.attempts.slowed.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(wait).await;
            }
            None => {
                self.auth.attempts.slowed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        let (Some(kept), Some(seal)) = (kept, seal) else {
            return false;
        };
        let right = match password::is_slow(&kept) {
            false => password::verify(&kept, password),
            true => self.verify_slowly(kept, password).await,
        };
        if right {
            self.auth.remember(user.clone(), seal);
        }
        right
    }

    /// On a thread of its own, a few at once.
    async fn verify_slowly(&self, kept: PasswordHash, password: &[u8]) -> bool {
        let Ok(_turn) = self.auth.pool.acquire().await else {
            return false;
        };
        let password: Arc<[u8]> = password.into();
        let verified = tokio::task::spawn_blocking(move || password::verify(&kept, &password)).await;
        verified.unwrap_or(false)
    }
}
