//! How TLS is spoken to a server that is checked.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::plan::{ServerTls, Verify};

/// Where Debian and its like keep the certificates that the system trusts.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Different ways of speaking TLS that are kept ready; more are made anew each time.
const CLIENTS_MAX: usize = 256;

/// Why TLS cannot be spoken to a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{0} cannot be read as certificates: {1}; check the file")]
    Pem(PathBuf, rustls::pki_types::pem::Error),
    #[error("{0:?} is no name for a certificate: give one with sni or verifyhost")]
    Name(String),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

type Client = (Arc<ClientConfig>, ServerName<'static>);

/// What to speak and to whom. Without settings nothing is verified: it is enough that the server speaks TLS.
pub(super) fn client(tls: Option<&ServerTls>, host: &str) -> Result<Client, TlsError> {
    static KNOWN: LazyLock<Mutex<HashMap<ServerTls, Arc<ClientConfig>>>> = LazyLock::new(Mutex::default);
    let any = ServerTls {
        verify: Verify::None,
        sni: None,
        verify_host: None,
        alpn: Vec::new(),
        certificate: None,
    };
    let tls = tls.unwrap_or(&any);
    let name = tls.sni.as_deref().or(tls.verify_host.as_deref()).unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
    if let Some(known) = KNOWN.lock().get(tls) {
        return Ok((Arc::clone(known), name));
    }
    let config = Arc::new(config(tls)?);
    let mut known = KNOWN.lock();
    if known.len() < CLIENTS_MAX {
        known.insert(tls.clone(), Arc::clone(&config));
    }
    Ok((config, name))
}

fn config(tls: &ServerTls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &tls.verify {
        Verify::None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        Verify::Required(file) => builder.with_root_certificates(roots(file.clone())?),
        Verify::System => builder.with_root_certificates(roots(SYSTEM.into())?),
    };
    let mut config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let key =
                PrivateKeyDer::from_pem_file(file).map_err(|error| TlsError::Pem(file.clone(), error))?;
            builder.with_client_auth_cert(certificates(file.clone())?, key)?
        }
    };
    config.alpn_protocols = tls
        .alpn
        .iter()
        .map(|protocol| protocol.clone().into_bytes())
        .collect();
    Ok(config)
}

fn roots(file: PathBuf) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(file)?);
    Ok(roots)
}

fn certificates(file: PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(&file)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::Pem(file, error))
}

/// `verify none`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
