//! TLS towards one server.
//!
//! HAProxy's rules of trust: `verify none` looks at nothing; `verify required` looks at the chain, and at the name if
//! `sni` says which or, without that, `verifyhost` does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::certificates::{self, Loaded};
use super::{TlsError, provider};
use crate::plan::{ServerTls, Verify};

/// Sessions that are remembered of a server, to begin the next one sooner.
const SESSIONS_MAX: usize = 64;

/// What is needed to speak TLS to one server.
#[derive(Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    sni: Option<ServerName<'static>>,
    /// What it shows servers that ask.
    certificate: Option<Loaded>,
}

impl Connector {
    /// Reads every file.
    pub fn load(server: &ServerTls) -> Result<Self, TlsError> {
        let sni = server.sni.as_deref().map(name).transpose()?;
        let expected = server.verify_host.as_deref().map(name).transpose()?;
        let roots = match &server.verify {
            Verify::None => None,
            Verify::Required(path) => Some(certificates::authorities(path)?),
            Verify::System => Some(certificates::system_authorities()?),
        };
        let verifier = ByConfiguration {
            roots,
            expected: sni.clone().or(expected),
            algorithms: provider().signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let certificate = server
            .certificate
            .as_deref()
            .map(certificates::load)
            .transpose()?;
        let mut config = match &certificate {
            None => builder.with_no_client_auth(),
            Some(loaded) => {
                let key = SingleCertAndKey::from(Arc::clone(&loaded.key));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        config.alpn_protocols = server.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config.enable_sni = sni.is_some();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self {
            config: Arc::new(config),
            sni,
            certificate,
        })
    }

    /// What an operator should know at this time.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let Some(loaded) = &self.certificate else {
            return Vec::new();
        };
        let ends = loaded.info.warning(now);
        loaded.warning.iter().cloned().chain(ends).collect()
    }

    /// For one connection to this address.
    pub(crate) fn connection(
        &self,
        address: Option<IpAddr>,
    ) -> Result<UnbufferedClientConnection, rustls::Error> {
        UnbufferedClientConnection::new(Arc::clone(&self.config), self.server_name(address))
    }

    /// Sessions are remembered by name; without one the address has to do, which is not sent.
    fn server_name(&self, address: Option<IpAddr>) -> ServerName<'static> {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        let address = || ServerName::from(address.unwrap_or(unspecified));
        self.sni.clone().unwrap_or_else(address)
    }

    /// The same for who reads and writes by himself (checks), with the name to begin with.
    #[must_use]
    pub fn client(&self, address: Option<IpAddr>) -> (Arc<ClientConfig>, ServerName<'static>) {
        (Arc::clone(&self.config), self.server_name(address))
    }
}

fn name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name { name: name.into() })
}

/// Trust as it was configured.
#[derive(Debug)]
struct ByConfiguration {
    /// `None`: whatever the server shows is good.
    roots: Option<RootCertStore>,
    /// `None`: whatever its name is.
    expected: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ByConfiguration {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        if let Some(expected) = &self.expected {
            verify_server_name(&certificate, expected)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
