//! Certificates of clients: how many may vouch for one.
//!
//! Every way through those that a client sends is tried until one leads to an authority that is known. If all have one name, each could vouch
//! for each, and there are more ways than anybody has time for: a client whom nobody knows could have seconds of it.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// As many as may stand between a certificate and the authority's.
const BETWEEN_MAX: usize = 6;

/// The same, but for clients who send more than could be of use.
pub fn short(verifier: Arc<dyn ClientCertVerifier>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Short(verifier))
}

#[derive(Debug)]
struct Short(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Short {
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if others.len() > BETWEEN_MAX {
            let count = others.len();
            return Err(Error::General(format!(
                "{count} certificates came with it, and no more than {BETWEEN_MAX} are looked at: send only those that vouch for it"
            )));
        }
        self.0.verify_client_cert(certificate, others, now)
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// Who trusts an authority, and a certificate from which so many others lead there.
    fn chain(between: usize) -> (Arc<dyn ClientCertVerifier>, Vec<CertificateDer<'static>>) {
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        let authority = params("authority").self_signed(&key).unwrap();
        roots.add(authority.der().clone()).unwrap();
        let mut issuer = Issuer::new(params("authority"), key);
        let mut chain = Vec::new();
        for number in 0..between {
            let (name, key) = (number.to_string(), KeyPair::generate().unwrap());
            let next = params(&name).signed_by(&key, &issuer).unwrap();
            chain.insert(0, next.der().clone());
            issuer = Issuer::new(params(&name), key);
        }
        let mut own = params("client");
        own.is_ca = IsCa::NoCa;
        let own = own.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        chain.insert(0, own.der().clone());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        (verifier.build().unwrap(), chain)
    }

    fn judge(verifier: &dyn ClientCertVerifier, chain: &[CertificateDer<'static>]) -> Result<(), Error> {
        let verified = verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
        verified.map(drop)
    }

    #[test]
    fn all_that_could_vouch_for_a_certificate_are_looked_at_and_more_are_not() {
        let (verifier, chain) = chain(BETWEEN_MAX);
        let verifier = short(verifier);
        judge(&*verifier, &chain).unwrap();
        let more = [chain.as_slice(), &chain[1..2]].concat();
        let error = judge(&*verifier, &more).unwrap_err().to_string();
        assert!(error.contains("7 certificates came with it"), "{error}");
    }

    #[test]
    fn nobody_could_be_vouched_for_by_more() {
        let (verifier, chain) = chain(BETWEEN_MAX + 1);
        judge(&*verifier, &chain).unwrap_err();
    }
}
