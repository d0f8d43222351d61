//! TLS of listeners and towards servers: rustls, with certificates from files as HAProxy reads them.
//!
//! - [`Keyring`]: all that a plan needs.
//! - [`Acceptor`]: the certificates and rules of one bind line; [`Connector`]: those of one server.
//! - [`Watched`]: either of them, made anew when its files change.
//! - [`hello`]: what a client says first, for who only passes it on.
//!
//! What happens on a socket is in the session's endpoint. Deliberately absent: TLS before 1.2, renegotiation, early data
//! (it can be replayed), compression.

mod acceptor;
mod certificates;
mod connector;
mod description;
pub mod hello;
mod keyring;
mod watch;
mod x509;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

pub use acceptor::Acceptor;
pub(crate) use acceptor::cache_lookups;
pub(crate) use certificates::asked_for;
pub use connector::Connector;
pub use keyring::{Keyring, KeyringError};
#[cfg(test)]
pub(crate) use tests::{Authority, Files, bind_tls, server_tls, test_hello};
pub use watch::{Source, Watched};
pub(crate) use x509::common_name;

/// So long before its end a certificate is warned of.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Longest file with certificates that is read.
const FILE_MAX: u64 = 8 << 20;

/// What is known of a certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Where it came from.
    pub path: PathBuf,
    /// The hosts it is for.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
    /// It, and those that vouch for it.
    pub chain: Vec<CertificateDer<'static>>,
}

impl CertificateInfo {
    /// All that can be said of it, in the lines of HAProxy's `show ssl cert`.
    #[must_use]
    pub fn description(&self) -> Option<String> {
        let (certificate, others) = self.chain.split_first()?;
        description::describe(certificate, others)
    }

    /// What an operator should know at this time: that it ends soon, or has ended.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let path = self.path.display();
        match self.not_after.duration_since(now) {
            Err(_) => Some(format!(
                "the certificate in {path} has expired: clients refuse it; renew it"
            )),
            Ok(left) if left < EXPIRY_WARNING => {
                let days = left.as_secs() / (24 * 60 * 60);
                Some(format!(
                    "the certificate in {path} expires in {days} days: renew it"
                ))
            }
            Ok(_) => None,
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or directory cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More than is sensible.
    #[error("{path} is larger than {} MiB: it is no file of certificates", FILE_MAX >> 20)]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Between `-----BEGIN` and `-----END` is something else than base64.
    #[error("{path} is no PEM file: {reason}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No certificate in it.
    #[error("there is no certificate in {path}: certificate, chain and key belong into one PEM file")]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A bind line without `crt`.
    #[error("no certificate is named: crt FILE is missing")]
    NoneNamed,
    /// No key in it, or beside it.
    #[error(
        "there is no private key in {path}, nor in {path}.key: certificate and key belong into one PEM file"
    )]
    NoKey {
        /// Which.
        path: PathBuf,
    },
    /// A key that has a password.
    #[error(
        "the private key in {path} is encrypted: take the password off (openssl pkey -in KEY -out PLAIN)"
    )]
    EncryptedKey {
        /// Which.
        path: PathBuf,
    },
    /// A key of an unknown kind.
    #[error("the private key in {path} cannot be used: {reason}")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key belongs to none of the certificates.
    #[error("the private key in {path} belongs to none of the certificates there")]
    KeyMismatch {
        /// Which.
        path: PathBuf,
    },
    /// A certificate that is none.
    #[error("a certificate in {path} cannot be used: {reason}")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A directory without certificates.
    #[error("there is no certificate in the directory {path}")]
    EmptyDirectory {
        /// Which.
        path: PathBuf,
    },
    /// Nothing in the usual places.
    #[error(
        "no certificates of authorities were found on this system: install ca-certificates, or name a ca-file"
    )]
    NoSystemAuthorities,
    /// A name that is none.
    #[error("\"{name}\" is no name of a host")]
    Name {
        /// As written.
        name: String,
    },
    /// Something that fits nothing else.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// `TLSv1.3`, as OpenSSL writes it.
pub(crate) fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "unknown",
    }
}

/// The name that OpenSSL, and so everybody's log, has for a cipher suite.
pub(crate) fn cipher_name(suite: SupportedCipherSuite) -> &'static str {
    use rustls::CipherSuite as Suite;
    match suite.suite() {
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "unknown",
    }
}
