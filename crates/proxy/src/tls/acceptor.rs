//! The certificates and rules of one bind line, as rustls wants them.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{ServerSessionMemoryCache, UnbufferedServerConnection, WebPkiClientVerifier};

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
                builder.with_client_cert_verifier(verifier)
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
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
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
