//! TLS of listeners: rustls, with certificates from PEM files.
//!
//! Deliberately absent: TLS before 1.2, renegotiation, early data (it can be replayed), and ciphers to choose from.

mod handshakes;
mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use warren_kit::chains;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use crate::plan::{ClientCertificates, Tls, TlsVersion};
use crate::registry::TlsFacts;
pub(crate) use handshakes::shake;
pub(crate) use socket::Socket;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM file.
    #[error("{path} cannot be used: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A directory without certificates.
    #[error("there is no certificate in {path}: certificate, chain and key belong into PEM files there", path = .0.display())]
    Empty(PathBuf),
    /// No key in the file, beside it, or named.
    #[error("there is no private key in {path}, nor in {path}.key: name its file with `key`", path = .0.display())]
    NoKey(PathBuf),
    /// Something that fits nothing else.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What in a client's certificate is the name of its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The whole subject: `CN=client,O=Warren`.
    #[default]
    Distinguished,
    /// The `CN` of the subject; several with commas between them.
    Common,
    /// The first alternative name that is a host's.
    Dns,
    /// The first that is a mail address.
    Email,
    /// The first that is a URI.
    Uri,
}

impl CertificateName {
    /// In the words of configurations.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("distinguished_name", Self::Distinguished),
        ("common_name", Self::Common),
        ("dns", Self::Dns),
        ("email", Self::Email),
        ("uri", Self::Uri),
    ];

    fn of(self, certificate: &Certificate) -> Option<String> {
        let body = certificate.tbs_certificate();
        let alternative = |choose: fn(&GeneralName) -> Option<String>| {
            let (_, SubjectAltName(names)) = body.get_extension().ok()??;
            names.iter().find_map(choose)
        };
        match self {
            Self::Distinguished => Some(body.subject().to_string()),
            Self::Common => {
                let names = body.subject().iter().filter(|part| part.oid == COMMON_NAME);
                let names: Result<Vec<_>, _> = names
                    .map(|part| part.value.decode_as::<DirectoryString>())
                    .collect();
                let names = names.ok().filter(|names| !names.is_empty())?;
                let names: Vec<_> = names.iter().map(DirectoryString::value).collect();
                Some(names.join(","))
            }
            Self::Dns => alternative(|name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            }),
            Self::Email => alternative(|name| match name {
                GeneralName::Rfc822Name(name) => Some(name.to_string()),
                _ => None,
            }),
            Self::Uri => alternative(|name| match name {
                GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
                _ => None,
            }),
        }
    }
}

/// Reads every file. Clients may go on with sessions that they began with the configuration `before`.
pub(crate) fn load(plan: &Tls, before: Option<&ServerConfig>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut keys = Vec::new();
    for path in files(&plan.certificates)? {
        let named = plan.key.as_deref().filter(|_| keys.is_empty());
        keys.push(certified(&path, named, &provider)?);
    }
    let versions: &[&rustls::SupportedProtocolVersion] = match plan.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match &plan.clients {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities(path)?, provider);
            let verifier = match plan.clients {
                ClientCertificates::Optional(_) => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|error| unusable(path, error))?;
            builder.with_client_cert_verifier(chains::short(verifier))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
    config.ticketer = match before {
        Some(before) => Arc::clone(&before.ticketer),
        // Its keys change every six hours by themselves.
        None => rustls::crypto::aws_lc_rs::Ticketer::new()?,
    };
    Ok(Arc::new(config))
}

/// Every file that is read, and directories: a file that is new or gone changes those.
pub(crate) fn paths(plan: &Tls) -> Vec<PathBuf> {
    let named = files(&plan.certificates).unwrap_or_default();
    let authorities = match &plan.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => Some(path.clone()),
    };
    let beside = named.iter().map(|path| key_beside(path)).collect::<Vec<_>>();
    let written = plan.certificates.iter().cloned();
    written
        .chain(named)
        .chain(beside)
        .chain(plan.key.clone())
        .chain(authorities)
        .collect()
}

/// The certificates that clients are shown, for whoever has to renew them. What cannot be read is left out: [`load`] says why.
pub(crate) fn shown(plan: &Tls) -> Vec<warren_api::broker::Certificate> {
    let files = files(&plan.certificates).unwrap_or_default();
    let one = |path: &PathBuf| {
        let chain = certificates(path).ok()?;
        let certificate = Certificate::from_der(chain.first()?).ok()?;
        let body = certificate.tbs_certificate();
        Some(warren_api::broker::Certificate {
            file: path.display().to_string(),
            subject: body.subject().to_string(),
            expires: body.validity().not_after.to_system_time().into(),
        })
    };
    files.iter().filter_map(one).collect()
}

/// What is known of a client once the handshake is over.
pub(crate) fn facts(connection: &ServerConnection, name: CertificateName) -> TlsFacts {
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.and_then(|certificate| Certificate::from_der(certificate).ok());
    let name_of = |name: CertificateName| name.of(certificate.as_ref()?);
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    TlsFacts {
        protocol: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "tlsv1.3".to_owned(),
            _ => "tlsv1.2".to_owned(),
        },
        cipher: suite.map_or_else(String::new, |suite| cipher(&format!("{suite:?}"))),
        subject: name_of(CertificateName::Distinguished),
        user: name_of(name),
    }
}

/// `TLS13_AES_256_GCM_SHA384` is `aes_256_gcm`.
fn cipher(suite: &str) -> String {
    let rest = suite
        .strip_prefix("TLS13_")
        .or_else(|| suite.split("_WITH_").nth(1));
    let rest = rest.unwrap_or(suite);
    rest.rsplit_once("_SHA")
        .map_or(rest, |(cipher, _)| cipher)
        .to_lowercase()
}

/// Directories stand for the `.pem` and `.crt` files in them, in the order of names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, TlsError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| unusable(path, error))? {
            let file = entry.map_err(|error| unusable(path, error))?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "pem" || extension == "crt")
            {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(TlsError::Empty(path.clone()));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn certified(
    path: &Path,
    key: Option<&Path>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(path)?;
    let beside = key_beside(path);
    let place = match key {
        Some(key) => key,
        None if beside.is_file() => &beside,
        None => path,
    };
    let key = PrivateKeyDer::from_pem_file(place).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        error => unusable(place, error),
    })?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(path, error))?;
    Ok(Arc::new(certified))
}

/// Where a key may be that is not in the file: `x.pem.key`.
fn key_beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".key");
    PathBuf::from(beside)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, error))?;
    let certificates: Result<Vec<_>, _> = read.collect();
    let certificates = certificates.map_err(|error| unusable(path, error))?;
    match certificates.is_empty() {
        true => Err(unusable(path, "there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| unusable(path, error))?;
    }
    Ok(Arc::new(store))
}

fn unusable(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// The certificate for the name that a client asks for, else the first.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let fitting = name.and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        fitting.or_else(|| self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key
        .cert
        .first()
        .and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// A handshake that failed, for the log.
pub(crate) fn explain(error: &io::Error) -> String {
    error
        .get_ref()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
