//! The certificates and rules of one bind line, as rustls wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{
    ServerSessionMemoryCache, StoresServerSessions, UnbufferedServerConnection, WebPkiClientVerifier,
};
use warren_kit::chains;

use super::certificates::{self, ByName};
use super::{CertificateInfo, TlsError, provider};
use crate::plan::{BindTls, ClientCertificates, TlsVersion};

/// Sessions of TLS 1.2 that are remembered for who does not take tickets.
const SESSIONS_MAX: usize = 4096;

/// The certificates and rules of one bind line. Immutable: changed files make another one.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateInfo>,
    warnings: Vec<String>,
}

impl Acceptor {
    /// Reads every file.
    pub fn load(bind: &BindTls) -> Result<Self, TlsError> {
        Self::load_again(bind, None)
    }

    /// As [`Acceptor::load`], but clients may go on with sessions that they began with the one before.
    pub(super) fn load_again(bind: &BindTls, before: Option<&Self>) -> Result<Self, TlsError> {
        let loaded = certificates::files(&bind.certificates)?
            .iter()
            .map(|path| certificates::load(path))
            .collect::<Result<Vec<_>, _>>()?;
        if loaded.is_empty() {
            return Err(TlsError::NoneNamed);
        }
        let versions: &[&rustls::SupportedProtocolVersion] = match bind.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(versions)?;
        let resolver = Arc::new(ByName::new(&loaded, bind.strict_sni));
        let mut config = match &bind.clients {
            ClientCertificates::None => builder.with_no_client_auth(),
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
                let roots = Arc::new(certificates::authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
                let verifier = match bind.clients {
                    ClientCertificates::Optional(_) => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                let verifier = verifier.build().map_err(|error| TlsError::Certificate {
                    path: path.clone(),
                    reason: error.to_string(),
                })?;
                builder.with_client_cert_verifier(chains::short(verifier))
            }
        }
        .with_cert_resolver(resolver);
        config.alpn_protocols = bind.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        match before {
            Some(before) => {
                config.ticketer = Arc::clone(&before.config.ticketer);
                config.session_storage = Arc::clone(&before.config.session_storage);
            }
            None => {
                // Its keys change every six hours by themselves.
                config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
                config.session_storage = Arc::new(Cache(ServerSessionMemoryCache::new(SESSIONS_MAX)));
            }
        }
        Ok(Self {
            config: Arc::new(config),
            warnings: loaded
                .iter()
                .filter_map(|loaded| loaded.warning.clone())
                .collect(),
            certificates: loaded.into_iter().map(|loaded| loaded.info).collect(),
        })
    }

    /// For one connection.
    pub(crate) fn connection(&self) -> Result<UnbufferedServerConnection, rustls::Error> {
        UnbufferedServerConnection::new(Arc::clone(&self.config))
    }

    /// The certificates, in the order of the configuration.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    /// What an operator should know at this time.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let ends = self.certificates.iter().filter_map(|info| info.warning(now));
        self.warnings.iter().cloned().chain(ends).collect()
    }
}

/// Lookups in all caches of sessions. The caches come and go with bind lines; the process counts on.
static LOOKUPS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Lookups of sessions that clients want to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lookups {
    /// Every one.
    pub(crate) all: u64,
    /// Those of sessions that are not known, or not any more.
    pub(crate) missed: u64,
}

/// What was looked up in the caches of this process so far. Tickets are not looked up anywhere.
pub(crate) fn cache_lookups() -> Lookups {
    let [all, missed] = &LOOKUPS;
    Lookups {
        all: all.load(Relaxed),
        missed: missed.load(Relaxed),
    }
}

/// A cache whose lookups are counted.
#[derive(Debug)]
struct Cache(Arc<ServerSessionMemoryCache>);

impl Cache {
    fn counted(found: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let [all, missed] = &LOOKUPS;
        all.fetch_add(1, Relaxed);
        if found.is_none() {
            missed.fetch_add(1, Relaxed);
        }
        found
    }
}

impl StoresServerSessions for Cache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        Self::counted(self.0.get(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        Self::counted(self.0.take(key))
    }

    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_are_counted_and_so_are_those_that_find_nothing() {
        let cache = Cache(ServerSessionMemoryCache::new(4));
        let before = cache_lookups();
        assert!(cache.put(vec![1], vec![2]));
        assert_eq!(cache.get(&[1]), Some(vec![2]));
        assert_eq!(cache.take(&[3]), None);
        // Other tests look up, too.
        let after = cache_lookups();
        assert!(after.all >= before.all + 2 && after.missed > before.missed);
    }
}
